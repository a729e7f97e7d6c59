//! Numbers a role publishes at `/metrics`, and where its log goes.
//!
//! Metric names are a closed enum, so that a name is written once and a dashboard can be generated from the list. The
//! numbers live in one [`Metrics`] per role, never in a global: several roles may share a process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

use crate::lines::Lines;
use crate::observe::Notices;

/// Every metric there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// HTTP requests answered.
    HttpRequests,
    /// Seconds from request to response head.
    HttpSeconds,
    /// HTTP requests being answered.
    HttpInFlight,
    /// Tasks by outcome, as the dispatcher saw them end.
    Tasks,
    /// Jobs by the state they entered.
    Jobs,
    /// Jobs that are not terminal.
    JobsOpen,
    /// Tasks by queue state.
    Queue,
    /// Tasks this node is working on.
    TasksInFlight,
    /// Calls to upstream instances.
    UpstreamCalls,
    /// Calls to upstream instances that failed.
    UpstreamFailures,
    /// Calls in flight to an upstream instance.
    UpstreamInFlight,
    /// State of an instance's breaker: 0 closed, 1 half-open, 2 open.
    BreakerState,
    /// Retries sent.
    Retries,
    /// Retries that the budget refused.
    RetriesRefused,
    /// Retries that the budget would allow now.
    RetryBudget,
    /// Calls by the client stack, by kind and how they ended.
    Calls,
    /// Seconds from a call to the head of its answer, retries and hedges included.
    CallSeconds,
    /// Tries made: first ones, retries and hedges.
    Tries,
    /// Seconds of one try that was answered.
    TrySeconds,
    /// Second tries beside one that took long.
    Hedges,
    /// Hedges whose answer was the one that counted.
    HedgesWon,
    /// Hedges that the budgets refused.
    HedgesRefused,
    /// Hedges that their budget would allow now.
    HedgeBudget,
    /// Choices of an instance that should not be used, because there was no other.
    LastResorts,
    /// Choices made in panic: so few were available that ejected instances were chosen from as well.
    PanicPicks,
    /// Instances that breakers took out of the choice.
    Ejections,
    /// Instances that stayed in the choice although their breakers opened, because too many were out already.
    EjectionsOverflow,
    /// How long the registry has not answered, milliseconds.
    RegistryStale,
    /// Calls under way.
    CallsActive,
    /// Retries under way.
    RetriesActive,
    /// Share of calls that the throttle refuses.
    ThrottleShare,
    /// Processors that this gateway would like to have.
    ProcessorsDesired,
    /// Processors that take work.
    ProcessorsUsable,
    /// Age of the task that has waited longest, seconds.
    QueueAge,
    /// 1 when the role takes new work.
    Ready,
    /// Requests that got their turn, by priority.
    Admitted,
    /// Requests that were refused for want of capacity, by priority and reason.
    Shed,
    /// Requests that may be worked on at a time at this moment.
    AdmissionLimit,
    /// Requests being worked on.
    AdmissionInFlight,
    /// Requests that wait for their turn.
    AdmissionWaiting,
    /// Seconds that the oldest of them has waited.
    AdmissionQueueAge,
    /// Requests of tenants who sent too many.
    RateLimited,
    /// Tenants whose rate is remembered.
    RateLimitTenants,
    /// Places taken, by kind of work.
    BulkheadTaken,
    /// Requests that found every place for their kind of work taken.
    BulkheadRefused,
    /// Frames asked for, by whether they were in the cache.
    FrameCache,
    /// Lines of the log and notices that nobody read in time, by where they were to go.
    LinesDropped,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    /// Name as Prometheus reads it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpRequests => "clip_http_requests_total",
            Self::HttpSeconds => "clip_http_request_seconds",
            Self::HttpInFlight => "clip_http_in_flight",
            Self::Tasks => "clip_tasks_total",
            Self::Jobs => "clip_job_transitions_total",
            Self::JobsOpen => "clip_jobs_open",
            Self::Queue => "clip_queue_tasks",
            Self::TasksInFlight => "clip_tasks_in_flight",
            Self::UpstreamCalls => "clip_upstream_calls_total",
            Self::UpstreamFailures => "clip_upstream_failures_total",
            Self::UpstreamInFlight => "clip_upstream_in_flight",
            Self::BreakerState => "clip_breaker_state",
            Self::Retries => "clip_retries_total",
            Self::RetriesRefused => "clip_retries_refused_total",
            Self::RetryBudget => "clip_retry_budget",
            Self::Calls => "clip_calls_total",
            Self::CallSeconds => "clip_call_seconds",
            Self::Tries => "clip_tries_total",
            Self::TrySeconds => "clip_try_seconds",
            Self::Hedges => "clip_hedges_total",
            Self::HedgesWon => "clip_hedges_won_total",
            Self::HedgesRefused => "clip_hedges_refused_total",
            Self::HedgeBudget => "clip_hedge_budget",
            Self::LastResorts => "clip_last_resorts_total",
            Self::PanicPicks => "clip_panic_picks_total",
            Self::Ejections => "clip_ejections_total",
            Self::EjectionsOverflow => "clip_ejections_overflow_total",
            Self::RegistryStale => "clip_registry_stale_milliseconds",
            Self::CallsActive => "clip_calls_active",
            Self::RetriesActive => "clip_retries_active",
            Self::ThrottleShare => "clip_throttle_share",
            Self::ProcessorsDesired => "clip_processors_desired",
            Self::ProcessorsUsable => "clip_processors_usable",
            Self::QueueAge => "clip_queue_age_seconds",
            Self::Ready => "clip_ready",
            Self::Admitted => "clip_admitted_total",
            Self::Shed => "clip_shed_total",
            Self::AdmissionLimit => "clip_admission_limit",
            Self::AdmissionInFlight => "clip_admission_in_flight",
            Self::AdmissionWaiting => "clip_admission_waiting",
            Self::AdmissionQueueAge => "clip_admission_queue_age_seconds",
            Self::RateLimited => "clip_rate_limited_total",
            Self::RateLimitTenants => "clip_rate_limit_tenants",
            Self::BulkheadTaken => "clip_bulkhead_taken",
            Self::BulkheadRefused => "clip_bulkhead_refused_total",
            Self::FrameCache => "clip_frame_cache_total",
            Self::LinesDropped => "clip_lines_dropped_total",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::HttpRequests => "HTTP requests answered, by route, method and status",
            Self::HttpSeconds => "Seconds from request to response head, by route",
            Self::HttpInFlight => "HTTP requests being answered",
            Self::Tasks => "Tasks by how the dispatcher saw them end",
            Self::Jobs => "Jobs by the state they entered",
            Self::JobsOpen => "Jobs that are not terminal",
            Self::Queue => "Tasks by queue state",
            Self::TasksInFlight => "Tasks this node is working on",
            Self::UpstreamCalls => "Calls to an instance",
            Self::UpstreamFailures => "Calls to an instance that failed",
            Self::UpstreamInFlight => "Calls in flight to an instance",
            Self::BreakerState => "State of an instance's breaker: 0 closed, 1 half-open, 2 open",
            Self::Retries => "Retries sent",
            Self::RetriesRefused => "Retries that the budget refused",
            Self::RetryBudget => "Retries that the budget would allow now",
            Self::Calls => {
                "Calls by the client stack, retries and hedges apart, by kind and how they ended"
            }
            Self::CallSeconds => {
                "Seconds from a call to the head of its answer, retries and hedges included, by kind"
            }
            Self::Tries => "Tries made, first ones, retries and hedges",
            Self::TrySeconds => "Seconds of one try that was answered, by kind of call",
            Self::Hedges => "Second tries beside one that took long",
            Self::HedgesWon => "Hedges whose answer was the one that counted",
            Self::HedgesRefused => "Hedges that the budgets refused",
            Self::HedgeBudget => "Hedges that their budget would allow now",
            Self::PanicPicks => {
                "Choices made while so few were available that ejected instances were chosen from as well"
            }
            Self::Ejections => "Instances that breakers took out of the choice",
            Self::EjectionsOverflow => {
                "Instances that stayed in the choice although their breakers opened"
            }
            Self::RegistryStale => "Milliseconds that the registry has not answered",
            Self::LastResorts => {
                "Choices of an instance that should not be used, because there was no other"
            }
            Self::CallsActive => "Calls under way",
            Self::RetriesActive => "Retries under way",
            Self::ThrottleShare => "Share of calls that the throttle refuses, by kind",
            Self::ProcessorsDesired => "Processors there should be, for whatever scales them",
            Self::ProcessorsUsable => "Processors that take work",
            Self::QueueAge => {
                "Seconds that the task which has waited longest could have been worked on"
            }
            Self::Ready => "1 when the role takes new work",
            Self::Admitted => "Requests that got their turn, by priority",
            Self::Shed => "Requests that were refused for want of capacity, by priority and reason",
            Self::AdmissionLimit => "Requests that may be worked on at a time at this moment",
            Self::AdmissionInFlight => "Requests being worked on",
            Self::AdmissionWaiting => "Requests that wait for their turn",
            Self::AdmissionQueueAge => "Seconds that the oldest of them has waited",
            Self::RateLimited => "Requests of tenants who sent too many",
            Self::RateLimitTenants => "Tenants whose rate is remembered",
            Self::BulkheadTaken => "Places taken, by kind of work",
            Self::BulkheadRefused => "Requests that found every place for their kind of work taken",
            Self::FrameCache => "Frames asked for, by whether they were in the cache",
            Self::LinesDropped => {
                "Lines of the log and notices that nobody read in time, by where they were to go"
            }
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::HttpRequests
            | Self::Tasks
            | Self::Jobs
            | Self::UpstreamCalls
            | Self::UpstreamFailures
            | Self::Retries
            | Self::RetriesRefused
            | Self::Calls
            | Self::Tries
            | Self::Hedges
            | Self::HedgesWon
            | Self::HedgesRefused
            | Self::LastResorts
            | Self::PanicPicks
            | Self::Ejections
            | Self::EjectionsOverflow
            | Self::Admitted
            | Self::Shed
            | Self::RateLimited
            | Self::BulkheadRefused
            | Self::FrameCache
            | Self::LinesDropped => Kind::Counter,
            Self::HttpSeconds | Self::CallSeconds | Self::TrySeconds => Kind::Histogram,
            Self::HttpInFlight
            | Self::JobsOpen
            | Self::Queue
            | Self::TasksInFlight
            | Self::UpstreamInFlight
            | Self::BreakerState
            | Self::RetryBudget
            | Self::RegistryStale
            | Self::HedgeBudget
            | Self::CallsActive
            | Self::RetriesActive
            | Self::ThrottleShare
            | Self::ProcessorsDesired
            | Self::ProcessorsUsable
            | Self::QueueAge
            | Self::Ready
            | Self::AdmissionLimit
            | Self::AdmissionInFlight
            | Self::AdmissionWaiting
            | Self::AdmissionQueueAge
            | Self::RateLimitTenants
            | Self::BulkheadTaken => Kind::Gauge,
        }
    }
}

