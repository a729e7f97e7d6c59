//! The list of events read as spans of time: when load ran, when the state was steady, when each fault was in place and
//! in which state each instance and breaker was.

use std::collections::BTreeMap;

use clip_service::observe::{Subject, Transition};

use super::Record;
use crate::event::{EventKind, Offset};
use crate::series::{Marks, Window};

/// A run as spans of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Timeline {
    /// From the first to the last intended start.
    pub load: Option<Window>,
    /// The steady window before the first fault.
    pub steady: Option<Window>,
    /// Named stages of the load, where load began: when each was to be.
    pub stages: Vec<(String, Window)>,
    /// In the order of the plan.
    pub faults: Vec<FaultSpan>,
    /// Instances as the registry sees them, other nodes as the harness does, then breakers; by name.
    pub lanes: Vec<Lane>,
    /// Time of the last thing known.
    pub end: Offset,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FaultSpan {
    /// Its name.
    pub name: String,
    /// What happened to each target, in order of injection.
    pub targets: Vec<TargetSpan>,
}

/// One fault on one target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetSpan {
    /// Node or link.
    pub target: String,
    /// When injecting it began, where it came to be in place: it takes effect before that is known.
    pub injected: Option<Offset>,
    /// What was done.
    pub detail: Option<String>,
    /// When undoing it began.
    pub undo_began: Option<Offset>,
    /// When it was proved to be gone.
    pub reverted: Option<Offset>,
    /// Evidence that it bit.
    pub proof: Option<String>,
    /// Evidence that it is gone.
    pub undo: Option<String>,
    /// Why it could not be injected.
    pub inject_error: Option<String>,
    /// Why it could not be undone.
    pub undo_error: Option<String>,
}

impl FaultSpan {
    /// When injecting it into its first target began.
    #[must_use]
    pub fn injected(&self) -> Option<Offset> {
        self.targets
            .iter()
            .filter_map(|target| target.injected)
            .min()
    }

    /// When the last of its targets began to be undone; `None` where the record does not say.
    #[must_use]
    pub fn undo_began(&self) -> Option<Offset> {
        let hit = self.targets.iter().filter(|t| t.injected.is_some());
        hit.filter_map(|target| target.undo_began).max()
    }

    /// When its last target was proved to be well again; `None` while one that was hit is not.
    #[must_use]
    pub fn reverted(&self) -> Option<Offset> {
        let hit = || {
            self.targets
                .iter()
                .filter(|target| target.injected.is_some())
        };
        if hit().any(|target| target.reverted.is_none()) {
            return None;
        }
        hit().filter_map(|target| target.reverted).max()
    }

    /// Whether it touched anything.
    #[must_use]
    pub fn exercised(&self) -> bool {
        self.targets
            .iter()
            .any(|target| target.injected.is_some() && target.proof.is_some())
    }

    /// From the beginning of its injection to its proved undo, or to `end` when there was none; `None` when it was never injected.
    #[must_use]
    pub fn window(&self, end: Offset) -> Option<Window> {
        let injected = self.injected()?;
        Some(Window::new(
            injected,
            self.reverted().unwrap_or(end).max(injected),
        ))
    }
}

/// States of one state machine over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Which kind.
    pub subject: Subject,
    /// Node, or instance that a breaker guards.
    pub name: String,
    /// Who reports it; empty for the harness.
    pub source: String,
    /// In order, without gaps from the first known moment to the end.
    pub spans: Vec<StateSpan>,
}

/// One state for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSpan {
    /// When.
    pub window: Window,
    /// Which.
    pub state: String,
    /// Why it was entered.
    pub reason: String,
}

