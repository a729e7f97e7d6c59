use clip_service::units::HumanDuration;
use proptest::prelude::*;

use super::measure::needed;
use super::*;
use crate::scenario::expr::{Cmp, Expectation, Expr, Limit, Measure, Metric};

const TIMEOUT_MS: u64 = 2_000;

fn series() -> Series {
    Series {
        loads: vec![LoadSeries {
            name: "frames".to_owned(),
            timeout_us: 2_000_000,
            ..LoadSeries::default()
        }],
    }
}

fn sample(due_ms: u64, took_ms: u64, outcome: Outcome) -> Sample {
    let due = Offset(due_ms * 1000);
    let unsent = outcome == Outcome::Unsent;
    Sample {
        load: 0,
        due,
        sent: (!unsent).then(|| due.plus(Duration::from_millis(1))),
        done: due.plus(Duration::from_millis(took_ms)),
        outcome,
        status: None,
        request_id: None,
        step: 0,
    }
}

fn filled(samples: impl IntoIterator<Item = Sample>) -> Series {
    let mut series = series();
    for sample in samples {
        series.add(&sample);
    }
    series
}

fn window(from_ms: u64, to_ms: u64) -> Window {
    Window::new(Offset(from_ms * 1000), Offset(to_ms * 1000))
}

fn measure(metric: Metric, cmp: Cmp, limit: Limit, over: Option<u64>) -> Measure {
    Measure {
        load: "frames".to_owned(),
        metric,
        cmp,
        limit,
        over: over.map(HumanDuration::secs),
    }
}

fn failed() -> Outcome {
    Outcome::Failed("status 503".to_owned())
}

#[test]
fn a_fast_failure_counts_as_the_timeout_and_a_slow_one_as_it_was() {
    let series = filled([
        sample(0, 3, failed()),
        sample(10, 2_500, failed()),
        sample(20, 0, Outcome::Unsent),
    ]);
    let all: Vec<_> = series.points(0, window(0, 100)).collect();
    assert_eq!(all[0].response(), Duration::from_millis(TIMEOUT_MS));
    assert_eq!(all[0].service(), Some(Duration::from_millis(2)));
    assert_eq!(all[1].response(), Duration::from_millis(2_500));
    assert_eq!(all[2].response(), Duration::from_millis(TIMEOUT_MS));
    assert_eq!(all[2].service(), None);
    assert_eq!(
        series.errors(0, window(0, 100)),
        [("status 503".to_owned(), 2), (UNSENT.to_owned(), 1)]
    );
}

#[test]
fn nothing_is_not_a_success() {
    let found = series().evaluate(
        &measure(Metric::Success, Cmp::AtLeast, Limit::Ratio(0.0), None),
        window(0, 1_000),
        Marks::default(),
    );
    assert_eq!(found.holds, None);
    assert_eq!(
        found.missing,
        Some(Missing::Samples {
            needed: 1,
            found: 0
        })
    );
}

#[test]
fn a_quantile_needs_its_samples() {
    let p99 = measure(
        Metric::Quantile(0.99),
        Cmp::AtMost,
        Limit::Time(Duration::from_millis(50)),
        None,
    );
    let of = |n| {
        filled((0..n).map(|i| sample(i, 10, Outcome::Ok))).evaluate(
            &p99,
            window(0, 1_000),
            Marks::default(),
        )
    };
    assert_eq!(
        of(99).missing,
        Some(Missing::Samples {
            needed: 100,
            found: 99
        })
    );
    assert_eq!(of(100).holds, Some(true));
    assert_eq!((needed(0.5), needed(0.9), needed(0.999)), (2, 10, 1_000));
}

#[test]
fn a_share_exactly_at_the_limit_meets_it() {
    let outcome = |i| if i == 7 { failed() } else { Outcome::Ok };
    let series = filled((0..1_000).map(|i| sample(i, 5, outcome(i))));
    let found = |limit| {
        let measure = measure(Metric::Success, Cmp::AtLeast, Limit::Ratio(limit), None);
        series
            .evaluate(&measure, window(0, 1_000), Marks::default())
            .holds
    };
    assert_eq!(found(99.9 / 100.0), Some(true));
    assert_eq!(found(0.9991), Some(false));
}

