//! What a fault hits: names and selectors, resolved against the system.
//!
//! ```text
//! target   := [ "one of" ] pattern | "any"
//! pattern  := node name or link name, in which `*` stands for any characters
//! ```

use clip_service::env::SharedRng;

use super::TargetPlan;
use super::layout::Layout;
use super::names::{matches, some_of};
use crate::scenario::diagnostic::nearest;
use crate::scenario::fault::{FaultKind, KINDS, TargetKind};

/// Why a target cannot be hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unhittable {
    pub(super) message: String,
    pub(super) help: String,
    /// Whether nothing goes by that name.
    unknown: bool,
}

/// Resolves a target. What is random about it is drawn from `rng`.
pub(super) fn resolve(
    text: &str,
    kind: &FaultKind,
    layout: &Layout<'_>,
    rng: &SharedRng,
) -> Result<Vec<TargetPlan>, Unhittable> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, one) = match text.strip_prefix("one of ") {
        Some(pattern) => (pattern, true),
        None if text == "any" => ("*", true),
        None => (text.as_str(), false),
    };
    // What is on standby may not be there when the fault comes.
    let there = layout.nodes.iter().filter(|node| !node.standby());
    let nodes: Vec<_> = there.map(|node| node.name.as_str()).collect();
    let links: Vec<_> = layout.links.iter().map(|link| link.name.as_str()).collect();
    let (wanted, others) = match kind.target {
        TargetKind::Node => (&nodes, &links),
        TargetKind::Link => (&links, &nodes),
    };
    let hit: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|name| matches(pattern, name))
        .collect();
    if hit.is_empty() {
        return match unhittable(pattern, kind, wanted, others) {
            Unhittable { unknown: true, .. } if !layout.whole => Ok(Vec::new()),
            why => Err(why),
        };
    }
    let hit = match one {
        true => vec![hit[rng.below(hit.len())]],
        false => hit,
    };
    Ok(hit
        .into_iter()
        .map(|name| match kind.target {
            TargetKind::Node => TargetPlan::Node(name.to_owned()),
            TargetKind::Link => TargetPlan::Link(name.to_owned()),
        })
        .collect())
}

/// Resolves a target of a fault whose kind is not known: either a node or a link will do.
pub(super) fn resolve_either(
    text: &str,
    layout: &Layout<'_>,
    rng: &SharedRng,
) -> Result<Vec<TargetPlan>, Unhittable> {
    let mut last = Ok(Vec::new());
    for noun in [TargetKind::Link, TargetKind::Node] {
        if let Some(kind) = KINDS.iter().find(|kind| kind.target == noun) {
            last = resolve(text, kind, layout, rng);
            if last.is_ok() {
                break;
            }
        }
    }
    last
}

fn unhittable(pattern: &str, kind: &FaultKind, wanted: &[&str], others: &[&str]) -> Unhittable {
    let noun = kind.target.word();
    if let Some(other) = others.iter().find(|name| matches(pattern, name)) {
        let (is, example) = match kind.target {
            TargetKind::Node => ("link", wanted.first()),
            TargetKind::Link => (
                "node",
                wanted
                    .iter()
                    .find(|link| link.ends_with(&format!("->{other}"))),
            ),
        };
        return Unhittable {
            unknown: false,
            message: format!("`{}` needs a {noun}, and `{pattern}` is a {is}", kind.name),
            help: match example {
                Some(example) => format!("write for example {example}"),
                None => format!("the system has no {noun} that fits"),
            },
        };
    }
    let replicas = wanted.iter().filter(|name| {
        let number = name
            .strip_prefix(pattern)
            .and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.parse::<usize>().is_ok())
    });
    let replicas: Vec<_> = replicas.collect();
    if let [first, ..] = replicas.as_slice() {
        return Unhittable {
            unknown: true,
            message: format!("the system has no {noun} `{pattern}`"),
            help: match replicas.len() {
                1 => format!("write {first}"),
                many => {
                    format!("write {first} for one of its {many} replicas, {pattern}-* for all")
                }
            },
        };
    }
    Unhittable {
        unknown: true,
        message: format!("the system has no {noun} `{pattern}`"),
        help: match nearest(pattern, wanted.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known: {}", some_of(wanted)),
        },
    }
}
