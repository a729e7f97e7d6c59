//! The scenario that the steps of a feature write down, one phrase after the other.
//!
//! A draft becomes scenario text and is read as any scenario file is, so a feature can ask for nothing that a file could
//! not, and a mistake in a feature is told in the words, and with the remedies, that `clip-harness check` has.

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::params::{Rate, Target, Time, When};
use crate::plan::{Plan, PlanOptions};

/// Drawn numbers differ between two loads and not between two runs.
const SEED: u64 = 7;
/// Accepted work has this long to finish once load has ended.
const SETTLE: &str = "30s";
/// Bound on the whole, on a machine that is busy with other tests.
const LIMIT: &str = "3m";

/// A scenario in the making.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Draft {
    name: String,
    service: Option<Value>,
    load: IndexMap<String, Value>,
    steady: Option<Value>,
    faults: Vec<(String, Value)>,
    always: Vec<String>,
    during: IndexMap<String, Vec<String>>,
    recover: Option<Time>,
    /// Whether a load has work accepted that must not get lost.
    promises: bool,
}

impl Draft {
    /// An empty one for a Gherkin scenario of this title.
    pub(super) fn titled(title: &str) -> Self {
        Self {
            name: slug(title),
            ..Self::default()
        }
    }

    pub(super) fn system(&mut self, gateways: u32, processors: u32) {
        self.service = Some(json!({ "gateways": gateways, "processors": processors }));
    }

    /// Synchronous reads of single frames of a fixture.
    pub(super) fn frames(
        &mut self,
        name: &str,
        rate: &Rate,
        length: Time,
        video: &str,
        each: Time,
    ) {
        let last = last_second(video);
        let path = format!("/api/v1/videos/$(fixture.{video})/frame?at=$(random 0..{last})s");
        let step = json!({ "get": path, "expect": { "status": 200, "type": "image/jpeg" } });
        self.load(name, rate, length, each, step);
    }

    /// Jobs that make one clip of a fixture, each entered in the ledger.
    pub(super) fn clips(&mut self, name: &str, rate: &Rate, length: Time, video: &str, each: Time) {
        let video_id = format!("$(fixture.{video})");
        let wish = json!({
            "video_id": video_id, "max_clips": 1, "min_clip_length": 3, "max_clip_length": 4,
        });
        let step = json!({
            "post": "/api/v1/process-video",
            "headers": { "Idempotency-Key": "$(uuid)" },
            "json": wish,
            "expect": { "status": 202 },
            "capture": { "job": "$.job_id" },
            "ledger": "accepted",
        });
        self.load(name, rate, length, each, step);
        self.promises = true;
    }

    fn load(&mut self, name: &str, rate: &Rate, length: Time, each: Time, step: Value) {
        let load = json!({
            "arrivals": { "rate": rate.0, "for": length.to_string() },
            "timeout": each.to_string(),
            "steps": [step],
        });
        self.load.insert(name.to_owned(), load);
    }

    pub(super) fn steady(&mut self, window: Time, hold: &str) {
        self.steady = Some(json!({ "window": window.to_string(), "hold": [hold] }));
    }

    /// A fault that needs no settings, named after its kind.
    pub(super) fn fault(&mut self, kind: &str, target: &Target, at: Time, length: Option<Time>) {
        let before = self
            .faults
            .iter()
            .filter(|(_, fault)| fault["inject"] == kind);
        let name = match before.count() {
            0 => kind.to_owned(),
            n => format!("{kind}-{}", n + 1),
        };
        let mut fault = json!({
            "name": name,
            "at": at.to_string(),
            "target": target.0,
            "inject": kind,
        });
        if let Some(length) = length {
            fault["for"] = length.to_string().into();
        }
        self.faults.push((name, fault));
    }

    /// Writes an expectation where it belongs.
    ///
    /// # Errors
    /// It is about the fault, and there is not exactly one.
    pub(super) fn expect(&mut self, when: When, text: &str) -> Result<(), String> {
        let each = match when {
            When::Always => &mut self.always,
            When::DuringTheFault => {
                let [(name, _)] = self.faults.as_slice() else {
                    let number = self.faults.len();
                    return Err(format!(
                        "`during the fault` needs exactly one fault; there are {number}"
                    ));
                };
                self.during.entry(name.clone()).or_default()
            }
        };
        if !each.iter().any(|known| known == text) {
            each.push(text.to_owned());
        }
        Ok(())
    }