#[test]
fn the_worst_window_is_found_wherever_it_begins() {
    // Ten a second for 20 s; the three between 12.3 s and 12.6 s fail.
    let series = filled((0..200).map(|i| {
        let bad = (123..126).contains(&i);
        sample(i * 100, 5, if bad { failed() } else { Outcome::Ok })
    }));
    let measure = measure(Metric::Success, Cmp::AtLeast, Limit::Ratio(0.95), Some(5));
    let found = series.evaluate(&measure, window(0, 20_000), Marks::default());
    assert_eq!(found.holds, Some(false));
    assert_eq!(found.observed, Some(Reading::Ratio(47.0 / 50.0)));
    assert_eq!((found.n, found.ok), (50, 47));
    assert!(found.window.contains(Offset(12_300_000)));
    let short = series.evaluate(&measure, window(0, 4_000), Marks::default());
    assert!(
        matches!(short.missing, Some(Missing::Stretch { .. })),
        "{short:?}"
    );
}

#[test]
fn the_last_window_is_flush_with_the_end() {
    let series = filled([sample(0, 5, Outcome::Ok), sample(5_450, 5, failed())]);
    let measure = measure(Metric::Success, Cmp::AtLeast, Limit::Ratio(0.5), Some(5));
    let found = series.evaluate(&measure, window(0, 5_500), Marks::default());
    assert_eq!(found.window, window(500, 5_500));
    assert_eq!(found.holds, Some(false));
}

#[test]
fn a_multiple_of_steady_needs_a_steady_reading() {
    let series =
        filled((0..200).map(|i| sample(i * 10, if i < 100 { 10 } else { 15 }, Outcome::Ok)));
    let measure = measure(
        Metric::Quantile(0.99),
        Cmp::AtMost,
        Limit::TimesSteady(2.0),
        None,
    );
    let found = series.evaluate(
        &measure,
        window(1_000, 2_000),
        Some(window(0, 1_000)).into(),
    );
    assert_eq!(found.limit, Some(Reading::Time(Duration::from_millis(20))));
    assert_eq!(found.holds, Some(true));
    let without = series.evaluate(&measure, window(1_000, 2_000), Marks::default());
    assert_eq!(
        (without.holds, without.missing),
        (None, Some(Missing::Baseline))
    );
    let empty = series.evaluate(
        &measure,
        window(1_000, 2_000),
        Some(window(5_000, 6_000)).into(),
    );
    assert_eq!(empty.missing, Some(Missing::Baseline));
}

/// 200 requests of 10 ms a second apart by 5 ms; the last 20 of them differ.
fn mixed() -> Series {
    filled((0..200).map(|i| {
        let (took, outcome) = match i {
            180..=184 => (90, Outcome::Ok),
            185..=189 => (1, failed()),
            190..=194 => (0, Outcome::Unsent),
            _ => (10, Outcome::Ok),
        };
        sample(i * 5, took, outcome)
    }))
}

#[test]
fn within_a_time_counts_of_all_that_was_offered() {
    let series = mixed();
    let share = |ms| {
        let within = Metric::Within(Duration::from_millis(ms));
        series.read(0, within, window(0, 1_000))
    };
    assert_eq!(share(50), Some(Reading::Ratio(185.0 / 200.0)));
    assert_eq!(
        share(10),
        Some(Reading::Ratio(185.0 / 200.0)),
        "the limit itself is within"
    );
    assert_eq!(share(9), Some(Reading::Ratio(0.0)));
    assert_eq!(share(TIMEOUT_MS * 2), Some(Reading::Ratio(190.0 / 200.0)));
    let ok = |q| series.read(0, Metric::OkQuantile(q), window(0, 1_000));
    assert_eq!(ok(0.95), Some(Reading::Time(Duration::from_millis(10))));
    assert_eq!(ok(0.99), Some(Reading::Time(Duration::from_millis(90))));
    assert_eq!(ok(0.999), None, "190 requests are too few");
    let within = Metric::Within(SLICE);
    assert_eq!(series.read(0, within, window(5_000, 6_000)), None);
}

#[test]
fn goodput_is_what_ended_ok_by_the_length_of_the_stretch() {
    let series = mixed();
    let rate = |to| series.read(0, Metric::Goodput, window(0, to));
    assert_eq!(rate(1_000), Some(Reading::Rate(190.0)));
    assert_eq!(rate(2_000), Some(Reading::Rate(95.0)), "a pause lowers it");
    assert_eq!(series.read(0, Metric::Goodput, window(5_000, 6_000)), None);
}

