//! Loads of a plan: how work arrives, stages, defaults, and the fixtures that steps use.

use std::time::Duration;

use clip_service::units::HumanDuration;
use serde::{Deserialize, Serialize};

use super::{Shape, StepPlan};
use crate::scenario::model::{Arrivals, Load, StageText, Users};
use crate::scenario::stages::step_rates;
use crate::scenario::template::{Call, Template};
use crate::scenario::value::{DurationRange, RateRange};
use crate::scenario::{Entries, OptionalKey as _};

const DEFAULT_TIMEOUT: HumanDuration = HumanDuration::secs(5);
const DEFAULT_IN_FLIGHT: usize = 1000;

/// One load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Name, the first part of its metrics (`frames`).
    pub name: String,
    /// How work arrives.
    pub model: LoadModel,
    /// Names of the links that it enters through, which take turns; empty: those of the system.
    #[serde(default)]
    pub entries: Vec<String>,
    /// A request not answered by then has failed. Per step.
    pub timeout: HumanDuration,
    /// Done in order by each arrival or user.
    pub steps: Vec<StepPlan>,
}

/// How work arrives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadModel {
    /// Open: whether or not the system keeps up.
    Arrivals {
        /// How arrivals are spaced.
        shape: Shape,
        /// Rate over time.
        stages: Vec<RateStage>,
        /// Arrivals that may be under way at once; further ones wait and fail when they have waited their timeout.
        max_in_flight: usize,
    },
    /// Closed: so many users, each thinking between rounds.
    Users {
        /// How many.
        count: usize,
        /// Shortest and longest pause between rounds.
        think: (HumanDuration, HumanDuration),
        /// Time over which they start.
        ramp_up: HumanDuration,
        /// How long they stay, ramp-up included.
        stay: HumanDuration,
    },
}

/// Rate over a stretch of time: a straight line from `from` to `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateStage {
    /// Arrivals per second at its start.
    pub from: f64,
    /// Arrivals per second at its end.
    pub to: f64,
    /// Its length.
    pub length: HumanDuration,
    /// Its name; stages that follow each other under one name are one stretch of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Requests under way beyond those that a steady stream of slowest answers would take, for bursts.
const SPARE: f64 = 10.0;
const BURST: f64 = 1.5;

impl LoadPlan {
    /// Most arrivals or users that can be under way at once. Every request ends at its timeout, so no more than the peak
    /// rate times that can be.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        match &self.model {
            LoadModel::Arrivals {
                stages,
                max_in_flight,
                ..
            } => {
                let steps = self.steps.len() as f64;
                let rates = stages.iter().map(|stage| stage.from.max(stage.to));
                let peak = rates.fold(0.0, f64::max);
                let most = peak * self.timeout.get().as_secs_f64() * steps * BURST + SPARE;
                (*max_in_flight).min(most.ceil() as usize).max(1)
            }
            LoadModel::Users { count, .. } => *count,
        }
    }

    /// How long work arrives, from the start of load.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.model.length()
    }
}

impl LoadModel {
    /// How long work arrives, from the start of load.
    #[must_use]
    pub fn length(&self) -> Duration {
        match self {
            Self::Arrivals { stages, .. } => stages.iter().map(|stage| stage.length.get()).sum(),
            Self::Users { stay, .. } => stay.get(),
        }
    }

    /// How long it takes until its rate stops rising for the first time.
    #[must_use]
    pub fn rise(&self) -> Duration {
        match self {
            Self::Arrivals { stages, .. } => stages
                .iter()
                .take_while(|stage| stage.to > stage.from)
                .map(|stage| stage.length.get())
                .sum(),
            Self::Users { ramp_up, .. } => ramp_up.get(),
        }
    }
}

/// A load as far as it could be understood.
pub(super) struct LoadDraft {
    /// How work arrives.
    pub(super) model: Option<LoadModel>,
    /// All of it, but for the links that it enters through.
    pub(super) plan: Option<LoadPlan>,
}

