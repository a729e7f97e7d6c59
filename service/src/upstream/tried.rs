//! Whom a call has asked already. Retries and hedges share it, so that no two tries of a call meet on one instance while
//! there is another.

use std::sync::Arc;

use super::instance::Instance;

#[derive(Debug, Default)]
pub(super) struct Tried<'a> {
    prefer_not: &'a [String],
    first: Option<Arc<Instance>>,
    /// Empty for nearly every call, and an empty list costs no allocation.
    more: Vec<Arc<Instance>>,
}

impl<'a> Tried<'a> {
    /// Nobody yet, but `prefer_not` counts as asked.
    pub(super) fn new(prefer_not: &'a [String]) -> Self {
        Self {
            prefer_not,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, instance: &Arc<Instance>) {
        if self.first.is_none() {
            self.first = Some(Arc::clone(instance));
        } else if !self.contains(&instance.name) {
            self.more.push(Arc::clone(instance));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.prefer_not.is_empty()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.first
            .iter()
            .chain(&self.more)
            .any(|asked| asked.name == *name)
            || self.prefer_not.iter().any(|other| other == name)
    }
}
