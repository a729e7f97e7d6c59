use proptest::prelude::*;

use super::*;

const WELL: Facts = Facts {
    standing: Standing::Listed,
    open: false,
    near: true,
    ejected: false,
};
const OPEN: Facts = Facts { open: true, ..WELL };
const OUT: Facts = Facts {
    ejected: true,
    ..OPEN
};
const SUSPECT: Facts = Facts {
    standing: Standing::Suspect,
    ..WELL
};
const GIVEN_UP: Facts = Facts {
    standing: Standing::GivenUp,
    ..WELL
};
const NEVER: Facts = Facts {
    standing: Standing::Never,
    ..WELL
};

fn far(facts: Facts) -> Facts {
    Facts {
        near: false,
        ..facts
    }
}

fn words(plan: &Plan) -> Vec<&'static str> {
    plan.places.iter().map(|place| place.as_str()).collect()
}

#[test]
fn at_most_half_are_ejected_one_of_two_or_three_and_never_the_only_one() {
    let most: Vec<_> = (0..=7).map(most_ejected).collect();
    assert_eq!(most, [0, 0, 1, 1, 2, 2, 3, 3]);
}

#[test]
fn of_one_two_and_three() {
    for (facts, places, tier, panic) in [
        (&[WELL][..], &["regular"][..], &[0][..], false),
        (&[OPEN], &["ejected"], &[], true),
        (&[WELL, OPEN], &["regular", "ejected"], &[0], false),
        (&[OPEN, OPEN], &["ejected", "ejected"], &[], true),
        (
            &[WELL, OPEN, WELL],
            &["regular", "ejected", "regular"],
            &[0, 2],
            false,
        ),
        // Two dead of three: the second one stays in the choice, and it is no panic.
        (
            &[OPEN, WELL, OPEN],
            &["ejected", "regular", "overflow"],
            &[1, 2],
            false,
        ),
        (
            &[OPEN, WELL, OUT],
            &["overflow", "regular", "ejected"],
            &[0, 1],
            false,
        ),
        (&[OPEN, OPEN, OPEN], &["ejected"; 3], &[], true),
    ] {
        let plan = Plan::new(facts);
        assert_eq!(
            (words(&plan), plan.panic),
            (places.to_vec(), panic),
            "{facts:?}"
        );
        assert_eq!(plan.tiers[0], tier, "{facts:?}");
        assert_eq!(plan.last[0], (0..facts.len()).collect::<Vec<_>>());
    }
    let nobody = Plan::new(&[NEVER]);
    assert!(!nobody.panic && nobody.last.iter().all(Vec::is_empty));
    assert!(!Plan::new(&[]).panic);
}

#[test]
fn less_than_half_of_five_is_panic_and_half_of_six_is_not() {
    let plan = Plan::new(&[WELL, OPEN, WELL, OPEN, OPEN]);
    assert!(plan.panic);
    assert_eq!(plan.tiers, [vec![0, 1, 2, 3, 4], vec![], vec![]]);
    let plan = Plan::new(&[WELL, OPEN, WELL, OPEN, OPEN, WELL]);
    assert!(!plan.panic);
    assert_eq!(plan.tiers[0], [0, 2, 5]);
    // Four of which one is left: too few to judge by half.
    assert!(!Plan::new(&[OPEN, WELL, OPEN, OPEN]).panic);
}

#[test]
fn last_resorts_are_the_ejected_then_suspects_then_who_was_given_up() {
    let open_suspect = Facts {
        open: true,
        ..SUSPECT
    };
    let plan = Plan::new(&[GIVEN_UP, open_suspect, OPEN, NEVER]);
    assert!(plan.panic);
    assert!(plan.tiers.iter().all(Vec::is_empty));
    assert_eq!(plan.last, [vec![2], vec![1], vec![0]]);
    // A suspect whose calls succeed is no last resort, it is called when no regular one is left.
    let plan = Plan::new(&[SUSPECT, WELL, OPEN]);
    assert_eq!(plan.tiers, [vec![1], vec![], vec![0]]);
}

#[test]
fn calls_stay_near_until_a_zone_has_lost_more_than_two_sevenths() {
    for (near, far_ones, share) in [
        (&[WELL, WELL][..], &[WELL, WELL][..], 1.0),
        (&[WELL, WELL, OPEN], &[WELL; 3], 1.4 * 2.0 / 3.0),
        (&[WELL, WELL, WELL, OPEN], &[WELL; 4], 1.0),
        (&[WELL, OPEN], &[WELL, WELL], 0.7),
        (&[WELL], &[GIVEN_UP], 1.0),
        (&[GIVEN_UP, GIVEN_UP], &[WELL], 0.0),
        (&[], &[WELL], 0.0),
        (&[WELL, OPEN], &[], 1.0),
    ] {
        let all: Vec<Facts> = near
            .iter()
            .copied()
            .chain(far_ones.iter().copied().map(far))
            .collect();
        let plan = Plan::new(&all);
        assert!(
            (plan.near_share - share).abs() < 1e-6,
            "{near:?} {far_ones:?}: {}",
            plan.near_share
        );
        assert!(!plan.panic);
    }
    // Both zones half gone: shared by what is left of each.
    let plan = Plan::new(&[WELL, OPEN, OUT, far(WELL), far(OPEN), far(WELL)]);
    assert!(
        (plan.near_share - 1.4 / 3.0 / 1.0).abs() < 1e-6,
        "{}",
        plan.near_share
    );
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let standing = prop_oneof![
        4 => Just(Standing::Listed),
        1 => Just(Standing::Suspect),
        1 => Just(Standing::GivenUp),
        1 => Just(Standing::Never),
    ];
    (standing, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(standing, open, near, ejected)| Facts {
            standing,
            open,
            near,
            ejected,
        },
    )
}

proptest! {
    /// Somebody may be called as long as anybody may be called at all; nobody who never may; and never more are ejected
    /// than the cap allows while anybody is well.
    #[test]
    fn a_plan_is_sound(facts in proptest::collection::vec(any_facts(), 0..12)) {
        let plan = Plan::new(&facts);
        let listed: Vec<usize> = plan.tiers.iter().chain(&plan.last).flatten().copied().collect();
        for (at, facts) in facts.iter().enumerate() {
            let never = facts.standing == Standing::Never;
            prop_assert_eq!(listed.contains(&at), !never);
            prop_assert_eq!(plan.places[at] == Place::Unused, never);
        }
        let candidates = facts.iter().filter(|facts| facts.standing <= Standing::Suspect).count();
        let well = facts.iter().any(|facts| facts.standing <= Standing::Suspect && !facts.open);
        let ejected = plan.places.iter().filter(|place| **place == Place::Ejected).count();
        prop_assert!(!well || ejected <= most_ejected(candidates));
        prop_assert_eq!(well, plan.tiers.iter().any(|tier| !tier.is_empty()));
        prop_assert!((0.0..=1.0).contains(&plan.near_share));
        if !plan.panic {
            for tier in &plan.tiers {
                prop_assert!(tier.iter().all(|at| plan.places[*at] != Place::Ejected));
            }
        }
    }
}
