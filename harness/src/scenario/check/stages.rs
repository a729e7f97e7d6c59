//! Named stages: stretches of a load's time that expectations can be about.

use crate::scenario::model::{Document, Name, StageText};
use crate::scenario::read::Reader;
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::spanned::{OptionalKey as _, Spanned};

/// Every stage of a load, in the order written.
pub(super) fn all(document: &Document) -> impl Iterator<Item = &StageText> {
    document
        .load
        .iter()
        .filter_map(|(_, load)| load.arrivals.as_ref())
        .flat_map(|arrivals| &arrivals.stages)
}

/// The words of these names.
pub(super) fn words(document: &Document) -> Vec<&str> {
    let names = named(document).map(|name| name.value);
    names.map(|name| name.0.as_str()).collect()
}

/// Every name given to a stage, in the order written.
fn named(document: &Document) -> impl Iterator<Item = Spanned<&Name>> {
    all(document).filter_map(|stage| stage.name.placed())
}

/// A name stands for one stretch of time, whichever load it was given in.
pub(super) fn names(document: &Document, cx: &mut Reader) {
    let all: Vec<_> = named(document).collect();
    for (index, name) in all.iter().enumerate() {
        let text = name.value.0.as_str();
        let earlier = all[..index].iter().find(|other| other.value.0 == text);
        let fault = document.faults.iter();
        let fault = fault.filter_map(|fault| fault.name.placed());
        let same = earlier.map(|other| (other.span, "stage"));
        let same = same.or_else(|| {
            let mut faults = fault.filter(|fault| fault.value.0 == text);
            faults.next().map(|fault| (fault.span, "fault"))
        });
        if let Some((span, what)) = same {
            let (line, _) = cx.source.line_column(span.start);
            cx.report(
                Diagnostic::error(name.span, format!("there is already a {what} `{text}`"))
                    .help(format!("it is on line {line}; choose another name")),
            );
        }
        if text == "steady" {
            cx.report(
                Diagnostic::error(name.span, "`steady` is reserved in expectations")
                    .help("choose another name"),
            );
        }
    }
}