impl Timeline {
    /// Reads the events of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let mut timeline = Self {
            end: record.end(),
            faults: record
                .plan
                .faults
                .iter()
                .map(|fault| FaultSpan {
                    name: fault.name.clone(),
                    targets: Vec::new(),
                })
                .collect(),
            ..Self::default()
        };
        let (mut load_started, mut load_ended) = (None, None);
        for event in &record.events {
            let at = event.at;
            match &event.kind {
                EventKind::LoadStarted => load_started = Some(at),
                EventKind::LoadEnded => load_ended = Some(at),
                EventKind::SteadyReached { from } => {
                    timeline.steady.get_or_insert(Window::new(*from, at));
                }
                EventKind::FaultInjected {
                    fault,
                    target,
                    detail,
                    began,
                } => {
                    let span = timeline.target(fault, target);
                    // The first time counts, should it be hit again.
                    span.injected.get_or_insert(began.unwrap_or(at));
                    span.detail.get_or_insert_with(|| detail.clone());
                    span.reverted = None;
                }
                EventKind::FaultReverted {
                    fault,
                    target,
                    proof,
                    undo,
                    began,
                } => {
                    let span = timeline.target(fault, target);
                    span.undo_began = *began;
                    span.reverted = Some(at);
                    span.proof = proof.clone().or(span.proof.take());
                    span.undo = Some(undo.clone());
                }
                EventKind::FaultFailed {
                    fault,
                    target,
                    error,
                    undo,
                } => {
                    let span = timeline.target(fault, target);
                    let slot = match undo {
                        true => &mut span.undo_error,
                        false => &mut span.inject_error,
                    };
                    *slot = Some(error.clone());
                }
                _ => {}
            }
        }
        let extent = record.series.extent();
        timeline.load = match (load_started.or(extent.map(|e| e.from)), extent, load_ended) {
            (Some(from), Some(extent), ended) => Some(Window::new(
                from.min(extent.from),
                ended.unwrap_or(extent.to).max(extent.to),
            )),
            (Some(from), None, Some(to)) => Some(Window::new(from, to)),
            _ => None,
        };
        if let Some(load) = timeline.load {
            let planned = record.plan.stages().into_iter();
            timeline.stages = planned
                .map(|stage| {
                    let window = Window::new(load.from.plus(stage.from), load.from.plus(stage.to));
                    (stage.name.to_owned(), window)
                })
                .collect();
        }
        timeline.lanes = lanes(record, timeline.end);
        timeline
    }

    /// The stretches that limits refer to.
    #[must_use]
    pub fn marks(&self) -> Marks<'_> {
        Marks {
            steady: self.steady,
            stages: &self.stages,
        }
    }

    /// When a named stage was to be.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<Window> {
        let found = self.stages.iter().find(|(stage, _)| stage == name);
        found.map(|(_, window)| *window)
    }

    /// The span of a fault by name.
    #[must_use]
    pub fn fault(&self, name: &str) -> Option<&FaultSpan> {
        self.faults.iter().find(|fault| fault.name == name)
    }

    fn target(&mut self, fault: &str, target: &str) -> &mut TargetSpan {
        let at = match self.faults.iter().position(|span| span.name == fault) {
            Some(at) => at,
            None => {
                self.faults.push(FaultSpan {
                    name: fault.to_owned(),
                    targets: Vec::new(),
                });
                self.faults.len() - 1
            }
        };
        let targets = &mut self.faults[at].targets;
        let at = match targets.iter().position(|span| span.target == target) {
            Some(at) => at,
            None => {
                targets.push(TargetSpan {
                    target: target.to_owned(),
                    ..TargetSpan::default()
                });
                targets.len() - 1
            }
        };
        &mut targets[at]
    }
}

/// A change of state: when, from which, to which, why.
type Change = (Offset, String, String, String);

fn lanes(record: &Record, end: Offset) -> Vec<Lane> {
    // Keyed so that the order is: instances by name, then breakers by name and reporter.
    let mut changes = BTreeMap::<(bool, String, String), Vec<Change>>::new();
    let mut nodes = BTreeMap::<String, Vec<Change>>::new();
    for event in &record.events {
        match &event.kind {
            EventKind::Transition(Transition {
                subject,
                source,
                name,
                from,
                to,
                reason,
                ..
            }) => {
                let change = (event.at, from.clone(), to.clone(), reason.clone());
                let key = match subject {
                    Subject::Instance => (false, name.clone(), source.clone()),
                    Subject::Breaker => (true, name.clone(), source.clone()),
                    Subject::Job | Subject::Scale | Subject::Storage => continue,
                };
                changes.entry(key).or_default().push(change);
            }
            EventKind::NodeStarted {
                node, incarnation, ..
            } => nodes.entry(node.clone()).or_default().push((
                event.at,
                "absent".to_owned(),
                "starting".to_owned(),
                format!("start {incarnation}"),
            )),
            EventKind::NodeReady { node, .. } => nodes.entry(node.clone()).or_default().push((
                event.at,
                "starting".to_owned(),
                "ready".to_owned(),
                String::new(),
            )),
            EventKind::NodeExited { node, how, .. } => {
                nodes.entry(node.clone()).or_default().push((
                    event.at,
                    "ready".to_owned(),
                    "exited".to_owned(),
                    how.clone(),
                ))
            }
            _ => {}
        }
    }
    // What the registry says of an instance is closer to what callers see than whether its process runs.
    nodes.retain(|node, _| {
        !changes
            .keys()
            .any(|(breaker, name, _)| !breaker && name == node)
    });
    for (node, change) in nodes {
        changes.insert((false, node, String::new()), change);
    }
    changes
        .into_iter()
        .map(|((breaker, name, source), changes)| Lane {
            subject: if breaker {
                Subject::Breaker
            } else {
                Subject::Instance
            },
            name,
            source,
            spans: spans(breaker, &changes, end),
        })
        .collect()
}

fn spans(breaker: bool, changes: &[Change], end: Offset) -> Vec<StateSpan> {
    let mut spans = Vec::new();
    // A breaker exists before it first changes; an instance does not.
    if let (true, Some((at, from, _, _))) = (breaker, changes.first()) {
        spans.push(StateSpan {
            window: Window::new(Offset(0), *at),
            state: from.clone(),
            reason: String::new(),
        });
    }
    for (index, (at, _, to, reason)) in changes.iter().enumerate() {
        let until = changes.get(index + 1).map_or(end, |next| next.0);
        spans.push(StateSpan {
            window: Window::new(*at, until.max(*at)),
            state: to.clone(),
            reason: reason.clone(),
        });
    }
    spans.retain(|span| span.window.from < span.window.to);
    spans
}