#[test]
fn limits_may_rest_on_steady_a_stage_or_another_load() {
    let series =
        filled((0..200).map(|i| sample(i * 10, if i < 100 { 10 } else { 15 }, Outcome::Ok)));
    let (first, second) = (window(0, 1_000), window(1_000, 2_000));
    let stages = [("calm".to_owned(), first)];
    let marks = Marks {
        steady: Some(first),
        stages: &stages,
    };
    let ms = |ms| Some(Reading::Time(Duration::from_millis(ms)));
    let held = |limit, marks| {
        let measure = measure(Metric::Max, Cmp::AtMost, limit, None);
        series.evaluate(&measure, second, marks)
    };
    let plus = held(Limit::SteadyPlus(Duration::from_millis(5)), marks);
    assert_eq!((plus.holds, plus.limit), (Some(true), ms(15)));
    let plus = held(Limit::SteadyPlus(Duration::from_millis(4)), marks);
    assert_eq!((plus.holds, plus.limit), (Some(false), ms(14)));
    assert_eq!(plus.base.unwrap().name, "steady");
    let stage = |stage: &str| Limit::TimesStage {
        factor: 1.2,
        stage: stage.to_owned(),
    };
    let calm = held(stage("calm"), marks);
    assert_eq!((calm.holds, calm.limit), (Some(false), ms(12)));
    let missing = held(stage("storm"), marks);
    assert_eq!(
        (missing.holds, missing.missing),
        (None, Some(Missing::Other("storm".to_owned())))
    );
    let other = |load: &str| Limit::TimesLoad {
        factor: 2.0,
        load: load.to_owned(),
        metric: Metric::Quantile(0.5),
    };
    let itself = held(other("frames"), Marks::default());
    assert_eq!((itself.holds, itself.limit), (Some(true), ms(30)));
    assert_eq!(itself.base.unwrap().name, "frames.p50");
    let all = held(other("all"), Marks::default());
    assert_eq!(all.limit, ms(30));
    let nobody = held(other("clips"), Marks::default());
    assert_eq!(nobody.missing, Some(Missing::Other("clips.p50".to_owned())));
}

#[test]
fn against_another_load_the_worst_window_is_the_farthest_from_its_own_limit() {
    // Both are slow in second 1; only `frames` is in second 3, and then less so.
    let mut series = Series {
        loads: ["frames", "plain"]
            .map(|name| LoadSeries {
                name: name.to_owned(),
                ..LoadSeries::default()
            })
            .into(),
    };
    for i in 0..500_u64 {
        let slow = [10, 100, 10, 60, 10];
        let plain = [10, 100, 10, 10, 10];
        for (load, took) in [slow, plain].into_iter().enumerate() {
            let took = took[usize::try_from(i / 100).unwrap()];
            let sample = Sample {
                load,
                ..sample(i * 10, took, Outcome::Ok)
            };
            series.add(&sample);
        }
    }
    let limit = Limit::TimesLoad {
        factor: 1.0,
        load: "plain".to_owned(),
        metric: Metric::Quantile(0.5),
    };
    let measure = measure(Metric::Quantile(0.5), Cmp::AtMost, limit, Some(1));
    let found = series.evaluate(&measure, window(0, 5_000), Marks::default());
    assert_eq!(
        (found.holds, found.window),
        (Some(false), window(3_000, 4_000))
    );
    let (observed, base) = (found.observed.unwrap(), found.base.unwrap().reading);
    assert_eq!(observed.saving(base), Some(1.0 - 6.0));
    let all = series.evaluate(
        &Measure {
            load: "all".to_owned(),
            metric: Metric::Goodput,
            cmp: Cmp::AtLeast,
            limit: Limit::Rate(200.0),
            over: None,
        },
        window(0, 5_000),
        Marks::default(),
    );
    assert_eq!((all.holds, all.n), (Some(true), 1_000));
}

#[test]
fn recovery_begins_with_the_first_full_window_that_holds() {
    // Failing until 3.05 s, good after.
    let series = filled(
        (0..1_000).map(|i| sample(i * 10, 5, if i <= 305 { failed() } else { Outcome::Ok })),
    );
    let hold = [Expectation {
        text: "frames.success >= 100%".to_owned(),
        expr: Expr::Measure(measure(
            Metric::Success,
            Cmp::AtLeast,
            Limit::Ratio(1.0),
            None,
        )),
    }];
    let search = |until_ms: u64| {
        let from = Offset(2_000_000);
        series.first_holding(&hold, SLICE * 2, from, Offset(until_ms * 1000), None)
    };
    assert_eq!(search(10_000), Some(window(3_100, 5_100)));
    assert_eq!(search(5_000), None, "no full window fits before the end");
    assert_eq!(
        series.first_holding(&[], SLICE, Offset(0), Offset(9_000_000), None),
        None
    );
}

