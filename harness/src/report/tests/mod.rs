use super::*;
use crate::event::Sink as _;
use crate::judge::judge;
use crate::judge::testing::{Scene, survived, unprotected};

mod hostile;
mod narrow;
mod script;
mod shapes;

fn report(scene: &Scene) -> Report {
    let record = scene.record();
    Report::new(&record, &judge(&record))
}

/// Reports to look at in a browser: `CLIP_HARNESS_SAMPLES=dir cargo test -p clip-harness --lib samples -- --ignored`.
#[test]
#[ignore = "writes reports to look at"]
fn samples() {
    let Some(directory) = std::env::var_os("CLIP_HARNESS_SAMPLES").map(PathBuf::from) else {
        return;
    };
    for scene in [survived(), unprotected()] {
        let record = scene.record();
        let formats = [Format::Html, Format::Json, Format::Junit, Format::Markdown];
        let directory = directory.join(&record.plan.name);
        write_all(&report(&scene), &directory, &formats).unwrap();
        let text = terminal::summary(&report(&scene), None, terminal::Look::plain());
        std::fs::write(directory.join("summary.txt"), text).unwrap();
    }
}

#[test]
fn a_suite_puts_what_failed_first_and_says_what_was_skipped() {
    let (good, bad) = (report(&survived()), report(&unprotected()));
    let runs = [
        suite::SuiteRun {
            report: &good,
            page: "a/report.html",
        },
        suite::SuiteRun {
            report: &bad,
            page: "b/report.html",
        },
    ];
    let skipped = [suite::Skipped {
        name: "partition".to_owned(),
        reason: "needs CAP_NET_ADMIN".to_owned(),
    }];
    let page = suite::index("nightly", &runs, &skipped);
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("b/report.html") < at("a/report.html") && at("a/report.html") < at("CAP_NET_ADMIN"));
    assert!(page.contains("3 scenarios: 1 passed, 1 failed, 1 skipped."));
    assert!(page.contains("<title>FAIL: nightly</title>"));
    assert!(suite::index("empty", &[], &skipped).contains("INCONCLUSIVE"));
    if let Some(directory) = std::env::var_os("CLIP_HARNESS_SAMPLES").map(PathBuf::from) {
        std::fs::write(directory.join("index.html"), page).unwrap();
    }
}

fn played(scene: &Scene, mode: progress::Mode, until_ms: u64) -> String {
    let look = terminal::Look {
        colour: false,
        movable: true,
        width: 100,
    };
    played_on(scene, mode, until_ms, look)
}

fn played_on(scene: &Scene, mode: progress::Mode, until_ms: u64, look: terminal::Look) -> String {
    let record = scene.record();
    let mut progress = progress::Progress::new(&record.plan, Vec::new(), mode, look);
    let mut events = record
        .events
        .iter()
        .filter(|event| event.at.0 <= until_ms * 1000)
        .peekable();
    for sample in scene
        .samples
        .iter()
        .filter(|sample| sample.done.0 <= until_ms * 1000)
    {
        while let Some(event) = events.next_if(|event| event.at <= sample.done) {
            progress.event(event);
        }
        progress.sample(sample);
    }
    events.for_each(|event| progress.event(event));
    String::from_utf8(progress.into_inner()).unwrap()
}

#[test]
fn lines_without_a_terminal() {
    let text = played(&survived(), progress::Mode::Plain, 70_000);
    insta::assert_snapshot!(text);
}

#[test]
fn the_live_block_in_the_middle_of_a_fault() {
    let text = played(&survived(), progress::Mode::Live, 21_500);
    let last = text.rsplit("\u{1b}[J").next().unwrap();
    insta::assert_snapshot!(last);
    // Everything that was drawn fits: nothing wraps, so that moving up finds its place.
    for line in text.lines() {
        let bare = line.rsplit("\u{1b}[J").next().unwrap();
        assert!(unicode_width::UnicodeWidthStr::width(bare) < 100, "{bare}");
    }
    let over = played(&survived(), progress::Mode::Live, 70_000);
    assert!(
        over.ends_with("\u{1b}[J"),
        "the block makes room for the summary"
    );
}

