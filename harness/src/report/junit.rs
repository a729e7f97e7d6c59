//! `junit.xml`, for CI: one test case per expectation and scope, with what was observed and how long it was watched. What
//! could not be decided is an error, not a skip: CI must not count it among what is well. A run that could not be made on
//! this machine is one skipped case.
//!
//! Elements and attributes are those of the schema that Jenkins publishes (`junit-10.xsd`), which other readers follow.

use std::io;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::model::{Expectation, Report};
use super::prose;
use crate::judge::{Conclusion, Exit, Status};

/// A test case, as CI sees it.
struct Case {
    name: String,
    took: Duration,
    result: CaseResult,
    /// What was observed.
    body: String,
}

enum CaseResult {
    Passed,
    Skipped {
        message: String,
    },
    /// `failure` or `error`.
    Bad {
        element: &'static str,
        kind: String,
        message: String,
    },
}

/// Numbers of cases.
#[derive(Default)]
struct Totals {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

pub(super) fn text(report: &Report) -> io::Result<String> {
    let cases = cases(report);
    let mut totals = Totals::default();
    for case in &cases {
        totals.tests += 1;
        match case.result {
            CaseResult::Passed => {}
            CaseResult::Skipped { .. } => totals.skipped += 1,
            CaseResult::Bad {
                element: "failure", ..
            } => totals.failures += 1,
            CaseResult::Bad { .. } => totals.errors += 1,
        }
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let numbers = [
        ("tests", totals.tests.to_string()),
        ("failures", totals.failures.to_string()),
        ("errors", totals.errors.to_string()),
        ("time", seconds(report.took)),
    ];
    let numbers = || numbers.iter().map(|(name, n)| (*name, n.as_str()));
    writer
        .create_element("testsuites")
        .with_attribute(("name", "clip-harness"))
        .with_attributes(numbers())
        .write_inner_content(|writer| {
            let mut suite = writer
                .create_element("testsuite")
                .with_attribute(("name", &*report.name))
                .with_attributes(numbers())
                .with_attribute(("skipped", totals.skipped.to_string().as_str()))
                .with_attribute(("hostname", &*report.environment.host));
            if let Some(started) = prose::started(report) {
                suite = suite.with_attribute(("timestamp", started.trim_end_matches('Z')));
            }
            suite.write_inner_content(|writer| {
                properties(writer, report)?;
                cases
                    .iter()
                    .try_for_each(|case| write(writer, report, case))
            })?;
            Ok(())
        })?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

fn seconds(length: Duration) -> String {
    format!("{:.3}", length.as_secs_f64())
}

fn cases(report: &Report) -> Vec<Case> {
    let expectations = report
        .failing_first()
        .into_iter()
        .map(|one| case(report, one));
    run_case(report).into_iter().chain(expectations).collect()
}

/// A run that ended badly although every expectation holds must not look well, and one that was not made has no others.
fn run_case(report: &Report) -> Option<Case> {
    let result = match report.conclusion {
        Conclusion::Pass | Conclusion::Fail => return None,
        _ if report.exit == Exit::Skipped => CaseResult::Skipped {
            message: prose::sentence(report),
        },
        conclusion => CaseResult::Bad {
            element: "error",
            kind: conclusion.to_string(),
            message: prose::sentence(report),
        },
    };
    Some(Case {
        name: "the run".to_owned(),
        took: report.took,
        result,
        body: String::new(),
    })
}

fn case(report: &Report, expectation: &Expectation) -> Case {
    let observed = prose::observed(&expectation.found);
    let observed = match prose::detail(report, &expectation.found) {
        detail if detail.is_empty() => observed,
        detail => format!("{observed} ({detail})"),
    };
    let facts = expectation.evidence.iter().map(prose::fact);
    let body: Vec<String> = std::iter::once(format!("observed: {observed}"))
        .chain(facts)
        .collect();
    let bad = |element| CaseResult::Bad {
        element,
        kind: expectation.outcome.to_string(),
        message: format!("{}: {observed}", expectation.outcome),
    };
    Case {
        name: format!(
            "{}: {}, {}",
            expectation.id,
            prose::what(expectation),
            prose::scope(&expectation.scope)
        ),
        took: expectation.took,
        result: match expectation.status() {
            Status::Pass => CaseResult::Passed,
            Status::Inconclusive => bad("error"),
            Status::Fail => bad("failure"),
        },
        body: body.join("\n"),
    }
}

fn properties(writer: &mut Writer<Vec<u8>>, report: &Report) -> io::Result<()> {
    let properties = [
        ("seed", report.seed.to_string()),
        ("verdict", report.conclusion.to_string()),
        ("repeat", prose::repeat(report)),
    ];
    writer
        .create_element("properties")
        .write_inner_content(|writer| {
            for (name, value) in &properties {
                writer
                    .create_element("property")
                    .with_attribute(("name", *name))
                    .with_attribute(("value", value.as_str()))
                    .write_empty()?;
            }
            Ok(())
        })?;
    Ok(())
}

fn write(writer: &mut Writer<Vec<u8>>, report: &Report, case: &Case) -> io::Result<()> {
    writer
        .create_element("testcase")
        .with_attribute(("classname", &*report.name))
        .with_attribute(("name", case.name.as_str()))
        .with_attribute(("time", seconds(case.took).as_str()))
        .write_inner_content(|writer| {
            match &case.result {
                CaseResult::Passed => {
                    let out = writer.create_element("system-out");
                    out.write_text_content(BytesText::new(&case.body))?;
                }
                CaseResult::Skipped { message } => {
                    let skipped = writer.create_element("skipped");
                    skipped
                        .with_attribute(("message", message.as_str()))
                        .write_empty()?;
                }
                CaseResult::Bad {
                    element,
                    kind,
                    message,
                } => {
                    let bad = writer
                        .create_element(*element)
                        .with_attribute(("type", kind.as_str()))
                        .with_attribute(("message", message.as_str()));
                    match case.body.is_empty() {
                        true => bad.write_empty()?,
                        false => bad.write_text_content(BytesText::new(&case.body))?,
                    };
                }
            }
            Ok(())
        })?;
    Ok(())
}