/// Upper bounds of the latency buckets, seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

#[derive(Debug, Clone, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// Durations counted without a lock, for the path of every call. [`Metrics::show`] publishes them.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Each counts what its bound is the lowest for; the last one what is longer than every bound.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Latencies {
    /// Records a duration.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = BUCKETS.iter().position(|bound| seconds <= *bound);
        self.buckets[at.unwrap_or(BUCKETS.len())].fetch_add(1, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
    }

    /// Durations recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.load(Relaxed)).sum()
    }

    fn histogram(&self) -> Histogram {
        let mut histogram = Histogram::default();
        for (into, bucket) in histogram.buckets.iter_mut().zip(&self.buckets) {
            histogram.count += bucket.load(Relaxed);
            *into = histogram.count;
        }
        histogram.count += self.buckets[BUCKETS.len()].load(Relaxed);
        histogram.sum = self.micros.load(Relaxed) as f64 / 1e6;
        histogram
    }
}

/// Name-and-value pairs of one series, in the order given.
type Labels = Vec<(&'static str, String)>;

/// Labels as a caller has them.
type Given<'a> = [(&'static str, &'a str)];

/// The series of one metric. Few, and counted on every request: they are found by hash and by comparing, so that nothing
/// is allocated for a series that exists.
#[derive(Debug)]
struct Series<T>(Vec<One<T>>);

#[derive(Debug)]
struct One<T> {
    hash: u64,
    labels: Labels,
    value: T,
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Series<T> {
    fn of(&mut self, labels: &Given<'_>) -> &mut T {
        let hash = hash_of(labels);
        let known = self
            .0
            .iter()
            .position(|one| one.hash == hash && same(&one.labels, labels));
        let at = known.unwrap_or_else(|| {
            self.0.push(One {
                hash,
                labels: own(labels),
                value: T::default(),
            });
            self.0.len() - 1
        });
        &mut self.0[at].value
    }

    fn sorted(&self) -> Vec<&One<T>> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }
}

/// FNV-1a over the values; the names are the same for all series of a metric.
fn hash_of(labels: &Given<'_>) -> u64 {
    labels
        .iter()
        .flat_map(|(_, value)| value.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

fn same(labels: &Labels, given: &Given<'_>) -> bool {
    labels.len() == given.len()
        && labels
            .iter()
            .zip(given)
            .all(|((name, value), (wanted, text))| name == wanted && value == text)
}

#[derive(Debug, Default)]
struct Numbers {
    values: BTreeMap<Metric, Series<f64>>,
    histograms: BTreeMap<Metric, Series<Histogram>>,
}

/// The numbers of one role.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Numbers>);

fn own(labels: &Given<'_>) -> Labels {
    labels
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

impl Metrics {
    /// Adds to a counter or gauge.
    pub fn add(&self, metric: Metric, labels: &[(&'static str, &str)], amount: f64) {
        *self.0.lock().values.entry(metric).or_default().of(labels) += amount;
    }

    /// Counts one.
    pub fn count(&self, metric: Metric, labels: &[(&'static str, &str)]) {
        self.add(metric, labels, 1.0);
    }

    /// Sets a gauge, or a counter that is counted elsewhere.
    pub fn set(&self, metric: Metric, labels: &[(&'static str, &str)], value: f64) {
        *self.0.lock().values.entry(metric).or_default().of(labels) = value;
    }

    /// Drops every series of a metric, before its values are set anew.
    pub fn clear(&self, metric: Metric) {
        self.0.lock().values.remove(&metric);
    }

    /// Records a duration.
    pub fn observe(&self, metric: Metric, labels: &[(&'static str, &str)], took: Duration) {
        let seconds = took.as_secs_f64();
        let mut numbers = self.0.lock();
        let histogram = numbers.histograms.entry(metric).or_default().of(labels);
        for (bucket, bound) in histogram.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }

    /// Sets a histogram that is counted elsewhere.
    pub fn show(&self, metric: Metric, labels: &Given<'_>, counted: &Latencies) {
        let histogram = counted.histogram();
        let mut numbers = self.0.lock();
        *numbers.histograms.entry(metric).or_default().of(labels) = histogram;
    }

    /// Counts what the process could not write.
    pub fn dropped(&self, notices: &Notices) {
        for (to, lines) in notices.dropped() {
            self.set(Metric::LinesDropped, &[("to", to)], lines as f64);
        }
    }

    /// Everything in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let numbers = self.0.lock();
        let mut out = String::new();
        for (metric, series) in &numbers.values {
            head(&mut out, *metric);
            for One { labels, value, .. } in series.sorted() {
                line(&mut out, metric.name(), "", labels, None, *value);
            }
        }
        for (metric, series) in &numbers.histograms {
            head(&mut out, *metric);
            let name = metric.name();
            for One {
                labels,
                value: histogram,
                ..
            } in series.sorted()
            {
                for (count, bound) in histogram.buckets.iter().zip(BUCKETS) {
                    line(
                        &mut out,
                        name,
                        "_bucket",
                        labels,
                        Some(&bound.to_string()),
                        *count as f64,
                    );
                }
                let count = histogram.count as f64;
                line(&mut out, name, "_bucket", labels, Some("+Inf"), count);
                line(&mut out, name, "_sum", labels, None, histogram.sum);
                line(&mut out, name, "_count", labels, None, count);
            }
        }
        out
    }
}

fn head(out: &mut String, metric: Metric) {
    let kind = match metric.kind() {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let name = metric.name();
    // Writing to a String cannot fail.
    writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help()).ok();
}

fn line(out: &mut String, name: &str, suffix: &str, labels: &Labels, le: Option<&str>, value: f64) {
    out.push_str(name);
    out.push_str(suffix);
    let pairs = labels
        .iter()
        .map(|(k, v)| (*k, v.as_str()))
        .chain(le.map(|le| ("le", le)));
    for (index, (label, text)) in pairs.enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        let text = text
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        write!(out, "{label}=\"{text}\"").ok();
    }
    if !labels.is_empty() || le.is_some() {
        out.push('}');
    }
    writeln!(out, " {value}").ok();
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Sends the log of this process, and what is said of a panic, to `lines`, which end at stderr. `filter` is as `RUST_LOG`
/// takes it (`info`, `clip_service=debug`). Called once, by `main`; a second call changes nothing.
///
/// # Errors
/// `filter` cannot be read.
pub fn log_to_stderr(format: LogFormat, filter: &str, lines: Lines) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("--log `{filter}`: {e}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would be said on stderr, which panics when stderr is what cannot be written.
        .log_internal_errors(false)
        .with_writer(lines);
    let installed = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // An embedding program that logs already keeps its own.
    if installed.is_ok() {
        // The usual hook writes to stderr by itself, and waits for its reader.
        std::panic::set_hook(Box::new(|panic| {
            let what = panic.to_string().replace('\n', " "); // one line, as all the others
            tracing::error!("{what}");
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.count(Metric::HttpRequests, &[("route", "/a"), ("status", "200")]);
        metrics.count(Metric::HttpRequests, &[("route", "/a"), ("status", "200")]);
        metrics.set(Metric::Queue, &[("state", "a\"b\\c\nd")], 3.0);
        metrics.set(Metric::Ready, &[], 1.0);
        metrics.observe(
            Metric::HttpSeconds,
            &[("route", "/a")],
            Duration::from_millis(3),
        );
        metrics.observe(
            Metric::HttpSeconds,
            &[("route", "/a")],
            Duration::from_secs(20),
        );
        insta::assert_snapshot!(metrics.render());
    }

    #[test]
    fn what_is_counted_without_a_lock_reads_the_same() {
        let (locked, free) = (Metrics::default(), Metrics::default());
        let counted = Latencies::default();
        for ms in [0, 250, 250, 500, 1000, 10_000, 20_000] {
            let took = Duration::from_millis(ms);
            locked.observe(Metric::CallSeconds, &[], took);
            counted.observe(took);
        }
        free.show(Metric::CallSeconds, &[], &counted);
        assert_eq!(free.render(), locked.render());
        assert_eq!(counted.count(), 7);
    }

    #[test]
    fn cleared_series_are_gone() {
        let metrics = Metrics::default();
        metrics.set(Metric::Queue, &[("state", "old")], 3.0);
        metrics.clear(Metric::Queue);
        assert_eq!(metrics.render(), "");
    }
}
