//! Ctrl-C and SIGTERM. The first ends the run with everything undone, the second stops waiting for what drains, the
//! third ends the program on the spot (what it leaves is in the journal).

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

/// Exit code of an interrupted program.
pub const INTERRUPTED: i32 = 130;

/// What signals do.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Cancelled by the first signal.
    pub cancel: CancellationToken,
    /// Cancelled by the second.
    pub force: CancellationToken,
}

/// Takes over SIGINT, SIGTERM and SIGHUP. To be called first thing in `main`: the load generator installs a handler of
/// its own when there is none, and that one would leave faults in place.
///
/// # Errors
/// When a handler is installed already.
pub fn install() -> Result<Signals, ctrlc::Error> {
    let signals = Signals::default();
    let taken = signals.clone();
    let count = AtomicUsize::new(0);
    ctrlc::set_handler(move || match count.fetch_add(1, Ordering::SeqCst) {
        0 => taken.cancel.cancel(),
        1 => taken.force.cancel(),
        _ => leave(),
    })?;
    Ok(signals)
}

#[expect(clippy::exit, reason = "three signals mean: now")]
fn leave() {
    std::process::exit(INTERRUPTED)
}
