//! What the values of a scenario must be together. One function per rule; each leaves unsound values alone.

use super::model::Document;
use super::read::Reader;

/// Applies every rule.
pub(crate) fn document(document: &Document, cx: &mut Reader) {
    let _ = (document, &cx);
}
