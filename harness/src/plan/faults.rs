//! Faults of a plan: what each hits, when it begins and how long it lasts, and whether what it hits can be hit so.

use std::time::Duration;

use clip_service::env::SharedRng;
use clip_service::units::HumanDuration;

use super::layout::Layout;
use super::timeline::Timed;
use super::{FaultPlan, RuntimeKind, StartPlan, TargetPlan, target};
use crate::scenario::OptionalKey as _;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::fault::{FaultKind, Injection};
use crate::scenario::model::{Fault, Vocabulary as _};

/// A fault as far as it could be understood.
pub(super) struct FaultDraft<'d> {
    name: Option<&'d str>,
    /// When it begins.
    pub(super) start: Option<StartPlan>,
    length: Option<HumanDuration>,
    targets: Option<Vec<TargetPlan>>,
    inject: Option<&'d Injection>,
}

impl<'d> FaultDraft<'d> {
    /// Resolves a fault. Problems of its targets are added, as far as the names of the system are known.
    pub(super) fn of(
        fault: &'d Fault,
        layout: &Layout<'_>,
        rng: &SharedRng,
        problems: &mut Vec<Diagnostic>,
    ) -> Self {
        let inject = fault.inject.known();
        let targets = targets(fault, layout, rng, problems);
        if let Some(kind) = inject.map(Injection::kind) {
            let hit = targets.as_deref().unwrap_or_default();
            problems.extend(without_links(kind, fault, hit, layout));
            problems.extend(incapable(kind, fault, hit, layout));
        }
        Self {
            name: fault.name.known().map(|name| name.0.as_str()),
            start: start(fault),
            length: inject.and_then(|inject| length(fault, inject, targets.as_deref())),
            targets,
            inject,
        }
    }

    /// What is known of its time.
    pub(super) fn timed(&self) -> Option<Timed<'_>> {
        Some(Timed {
            name: self.name?,
            start: self.start.as_ref()?,
            length: self.length?.get(),
        })
    }

    /// The whole of it.
    pub(super) fn plan(&self) -> Option<FaultPlan> {
        Some(FaultPlan {
            name: self.name?.to_owned(),
            start: self.start.clone()?,
            length: self.length?,
            targets: self.targets.clone()?,
            inject: self.inject?.clone(),
        })
    }
}

fn start(fault: &Fault) -> Option<StartPlan> {
    if let Some(after) = &fault.after {
        let after = after.known()?;
        return Some(StartPlan::After {
            fault: after.fault.clone(),
            moment: after.moment,
            offset: after.offset,
        });
    }
    fault.at.known().map(|at| StartPlan::At(*at))
}

fn length(
    fault: &Fault,
    inject: &Injection,
    targets: Option<&[TargetPlan]>,
) -> Option<HumanDuration> {
    match inject.in_turn() {
        Some(pause) => {
            let pauses = targets?.len().saturating_sub(1);
            let pauses = u32::try_from(pauses).unwrap_or(u32::MAX);
            Some(HumanDuration(pause.saturating_mul(pauses)))
        }
        None => fault.r#for.given_or(HumanDuration(Duration::ZERO)),
    }
}

/// What it hits, each once, in the order written. `None` where that could not be understood.
fn targets(
    fault: &Fault,
    layout: &Layout<'_>,
    rng: &SharedRng,
    problems: &mut Vec<Diagnostic>,
) -> Option<Vec<TargetPlan>> {
    let selectors = fault.target.placed()?;
    if layout.nodes.is_empty() {
        return None;
    }
    let name = fault.name.known().map_or("", |name| name.0.as_str());
    let rng = rng.fork(&format!("fault/{name}"));
    let mut targets: Vec<TargetPlan> = Vec::new();
    for selector in &selectors.value.0 {
        let found = match fault.inject.known() {
            Some(inject) => target::resolve(selector, inject.kind(), layout, &rng),
            // What it would do is not known; a name that is nowhere is wrong all the same.
            None => target::resolve_either(selector, layout, &rng),
        };
        match found {
            Ok(found) => {
                for target in found {
                    if !targets.contains(&target) {
                        targets.push(target);
                    }
                }
            }
            Err(why) => {
                problems.push(Diagnostic::error(selectors.span, why.message).help(why.help));
            }
        }
    }
    layout.whole.then_some(targets)
}

/// A target without a link into it, where the kind acts on those.
fn without_links(
    kind: &FaultKind,
    fault: &Fault,
    targets: &[TargetPlan],
    layout: &Layout<'_>,
) -> Option<Diagnostic> {
    let deaf = |target: &&TargetPlan| layout.links.iter().all(|link| link.to != target.name());
    let target = targets
        .iter()
        .find(deaf)
        .filter(|_| kind.through_links && layout.whole)?;
    Some(
        Diagnostic::error(
            fault.target.span,
            format!(
                "no link leads to `{}`, so its answers cannot be held",
                target.name()
            ),
        )
        .help(format!(
            "add one under `links:`, NODE->{}: {{}}",
            target.name()
        )),
    )
}

/// The first target whose runtime cannot do what the kind needs.
fn incapable(
    kind: &FaultKind,
    fault: &Fault,
    targets: &[TargetPlan],
    layout: &Layout<'_>,
) -> Option<Diagnostic> {
    let missing = |runtime: RuntimeKind| {
        let can = runtime.capabilities();
        kind.needs.iter().copied().find(|need| !can.contains(need))
    };
    let (node, runtime, need) = layout
        .nodes
        .iter()
        .filter(|node| targets.contains(&TargetPlan::Node(node.name.clone())))
        .find_map(|node| {
            let runtime = node.runtime?;
            Some((node, runtime, missing(runtime)?))
        })?;
    let able: Vec<_> = RuntimeKind::ALL
        .iter()
        .filter(|(.., runtime)| missing(*runtime).is_none())
        .map(|(word, ..)| format!("`{word}`"))
        .collect();
    Some(
        Diagnostic::error(
            fault.inject.span,
            format!(
                "`{}` needs a node that can {}; {} runs in the {} runtime, where nodes cannot",
                kind.name,
                need.word(),
                node.name,
                runtime.word()
            ),
        )
        .help(format!("use runtime {}", able.join(" or "))),
    )
}
