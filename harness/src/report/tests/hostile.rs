//! Text from outside: whatever a node logs, a path is called or an error says, it is shown and not acted on.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::printable::printable;
use crate::record::Record;

/// The places in a record that hold text, indexes left aside: `/events/*/line`.
fn places(value: &Value, at: &str, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::String(_) => {
            found.insert(at.to_owned());
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| places(item, &format!("{at}/*"), found)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, field)| places(field, &format!("{at}/{key}"), found)),
        _ => {}
    }
}

/// Adds this to every text at one place.
fn add(value: &mut Value, at: &str, place: &str, more: &str) {
    match value {
        Value::String(text) if at == place => text.push_str(more),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| add(item, &format!("{at}/*"), place, more)),
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(key, field)| add(field, &format!("{at}/{key}"), place, more)),
        _ => {}
    }
}

/// A run with a warning in it, as data.
fn data(scene: &Scene) -> Value {
    let mut record = scene.record();
    let message = "look out".to_owned();
    let warning = crate::event::EventKind::Warning { message };
    let warning = crate::judge::testing::event(30_000, warning);
    record.events.push(warning);
    serde_json::to_value(&record).unwrap()
}

/// The places whose texts can be anything: words with a meaning of their own cannot.
fn free_places(data: &Value) -> Vec<String> {
    let mut found = std::collections::BTreeSet::new();
    places(data, "", &mut found);
    let free = found.into_iter().filter(|place| {
        let mut changed = data.clone();
        add(&mut changed, "", place, "\u{1b}");
        serde_json::from_value::<Record>(changed).is_ok()
    });
    free.collect()
}

/// The run with this in every such text.
fn spoiled(data: &Value, places: &[String], more: &str) -> Record {
    let mut data = data.clone();
    for place in places {
        add(&mut data, "", place, more);
    }
    serde_json::from_value(data).unwrap()
}

/// Everything that is written of a run, by name.
fn written(record: &Record) -> Vec<(&'static str, String)> {
    let report = Report::new(record, &judge(record));
    let look = terminal::Look::plain();
    let narrow = terminal::Look { width: 40, ..look };
    let run = [suite::SuiteRun {
        report: &report,
        page: report.name.as_ref(),
    }];
    let skipped = [suite::Skipped {
        name: record.plan.name.clone(),
        reason: record.plan.name.clone(),
    }];
    let live = |mode| {
        let mut progress = progress::Progress::new(&record.plan, Vec::new(), mode, look);
        record.events.iter().for_each(|event| progress.event(event));
        String::from_utf8(progress.into_inner()).unwrap()
    };
    let moves = live(progress::Mode::Live);
    // What is ours: to the beginning of an earlier line, and erasing from there.
    let mut still = moves.replace("\u{1b}[J", "");
    for lines in 0..100 {
        still = still.replace(&format!("\u{1b}[{lines}F"), "");
    }
    vec![
        ("html", html::page(&report)),
        ("json", json::text(&report).unwrap()),
        ("junit", junit::text(&report).unwrap()),
        ("markdown", markdown::text(&report)),
        (
            "summary",
            terminal::summary(&report, Some(Path::new(&record.plan.name)), look),
        ),
        ("narrow summary", terminal::summary(&report, None, narrow)),
        ("suite", suite::index(&record.plan.name, &run, &skipped)),
        ("lines", live(progress::Mode::Plain)),
        ("live block", still),
    ]
}

/// The runs and their places, found once.
fn scenes() -> &'static [(Value, Vec<String>)] {
    static SCENES: std::sync::OnceLock<Vec<(Value, Vec<String>)>> = std::sync::OnceLock::new();
    SCENES.get_or_init(|| {
        let with_places = |scene: &Scene| {
            let data = data(scene);
            let places = free_places(&data);
            assert!(places.len() > 30, "only {} places", places.len());
            (data, places)
        };
        [survived(), unprotected()]
            .iter()
            .map(with_places)
            .collect()
    })
}

fn assert_shown(scenes: &[(Value, Vec<String>)], more: &str) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for (data, places) in scenes {
        for (what, text) in written(&spoiled(data, places, more)) {
            for line in text.lines() {
                assert_eq!(printable(line), line, "{what}");
            }
            assert!(!text.contains('\r'), "{what}");
            all.push((what, text));
        }
    }
    all
}

#[test]
fn control_characters_reach_no_output() {
    let more = "\u{1b}]0;title\u{7}\u{1b}[2J\0\r\nnew\u{7f}\u{9b}1m\u{202e}x\u{2066}\u{feff}\u{ffff}\t<b>&|`";
    for (what, text) in assert_shown(scenes(), more) {
        assert!(text.contains('␛') && text.contains("u{202e}"), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn no_text_reaches_an_output_uncleaned(
        more in "[\\x00-\\x1f\\x7f-\\x9f\\u{200b}-\\u{202e}\\u{2060}-\\u{206f}\\u{feff}\\u{fff9}-\\u{ffff}a-c<>&\"'|`]{1,24}"
    ) {
        assert_shown(&scenes()[1..], &more);
    }
}
