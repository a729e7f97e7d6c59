//! The programs of a system by name: their replicas, what waits for what, and the links between them. Whether they are on
//! this machine is [`super::machine`]'s business.

use indexmap::IndexMap;

use super::LinkPlan;
use super::names::{MOST_NODES, Names};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::model::Program;
use crate::scenario::{Entries, Spanned};
use crate::sut::CLIENT;

/// Programs by name.
#[derive(Debug)]
pub(super) struct Programs<'s> {
    by_name: IndexMap<&'s str, (&'s Spanned<String>, &'s Program)>,
}

impl<'s> Programs<'s> {
    pub(super) fn new(programs: &'s Entries<Program>) -> Self {
        let by_name = programs
            .iter()
            .map(|(name, program)| (name.value.as_str(), (name, program)))
            .collect();
        Self { by_name }
    }

    /// In the order written.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'s Spanned<String>, &'s Program)> {
        self.by_name.values().copied()
    }

    /// The nodes a name stands for: a program's replicas, nothing for other names. Where their number could not be
    /// understood, the first.
    pub(super) fn replicas(&self, name: &str) -> Vec<String> {
        let Some((_, program)) = self.by_name.get(name) else {
            return Vec::new();
        };
        let Some(count) = &program.replicas else {
            return vec![name.to_owned()];
        };
        let count = count.known().map_or(1, |count| count.get().min(MOST_NODES));
        let numbers = 1..=count;
        numbers.map(|number| format!("{name}-{number}")).collect()
    }

    /// Reports programs that wait for what is not there, or for each other.
    pub(super) fn check_waits(&self, problems: &mut Vec<Diagnostic>) {
        let known = self.by_name.keys().map(|name| (*name).to_owned());
        let names = Names::new(known.collect(), true);
        let before = self.iter().flat_map(|(_, program)| &program.after);
        problems.extend(before.filter_map(|before| {
            let before = before.placed()?;
            names.unknown(&Spanned::new(before.value.clone(), before.span))
        }));
        self.circles(problems);
    }

    /// Programs that wait for each other would never start. A circle is reported once, at its first member.
    fn circles(&self, problems: &mut Vec<Diagnostic>) {
        let mut reported: Vec<&str> = Vec::new();
        for (name, (_, program)) in &self.by_name {
            let mut path = vec![*name];
            if reported.contains(name) || !self.leads_to(name, program, &mut path) {
                continue;
            }
            reported.extend(path.iter().copied());
            path.push(name);
            let span = program
                .after
                .first()
                .map_or(program.span, |after| after.span);
            problems.push(
                Diagnostic::error(span, format!("`{name}` waits for itself"))
                    .help(format!("remove one `after` of {}", path.join(" after "))),
            );
        }
    }

    /// Whether a program waits for this one, and by which way.
    fn leads_to(&self, name: &str, program: &'s Program, path: &mut Vec<&'s str>) -> bool {
        let mut before = program.after.iter().filter_map(|before| before.known());
        before.any(|before| {
            if before == name {
                return true;
            }
            let Some((key, (_, next))) = self.by_name.get_key_value(before.as_str()) else {
                return false;
            };
            if path.contains(key) {
                return false;
            }
            path.push(key);
            let found = self.leads_to(name, next, path);
            if !found {
                path.pop();
            }
            found
        })
    }

    /// How many programs deep its waiting goes; `None` in a circle, and where a name could not be understood.
    pub(super) fn wave(&self, name: &str) -> Option<u32> {
        self.depth(name, &mut Vec::new())
    }

    fn depth(&self, name: &str, path: &mut Vec<String>) -> Option<u32> {
        if path.iter().any(|earlier| earlier == name) {
            return None;
        }
        let Some((_, program)) = self.by_name.get(name) else {
            return Some(0);
        };
        path.push(name.to_owned());
        let mut wave = 0;
        for before in &program.after {
            wave = wave.max(self.depth(before.known()?, path)? + 1);
        }
        path.pop();
        Some(wave)
    }

    /// The links an edge stands for, one for each pair of replicas. A name that is not there is reported.
    pub(super) fn edges(
        &self,
        edge: &Spanned<String>,
        names: &Names,
        problems: &mut Vec<Diagnostic>,
    ) -> Vec<LinkPlan> {
        let Some((from, to)) = edge.value.split_once("->") else {
            problems.push(
                Diagnostic::error(edge.span, format!("`{}` is not an edge", edge.value))
                    .help("write FROM->TO: {}"),
            );
            return Vec::new();
        };
        let mut side = |name: &str, may_be_client: bool| -> Vec<String> {
            let name = name.trim();
            let replicas = self.replicas(name);
            if !replicas.is_empty() {
                return replicas;
            }
            if names.known().iter().any(|node| node == name) || (may_be_client && name == CLIENT) {
                return vec![name.to_owned()];
            }
            problems.extend(names.unknown(&Spanned::new(name.to_owned(), edge.span)));
            Vec::new()
        };
        let (from, to) = (side(from, true), side(to, false));
        from.iter()
            .flat_map(|from| to.iter().map(move |to| LinkPlan::between(from, to)))
            .collect()
    }
}
