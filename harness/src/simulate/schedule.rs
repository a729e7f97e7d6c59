//! What is broken when: drawn from a seed, a pure function of it.

use std::fmt;
use std::time::Duration;

use clip_service::env::SharedRng;

/// The only registry.
pub(super) const REGISTRY: &str = "registry-1";
/// Gateways.
pub(super) const GATEWAYS: [&str; 2] = ["gateway-1", "gateway-2"];
/// Processors.
pub(super) const PROCESSORS: [&str; 3] = ["processor-1", "processor-2", "processor-3"];
/// Every host that can be broken, in the order in which they are made.
pub(super) const HOSTS: [&str; 6] = [
    REGISTRY,
    GATEWAYS[0],
    GATEWAYS[1],
    PROCESSORS[0],
    PROCESSORS[1],
    PROCESSORS[2],
];
/// The caller, which is never broken itself.
pub(super) const CLIENT: &str = "client";

/// Everything is listed and probed by then.
pub(super) const WARM: Duration = Duration::from_secs(2);
/// Time to recover in after the last fault.
pub(super) const SETTLE: Duration = Duration::from_secs(8);
/// Nothing may fail in these last seconds.
pub(super) const TAIL: Duration = Duration::from_secs(3);
/// Time in which faults happen, at least.
const LEAST_TROUBLE: Duration = Duration::from_secs(2);

/// The shortest run that has room for faults, recovery and a quiet tail.
pub const SHORTEST: Duration = Duration::from_secs(
    WARM.as_secs() + LEAST_TROUBLE.as_secs() + SETTLE.as_secs() + TAIL.as_secs(),
);

/// What a fault does while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The host dies at once, as by SIGKILL, and is started again at the end.
    Crash(&'static str),
    /// The host dies and is started again in the same moment.
    Bounce(&'static str),
    /// Nothing passes between the host and any other; all of it arrives at the end. Its own clock goes on.
    Hang(&'static str),
    /// Nothing passes between two hosts; all of it arrives at the end.
    Hold(&'static str, &'static str),
    /// What two hosts send each other is lost. A connection that lost something never recovers.
    Partition(&'static str, &'static str),
    /// What the host exchanges with any other but the client is lost.
    Isolate(&'static str),
    /// Each message between two hosts takes this long.
    Latency(&'static str, &'static str, Duration),
    /// Each frame takes the processor this much longer.
    Slow(&'static str, Duration),
    /// Storage does not answer the gateway; its calls go through at the end.
    Stall(&'static str),
}

impl What {
    /// The kinds, in the order in which they are counted.
    pub const KINDS: [&'static str; 9] = [
        "crash",
        "bounce",
        "hang",
        "hold",
        "partition",
        "isolate",
        "latency",
        "slow",
        "stall",
    ];

    /// The kind as one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Crash(_) => "crash",
            Self::Bounce(_) => "bounce",
            Self::Hang(_) => "hang",
            Self::Hold(..) => "hold",
            Self::Partition(..) => "partition",
            Self::Isolate(_) => "isolate",
            Self::Latency(..) => "latency",
            Self::Slow(..) => "slow",
            Self::Stall(_) => "stall",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Crash(host)
            | Self::Bounce(host)
            | Self::Hang(host)
            | Self::Isolate(host)
            | Self::Stall(host) => write!(f, "{kind:<9} {host}"),
            Self::Hold(a, b) | Self::Partition(a, b) => write!(f, "{kind:<9} {a} -- {b}"),
            Self::Latency(a, b, by) => write!(f, "{kind:<9} {a} -- {b}, {} ms", by.as_millis()),
            Self::Slow(host, by) => write!(f, "{kind:<9} {host}, {} ms more", by.as_millis()),
        }
    }
}

/// One thing that is broken for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Begins, since the start of the run; whole milliseconds.
    pub from: Duration,
    /// Ends; the same as `from` for what takes no time.
    pub until: Duration,
    /// What it is.
    pub what: What,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (self.from.as_secs_f64(), self.until.as_secs_f64());
        if self.from == self.until {
            write!(f, "{from:>8.3} s              {}", self.what)
        } else {
            write!(f, "{from:>8.3} s .. {until:>7.3} s  {}", self.what)
        }
    }
}

/// The schedule of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// How long load is offered.
    pub length: Duration,
    /// No fault reaches beyond this; the rest is for recovery and the quiet tail.
    pub calm: Duration,
    /// By beginning.
    pub faults: Vec<Fault>,
}

impl Schedule {
    /// Draws the schedule of `seed` for a run of `length`, which is at least [`SHORTEST`]. About one fault a second, none
    /// before everything has started, each over before the time to recover begins.
    #[must_use]
    pub fn draw(seed: u64, length: Duration) -> Self {
        let length = length.max(SHORTEST);
        let calm = length - SETTLE - TAIL;
        // The name is part of what a seed means: another one would draw other faults for the seeds that are written down.
        let rng = SharedRng::seeded(seed).fork("plan");
        let window = calm - WARM;
        let most = usize::try_from(window.as_secs())
            .unwrap_or(usize::MAX)
            .clamp(2, 10_000);
        let count = most / 2 + 1 + rng.below(most);
        let mut faults: Vec<Fault> = (0..count).map(|_| fault(&rng, calm)).collect();
        faults.sort_by_key(|fault| fault.from); // stable: equal times stay in the order drawn
        Self {
            length,
            calm,
            faults,
        }
    }

