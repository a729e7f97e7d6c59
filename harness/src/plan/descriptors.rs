//! Whether this machine lets the harness have as many files open as a plan may need. An estimate: a warning, no error.

use super::{LoadModel, LoadPlan, Plan};
use crate::file_limit::FileLimit;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::model::{Document, RuntimeKind};

/// Files that a run has open whatever its plan: its own, logs, the journal, a report.
const ALWAYS: u64 = 100;
/// For each node: its pipes, its log, and probes of it.
const PER_NODE: u64 = 8;
/// For each link: its socket, and some connections that stay open.
const PER_LINK: u64 = 6;
/// For each request under way: the client's socket, and both sides of the link it enters through.
const PER_REQUEST: u64 = 3;
/// The same where the nodes are in this process too: two more links and four more ends.
const PER_REQUEST_EMBEDDED: u64 = 9;

/// Files that the harness may have open at once.
fn needed(plan: &Plan) -> u64 {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let embedded = |node: &super::NodePlan| node.runtime == RuntimeKind::Embedded;
    let per_request = match plan.system.nodes.iter().any(embedded) {
        true => PER_REQUEST_EMBEDDED,
        false => PER_REQUEST,
    };
    let under_way = plan
        .load
        .iter()
        .map(LoadPlan::concurrency)
        .map(count)
        .sum::<u64>();
    let nodes = count(plan.system.nodes.len()).saturating_mul(PER_NODE);
    let links = count(plan.system.links.len()).saturating_mul(PER_LINK);
    under_way
        .saturating_mul(per_request)
        .saturating_add(nodes + links + ALWAYS)
}

/// Warns when the plan may need more than the limit can be raised to; at the load with most requests under way.
pub(super) fn check(document: &Document, plan: &Plan, limit: FileLimit) -> Option<Diagnostic> {
    let needed = needed(plan);
    if needed <= limit.hard {
        return None;
    }
    let largest = plan.load.iter().max_by_key(|load| load.concurrency())?;
    let mut names = document.load.iter().map(|(name, _)| name);
    let span = names.find(|name| name.value == largest.name)?.span;
    let remedy = match largest.model {
        LoadModel::Arrivals { .. } => "lower its `max_in_flight` or its `timeout`",
        LoadModel::Users { .. } => "lower its `count`",
    };
    Some(
        Diagnostic::warning(
            span,
            format!(
                "the run may need {needed} open files, and {} are allowed here",
                limit.hard
            ),
        )
        .help(format!("raise the hard limit (`ulimit -Hn`), or {remedy}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanOptions;
    use crate::scenario::Scenario;

    #[test]
    fn many_requests_under_way_need_many_files() {
        let told = |load: &str, hard| {
            let text = format!(
                "version: 1\nname: many\nsystem: {{ service: {{}} }}\nload:\n  crowd: {load}\nexpect: {{ always: [ crowd.success >= 1% ] }}\n"
            );
            let scenario = Scenario::parse("many.yaml", &text).expect("sound");
            let plan = Plan::new(&scenario, &PlanOptions::default()).expect("a plan");
            let limit = FileLimit { soft: 64, hard };
            check(&scenario.document, &plan, limit).map(|warning| warning.message)
        };
        let open = "{ arrivals: { rate: 1000/s, for: 10s, max_in_flight: 2000 }, timeout: 5s, steps: [ { get: / } ] }";
        assert_eq!(told(open, 100_000), None);
        let warned = told(open, 4096).expect("2000 requests need 6000 files");
        assert!(warned.ends_with(", and 4096 are allowed here"), "{warned}");
        let calm = "{ arrivals: { rate: 10/s, for: 10s, max_in_flight: 2000 }, timeout: 5s, steps: [ { get: / } ] }";
        assert_eq!(told(calm, 1024), None, "no more than 85 can be under way");
        let users = "{ users: { count: 500, for: 10s }, steps: [ { get: / } ] }";
        assert!(told(users, 1024).is_some());
    }
}
