//! Which nodes and links there are and where load enters: the names of a system, which faults, probes and links are about.
//! What each node is started with is [`super::system`]'s business.

use super::names::{MOST_NODES, Names};
use super::programs::Programs;
use super::{LinkPlan, RuntimeKind, link_name};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::model::{Load, Program, Service, System};
use crate::scenario::{Entries, OptionalKey as _, Spanned, Written};
use crate::sut::{self, CLIENT, RoleNode, Sut, Wanted};

/// The names of a system.
#[derive(Debug)]
pub(super) struct Layout<'s> {
    /// In order of start.
    pub(super) nodes: Vec<Outline<'s>>,
    /// Every edge between nodes, and from the client in.
    pub(super) links: Vec<LinkPlan>,
    /// Links that load enters through.
    pub(super) entries: Vec<String>,
    /// Those of each load that has an entry of its own.
    pub(super) own_entries: Vec<Vec<String>>,
    /// Whether these are all: everything that names depend on could be understood. Of a name that is not among them
    /// nothing can be said otherwise.
    pub(super) whole: bool,
}

/// A node as far as its name tells.
#[derive(Debug)]
pub(super) struct Outline<'s> {
    pub(super) name: String,
    /// `None` where it could not be understood.
    pub(super) runtime: Option<RuntimeKind>,
    pub(super) origin: Origin<'s>,
}

/// Where a node comes from.
#[derive(Debug)]
pub(super) enum Origin<'s> {
    /// The service.
    Role(RoleNode),
    /// A program, by the name it has in the scenario.
    Program(&'s str, &'s Program),
}

impl Outline<'_> {
    /// Its role, where it is one of the service.
    pub(super) fn role(&self) -> Option<&str> {
        match &self.origin {
            Origin::Role(node) => Some(node.role),
            Origin::Program(..) => None,
        }
    }

    /// Whether it is not started with the others.
    pub(super) fn standby(&self) -> bool {
        matches!(&self.origin, Origin::Role(node) if node.standby)
    }
}

impl<'s> Layout<'s> {
    /// Expands the system, and adds the problems of its names. Where a number could not be understood there is one of them
    /// at least.
    pub(super) fn of(
        system: &'s System,
        loads: &Entries<Load>,
        runtime: Option<RuntimeKind>,
        problems: &mut Vec<Diagnostic>,
    ) -> Self {
        let programs = Programs::new(&system.nodes);
        programs.check_waits(problems);
        too_many(system.service.as_ref(), problems);
        if runtime == Some(RuntimeKind::Embedded) && system.service.is_none() {
            for (name, _) in system.nodes.iter() {
                problems.push(
                    Diagnostic::error(name.span, "a program cannot run in the embedded runtime")
                        .help("use `runtime: process`"),
                );
            }
        }
        let mut layout = Self {
            nodes: Vec::new(),
            links: Vec::new(),
            entries: Vec::new(),
            own_entries: Vec::new(),
            whole: names_are_understood(system, loads),
        };
        let service = system.service.as_ref();
        let preset = service.and_then(|service| layout.add_service(service, runtime, problems));
        layout.add_programs(&programs, problems);
        let names = layout.names();
        for (edge, _) in system.links.iter() {
            let links = programs.edges(edge, &names, problems);
            layout.links.extend(links);
        }
        let entered = match &system.entry {
            Some(entry) => doors(entry, &programs, &names, problems),
            None => usual_door(system, preset, &names, problems)
                .into_iter()
                .collect(),
        };
        layout.entries = layout.enter(&entered);
        for (_, load) in loads.iter() {
            let own = load.entry.iter();
            let own: Vec<_> = own
                .flat_map(|entry| doors(entry, &programs, &names, problems))
                .collect();
            let own = layout.enter(&own);
            layout.own_entries.push(own);
        }
        layout
    }

    /// Names of the nodes.
    pub(super) fn names(&self) -> Names {
        let known = self.nodes.iter().map(|node| node.name.clone()).collect();
        Names::new(known, self.whole)
    }

