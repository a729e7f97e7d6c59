//! Steps of a load as they are written: one HTTP request each, with what counts as ok and what is kept of the answer. What a
//! step does is the business of [`crate::load`].

mod check;
mod rules;

use super::json_path::JsonPath;
use super::mapping::{Entries, mapping};
use super::text::source::Span;
use super::text::spanned::{OptionalKey as _, Written};
use super::value::{Json, Statuses, TemplateText};
use super::vocabulary::LedgerWord;

pub(super) use check::check;
pub(super) use rules::rules;

mapping! {
    /// One request: exactly one of get, post, put, patch, delete, head.
    Step {
        /// GET this path.
        get: Option<Written<TemplateText>>,
        /// POST to this path.
        post: Option<Written<TemplateText>>,
        /// PUT to this path.
        put: Option<Written<TemplateText>>,
        /// PATCH this path.
        patch: Option<Written<TemplateText>>,
        /// DELETE this path.
        delete: Option<Written<TemplateText>>,
        /// HEAD of this path.
        head: Option<Written<TemplateText>>,
        /// Header values.
        headers: Entries<Written<TemplateText>>,
        /// JSON body.
        json: Option<Written<Json>>,
        /// What counts as ok. Default: any 2xx.
        expect: Option<StepExpectation>,
        /// Names for values of the answer, by JSON path: { job: $.job_id }. Later steps use them as $(job).
        capture: Entries<Written<JsonPath>>,
        /// Enters the first capture in the ledger of accepted work when the step is ok.
        ledger: Option<Written<LedgerWord>>,
    }
}

mapping! {
    /// What counts as ok.
    StepExpectation {
        /// Status code, or a list of them. Default: any 2xx.
        status: Option<Written<Statuses>>,
        /// Content type, parameters left aside.
        r#type: Option<Written<String>>,
    }
}

impl Step {
    /// Every way to write the request, with its method.
    #[must_use]
    pub fn requests(&self) -> Vec<(&'static str, &Written<TemplateText>)> {
        [
            ("GET", &self.get),
            ("POST", &self.post),
            ("PUT", &self.put),
            ("PATCH", &self.patch),
            ("DELETE", &self.delete),
            ("HEAD", &self.head),
        ]
        .into_iter()
        .filter_map(|(method, path)| path.as_ref().map(|path| (method, path)))
        .collect()
    }

    /// The request: method and path.
    #[must_use]
    pub fn request(&self) -> Option<(&'static str, &Written<TemplateText>)> {
        self.requests().into_iter().next()
    }

    /// Visits every text that may hold `$(…)`.
    pub(crate) fn templates(&self, mut visit: impl FnMut(&str, Span)) {
        let paths = self.requests().into_iter();
        for path in paths.filter_map(|(_, path)| path.placed()) {
            visit(&path.value.0, path.span);
        }
        for value in self.headers.iter().filter_map(|(_, value)| value.placed()) {
            visit(&value.value.0, value.span);
        }
        if let Some(json) = self.json.placed() {
            texts(&json.value.0, &mut |text| visit(text, json.span));
        }
    }
}

pub(crate) fn texts(value: &serde_json::Value, visit: &mut dyn FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => visit(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, visit)),
        serde_json::Value::Object(entries) => {
            entries.values().for_each(|value| texts(value, visit));
        }
        _ => {}
    }
}
