//! The real roles (registry, gateways, processors) on a simulated network in virtual time. Keeps the seams of the service
//! true: a role that opened a real socket, slept on a real clock or drew its own randomness would fail here.

use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clip_harness::simulate::{
    Fault, Flaw, Options, Run, Schedule, Summary, Sweep, What, simulate_schedule, sweep,
};

/// Seeds that every test run tries.
const SEEDS: u64 = 50;
/// Each run is one thread; the suite has a machine with two cores to itself at the least.
const THREADS: usize = 2;

fn options() -> Options {
    Options {
        length: Duration::from_secs(16),
        rate: 20,
        flaw: None,
    }
}

fn swept(seeds: u64, twice: bool, options: Options) -> Summary {
    let wanted = Sweep {
        seeds: 1..=seeds,
        threads: THREADS,
        twice,
        options,
    };
    sweep(&wanted, &AtomicBool::new(false), |_, _| {})
}

fn told(summary: &Summary, options: &Options) -> String {
    let mut text = String::new();
    for failure in &summary.failures {
        let command = format!(
            "cargo run --release -p clip-harness --example simulate -- --seed {} --for {}s --rate {} --twice",
            failure.seed,
            options.length.as_secs(),
            options.rate
        );
        let broken = failure.broken.join("\n  ");
        writeln!(
            text,
            "seed {}:\n  {broken}\n  again: {command}",
            failure.seed
        )
        .expect("a string");
    }
    text
}

#[test]
fn fifty_seeds_break_nothing_that_must_hold_and_repeat_exactly() {
    let options = options();
    let summary = swept(SEEDS, true, options);
    assert!(summary.failures.is_empty(), "{}", told(&summary, &options));
    assert_eq!((summary.seeds, summary.runs), (SEEDS, 2 * SEEDS));
    // That the seeds did something: all kinds of faults, requests that failed of them, tasks that changed hands.
    for kind in What::KINDS {
        assert!(summary.faults_of(kind) > 0, "no {kind} in {SEEDS} seeds");
    }
    assert!(summary.right < summary.asked, "no fault was felt");
    assert!(summary.right * 10 > summary.asked * 9, "{summary:?}");
    assert!(
        summary.leased_again > 0 && summary.fenced > 0,
        "{summary:?}"
    );
}

fn fault(from_ms: u64, until_ms: u64, what: What) -> Fault {
    Fault {
        from: Duration::from_millis(from_ms),
        until: Duration::from_millis(until_ms),
        what,
    }
}

/// The checks are worth something only if they can fail. Each mistake with a schedule that brings it out.
#[test]
fn mistakes_that_are_built_in_are_found() {
    let processors = ["processor-1", "processor-2", "processor-3"];
    let expected: [(Flaw, &str, Vec<Fault>); 5] = [
        // `gateway-1` has leased a task and loses its storage for a little longer than the lease: it comes back while the
        // other gateway works on the task.
        (
            Flaw::NoFencing,
            "done twice: ",
            vec![fault(2200, 4380, What::Stall("gateway-1"))],
        ),
        // A job has just been accepted.
        (
            Flaw::WriteBehind,
            "job lost: ",
            vec![
                fault(3900, 3900, What::Bounce("gateway-1")),
                fault(3900, 3900, What::Bounce("gateway-2")),
            ],
        ),
        (Flaw::WrongFrames, "wrong answer: ", Vec::new()),
        (
            Flaw::StuckBreaker,
            "breaker stuck: ",
            vec![fault(3000, 5000, What::Hang("processor-2"))],
        ),
        // Every try is refused.
        (
            Flaw::EndlessRetries,
            "budget exceeded: ",
            processors
                .map(|name| fault(3000, 6000, What::Crash(name)))
                .to_vec(),
        ),
    ];
    for (flaw, words, faults) in &expected {
        let length = Duration::from_secs(18);
        let schedule = Schedule::of(length, faults.clone()).expect("a sound schedule");
        let broken = |flaw| {
            let options = Options {
                length,
                flaw,
                ..Options::default()
            };
            simulate_schedule(1, &schedule, &options).broken
        };
        let found = broken(Some(*flaw));
        assert!(
            found.iter().any(|text| text.starts_with(words)),
            "{} was not found: {found:#?}",
            flaw.name()
        );
        assert_eq!(
            broken(None),
            Vec::<String>::new(),
            "without {}",
            flaw.name()
        );
    }
    assert_eq!(expected.map(|(flaw, ..)| flaw), Flaw::ALL);
}

fn one_crash() -> (Schedule, Options) {
    let crash = fault(4000, 7000, What::Crash("processor-2"));
    let length = Duration::from_secs(20);
    let schedule = Schedule::of(length, vec![crash]).expect("a sound schedule");
    (
        schedule,
        Options {
            length,
            ..Options::default()
        },
    )
}

#[test]
fn the_crash_of_one_processor_hurts_nobody() {
    let (schedule, options) = one_crash();
    let run: Run = simulate_schedule(42, &schedule, &options);
    let log = || run.log.join("\n");
    assert!(run.broken.is_empty(), "{:#?}\n{}", run.broken, log());
    assert_eq!(run.right, run.asked, "requests failed:\n{}", log());
    assert!(
        run.asked > 700 && run.jobs == 12,
        "{} requests, {} jobs",
        run.asked,
        run.jobs
    );
    assert!(
        run.worst < Duration::from_secs(1),
        "{:?}:\n{}",
        run.worst,
        log()
    );
    let moved = |what: &str| run.log.iter().any(|line| line.contains(what));
    assert!(
        moved("Breaker processor-2: closed -> open"),
        "not noticed:\n{}",
        log()
    );
    assert!(
        moved("processor-2 starts, incarnation 2"),
        "not back:\n{}",
        log()
    );
}

#[test]
fn another_seed_is_another_run() {
    let (schedule, options) = one_crash();
    let prints = [1, 1, 2].map(|seed| simulate_schedule(seed, &schedule, &options).fingerprint);
    assert_eq!(prints[0], prints[1]);
    assert_ne!(prints[0], prints[2]);
}
