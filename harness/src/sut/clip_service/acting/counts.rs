//! What a gateway has counted of the calls it made.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for a gateway's counts.
const WITHIN: Duration = Duration::from_secs(1);

/// Calls since it was started, and the tries it made for them; `None` when it does not say.
pub(super) async fn ask(client: &reqwest::Client, gateway: SocketAddr) -> Option<(u64, u64)> {
    let asked = client
        .get(format!("http://{gateway}/internal/upstreams"))
        .timeout(WITHIN)
        .send()
        .await
        .ok()?;
    let answer: Value = serde_json::from_slice(&asked.bytes().await.ok()?).ok()?;
    let count = |what| answer["totals"][what].as_u64();
    Some((count("calls")?, count("tries")?))
}