    /// What is known of the system.
    pub(super) fn sut(&self) -> &'static dyn Sut {
        match self.nodes.iter().any(|node| node.role().is_some()) {
            true => sut::SERVICE.sut(),
            false => sut::SutKind::Programs.sut(),
        }
    }

    /// The nodes and links of the service, and the node that load enters it through.
    fn add_service(
        &mut self,
        service: &Service,
        runtime: Option<RuntimeKind>,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<String> {
        let preset = sut::SERVICE.sut().preset()?;
        let topology = preset.expand(&Wanted {
            count: &|role| {
                let count = service.count(role).and_then(Written::known);
                count.map_or(1, |count| count.get().min(MOST_NODES))
            },
            config: &|node| service_config(service, node),
            most: MOST_NODES,
        });
        let nodes = topology.nodes.into_iter().map(|node| Outline {
            name: node.name.clone(),
            runtime,
            origin: Origin::Role(node),
        });
        self.nodes.extend(nodes);
        let names = self.names();
        problems.extend(
            service
                .nodes
                .iter()
                .filter_map(|(name, _)| names.unknown(name)),
        );
        let links = topology.links.into_iter();
        self.links
            .extend(links.map(|(from, to)| LinkPlan::between(&from, &to)));
        Some(topology.entry)
    }

    fn add_programs(&mut self, programs: &Programs<'s>, problems: &mut Vec<Diagnostic>) {
        for (name, program) in programs.iter() {
            if self.nodes.iter().any(|node| node.name == name.value) {
                problems.push(
                    Diagnostic::error(
                        name.span,
                        format!("the service has a node `{}`", name.value),
                    )
                    .help("give the program another name"),
                );
                continue;
            }
            let replicas = programs.replicas(&name.value);
            self.nodes
                .extend(replicas.into_iter().map(|replica| Outline {
                    name: replica,
                    // Whatever is said of the service: there is no other way to run a program.
                    runtime: Some(RuntimeKind::Process),
                    origin: Origin::Program(&name.value, program),
                }));
        }
    }

    /// The links from the load generator to these nodes; made where there are none.
    fn enter(&mut self, nodes: &[String]) -> Vec<String> {
        let enter = |node: &String| {
            let name = link_name(CLIENT, node);
            if !self.links.iter().any(|link| link.name == name) {
                let mut links = self.links.iter();
                let made = links.position(|link| link.from != CLIENT);
                let made = made.unwrap_or(self.links.len());
                self.links.insert(made, LinkPlan::between(CLIENT, node));
            }
            name
        };
        nodes.iter().map(enter).collect()
    }
}

/// Whether everything that names of nodes and links depend on could be understood.
fn names_are_understood(system: &System, loads: &Entries<Load>) -> bool {
    let of_the_service = system.service.as_ref().is_none_or(|service| {
        let mut counts = sut::SERVICE.sut().roles().iter();
        counts.all(|role| service.count(role.name).is_none_or(is_known))
            && service.config.understood()
            && service.nodes.iter().all(|(_, own)| is_known(own))
    });
    let mut programs = system.nodes.iter();
    let mut loads = loads.iter();
    of_the_service
        && programs.all(|(_, program)| program.replicas.understood())
        && system.entry.understood()
        && loads.all(|(_, load)| load.entry.understood())
}

fn is_known<T>(written: &Written<T>) -> bool {
    written.known().is_some()
}

fn too_many(service: Option<&Service>, problems: &mut Vec<Diagnostic>) {
    let roles = sut::SERVICE.sut().roles().iter();
    let counts = roles.filter_map(|role| service?.count(role.name)?.placed());
    for count in counts.filter(|count| count.value.get() > MOST_NODES) {
        problems.push(
            Diagnostic::error(count.span, format!("{} is too many", count.value.get()))
                .help(format!("at most {MOST_NODES} of a role")),
        );
    }
}

/// The configuration of one node of the service: what is said for all, with what is said for it.
fn service_config(service: &Service, name: &str) -> serde_json::Map<String, serde_json::Value> {
    let shared = service.config.known().map(|all| all.node.clone());
    let own = service.nodes.get(name).and_then(Written::known);
    let own = own.map(|own| own.node.clone());
    let joined = match (shared, own) {
        (Some(shared), Some(own)) => Some(shared.merged(&own)),
        (shared, own) => own.or(shared),
    };
    match joined.map(|node| node.to_json()) {
        Some(serde_json::Value::Object(config)) => config,
        _ => serde_json::Map::new(),
    }
}

/// Nodes that load enters through: one by name, or all that a pattern with `*` fits.
fn doors(
    entry: &Written<String>,
    programs: &Programs<'_>,
    names: &Names,
    problems: &mut Vec<Diagnostic>,
) -> Vec<String> {
    let Some(entry) = entry.placed() else {
        return Vec::new();
    };
    let entry = Spanned::new(entry.value.clone(), entry.span);
    let replicas = programs.replicas(&entry.value);
    let pattern = replicas.first().unwrap_or(&entry.value);
    let fitting = names.fitting(pattern);
    if fitting.is_empty() {
        problems.extend(names.unknown(&entry));
    }
    fitting
}

/// Where load enters when nothing is said: where the service says, or the only program.
fn usual_door(
    system: &System,
    preset: Option<String>,
    names: &Names,
    problems: &mut Vec<Diagnostic>,
) -> Option<String> {
    if preset.is_some() {
        return preset;
    }
    match names.known() {
        // The whole block is missing; that has been said.
        [] if !system.complete => None,
        [] => {
            problems.push(
                Diagnostic::error(system.span, "the system has no nodes").help(format!(
                    "add `service: {{}}` for {}, or programs under `nodes:`",
                    sut::SERVICE.sut().title()
                )),
            );
            None
        }
        [first, ..] if system.nodes.0.len() == 1 => Some(first.clone()),
        _ if !system.complete => None,
        _ => {
            problems.push(
                Diagnostic::error(system.span, "`entry` is missing").help(format!(
                    "add the node that the load enters through: entry: {}",
                    system
                        .nodes
                        .0
                        .last()
                        .map_or("NODE", |(name, _)| name.value.as_str())
                )),
            );
            None
        }
    }
}
