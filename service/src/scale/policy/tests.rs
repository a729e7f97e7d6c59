use proptest::prelude::*;

use super::*;

const SEC: Duration = Duration::from_secs(1);

fn config(min: usize, max: usize) -> ScaleConfig {
    ScaleConfig {
        min,
        max,
        ..ScaleConfig::default()
    }
}

fn idle(usable: usize) -> Measured {
    Measured {
        usable,
        waiting: 0,
        queue_age: Duration::ZERO,
        running: 0,
        slots: 1,
        reads: 0,
    }
}

fn queued(usable: usize, waiting: u64, age: u64) -> Measured {
    Measured {
        waiting,
        queue_age: Duration::from_secs(age),
        running: usable as u64,
        ..idle(usable)
    }
}

/// Looks every half second for `seconds`; what changed.
fn watch(
    scaler: &mut Scaler,
    measured: Measured,
    from: Instant,
    seconds: u32,
) -> Vec<(usize, usize)> {
    (0..=2 * seconds)
        .filter_map(|tick| scaler.look(measured, from + tick * SEC / 2))
        .map(|change| (change.from, change.to))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_old_queue_doubles_at_most_and_waits_for_those_on_their_way() {
    let start = Instant::now();
    let mut scaler = Scaler::new(config(1, 8), 1);
    // One second is not yet long enough.
    assert_eq!(watch(&mut scaler, queued(1, 20, 3), start, 1), []);
    assert_eq!(
        watch(&mut scaler, queued(1, 20, 3), start + SEC, 1),
        [(1, 2)]
    );
    // The second one has not come: no third is asked for, however long that takes.
    assert_eq!(
        watch(&mut scaler, queued(1, 20, 9), start + 3 * SEC, 30),
        []
    );
    assert_eq!(
        watch(&mut scaler, queued(2, 20, 9), start + 40 * SEC, 3),
        [(2, 4)]
    );
    assert_eq!(
        watch(&mut scaler, queued(4, 1, 9), start + 50 * SEC, 3),
        [(4, 5)]
    );
    assert_eq!(
        watch(&mut scaler, queued(5, 20, 9), start + 60 * SEC, 3),
        [(5, 8)]
    );
    assert_eq!(
        watch(&mut scaler, queued(8, 20, 9), start + 70 * SEC, 60),
        []
    );
}

#[tokio::test(start_paused = true)]
async fn shrinks_by_one_after_a_long_quiet_and_not_below_the_minimum() {
    let start = Instant::now();
    let mut scaler = Scaler::new(config(2, 8), 4);
    assert_eq!(watch(&mut scaler, idle(4), start, 29), []);
    assert_eq!(watch(&mut scaler, idle(4), start + 29 * SEC, 2), [(4, 3)]);
    assert_eq!(watch(&mut scaler, idle(3), start + 32 * SEC, 200), [(3, 2)]);
    // A moment of work begins the wait anew.
    let mut scaler = Scaler::new(config(1, 8), 2);
    assert_eq!(watch(&mut scaler, idle(2), start, 20), []);
    assert_eq!(watch(&mut scaler, queued(2, 1, 0), start + 21 * SEC, 1), []);
    assert_eq!(watch(&mut scaler, idle(2), start + 23 * SEC, 29), []);
}

#[tokio::test(start_paused = true)]
async fn busy_without_a_queue_is_what_processors_are_for() {
    let start = Instant::now();
    let mut scaler = Scaler::new(config(1, 8), 2);
    assert_eq!(watch(&mut scaler, queued(2, 0, 0), start, 120), []);
    // Reads have no queue: their share alone is the reason.
    let reading = Measured {
        reads: 30,
        ..idle(2)
    };
    assert_eq!(watch(&mut scaler, reading, start + 200 * SEC, 3), [(2, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_processor_is_no_reason_for_another() {
    let start = Instant::now();
    let mut scaler = Scaler::new(config(1, 8), 3);
    let one_died = queued(2, 5, 9);
    assert_eq!(watch(&mut scaler, one_died, start, 60), []);
    assert_eq!(scaler.desired(), 3);
}

proptest! {
    /// Whatever is measured: within the bounds, never faster than the pauses allow, and a steady state settles.
    #[test]
    fn stays_within_its_bounds_and_settles(
        min in 1_usize..4, more in 0_usize..8, present in 0_usize..12,
        steps in prop::collection::vec((0_usize..12, 0_u64..50, 0_u64..20, 0_u64..30, 0_u64..200), 1..80),
    ) {
        let config = config(min, min + more);
        let start = Instant::now();
        let mut scaler = Scaler::new(config.clone(), present);
        let mut last_change = None;
        let mut now = start;
        for (usable, waiting, age, running, reads) in steps {
            now += SEC / 2;
            let measured = Measured { usable, waiting, queue_age: Duration::from_secs(age), running, slots: 1, reads };
            if let Some(change) = scaler.look(measured, now) {
                prop_assert!(change.to != change.from);
                prop_assert!(change.to <= change.from * 2 && change.to + 1 >= change.from);
                if let Some(last) = last_change {
                    prop_assert!(now.duration_since(last) >= config.grow_after.get());
                }
                last_change = Some(now);
            }
            prop_assert!((config.min..=config.max).contains(&scaler.desired()));
        }
        // One load for ever: at most as many changes as there are numbers, and then none.
        let running = 3;
        let mut changes = 0;
        for _ in 0..4000 {
            now += SEC / 2;
            let desired = scaler.desired();
            let leased = running.min(desired as u64);
            let waiting = running - leased;
            let queue_age = if waiting > 0 { 10 * SEC } else { Duration::ZERO };
            let measured = Measured { usable: desired, waiting, queue_age, running: leased, slots: 1, reads: 0 };
            changes += usize::from(scaler.look(measured, now).is_some());
        }
        prop_assert!(changes <= config.max, "{changes} changes under a steady load");
    }
}
