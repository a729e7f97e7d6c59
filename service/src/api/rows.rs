//! Everything that a gateway can be asked, one row each. What a row is to admission stands beside it.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::Method;

use super::{Api, media, operations, options, upload, v1};
use crate::admission::{Admission, AdmissionConfig, Bulkhead, Priority, Turn};
use crate::edge::openapi::{self, Info};
use crate::edge::{
    Access, BodyLimit, Class, Content, Endpoint, Operation, Parameter, Refusal, Scope, TimeLimit,
};
use crate::env::SharedRng;

/// Where a gateway's limit on concurrent requests begins. A gateway waits more than it works; what it has in flight is
/// mostly at processors, which have limits of their own.
const INITIAL: u32 = 256;

const UPLOAD: &str = "upload";
const STREAM: &str = "stream";
const READ: &str = "read";

/// The limits of a gateway.
#[must_use]
pub fn admission(config: &AdmissionConfig, rng: &SharedRng) -> Admission {
    let sizes = &config.bulkheads;
    let bulkheads = vec![
        Bulkhead::new(UPLOAD, sizes.upload),
        Bulkhead::new(STREAM, sizes.stream),
        Bulkhead::new(READ, sizes.read),
    ];
    Admission::new(config, INITIAL, rng, bulkheads)
}

const fn class(name: &'static str, priority: Priority, bulkhead: Option<&'static str>) -> Class {
    Class {
        name,
        priority,
        turn: Turn::Needed,
        bulkhead,
    }
}

const FRAMES: Class = class("frame", Priority::High, Some(READ));
const DOWNLOADS: Class = class("download", Priority::High, Some(STREAM));
const SUBMITS: Class = class("submit", Priority::Normal, None);
const LISTS: Class = class("list", Priority::Background, None);
const UPLOADS: Class = Class {
    turn: Turn::Gate,
    ..class("upload", Priority::Low, Some(UPLOAD))
};

const UNREADABLE: Refusal = (400, "The request cannot be read.");
const UNKNOWN: Refusal = (404, "There is nothing under this id.");
const TOO_LARGE: Refusal = (413, "The body is larger than this server takes.");
const NOT_JSON: Refusal = (415, "The body is not of the type expected.");
const WRONG: Refusal = (
    422,
    "The request can be read and makes no sense; errors name every part.",
);
const LIMITED: Refusal = (
    429,
    "More requests or jobs than may be; `Retry-After` says when to come again.",
);
const FAILED: Refusal = (502, "A processor failed.");
const UNAVAILABLE: Refusal = (
    503,
    "The node is going away or has too much to do; `Retry-After` says when to come again.",
);
const LATE: Refusal = (504, "The request's time was up.");

const PAGES: &[Parameter] = &[
    Parameter::new(
        "status",
        "string",
        "Only jobs in this state: queued, running, completed, failed.",
    ),
    Parameter::new("limit", "integer", "Jobs on a page, 1 to 200. Default 50."),
    Parameter::new(
        "cursor",
        "string",
        "Where the page before ended: its `next_cursor`.",
    ),
];

const UPLOAD_PARAMETERS: &[Parameter] = &[Parameter::new(
    "process",
    "string",
    "Whether a job is submitted at once: true (default) or false. Also a field of the form.",
)];

const FRAME_PARAMETERS: &[Parameter] = &[
    Parameter::new("at", "string", "Seconds from the start: 12.5. Default 0."),
    Parameter::new("width", "integer", "Pixels, 16 to 3840. Default 640."),
];

const INFO: Info = Info {
    title: "Video clips",
    about: "Long videos in; scored, cut, reframed clips out.",
    path_parameters: &[
        (
            "id",
            "Id of the job, video or clip: `job_…`, `video_…`, `clip_…`.",
        ),
        ("name", "Name of a processor."),
    ],
};

/// The rows.
pub(super) fn endpoints() -> Vec<Endpoint<Arc<Api>>> {
    let mut all = jobs();
    all.extend(videos());
    all.extend(clips());
    all.extend(operational());
    all
}

