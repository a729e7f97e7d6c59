//! What the machine is doing while a run goes on, from `/proc`.

use std::fs;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::event::EventKind;
use crate::runtime::emit::Emitter;

const PERIOD: Duration = Duration::from_secs(1);

/// Jiffies since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cpu {
    total: u64,
    idle: u64,
}

/// Reports once a second until the run is over. Silent where there is no `/proc`.
pub(super) async fn watch(emitter: &Emitter, over: &CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (Some(now), Some(memory_available)) = (
            read("/proc/stat").and_then(|text| cpu(&text)),
            read("/proc/meminfo").and_then(|text| memory(&text)),
        ) else {
            continue;
        };
        if let Some(before) = before.replace(now) {
            emitter.event(EventKind::Host {
                cpu: busy(before, now),
                memory_available,
            });
        }
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The first line: user nice system idle iowait irq softirq steal (guest is part of user).
fn cpu(stat: &str) -> Option<Cpu> {
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    Some(Cpu {
        total: fields.iter().sum(),
        idle: fields.get(3)? + fields.get(4)?,
    })
}

fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn busy(before: Cpu, now: Cpu) -> f64 {
    let total = now.total.saturating_sub(before.total);
    let idle = now.idle.saturating_sub(before.idle);
    if total == 0 {
        return 0.0;
    }
    (1.0 - idle as f64 / total as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_share_is_what_is_not_idle() {
        let before = cpu("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2").expect("cpu");
        let now = cpu("cpu  150 0 150 770 130 0 0 0 0 0").expect("cpu");
        assert_eq!(
            before,
            Cpu {
                total: 1000,
                idle: 800
            }
        );
        assert!((busy(before, now) - 0.5).abs() < 1e-9);
        assert!(busy(now, now).abs() < 1e-9);
        assert_eq!(cpu("intr 1 2 3"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(
            memory("MemTotal: 10 kB\nMemAvailable:    2048 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(memory("MemTotal: 10 kB"), None);
    }
}
