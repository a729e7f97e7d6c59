use super::*;
use crate::scenario::expr::{Claim, ProbeExpr};
use proptest::prelude::*;

fn parsed(text: &str) -> Expr {
    Expectation::parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error:?}"))
        .expr
}

#[test]
fn reads_what_the_grammar_says() {
    let measure = |metric, cmp, limit, over| {
        Expr::Measure(Measure {
            load: "frames".into(),
            metric,
            cmp,
            limit,
            over,
        })
    };
    assert_eq!(
        parsed("frames.success>=99.9 %"),
        measure(Metric::Success, Cmp::AtLeast, Limit::Ratio(0.999), None)
    );
    assert_eq!(
        parsed(" frames.p99.9  <= 2x steady  over 5s "),
        measure(
            Metric::Quantile(0.999),
            Cmp::AtMost,
            Limit::TimesSteady(2.0),
            Some(HumanDuration::secs(5))
        )
    );
    assert_eq!(
        parsed("frames.max < 1.5s"),
        measure(
            Metric::Max,
            Cmp::Below,
            Limit::Time(Duration::from_millis(1500)),
            None
        )
    );
    assert_eq!(
        parsed("frames.within( 250ms ) >= 99.9%"),
        measure(
            Metric::Within(Duration::from_millis(250)),
            Cmp::AtLeast,
            Limit::Ratio(0.999),
            None
        )
    );
    assert_eq!(
        parsed("frames.max<=steady+50ms"),
        measure(
            Metric::Max,
            Cmp::AtMost,
            Limit::SteadyPlus(Duration::from_millis(50)),
            None
        )
    );
    assert_eq!(
        parsed("frames.p95 <= 0.5x plain.p95"),
        measure(
            Metric::Quantile(0.95),
            Cmp::AtMost,
            Limit::TimesLoad {
                factor: 0.5,
                load: "plain".into(),
                metric: Metric::Quantile(0.95)
            },
            None
        )
    );
    assert_eq!(
        parsed("frames.goodput >= 0.9x peak over 5s"),
        measure(
            Metric::Goodput,
            Cmp::AtLeast,
            Limit::TimesStage {
                factor: 0.9,
                stage: "peak".into()
            },
            Some(HumanDuration::secs(5))
        )
    );
    assert_eq!(
        parsed("frames.goodput >= 30 / m"),
        measure(Metric::Goodput, Cmp::AtLeast, Limit::Rate(0.5), None)
    );
    assert_eq!(
        parsed("amplification(gateway-1) <= 1.2"),
        Expr::Probe(ProbeExpr {
            probe: "amplification".into(),
            node: "gateway-1".into(),
            claim: Claim::Ratio {
                cmp: Cmp::AtMost,
                limit: 1.2
            }
        })
    );
    assert_eq!(
        parsed("breaker( processor-2 ) opened within 2s"),
        Expr::Probe(ProbeExpr {
            probe: "breaker".into(),
            node: "processor-2".into(),
            claim: Claim::Change {
                word: "opened".into(),
                within: HumanDuration::secs(2)
            }
        })
    );
}

#[test]
fn says_what_was_meant() {
    for (text, help) in [
        ("a.success >= 0.99", "write 99%"),
        ("a.success >= 0.999", "write 99.9%"),
        ("a.success >= 99", "write 99%"),
        ("a.p99 < 200", "write 200s or 200ms"),
        ("a.p99 < 200msec", "write 200ms"),
        ("a.p99 < 2sec", "write 2s"),
        ("a.goodput >= 40", "write 40/s"),
        ("a.goodput >= 40rps", "write 40/s"),
        ("a.success => 99%", "write >="),
        ("a.p99 =< 2s", "write <="),
        ("a.p99 = 2s", "write >= or <="),
        ("a.p99 2s", "write >=, <=, > or <"),
        ("a.sucess >= 99%", "did you mean `success`?"),
        ("a.P99 <= 2s", "did you mean `p99`?"),
    ] {
        let error = Expectation::parse(text).expect_err(text);
        assert_eq!(error.help, help, "{text}");
    }
}

