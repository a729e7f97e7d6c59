//! Probes of a plan: whether the system has them, and which must be asked for counts while it runs.

use super::Plan;
use super::layout::Layout;
use super::names::some_of;
use crate::scenario::Written;
use crate::scenario::diagnostic::{Diagnostic, nearest};
use crate::scenario::expr::{Claim, Expr, ProbeExpr};
use crate::scenario::model::Document;
use crate::sut::find_probe;

impl Plan {
    /// Probes that count, each with the node to ask: those that an expectation is about.
    #[must_use]
    pub fn counting_probes(&self) -> Vec<(&str, &str)> {
        let mut wanted: Vec<(&str, &str)> = Vec::new();
        for expectation in self.expect.expressions() {
            let Expr::Probe(ProbeExpr {
                probe,
                node,
                claim: Claim::Ratio { .. },
            }) = &expectation.expr
            else {
                continue;
            };
            if !wanted.contains(&(probe.as_str(), node.as_str())) {
                wanted.push((probe, node));
            }
        }
        wanted
    }
}

/// The system has the probes that expectations name, and the nodes in their brackets.
pub(super) fn check(document: &Document, layout: &Layout<'_>, problems: &mut Vec<Diagnostic>) {
    if layout.nodes.is_empty() {
        return;
    }
    let sut = layout.sut();
    let written = document.expect.iter().flat_map(|expect| {
        let during = expect.during.iter().flat_map(|(_, each)| each);
        expect.always.iter().chain(during)
    });
    for expectation in written.filter_map(Written::placed) {
        let Expr::Probe(ProbeExpr {
            probe: name, node, ..
        }) = &expectation.value.expr
        else {
            continue;
        };
        let Some((owner, row)) = find_probe(name) else {
            continue;
        };
        if owner.kind() != sut.kind() {
            let own: Vec<_> = sut.probes().iter().map(|probe| probe.name).collect();
            let has = match own.as_slice() {
                [] => "none".to_owned(),
                own => own.join(", "),
            };
            problems.push(
                Diagnostic::error(
                    expectation.span,
                    format!(
                        "`{name}` is a probe of {}; this system has {has}",
                        owner.title()
                    ),
                )
                .help("measure a load instead: LOAD.success >= 99.9%"),
            );
            continue;
        }
        let role = row.argument.role;
        let known: Vec<_> = layout
            .nodes
            .iter()
            .filter(|node| role.is_none_or(|role| node.role() == Some(role)))
            .map(|node| node.name.as_str())
            .collect();
        if !known.contains(&node.as_str()) && layout.whole {
            let problem = format!("the system has no {} `{node}`", role.unwrap_or("node"));
            problems.push(Diagnostic::error(expectation.span, problem).help(
                match nearest(node, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known: {}", some_of(&known)),
                },
            ));
        }
    }
}
