use super::*;
use crate::judge::testing;
use std::time::Duration;

#[test]
fn a_saved_record_reads_back_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let record = testing::survived().record();
    let path = save(&record, directory.path()).unwrap();
    assert_eq!(open(directory.path()).unwrap(), record);
    assert_eq!(open(&path).unwrap(), record);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the record");
}

#[test]
fn another_format_is_named_and_damage_is_located() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(format::RECORD_FILE);
    // One from later, and one from before expectations had ids.
    for other in [7, FORMAT - 1] {
        let text = format!(r#"{{"format": {other}, "all": "different"}}"#);
        std::fs::write(&path, text).unwrap();
        let error = open(directory.path()).unwrap_err();
        assert!(matches!(error, RecordError::Format { found, .. } if found == other));
        let told = error.to_string();
        let reads = format!("format {other}; this program reads format {FORMAT}. Use the version");
        assert!(
            told.contains(&reads) && told.ends_with("or repeat the run"),
            "{told}"
        );
    }

    let text = serde_json::to_string(&testing::survived().record()).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(matches!(
        open(directory.path()),
        Err(RecordError::Damaged { .. })
    ));
    assert!(matches!(
        open(&directory.path().join("none")),
        Err(RecordError::Io { .. })
    ));
}

#[test]
fn directories_are_named_by_time_and_seed_and_never_shared() {
    let reports = tempfile::tempdir().unwrap();
    let named = || run_dir(reports.path(), "processor-killed", 1_795_449_731_000, 42);
    let first = named();
    assert!(
        first.ends_with("processor-killed/20261123T160211Z-42"),
        "{first:?}"
    );
    std::fs::create_dir_all(&first).unwrap();
    assert!(named().ends_with("processor-killed/20261123T160211Z-42-2"));
    let odd = run_dir(reports.path(), "../up/..", 0, 1);
    assert_eq!(odd.parent().unwrap(), reports.path().join("-up-.."));
}

#[test]
fn events_are_on_disk_before_the_run_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let record = testing::survived().record();
    let mut recorder = Recorder::new(record.plan.clone(), record.environment.clone())
        .stream_to(directory.path())
        .unwrap();
    for event in &record.events[..3] {
        recorder.event(event);
    }
    let text = std::fs::read_to_string(directory.path().join(format::EVENTS_FILE)).unwrap();
    let lines: Vec<Event> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, record.events[..3]);
    assert!(
        matches!(recorder.finish().outcome, RunOutcome::Broken { .. }),
        "a run without an end is not complete"
    );
}

#[test]
fn exemplars_are_the_slowest_and_the_earliest_of_each_class() {
    let plan = testing::plan();
    let mut recorder = Recorder::new(plan, Environment::default());
    for i in 0..1_000_u64 {
        let due = Offset(i * 10_000);
        let outcome = match i % 10 {
            0 => Outcome::Failed("status 503".to_owned()),
            1 if i > 900 => Outcome::Failed("timeout".to_owned()),
            _ => Outcome::Ok,
        };
        recorder.sample(&Sample {
            load: 0,
            due,
            sent: Some(due),
            // 7 has no common factor with 1000: every response time occurs once.
            done: due.plus(Duration::from_micros(1 + i * 7 % 1_000)),
            outcome,
            status: None,
            request_id: Some(format!("r{i}")),
            step: 0,
        });
    }
    let exemplars = recorder.finish().exemplars;
    assert_eq!(exemplars.slowest.len(), SLOWEST_KEPT);
    let times: Vec<_> = exemplars
        .slowest
        .iter()
        .map(|e| e.done.since(e.due).as_micros())
        .collect();
    assert!(times.is_sorted_by(|a, b| a > b), "{times:?}");
    assert!(times[24] > 960, "{times:?}");
    let of = |class: &str| {
        let class = Outcome::Failed(class.to_owned());
        exemplars
            .failed
            .iter()
            .filter(|e| e.outcome == class)
            .count()
    };
    assert_eq!(
        (of("status 503"), of("timeout")),
        (FAILED_KEPT, FAILED_KEPT)
    );
    assert_eq!(exemplars.failed[0].due, Offset(0));
}

#[test]
fn a_timeline_tells_spans_from_events() {
    let timeline = Timeline::of(&testing::survived().record());
    let crash = timeline.fault("crash").unwrap();
    assert_eq!(
        crash.window(timeline.end).map(Window::length),
        Some(Duration::from_secs(8))
    );
    assert!(crash.exercised());
    let lane = timeline
        .lanes
        .iter()
        .find(|lane| lane.subject == Subject::Breaker)
        .unwrap();
    let states: Vec<_> = lane.spans.iter().map(|span| span.state.as_str()).collect();
    assert_eq!(states, ["closed", "open", "half-open", "closed"]);
    for pair in lane.spans.windows(2) {
        assert_eq!(pair[0].window.to, pair[1].window.from);
    }
    assert_eq!(lane.spans.last().unwrap().window.to, timeline.end);
}

use crate::series::Window;
use clip_service::observe::Subject;