fn jobs() -> Vec<Endpoint<Arc<Api>>> {
    vec![
        Endpoint::new(
            Operation {
                access: Access::Scope(Scope::Write),
                class: SUBMITS,
                body: Content::Json(options::schema),
                answers: &[(
                    202,
                    "The job is accepted: it is on the disk.",
                    Content::Json(|g| g.subschema_for::<v1::Accepted>()),
                )],
                refusals: &[
                    UNREADABLE,
                    TOO_LARGE,
                    NOT_JSON,
                    WRONG,
                    LIMITED,
                    UNAVAILABLE,
                    LATE,
                ],
                ..Operation::new(
                    Method::POST,
                    "/api/v1/process-video",
                    "submitJob",
                    "Submits a job for a video that was uploaded.",
                )
            },
            post(v1::process_video),
        ),
        Endpoint::new(
            Operation {
                access: Access::Scope(Scope::Read),
                class: LISTS,
                parameters: PAGES,
                answers: &[(
                    200,
                    "A page of jobs, the latest first.",
                    Content::Json(|g| g.subschema_for::<v1::JobPage>()),
                )],
                refusals: &[UNREADABLE, WRONG, LIMITED, UNAVAILABLE, LATE],
                ..Operation::new(Method::GET, "/api/v1/jobs", "listJobs", "Lists jobs.")
            },
            get(v1::jobs),
        ),
        Endpoint::new(
            Operation {
                access: Access::Scope(Scope::Read),
                answers: &[(
                    200,
                    "The job.",
                    Content::Json(|g| g.subschema_for::<v1::JobView>()),
                )],
                refusals: &[UNKNOWN, LIMITED, UNAVAILABLE, LATE],
                ..Operation::new(
                    Method::GET,
                    "/api/v1/jobs/{id}",
                    "getJob",
                    "One job: its state, progress, and why it failed.",
                )
            },
            get(v1::job),
        ),
        Endpoint::new(
            Operation {
                access: Access::Scope(Scope::Read),
                answers: &[(
                    200,
                    "The clips, the best first.",
                    Content::Json(|g| g.subschema_for::<v1::ClipList>()),
                )],
                refusals: &[UNKNOWN, LIMITED, UNAVAILABLE, LATE],
                ..Operation::new(
                    Method::GET,
                    "/api/v1/jobs/{id}/clips",
                    "listClips",
                    "The clips of a job as far as they are done.",
                )
            },
            get(v1::clips),
        ),
    ]
}

fn videos() -> Vec<Endpoint<Arc<Api>>> {
    vec![
        Endpoint::new(
            Operation {
                access: Access::Scope(Scope::Write),
                class: UPLOADS,
                time: TimeLimit::Upload,
                limit: BodyLimit::Counted,
                parameters: UPLOAD_PARAMETERS,
                body: Content::Form(options::form_schema),
                answers: &[
                    (
                        201,
                        "The video is stored; no job was wanted.",
                        Content::Json(|g| g.subschema_for::<upload::Uploaded>()),
                    ),
                    (
                        202,
                        "The video is stored, and a job for it is accepted.",
                        Content::Json(|g| g.subschema_for::<v1::Accepted>()),
                    ),
                ],
                refusals: &[
                    UNREADABLE,
                    TOO_LARGE,
                    NOT_JSON,
                    WRONG,
                    LIMITED,
                    FAILED,
                    UNAVAILABLE,
                    LATE,
                ],
                ..Operation::new(
                    Method::POST,
                    "/api/v1/upload",
                    "upload",
                    "Uploads a video as a form, and submits a job for it.",
                )
            },
            post(upload::upload),
        ),
        Endpoint::new(
            Operation {
                access: Access::Scope(Scope::Read),
                class: FRAMES,
                parameters: FRAME_PARAMETERS,
                answers: &[(200, "The frame.", Content::Bytes("image/jpeg"))],
                refusals: &[
                    UNREADABLE,
                    UNKNOWN,
                    WRONG,
                    LIMITED,
                    FAILED,
                    UNAVAILABLE,
                    LATE,
                ],
                ..Operation::new(
                    Method::GET,
                    "/api/v1/videos/{id}/frame",
                    "getFrame",
                    "A single frame of a video.",
                )
            },
            get(media::frame),
        ),
    ]
}