    /// A schedule of one's own.
    ///
    /// # Errors
    /// When the run is too short, or a fault lies outside the time for faults.
    pub fn of(length: Duration, faults: Vec<Fault>) -> Result<Self, String> {
        if length < SHORTEST {
            return Err(format!("a run takes at least {} s", SHORTEST.as_secs()));
        }
        let calm = length - SETTLE - TAIL;
        if let Some(bad) = faults.iter().find(|f| f.until > calm || f.until < f.from) {
            return Err(format!(
                "`{bad}` must end before {:.3} s, when recovery begins",
                calm.as_secs_f64()
            ));
        }
        Ok(Self {
            length,
            calm,
            faults,
        })
    }

    /// When recovery must be complete.
    #[must_use]
    pub fn settled(&self) -> Duration {
        self.calm + SETTLE
    }

    /// Beginnings and ends in the order in which they happen: time, index of the fault, whether it begins.
    pub(super) fn steps(&self) -> Vec<(Duration, usize, bool)> {
        let both = self.faults.iter().enumerate();
        let mut steps: Vec<_> = both
            .flat_map(|(i, fault)| [(fault.from, i, true), (fault.until, i, false)])
            .collect();
        steps.sort_by_key(|(at, i, begins)| (*at, *i, !begins));
        steps
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        let (calm, settled) = (self.calm.as_secs_f64(), self.settled().as_secs_f64());
        writeln!(f, "{calm:>8.3} s              nothing is broken any more")?;
        writeln!(f, "{settled:>8.3} s              everything has recovered")?;
        let end = self.length.as_secs_f64();
        write!(f, "{end:>8.3} s              the load ends")
    }
}

fn of<T: Copy>(rng: &SharedRng, choices: &[T]) -> T {
    choices[rng.below(choices.len())]
}

fn between(rng: &SharedRng, from: Duration, until: Duration) -> Duration {
    let ms = |d: Duration| usize::try_from(d.as_millis()).unwrap_or(usize::MAX);
    let drawn = ms(from) + rng.below(ms(until).saturating_sub(ms(from)) + 1);
    Duration::from_millis(drawn as u64)
}

/// Two hosts that talk to each other.
fn edge(rng: &SharedRng) -> (&'static str, &'static str) {
    match rng.below(10) {
        0..=5 => (of(rng, &GATEWAYS), of(rng, &PROCESSORS)),
        6..=7 => (REGISTRY, of(rng, &PROCESSORS)),
        _ => (REGISTRY, of(rng, &GATEWAYS)),
    }
}

/// Any host; processors most often, as there are most of them.
fn host(rng: &SharedRng) -> &'static str {
    of(rng, &HOSTS)
}

fn fault(rng: &SharedRng, calm: Duration) -> Fault {
    let ms = Duration::from_millis;
    let what = match rng.below(20) {
        0..=4 => What::Crash(host(rng)),
        5..=6 => What::Bounce(host(rng)),
        7..=8 => What::Hang(host(rng)),
        9..=10 => {
            let (a, b) = edge(rng);
            What::Hold(a, b)
        }
        11..=12 => {
            let (a, b) = edge(rng);
            What::Partition(a, b)
        }
        13 => What::Isolate(host(rng)),
        14..=15 => {
            let (a, b) = edge(rng);
            What::Latency(a, b, between(rng, ms(20), ms(400)))
        }
        16..=17 => What::Slow(of(rng, &PROCESSORS), between(rng, ms(30), ms(600))),
        _ => What::Stall(of(rng, &GATEWAYS)),
    };
    let shortest = match what {
        What::Bounce(_) => Duration::ZERO,
        What::Crash(_) => ms(50),
        _ => ms(200),
    };
    let longest = match what {
        What::Bounce(_) => Duration::ZERO,
        What::Stall(_) => ms(5000),
        _ => ms(4000),
    };
    let from = between(rng, WARM, calm - shortest);
    let longest = longest.min(calm - from);
    Fault {
        from,
        until: from + between(rng, shortest.min(longest), longest),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_and_others_draw_others() {
        let length = Duration::from_secs(20);
        assert_eq!(Schedule::draw(7, length), Schedule::draw(7, length));
        assert_ne!(Schedule::draw(7, length), Schedule::draw(8, length));
    }

    #[test]
    fn every_plan_leaves_time_to_start_and_to_recover() {
        for seed in 0..2000 {
            for length in [SHORTEST, Duration::from_secs(20), Duration::from_secs(60)] {
                let schedule = Schedule::draw(seed, length);
                assert!(!schedule.faults.is_empty());
                for fault in &schedule.faults {
                    assert!(fault.from >= WARM && fault.from <= fault.until);
                    assert!(fault.until <= schedule.calm, "seed {seed}: {fault}");
                }
                let again = Schedule::of(schedule.length, schedule.faults.clone()).expect("sound");
                assert_eq!(again, schedule);
            }
        }
    }

    #[test]
    fn every_kind_is_drawn_and_faults_overlap() {
        let schedules: Vec<Schedule> = (0..50)
            .map(|seed| Schedule::draw(seed, Duration::from_secs(20)))
            .collect();
        for kind in What::KINDS {
            let drawn = schedules.iter().flat_map(|p| &p.faults);
            assert!(
                drawn.filter(|f| f.what.kind() == kind).count() >= 5,
                "{kind}"
            );
        }
        let overlap = |schedule: &&Schedule| {
            let pairs = schedule.faults.windows(2);
            pairs.into_iter().any(|two| two[1].from < two[0].until)
        };
        assert!(schedules.iter().filter(overlap).count() > 25);
    }

    #[test]
    fn a_plan_that_leaves_no_time_is_refused() {
        let fault = Fault {
            from: Duration::from_secs(3),
            until: Duration::from_secs(19),
            what: What::Crash(REGISTRY),
        };
        let error = Schedule::of(Duration::from_secs(20), vec![fault]).unwrap_err();
        assert!(error.contains("must end before 9.000 s"), "{error}");
        assert!(Schedule::of(Duration::from_secs(5), Vec::new()).is_err());
    }
}
