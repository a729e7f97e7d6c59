//! Steps for an author's first question: is this scenario sound?

use cucumber::gherkin::Step as Written;
use cucumber::{given, then, when};
use serde_json::Value;

use super::checked::Problem;
use super::params::Place;
use super::story::Story;
use super::waiting::Step;
use crate::judge::Exit;

#[given("the scenario file")]
async fn the_scenario_file(story: &mut Story, step: &Written) -> Step {
    let text = step
        .docstring
        .as_deref()
        .ok_or("the step has no text below it")?;
    // The line break after the opening quotes belongs to the feature.
    let text = text.strip_prefix('\n').unwrap_or(text);
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = home.path().join("scenario.yaml");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    story.checked.file = Some((home, file));
    Ok(())
}

#[when("it is checked")]
async fn it_is_checked(story: &mut Story) -> Step {
    let (exit, said) = story.checked.command("check")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problems = said[0]["problems"].as_array();
    let problems = problems.ok_or_else(|| format!("no problems in {said}"))?;
    story.checked.exit = Some(exit);
    story.checked.problems = problems
        .iter()
        .map(|problem| Problem {
            line: problem["line"].as_u64(),
            column: problem["column"].as_u64(),
            message: text(&problem["message"]),
            help: text(&problem["help"]),
        })
        .collect();
    Ok(())
}

#[when("it is planned twice")]
async fn it_is_planned_twice(story: &mut Story) -> Step {
    for _ in 0..2 {
        let (exit, plan) = story.checked.command("plan")?;
        story.checked.exit = Some(exit);
        story.checked.plans.push(plan);
    }
    Ok(())
}

#[then(expr = "{int} problem(s) is/are found")]
async fn problems_are_found(story: &mut Story, wanted: usize) -> Step {
    let found = story.checked.problems()?.len();
    if found == wanted {
        return Ok(());
    }
    Err(format!(
        "{found} problems were found:{}",
        story.checked.told()
    ))
}

#[then("no problems are found")]
async fn no_problems_are_found(story: &mut Story) -> Step {
    problems_are_found(story, 0).await
}

#[then(expr = "a problem at {place} says {string}")]
async fn a_problem_says(story: &mut Story, place: Place, said: String) -> Step {
    a_problem_helps(story, place, said, String::new()).await
}

#[then(expr = "a problem at {place} says {string}, with the help {string}")]
async fn a_problem_helps(story: &mut Story, place: Place, said: String, help: String) -> Step {
    let found = story.checked.problems()?.iter().any(|problem| {
        let here = problem.line.zip(problem.column);
        here.is_some_and(|(line, column)| place.is(line, column))
            && problem.message.contains(&said)
            && problem.help.contains(&help)
    });
    if found {
        return Ok(());
    }
    Err(format!(
        "no problem at {place} says {said:?} with the help {help:?}; there are:{}",
        story.checked.told()
    ))
}

#[then("both plans are the same")]
async fn both_plans_are_the_same(story: &mut Story) -> Step {
    let [one, other] = story.checked.plans.as_slice() else {
        return Err("nothing was planned twice".to_owned());
    };
    if story.checked.exit != Some(Exit::Pass) || one["faults"][0]["targets"][0].is_null() {
        return Err(format!(
            "a plan without a resolved fault says nothing: {one:#}"
        ));
    }
    if one == other {
        return Ok(());
    }
    Err(format!("the plans differ:\n{one:#}\n{other:#}"))
}

#[then(expr = "the exit code is {int}")]
async fn the_exit_code_is(story: &mut Story, wanted: u8) -> Step {
    let code = story.exit_code()?;
    if code == wanted {
        return Ok(());
    }
    Err(format!("the exit code is {code}{}", story.checked.told()))
}
