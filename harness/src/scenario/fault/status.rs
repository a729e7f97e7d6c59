//! `status`: a link answers requests itself, and the node does not see them.

use clip_service::units::HumanDuration;
use serde_json::{Value as Json, json};

use super::settings::Places;
use super::{Aimed, Kind, Phrase, TargetKind, length, percent, settings};
use crate::scenario::read::Reader;
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::value::POSITIVE;
use crate::scenario::value::Percent;
use crate::scenario::value::Status;

settings! {
    /// A link answers requests itself.
    StatusAnswer {
        /// Status code of the answer, 200 to 599.
        code ("code"): Status [required],
        /// Share of requests that the link answers, drawn for each. Default 100%.
        share ("share"): Percent [Percent(1.0)],
        /// Value of `retry-after` in the answer, in whole seconds. Default: none.
        retry_after ("retry_after"): HumanDuration [optional],
    }
}

impl Kind for StatusAnswer {
    const NAME: &'static str = "status";
    const SUMMARY: &'static str =
        "a link answers requests itself with an HTTP status; the node does not see them";
    const UNDO: &'static str = "the link passes every request";
    const TARGET: TargetKind = TargetKind::Link;

    fn check(&self, places: &Places, cx: &mut Reader) {
        if self.code.0 < 200 {
            cx.report(
                Diagnostic::error(
                    places.of("code"),
                    format!("{} is an interim status", self.code.0),
                )
                .help("write a final status, 200 to 599"),
            );
        }
        if self.share.0 <= 0.0 {
            cx.report(
                Diagnostic::error(places.of("share"), "`share` must be greater than 0%")
                    .help("write a share from 0.1% to 100%, or leave it out for all"),
            );
        }
        if let Some(after) = self.retry_after
            && (after.get().is_zero() || after.get().subsec_nanos() > 0)
        {
            cx.report(
                Diagnostic::error(
                    places.of("retry_after"),
                    format!("`retry_after` must be whole seconds, not {after}"),
                )
                .help("write 1s, 2s, …"),
            );
        }
    }

    fn schema_rules() -> Json {
        json!({
            "properties": {
                "code": { "minimum": 200, "pattern": r"^\s*[2-5]|\$\(" },
                "share": { "pattern": POSITIVE },
            },
        })
    }

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        let mut note = self.code.0.to_string();
        if self.share.0 < 1.0 {
            note.push_str(&format!(" for {} of requests", percent(self.share.0)));
        }
        if let Some(after) = self.retry_after {
            note.push_str(&format!(", retry after {}", length(after.get())));
        }
        Phrase {
            note: format!("{note} on {}", aimed.names),
            clause: format!("{} answered {} itself", aimed.links(), self.code.0),
        }
    }
}
