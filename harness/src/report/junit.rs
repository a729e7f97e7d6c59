//! `junit.xml`, for CI: one test case per expectation and scope, with what was observed. What could not be decided is an
//! error, not a skip: CI must not count it among what is well.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::View;
use super::view::RowView;
use crate::judge::{Conclusion, Status};

pub(super) fn text(view: &View) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    // A run that ended badly although every row holds must not look well.
    let whole = !matches!(view.conclusion, Conclusion::Pass | Conclusion::Fail);
    let of = |status| {
        view.rows
            .iter()
            .filter(|row| row.outcome.status() == status)
            .count()
    };
    let tests = (view.rows.len() + usize::from(whole)).to_string();
    let failures = of(Status::Fail).to_string();
    let errors = (of(Status::Inconclusive) + usize::from(whole)).to_string();
    let seconds = format!("{:.3}", view.took.as_secs_f64());
    let totals = [
        ("tests", tests.as_str()),
        ("failures", &failures),
        ("errors", &errors),
        ("time", &seconds),
    ];
    writer
        .create_element("testsuites")
        .with_attribute(("name", "clip-harness"))
        .with_attributes(totals)
        .write_inner_content(|writer| {
            let mut suite = writer
                .create_element("testsuite")
                .with_attribute(("name", clean(&view.name).as_str()))
                .with_attributes(totals);
            if let Some(started) = &view.started {
                suite = suite.with_attribute(("timestamp", started.trim_end_matches('Z')));
            }
            suite.write_inner_content(|writer| {
                properties(writer, view)?;
                if whole {
                    run_case(writer, view)?;
                }
                view.rows.iter().try_for_each(|row| case(writer, view, row))
            })?;
            Ok(())
        })?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

fn properties(writer: &mut Writer<Vec<u8>>, view: &View) -> io::Result<()> {
    writer
        .create_element("properties")
        .write_inner_content(|writer| {
            let seed = view.seed.to_string();
            let verdict = view.conclusion.to_string();
            for (name, value) in [
                ("seed", &seed),
                ("verdict", &verdict),
                ("repeat", &view.repeat),
            ] {
                writer
                    .create_element("property")
                    .with_attribute(("name", name))
                    .with_attribute(("value", clean(value).as_str()))
                    .write_empty()?;
            }
            Ok(())
        })?;
    Ok(())
}

fn run_case(writer: &mut Writer<Vec<u8>>, view: &View) -> io::Result<()> {
    writer
        .create_element("testcase")
        .with_attribute(("classname", clean(&view.name).as_str()))
        .with_attribute(("name", "the run"))
        .write_inner_content(|writer| {
            writer
                .create_element("error")
                .with_attribute(("type", clean(&view.conclusion.to_string()).as_str()))
                .with_attribute(("message", clean(&view.sentence).as_str()))
                .write_empty()?;
            Ok(())
        })?;
    Ok(())
}

fn case(writer: &mut Writer<Vec<u8>>, view: &View, row: &RowView) -> io::Result<()> {
    let observed = match row.detail.is_empty() {
        true => row.observed.clone(),
        false => format!("{} ({})", row.observed, row.detail),
    };
    let body = std::iter::once(format!("observed: {observed}"))
        .chain(row.evidence.iter().cloned())
        .collect::<Vec<_>>()
        .join("\n");
    writer
        .create_element("testcase")
        .with_attribute(("classname", clean(&view.name).as_str()))
        .with_attribute((
            "name",
            clean(&format!("{}, {}", row.text, row.scope)).as_str(),
        ))
        .write_inner_content(|writer| {
            let element = match row.outcome.status() {
                Status::Pass => "system-out",
                Status::Inconclusive => "error",
                Status::Fail => "failure",
            };
            let mut element = writer.create_element(element);
            if row.outcome.status() != Status::Pass {
                element = element
                    .with_attribute(("type", row.outcome.to_string().as_str()))
                    .with_attribute((
                        "message",
                        clean(&format!("{}: {observed}", row.outcome)).as_str(),
                    ));
            }
            element.write_text_content(BytesText::new(&clean(&body)))?;
            Ok(())
        })?;
    Ok(())
}

/// Without the characters that XML cannot hold in any form, which logs may well contain.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            _ => c,
        })
        .collect()
}
