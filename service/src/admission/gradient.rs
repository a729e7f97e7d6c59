//! The concurrency limit as a function of latency.
//!
//! A server that works at its capacity answers as fast as when it is idle; one that has more in flight than it can work
//! on only lets it wait. So the limit follows the ratio of the two latencies, as in Envoy's adaptive concurrency filter:
//!
//! ```text
//! g      = clamp(least * (1 + buffer) / sample, 0.5, 2)
//! limit' = clamp(g * limit + sqrt(limit), min, max)
//! ```
//!
//! `sample` is the 90th percentile of a window of 100 ms, `least` the usual such percentile of a server that is not
//! congested: an average, because the smallest of many noisy values is too small for all others. Three things differ
//! from the original, each because a plain reading of the formula harms a server that is well:
//!
//! - Latencies are compared within one kind of request. The percentile is taken over ratios, so that a change of the
//!   mix (more slow reads than before) is not taken for congestion.
//! - The limit only falls while it binds, that is when at least half of it was in use. Latency that rises without load
//!   (a slow disk, a neighbour on the same core) has other causes than concurrency. A calm server climbs back to where
//!   it began.
//! - `least` is measured anew about once a minute without pinning concurrency: only from windows in which the limit did
//!   not bind, or, when it has been at its floor for five windows, from these. A long overload can therefore not pass
//!   for the normal state.
//!
//! Pure: time, latencies and jitter come in by parameter.

use std::time::Duration;

use tokio::time::Instant;

/// Kinds of requests that are told apart.
pub const KINDS: usize = 8;

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(100);
/// A window with fewer samples is stretched ...
const SAMPLES: usize = 10;
/// ... at most to this.
const LONGEST: Duration = Duration::from_secs(1);
/// Most samples kept of one window; the newest replace the oldest.
const KEPT: usize = 2048;
/// Fewest samples of one kind that say something about it.
const OF_KIND: usize = 3;
/// How often the least latency is measured anew, give or take a tenth.
const REMEASURE: Duration = Duration::from_secs(60);
/// Windows at the floor after which its latency counts as the least.
const AT_FLOOR: u32 = 5;

/// Bounds of the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Never less.
    pub min: f64,
    /// Where it begins, and returns to in calm.
    pub initial: f64,
    /// Never more.
    pub max: f64,
    /// Share by which latency may exceed the least before the limit falls.
    pub buffer: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Base {
    /// 90th percentile without congestion, seconds.
    least: Option<f64>,
    /// Average of the windows since the last measuring in which the limit did not bind.
    calm: Option<f64>,
    /// Average of the present stretch at the floor.
    floor: Option<f64>,
}

/// Moves an average by a fifth of the way to `value`.
fn average(average: &mut Option<f64>, value: f64) {
    *average = Some(average.map_or(value, |old| old + 0.2 * (value - old)));
}

/// An adaptive concurrency limit.
#[derive(Debug, Clone)]
pub struct Gradient {
    bounds: Bounds,
    limit: f64,
    began: Instant,
    /// Most in flight in this window.
    peak: usize,
    samples: Vec<(usize, f64)>,
    /// Samples of this window, also those that replaced others.
    count: usize,
    bases: [Base; KINDS],
    at_floor: u32,
    remeasure_at: Instant,
}

