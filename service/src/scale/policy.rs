//! How many processors there should be. Pure: takes what was measured and `now`.
//!
//! Two signals: how long the oldest task has waited, which is what users feel, and how much of the processors is used,
//! which tells when they are too many. Growing is quick and by as much as the queue asks for, at most doubling; shrinking
//! is slow and by one, because a processor that is missing costs users and one too many costs money.

use std::time::Duration;

use tokio::time::Instant;

use super::config::ScaleConfig;

/// What the system looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Processors that take work now.
    pub usable: usize,
    /// Tasks that could be worked on and are not.
    pub waiting: u64,
    /// How long the oldest of them has waited.
    pub queue_age: Duration,
    /// Tasks being worked on.
    pub running: u64,
    /// Tasks one processor works on at a time.
    pub slots: usize,
    /// Reads in flight at processors.
    pub reads: u64,
}

impl Measured {
    /// Share of what `processors` can do that is used; above 1 when more is asked of them.
    fn utilisation(&self, processors: usize, config: &ScaleConfig) -> f64 {
        let processors = processors.max(1) as f64;
        let tasks = self.running as f64 / (processors * self.slots.max(1) as f64);
        let reads = self.reads as f64 / (processors * f64::from(config.reads.max(1)));
        tasks.max(reads)
    }
}

/// The number changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Wanted before.
    pub from: usize,
    /// Wanted now.
    pub to: usize,
    /// Why, in a few words.
    pub reason: String,
}

/// Remembers since when there has been a reason to change.
#[derive(Debug)]
pub struct Scaler {
    config: ScaleConfig,
    desired: usize,
    too_few_since: Option<Instant>,
    too_many_since: Option<Instant>,
    changed: Option<Instant>,
}

impl Scaler {
    /// Begins with `present` processors, or as many as are allowed.
    #[must_use]
    pub fn new(config: ScaleConfig, present: usize) -> Self {
        let desired = present.clamp(config.min, config.max.max(config.min));
        Self {
            config,
            desired,
            too_few_since: None,
            too_many_since: None,
            changed: None,
        }
    }

    /// How many there should be.
    #[must_use]
    pub fn desired(&self) -> usize {
        self.desired
    }

    /// Looks at what was measured; what changed, if anything. A processor that died changes nothing: whoever runs them
    /// starts it again, and a second one in its place would be one too many then.
    pub fn look(&mut self, measured: Measured, now: Instant) -> Option<Change> {
        if !self.config.enabled() {
            return None;
        }
        let few = self.too_few(&measured);
        let many = few.is_none() && self.too_many(&measured);
        let since = |since: &mut Option<Instant>, holds: bool| {
            *since = holds.then(|| since.unwrap_or(now));
            *since
        };
        let few_since = since(&mut self.too_few_since, few.is_some());
        let many_since = since(&mut self.too_many_since, many);
        let lasted = |since: Option<Instant>, long: Duration| {
            since.is_some_and(|since| now.duration_since(since) >= long)
                && self.changed.is_none_or(|at| now.duration_since(at) >= long)
        };
        if let Some(reason) = few
            && lasted(few_since, self.config.grow_after.get())
            // Those that were asked for last are still on their way.
            && measured.usable >= self.desired
        {
            return self.change(self.grown(&measured), reason, now);
        }
        if lasted(many_since, self.config.shrink_after.get()) {
            let used = measured.utilisation(self.desired, &self.config) * 100.0;
            return self.change(self.desired - 1, format!("{used:.0} % used"), now);
        }
        None
    }

    fn too_few(&self, measured: &Measured) -> Option<String> {
        if self.desired >= self.config.max {
            return None;
        }
        if measured.queue_age >= self.config.queue_age.get() {
            let (waiting, age) = (measured.waiting, measured.queue_age.as_secs_f64());
            return Some(format!("{waiting} tasks wait, the oldest for {age:.1} s"));
        }
        let used = measured.utilisation(measured.usable, &self.config);
        // Slots that are all taken are no reason by themselves: a queue that moves is what they are for.
        let pressed = measured.waiting > 0 || measured.reads > 0;
        (pressed && used >= self.config.high).then(|| format!("{:.0} % used", used * 100.0))
    }

    fn too_many(&self, measured: &Measured) -> bool {
        self.desired > self.config.min
            && measured.waiting == 0
            && measured.utilisation(self.desired - 1, &self.config) <= self.config.low
    }

    /// As many as would bring utilisation below `high` and take the queue at once; at most twice as many.
    fn grown(&self, measured: &Measured) -> usize {
        let slots = measured.slots.max(1) as u64;
        let for_queue = usize::try_from((measured.running + measured.waiting).div_ceil(slots));
        let used = measured.utilisation(1, &self.config);
        let for_use = (used / self.config.high).ceil() as usize;
        for_queue
            .unwrap_or(usize::MAX)
            .max(for_use)
            .clamp(self.desired + 1, self.desired * 2)
            .min(self.config.max)
    }

    fn change(&mut self, to: usize, reason: String, now: Instant) -> Option<Change> {
        let from = std::mem::replace(&mut self.desired, to);
        self.too_few_since = None;
        self.too_many_since = None;
        self.changed = Some(now);
        (from != to).then_some(Change { from, to, reason })
    }
}

#[cfg(test)]
mod tests;
