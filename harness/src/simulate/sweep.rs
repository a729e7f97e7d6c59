//! Many seeds on several threads.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::schedule::What;
use super::system::{Options, Run, simulate_until};

/// What to run.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Which seeds.
    pub seeds: RangeInclusive<u64>,
    /// How many at a time; each run is one thread.
    pub threads: usize,
    /// Whether each seed is run a second time, which must give the same log.
    pub twice: bool,
    /// What runs have in common.
    pub options: Options,
}

/// A seed that broke something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What must hold and did not.
    pub broken: Vec<String>,
}

/// Sums over all runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Seeds that were run to the end.
    pub seeds: u64,
    /// Runs, second ones included.
    pub runs: u64,
    /// Simulated time of all runs.
    pub simulated: Duration,
    /// Faults by kind, first runs only, as the sums below.
    pub faults: BTreeMap<&'static str, u64>,
    /// Requests sent.
    pub asked: u64,
    /// Requests with the right answer.
    pub right: u64,
    /// Jobs accepted.
    pub jobs: u64,
    /// Leases of tasks that had been held before.
    pub leased_again: u64,
    /// Results refused because their lease was over.
    pub fenced: u64,
    /// The slowest right answer and its seed.
    pub worst: Option<(Duration, u64)>,
    /// What went wrong, by seed.
    pub failures: Vec<Failure>,
}

impl Summary {
    fn add(&mut self, run: &Run, runs: u64) {
        self.seeds += 1;
        self.runs += runs;
        self.simulated += run.simulated * u32::try_from(runs).unwrap_or(u32::MAX);
        for fault in &run.schedule.faults {
            *self.faults.entry(fault.what.kind()).or_default() += 1;
        }
        self.asked += run.asked;
        self.right += run.right;
        self.jobs += run.jobs;
        self.leased_again += run.leased_again;
        self.fenced += run.fenced;
        let worst = (run.worst, run.seed);
        // The smaller seed of two that are equal, whichever thread was faster.
        let slower = |(took, seed): &(Duration, u64)| (*took, u64::MAX - *seed);
        self.worst = self.worst.into_iter().chain([worst]).max_by_key(slower);
        if !run.broken.is_empty() {
            self.failures.push(Failure {
                seed: run.seed,
                broken: run.broken.clone(),
            });
            self.failures.sort_by_key(|failure| failure.seed);
        }
    }

    /// Faults of one kind.
    #[must_use]
    pub fn faults_of(&self, kind: &str) -> u64 {
        debug_assert!(What::KINDS.contains(&kind));
        self.faults.get(kind).copied().unwrap_or(0)
    }
}

/// Runs every seed; `each` is told after each one how things stand, one call at a time. Returns early once `stop` is
/// set, with what was run to the end by then.
pub fn sweep(sweep: &Sweep, stop: &AtomicBool, each: impl Fn(&Run, &Summary) + Sync) -> Summary {
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(0);
    let (first, last) = (*sweep.seeds.start(), *sweep.seeds.end());
    std::thread::scope(|scope| {
        for _ in 0..sweep.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let taken = first.checked_add(next.fetch_add(1, Ordering::Relaxed));
                    let Some(seed) = taken.filter(|seed| *seed <= last) else {
                        return;
                    };
                    let Some(mut run) = simulate_until(seed, &sweep.options, stop) else {
                        return;
                    };
                    let mut runs = 1;
                    if sweep.twice {
                        let Some(again) = simulate_until(seed, &sweep.options, stop) else {
                            return;
                        };
                        runs = 2;
                        run.broken.extend(difference(&run, &again));
                    }
                    let mut summary = summary.lock();
                    summary.add(&run, runs);
                    each(&run, &summary);
                }
            });
        }
    });
    summary.into_inner()
}

/// Where two runs of one seed part.
fn difference(first: &Run, second: &Run) -> Option<String> {
    if first.fingerprint == second.fingerprint {
        return None;
    }
    let end = String::from("(the end)");
    let lines = first.log.len().max(second.log.len());
    let line = |run: &Run, at: usize| run.log.get(at).unwrap_or(&end).clone();
    let at = (0..lines).find(|at| line(first, *at) != line(second, *at))?;
    Some(format!(
        "not repeatable: the logs of two runs part at line {}: `{}` and `{}`",
        at + 1,
        line(first, at),
        line(second, at)
    ))
}
