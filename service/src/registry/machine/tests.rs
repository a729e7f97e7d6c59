use super::*;
use proptest::prelude::*;

const TTL: Duration = Duration::from_secs(3);

fn machine(now: Instant) -> Machine {
    let times = Times {
        ttl: TTL,
        deregister_after: Duration::from_secs(60),
    };
    Machine::new(times, 100, "one".to_owned(), now)
}

fn registration(name: &str, epoch: u64) -> Registration {
    let mut registration = Registration::new(name, "processor", format!("{name}:80"), epoch);
    registration.ready = true;
    registration
}

fn beat(epoch: u64) -> Heartbeat {
    Heartbeat { epoch, ready: true }
}

fn steps(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|c| format!("{} {}", c.name, c.to.as_str()))
        .collect()
}

fn status(machine: &Machine, name: &str) -> Status {
    let listing = machine.list(&Filter {
        name: Some(name.to_owned()),
        ..Filter::default()
    });
    listing
        .instances
        .first()
        .map_or(Status::Removed, |instance| instance.status)
}

/// Sweeps as the role would, until `until`; answers every probe with what `alive` says of the name.
fn sweep_until(
    machine: &mut Machine,
    now: &mut Instant,
    until: Instant,
    alive: impl Fn(&str) -> bool,
) -> Vec<Change> {
    let mut changes = Vec::new();
    while *now < until {
        *now += machine.times.sweep_every();
        let swept = machine.sweep(*now);
        changes.extend(swept.changes);
        for probe in swept.probes {
            changes.extend(machine.probed(&probe.name, probe.epoch, alive(&probe.name), *now));
        }
    }
    changes
}