impl Gradient {
    /// A limit that begins at `bounds.initial`.
    #[must_use]
    pub fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            limit: bounds.initial.clamp(bounds.min, bounds.max),
            began: now,
            peak: 0,
            samples: Vec::new(),
            count: 0,
            bases: [Base::default(); KINDS],
            at_floor: 0,
            remeasure_at: now + REMEASURE,
        }
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Least latency of the slowest kind; zero before anything is known.
    #[must_use]
    pub fn least(&self) -> Duration {
        let slowest = self.bases.iter().filter_map(|base| base.least);
        Duration::from_secs_f64(slowest.fold(0.0, f64::max))
    }

    /// Notes how many are in flight.
    pub fn in_flight(&mut self, count: usize) {
        self.peak = self.peak.max(count);
    }

    /// Notes the latency of a finished request of a kind below [`KINDS`].
    pub fn sample(&mut self, kind: usize, latency: Duration) {
        let sample = (kind % KINDS, latency.as_secs_f64().max(1e-6));
        if self.samples.len() < KEPT {
            self.samples.push(sample);
        } else {
            self.samples[self.count % KEPT] = sample;
        }
        self.count += 1;
    }

    /// Notes a request that was given up after `elapsed`: its latency is at least that, which says something only if it
    /// is more than usual.
    pub fn censored(&mut self, kind: usize, elapsed: Duration) {
        let least = self.bases[kind % KINDS].least;
        if least.is_some_and(|least| elapsed.as_secs_f64() > least) {
            self.sample(kind, elapsed);
        }
    }

    /// Closes the window when it is over. `in_flight` is the number at this moment, `jitter` uniform in `[0, 1)`.
    /// Returns whether the limit may have changed.
    pub fn tick(&mut self, now: Instant, in_flight: usize, jitter: impl FnOnce() -> f64) -> bool {
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed < WINDOW || (self.samples.len() < SAMPLES && elapsed < LONGEST) {
            return false;
        }
        let binds = self.peak as f64 >= self.limit / 2.0;
        self.measure(binds);
        let worst = self.ratio();
        let gradient = worst.map(|ratio| ((1.0 + self.bounds.buffer) / ratio).clamp(0.5, 2.0));
        let next = match gradient {
            Some(gradient) if binds => gradient * self.limit + self.limit.sqrt(),
            None if binds => self.limit, // nothing finished: nothing is known
            _ if self.limit >= self.bounds.initial => {
                // What was learnt under load is kept for a while.
                (0.98 * self.limit).max(self.bounds.initial)
            }
            _ if elapsed >= LONGEST => self.bounds.initial,
            gradient => {
                let growth = gradient.unwrap_or(1.0).max(1.5);
                (growth * self.limit + self.limit.sqrt()).min(self.bounds.initial)
            }
        };
        self.limit = next.clamp(self.bounds.min, self.bounds.max);
        self.floor(binds && gradient.is_some_and(|g| g < 1.0));
        if now >= self.remeasure_at {
            for base in &mut self.bases {
                base.least = base.calm.take().or(base.least);
            }
            self.remeasure_at = now + REMEASURE.mul_f64(0.9 + 0.2 * jitter());
        }
        self.began = now;
        self.peak = in_flight;
        self.samples.clear();
        self.count = 0;
        true
    }

    /// Takes the window's latencies into account, kind by kind.
    fn measure(&mut self, binds: bool) {
        let at_floor = self.is_at_floor();
        let mut of_kind = Vec::new();
        for (kind, base) in self.bases.iter_mut().enumerate() {
            of_kind.clear();
            of_kind.extend(self.samples.iter().filter(|s| s.0 == kind).map(|s| s.1));
            if of_kind.len() < OF_KIND {
                continue;
            }
            let Some(p90) = percentile_90(&mut of_kind) else {
                continue;
            };
            if base.least.is_none_or(|least| p90 < least) {
                average(&mut base.least, p90);
            }
            if !binds {
                average(&mut base.calm, p90);
            }
            if at_floor {
                average(&mut base.floor, p90);
            }
        }
    }

    /// 90th percentile of how many times the least latency requests took.
    fn ratio(&self) -> Option<f64> {
        let ratios = self.samples.iter().filter_map(|(kind, latency)| {
            let least = self.bases[*kind].least?;
            Some(latency / least)
        });
        percentile_90(&mut ratios.collect::<Vec<_>>())
    }

    /// The floor is approached from above and need not be reached.
    fn is_at_floor(&self) -> bool {
        self.limit < self.bounds.min + 0.5
    }

    /// Counts windows at the floor; after enough of them what they took is the least there is.
    fn floor(&mut self, congested: bool) {
        if !congested || !self.is_at_floor() {
            self.at_floor = 0;
            for base in &mut self.bases {
                base.floor = None;
            }
            return;
        }
        self.at_floor += 1;
        if self.at_floor > AT_FLOOR {
            self.at_floor = 0;
            for base in &mut self.bases {
                base.least = base.floor.take().or(base.least);
            }
        }
    }
}

