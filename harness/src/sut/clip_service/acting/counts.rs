//! What a gateway has counted of the calls it made.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::super::probes::AMPLIFICATION;
use crate::sut::acting::Counts;

/// Longest wait for a gateway's counts.
const WITHIN: Duration = Duration::from_secs(1);

/// The tries a gateway made since it was started and the calls they were made for; `None` when it does not say, and for
/// probes that do not count.
pub(super) async fn ask(
    probe: &str,
    client: &reqwest::Client,
    gateway: SocketAddr,
) -> Option<Counts> {
    if probe != AMPLIFICATION {
        return None;
    }
    let asked = client
        .get(format!("http://{gateway}/internal/upstreams"))
        .timeout(WITHIN)
        .send()
        .await
        .ok()?;
    let answer: Value = serde_json::from_slice(&asked.bytes().await.ok()?).ok()?;
    let count = |what| answer["totals"][what].as_u64();
    Some(Counts {
        counted: count("tries")?,
        per: count("calls")?,
    })
}
