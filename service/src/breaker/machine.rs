//! The state machine: what an outcome changes. Lock-free as long as nothing moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::config::{BreakerConfig, BreakerMode, MOST_TRIALS};
use super::event::{Event, Listeners, Reason, Transition};
use super::window::{Call, Counts, Window};
use super::word::{AtomicWord, State, Trials, Word};
use super::{BreakerBuilder, Outcome, PATIENCE, nanos};
use crate::env::SharedRng;
use crate::units::HumanDuration;

/// Trial calls that have not answered by then count as failed, however short the breaker was open.
const TRIAL_TIME: Duration = Duration::from_secs(5);
/// Closed for this long, the next opening is a first one again. Not at the first success: a dependency that flaps would
/// never wait longer.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Machine {
    word: AtomicWord,
    /// Set with `word`: the end of the wait while open, and of the silence after an event while observing.
    until: AtomicU64,
    /// When trials that are out count as failed.
    overdue: AtomicU64,
    /// Longest call that is not slow.
    slow_after: Duration,
    /// From when on a call that is dropped counts as a failure.
    pub(super) patience: Duration,
    pub(super) tally: Tally,
    window: Window,
    /// What times are counted from, in nanoseconds.
    origin: Instant,
    pub(super) name: Arc<str>,
    pub(super) config: BreakerConfig,
    /// Whether it stays open until a probe passes.
    probe: bool,
    rng: SharedRng,
    /// Held by whoever moves it, and for that long only.
    history: Mutex<History>,
    pub(super) listeners: Listeners,
    /// Those who listen to all breakers of a manager.
    pub(super) manager: Option<Arc<Listeners>>,
}

/// What only transitions read.
#[derive(Debug)]
struct History {
    /// Openings since it was last healthy.
    attempt: u32,
    /// When it closed, or began to observe, or fell silent last.
    since: Instant,
    /// How long it was open last.
    wait: Duration,
}

/// Counts since the breaker was made, without the successes that its window counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) abandoned: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) slow: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) would_open: AtomicU64,
}

impl Tally {
    fn outcome(&self, outcome: Outcome) {
        match outcome {
            Outcome::Success => &self.succeeded,
            Outcome::TransportFailure | Outcome::ErrorStatus => &self.failed,
            Outcome::Abandoned => &self.abandoned,
            Outcome::Ignored => &self.ignored,
        }
        .fetch_add(1, Relaxed);
    }
}

/// One outcome with what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) epoch: u64,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    /// How long the dependency asked to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// Why a call was not admitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) state: State,
    pub(super) retry_after: Option<Duration>,
}

impl Machine {
    pub(super) fn new(from: BreakerBuilder, now: Instant) -> Self {
        let BreakerBuilder {
            name,
            mut config,
            rng,
            probe,
            patience,
            manager,
        } = from;
        // More would not fit into the word, none would never close.
        config.half_open_permits = config.half_open_permits.clamp(1, MOST_TRIALS);
        let slow_after = config.slow_after.map(HumanDuration::get);
        Self {
            word: AtomicWord::new(Word::new(start(&config), 1)),
            until: AtomicU64::new(0),
            overdue: AtomicU64::new(0),
            slow_after: slow_after.unwrap_or(Duration::MAX),
            patience: patience.or(slow_after).unwrap_or(PATIENCE),
            tally: Tally::default(),
            window: Window::new(&config),
            origin: now,
            name,
            probe,
            rng,
            history: Mutex::new(History {
                attempt: 0,
                since: now,
                wait: config.open.get(),
            }),
            config,
            listeners: Listeners::default(),
            manager,
        }
    }

    pub(super) fn word(&self) -> Word {
        self.word.load()
    }