#[tokio::test(start_paused = true)]
async fn lives_from_starting_to_removed() {
    let mut now = Instant::now();
    let mut machine = machine(now);
    let mut new = registration("a", 1);
    new.ready = false;
    let (lease, changes) = machine.register(new, now).expect("new");
    assert_eq!((lease.status, lease.ttl_ms), (Status::Starting, 3000));
    assert_eq!(steps(&changes), ["a starting"]);
    let (_, changes) = machine.heartbeat("a", beat(1), now).expect("known");
    assert_eq!(steps(&changes), ["a passing"]);
    let end = now + Duration::from_secs(70);
    let changes = sweep_until(&mut machine, &mut now, end, |_| false);
    assert_eq!(steps(&changes), ["a warning", "a critical", "a removed"]);
    assert_eq!(machine.heartbeat("a", beat(1), now), Err(Refused::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_after_its_ttl_and_not_before() {
    let start = Instant::now();
    let mut now = start;
    let mut machine = machine(now);
    machine.register(registration("a", 1), now).expect("new");
    sweep_until(
        &mut machine,
        &mut now,
        start + Duration::from_millis(2750),
        |_| false,
    );
    assert_eq!(status(&machine, "a"), Status::Warning);
    sweep_until(
        &mut machine,
        &mut now,
        start + Duration::from_millis(3000),
        |_| false,
    );
    assert_eq!(status(&machine, "a"), Status::Critical);
    machine.heartbeat("a", beat(1), now).expect("still listed");
    assert_eq!(status(&machine, "a"), Status::Passing);
}

#[tokio::test(start_paused = true)]
async fn a_new_start_replaces_the_old_life_at_once_and_the_old_one_is_fenced() {
    let now = Instant::now();
    let mut machine = machine(now);
    machine.register(registration("a", 7), now).expect("new");
    let mut again = registration("a", 8);
    again.address = "a:81".to_owned();
    let (lease, changes) = machine.register(again, now).expect("newer");
    assert_eq!(lease.status, Status::Passing);
    assert_eq!(steps(&changes), ["a starting", "a passing"]);
    let refused = Refused::Superseded { current: 8 };
    assert_eq!(
        machine.register(registration("a", 7), now),
        Err(refused.clone())
    );
    assert_eq!(machine.heartbeat("a", beat(7), now), Err(refused.clone()));
    assert_eq!(machine.drain("a", 7, now), Err(refused.clone()));
    assert_eq!(machine.deregister("a", 7, now), Err(refused));
    assert_eq!(machine.heartbeat("a", beat(9), now), Err(Refused::Unknown));
    let listing = machine.list(&Filter::default());
    assert_eq!(listing.instances[0].address, "a:81");
}

#[tokio::test(start_paused = true)]
async fn registering_again_changes_nothing() {
    let now = Instant::now();
    let mut machine = machine(now);
    machine.register(registration("a", 1), now).expect("new");
    let revision = machine.revision();
    let (_, changes) = machine.register(registration("a", 1), now).expect("same");
    assert_eq!((changes.len(), machine.revision()), (0, revision));
    machine.heartbeat("a", beat(1), now).expect("known");
    assert_eq!(machine.revision(), revision);
}

#[tokio::test(start_paused = true)]
async fn draining_lasts_and_ends_in_removal() {
    let mut now = Instant::now();
    let mut machine = machine(now);
    machine.register(registration("a", 1), now).expect("new");
    machine.drain("a", 1, now).expect("known");
    machine.heartbeat("a", beat(1), now).expect("known");
    machine.register(registration("a", 1), now).expect("same");
    assert_eq!(status(&machine, "a"), Status::Draining);
    let end = now + TTL + Duration::from_millis(500);
    let changes = sweep_until(&mut machine, &mut now, end, |_| true);
    assert_eq!(steps(&changes), ["a removed"]);
    machine
        .register(registration("a", 1), now)
        .expect("new again");
    machine.deregister("a", 1, now).expect("known");
    assert_eq!(status(&machine, "a"), Status::Removed);
}

/// Of N instances, K fall silent at once. Dead, all K must go; alive, no more than the guard lets go without asking.
#[tokio::test(start_paused = true)]
async fn mass_loss_is_believed_only_after_asking() {
    for count in 1..=6_usize {
        for silent in 1..=count {
            for alive in [false, true] {
                let start = Instant::now();
                let mut now = start;
                let mut machine = machine(now);
                let names: Vec<_> = (0..count).map(|i| format!("p{i}")).collect();
                for (i, name) in names.iter().enumerate() {
                    // Registered apart, as jitter would have it: they expire in different sweeps.
                    now = start + Duration::from_millis(300) * u32::try_from(i).expect("small");
                    machine.register(registration(name, 1), now).expect("new");
                }
                for _ in 0..16 {
                    for name in &names[silent..] {
                        machine.heartbeat(name, beat(1), now).expect("known");
                    }
                    let until = now + Duration::from_millis(500);
                    sweep_until(&mut machine, &mut now, until, |_| alive);
                }
                let gone = names
                    .iter()
                    .filter(|name| status(&machine, name) == Status::Critical)
                    .count();
                let guarded = (count / 2).max(1);
                let case = format!("{silent} of {count} silent, alive: {alive}");
                if alive {
                    assert!(gone <= silent.min(guarded), "{case}: {gone} gone");
                } else {
                    assert_eq!(gone, silent, "{case}");
                }
                for name in &names[silent..] {
                    assert_eq!(status(&machine, name), Status::Passing, "{case}: {name}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_answered_a_probe_is_asked_again_and_goes_when_it_no_longer_answers() {
    let mut now = Instant::now();
    let mut machine = machine(now);
    for name in ["a", "b", "c"] {
        machine.register(registration(name, 1), now).expect("new");
    }
    let end = now + Duration::from_secs(30);
    let changes = sweep_until(&mut machine, &mut now, end, |_| true);
    assert_eq!(steps(&changes), ["a warning", "b warning", "c warning"]);
    let end = now + TTL + Duration::from_secs(1);
    let changes = sweep_until(&mut machine, &mut now, end, |name| name == "b");
    assert_eq!(steps(&changes), ["a critical", "c critical"]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_stood_still_blames_nobody() {
    let start = Instant::now();
    let mut now = start;
    let mut machine = machine(now);
    for name in ["a", "b", "c"] {
        machine.register(registration(name, 1), now).expect("new");
    }
    sweep_until(
        &mut machine,
        &mut now,
        start + Duration::from_secs(1),
        |_| false,
    );
    now += Duration::from_secs(30); // Stopped; heartbeats of that time are still unread.
    let swept = machine.sweep(now);
    assert_eq!((swept.changes, swept.probes), (vec![], vec![]));
    // But the time before and after still counts.
    let until = now + Duration::from_millis(2600);
    let changes = sweep_until(&mut machine, &mut now, until, |_| false);
    assert!(
        steps(&changes)
            .iter()
            .any(|step| step.ends_with("critical")),
        "{changes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fresh_registry_says_that_it_is_settling_and_then_wakes_watchers() {
    let start = Instant::now();
    let mut now = start;
    let mut machine = machine(now);
    machine.register(registration("a", 1), now).expect("new");
    let filter = Filter {
        kind: Some("processor".to_owned()),
        ..Filter::default()
    };
    let seen = machine.list(&filter);
    assert!(seen.settling && !machine.is_news(&filter, seen.revision, Some("one")));
    assert!(
        machine.is_news(&filter, seen.revision, Some("zero")),
        "another incarnation"
    );
    assert!(
        machine.is_news(&filter, seen.revision + 100, None),
        "a revision from another life"
    );
    for _ in 0..7 {
        machine.heartbeat("a", beat(1), now).expect("known");
        let until = now + Duration::from_millis(500);
        sweep_until(&mut machine, &mut now, until, |_| true);
    }
    assert!(machine.is_news(&filter, seen.revision, Some("one")));
    assert!(!machine.list(&filter).settling);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_one_kind_sleeps_through_changes_of_another() {
    let now = Instant::now();
    let mut machine = machine(now);
    let filter = Filter {
        kind: Some("processor".to_owned()),
        ..Filter::default()
    };
    let seen = machine.list(&filter).revision;
    let mut other = registration("g", 1);
    other.kind = "gateway".to_owned();
    machine.register(other, now).expect("new");
    assert!(!machine.is_news(&filter, seen, Some("one")));
    machine.register(registration("a", 1), now).expect("new");
    assert!(machine.is_news(&filter, seen, Some("one")));
    let seen = machine.list(&filter).revision;
    machine.deregister("a", 1, now).expect("known");
    assert!(
        machine.is_news(&filter, seen, Some("one")),
        "a removal is news"
    );
}

#[tokio::test(start_paused = true)]
async fn refuses_more_than_it_can_hold() {
    let now = Instant::now();
    let mut machine = machine(now);
    for i in 0..100 {
        machine
            .register(registration(&format!("p{i}"), 1), now)
            .expect("room");
    }
    assert_eq!(
        machine.register(registration("q", 1), now),
        Err(Refused::Full(100))
    );
    machine
        .register(registration("p5", 2), now)
        .expect("replacing needs no room");
}

proptest! {
    /// Whoever heartbeats at least every 1.2 thirds of the TTL is never given up, whatever the others do and however
    /// irregularly the registry sweeps.
    #[test]
    fn no_live_lease_expires(
        waits in proptest::collection::vec((1_u64..400, 0_usize..5, any::<bool>()), 1..400),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let start = Instant::now();
            let mut now = start;
            let mut machine = machine(now);
            let names = ["a", "b", "c", "d", "alive"];
            for name in names {
                machine.register(registration(name, 1), now).expect("new");
            }
            let mut beaten = now;
            for (wait, who, sweep) in waits {
                now += Duration::from_millis(wait);
                if now - beaten >= Duration::from_millis(800) {
                    beaten = now;
                    machine.heartbeat("alive", beat(1), now).expect("known");
                }
                // The others beat or not, as it comes.
                if who < 4 && wait % 3 == 0 {
                    drop(machine.heartbeat(names[who], beat(1), now));
                }
                if sweep {
                    let swept = machine.sweep(now);
                    for probe in swept.probes {
                        machine.probed(&probe.name, probe.epoch, false, now);
                    }
                }
                assert!(matches!(status(&machine, "alive"), Status::Passing));
            }
        });
    }

    /// Messages of an older life change nothing, and revisions only rise.
    #[test]
    fn older_lives_change_nothing(
        messages in proptest::collection::vec((0_u8..4, 1_u64..6), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let now = Instant::now();
            let mut machine = machine(now);
            let mut current = None;
            for (kind, epoch) in messages {
                let before = (machine.revision(), machine.list(&Filter::default()));
                let outcome = match kind {
                    0 => machine.register(registration("a", epoch), now),
                    1 => machine.heartbeat("a", beat(epoch), now),
                    2 => machine.drain("a", epoch, now),
                    _ => machine.deregister("a", epoch, now),
                };
                if current.is_some_and(|current| epoch < current) {
                    assert_eq!(outcome, Err(Refused::Superseded { current: current.unwrap() }));
                    assert_eq!(before, (machine.revision(), machine.list(&Filter::default())));
                } else if outcome.is_ok() {
                    current = (kind != 3).then_some(epoch);
                }
                assert!(machine.revision() >= before.0);
            }
        });
    }
}