fn clips() -> Vec<Endpoint<Arc<Api>>> {
    let bytes = |kind, path, id, summary| Operation {
        access: Access::Scope(Scope::Read),
        class: DOWNLOADS,
        answers: kind,
        refusals: &[
            UNKNOWN,
            (416, "The range lies outside of the file."),
            LIMITED,
            UNAVAILABLE,
            LATE,
        ],
        ..Operation::new(Method::GET, path, id, summary)
    };
    vec![
        Endpoint::new(
            bytes(
                &[
                    (200, "The whole file.", Content::Bytes("video/mp4")),
                    (206, "A range of it.", Content::Bytes("video/mp4")),
                    (304, "The client has it.", Content::Empty),
                ],
                "/api/v1/clips/{id}/download",
                "downloadClip",
                "The file of a clip, with ranges.",
            ),
            get(media::download),
        ),
        Endpoint::new(
            bytes(
                &[
                    (200, "The picture.", Content::Bytes("image/jpeg")),
                    (206, "A range of it.", Content::Bytes("image/jpeg")),
                    (304, "The client has it.", Content::Empty),
                ],
                "/api/v1/clips/{id}/thumbnail.jpg",
                "getThumbnail",
                "A poster of a clip.",
            ),
            get(media::thumbnail),
        ),
    ]
}

fn operational() -> Vec<Endpoint<Arc<Api>>> {
    let operation = |method, path, id, summary| Operation {
        access: Access::Operational,
        ..Operation::new(method, path, id, summary)
    };
    let ready = |path, id| Operation {
        refusals: &[(503, "New work is not welcome here now.")],
        ..operation(Method::GET, path, id, "Whether new work is welcome.")
    };
    let health = |path, id| operation(Method::GET, path, id, "Whether the process answers.");
    vec![
        Endpoint::new(health("/health", "health"), get(operations::health)),
        Endpoint::new(health("/livez", "livez"), get(operations::health)),
        Endpoint::new(ready("/ready", "ready"), get(operations::ready)),
        Endpoint::new(ready("/readyz", "readyz"), get(operations::ready)),
        Endpoint::new(
            Operation {
                answers: &[(200, "Prometheus' text format.", Content::Text)],
                ..operation(Method::GET, "/metrics", "metrics", "Numbers.")
            },
            get(operations::metrics),
        ),
        Endpoint::new(
            operation(
                Method::GET,
                "/internal/upstreams",
                "upstreams",
                "Every processor as this gateway sees it.",
            ),
            get(operations::upstreams),
        ),
        Endpoint::new(
            Operation {
                body: Content::Json(operations::breaker_schema),
                answers: &[(200, "The breaker as it is now.", Content::AnyJson)],
                refusals: &[UNREADABLE, UNKNOWN, TOO_LARGE, NOT_JSON, WRONG],
                ..operation(
                    Method::POST,
                    "/internal/upstreams/{name}/breaker",
                    "moveBreaker",
                    "Moves the breaker of one processor by hand, on this gateway.",
                )
            },
            post(operations::breaker),
        ),
        Endpoint::new(
            operation(Method::GET, "/openapi.json", "openapi", "This document."),
            get(describe),
        ),
    ]
}

async fn describe() -> Response {
    let endpoints = endpoints();
    let rows = endpoints.iter().map(|endpoint| &endpoint.operation);
    Json(openapi::document(&INFO, rows)).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::admission::KINDS;

    fn rows() -> Vec<Operation> {
        let endpoints = endpoints().into_iter();
        endpoints.map(|endpoint| endpoint.operation).collect()
    }

    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(entries) => {
                if let Some(Value::String(reference)) = entries.get("$ref") {
                    found.push(reference);
                }
                entries.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_row_is_described_under_an_id_of_its_own() {
        let rows = rows();
        let document = openapi::document(&INFO, &rows);
        let ids: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
        assert_eq!(ids.len(), rows.len());
        for row in &rows {
            let method = row.method.as_str().to_ascii_lowercase();
            let described = &document["paths"][row.path][method];
            assert_eq!(described["operationId"], row.id);
            let in_path = row.path.matches('{').count();
            let parameters = described["parameters"].as_array().expect("a list");
            assert_eq!(parameters.len(), in_path + row.parameters.len());
            for parameter in parameters {
                assert_ne!(parameter["description"], "", "{}", row.id);
            }
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > rows.len());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn admission_tells_every_class_apart_and_knows_its_bulkhead() {
        let admission = admission(&AdmissionConfig::default(), &SharedRng::seeded(1));
        let rows = rows();
        let classes: BTreeSet<_> = rows.iter().map(|row| row.class.name).collect();
        assert!(classes.len() < KINDS, "{classes:?}");
        for name in rows.iter().filter_map(|row| row.class.bulkhead) {
            assert!(admission.bulkhead(name).is_some(), "{name}");
        }
    }
}