#[test]
fn points_at_what_is_wrong() {
    for (text, column, message) in [
        ("", 0, "an expectation begins with the name of a load"),
        ("frames", 0, "a measure is missing after `frames`"),
        ("frames.p98 <= 1s", 7, "unknown measure `p98`"),
        ("frames.p99 == 1s", 11, "a comparison is expected here"),
        (
            "frames.success >= -5%",
            18,
            "`-5%` is not a percentage from 0% to 100%",
        ),
        ("frames.p99 <= 99%", 14, "`99%` is not a duration"),
        ("frames.p99 <=", 13, "a limit is expected here"),
        (
            "frames.success >= 101%",
            18,
            "`101%` is not a percentage from 0% to 100%",
        ),
        (
            "frames.success >= 2x steady",
            18,
            "`success` is compared with a percentage",
        ),
        (
            "frames.p99 <= 2x",
            14,
            "`2x` needs `steady`, a stage or a load",
        ),
        ("frames.p99 <= steddy + 1s", 14, "`steddy` is not a limit"),
        ("frames.p99 <= steady 1s", 21, "`+` is expected here"),
        (
            "frames.success >= steady + 1s",
            18,
            "only response times are compared with `steady + …`",
        ),
        ("frames.within >= 99%", 14, "`(` is expected here"),
        ("frames.within(0s) >= 99%", 14, "`0s` is too short"),
        ("frames.within(1s >= 99%", 17, "`)` is expected here"),
        (
            "frames.within(1s) >= 250ms",
            21,
            "`250ms` is not a percentage from 0% to 100%",
        ),
        ("frames.goodput >= 40", 18, "`40` is not a rate"),
        (
            "frames.p95 <= 0.5x plain.success",
            19,
            "`p95` and `success` cannot be compared",
        ),
        ("frames.p95 <= 0.5x plain.p96", 25, "unknown measure `p96`"),
        (
            "amplification(gateway-1) <= 120%",
            28,
            "`120%` is not a number of tries per call",
        ),
        ("amplification() <= 1.2", 14, "a gateway is expected here"),
        ("frames.p99 <= 0x steady", 14, "`0` is not a factor"),
        ("frames.p99 <= 1s over 0s", 22, "`0s` is too short"),
        (
            "frames.p99 <= 1s always",
            17,
            "`always` does not belong here",
        ),
        ("breaker(p opened within 2s", 10, "`)` is expected here"),
        (
            "braker(p) opened within 2s",
            0,
            "there is no probe `braker`",
        ),
        (
            "breaker(p) <= 2",
            11,
            "`opened` or `closed` is expected here",
        ),
        (
            "amplification(p) opened within 2s",
            17,
            "a comparison is expected here",
        ),
        (
            "breaker(p) burst within 2s",
            11,
            "`burst` is not a change of a breaker",
        ),
        (
            "breaker(p) opened in 2s",
            18,
            "`within` and a duration are expected here",
        ),
    ] {
        let error = Expectation::parse(text).expect_err(text);
        assert_eq!(
            (error.column, error.message.as_str()),
            (column, message),
            "{text}"
        );
    }
}

fn any_expr() -> impl Strategy<Value = Expr> {
    let name = "[a-z][a-z0-9_-]{0,12}";
    let duration = (1_u64..10_000_000).prop_map(HumanDuration::millis);
    let cmp = prop_oneof![
        Just(Cmp::AtLeast),
        Just(Cmp::AtMost),
        Just(Cmp::Above),
        Just(Cmp::Below)
    ];
    let over = proptest::option::of(duration.clone());
    let factor = || (1_u32..10_000).prop_map(|tenths| f64::from(tenths) / 10.0);
    let metrics = |sort: Dimension| {
        let all = METRICS.iter().map(|(.., metric)| *metric);
        prop::sample::select(all.filter(|m| m.dimension() == sort).collect::<Vec<_>>())
    };
    // `within` stands for all its times in the table.
    let timed = move |metric: Metric, time: HumanDuration| match metric {
        Metric::Within(_) => Metric::Within(time.get()),
        other => other,
    };
    let of_a_load = move |sort: Dimension| {
        (factor(), name, metrics(sort), (1_u64..100_000)).prop_map(
            move |(factor, load, metric, ms)| Limit::TimesLoad {
                factor,
                load,
                metric: timed(metric, HumanDuration::millis(ms)),
            },
        )
    };
    // A stage cannot be called steady.
    let of_a_stage = move || {
        (factor(), "[a-r][a-z0-9_-]{0,12}")
            .prop_map(|(factor, stage)| Limit::TimesStage { factor, stage })
    };
    let share = (
        metrics(Dimension::Share),
        prop_oneof![
            (0_u32..=100_000).prop_map(|n| Limit::Ratio(f64::from(n) / 100_000.0)),
            of_a_load(Dimension::Share),
            of_a_stage(),
        ],
    );
    let rate = (
        metrics(Dimension::Rate),
        prop_oneof![
            (0_u32..1_000_000).prop_map(|n| Limit::Rate(f64::from(n) / 60.0)),
            factor().prop_map(Limit::TimesSteady),
            of_a_load(Dimension::Rate),
            of_a_stage(),
        ],
    );
    let time = (
        metrics(Dimension::Time),
        prop_oneof![
            duration.clone().prop_map(|d| Limit::Time(d.get())),
            duration.clone().prop_map(|d| Limit::SteadyPlus(d.get())),
            factor().prop_map(Limit::TimesSteady),
            of_a_load(Dimension::Time),
            of_a_stage(),
        ],
    );
    let measured = prop_oneof![share, rate, time];
    prop_oneof![
        (name, measured, cmp.clone(), over, duration.clone()).prop_map(
            move |(load, (metric, limit), cmp, over, time)| Expr::Measure(Measure {
                load,
                metric: timed(metric, time),
                cmp,
                limit,
                over
            })
        ),
        (name, cmp, 0_u32..1_000).prop_map(|(node, cmp, tenths)| Expr::Probe(ProbeExpr {
            probe: "amplification".to_owned(),
            node,
            claim: Claim::Ratio {
                cmp,
                limit: f64::from(tenths) / 10.0,
            },
        })),
        (name, any::<bool>(), duration).prop_map(|(node, opened, within)| Expr::Probe(ProbeExpr {
            probe: "breaker".to_owned(),
            node,
            claim: Claim::Change {
                word: if opened { "opened" } else { "closed" }.to_owned(),
                within,
            },
        })),
    ]
}

proptest! {
    #[test]
    fn writes_what_it_reads(expr in any_expr()) {
        let text = expr.to_string();
        prop_assert_eq!(Expectation::parse(&text).map(|e| e.expr), Ok(expr), "{}", text);
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}") {
        if let Err(error) = Expectation::parse(&text) {
            prop_assert!(error.column <= text.chars().count());
        }
    }
}