    pub(super) fn recover(&mut self, within: Time) {
        self.recover = Some(within);
    }

    /// The scenario as text: JSON, which every YAML reader understands.
    fn text(&self) -> String {
        let mut document = json!({
            "version": 1,
            "name": self.name,
            "seed": SEED,
            "limit": LIMIT,
            "load": self.load,
        });
        let mut system = json!({ "runtime": "embedded" });
        if let Some(service) = &self.service {
            system["service"] = service.clone();
        }
        document["system"] = system;
        if let Some(steady) = &self.steady {
            document["steady"] = steady.clone();
        }
        if !self.faults.is_empty() {
            document["faults"] = self.faults.iter().map(|(_, fault)| fault.clone()).collect();
        }
        let mut expect = json!({});
        if !self.always.is_empty() {
            expect["always"] = json!(self.always);
        }
        if !self.during.is_empty() {
            expect["during"] = json!(self.during);
        }
        if let Some(within) = self.recover {
            expect["recover"] = json!({ "within": within.to_string() });
        }
        if self.promises {
            // What has been promised is kept, whether or not a step asks.
            let checks = ["no_lost", "no_duplicate", "all_terminal", "all_playable"];
            expect["end"] = json!({ "settle": SETTLE, "ledger": checks });
        }
        document["expect"] = expect;
        format!("{document:#}\n")
    }

    /// What would happen, if the expectations are still to come.
    ///
    /// # Errors
    /// As [`Draft::plan`], but for a lack of expectations.
    pub(super) fn sketch(&self) -> Result<Plan, String> {
        let expects = !self.always.is_empty() || !self.during.is_empty() || self.promises;
        match self.load.keys().next() {
            Some(load) if !expects => {
                let mut draft = self.clone();
                draft.always.push(format!("{load}.success >= 0%"));
                draft.plan()
            }
            _ => self.plan(),
        }
    }

    /// What would happen.
    ///
    /// # Errors
    /// Every problem of the draft, each shown with its line and a remedy.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        Plan::prepare_text(&self.name, &self.text(), &PlanOptions::default())
            .map(|prepared| prepared.plan)
            .map_err(|problems| {
                format!(
                    "the steps do not make a sound scenario\n{}",
                    problems.render(false)
                )
            })
    }
}

/// The last whole second that a fixture has a frame at.
fn last_second(video: &str) -> u32 {
    if video == "talk" { 59 } else { 5 }
}