#[test]
fn the_summary_of_a_run_that_passed() {
    let text = terminal::summary(
        &report(&survived()),
        Some(Path::new("reports/a/report.html")),
        terminal::Look::plain(),
    );
    insta::assert_snapshot!(text);
}

#[test]
fn the_summary_of_a_run_that_failed() {
    let text = terminal::summary(&report(&unprotected()), None, terminal::Look::plain());
    insta::assert_snapshot!(text);
    let narrow = terminal::Look {
        colour: false,
        movable: true,
        width: 80,
    };
    for line in terminal::summary(&report(&unprotected()), None, narrow).lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}");
    }
}

#[test]
fn colour_is_a_second_signal_only() {
    let coloured = terminal::Look {
        colour: true,
        movable: true,
        width: 110,
    };
    let text = terminal::summary(&report(&unprotected()), None, coloured);
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => inside = true,
            'm' if inside => inside = false,
            _ if !inside => plain.push(c),
            _ => {}
        }
    }
    assert_ne!(plain, text);
    assert_eq!(
        plain,
        terminal::summary(&report(&unprotected()), None, terminal::Look::plain())
    );
}

#[test]
fn markdown_and_junit_of_a_run_that_failed() {
    insta::assert_snapshot!("markdown", markdown::text(&report(&unprotected())));
    insta::assert_snapshot!("junit", junit::text(&report(&unprotected())).unwrap());
}

#[test]
fn the_json_has_its_documented_shape() {
    let text = json::text(&report(&unprotected())).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    insta::assert_json_snapshot!(
        "json",
        serde_json::json!({
            "keys": keys,
            "first expectation": value["expectations"][0],
            "recovery": value["expectations"][4],
            "first fault": value["faults"][0],
            "steady phase": value["operations"][0]["phases"][1],
        })
    );
    assert_eq!(value["version"], SHAPE_VERSION);
    assert_eq!(value["exit"], 1);
}

#[test]
fn what_comes_from_outside_cannot_become_markup() {
    let evil = "</script><script>alert(1)</script> & \"q\" 'a' ]]> \u{7}|";
    let scene = survived()
        .change(|scene| {
            scene.plan.name = evil.to_owned();
            scene.plan.load[0].name = evil.to_owned();
            scene.plan.faults[0].name = evil.to_owned();
        })
        .spoil(
            0,
            20_000,
            21_000,
            &crate::event::Outcome::Failed(evil.to_owned()),
        );
    let page = html::page(&report(&scene));
    assert!(!page.contains("<script>alert"));
    assert_eq!(
        page.matches("</script>").count(),
        2,
        "the data and the program"
    );
    let xml = junit::text(&report(&scene)).unwrap();
    let mut reader = quick_xml::Reader::from_str(&xml);
    reader.config_mut().check_end_names = true;
    let mut elements = 0;
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(_) | quick_xml::events::Event::Empty(_) => {
                elements += 1
            }
            _ => {}
        }
    }
    assert!(elements > 10);
    assert!(!xml.contains('\u{7}'));
    let summary = markdown::text(&report(&scene));
    // Between back-ticks nothing is markup, and none can be ended from within.
    let outside: String = summary
        .lines()
        .flat_map(|line| line.split('`').step_by(2))
        .collect();
    assert!(!outside.contains("<script") && summary.contains("</script>"));
}

#[test]
fn the_page_needs_no_network_and_stays_small_for_an_hour() {
    let scene = survived().change(|scene| {
        let last = scene.samples.last().cloned().unwrap();
        // An hour of ten requests a second, and a breaker that flaps every ten seconds.
        for n in 0..36_000_u64 {
            let due = crate::event::Offset(n * 100_000 + 60_000_000);
            let mut sample = last.clone();
            (sample.load, sample.due, sample.sent) = (usize::from(n % 2 == 0), due, Some(due));
            sample.done = due.plus(std::time::Duration::from_micros(5_000 + n * 7_919 % 20_000));
            scene.samples.push(sample);
        }
        for n in 0..360_u64 {
            let (from, to) = if n % 2 == 0 {
                ("closed", "open")
            } else {
                ("open", "closed")
            };
            let kind = crate::judge::testing::transition(
                "gateway-1",
                clip_service::observe::Subject::Breaker,
                "processor-1",
                from,
                to,
                "flapping",
            );
            scene
                .events
                .push(crate::judge::testing::event(60_000 + n * 10_000, kind));
        }
    });
    let page = html::page(&report(&scene));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    let text = page.replace("http://www.w3.org/2000/svg", "");
    for sign in ["http://", "https://", "src=", "@import", "url(//", "fetch("] {
        assert!(!text.contains(sign), "{sign}");
    }
}

