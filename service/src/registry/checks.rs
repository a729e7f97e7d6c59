//! Asking instances: the active checks they registered, and the probes of suspects. What answers mean is the machine's.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use super::machine::{Due, Outcome, Probe};
use super::routes::Shared;
use crate::env::Env;
use crate::http::{Client, ClientError, Problem};

const PROBE_TIMEOUT: Duration = Duration::from_millis(300);
/// Checks on their way at once. With more due than answer in time, checks come later than they should.
const CHECKS_AT_ONCE: usize = 64;
/// A problem is shorter.
const BODY_LIMIT: usize = 16 * 1024;

/// Runs the checks for ever.
pub(super) async fn run(env: &Env, shared: &Shared) {
    let client = Client::new(env);
    let rng = env.rng.fork("checks");
    let mut asking = FuturesUnordered::new();
    loop {
        let room = CHECKS_AT_ONCE - asking.len();
        let (due, next) =
            shared.with(|machine, now| (machine.checks_due(room, now), machine.next_check()));
        asking.extend(due.into_iter().map(|due| ask(&client, due)));
        let full = asking.len() >= CHECKS_AT_ONCE;
        let wait = async {
            match next {
                Some(at) if !full => tokio::time::sleep_until(at).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some((due, outcome)) = asking.next() => {
                let unit = rng.unit();
                let changes = shared.with(|machine, now| {
                    machine.checked(&due.name, due.epoch, &outcome, unit, now)
                });
                shared.report(changes);
            }
            () = shared.to_check.notified() => {}
            () = wait => {}
        }
    }
}

async fn ask(client: &Client, due: Due) -> (Due, Outcome) {
    let url = format!("http://{}{}", due.address, due.check.path);
    let timeout = due.check.timeout;
    let answer = tokio::time::timeout(timeout.get(), get(client, &url)).await;
    let outcome = answer.unwrap_or_else(|_| Outcome::Failed(format!("no answer within {timeout}")));
    (due, outcome)
}

async fn get(client: &Client, url: &str) -> Outcome {
    let request = match Request::get(url).body(Full::<Bytes>::default()) {
        Ok(request) => request,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let response = match client.request(request).await {
        Ok(response) => response,
        // Only what says that nobody is there. Other reasons (no such name, no more sockets) may be this side's.
        Err(ClientError::Connect(why)) if why.to_ascii_lowercase().contains("refused") => {
            return Outcome::Refused;
        }
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let status = response.status();
    // Read to the end, so that the connection can be used again.
    let body = Limited::new(response.into_body(), BODY_LIMIT)
        .collect()
        .await;
    if status.is_success() {
        return Outcome::Passed;
    }
    let problem = body.ok().and_then(|body| Problem::parse(&body.to_bytes()));
    match problem {
        Some(problem)
            if status == StatusCode::SERVICE_UNAVAILABLE && problem.code == "draining" =>
        {
            Outcome::Draining
        }
        Some(problem) => Outcome::Failed(format!("answered {}, {}", status.as_u16(), problem.code)),
        None => Outcome::Failed(format!("answered {}", status.as_u16())),
    }
}

/// Whether the suspect answers at all; what it answers does not matter here.
pub(super) async fn probe(client: &Client, suspect: Probe) -> (Probe, bool) {
    let request = Request::get(format!("http://{}/health", suspect.address)).body(Full::default());
    let alive = match request {
        Ok(request) => matches!(
            tokio::time::timeout(PROBE_TIMEOUT, client.request(request)).await,
            Ok(Ok(_))
        ),
        Err(_) => false,
    };
    (suspect, alive)
}
