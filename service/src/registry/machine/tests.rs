use super::*;
use crate::registry::wire::{CheckState, Listing};
use proptest::prelude::*;

const TTL: Duration = Duration::from_secs(3);

fn machine(now: Instant) -> Machine {
    let times = Times {
        ttl: TTL,
        deregister_after: Duration::from_secs(60),
        hold_down: HoldDown::default(),
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

fn list(machine: &Machine, filter: &Filter) -> Listing {
    // The age is another at each look.
    machine.look_up(filter, machine.swept).listing()
}

fn steps(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|c| format!("{} {}", c.name, c.to.as_str()))
        .collect()
}

fn status(machine: &Machine, name: &str) -> Status {
    let listing = list(
        machine,
        &Filter {
            name: Some(name.to_owned()),
            ..Filter::default()
        },
    );
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
    assert_eq!(machine.drain("a", Some(7), now), Err(refused.clone()));
    assert_eq!(machine.deregister("a", Some(7)), Err(refused));
    assert_eq!(machine.heartbeat("a", beat(9), now), Err(Refused::Unknown));
    let listing = list(&machine, &Filter::default());
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
    machine.drain("a", Some(1), now).expect("known");
    machine.heartbeat("a", beat(1), now).expect("known");
    machine.register(registration("a", 1), now).expect("same");
    assert_eq!(status(&machine, "a"), Status::Draining);
    let end = now + TTL + Duration::from_millis(500);
    let changes = sweep_until(&mut machine, &mut now, end, |_| true);
    assert_eq!(steps(&changes), ["a removed"]);
    machine
        .register(registration("a", 1), now)
        .expect("new again");
    machine.deregister("a", Some(1)).expect("known");
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
    let seen = list(&machine, &filter);
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
    assert!(!list(&machine, &filter).settling);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_one_kind_sleeps_through_changes_of_another() {
    let now = Instant::now();
    let mut machine = machine(now);
    let filter = Filter {
        kind: Some("processor".to_owned()),
        ..Filter::default()
    };
    let seen = list(&machine, &filter).revision;
    let mut other = registration("g", 1);
    other.kind = "gateway".to_owned();
    machine.register(other, now).expect("new");
    assert!(!machine.is_news(&filter, seen, Some("one")));
    machine.register(registration("a", 1), now).expect("new");
    assert!(machine.is_news(&filter, seen, Some("one")));
    let seen = list(&machine, &filter).revision;
    machine.deregister("a", Some(1)).expect("known");
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

fn checked(name: &str, epoch: u64) -> Registration {
    registration(name, epoch).check(Check::default())
}

fn names_of(machine: &Machine, kind: Option<&str>, tags: &[&str]) -> Vec<String> {
    let filter = Filter {
        name: None,
        kind: kind.map(str::to_owned),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    let found = machine.find(&filter);
    found.iter().map(|instance| instance.name.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn lookups_go_by_name_kind_and_all_tags() {
    let now = Instant::now();
    let mut machine = machine(now);
    for (name, kind, tags) in [
        ("c", "p", &["gpu", "4k"][..]),
        ("a", "p", &["gpu", "4k"]),
        ("b", "p", &["gpu"]),
        ("g", "q", &["gpu", "4k"]),
    ] {
        let mut it = registration(name, 1);
        it.kind = kind.to_owned();
        it.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        machine.register(it, now).expect("new");
    }
    assert_eq!(names_of(&machine, Some("p"), &["gpu", "4k"]), ["a", "c"]);
    assert_eq!(names_of(&machine, Some("p"), &[]), ["a", "b", "c"]);
    assert_eq!(names_of(&machine, None, &["4k"]), ["a", "c", "g"]);
    assert_eq!(names_of(&machine, None, &[]), ["a", "b", "c", "g"]);
    assert_eq!(names_of(&machine, Some("r"), &[]), [] as [&str; 0]);
    let by_name = |name: &str, kind: &str| {
        let filter = Filter {
            name: Some(name.to_owned()),
            kind: Some(kind.to_owned()),
            tags: BTreeSet::new(),
        };
        machine.find(&filter).len()
    };
    assert_eq!(
        (by_name("b", "p"), by_name("b", "q"), by_name("z", "p")),
        (1, 0, 0)
    );
    let mut other = registration("a", 1);
    other.kind = "p".to_owned();
    machine.register(other, now).expect("same life");
    assert_eq!(
        names_of(&machine, Some("p"), &["4k"]),
        ["c"],
        "tags changed"
    );
}

#[tokio::test(start_paused = true)]
async fn heartbeats_and_check_must_agree() {
    let mut now = Instant::now();
    let mut machine = machine(now);
    machine.register(checked("a", 1), now).expect("new");
    assert_eq!(
        status(&machine, "a"),
        Status::Starting,
        "nobody has asked it yet"
    );
    machine.heartbeat("a", beat(1), now).expect("known");
    assert_eq!(status(&machine, "a"), Status::Starting);
    let due = machine.checks_due(8, now);
    assert_eq!((due.len(), due[0].name.as_str(), due[0].epoch), (1, "a", 1));
    assert!(machine.checks_due(8, now).is_empty(), "it is on its way");
    let failed = Outcome::Failed("answered 500".to_owned());
    for (outcome, expected) in [
        (Outcome::Passed, Status::Passing),
        (failed.clone(), Status::Passing),
        (failed, Status::Critical),
        (Outcome::Passed, Status::Critical),
        (Outcome::Passed, Status::Passing),
    ] {
        machine.heartbeat("a", beat(1), now).expect("known");
        machine.checked("a", 1, &outcome, 0.5, now);
        assert_eq!(status(&machine, "a"), expected, "{outcome:?}");
        now = machine.next_check().expect("again");
        assert_eq!(machine.checks_due(8, now).len(), 1);
    }
    // Silent, whatever its check says.
    machine.checked("a", 1, &Outcome::Passed, 0.5, now);
    let end = now + TTL + Duration::from_millis(250);
    sweep_until(&mut machine, &mut now, end, |_| false);
    assert_eq!(machine.checks_due(8, now).len(), 1);
    machine.checked("a", 1, &Outcome::Passed, 0.5, now);
    assert_eq!(status(&machine, "a"), Status::Critical);
    machine.heartbeat("a", beat(1), now).expect("known");
    // Neither does a late answer of an older life count.
    machine.register(checked("a", 2), now).expect("newer");
    assert!(
        machine
            .checked("a", 1, &Outcome::Passed, 0.5, now)
            .is_empty()
    );
    assert_eq!(status(&machine, "a"), Status::Starting);
}

#[tokio::test(start_paused = true)]
async fn who_says_in_its_check_that_it_drains_leaves_without_a_penalty() {
    let now = Instant::now();
    let mut machine = machine(now);
    machine.register(checked("a", 1), now).expect("new");
    for _ in 0..4 {
        for (outcome, times, expected) in [
            (Outcome::Passed, 2, Status::Passing),
            (Outcome::Draining, 1, Status::Draining),
        ] {
            for _ in 0..times {
                let later = machine.next_check().expect("due");
                assert_eq!(machine.checks_due(8, later).len(), 1);
                machine.checked("a", 1, &outcome, 0.5, later);
            }
            assert_eq!(
                status(&machine, "a"),
                expected,
                "leaving is no change of health"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn checks_are_bounded_and_end_with_what_they_check() {
    let now = Instant::now();
    let mut machine = machine(now);
    for name in ["a", "b", "c", "d"] {
        machine.register(checked(name, 1), now).expect("new");
    }
    assert_eq!(machine.checks_due(3, now).len(), 3);
    machine
        .register(registration("d", 1), now)
        .expect("without a check");
    assert_eq!(machine.next_check(), None);
    assert_eq!(status(&machine, "d"), Status::Passing);
    machine.checked("a", 1, &Outcome::Passed, 0.5, now);
    machine.deregister("a", Some(1)).expect("known");
    assert_eq!(machine.next_check(), None, "the others are on their way");
}

#[tokio::test(start_paused = true)]
async fn maintenance_lasts_through_everything_until_it_is_taken_back() {
    let mut now = Instant::now();
    let mut machine = machine(now);
    let reason = || Some("new disks".to_owned());
    assert_eq!(machine.maintain("a", reason(), now), Err(Refused::Unknown));
    machine.register(registration("a", 1), now).expect("new");
    let (lease, changes) = machine.maintain("a", reason(), now).expect("known");
    assert_eq!(lease.orders.maintenance.as_deref(), Some("new disks"));
    assert_eq!(steps(&changes), ["a maintenance"]);
    assert_eq!(changes[0].reason, "in maintenance: new disks");
    machine.heartbeat("a", beat(1), now).expect("known");
    assert_eq!(status(&machine, "a"), Status::Maintenance);
    machine
        .register(registration("a", 2), now)
        .expect("a restart");
    assert_eq!(status(&machine, "a"), Status::Maintenance);
    let end = now + Duration::from_secs(120);
    sweep_until(&mut machine, &mut now, end, |_| false);
    assert_eq!(
        status(&machine, "a"),
        Status::Maintenance,
        "silence is expected of it"
    );
    machine.deregister("a", Some(2)).expect("known");
    machine.register(registration("a", 3), now).expect("back");
    assert_eq!(status(&machine, "a"), Status::Maintenance);
    let (_, changes) = machine.maintain("a", None, now).expect("known");
    assert_eq!(steps(&changes), ["a passing"]);
    machine.maintain("a", reason(), now).expect("known");
    machine.deregister("a", None).expect("an operator");
    machine.register(registration("a", 4), now).expect("back");
    assert_eq!(
        status(&machine, "a"),
        Status::Passing,
        "orders went with it"
    );
}

#[tokio::test(start_paused = true)]
async fn orders_about_a_life_end_with_it_and_a_new_registry_learns_them() {
    let now = Instant::now();
    let mut first = machine(now);
    first.register(registration("a", 1), now).expect("new");
    let before = first.revision();
    first.weigh("a", 30).expect("known");
    assert!(first.revision() > before, "watchers are told");
    first.weigh("a", 30).expect("the same again");
    assert_eq!(first.revision(), before + 1);
    let (lease, _) = first.drain("a", None, now).expect("known");
    assert_eq!(lease.status, Status::Draining);
    let (lease, _) = first
        .register(registration("a", 1), now)
        .expect("same life");
    assert_eq!(
        (lease.status, lease.orders.weight),
        (Status::Draining, Some(30))
    );
    assert_eq!(list(&first, &Filter::default()).instances[0].weight, 30);

    let mut second = machine(now);
    let again = Registration {
        orders: lease.orders.clone(),
        ..registration("a", 1)
    };
    second.register(again.clone(), now).expect("new there");
    let shown = &list(&second, &Filter::default()).instances[0];
    assert_eq!((shown.status, shown.weight), (Status::Draining, 30));
    // Once settled, a registry knows better than those it hears from.
    second.deregister("a", None).expect("known");
    let settled = now + TTL;
    second.sweep(settled);
    second.register(again, settled).expect("new again");
    let shown = &list(&second, &Filter::default()).instances[0];
    assert_eq!((shown.status, shown.weight), (Status::Passing, 100));

    first
        .register(registration("a", 2), now)
        .expect("a restart");
    let shown = &list(&first, &Filter::default()).instances[0];
    assert_eq!((shown.status, shown.weight), (Status::Passing, 100));
}

#[tokio::test(start_paused = true)]
async fn who_changes_too_often_stays_out_for_a_while() {
    let mut now = Instant::now();
    let mut machine = machine(now);
    machine.register(registration("a", 1), now).expect("new");
    let says = |machine: &mut Machine, ready, now| {
        let beat = Heartbeat { epoch: 1, ready };
        machine.heartbeat("a", beat, now).expect("known").0.status
    };
    let mut seen = Vec::new();
    for ready in [false, true, false, true] {
        now += Duration::from_secs(1);
        seen.push(says(&mut machine, ready, now));
    }
    let critical = Status::Critical;
    assert_eq!(seen, [critical, Status::Passing, critical, critical]);
    let shown = list(&machine, &Filter::default()).instances[0].clone();
    assert_eq!(shown.reason, "changed too often, stays out for 10s");
    for _ in 0..8 {
        let until = now + Duration::from_secs(1);
        sweep_until(&mut machine, &mut now, until, |_| false);
        assert_eq!(says(&mut machine, true, now), critical);
    }
    let until = now + Duration::from_secs(1);
    let changes = sweep_until(&mut machine, &mut now, until, |_| false);
    assert_eq!(steps(&changes), ["a passing"]);
}

#[tokio::test(start_paused = true)]
async fn the_list_says_why_and_how_long_ago() {
    let now = Instant::now();
    let mut machine = machine(now);
    machine.register(checked("a", 1), now).expect("new");
    machine.checks_due(1, now);
    machine.checked("a", 1, &Outcome::Refused, 0.5, now);
    let later = now + Duration::from_millis(1500);
    let listing = machine.look_up(&Filter::default(), later).listing();
    let shown = &listing.instances[0];
    assert_eq!(shown.reason, "check failed: connection refused");
    assert_eq!(shown.check, Some(CheckState::Failing));
    assert_eq!(shown.heartbeat_age_ms, Some(1500));
}

proptest! {
    /// Whoever heartbeats at least every 1.2 thirds of the TTL is never given up, whatever the others do, however
    /// irregularly the registry sweeps, and however long it stands still, with heartbeats unread, in between.
    #[test]
    fn no_live_lease_expires(
        waits in proptest::collection::vec(
            (1_u64..400, 0_usize..5, any::<bool>(), prop_oneof![9 => Just(0_u64), 1 => 1_u64..20_000]),
            1..400,
        ),
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
            let sweep_and_probe = |machine: &mut Machine, now| {
                for probe in machine.sweep(now).probes {
                    machine.probed(&probe.name, probe.epoch, false, now);
                }
            };
            for (wait, who, sweep, stall) in waits {
                now += Duration::from_millis(wait + stall);
                if stall % 2 == 1 {
                    sweep_and_probe(&mut machine, now); // before what is unread is read
                }
                if now - beaten >= Duration::from_millis(800) {
                    beaten = now;
                    machine.heartbeat("alive", beat(1), now).expect("known");
                }
                // The others beat or not, as it comes.
                if who < 4 && wait % 3 == 0 {
                    drop(machine.heartbeat(names[who], beat(1), now));
                }
                if sweep {
                    sweep_and_probe(&mut machine, now);
                }
                assert!(matches!(status(&machine, "alive"), Status::Passing | Status::Warning));
            }
        });
    }

    /// Messages of an older life change nothing, and revisions only rise.
    #[test]
    fn older_lives_change_nothing(
        messages in proptest::collection::vec((0_u8..6, 1_u64..6), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let now = Instant::now();
            let mut machine = machine(now);
            let mut current = None;
            for (kind, epoch) in messages {
                let before = (machine.revision(), list(&machine, &Filter::default()));
                if kind > 3 {
                    machine.checks_due(1, now);
                    let changes = match kind {
                        4 => machine.checked("a", epoch, &Outcome::Refused, 0.0, now),
                        _ => machine.probed("a", epoch, false, now),
                    };
                    if current != Some(epoch) {
                        assert_eq!(changes, []);
                        assert_eq!(before, (machine.revision(), list(&machine, &Filter::default())));
                    }
                    continue;
                }
                let outcome = match kind {
                    0 => machine.register(checked("a", epoch), now),
                    1 => machine.heartbeat("a", beat(epoch), now),
                    2 => machine.drain("a", Some(epoch), now),
                    _ => machine.deregister("a", Some(epoch)),
                };
                if current.is_some_and(|current| epoch < current) {
                    assert_eq!(outcome, Err(Refused::Superseded { current: current.unwrap() }));
                    assert_eq!(before, (machine.revision(), list(&machine, &Filter::default())));
                } else if outcome.is_ok() {
                    current = (kind != 3).then_some(epoch);
                }
                assert!(machine.revision() >= before.0);
            }
        });
    }
}
