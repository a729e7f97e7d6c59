//! What must hold after any schedule. Pure: looks at what was seen and says what is wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use clip_service::config::Config;
use clip_service::model::JobStatus;
use clip_service::observe::Transition;
use serde_json::Value;

use super::client::{CLIPS, Outcome, Seen};
use super::schedule::{GATEWAYS, PROCESSORS, Schedule};
use super::store::Ledger;

/// The retry budget looks back over this long, and at least so much of it is always counted.
const BUDGET_WINDOW: f64 = 10.0;
const BUDGET_LEAST: f64 = 9.0;
/// Of each kind of breach at most so many are told one by one.
const TOLD: usize = 4;

/// Everything a run left behind.
pub(super) struct Evidence<'a> {
    pub(super) schedule: &'a Schedule,
    /// The settings that the system was meant to have.
    pub(super) config: &'a Config,
    pub(super) seen: &'a Seen,
    pub(super) ledger: &'a Ledger,
    /// What breakers did, and which gateways forgot them: one that dies takes its breakers with it.
    pub(super) moves: &'a [(Duration, Transition)],
    pub(super) deaths: &'a [(Duration, &'static str)],
    pub(super) ended: Duration,
}

/// All that is wrong, each in one sentence.
pub(super) fn breaches(evidence: &Evidence<'_>) -> Vec<String> {
    let checks: [fn(&Evidence<'_>) -> Vec<String>; 7] = [
        no_job_is_lost,
        no_job_is_done_twice,
        nothing_is_answered_wrongly,
        the_tail_is_quiet,
        every_pool_is_healed,
        no_breaker_is_stuck,
        budgets_are_kept,
    ];
    let mut all = Vec::new();
    for check in checks {
        let mut found = check(evidence);
        let more = found.len().saturating_sub(TOLD);
        found.truncate(TOLD);
        if more > 0
            && let Some(last) = found.last_mut()
        {
            last.push_str(&format!(" (and {more} more like it)"));
        }
        all.extend(found);
    }
    all
}

fn no_job_is_lost(evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for job in &evidence.seen.accepted {
        let Some((stored, ..)) = &job.stored else {
            wrong.push(format!(
                "job lost: {} ({}) was accepted and is not stored",
                job.id, job.key
            ));
            continue;
        };
        if stored.status != JobStatus::Completed {
            let why = match &stored.error {
                Some(error) => format!(" ({error})"),
                None => String::new(),
            };
            let status = stored.status.as_str();
            wrong.push(format!(
                "job lost: {} ({}) is {status}{why}",
                job.id, job.key
            ));
        } else if job.said.as_deref() != Some("completed") {
            wrong.push(format!(
                "job lost: {} ({}) is completed, but the API said {:?}",
                job.id, job.key, job.said
            ));
        }
    }
    wrong
}

fn no_job_is_done_twice(evidence: &Evidence<'_>) -> Vec<String> {
    let ledger = evidence.ledger.wrong.iter();
    let mut wrong: Vec<String> = ledger.map(|text| format!("done twice: {text}")).collect();
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, id) in &evidence.seen.stored {
        by_key.entry(key).or_default().push(id);
    }
    for (key, ids) in by_key.iter().filter(|(_, ids)| ids.len() > 1) {
        wrong.push(format!("done twice: key {key} made {}", ids.join(" and ")));
    }
    for job in &evidence.seen.accepted {
        let Some((stored, clips, files)) = &job.stored else {
            continue;
        };
        wrong.extend(
            files
                .iter()
                .map(|text| format!("clip broken: {}: {text}", job.id)),
        );
        if stored.status != JobStatus::Completed {
            continue;
        }
        let ranks: Vec<u32> = clips.iter().map(|clip| clip.rank).collect();
        let expected: Vec<u32> = (0_u32..).take(CLIPS).collect();
        if ranks != expected {
            wrong.push(format!(
                "done twice: {} has clips of ranks {ranks:?}",
                job.id
            ));
        }
    }
    wrong
}

fn nothing_is_answered_wrongly(evidence: &Evidence<'_>) -> Vec<String> {
    let requests = evidence.seen.requests.iter();
    requests
        .filter_map(|request| match &request.outcome {
            Outcome::Wrong(answer) => Some(format!(
                "wrong answer: {} at {:.3} s: {answer}",
                request.what,
                request.due.as_secs_f64()
            )),
            _ => None,
        })
        .collect()
}

