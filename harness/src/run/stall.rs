//! Whether the harness itself stood still: stopped, suspended with the machine, or kept from its processor. A thread of
//! its own beats, and a beat that comes late is an event; what was measured meanwhile says nothing about the system.

#![expect(
    clippy::disallowed_types,
    reason = "real time is what it watches, whatever a paused clock says"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::event::EventKind;
use crate::runtime::emit::Emitter;

const BEAT: Duration = Duration::from_millis(50);
/// Lateness that is told. Below it lie the timers of a busy machine, which the lag of the load generator covers.
const LATE: Duration = Duration::from_secs(1);

/// The heart, which beats until this is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    pub(super) fn start(emitter: Emitter) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let beat = move || {
            let mut last = Clocks::now();
            while !stop.load(Ordering::SeqCst) {
                std::thread::park_timeout(BEAT);
                let now = Clocks::now();
                let gap = now.since(&last);
                last = now;
                if gap >= LATE {
                    emitter.event(EventKind::HarnessStalled {
                        for_us: u64::try_from(gap.as_micros()).unwrap_or(u64::MAX),
                    });
                }
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".to_owned());
        Self {
            over,
            thread: thread.spawn(beat).ok(),
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().ok();
        }
    }
}

/// The clock that stands still while the machine is suspended, and the one that does not.
struct Clocks {
    awake: Instant,
    uptime: Option<f64>,
}

impl Clocks {
    fn now() -> Self {
        let uptime = std::fs::read_to_string("/proc/uptime").ok();
        Self {
            awake: Instant::now(),
            uptime: uptime.and_then(|text| text.split_whitespace().next()?.parse().ok()),
        }
    }

    fn since(&self, before: &Self) -> Duration {
        let awake = self.awake.duration_since(before.awake);
        let passed = self.uptime.zip(before.uptime);
        let passed = passed.and_then(|(now, then)| Duration::try_from_secs_f64(now - then).ok());
        awake.max(passed.unwrap_or_default())
    }
}
