//! Waiting for signals to show their effect.

use std::time::Duration;

/// Time a signal has to show its effect.
pub(super) const EFFECT_WITHIN: Duration = Duration::from_secs(5);
/// The same on the way out of a panic, where nothing else can go on meanwhile.
pub(super) const ABANDON_WITHIN: Duration = Duration::from_secs(1);

/// Does what blocks for some milliseconds away from the threads that drive load; `None` when it panicked.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
