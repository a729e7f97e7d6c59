//! The system of a plan: the preset and any other programs, with the links between them.

use clip_service::units::HumanDuration;
use indexmap::IndexMap;

use super::target::{matches, some_of};
use super::{
    ExitRule, LinkPlan, NodePlan, NodeStart, ReadyPlan, RuntimeKind, SystemPlan, link_name,
};
use crate::scenario::Span;
use crate::scenario::diagnostic::{Diagnostic, nearest};
use crate::scenario::model::{Load, Program, Service, System};
use crate::scenario::read::{Entries, Spanned};
use crate::scenario::template::{Call, Part, Template};
use crate::sut::{self, CLIENT, RoleNode, Wanted};

/// More nodes than this on one machine is a typing error.
const MOST_NODES: usize = 100;

/// Expands the system, and says by which links each load enters that has an entry of its own. Problems are added; the
/// result is as good as it can be then.
pub(super) fn expand(
    system: &System,
    loads: &Entries<Load>,
    runtime: RuntimeKind,
    fixtures: Vec<String>,
    problems: &mut Vec<Diagnostic>,
) -> (SystemPlan, Vec<Vec<String>>) {
    let mut nodes = Vec::new();
    let mut links = Vec::new();
    let mut entry = None;
    if let Some(service) = &system.service
        && let Some(preset) = sut::SERVICE.sut().preset()
    {
        let topology = preset.expand(&Wanted {
            count: &|role| counted(service, role),
            config: &|node| service_config(service, node),
            most: MOST_NODES,
        });
        too_many(service, problems);
        let exits = exit_rule(service.exits.as_ref());
        let made = topology.nodes.into_iter();
        nodes.extend(made.map(|node| role_node(node, runtime, exits)));
        let known: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        for (name, _) in service.nodes.iter() {
            if !known.contains(&name.value) {
                problems.push(unknown_node(name, &known));
            }
        }
        let link = |(from, to): (String, String)| LinkPlan {
            name: link_name(&from, &to),
            from,
            to,
        };
        links.extend(topology.links.into_iter().map(link));
        entry = Some(topology.entry);
    }
    let programs = Programs::new(&system.nodes);
    programs.circles(problems);
    for (name, program) in system.nodes.iter() {
        if runtime == RuntimeKind::Embedded && system.service.is_none() {
            problems.push(
                Diagnostic::error(name.span, "a program cannot run in the embedded runtime")
                    .help("use `runtime: process`"),
            );
        }
        if nodes.iter().any(|node: &NodePlan| node.name == name.value) {
            problems.push(
                Diagnostic::error(
                    name.span,
                    format!("the service has a node `{}`", name.value),
                )
                .help("give the program another name"),
            );
            continue;
        }
        nodes.extend(programs.expand(name, program, problems));
    }
    let known: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    for (edge, _) in system.links.iter() {
        links.extend(programs.edges(edge, &known, problems));
    }
    let entered = match &system.entry {
        Some(entry) => doors(entry, &programs, &known, problems),
        None => usual_door(system, entry, &known, problems)
            .into_iter()
            .collect(),
    };
    let entries: Vec<String> = entered
        .iter()
        .map(|node| client_link(node, &mut links))
        .collect();
    let own_entries = loads
        .iter()
        .map(|(_, load)| {
            let own = load.entry.iter();
            own.flat_map(|entry| doors(entry, &programs, &known, problems))
                .map(|node| client_link(&node, &mut links))
                .collect()
        })
        .collect();
    for node in &mut nodes {
        if let NodeStart::Run { command, env } = &mut node.start {
            let written = program_of(&node.name, system);
            for (index, word) in command.iter_mut().enumerate() {
                let word_at = |program: &Program| Some(program.run.known()?.0.get(index)?.span);
                let span = written.and_then(word_at).unwrap_or(system.span);
                *word = resolve_links(&node.name, word, span, &links, problems);
            }
            for (key, value) in env {
                let value_at = |program: &Program| Some(program.env.get(key)?.span);
                let span = written.and_then(value_at).unwrap_or(system.span);
                *value = resolve_links(&node.name, value, span, &links, problems);
            }
        }
    }
    let system = SystemPlan {
        runtime,
        nodes,
        links,
        entry: entries.first().cloned().unwrap_or_default(),
        entries: match entries.len() {
            0 | 1 => Vec::new(),
            _ => entries,
        },
        fixtures,
    };
    (system, own_entries)
}

fn counted(service: &Service, role: &str) -> usize {
    service
        .count(role)
        .map_or(1, |count| count.value.get().min(MOST_NODES))
}

