use super::*;
use crate::units::HumanDuration;

mod promises;
mod rules;
mod standalone;
mod threads;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn config() -> BreakerConfig {
    BreakerConfig::default()
}

fn rng() -> SharedRng {
    SharedRng::seeded(7)
}

/// As a pool keeps them: somebody probes.
fn probed(config: BreakerConfig, now: Instant) -> Breaker {
    Breaker::builder("one", config, rng())
        .probe(true)
        .build(now)
}

/// As a dependency without an alternative has it.
fn alone(config: BreakerConfig, now: Instant) -> Breaker {
    Breaker::builder("one", config, rng()).build(now)
}

fn once(breaker: &Breaker, outcome: Outcome, now: Instant) -> Option<Arc<Transition>> {
    breaker
        .try_permit(now)
        .expect("admitted")
        .record(outcome, now)
}

fn fail(breaker: &Breaker, times: usize, now: Instant) -> Option<Arc<Transition>> {
    (0..times).fold(None, |_, _| once(breaker, Outcome::TransportFailure, now))
}

/// A call that took `took`, up to `now`.
fn taking(
    breaker: &Breaker,
    took: Duration,
    outcome: Outcome,
    now: Instant,
) -> Option<Arc<Transition>> {
    let permit = breaker.try_permit(now - took).expect("admitted");
    permit.record(outcome, now)
}

/// Open for the first time, at `now`, with somebody probing.
fn opened(now: Instant) -> Breaker {
    let breaker = probed(config(), now);
    fail(&breaker, 5, now);
    assert_eq!(breaker.state(), State::Open);
    breaker
}

/// Waits as long as an open breaker wants; whether the wait is `nominal` and up to half more.
fn wait_of(breaker: &Breaker, now: Instant, nominal: Duration) -> Instant {
    let until = breaker.snapshot(now).until.expect("open");
    let wait = until - now;
    assert!(
        wait >= nominal && wait <= nominal.mul_f64(1.5),
        "waits {wait:?}, not {nominal:?} and up to half more"
    );
    until
}
