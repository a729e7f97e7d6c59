//! The rows of a role, found by what a request matched.

use std::collections::HashMap;

use http::Method;

use super::endpoint::{Access, Class, Operation, TimeLimit};
use crate::admission::{Admission, KINDS, Work};

/// What the layers have to know of a request's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Who may ask.
    pub access: Access,
    /// How long it may take.
    pub time: TimeLimit,
    /// What it is to admission.
    pub work: Work,
}

/// The rows of a role by path and method.
#[derive(Debug)]
pub struct Table {
    rows: HashMap<&'static str, Vec<(Method, Rules)>>,
    /// For what is not in the table: it is answered with a problem, and still counts.
    other: Rules,
}

impl Table {
    /// Of these rows. Classes are numbered in the order in which they come; bulkheads are those of `admission`.
    #[must_use]
    pub fn new<'o>(
        operations: impl IntoIterator<Item = &'o Operation>,
        admission: &Admission,
    ) -> Self {
        let mut classes: Vec<&'static str> = Vec::new();
        let mut work = |class: &Class| {
            let known = classes.iter().position(|name| *name == class.name);
            let kind = known.unwrap_or_else(|| {
                classes.push(class.name);
                classes.len() - 1
            });
            Work {
                // More classes than are told apart: the last of them share their latencies.
                kind: kind.min(KINDS - 1),
                priority: class.priority,
                turn: class.turn,
                bulkhead: class.bulkhead.and_then(|name| admission.bulkhead(name)),
            }
        };
        let mut rows: HashMap<&'static str, Vec<(Method, Rules)>> = HashMap::new();
        for operation in operations {
            let rules = Rules {
                access: operation.access,
                time: operation.time,
                work: work(&operation.class),
            };
            let of_path = rows.entry(operation.path).or_default();
            of_path.push((operation.method.clone(), rules));
        }
        let other = Rules {
            access: Access::Public,
            time: TimeLimit::Request,
            work: work(&Class::OTHER),
        };
        Self { rows, other }
    }

    /// The rules of a request that matched this path; those of anything else where it matched none.
    #[must_use]
    pub fn rules(&self, path: &str, method: &Method) -> Rules {
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let of_path = self.rows.get(path).into_iter().flatten();
        let mut found = of_path.filter(|(known, _)| known == method);
        found.next().map_or(self.other, |(_, rules)| *rules)
    }
}