fn too_many(service: &Service, problems: &mut Vec<Diagnostic>) {
    let counts = sut::SERVICE.sut().roles().iter();
    for count in counts.filter_map(|role| service.count(role.name)) {
        if count.value.get() > MOST_NODES {
            problems.push(
                Diagnostic::error(count.span, format!("{} is too many", count.value.get()))
                    .help(format!("at most {MOST_NODES} of a role")),
            );
        }
    }
}

fn role_node(node: RoleNode, runtime: RuntimeKind, exits: ExitRule) -> NodePlan {
    NodePlan {
        name: node.name,
        wave: node.wave,
        start: NodeStart::Service {
            system: sut::SERVICE,
            role: node.role.to_owned(),
            config: node.config,
        },
        ready: ReadyPlan {
            path: node.ready.to_owned(),
            status: 200,
            within: HumanDuration(node.within),
        },
        runtime,
        exits,
        standby: node.standby,
    }
}

fn exit_rule(given: Option<&Spanned<ExitRule>>) -> ExitRule {
    given.map_or(ExitRule::default(), |rule| rule.value)
}

/// The configuration of one node of the service: what is said for all, with what is said for it.
fn service_config(service: &Service, name: &str) -> serde_json::Map<String, serde_json::Value> {
    let shared = service.config.as_ref().and_then(|all| all.node.clone());
    let own = service.nodes.get(name).and_then(|own| own.node.clone());
    let joined = match (shared, own) {
        (Some(shared), Some(own)) => Some(shared.merged(&own)),
        (shared, own) => own.or(shared),
    };
    match joined.map(|node| node.to_json()) {
        Some(serde_json::Value::Object(config)) => config,
        _ => serde_json::Map::new(),
    }
}

/// The link from the load generator to a node; made where there is none.
fn client_link(node: &str, links: &mut Vec<LinkPlan>) -> String {
    let name = link_name(CLIENT, node);
    if !links.iter().any(|link| link.name == name) {
        let made = links.iter().take_while(|link| link.from == CLIENT).count();
        links.insert(
            made,
            LinkPlan {
                name: name.clone(),
                from: CLIENT.to_owned(),
                to: node.to_owned(),
            },
        );
    }
    name
}

