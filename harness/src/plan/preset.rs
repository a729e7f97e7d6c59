//! The clip service as a preset: its nodes, the links between them, and how its accepted work is read back.

use clip_service::units::HumanDuration;

use super::{
    LedgerRead, LinkPlan, NodePlan, NodeStart, ReadyPlan, ResultsRead, ServiceRole, link_name,
};
use crate::scenario::JsonPath;

/// Name the load generator has on links.
pub(super) const CLIENT: &str = "client";

/// Nodes in the order they are started; the registry is ready before anything that asks it. Of `most` processors the
/// first `processors` are there from the start.
pub(super) fn nodes(
    gateways: usize,
    processors: usize,
    most: usize,
    config: &dyn Fn(&str) -> serde_json::Map<String, serde_json::Value>,
) -> Vec<NodePlan> {
    let node = |role, name: String, wave, standby| NodePlan {
        start: NodeStart::Service {
            role,
            config: config(&name),
        },
        name,
        wave,
        ready: ReadyPlan {
            path: "/ready".to_owned(),
            status: 200,
            within: HumanDuration::secs(20),
        },
        standby,
    };
    let mut nodes = vec![node(
        ServiceRole::Registry,
        "registry-1".to_owned(),
        0,
        false,
    )];
    let processors = names("processor", most)
        .enumerate()
        .map(|(index, name)| node(ServiceRole::Processor, name, 1, index >= processors));
    nodes.extend(processors);
    nodes.extend(names("gateway", gateways).map(|name| node(ServiceRole::Gateway, name, 1, false)));
    nodes
}

/// Every edge: in from the client, to each processor, and to the registry.
pub(super) fn links(gateways: usize, processors: usize) -> Vec<LinkPlan> {
    let link = |from: &str, to: &str| LinkPlan {
        name: link_name(from, to),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let mut links = Vec::new();
    for gateway in names("gateway", gateways) {
        links.push(link(CLIENT, &gateway));
        links.extend(names("processor", processors).map(|processor| link(&gateway, &processor)));
        links.push(link(&gateway, "registry-1"));
    }
    links.extend(names("processor", processors).map(|processor| link(&processor, "registry-1")));
    links
}

/// Where load enters.
pub(super) const ENTRY: &str = "gateway-1";

/// How the state of a job is read.
pub(super) fn ledger_read() -> LedgerRead {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    LedgerRead {
        get: "/api/v1/jobs/{id}".to_owned(),
        state: JsonPath::field("status"),
        done: words(&["completed", "completed_with_warnings"]),
        failed: words(&["failed", "cancelled"]),
        results: Some(ResultsRead {
            get: "/api/v1/jobs/{id}/clips".to_owned(),
            items: JsonPath::field("clips"),
            url: JsonPath::field("download_url"),
            rank: JsonPath::field("rank"),
        }),
    }
}

fn names(role: &str, count: usize) -> impl Iterator<Item = String> {
    (1..=count).map(move |number| format!("{role}-{number}"))
}