fn the_tail_is_quiet(evidence: &Evidence<'_>) -> Vec<String> {
    let tail = evidence.schedule.settled();
    let requests = evidence.seen.requests.iter();
    let mut asked = 0;
    let mut wrong: Vec<String> = requests
        .filter(|request| request.due >= tail)
        .inspect(|_| asked += 1)
        .filter(|request| request.outcome != Outcome::Right)
        .map(|request| {
            let at = request.due.as_secs_f64();
            format!(
                "not recovered: {} at {at:.3} s: {:?}",
                request.what, request.outcome
            )
        })
        .collect();
    if asked == 0 {
        wrong.push("not recovered: nothing was asked in the quiet tail".to_owned());
    }
    wrong
}

fn every_pool_is_healed(evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (gateway, view) in &evidence.seen.upstreams {
        let Some(view) = view else {
            wrong.push(format!(
                "pool not healed: {gateway} does not say how its pool is"
            ));
            continue;
        };
        let instances = view.get("instances").and_then(Value::as_array);
        let instances = instances.map(Vec::as_slice).unwrap_or_default();
        for name in PROCESSORS {
            let text = |instance: &Value, key: &str| {
                let value = instance.get(key).and_then(Value::as_str);
                value.unwrap_or_default().to_owned()
            };
            let mut found = instances.iter().filter(|it| text(it, "name") == name);
            let Some(instance) = found.next() else {
                wrong.push(format!("pool not healed: {gateway} does not know {name}"));
                continue;
            };
            let (status, breaker) = (text(instance, "status"), text(instance, "breaker"));
            let suspect = instance.get("suspect").and_then(Value::as_bool) == Some(true);
            if status != "passing" || breaker != "closed" || suspect || found.next().is_some() {
                wrong.push(format!("pool not healed: {gateway} sees {instance}"));
            }
            if instance.get("in_flight").and_then(Value::as_u64) != Some(0) {
                wrong.push(format!("in flight for ever: {gateway} sees {instance}"));
            }
        }
    }
    wrong
}

fn no_breaker_is_stuck(evidence: &Evidence<'_>) -> Vec<String> {
    let bound = evidence.schedule.settled();
    let mut open: BTreeMap<(&str, &str), Duration> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut deaths = evidence.deaths.iter().peekable();
    for (at, moved) in evidence.moves {
        while let Some((_, host)) = deaths.next_if(|(died, _)| died <= at) {
            open.retain(|(source, _), _| source != host);
        }
        let breaker = (moved.source.as_str(), moved.name.as_str());
        if moved.to != "closed" {
            open.entry(breaker).or_insert(*at);
        } else if let Some(since) = open.remove(&breaker)
            && *at > bound
        {
            wrong.push(late(breaker, since, *at, "and closed at"));
        }
    }
    for (_, host) in deaths {
        open.retain(|(source, _), _| source != host);
    }
    for (breaker, since) in open {
        wrong.push(late(
            breaker,
            since,
            evidence.ended,
            "and still at the end, at",
        ));
    }
    wrong
}

fn late((gateway, name): (&str, &str), since: Duration, at: Duration, how: &str) -> String {
    let (since, at) = (since.as_secs_f64(), at.as_secs_f64());
    format!("breaker stuck: {name} at {gateway} not closed since {since:.3} s {how} {at:.3} s")
}

fn budgets_are_kept(evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let retry = &evidence.config.retry;
    for (gateway, view) in &evidence.seen.upstreams {
        let Some(totals) = view.as_ref().and_then(|view| view.get("totals")) else {
            continue;
        };
        let count = |key: &str| totals.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let (calls, tries) = (count("calls"), count("tries"));
        let (retries, hedges) = (count("retries"), count("hedges"));
        let windows = (evidence.ended.as_secs_f64() / BUDGET_LEAST).ceil();
        let reserve = f64::from(retry.min_per_second) * BUDGET_WINDOW * windows;
        let allowed = retry.budget_ratio * calls * 1.001 + reserve;
        if retries > allowed {
            wrong.push(format!(
                "budget exceeded: {gateway} made {retries} retries of {calls} calls, {allowed:.0} are allowed"
            ));
        }
        if tries > calls + retries + hedges {
            wrong.push(format!(
                "budget exceeded: {gateway} made {tries} tries for {calls} calls, {retries} retries and {hedges} hedges"
            ));
        }
        let most = f64::from(retry.max) + 1.0;
        if tries - hedges > calls * most {
            wrong.push(format!(
                "budget exceeded: {gateway} made {tries} tries for {calls} calls, at most {most} each"
            ));
        }
    }
    let expected = GATEWAYS.len();
    let counted = evidence.seen.upstreams.iter().filter(|(_, v)| v.is_some());
    if counted.count() != expected && wrong.is_empty() {
        wrong.push("budget unknown: a gateway did not give its counts".to_owned());
    }
    wrong
}
