//! The registry's HTTP interface under `/v1/`: its rows for [`crate::edge`], and what answers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use http::{Method, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::{Change, Filter, Machine, Refused, Taken};
use super::request::{self, Body, Name, invalid, read};
use super::wire::{
    Goodbye, Heartbeat, Instance, Lease, Listing, Maintenance, Registration, USUAL_WEIGHT, Weight,
    weight_problem,
};
use crate::admission::{Admission, AdmissionConfig, ShedConfig, Turn};
use crate::edge::openapi::{self, Info};
use crate::edge::{self, Access, Class, Content, Endpoint, Operation, Parameter, StackConfig};
use crate::env::Env;
use crate::http::{FieldError, Problem};
use crate::observe::Subject;

/// A watch is answered at the latest after this, changed or not.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Beyond the longest watch a request has this time.
const MARGIN: Duration = Duration::from_secs(15);
const BODY_LIMIT: usize = 64 * 1024;
const LONGEST_REASON: usize = 500;

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

const FILTERS: &[Parameter] = &[
    Parameter::new("name", "string", "Only the instance of this name."),
    Parameter::new("kind", "string", "Only instances of this kind."),
    Parameter {
        repeated: true,
        ..Parameter::new("tag", "string", "Only instances with all of these tags.")
    },
    Parameter::new(
        "since",
        "integer",
        "Revision that was seen; with `wait`, answer once there is a later one.",
    ),
    Parameter::new(
        "incarnation",
        "string",
        "Incarnation that was seen; another one is news.",
    ),
    Parameter::new(
        "wait",
        "string",
        "Longest wait for news, like 10s; at most a minute.",
    ),
];

const EPOCH: &[Parameter] = &[Parameter::new(
    "epoch",
    "integer",
    "Of the life that says it; without one it is an operator's order.",
)];

const INFO: Info = Info {
    title: "Registry",
    about: "Who is there, on which address, and whether it can take work.",
    path_parameters: &[("name", "Name of the instance.")],
};

/// The registry answers at once or watches; it has no limit on what it does at a time.
const AT_ONCE: Class = Class {
    turn: Turn::None,
    ..Class::OTHER
};

const LEASE: &[(u16, &str, Content)] =
    &[(200, "Done.", Content::Json(|g| g.subschema_for::<Lease>()))];

/// Everything that can be asked, each with what answers it.
pub(super) fn endpoints() -> Vec<Endpoint<Arc<Shared>>> {
    let mut all = instances();
    all.extend(operational());
    all
}

fn internal(
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation {
        access: Access::Internal,
        class: AT_ONCE,
        answers: LEASE,
        ..Operation::new(method, path, id, summary)
    }
}

