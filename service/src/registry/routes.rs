//! The registry's HTTP interface under `/v1/`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use http::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::machine::{Change, Filter, Machine, Refused};
use super::wire::{Heartbeat, Lease, Listing, Registration};
use crate::env::Env;
use crate::http::Problem;
use crate::observe::Subject;
use crate::units::HumanDuration;

/// A watch is answered at the latest after this, changed or not.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const BODY_LIMIT: usize = 64 * 1024;

/// What the routes and the sweeper share.
pub(super) struct Shared {
    env: Env,
    machine: Mutex<Machine>,
    revision: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(env: Env, machine: Machine) -> Arc<Self> {
        let revision = watch::Sender::new(machine.revision());
        Arc::new(Self {
            env,
            machine: Mutex::new(machine),
            revision,
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
        self.revision.send_if_modified(|seen| {
            let news = *seen < revision;
            *seen = (*seen).max(revision);
            news
        });
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

    fn answer(
        &self,
        outcome: Result<(Lease, Vec<Change>), Refused>,
    ) -> Result<Json<Lease>, Problem> {
        let (lease, changes) = outcome.map_err(problem)?;
        self.report(changes);
        Ok(Json(lease))
    }
}

fn problem(refused: Refused) -> Problem {
    let text = refused.to_string();
    match refused {
        Refused::Unknown => Problem::new(StatusCode::NOT_FOUND, "instance_not_found", text),
        Refused::Superseded { current } => {
            Problem::new(StatusCode::CONFLICT, "superseded", text).with("current_epoch", current)
        }
        Refused::Full(_) => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "registry_full", text),
    }
}

fn malformed(status: StatusCode, text: String) -> Problem {
    Problem::new(status, "malformed_request", text)
}

type App = State<Arc<Shared>>;
type Answer = Result<Json<Lease>, Problem>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/services", get(services))
        .route("/v1/instances/{name}", put(register))
        .route("/v1/instances/{name}", delete(deregister))
        .route("/v1/instances/{name}/heartbeat", post(heartbeat))
        .route("/v1/instances/{name}/drain", post(drain))
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(async || "ok\n"))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no_such_route", "no such route"))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(shared)
}

async fn register(
    State(shared): App,
    Path(name): Path<String>,
    body: Result<Json<Registration>, JsonRejection>,
) -> Answer {
    let Json(registration) = body.map_err(|bad| malformed(bad.status(), bad.body_text()))?;
    let mut problems = registration.problems();
    if registration.name != name {
        problems.push(format!(
            "name: `{}` is not the path's `{name}`",
            registration.name
        ));
    }
    if !problems.is_empty() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_registration",
            "not a usable registration",
        )
        .with("problems", problems));
    }
    shared.answer(shared.with(|machine, now| machine.register(registration, now)))
}

async fn heartbeat(
    State(shared): App,
    Path(name): Path<String>,
    body: Result<Json<Heartbeat>, JsonRejection>,
) -> Answer {
    let Json(beat) = body.map_err(|bad| malformed(bad.status(), bad.body_text()))?;
    shared.answer(shared.with(|machine, now| machine.heartbeat(&name, beat, now)))
}

async fn drain(
    State(shared): App,
    Path(name): Path<String>,
    body: Result<Json<Heartbeat>, JsonRejection>,
) -> Answer {
    let Json(beat) = body.map_err(|bad| malformed(bad.status(), bad.body_text()))?;
    shared.answer(shared.with(|machine, now| machine.drain(&name, beat.epoch, now)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Epoch {
    epoch: u64,
}

async fn deregister(
    State(shared): App,
    Path(name): Path<String>,
    query: Result<Query<Epoch>, QueryRejection>,
) -> Answer {
    let Query(Epoch { epoch }) = query.map_err(|bad| malformed(bad.status(), bad.body_text()))?;
    shared.answer(shared.with(|machine, now| machine.deregister(&name, epoch, now)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watch {
    name: Option<String>,
    kind: Option<String>,
    tag: Option<String>,
    since: Option<u64>,
    incarnation: Option<String>,
    wait: Option<HumanDuration>,
}

/// The list, at once without `since`, else as soon as something has changed after it, at the latest after `wait`.
async fn services(
    State(shared): App,
    query: Result<Query<Watch>, QueryRejection>,
) -> Result<Json<Listing>, Problem> {
    let Query(query) = query.map_err(|bad| malformed(bad.status(), bad.body_text()))?;
    let filter = Filter {
        name: query.name,
        kind: query.kind,
        tag: query.tag,
    };
    let list = || Json(shared.with(|machine, _| machine.list(&filter)));
    let (Some(since), Some(wait)) = (query.since, query.wait) else {
        return Ok(list());
    };
    let mut revision = shared.revision.subscribe();
    let news = async {
        while !shared
            .with(|machine, _| machine.is_news(&filter, since, query.incarnation.as_deref()))
        {
            if revision.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = shared.env.shutdown.cancelled() => {}
        () = news => {}
        () = tokio::time::sleep(wait.get().min(LONGEST_WAIT)) => {}
    }
    Ok(list())
}
