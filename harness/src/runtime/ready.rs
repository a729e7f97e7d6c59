//! Readiness is a condition that is polled, never a pause; when it is not met, the error says what was last seen.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{Node, RuntimeError};
use crate::http::{client, describe};
use crate::plan::ReadyPlan;

const POLL: Duration = Duration::from_millis(25);
const TRY_BOUND: Duration = Duration::from_secs(1);

/// Waits until the node answers as planned, asking it directly and not through a link.
pub(super) async fn wait(plan: &ReadyPlan, node: &dyn Node) -> Result<(), RuntimeError> {
    let client = client();
    let began = Instant::now();
    let mut seen = "nothing".to_owned();
    let poll = async {
        loop {
            // A node that has ended will not become ready.
            if let Some(how) = node.ended() {
                return Err(how);
            }
            match node.probe(&client, plan).await {
                Ok(status) if status == plan.status => return Ok(()),
                Ok(status) => seen = format!("status {status}"),
                Err(what) => seen = what,
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let within = plan.within.get();
    let failed = match tokio::time::timeout(within, poll).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(how)) => {
            return Err(RuntimeError::EndedEarly {
                node: node.name().to_owned(),
                after: format!("{:.1} s", began.elapsed().as_secs_f64()),
                how,
            });
        }
        Err(_) => seen,
    };
    Err(RuntimeError::NotReady {
        node: node.name().to_owned(),
        within: plan.within.to_string(),
        wanted: format!("GET {} to answer {}", plan.path, plan.status),
        seen: failed,
    })
}

/// Asks an HTTP server for its readiness.
pub(super) async fn probe(
    client: &reqwest::Client,
    plan: &ReadyPlan,
    address: Option<SocketAddr>,
) -> Result<u16, String> {
    let address = address.ok_or("no address yet")?;
    client
        .get(format!("http://{address}{}", plan.path))
        .timeout(TRY_BOUND)
        .send()
        .await
        .map(|answer| answer.status().as_u16())
        .map_err(|error| describe(&error))
}