fn instances() -> Vec<Endpoint<Arc<Shared>>> {
    vec![
        Endpoint::new(
            Operation {
                parameters: FILTERS,
                answers: &[(
                    200,
                    "Done.",
                    Content::Json(|g| g.subschema_for::<Listing>()),
                )],
                refusals: &[UNREADABLE],
                ..internal(
                    Method::GET,
                    "/v1/services",
                    "listServices",
                    "Lists instances; with `since` and `wait`, once something has changed.",
                )
            },
            get(services),
        ),
        Endpoint::new(
            Operation {
                answers: &[(
                    200,
                    "Done.",
                    Content::Json(|g| g.subschema_for::<Instance>()),
                )],
                refusals: &[UNKNOWN],
                ..internal(
                    Method::GET,
                    "/v1/instances/{name}",
                    "getInstance",
                    "One instance.",
                )
            },
            get(instance),
        ),
        Endpoint::new(
            Operation {
                body: Content::Json(|g| g.subschema_for::<Registration>()),
                refusals: &[UNREADABLE, LATER, WRONG, FULL],
                ..internal(
                    Method::PUT,
                    "/v1/instances/{name}",
                    "register",
                    "Registers an instance. The same epoch again refreshes it, a later one replaces it.",
                )
            },
            put(register),
        ),
        Endpoint::new(
            Operation {
                parameters: EPOCH,
                refusals: &[UNREADABLE, UNKNOWN, LATER],
                ..internal(
                    Method::DELETE,
                    "/v1/instances/{name}",
                    "deregister",
                    "Takes an instance off the list.",
                )
            },
            delete(deregister),
        ),
        Endpoint::new(
            Operation {
                body: Content::Json(|g| g.subschema_for::<Heartbeat>()),
                refusals: &[UNREADABLE, UNKNOWN, LATER, WRONG],
                ..internal(
                    Method::POST,
                    "/v1/instances/{name}/heartbeat",
                    "heartbeat",
                    "A sign of life, which renews the lease.",
                )
            },
            post(heartbeat),
        ),
        Endpoint::new(
            Operation {
                body: Content::Json(|g| g.subschema_for::<Goodbye>()),
                refusals: &[UNREADABLE, UNKNOWN, LATER, WRONG],
                ..internal(
                    Method::POST,
                    "/v1/instances/{name}/drain",
                    "drain",
                    "The instance gets no new work; it finishes what it has.",
                )
            },
            post(drain),
        ),
        Endpoint::new(
            Operation {
                body: Content::Json(|g| g.subschema_for::<Maintenance>()),
                refusals: &[UNREADABLE, UNKNOWN, WRONG, FULL],
                ..internal(
                    Method::POST,
                    "/v1/instances/{name}/maintenance",
                    "maintenance",
                    "Takes an instance out until the order is taken back, whatever it does.",
                )
            },
            post(maintenance),
        ),
        Endpoint::new(
            Operation {
                body: Content::Json(|g| g.subschema_for::<Weight>()),
                refusals: &[UNREADABLE, UNKNOWN, WRONG],
                ..internal(
                    Method::PUT,
                    "/v1/instances/{name}/weight",
                    "weigh",
                    "Changes the share of work of an instance, until it starts anew.",
                )
            },
            put(weigh),
        ),
    ]
}

fn operational() -> Vec<Endpoint<Arc<Shared>>> {
    let operation = |path, id, summary, answers| Operation {
        access: Access::Operational,
        answers,
        ..Operation::new(Method::GET, path, id, summary)
    };
    const TEXT: &[(u16, &str, Content)] = &[(200, "Done.", Content::Text)];
    const JSON: &[(u16, &str, Content)] = &[(200, "Done.", Content::AnyJson)];
    vec![
        Endpoint::new(
            operation("/v1/openapi.json", "openapi", "This document.", JSON),
            get(describe),
        ),
        Endpoint::new(
            operation("/health", "health", "Whether the registry lives.", TEXT),
            get(async || "ok\n"),
        ),
        Endpoint::new(
            operation(
                "/ready",
                "ready",
                "Whether the registry takes requests.",
                TEXT,
            ),
            get(async || "ok\n"),
        ),
    ]
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let env = shared.env.clone();
    let config = StackConfig {
        metrics: Arc::default(),
        // It answers to its very end: who goes away wants to be taken off the list.
        draining: CancellationToken::new(),
        request: LONGEST_WAIT + MARGIN,
        upload: LONGEST_WAIT + MARGIN,
        body_bytes: BODY_LIMIT,
        admission: Admission::new(&unlimited(), 1, &env.rng, Vec::new()),
        env,
    };
    edge::router(endpoints(), shared, config)
}

/// Requests are small, and who may send how many is the business of access.
fn unlimited() -> AdmissionConfig {
    AdmissionConfig {
        shed: ShedConfig {
            enabled: false,
            ..ShedConfig::default()
        },
        ..AdmissionConfig::default()
    }
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
    let endpoints = endpoints();
    let rows = endpoints.iter().map(|endpoint| &endpoint.operation);
    Json(openapi::document(&INFO, rows)).into_response()
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