/// A title as a scenario's name.
fn slug(title: &str) -> String {
    let words = title
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-").to_lowercase();
    let name: String = name.chars().take(64).collect();
    if name.is_empty() {
        "feature".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Injection, LedgerCheck};
    use crate::scenario::expr::{Expr, Limit, Metric};
    use crate::scenario::fault::Kill;

    fn time(text: &str) -> Time {
        text.parse().expect(text)
    }

    fn draft() -> Draft {
        let mut draft = Draft::titled("Killed and restarted!");
        draft.system(1, 3);
        draft.frames(
            "frames",
            &Rate("25/s".into()),
            time("9 s"),
            "short",
            time("2 s"),
        );
        draft.steady(time("2 s"), "frames.success >= 99%");
        draft.fault(
            "kill",
            &Target("processor-2".into()),
            time("3 s"),
            Some(time("2 s")),
        );
        draft
    }

    #[test]
    fn steps_write_the_scenario_they_say() {
        let mut draft = draft();
        draft.clips(
            "clips",
            &Rate("0.5/s".into()),
            time("6 s"),
            "short",
            time("10 s"),
        );
        draft
            .expect(When::Always, "frames.success >= 99.9%")
            .expect("always");
        draft
            .expect(
                When::DuringTheFault,
                "breaker(processor-2) opened within 2s",
            )
            .expect("during");
        draft.recover(time("3 s"));
        let plan = draft.plan().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(plan.name, "killed-and-restarted");
        assert_eq!(plan.system.nodes.len(), 5);
        assert_eq!(plan.system.fixtures, ["short"]);
        assert_eq!(plan.load[0].length(), time("9 s").get());
        assert!(plan.load[1].steps[0].ledger);
        assert_eq!(plan.faults[0].name, "kill");
        assert_eq!(plan.faults[0].inject, Injection::new(Kill));
        let Expr::Measure(always) = &plan.expect.always[0].expr else {
            panic!("{:?}", plan.expect.always);
        };
        assert_eq!(
            (always.load.as_str(), always.metric),
            ("frames", Metric::Success)
        );
        assert_eq!(always.limit, Limit::Ratio(0.999));
        assert!(matches!(
            &plan.expect.during["kill"][0].expr,
            Expr::Probe(probe) if probe.node == "processor-2"
        ));
        assert_eq!(
            plan.expect.recover.map(|within| within.get()),
            Some(time("3s").get())
        );
        assert_eq!(plan.expect.end.ledger.len(), 4);
        assert!(plan.expect.end.ledger.contains(&LedgerCheck::AllPlayable));
    }

    #[test]
    fn a_wrong_expression_is_told_as_check_would() {
        for (wrong, said) in [
            ("frame.success >= 99%", "did you mean `frames`"),
            ("frames.p98 <= 2s", "p98"),
            ("frames.success >= 99", "99"),
            ("breaker(processor-2) opened within 2s", "during"),
        ] {
            let mut draft = draft();
            draft
                .expect(When::Always, wrong)
                .expect("anything is written down");
            let problems = draft.plan().expect_err(wrong);
            assert!(problems.contains("error:"), "{problems}");
            assert!(problems.contains(said), "{wrong}: {problems}");
        }
        let mut draft = draft();
        draft
            .expect(
                When::DuringTheFault,
                "breaker(processor-9) opened within 2s",
            )
            .expect("there is one fault");
        let problems = draft.plan().expect_err("no such node");
        assert!(problems.contains("processor-9"), "{problems}");
    }

    #[test]
    fn expectations_may_come_later_and_must_come() {
        let draft = draft();
        let sketch = draft
            .sketch()
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(sketch.expect.always.len(), 1);
        let problems = draft.plan().expect_err("nothing can fail");
        assert!(problems.contains("has no expectations"), "{problems}");
        let mut wrong = draft.clone();
        wrong.fault(
            "kil",
            &Target("processor-1".into()),
            time("1 s"),
            Some(time("1 s")),
        );
        let problems = wrong.sketch().expect_err("no such fault");
        assert!(problems.contains("did you mean `kill`"), "{problems}");
        assert!(!problems.contains("has no expectations"), "{problems}");
    }

    #[test]
    fn what_the_runtime_cannot_do_is_refused() {
        let mut draft = draft();
        draft.fault(
            "pause",
            &Target("processor-1".into()),
            time("3 s"),
            Some(time("1 s")),
        );
        let problems = draft.plan().expect_err("tasks cannot be stopped");
        assert!(problems.contains("embedded"), "{problems}");
    }

    #[test]
    fn the_fault_is_the_only_one() {
        let mut draft = Draft::titled("x");
        let none = draft
            .expect(When::DuringTheFault, "frames.p99 <= 1s")
            .expect_err("none");
        assert!(none.contains("there are 0"), "{none}");
        for _ in 0..2 {
            draft.fault(
                "kill",
                &Target("any".into()),
                time("1 s"),
                Some(time("1 s")),
            );
        }
        assert_eq!(draft.faults[1].0, "kill-2");
        let two = draft
            .expect(When::DuringTheFault, "frames.p99 <= 1s")
            .expect_err("two");
        assert!(two.contains("there are 2"), "{two}");
    }

    #[test]
    fn the_same_expectation_is_asked_once() {
        let mut draft = draft();
        for _ in 0..2 {
            draft
                .expect(When::Always, "frames.success >= 99%")
                .expect("always");
        }
        assert_eq!(draft.plan().expect("sound").expect.always.len(), 1);
    }

    #[test]
    fn any_title_is_a_name() {
        assert_eq!(
            slug("What is not a video (again)?"),
            "what-is-not-a-video-again"
        );
        assert_eq!(slug("…"), "feature");
        assert_eq!(slug(&"a".repeat(100)).len(), 64);
    }
}
