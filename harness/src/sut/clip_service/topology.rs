//! Nodes of the clip service and the links between them.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{GATEWAY, PROCESSOR, REGISTRY};
use crate::sut::{CLIENT, RoleNode, Topology, Wanted};

const READY_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn expand(wanted: &Wanted<'_>) -> Topology {
    let gateways = (wanted.count)(GATEWAY);
    let entry = name(GATEWAY, 1);
    let (processors, most) = scaled(
        (wanted.count)(PROCESSOR),
        &(wanted.config)(&entry),
        wanted.most,
    );
    Topology {
        nodes: nodes(gateways, processors, most, wanted.config),
        links: links(gateways, most),
        entry,
    }
}

/// In the order they are started; the registry is ready before anything that asks it. Of `most` processors the first
/// `processors` are there from the start.
fn nodes(
    gateways: usize,
    processors: usize,
    most: usize,
    config: &dyn Fn(&str) -> Map<String, Value>,
) -> Vec<RoleNode> {
    let node = |role, name: String, wave, standby| RoleNode {
        role,
        config: config(&name),
        name,
        wave,
        ready: "/ready",
        within: READY_WITHIN,
        standby,
    };
    let mut nodes = vec![node(REGISTRY, name(REGISTRY, 1), 0, false)];
    let processors = names(PROCESSOR, most)
        .enumerate()
        .map(|(index, name)| node(PROCESSOR, name, 1, index >= processors));
    nodes.extend(processors);
    nodes.extend(names(GATEWAY, gateways).map(|name| node(GATEWAY, name, 1, false)));
    nodes
}

/// Every edge: in from the client, to each processor, and to the registry.
fn links(gateways: usize, processors: usize) -> Vec<(String, String)> {
    let registry = name(REGISTRY, 1);
    let mut links = Vec::new();
    for gateway in names(GATEWAY, gateways) {
        links.push((CLIENT.to_owned(), gateway.clone()));
        links.extend(names(PROCESSOR, processors).map(|processor| (gateway.clone(), processor)));
        links.push((gateway, registry.clone()));
    }
    links.extend(names(PROCESSOR, processors).map(|processor| (processor, registry.clone())));
    links
}

/// With how many processors the service begins, and how many there may be, by its configuration's `scale`.
fn scaled(processors: usize, config: &Map<String, Value>, limit: usize) -> (usize, usize) {
    let bound = |key: &str| {
        let count = config.get("scale")?.get(key)?.as_u64()?;
        usize::try_from(count).ok()
    };
    let min = bound("min").unwrap_or(1).clamp(1, limit);
    match bound("max") {
        Some(max) if max > min => {
            let max = max.min(limit);
            (processors.clamp(min, max), max)
        }
        _ => (processors, processors),
    }
}

fn name(role: &str, number: usize) -> String {
    format!("{role}-{number}")
}

fn names(role: &str, count: usize) -> impl Iterator<Item = String> {
    (1..=count).map(move |number| name(role, number))
}