#[test]
fn unknown_loads_and_limits_of_the_wrong_sort_have_no_answer() {
    let series = filled([sample(0, 5, Outcome::Ok)]);
    let wrong = measure(Metric::Success, Cmp::AtLeast, Limit::Time(SLICE), None);
    let found = series.evaluate(&wrong, window(0, 1_000), Marks::default());
    assert_eq!((found.holds, found.missing), (None, Some(Missing::Limit)));
    let other = Measure {
        load: "clips".to_owned(),
        ..wrong
    };
    let found = series.evaluate(&other, window(0, 1_000), Marks::default());
    assert_eq!(found.missing, Some(Missing::Load("clips".to_owned())));
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Ok),
        1 => Just(Outcome::Unsent),
        2 => "[a-c]".prop_map(Outcome::Failed),
    ];
    prop::collection::vec((0_u64..10_000, 0_u64..4_000, outcome), 0..400).prop_map(|all| {
        all.into_iter()
            .map(|(due, took, outcome)| sample(due, took, outcome))
            .collect()
    })
}

proptest! {
    #[test]
    fn parts_add_up_to_the_whole(samples in samples(), cut_ms in 0_u64..10_000) {
        let series = filled(samples.clone());
        let whole = series.counts(0, window(0, 10_000));
        let parts = series.counts(0, window(0, cut_ms)).and(series.counts(0, window(cut_ms, 10_000)));
        prop_assert_eq!(whole, parts);
        prop_assert_eq!(whole.offered(), samples.len() as u64);
        let errors: u64 = series.errors(0, window(0, 10_000)).iter().map(|(_, n)| n).sum();
        prop_assert_eq!(errors, whole.bad());
    }

    #[test]
    fn quantiles_rise_and_end_at_the_maximum(samples in samples(), a in 0.0_f64..1.0, b in 0.0_f64..1.0) {
        let times = filled(samples).responses(0, window(0, 10_000));
        prop_assert!(times.rank(a.min(b)) <= times.rank(a.max(b)));
        prop_assert_eq!(times.rank(1.0), times.max());
        prop_assert!(times.quantile(a).is_none() || times.quantile(a) <= times.max());
    }

    #[test]
    fn quantiles_agree_with_hdr(samples in samples(), q in 0.01_f64..0.99) {
        let series = filled(samples);
        let all = window(0, 10_000);
        if let Some(exact) = series.responses(0, all).rank(q) {
            if let Some(Reading::Time(read)) = series.read(0, Metric::Quantile(q), all) {
                prop_assert_eq!(read, exact);
            }
            let hdr = series.histogram(0, all);
            let (found, exact) = (hdr.value_at_quantile(q), exact.as_micros() as u64);
            prop_assert!(hdr.equivalent(found, exact), "{found} {exact}");
        }
    }

    #[test]
    fn order_of_arrival_does_not_matter_and_packing_loses_nothing(samples in samples(), seed in any::<u64>()) {
        let mut shuffled = samples.clone();
        // Any rotation will do: classes are numbered by appearance, so this also renumbers them.
        let by = usize::try_from(seed % (samples.len().max(1) as u64)).unwrap_or(0);
        shuffled.rotate_left(by.min(samples.len()));
        let (one, other) = (filled(samples), filled(shuffled));
        let all = window(0, 10_000);
        prop_assert_eq!(one.responses(0, all), other.responses(0, all));
        prop_assert_eq!(one.errors(0, all), other.errors(0, all));

        let text = serde_json::to_string(&one).unwrap();
        let back: Series = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back.services(0, all), one.services(0, all));
        prop_assert_eq!(back.errors(0, all), one.errors(0, all));
        prop_assert_eq!(back.extent(), one.extent());
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}

#[test]
fn damaged_samples_are_refused() {
    let mut json = serde_json::to_value(filled([sample(5, 5, Outcome::Ok)])).unwrap();
    json[0]["count"] = 2.into();
    assert!(serde_json::from_value::<Series>(json).is_err());
}
