//! One row for each thing that a role can be asked over HTTP. The router, admission, deadlines, limits of bodies, access,
//! the OpenAPI document and the labels of metrics are all made of these rows, so none of them can be forgotten.
//!
//! What a row's handler does is the business of its role.

use axum::routing::MethodRouter;
use http::Method;
use schemars::{Schema, SchemaGenerator};

use crate::admission::{Priority, Turn};

/// Who may ask for it. So far only [`Access::Operational`] has an effect: there are no keys yet to hold the others to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Who looks after the node: answered whatever its state, past the drain gate and admission.
    Operational,
    /// Anyone.
    Public,
    /// Other nodes of the cluster.
    Internal,
    /// Who is allowed to do this.
    Scope(Scope),
}

/// What a principal may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Look at jobs, videos and clips, and download them.
    Read,
    /// Upload videos, submit jobs, change and delete what is one's own.
    Write,
}

/// What a request is to admission. Requests of one class have latencies that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Its name, unique within a role.
    pub name: &'static str,
    /// How much it matters, unless the request says otherwise.
    pub priority: Priority,
    /// How it meets the node's limit on concurrent requests.
    pub turn: Turn,
    /// The bulkhead that it needs a place in, by name.
    pub bulkhead: Option<&'static str>,
}

impl Class {
    /// Whatever has no class of its own.
    pub const OTHER: Self = Self {
        name: "other",
        priority: Priority::Normal,
        turn: Turn::Needed,
        bulkhead: None,
    };
}

/// How long a request may take; the role's configuration says how long that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// As long as any request.
    Request,
    /// As long as an upload.
    Upload,
}

/// How large the body of a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLimit {
    /// As large as any; the role's configuration says how large that is.
    Usual,
    /// The handler counts while it reads.
    Counted,
}

/// Writes the schema of one type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What is sent or answered.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// Nothing.
    Empty,
    /// JSON of one type.
    Json(SchemaOf),
    /// JSON of any form.
    AnyJson,
    /// Text.
    Text,
    /// A form with parts, of one type.
    Form(SchemaOf),
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// A parameter of the query.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// JSON Schema type.
    pub kind: &'static str,
    /// Whether it may be given several times.
    pub repeated: bool,
    /// Whether it must be given.
    pub required: bool,
    /// What it means.
    pub about: &'static str,
}

impl Parameter {
    /// One that may be left out, given at most once.
    #[must_use]
    pub const fn new(name: &'static str, kind: &'static str, about: &'static str) -> Self {
        Self {
            name,
            kind,
            repeated: false,
            required: false,
            about,
        }
    }
}

/// A refusal: its status, and when it is given.
pub type Refusal = (u16, &'static str);

/// What one method of one path is.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its method; `GET` answers `HEAD` as well.
    pub method: Method,
    /// Its path, with parameters as `{name}`.
    pub path: &'static str,
    /// Unique name.
    pub id: &'static str,
    /// One sentence on what it does.
    pub summary: &'static str,
    /// Who may ask for it.
    pub access: Access,
    /// What it is to admission.
    pub class: Class,
    /// How long it may take.
    pub time: TimeLimit,
    /// How large its body may be.
    pub limit: BodyLimit,
    /// Parameters of the query.
    pub parameters: &'static [Parameter],
    /// What is sent.
    pub body: Content,
    /// Status and content when all is well.
    pub answers: &'static [(u16, &'static str, Content)],
    /// What else is answered.
    pub refusals: &'static [Refusal],
}

/// All is well.
const DONE: &[(u16, &str, Content)] = &[(200, "Done.", Content::AnyJson)];

impl Operation {
    /// A row of a public request without parameters and body, answered with JSON; everything else is set by name.
    #[must_use]
    pub const fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            access: Access::Public,
            class: Class::OTHER,
            time: TimeLimit::Request,
            limit: BodyLimit::Usual,
            parameters: &[],
            body: Content::Empty,
            answers: DONE,
            refusals: &[],
        }
    }
}

/// A row with what answers it.
#[derive(Debug)]
pub struct Endpoint<S> {
    /// What it is.
    pub operation: Operation,
    /// What answers it.
    pub handler: MethodRouter<S>,
}

impl<S> Endpoint<S> {
    /// Puts them together.
    pub fn new(operation: Operation, handler: MethodRouter<S>) -> Self {
        Self { operation, handler }
    }
}