#[test]
fn sentences_say_what_the_verdict_says() {
    use crate::event::{EventKind, RunOutcome};
    let sentence = |scene: Scene| prose::sentence(&report(&scene));
    let reason = "gateway-1: /ready answered 503".to_owned();
    let sentences = [
        sentence(survived()),
        sentence(unprotected()),
        sentence(survived().spoil(
            0,
            23_000,
            46_000,
            &crate::event::Outcome::Failed("timeout".to_owned()),
        )),
        sentence(survived().without(
            |kind| matches!(kind, EventKind::FaultInjected { fault, .. } if fault == "crash"),
        )),
        sentence(survived().without(|kind| matches!(kind, EventKind::Generator { .. }))),
        sentence(survived().change(|scene| scene.ledger = None)),
        sentence(survived().change(|scene| scene.plan.expect = Default::default())),
        sentence(survived().ended(RunOutcome::Aborted {
            reason: "frames.success < 20% over 5s".to_owned(),
        })),
        sentence(survived().ended(RunOutcome::Interrupted)),
        sentence(survived().ended(RunOutcome::NotReady {
            reason: reason.clone(),
        })),
        sentence(survived().ended(RunOutcome::UndoFailed {
            leftovers: vec![reason],
        })),
    ];
    insta::assert_snapshot!(sentences.join("\n"));
}

#[test]
fn all_formats_are_written_where_they_are_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let formats = [Format::Markdown, Format::Html];
    let paths = write_all(&report(&survived()), directory.path(), &formats).unwrap();
    let names: Vec<_> = paths
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["summary.md", "report.html"]);
    assert!(paths.iter().all(|path| path.exists()));
}

#[test]
fn a_tee_feeds_both_and_gives_both_back() {
    let record = survived().record();
    let recorder = || crate::record::Recorder::new(record.plan.clone(), record.environment.clone());
    let mut tee = progress::Tee(recorder(), recorder());
    record.events.iter().for_each(|event| tee.event(event));
    survived()
        .samples
        .iter()
        .for_each(|sample| tee.sample(sample));
    let ledger = record.ledger.clone().unwrap();
    tee.ledger(&ledger.entries, &ledger.checks);
    let progress::Tee(one, other) = tee;
    assert_eq!(one.finish(), record);
    assert_eq!(other.finish(), record);
}

#[test]
fn a_system_that_never_came_up_has_a_report_too() {
    use crate::event::{EventKind, RunOutcome};
    let reason = "gateway-1: /ready answered 503 for 10 s".to_owned();
    let scene = survived()
        .change(|scene| {
            scene.samples.clear();
            scene.ledger = None;
            scene.events.retain(|event| event.at.0 < 1_000_000);
        })
        .without(|kind| *kind == EventKind::SystemReady)
        .ended(RunOutcome::NotReady { reason });
    let report = report(&scene);
    assert_eq!(report.exit.code(), 3);
    let tiles = prose::tiles(&report);
    assert_eq!(tiles[1].value, "-", "no data is not no outage");
    assert!(
        tiles
            .iter()
            .all(|tile| tile.status != Some(crate::judge::Status::Pass))
    );
    let text = terminal::summary(&report, None, terminal::Look::plain());
    insta::assert_snapshot!(text);
    assert!(junit::text(&report).unwrap().contains("the run"));
    assert!(html::page(&report).contains("NOT READY"));
    if let Some(directory) = std::env::var_os("CLIP_HARNESS_SAMPLES").map(PathBuf::from) {
        std::fs::write(directory.join("not-ready.html"), html::page(&report)).unwrap();
    }
}