    fn since_origin(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin))
    }

    fn at(&self, nanos: u64) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }

    pub(super) fn counts(&self, now: Instant) -> Counts {
        self.window.counts(self.since_origin(now))
    }

    pub(super) fn succeeded(&self) -> u64 {
        self.tally.succeeded.load(Relaxed) + self.window.succeeded()
    }

    pub(super) fn attempt(&self) -> u32 {
        self.history.lock().attempt
    }

    /// When the wait of an open breaker is over.
    pub(super) fn until(&self) -> Option<Instant> {
        // Read before the state, which is written after it.
        let word = self.word();
        let until = self.until.load(Relaxed);
        (word.state() == State::Open && self.word().epoch() == word.epoch()).then(|| self.at(until))
    }

    pub(super) fn admits(&self) -> bool {
        let word = self.word();
        match word.state() {
            State::Closed | State::Observe => true,
            State::HalfOpen => word.trials(Trials::Admitted) < self.config.half_open_permits,
            State::Open | State::ForcedOpen => false,
        }
    }

    /// The epoch of the state that admits one call.
    pub(super) fn admit(&self, now: Instant) -> Result<u64, Refusal> {
        let word = self.word();
        if word.judges() {
            return Ok(word.epoch());
        }
        self.admit_rarely(word, now)
    }

    #[cold]
    fn admit_rarely(&self, mut word: Word, now: Instant) -> Result<u64, Refusal> {
        // A state that has moved meanwhile is looked at again, so nobody is refused by a state that is over.
        loop {
            let retry_after = match word.state() {
                State::Closed | State::Observe => return Ok(word.epoch()),
                State::Open => {
                    let wait = self
                        .at(self.until.load(Relaxed))
                        .saturating_duration_since(now);
                    if !self.probe && wait.is_zero() {
                        self.half_open(word.epoch(), now, Reason::WaitOver);
                    } else {
                        break self.refuse(word, Some(wait));
                    }
                    None
                }
                State::HalfOpen => {
                    if let Some(epoch) = self.trial(word.epoch(), now) {
                        return Ok(epoch);
                    }
                    let late = self.tick(now).is_some();
                    (!late).then(|| self.config.open.get())
                }
                State::ForcedOpen => break self.refuse(word, None),
            };
            let seen = word;
            word = self.word();
            if word.epoch() == seen.epoch() {
                break self.refuse(word, retry_after);
            }
        }
    }

    fn refuse(&self, word: Word, retry_after: Option<Duration>) -> Result<u64, Refusal> {
        self.tally.rejected.fetch_add(1, Relaxed);
        Err(Refusal {
            state: word.state(),
            retry_after,
        })
    }

    /// Takes one of the permits of a half-open breaker.
    fn trial(&self, epoch: u64, now: Instant) -> Option<u64> {
        let most = self.config.half_open_permits;
        let overdue = self.since_origin(now + self.trial_time());
        let word = self.word.update(|word| {
            let admitted = word.trials(Trials::Admitted);
            let free = word.state() == State::HalfOpen && word.epoch() == epoch && admitted < most;
            if free && admitted == word.trials(Trials::Succeeded) {
                // Nobody is out, so the time of those who are begins here.
                self.overdue.store(overdue, Relaxed);
            }
            free.then(|| word.more(Trials::Admitted))
        })?;
        Some(word.epoch())
    }

    fn trial_time(&self) -> Duration {
        self.history.lock().wait.max(TRIAL_TIME)
    }

    /// Takes the outcome of a call.
    pub(super) fn record(&self, verdict: Verdict, now: Instant) -> Option<Arc<Transition>> {
        let slow = verdict.took > self.slow_after;
        let word = self.word();
        let here = word.epoch() == verdict.epoch;
        let succeeded = verdict.outcome == Outcome::Success;
        if succeeded && !slow && here && word.state() == State::Closed {
            // The usual way.
            if word.row() > 0 {
                self.end_row(verdict.epoch);
            }
            let call = Call { ok: true, slow };
            self.window.add(call, self.since_origin(now));
            return None;
        }
        // Successes that are judged are counted by the window.
        let judged = here && word.judges() && !self.silent(self.since_origin(now));
        if !(succeeded && judged) {
            self.tally.outcome(verdict.outcome);
        }
        if slow {
            self.tally.slow.fetch_add(1, Relaxed);
        }
        if !here {
            self.tally.stale.fetch_add(1, Relaxed);
            return None;
        }
        match word.state() {
            State::Closed | State::Observe if judged => self.judge(verdict, slow, now),
            State::Closed | State::Observe => None,
            State::HalfOpen => self.decide(verdict, slow, now),
            State::Open | State::ForcedOpen => None,
        }
    }

    fn end_row(&self, epoch: u64) {
        self.word.update(|word| {
            (word.judges() && word.epoch() == epoch && word.row() > 0).then(|| word.with_row(0))
        });
    }

    /// One more failure in the row; how many there are now, unless the breaker has moved.
    fn lengthen_row(&self, epoch: u64) -> Option<u32> {
        let word = self.word.update(|word| {
            (word.judges() && word.epoch() == epoch).then(|| word.with_row(word.row() + 1))
        })?;
        Some(word.row())
    }

    /// Takes an outcome while calls pass freely and are judged. A success is counted in any case.
    fn judge(&self, verdict: Verdict, slow: bool, now: Instant) -> Option<Arc<Transition>> {
        let Verdict { epoch, outcome, .. } = verdict;
        let nanos = self.since_origin(now);
        if outcome == Outcome::Ignored {
            return None;
        }
        let row = match outcome {
            Outcome::Success => {
                self.end_row(epoch);
                0
            }
            Outcome::TransportFailure | Outcome::Abandoned => self.lengthen_row(epoch)?,
            // It answered: that neither lengthens the row nor ends it.
            Outcome::ErrorStatus | Outcome::Ignored => 0,
        };
        let ok = outcome == Outcome::Success;
        self.window.add(Call { ok, slow }, nanos);
        let reason = self.finding(row, ok, slow, nanos)?;
        self.trip(epoch, reason, verdict.retry_after, now)
    }

    /// Whether it observes, has said that it would open, and would still be open.
    fn silent(&self, now: u64) -> bool {
        self.word().state() == State::Observe && now < self.until.load(Relaxed)
    }

    /// Why it should open, if it should. Only bad news opens: a call that went well cannot be the news that a dependency
    /// is ill.
    fn finding(&self, row: u32, ok: bool, slow: bool, now: u64) -> Option<Reason> {
        let config = &self.config;
        if !config.enabled || (ok && !slow) {
            return None;
        }
        if row >= config.consecutive_failures {
            return Some(Reason::ConsecutiveFailures {
                failures: row,
                probed: false,
            });
        }
        let counts = self.window.counts(now);
        if counts.total() < config.min_calls {
            return None;
        }
        if !ok && counts.failure_rate() >= config.failure_rate {
            return Some(Reason::FailureRate(counts));
        }
        (slow && counts.slow_rate() >= config.slow_rate).then_some(Reason::SlowRate(counts))
    }

    /// Takes the outcome of a trial.
    fn decide(&self, verdict: Verdict, slow: bool, now: Instant) -> Option<Arc<Transition>> {
        let Verdict { epoch, outcome, .. } = verdict;
        let here = |word: Word| word.state() == State::HalfOpen && word.epoch() == epoch;
        match outcome {
            Outcome::Ignored => {
                self.give_back(epoch);
                None
            }
            Outcome::Success => {
                let word = self.word.update(|word| {
                    // News of a trial that was counted before is no further trial.
                    let out = word.trials(Trials::Admitted) > word.trials(Trials::Succeeded);
                    (here(word) && out).then(|| {
                        let word = word.more(Trials::Succeeded);
                        if slow { word.more(Trials::Slow) } else { word }
                    })
                })?;
                let trials = word.trials(Trials::Succeeded);
                if trials < self.config.half_open_permits {
                    return None;
                }
                let slow = word.trials(Trials::Slow);
                if slow > 0 && f64::from(slow) / f64::from(trials) >= self.config.slow_rate {
                    let reason = Reason::TrialsSlow { slow, trials };
                    return self.trip(epoch, reason, verdict.retry_after, now);
                }
                self.shift(now, Reason::TrialsSucceeded(trials), |word| {
                    here(word).then_some(State::Closed)
                })
            }
            Outcome::TransportFailure | Outcome::ErrorStatus | Outcome::Abandoned => {
                self.trip(epoch, Reason::TrialFailed, verdict.retry_after, now)
            }
        }
    }

    /// Nothing is known of a call that was admitted: if it was a trial, somebody else may try.
    pub(super) fn give_back(&self, epoch: u64) {
        let here = |word: Word| word.state() == State::HalfOpen && word.epoch() == epoch;
        self.word.update(|word| {
            let out = word.trials(Trials::Admitted) > word.trials(Trials::Succeeded);
            (here(word) && out).then(|| word.less(Trials::Admitted))
        });
    }

    pub(super) fn in_doubt(&self) -> bool {
        let word = self.word();
        self.config.enabled && word.judges() && word.row() > 0
    }

    /// A probe failed, which is one more failure in the row.
    pub(super) fn missed(&self, now: Instant) -> Option<Arc<Transition>> {
        let word = self.word();
        if !self.config.enabled || !word.judges() || self.silent(self.since_origin(now)) {
            return None;
        }
        let failures = self.lengthen_row(word.epoch())?;
        if failures < self.config.consecutive_failures {
            return None;
        }
        let reason = Reason::ConsecutiveFailures {
            failures,
            probed: true,
        };
        self.trip(word.epoch(), reason, None, now)
    }

    /// Takes the outcome of an active probe.
    pub(super) fn probed(&self, passed: bool, now: Instant) -> Option<Arc<Transition>> {
        let word = self.word();
        let until = self.until()?;
        if now < until {
            return None;
        }
        if passed {
            return self.half_open(word.epoch(), now, Reason::ProbePassed);
        }
        let again = self.jittered(self.config.open.get());
        let history = self.history.lock();
        if self.word() == word {
            self.until.store(self.since_origin(now + again), Relaxed);
        }
        drop(history);
        None
    }

    fn half_open(&self, epoch: u64, now: Instant, reason: Reason) -> Option<Arc<Transition>> {
        self.shift(now, reason, |word| {
            (word.state() == State::Open && word.epoch() == epoch).then_some(State::HalfOpen)
        })
    }

    /// Opens again when trials are out and overdue. A half-open breaker that nobody calls stays as it is: it has learnt
    /// nothing.
    pub(super) fn tick(&self, now: Instant) -> Option<Arc<Transition>> {
        let word = self.word();
        if word.state() != State::HalfOpen
            || word.trials(Trials::Admitted) == word.trials(Trials::Succeeded)
            || self.since_origin(now) < self.overdue.load(Relaxed)
        {
            return None;
        }
        self.trip(word.epoch(), Reason::TrialsOverdue, None, now)
    }

    /// Opens, or says that it would.
    fn trip(
        &self,
        epoch: u64,
        reason: Reason,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Option<Arc<Transition>> {
        if self.word().state() == State::Observe {
            self.would_open(epoch, reason, retry_after, now);
            return None;
        }
        let transition = {
            let mut history = self.history.lock();
            let word = self.word();
            let from = word.state();
            let may = matches!(from, State::Closed | State::HalfOpen);
            if !may || word.epoch() != epoch {
                return None;
            }
            self.lengthen_wait(&mut history, from == State::Closed, retry_after, now);
            let until = self.since_origin(now + history.wait);
            self.until.store(until, Relaxed);
            self.tally.opened.fetch_add(1, Relaxed);
            self.enter(word, State::Open, reason, &history, now)
        };
        self.tell(Event::Moved(Arc::clone(&transition)));
        Some(transition)
    }

    fn would_open(&self, epoch: u64, reason: Reason, retry_after: Option<Duration>, now: Instant) {
        let transition = {
            let mut history = self.history.lock();
            let word = self.word();
            let nanos = self.since_origin(now);
            if word.state() != State::Observe || word.epoch() != epoch || self.silent(nanos) {
                return;
            }
            self.lengthen_wait(&mut history, true, retry_after, now);
            self.tally.would_open.fetch_add(1, Relaxed);
            let transition = self.transition(word, State::Open, reason, &history, now);
            // What comes after the silence is judged afresh, as by a breaker that has closed.
            self.until
                .store(self.since_origin(now + history.wait), Relaxed);
            history.since = now + history.wait;
            self.window.clear();
            self.end_row(epoch);
            transition
        };
        self.tell(Event::WouldOpen(Arc::new(transition)));
    }

    /// How long to stay open: twice as long each time, or as long as the dependency asked for within the same bounds.
    fn lengthen_wait(
        &self,
        history: &mut History,
        was_closed: bool,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        if was_closed && now.saturating_duration_since(history.since) >= HEALTHY_AFTER {
            history.attempt = 0;
        }
        history.attempt = history.attempt.saturating_add(1);
        let (open, most) = (
            self.config.open.get(),
            self.config.max_open.get().max(self.config.open.get()),
        );
        let wait = retry_after
            .unwrap_or_else(|| open.saturating_mul(2_u32.saturating_pow(history.attempt - 1)));
        history.wait = self.jittered(wait.clamp(open, most));
    }

    /// Up to half longer, so that many who opened at the same moment do not come back at the same moment.
    fn jittered(&self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 + 0.5 * self.rng.unit())
    }

    /// Moves by hand, from any state but `to` itself.
    pub(super) fn force(
        &self,
        to: State,
        now: Instant,
        from: impl FnOnce(State) -> bool,
    ) -> Option<Arc<Transition>> {
        self.shift(now, Reason::Manual, |word| {
            (word.state() != to && from(word.state())).then_some(to)
        })
    }

    /// The state without orders: what the settings say.
    pub(super) fn start(&self) -> State {
        start(&self.config)
    }

    /// Forgets the row, the window and the openings.
    pub(super) fn forget(&self) {
        let mut history = self.history.lock();
        history.attempt = 0;
        history.wait = self.config.open.get();
        self.until.store(0, Relaxed);
        self.window.clear();
        self.end_row(self.word().epoch());
    }

    /// Moves to the state that `choose` says, if any; `choose` sees the state that the move will leave. Not for opening,
    /// which takes a wait.
    fn shift(
        &self,
        now: Instant,
        reason: Reason,
        choose: impl FnOnce(Word) -> Option<State>,
    ) -> Option<Arc<Transition>> {
        let transition = {
            let mut history = self.history.lock();
            let word = self.word();
            let to = choose(word)?;
            if matches!(to, State::Closed | State::Observe) {
                history.since = now;
                self.until.store(0, Relaxed);
            }
            self.enter(word, to, reason, &history, now)
        };
        self.tell(Event::Moved(Arc::clone(&transition)));
        Some(transition)
    }

    /// The move itself. The lock on the history must be held.
    fn enter(
        &self,
        word: Word,
        to: State,
        reason: Reason,
        history: &History,
        now: Instant,
    ) -> Arc<Transition> {
        let transition = self.transition(word, to, reason, history, now);
        if matches!(to, State::Closed | State::Observe) {
            self.window.clear();
        }
        self.word.store(Word::new(to, transition.epoch));
        Arc::new(transition)
    }

    fn transition(
        &self,
        word: Word,
        to: State,
        reason: Reason,
        history: &History,
        now: Instant,
    ) -> Transition {
        Transition {
            breaker: Arc::clone(&self.name),
            from: word.state(),
            to,
            reason,
            at: now,
            epoch: word.epoch() + 1,
            attempt: history.attempt,
            wait: (to == State::Open).then_some(history.wait),
            counts: self.counts(now),
        }
    }

    fn tell(&self, event: Event) {
        self.listeners.tell(&event);
        if let Some(manager) = &self.manager {
            manager.tell(&event);
        }
    }
}

fn start(config: &BreakerConfig) -> State {
    match config.mode {
        BreakerMode::Enforce => State::Closed,
        BreakerMode::Observe => State::Observe,
    }
}
