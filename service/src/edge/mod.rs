//! The edge of a role: the table of what it can be asked over HTTP, what stands in front of every handler, reading requests
//! so that a refusal names the field, and the description of it all as OpenAPI.
//!
//! What the rows of a role are, and what their handlers do, is the role's business; connections are [`crate::http`]'s.

pub mod deadline;
pub mod endpoint;
pub mod openapi;
pub mod request;
pub mod stack;
mod table;

pub use endpoint::{
    Access, BodyLimit, Class, Content, Endpoint, Operation, Parameter, Refusal, SchemaOf, Scope,
    TimeLimit,
};
pub use stack::{Deadline, RequestId, StackConfig, Ticket, X_CACHE, router};
pub use table::{Rules, Table};
