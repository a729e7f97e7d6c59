//! The machine: what it is, how busy its processors are, and how much memory it has left.

use std::fs;

/// Time that all processors have spent since boot, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime {
    total: u64,
    idle: u64,
}

impl CpuTime {
    /// Up to now; `None` where that is not known.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line: user nice system idle iowait irq softirq steal (guest is part of user).
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<u64> = stat
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .take(8)
            .map_while(|field| field.parse().ok())
            .collect();
        Some(Self {
            total: fields.iter().sum(),
            idle: fields.get(3)? + fields.get(4)?,
        })
    }

    /// Busy share of all processors since `before`, 0 to 1.
    #[must_use]
    pub fn busy_since(self, before: Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        let idle = self.idle.saturating_sub(before.idle);
        if total == 0 {
            return 0.0;
        }
        (1.0 - idle as f64 / total as f64).clamp(0.0, 1.0)
    }
}

/// Bytes of memory that programs could still take.
#[must_use]
pub fn memory_available() -> Option<u64> {
    meminfo(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

/// Bytes of memory in all.
#[must_use]
pub fn memory_total() -> Option<u64> {
    meminfo(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")
}

fn meminfo(text: &str, key: &str) -> Option<u64> {
    let kib: u64 = field(text, key, ':')?
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kib * 1024)
}

/// Model of the processor.
#[must_use]
pub fn cpu_model() -> Option<String> {
    field(
        &fs::read_to_string("/proc/cpuinfo").ok()?,
        "model name",
        ':',
    )
}

/// First value of `key` in lines of `key<separator>value`, quotes taken off.
#[must_use]
pub fn field(text: &str, key: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_share_is_what_is_not_idle() {
        let before = CpuTime::parse("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2").expect("cpu");
        let now = CpuTime::parse("cpu  150 0 150 770 130 0 0 0 0 0").expect("cpu");
        let read = CpuTime {
            total: 1000,
            idle: 800,
        };
        assert_eq!(before, read);
        assert!((now.busy_since(before) - 0.5).abs() < 1e-9);
        assert!(now.busy_since(now).abs() < 1e-9);
        assert_eq!(CpuTime::parse("intr 1 2 3"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let text = "MemTotal:       24592840 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(meminfo(text, "MemAvailable"), Some(2_097_152));
        assert_eq!(meminfo(text, "MemTotal"), Some(24_592_840 * 1024));
        assert_eq!(meminfo("MemTotal: 10 kB", "MemAvailable"), None);
        assert_eq!(meminfo("nothing", "MemTotal"), None);
    }

    #[test]
    fn reads_fields_as_the_system_writes_them() {
        let text = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 13\"\n";
        assert_eq!(
            field(text, "PRETTY_NAME", '='),
            Some("Debian GNU/Linux 13".to_owned())
        );
    }
}
