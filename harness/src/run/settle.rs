//! After load: what became of the work that was accepted. Asked again and again until all of it is terminal, or the
//! settle time is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Client;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::{Accepted, EventKind, Fate, LedgerEntry};
use crate::http;

use crate::plan::{EndPlan, LedgerCheck, LedgerRead, ResultsRead};
use crate::runtime::emit::Emitter;
use crate::scenario::json_path::scalar_text;
use crate::sut::acting::{self, Inspector};

const PERIOD: Duration = Duration::from_millis(250);
const REQUEST_BOUND: Duration = Duration::from_secs(10);
const DOWNLOAD_BOUND: Duration = Duration::from_secs(60);
/// Reads at once. The system has just been through something; this is not another load.
const AT_ONCE: usize = 8;

struct Reader<'a> {
    client: Client,
    base: String,
    read: &'a LedgerRead,
    inspector: Option<Box<dyn Inspector>>,
    scratch: &'a Path,
}

/// What is known of one id so far.
enum Known {
    Terminal(Fate),
    Not(Fate),
}

/// Reads the fate of everything accepted. Ends early, with what is known, when the run does.
pub(super) async fn settle(
    end: &EndPlan,
    mut entries: Vec<LedgerEntry>,
    entry: SocketAddr,
    emitter: &Emitter,
    stopped: &CancellationToken,
    scratch: &Path,
) -> Vec<LedgerEntry> {
    let Some(read) = &end.read else {
        return entries;
    };
    if stopped.is_cancelled() {
        return entries;
    }
    let inspector = if end.ledger.contains(&LedgerCheck::AllPlayable) {
        acting::inspector()
            .map_err(|error| emitter.warn(format!("results cannot be decoded: {error}")))
            .ok()
    } else {
        None
    };
    let reader = Reader {
        client: http::client(),
        base: format!("http://{entry}"),
        read,
        inspector,
        scratch,
    };
    let began = Instant::now();
    let until = began + end.settle.get();
    let mut open: BTreeMap<String, Option<Fate>> = entries
        .iter()
        .filter(|entry| entry.accepted == Accepted::Ok)
        .filter_map(|entry| Some((entry.id.clone()?, None)))
        .collect();
    let accepted = u64::try_from(open.len()).unwrap_or(u64::MAX);
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    let mut announced = None;
    while !open.is_empty() {
        if announced != Some(open.len()) {
            announced = Some(open.len());
            emitter.event(EventKind::Settling {
                open: u64::try_from(open.len()).unwrap_or(u64::MAX),
                accepted,
            });
        }
        let asked: Vec<String> = open.keys().cloned().collect();
        let answers = stream::iter(asked)
            .map(|id| async {
                let known = reader.fate(&id).await;
                (id, known)
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>();
        let answers = tokio::select! {
            biased;
            () = stopped.cancelled() => break,
            answers = answers => answers,
        };
        for (id, known) in answers {
            match known {
                Known::Terminal(fate) => {
                    open.remove(&id);
                    fates.insert(id, fate);
                }
                Known::Not(fate) => {
                    open.insert(id, Some(fate));
                }
            }
        }
        if open.is_empty() || Instant::now() >= until {
            break;
        }
        tokio::time::sleep_until(until.min(Instant::now() + PERIOD)).await;
    }
    fates.extend(open.into_iter().filter_map(|(id, fate)| Some((id, fate?))));
    for entry in &mut entries {
        if entry.accepted == Accepted::Ok {
            entry.fate = entry.id.as_ref().and_then(|id| fates.get(id)).cloned();
        }
    }
    emitter.event(EventKind::Settled {
        took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
    });
    entries
}

impl Reader<'_> {
    async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let answer = self
            .client
            .get(format!("{}{path}", self.base))
            .timeout(REQUEST_BOUND)
            .send()
            .await
            .map_err(|error| http::describe(&error))?;
        let status = answer.status().as_u16();
        let body = answer
            .bytes()
            .await
            .map_err(|error| http::describe(&error))?;
        Ok((status, body.to_vec()))
    }

    async fn json(&self, path: &str) -> Result<Value, (u16, String)> {
        match self.get(path).await {
            Ok((200, body)) => {
                serde_json::from_slice(&body).map_err(|error| (200, format!("no JSON: {error}")))
            }
            Ok((status, _)) => Err((status, format!("GET {path} answered {status}"))),
            Err(why) => Err((0, format!("GET {path}: {why}"))),
        }
    }

    async fn fate(&self, id: &str) -> Known {
        let value = match self.json(&self.read.get.replace("{id}", id)).await {
            Ok(value) => value,
            Err((404, _)) => return Known::Terminal(Fate::Lost),
            Err((_, reason)) => return Known::Not(Fate::Unreadable { reason }),
        };
        let Some(state) = self.read.state.find_text(&value) else {
            return Known::Not(Fate::Unreadable {
                reason: format!("no {} in the answer", self.read.state),
            });
        };
        if self.read.failed.contains(&state) {
            let reason = value.pointer("/error/detail").and_then(scalar_text);
            return Known::Terminal(Fate::Failed {
                reason: reason.unwrap_or(state),
            });
        }
        if !self.read.done.contains(&state) {
            return Known::Not(Fate::Open { state });
        }
        match &self.read.results {
            None => Known::Terminal(Fate::Done {
                results: 0,
                decoded: None,
                duplicates: 0,
                trouble: None,
            }),
            Some(results) => match self.results(results, id).await {
                Ok(fate) => Known::Terminal(fate),
                Err(reason) => Known::Not(Fate::Unreadable { reason }),
            },
        }
    }

    async fn results(&self, results: &ResultsRead, id: &str) -> Result<Fate, String> {
        let listed = self
            .json(&results.get.replace("{id}", id))
            .await
            .map_err(|(_, why)| why)?;
        let items = results
            .items
            .find(&listed)
            .and_then(Value::as_array)
            .ok_or_else(|| format!("no {} in the list of results", results.items))?;
        let mut ranks: BTreeMap<String, u32> = BTreeMap::new();
        let (mut decoded, mut trouble) = (0, None);
        for item in items {
            if let Some(rank) = results.rank.find_text(item) {
                *ranks.entry(rank).or_default() += 1;
            }
            if let Some(inspector) = &self.inspector {
                match self.inspect(inspector.as_ref(), results, item).await {
                    Ok(()) => decoded += 1,
                    Err(why) => trouble = trouble.or(Some(why)),
                }
            }
        }
        let repeated = ranks.values().filter(|count| **count > 1).count();
        Ok(Fate::Done {
            results: u32::try_from(items.len()).unwrap_or(u32::MAX),
            decoded: self.inspector.is_some().then_some(decoded),
            duplicates: u32::try_from(repeated).unwrap_or(u32::MAX),
            trouble,
        })
    }

    /// Downloads one result and has it looked at to its end.
    async fn inspect(
        &self,
        inspector: &dyn Inspector,
        results: &ResultsRead,
        item: &Value,
    ) -> Result<(), String> {
        let url = results
            .url
            .find_text(item)
            .ok_or_else(|| format!("a result without {}", results.url))?;
        let check = async {
            let (status, body) = self.get(&url).await?;
            if status != 200 {
                return Err(format!("GET {url} answered {status}"));
            }
            let file = tempfile::Builder::new()
                .prefix("result-")
                .suffix(inspector.suffix())
                .tempfile_in(self.scratch)
                .map_err(|error| error.to_string())?;
            tokio::fs::write(file.path(), body)
                .await
                .map_err(|error| error.to_string())?;
            inspector.inspect(file.path()).await
        };
        tokio::time::timeout(DOWNLOAD_BOUND, check)
            .await
            .map_err(|_| format!("{url} was not decoded within {DOWNLOAD_BOUND:?}"))?
            .map_err(|why| format!("{url}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::JsonPath;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::extract::{Path as Segment, State};
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use clip_service::units::HumanDuration;
    use serde_json::json;

    use super::*;
    use crate::event::Offset;

    /// `slow` is done when asked for the third time; `open` never is; anything unknown is 404.
    async fn server() -> SocketAddr {
        async fn job(
            State(asked): State<Arc<AtomicU32>>,
            Segment(id): Segment<String>,
        ) -> Result<Json<Value>, StatusCode> {
            let status = match id.as_str() {
                "done" => "completed",
                "slow" if asked.fetch_add(1, Ordering::SeqCst) >= 2 => "completed",
                "slow" | "open" => "running",
                "bad" => "failed",
                _ => return Err(StatusCode::NOT_FOUND),
            };
            Ok(Json(
                json!({"status": status, "error": {"detail": "no video stream"}}),
            ))
        }
        let app = Router::new()
            .route("/jobs/{id}", get(job))
            .route(
                "/jobs/{id}/clips",
                get(|| async { Json(json!({"clips": [{"rank": 0}, {"rank": 1}, {"rank": 1}]})) }),
            )
            .with_state(Arc::new(AtomicU32::new(0)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    fn entry(id: &str, accepted: Accepted) -> LedgerEntry {
        LedgerEntry {
            load: 0,
            id: Some(id.to_owned()),
            due: Offset(0),
            accepted,
            fate: None,
        }
    }

    #[tokio::test]
    async fn every_fate_is_told_and_slow_work_is_waited_for() {
        let end = EndPlan {
            settle: HumanDuration::millis(1500),
            ledger: vec![LedgerCheck::NoLost],
            read: Some(LedgerRead {
                get: "/jobs/{id}".to_owned(),
                state: JsonPath::field("status"),
                done: vec!["completed".to_owned()],
                failed: vec!["failed".to_owned()],
                results: Some(ResultsRead {
                    get: "/jobs/{id}/clips".to_owned(),
                    items: JsonPath::field("clips"),
                    url: JsonPath::field("download_url"),
                    rank: JsonPath::field("rank"),
                }),
            }),
        };
        let ids = ["done", "slow", "open", "bad", "gone"];
        let mut entries: Vec<_> = ids.iter().map(|id| entry(id, Accepted::Ok)).collect();
        entries.push(entry("never-asked", Accepted::Refused));
        let (emitter, _events) = Emitter::new();
        let stopped = CancellationToken::new();
        let dir = tempfile::tempdir().expect("dir");
        let settled = settle(
            &end,
            entries,
            server().await,
            &emitter,
            &stopped,
            dir.path(),
        )
        .await;
        let done = Some(Fate::Done {
            results: 3,
            decoded: None,
            duplicates: 1,
            trouble: None,
        });
        let fates: Vec<_> = settled.into_iter().map(|entry| entry.fate).collect();
        assert_eq!(
            fates,
            [
                done.clone(),
                done,
                Some(Fate::Open {
                    state: "running".to_owned()
                }),
                Some(Fate::Failed {
                    reason: "no video stream".to_owned()
                }),
                Some(Fate::Lost),
                None,
            ]
        );
    }
}