/// The value that nine of ten do not exceed.
fn percentile_90(values: &mut [f64]) -> Option<f64> {
    let rank = (values.len() * 9).div_ceil(10).checked_sub(1)?;
    let (_, value, _) = values.select_nth_unstable_by(rank, f64::total_cmp);
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        min: 4.0,
        initial: 64.0,
        max: 1024.0,
        buffer: 0.25,
    };

    fn paused<T>(run: impl FnOnce(Instant) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let now = runtime.block_on(async { Instant::now() });
        run(now)
    }

    /// A server that works on `workers` requests at a time for `service` each, with always as much in flight as the
    /// limit and `offered` allow: one window after the other.
    struct Server {
        workers: f64,
        service: f64,
        now: Instant,
    }

    impl Server {
        fn window(&mut self, gradient: &mut Gradient, offered: f64) {
            let in_flight = offered.min(gradient.limit().floor());
            let latency = self.service * (in_flight / self.workers).max(1.0);
            gradient.in_flight(in_flight as usize);
            for _ in 0..20 {
                gradient.sample(0, Duration::from_secs_f64(latency));
            }
            self.now += WINDOW;
            assert!(gradient.tick(self.now, in_flight as usize, || 0.5));
        }

        fn windows(&mut self, gradient: &mut Gradient, offered: f64, count: usize) {
            for _ in 0..count {
                self.window(gradient, offered);
            }
        }
    }

    #[test]
    fn overload_brings_it_down_to_what_the_server_can_work_on() {
        paused(|now| {
            for workers in [1.0, 4.0, 16.0] {
                let mut gradient = Gradient::new(BOUNDS, now);
                let mut server = Server {
                    workers,
                    service: 0.02,
                    now,
                };
                server.windows(&mut gradient, 1.0, 10);
                assert_eq!(gradient.limit(), 64.0, "calm");
                server.windows(&mut gradient, 300.0, 30);
                let limit = gradient.limit();
                assert!(
                    limit >= workers && limit <= 2.0 * workers + 8.0,
                    "{workers} workers, limit {limit}"
                );
                // Goodput holds: the workers are never idle.
                server.windows(&mut gradient, 300.0, 1300);
                let long = gradient.limit();
                assert!(
                    long >= workers && long <= 3.0 * workers + 12.0,
                    "{workers} workers, limit {long} after two minutes"
                );
                server.windows(&mut gradient, 1.0, 10);
                assert_eq!(gradient.limit(), 64.0, "calm again");
            }
        });
    }

    #[test]
    fn it_grows_when_load_does_not_slow_the_server() {
        paused(|now| {
            let mut gradient = Gradient::new(BOUNDS, now);
            let mut server = Server {
                workers: 1e6,
                service: 0.02,
                now,
            };
            server.windows(&mut gradient, 1e6, 40);
            assert_eq!(gradient.limit(), 1024.0);
        });
    }

    #[test]
    fn latency_that_rises_without_load_changes_nothing() {
        paused(|now| {
            let mut gradient = Gradient::new(BOUNDS, now);
            let mut server = Server {
                workers: 8.0,
                service: 0.002,
                now,
            };
            server.windows(&mut gradient, 2.0, 10);
            server.service = 0.2;
            server.windows(&mut gradient, 20.0, 50);
            assert_eq!(gradient.limit(), 64.0);
        });
    }

    #[test]
    fn a_server_that_became_slower_is_measured_anew() {
        paused(|now| {
            let mut gradient = Gradient::new(BOUNDS, now);
            let mut server = Server {
                workers: 16.0,
                service: 0.01,
                now,
            };
            server.windows(&mut gradient, 1.0, 5);
            server.service = 0.1;
            server.windows(&mut gradient, 300.0, 60);
            let limit = gradient.limit();
            assert!(limit >= 16.0, "{limit}: it would stay at the floor");
            // And in calm after a minute at the latest.
            server.windows(&mut gradient, 1.0, 700);
            assert!((gradient.least().as_secs_f64() - 0.1).abs() < 1e-9);
        });
    }

    #[test]
    fn a_change_of_the_mix_is_no_congestion() {
        paused(|now| {
            let mut gradient = Gradient::new(BOUNDS, now);
            let mut now = now;
            let mut window = |gradient: &mut Gradient, fast: usize, slow: usize| {
                for (kind, count, ms) in [(0, fast, 1), (1, slow, 100)] {
                    for _ in 0..count {
                        gradient.sample(kind, Duration::from_millis(ms));
                    }
                }
                gradient.in_flight(64);
                now += WINDOW;
                gradient.tick(now, 64, || 0.5);
            };
            window(&mut gradient, 50, 5);
            let before = gradient.limit();
            for _ in 0..5 {
                window(&mut gradient, 5, 50);
            }
            assert!(gradient.limit() > before, "{}", gradient.limit());
        });
    }

    #[test]
    fn without_answers_it_stands_still() {
        paused(|now| {
            let mut gradient = Gradient::new(BOUNDS, now);
            gradient.in_flight(64);
            assert!(!gradient.tick(now + WINDOW, 64, || 0.5), "too few samples");
            assert!(gradient.tick(now + LONGEST, 64, || 0.5));
            assert_eq!(gradient.limit(), 64.0);
        });
    }

    proptest! {
        #[test]
        fn it_stays_in_its_bounds(
            min in 1.0_f64..16.0,
            span in 0.0_f64..2000.0,
            windows in prop::collection::vec((1_usize..5000, 0.0_f64..10.0, 0_usize..KINDS, 50_u64..3000), 1..200),
        ) {
            paused(|mut now| {
                let bounds = Bounds { min, initial: min + span / 2.0, max: min + span, buffer: 0.25 };
                let mut gradient = Gradient::new(bounds, now);
                for (in_flight, seconds, kind, ms) in windows {
                    gradient.in_flight(in_flight);
                    for _ in 0..in_flight % 40 {
                        gradient.sample(kind, Duration::from_secs_f64(seconds));
                    }
                    now += Duration::from_millis(ms);
                    gradient.tick(now, in_flight, || 0.1);
                    prop_assert!((bounds.min..=bounds.max).contains(&gradient.limit()));
                }
                Ok(())
            })?;
        }

        /// From wherever it is, after a step of capacity it finds back to it and then moves little.
        #[test]
        fn it_converges_after_a_step(
            before in 1_u32..64,
            after in 1_u32..64,
            ms in 1_u64..200,
        ) {
            paused(|now| {
                let mut gradient = Gradient::new(BOUNDS, now);
                let service = ms as f64 / 1000.0;
                let mut server = Server { workers: f64::from(before), service, now };
                server.windows(&mut gradient, 1.0, 3);
                server.windows(&mut gradient, 2000.0, 40);
                server.workers = f64::from(after);
                server.windows(&mut gradient, 2000.0, 60);
                let limit = gradient.limit();
                let workers = f64::from(after);
                prop_assert!(limit >= workers.min(BOUNDS.max), "{} workers, limit {}", workers, limit);
                prop_assert!(limit <= 4.0 * workers + 32.0, "{} workers, limit {}", workers, limit);
                Ok(())
            })?;
        }
    }
}
