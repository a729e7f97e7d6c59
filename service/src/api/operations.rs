//! What operators and other programs ask a gateway about itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, header};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Api;
use crate::edge::request::{Id, json_object};
use crate::http::{FieldError, Problem};
use crate::telemetry::Metric;

/// `GET /health`: the process answers. Looks at nothing else, so that no dependency can have it restarted.
pub(super) async fn health(State(api): State<Arc<Api>>) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({ "status": "ok", "role": "gateway", "node": &*api.env.node, "version": version }))
        .into_response()
}

/// `GET /ready`: whether new work is welcome.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    // Said before new requests are refused, so that whoever asks can go elsewhere first.
    if api.draining.is_cancelled() || api.env.shutdown.is_cancelled() {
        return Err(Problem::draining());
    }
    api.storage()?;
    if !api.queue.has_seen_processors(&api.upstream) {
        let detail = "no processor has been seen yet";
        return Err(Problem::new(
            http::StatusCode::SERVICE_UNAVAILABLE,
            "no_processor",
            detail,
        )
        .retry_after(1));
    }
    Ok(Json(json!({ "status": "ready" })).into_response())
}

/// `GET /metrics`: Prometheus' text format.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    refresh(&api).await;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.metrics.render()).into_response()
}

/// Brings the gauges up to date that nobody pushes.
async fn refresh(api: &Api) {
    let metrics = &api.metrics;
    metrics.set(
        Metric::Ready,
        &[],
        if api.draining.is_cancelled() || api.storage().is_err() {
            0.0
        } else {
            1.0
        },
    );
    if let Ok(stats) = api.env.store.stats(api.env.clock.now()).await {
        metrics.set(Metric::JobsOpen, &[], stats.jobs_open as f64);
        metrics.set(
            Metric::Queue,
            &[("state", "waiting")],
            stats.tasks_waiting as f64,
        );
        metrics.set(
            Metric::Queue,
            &[("state", "leased")],
            stats.tasks_leased as f64,
        );
    }
    metrics.set(Metric::TasksInFlight, &[], api.queue.in_flight() as f64);
    api.admission.publish(metrics);
    metrics.dropped(&api.env.notices);
    super::upstreams::publish(metrics, &api.upstream);
}

/// `GET /internal/upstreams`: every instance as this gateway sees it.
pub(super) async fn upstreams(State(api): State<Arc<Api>>) -> Response {
    Json(json!({
        "instances": api.upstream.snapshot(),
        "routes": api.upstream.routes(),
        "totals": api.upstream.metrics(),
    }))
    .into_response()
}

/// What moves a breaker, for the description.
pub(super) fn breaker_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { "state": { "enum": ["forced-open", "observe", "closed"] } },
        "required": ["state"],
        "additionalProperties": false,
    })
}

/// `POST /internal/upstreams/{name}/breaker` with `{"state": …}`: moves the breaker of one instance by hand, on this gateway.
/// `forced-open` keeps every call away until it is closed, `observe` lets every call through and only says what the breaker
/// would do, `closed` takes either back. Answers what the breaker is now.
pub(super) async fn breaker(
    State(api): State<Arc<Api>>,
    Id(name): Id,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wish = json_object(&headers, body)?;
    let unknown: Vec<FieldError> = wish
        .keys()
        .filter(|key| *key != "state")
        .map(|key| FieldError {
            pointer: format!("/{key}"),
            detail: format!("unknown field `{key}`; the only one is state"),
        })
        .collect();
    if let Some(first) = unknown.first() {
        let detail = first.detail.clone();
        let status = http::StatusCode::BAD_REQUEST;
        return Err(Problem::new(status, "unknown_field", detail).errors(unknown));
    }
    let breaker = api
        .upstream
        .breaker(&name)
        .ok_or_else(|| Problem::not_found("instance", &name))?;
    match wish.get("state").and_then(Value::as_str) {
        Some("forced-open") => breaker.force_open(),
        Some("closed") => breaker.force_close(),
        Some("observe") => breaker.observe(),
        _ => {
            let detail = "must be forced-open, closed or observe";
            return Err(Problem::field("invalid_request", "/state", detail));
        }
    };
    Ok(Json(breaker.snapshot(Instant::now())).into_response())
}
