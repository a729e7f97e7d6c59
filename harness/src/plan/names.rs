//! Names of nodes and links: patterns that stand for several of them, and what is said of one that is not there.

use crate::scenario::Spanned;
use crate::scenario::diagnostic::{Diagnostic, nearest};

/// More nodes than this on one machine is a typing error.
pub(super) const MOST_NODES: usize = 100;

/// Names of nodes.
#[derive(Debug)]
pub(super) struct Names {
    known: Vec<String>,
    /// Whether there are no others.
    whole: bool,
}

impl Names {
    pub(super) fn new(known: Vec<String>, whole: bool) -> Self {
        Self { known, whole }
    }

    /// In order of start.
    pub(super) fn known(&self) -> &[String] {
        &self.known
    }

    /// Those that a pattern fits.
    pub(super) fn fitting(&self, pattern: &str) -> Vec<String> {
        let fitting = self.known.iter().filter(|name| matches(pattern, name));
        fitting.cloned().collect()
    }

    /// Reports a name that no node has; nothing where that cannot be known.
    pub(super) fn unknown(&self, name: &Spanned<String>) -> Option<Diagnostic> {
        if !self.whole || self.known.contains(&name.value) {
            return None;
        }
        let known: Vec<_> = self.known.iter().map(String::as_str).collect();
        let problem = Diagnostic::error(
            name.span,
            format!("the system has no node `{}`", name.value),
        );
        Some(
            problem.help(match nearest(&name.value, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known: {}", some_of(&known)),
            }),
        )
    }
}

/// A few of many names.
pub(super) fn some_of(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        0 => "none".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, fits) in [
            ("processor-1", "processor-1", true),
            ("processor-1", "processor-11", false),
            ("processor-*", "processor-11", true),
            ("*", "anything", true),
            ("*->processor-1", "gateway-1->processor-1", true),
            ("gateway-*->processor-*", "gateway-1->registry-1", false),
            ("a*a", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