/// Resolves every load. `scale` multiplies rates and counts of users.
pub(super) fn resolve(loads: &Entries<Load>, scale: f64) -> Vec<LoadDraft> {
    // How long the longest one takes, where all are understood and there is any.
    let longest_open = loads
        .iter()
        .filter_map(|(_, load)| load.arrivals.as_ref())
        .map(|arrivals| Some(open(arrivals, scale)?.length()))
        .collect::<Option<Vec<_>>>()
        .and_then(|lengths| lengths.into_iter().max());
    loads
        .iter()
        .map(|(name, load)| {
            let model = match (&load.arrivals, &load.users) {
                (_, Some(users)) => closed(users, longest_open, scale),
                (Some(arrivals), None) => open(arrivals, scale),
                (None, None) => None,
            };
            LoadDraft {
                plan: plan(&name.value, load, model.clone()),
                model,
            }
        })
        .collect()
}

fn plan(name: &str, load: &Load, model: Option<LoadModel>) -> Option<LoadPlan> {
    Some(LoadPlan {
        name: name.to_owned(),
        model: model?,
        entries: Vec::new(),
        timeout: load.timeout.given_or(DEFAULT_TIMEOUT)?,
        steps: load
            .steps
            .iter()
            .map(StepPlan::new)
            .collect::<Option<_>>()?,
    })
}

fn open(arrivals: &Arrivals, scale: f64) -> Option<LoadModel> {
    Some(LoadModel::Arrivals {
        shape: arrivals.shape.given_or(Shape::default())?,
        stages: stages(arrivals, scale)?,
        max_in_flight: match arrivals.max_in_flight.if_given()? {
            Some(count) => count.get(),
            None => DEFAULT_IN_FLIGHT,
        },
    })
}

fn stages(arrivals: &Arrivals, scale: f64) -> Option<Vec<RateStage>> {
    if arrivals.stages.is_empty() {
        let rate = arrivals.rate.known()?.0 * scale;
        return Some(vec![RateStage {
            from: rate,
            to: rate,
            length: *arrivals.r#for.known()?,
            name: None,
        }]);
    }
    let mut reached = arrivals.rate.if_given()?.map_or(0.0, |rate| rate.0 * scale);
    let mut all = Vec::new();
    for stage in &arrivals.stages {
        let name = stage.name.if_given()?.map(|name| name.0.clone());
        for (from, to, length) in stretches(stage, reached, scale)? {
            reached = to;
            all.push(RateStage {
                from,
                to,
                length,
                name: name.clone(),
            });
        }
    }
    Some(all)
}

/// The straight lines that a stage is made of, when the rate reached so far is this.
fn stretches(
    stage: &StageText,
    reached: f64,
    scale: f64,
) -> Option<Vec<(f64, f64, HumanDuration)>> {
    if let Some(steps) = &stage.steps {
        let RateRange(from, to) = *steps.known()?;
        let each = *stage.each.known()?;
        let rates = step_rates(from, to, stage.by.known()?.0).ok()?.into_iter();
        return Some(
            rates
                .map(|rate| (rate * scale, rate * scale, each))
                .collect(),
        );
    }
    if let Some(ramp) = &stage.ramp {
        let RateRange(from, to) = *ramp.known()?;
        return Some(vec![(from * scale, to * scale, *stage.over.known()?)]);
    }
    let rate = stage.rate.if_given()?;
    let rate = rate.map_or(reached, |rate| rate.0 * scale);
    Some(vec![(rate, rate, *stage.hold.known()?)])
}

fn closed(users: &Users, longest_open: Option<Duration>, scale: f64) -> Option<LoadModel> {
    let count = users.count.known()?.get();
    let still = DurationRange(HumanDuration::default(), HumanDuration::default());
    let DurationRange(shortest, longest) = users.think.given_or(still)?;
    Some(LoadModel::Users {
        count: ((count as f64 * scale).round() as usize).max(1),
        think: (shortest, longest),
        ramp_up: users.ramp_up.given_or(HumanDuration::default())?,
        stay: match users.r#for.if_given()? {
            Some(stay) => *stay,
            None => HumanDuration(longest_open?),
        },
    })
}

/// Fixtures that any step uses, in the order first used.
pub(super) fn fixtures(loads: &Entries<Load>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, load) in loads.iter() {
        for step in &load.steps {
            step.templates(|text, _| {
                for call in Template::parse(text).iter().flat_map(Template::calls) {
                    if let Call::Fixture(name) = call
                        && !names.contains(name)
                    {
                        names.push(name.clone());
                    }
                }
            });
        }
    }
    names
}