/// Nodes that load enters through: one by name, or all that a pattern with `*` fits.
fn doors(
    entry: &Spanned<String>,
    programs: &Programs<'_>,
    known: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Vec<String> {
    if entry.value.contains('*') {
        let fitting: Vec<_> = known
            .iter()
            .filter(|name| matches(&entry.value, name))
            .cloned()
            .collect();
        if fitting.is_empty() && entry.sound {
            problems.push(unknown_node(entry, known));
        }
        return fitting;
    }
    let replicas = programs.replicas(&entry.value);
    let name = replicas.first().unwrap_or(&entry.value);
    if known.contains(name) {
        return vec![name.clone()];
    }
    if entry.sound {
        problems.push(unknown_node(entry, known));
    }
    Vec::new()
}

/// Where load enters when nothing is said: where the service says, or the only program.
fn usual_door(
    system: &System,
    preset: Option<String>,
    known: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Option<String> {
    if preset.is_some() {
        return preset;
    }
    match known {
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
        _ if system.nodes.0.len() == 1 => Some(known[0].clone()),
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

fn unknown_node(name: &Spanned<String>, known: &[String]) -> Diagnostic {
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    Diagnostic::error(
        name.span,
        format!("the system has no node `{}`", name.value),
    )
    .help(match nearest(&name.value, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known: {}", some_of(&known)),
    })
}

/// Programs by name, with the names of their replicas.
struct Programs<'s> {
    by_name: IndexMap<&'s str, (&'s Program, Vec<String>)>,
}

impl<'s> Programs<'s> {
    fn new(programs: &'s Entries<Program>) -> Self {
        let by_name = programs
            .iter()
            .map(|(name, program)| {
                let names = match &program.replicas {
                    None => vec![name.value.clone()],
                    Some(count) => (1..=count.value.get().min(MOST_NODES))
                        .map(|number| format!("{}-{number}", name.value))
                        .collect(),
                };
                (name.value.as_str(), (program, names))
            })
            .collect();
        Self { by_name }
    }

    /// The nodes a name stands for: a program's replicas; nothing for other names.
    fn replicas(&self, name: &str) -> &[String] {
        self.by_name
            .get(name)
            .map_or(&[], |(_, names)| names.as_slice())
    }

    fn expand(
        &self,
        name: &Spanned<String>,
        program: &Program,
        problems: &mut Vec<Diagnostic>,
    ) -> Vec<NodePlan> {
        let wave = self.wave(&name.value, &mut Vec::new()).unwrap_or_default();
        for before in &program.after {
            if before.sound && !self.by_name.contains_key(before.value.as_str()) {
                let known: Vec<_> = self.by_name.keys().map(|name| (*name).to_owned()).collect();
                problems.push(unknown_node(before, &known));
            }
        }
        let ready = match &program.ready {
            Some(ready) => ReadyPlan {
                path: ready.get.value.clone(),
                status: ready.status.as_ref().map_or(200, |status| status.value.0),
                within: ready
                    .within
                    .as_ref()
                    .map_or(HumanDuration::secs(20), |within| within.value),
            },
            None => ReadyPlan {
                path: "/".to_owned(),
                status: 200,
                within: HumanDuration::secs(20),
            },
        };
        let start = NodeStart::Run {
            command: {
                let words = program.run.known().map(|command| command.0.as_slice());
                let words = words.unwrap_or_default().iter();
                words.map(|word| word.value.0.clone()).collect()
            },
            env: program
                .env
                .iter()
                .map(|(key, value)| (key.value.clone(), value.value.0.clone()))
                .collect(),
        };
        self.replicas(&name.value)
            .iter()
            .map(|name| NodePlan {
                name: name.clone(),
                wave,
                start: start.clone(),
                ready: ready.clone(),
                // Whatever is said of the service: there is no other way to run a program.
                runtime: RuntimeKind::Process,
                exits: exit_rule(program.exits.as_ref()),
                standby: false,
            })
            .collect()
    }

    /// Programs that wait for each other would never start. A circle is reported once, at its first member.
    fn circles(&self, problems: &mut Vec<Diagnostic>) {
        let mut reported: Vec<&str> = Vec::new();
        for (name, (program, _)) in &self.by_name {
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
        program.after.iter().any(|before| {
            let before = before.value.as_str();
            if before == name {
                return true;
            }
            let Some((key, (next, _))) = self.by_name.get_key_value(before) else {
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

    /// How many programs deep its waiting goes; `None` in a circle.
    fn wave(&self, name: &str, path: &mut Vec<String>) -> Option<u32> {
        if path.iter().any(|earlier| earlier == name) {
            return None;
        }
        let Some((program, _)) = self.by_name.get(name) else {
            return Some(0);
        };
        path.push(name.to_owned());
        let mut wave = 0;
        for before in &program.after {
            wave = wave.max(self.wave(&before.value, path)? + 1);
        }
        path.pop();
        Some(wave)
    }

    /// The links an edge stands for: one for each pair of replicas.
    fn edges(
        &self,
        edge: &Spanned<String>,
        known: &[String],
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
                return replicas.to_vec();
            }
            if known.iter().any(|node| node == name) || (may_be_client && name == CLIENT) {
                return vec![name.to_owned()];
            }
            problems.push(unknown_node(
                &Spanned {
                    value: name.to_owned(),
                    span: edge.span,
                    sound: true,
                },
                known,
            ));
            Vec::new()
        };
        let (from, to) = (side(from, true), side(to, false));
        from.iter()
            .flat_map(|from| to.iter().map(move |to| (from, to)))
            .map(|(from, to)| LinkPlan {
                name: link_name(from, to),
                from: from.clone(),
                to: to.clone(),
            })
            .collect()
    }
}

/// Turns `$(link.NODE)` into the full name of the link from this node to that one.
fn resolve_links(
    node: &str,
    text: &str,
    span: Span,
    links: &[LinkPlan],
    problems: &mut Vec<Diagnostic>,
) -> String {
    // What is no template has been refused where the file was read.
    let Ok(mut template) = Template::parse(text) else {
        return text.to_owned();
    };
    for part in &mut template.0 {
        let Part::Call(Call::Link(to)) = part else {
            continue;
        };
        let full = link_name(node, to);
        if links.iter().any(|link| link.name == full) {
            *to = full;
        } else if !links.iter().any(|link| link.name == *to) {
            problems.push(
                Diagnostic::error(span, format!("there is no link from {node} to `{to}`"))
                    .help(format!("add `{full}: {{}}` under `links:`")),
            );
        }
    }
    template.to_string()
}

/// The program that a node runs, as it is written.
fn program_of<'s>(node: &str, system: &'s System) -> Option<&'s Program> {
    let is_of = |name: &str| {
        let number = node
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'));
        node == name || number.is_some_and(|number| number.parse::<usize>().is_ok())
    };
    let mut programs = system.nodes.iter();
    programs
        .find(|(name, _)| is_of(&name.value))
        .map(|(_, program)| program)
}
