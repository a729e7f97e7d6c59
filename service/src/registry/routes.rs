//! The registry's HTTP interface under `/v1/`: one table of operations, from which the router and its description
//! ([`super::openapi`]) are both built.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Json, Router};
use http::{Method, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;

use super::machine::{Change, Filter, Machine, Refused, Taken};
use super::openapi::{self, Operation, Parameter};
use super::request::{self, Body, Name, invalid, read};
use super::wire::{
    Goodbye, Heartbeat, Instance, Lease, Listing, Maintenance, Registration, USUAL_WEIGHT, Weight,
    weight_problem,
};
use crate::env::Env;
use crate::http::{FieldError, Problem, unless_stalled};
use crate::observe::Subject;

/// A watch is answered at the latest after this, changed or not.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const BODY_LIMIT: usize = 64 * 1024;
const LONGEST_REASON: usize = 500;
const REQUEST_ID: &str = "x-request-id";

/// What the routes, the sweeper and the checks share.
#[derive(Debug)]
pub(super) struct Shared {
    env: Env,
    machine: Mutex<Machine>,
    /// The latest revision that watchers were woken for.
    told: AtomicU64,
    /// Wakes watchers, in the order in which they began to wait: `watch` would wake them in an order of its own, which no
    /// simulation could repeat.
    news: Notify,
    /// Told when somebody registers who is to be checked.
    pub(super) to_check: Notify,
}

impl Shared {
    pub(super) fn new(env: Env, machine: Machine) -> Arc<Self> {
        Arc::new(Self {
            env,
            told: AtomicU64::new(machine.revision()),
            news: Notify::new(),
            machine: Mutex::new(machine),
            to_check: Notify::new(),
        })
    }

    /// Runs `act` on the machine; afterwards, with the lock released, wakes watchers and reports what changed.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Machine, Instant) -> T) -> T {
        let now = Instant::now();
        let (result, revision) = {
            let mut machine = self.machine.lock();
            let result = act(&mut machine, now);
            (result, machine.revision())
        };
        if self.told.fetch_max(revision, Relaxed) < revision {
            self.news.notify_waiters();
        }
        result
    }

    pub(super) fn report(&self, changes: Vec<Change>) {
        for Change {
            name,
            from,
            to,
            reason,
        } in changes
        {
            self.env
                .transition(Subject::Instance, &name, from.as_str(), to.as_str(), reason);
        }
    }

    fn answer(&self, outcome: Taken) -> Answer {
        let (lease, changes) = outcome.map_err(problem)?;
        self.report(changes);
        Ok(Json(lease))
    }

    fn list(&self, filter: &Filter) -> Listing {
        // Written down with the lock released: a long list is some work.
        self.with(|machine, now| machine.look_up(filter, now))
            .listing()
    }
}

fn problem(refused: Refused) -> Problem {
    let text = refused.to_string();
    match refused {
        Refused::Unknown => Problem::new(StatusCode::NOT_FOUND, "instance_not_found", text),
        Refused::Superseded { current } => {
            Problem::new(StatusCode::CONFLICT, "superseded", text).with("current_epoch", current)
        }
        Refused::Full(_) => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "registry_full", text)
            .hint("raise registry.max_instances"),
    }
}

type App = State<Arc<Shared>>;
type Answer = Result<Json<Lease>, Problem>;
type Handler = MethodRouter<Arc<Shared>>;

const UNREADABLE: (u16, &str) = (400, "The request cannot be read.");
const WRONG: (u16, &str) = (
    422,
    "The request can be read and makes no sense; errors name every part.",
);
const UNKNOWN: (u16, &str) = (
    404,
    "Nobody of that name, or of that name and epoch, is registered.",
);
const LATER: (u16, &str) = (409, "A later start of the instance is registered.");
const FULL: (u16, &str) = (507, "The registry is full.");
const NO_PARAMETERS: &[Parameter] = &[];

const FILTERS: &[Parameter] = &[
    parameter("name", "string", "Only the instance of this name."),
    parameter("kind", "string", "Only instances of this kind."),
    Parameter {
        repeated: true,
        ..parameter("tag", "string", "Only instances with all of these tags.")
    },
    parameter(
        "since",
        "integer",
        "Revision that was seen; with `wait`, answer once there is a later one.",
    ),
    parameter(
        "incarnation",
        "string",
        "Incarnation that was seen; another one is news.",
    ),
    parameter(
        "wait",
        "string",
        "Longest wait for news, like 10s; at most a minute.",
    ),
];

const EPOCH: &[Parameter] = &[parameter(
    "epoch",
    "integer",
    "Of the life that says it; without one it is an operator's order.",
)];

