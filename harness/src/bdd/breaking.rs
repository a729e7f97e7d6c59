//! Steps for what a system does under load when something breaks: a scenario is written, run once, and judged.
//!
//! Judging repeats on a record at any time, so what is said after the run asks the record of the run, in the words of
//! the scenario format, and through the same judge.

use clip_service::env::WallClock;
use cucumber::{given, then, when};

use super::params::{Rate, Target, Time, When};
use super::ran::{Ran, told};
use super::story::Story;
use super::waiting::Step;
use crate::judge::{Finding, Row, Scope, judge};
use crate::record::{Environment, Recorder};
use crate::run::{Options, run};

fn ran(story: &Story) -> Result<&Ran, String> {
    let ran = story.ran.as_ref();
    ran.ok_or_else(|| "the scenario has not run yet".to_owned())
}

#[given(expr = "a system of {int} gateway(s) and {int} processor(s)")]
async fn a_system(story: &mut Story, gateways: u32, processors: u32) {
    story.draft.system(gateways, processors);
}

#[given(
    expr = "a load {string} of {rate} for {time} that reads frames of {string} and allows each {time}"
)]
async fn a_load_of_frames(
    story: &mut Story,
    name: String,
    rate: Rate,
    length: Time,
    video: String,
    each: Time,
) {
    story.draft.frames(&name, &rate, length, &video, each);
}

#[given(
    expr = "a load {string} of {rate} for {time} that submits clip jobs of {string} and allows each {time}"
)]
async fn a_load_of_clips(
    story: &mut Story,
    name: String,
    rate: Rate,
    length: Time,
    video: String,
    each: Time,
) {
    story.draft.clips(&name, &rate, length, &video, each);
}

#[given(expr = "a steady state of {time} in which {string}")]
async fn a_steady_state(story: &mut Story, window: Time, hold: String) -> Step {
    story.draft.steady(window, &hold);
    story.draft.sketch().map(drop)
}

#[when(expr = "{string} hits {target} at {time} for {time}")]
async fn a_fault_hits(
    story: &mut Story,
    kind: String,
    at: Target,
    start: Time,
    length: Time,
) -> Step {
    story.draft.fault(&kind, &at, start, Some(length));
    story.draft.sketch().map(drop)
}

#[when(expr = "{string} hits {target} at {time}")]
async fn a_fault_hits_until_it_is_over(
    story: &mut Story,
    kind: String,
    at: Target,
    start: Time,
) -> Step {
    story.draft.fault(&kind, &at, start, None);
    story.draft.sketch().map(drop)
}

#[when(expr = "it is expected that {when} {string}")]
async fn it_is_expected(story: &mut Story, when: When, text: String) -> Step {
    story.draft.expect(when, &text)?;
    story.draft.sketch().map(drop)
}

#[when("the scenario has run")]
async fn the_scenario_has_run(story: &mut Story) -> Step {
    let plan = story.draft.sketch()?;
    let logs = tempfile::tempdir().map_err(|error| error.to_string())?;
    let now = WallClock::system().now().as_millisecond();
    let run_id = format!("{}-{now}-{}", plan.name, std::process::id());
    let mut options = Options::new(run_id, logs.path());
    options.force = story.signals.force.clone();
    let mut recorder = Recorder::new(plan.clone(), Environment::here());
    // How it ended is the last event, so the record has it.
    run(&plan, &mut recorder, options, story.signals.cancel.clone()).await;
    story.ran = Some(Ran {
        record: recorder.finish(),
    });
    Ok(())
}

#[then(expr = "it holds that {when} {string}")]
async fn it_holds(story: &mut Story, when: When, text: String) -> Step {
    story.draft.expect(when, &text)?;
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ran(story)?.holds(&story.draft, &text, |row| {
        row.text == folded
            && match (&row.scope, when) {
                (Scope::Always, When::Always) | (Scope::During(_), When::DuringTheFault) => true,
                (Scope::Steady | Scope::Stage(_) | Scope::Recover(_) | Scope::End, _) => false,
                (Scope::Always | Scope::During(_), _) => false,
            }
    })
}

#[then(expr = "the system recovers within {time}")]
async fn the_system_recovers(story: &mut Story, within: Time) -> Step {
    story.draft.recover(within);
    ran(story)?.holds(&story.draft, "recovery", |row| {
        matches!(row.scope, Scope::Recover(_))
    })
}

#[then("no accepted job is lost, doubled, unfinished or unplayable")]
async fn no_accepted_job_is_lost(story: &mut Story) -> Step {
    let ran = ran(story)?;
    let ledger = |row: &Row| matches!(row.finding, Finding::Ledger(_) | Finding::Nothing(_));
    ran.holds(&story.draft, "accepted jobs", |row| {
        row.scope == Scope::End && ledger(row)
    })?;
    let verdict = ran.verdict(&story.draft)?;
    let checks = verdict.rows.iter().filter_map(|row| match &row.finding {
        Finding::Ledger(found) if found.accepted > 0 => Some(found.check),
        _ => None,
    });
    match checks.count() {
        4 => Ok(()),
        n => Err(format!("only {n} of 4 checks had accepted jobs to look at")),
    }
}

#[then(expr = "the verdict is {word}")]
async fn the_verdict_is(story: &mut Story, wanted: String) -> Step {
    let record = ran(story)?.asked(story.draft.plan()?)?;
    let verdict = judge(&record);
    let said = verdict.conclusion.to_string().to_lowercase();
    if said == wanted {
        return Ok(());
    }
    Err(format!(
        "the verdict is {said}\n{}",
        told(&record, &verdict)
    ))
}