const fn parameter(name: &'static str, kind: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        kind,
        repeated: false,
        about,
    }
}

/// Everything that can be asked, each with what answers it.
pub(super) fn operations() -> Vec<(Operation, Handler)> {
    let lease = openapi::Answer::Json(|g| g.subschema_for::<Lease>());
    let operation = |method, path, id, summary| Operation {
        method,
        path,
        id,
        summary,
        parameters: NO_PARAMETERS,
        body: None,
        answer: lease,
        refusals: &[],
    };
    vec![
        (
            Operation {
                parameters: FILTERS,
                answer: openapi::Answer::Json(|g| g.subschema_for::<Listing>()),
                refusals: &[UNREADABLE],
                ..operation(
                    Method::GET,
                    "/v1/services",
                    "listServices",
                    "Lists instances; with `since` and `wait`, once something has changed.",
                )
            },
            get(services),
        ),
        (
            Operation {
                answer: openapi::Answer::Json(|g| g.subschema_for::<Instance>()),
                refusals: &[UNKNOWN],
                ..operation(
                    Method::GET,
                    "/v1/instances/{name}",
                    "getInstance",
                    "One instance.",
                )
            },
            get(instance),
        ),
        (
            Operation {
                body: Some(|g| g.subschema_for::<Registration>()),
                refusals: &[UNREADABLE, LATER, WRONG, FULL],
                ..operation(
                    Method::PUT,
                    "/v1/instances/{name}",
                    "register",
                    "Registers an instance. The same epoch again refreshes it, a later one replaces it.",
                )
            },
            put(register),
        ),
        (
            Operation {
                parameters: EPOCH,
                refusals: &[UNREADABLE, UNKNOWN, LATER],
                ..operation(
                    Method::DELETE,
                    "/v1/instances/{name}",
                    "deregister",
                    "Takes an instance off the list.",
                )
            },
            delete(deregister),
        ),
        (
            Operation {
                body: Some(|g| g.subschema_for::<Heartbeat>()),
                refusals: &[UNREADABLE, UNKNOWN, LATER, WRONG],
                ..operation(
                    Method::POST,
                    "/v1/instances/{name}/heartbeat",
                    "heartbeat",
                    "A sign of life, which renews the lease.",
                )
            },
            post(heartbeat),
        ),
        (
            Operation {
                body: Some(|g| g.subschema_for::<Goodbye>()),
                refusals: &[UNREADABLE, UNKNOWN, LATER, WRONG],
                ..operation(
                    Method::POST,
                    "/v1/instances/{name}/drain",
                    "drain",
                    "The instance gets no new work; it finishes what it has.",
                )
            },
            post(drain),
        ),
        (
            Operation {
                body: Some(|g| g.subschema_for::<Maintenance>()),
                refusals: &[UNREADABLE, UNKNOWN, WRONG, FULL],
                ..operation(
                    Method::POST,
                    "/v1/instances/{name}/maintenance",
                    "maintenance",
                    "Takes an instance out until the order is taken back, whatever it does.",
                )
            },
            post(maintenance),
        ),
        (
            Operation {
                body: Some(|g| g.subschema_for::<Weight>()),
                refusals: &[UNREADABLE, UNKNOWN, WRONG],
                ..operation(
                    Method::PUT,
                    "/v1/instances/{name}/weight",
                    "weigh",
                    "Changes the share of work of an instance, until it starts anew.",
                )
            },
            put(weigh),
        ),
        (
            Operation {
                answer: openapi::Answer::Document,
                ..operation(Method::GET, "/v1/openapi.json", "openapi", "This document.")
            },
            get(describe),
        ),
        (
            Operation {
                answer: openapi::Answer::Text,
                ..operation(
                    Method::GET,
                    "/health",
                    "health",
                    "Whether the registry lives.",
                )
            },
            get(async || "ok\n"),
        ),
        (
            Operation {
                answer: openapi::Answer::Text,
                ..operation(
                    Method::GET,
                    "/ready",
                    "ready",
                    "Whether the registry takes requests.",
                )
            },
            get(async || "ok\n"),
        ),
    ]
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let routes = operations()
        .into_iter()
        .fold(Router::new(), |router, (operation, handler)| {
            router.route(operation.path, handler)
        });
    routes
        .fallback(async |uri: Uri| {
            let text = format!("there is nothing at {}", uri.path());
            Problem::new(StatusCode::NOT_FOUND, "no_such_route", text)
                .hint("GET /v1/openapi.json lists what there is")
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let text = format!("{} does not take {method}", uri.path());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(
            |_: Box<dyn std::any::Any + Send>| Problem::internal().into_response(),
        ))
        .layer(from_fn_with_state(Arc::clone(&shared), complete))
        .with_state(shared)
}

/// Adds to a problem where it occurred, and an id to find it by.
async fn complete(State(shared): App, request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let given = request.headers().get(REQUEST_ID).cloned();
    let response = unless_stalled(request, next).await;
    if response.status().is_success() {
        return response;
    }
    let id = given.as_ref().and_then(|id| id.to_str().ok());
    let id = match id {
        Some(id) => id.to_owned(),
        None => shared.env.rng.uuid(shared.env.clock.now()).to_string(),
    };
    tracing::debug!(path = uri.path(), id, status = %response.status(), "refused");
    Problem::complete(response, uri.path(), &id)
}

async fn register(State(shared): App, Name(name): Name, body: Body) -> Answer {
    let sample = Registration::new("a", "a", "a:1", 0);
    let registration = read(body, None, &sample)?;
    let mut problems = registration.problems();
    if registration.name != name {
        problems.push(FieldError {
            pointer: "/name".to_owned(),
            detail: format!("`{}` is not the path's `{name}`", registration.name),
        });
    }
    if !problems.is_empty() {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(invalid(status, "invalid_registration", problems));
    }
    let checked = registration.check.is_some();
    let taken = shared.with(|machine, now| machine.register(registration, now));
    if checked {
        shared.to_check.notify_one();
    }
    shared.answer(taken)
}

async fn heartbeat(State(shared): App, Name(name): Name, body: Body) -> Answer {
    let sample = Heartbeat {
        epoch: 0,
        ready: true,
    };
    let beat = read(body, None, &sample)?;
    shared.answer(shared.with(|machine, now| machine.heartbeat(&name, beat, now)))
}

async fn drain(State(shared): App, Name(name): Name, body: Body) -> Answer {
    let Goodbye { epoch } = read(body, Some(Goodbye::default()), &Goodbye::default())?;
    shared.answer(shared.with(|machine, now| machine.drain(&name, epoch, now)))
}

async fn deregister(State(shared): App, Name(name): Name, uri: Uri) -> Answer {
    let epoch = request::epoch(&uri)?;
    shared.answer(shared.with(|machine, _| machine.deregister(&name, epoch)))
}

async fn maintenance(State(shared): App, Name(name): Name, body: Body) -> Answer {
    let sample = Maintenance {
        on: true,
        reason: "a".to_owned(),
    };
    let Maintenance { on, reason } = read(body, None, &sample)?;
    if reason.len() > LONGEST_REASON {
        let detail = format!("is {} bytes long, at most {LONGEST_REASON}", reason.len());
        return Err(Problem::field("invalid_request", "/reason", detail));
    }
    let reason = on.then_some(reason);
    shared.answer(shared.with(|machine, now| machine.maintain(&name, reason, now)))
}

async fn weigh(State(shared): App, Name(name): Name, body: Body) -> Answer {
    let sample = Weight {
        weight: USUAL_WEIGHT,
    };
    let Weight { weight } = read(body, None, &sample)?;
    if let Some(problem) = weight_problem(weight) {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(invalid(status, "invalid_request", vec![problem]));
    }
    shared.answer(shared.with(|machine, _| machine.weigh(&name, weight)))
}

async fn describe() -> Response {
    let operations = operations();
    Json(openapi::document(
        operations.iter().map(|(operation, _)| operation),
    ))
    .into_response()
}

async fn instance(State(shared): App, Name(name): Name) -> Result<Json<Instance>, Problem> {
    let filter = Filter {
        name: Some(name),
        ..Filter::default()
    };
    let found = shared.list(&filter).instances.pop();
    found.map(Json).ok_or_else(|| problem(Refused::Unknown))
}

/// The list, at once without `since`, else as soon as something has changed after it, at the latest after `wait`.
async fn services(State(shared): App, uri: Uri) -> Result<Json<Listing>, Problem> {
    let query = request::watch(&uri)?;
    let filter = query.filter;
    let (Some(since), Some(wait)) = (query.since, query.wait) else {
        return Ok(Json(shared.list(&filter)));
    };
    let news = async {
        loop {
            // Listening before looking, so that no news can fall in between.
            let news = shared.news.notified();
            let known = query.incarnation.as_deref();
            if shared.with(|machine, _| machine.is_news(&filter, since, known)) {
                return;
            }
            news.await;
        }
    };
    tokio::select! {
        biased;
        () = shared.env.shutdown.cancelled() => {}
        () = news => {}
        () = tokio::time::sleep(wait.get().min(LONGEST_WAIT)) => {}
    }
    Ok(Json(shared.list(&filter)))
}
