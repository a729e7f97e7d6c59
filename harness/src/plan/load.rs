//! Loads of a plan: stages, defaults, and the fixtures their steps use.

use clip_service::units::HumanDuration;

use super::{LoadModel, LoadPlan, RateStage, Shape, StepPlan};
use crate::scenario::model::{Arrivals, Load, StageText, Users};
use crate::scenario::read::{Entries, Spanned};
use crate::scenario::stages::step_rates;
use crate::scenario::template::{Call, Template};

const DEFAULT_TIMEOUT: HumanDuration = HumanDuration::secs(5);
const DEFAULT_IN_FLIGHT: usize = 1000;

/// Resolves every load. `scale` multiplies rates and counts of users.
pub(super) fn resolve(loads: &Entries<Load>, scale: f64) -> Vec<LoadPlan> {
    let longest_open = loads
        .iter()
        .filter_map(|(_, load)| load.arrivals.as_ref())
        .map(|arrivals| {
            stages(arrivals, scale)
                .iter()
                .map(|stage| stage.length.get())
                .sum()
        })
        .max()
        .map(HumanDuration);
    loads
        .iter()
        .map(|(name, load)| LoadPlan {
            name: name.value.clone(),
            model: match (&load.arrivals, &load.users) {
                (_, Some(users)) => closed(users, longest_open, scale),
                (arrivals, None) => open(arrivals.as_ref(), scale),
            },
            entries: Vec::new(),
            timeout: or(&load.timeout, DEFAULT_TIMEOUT),
            steps: load.steps.iter().map(StepPlan::new).collect(),
        })
        .collect()
}

fn or<T: Copy>(given: &Option<Spanned<T>>, default: T) -> T {
    given.as_ref().map_or(default, |given| given.value)
}

fn open(arrivals: Option<&Arrivals>, scale: f64) -> LoadModel {
    LoadModel::Arrivals {
        shape: arrivals.map_or(Shape::Even, |arrivals| or(&arrivals.shape, Shape::Even)),
        stages: arrivals
            .map(|arrivals| stages(arrivals, scale))
            .unwrap_or_default(),
        max_in_flight: arrivals
            .and_then(|arrivals| arrivals.max_in_flight.as_ref())
            .map_or(DEFAULT_IN_FLIGHT, |count| count.value.get()),
    }
}

fn stages(arrivals: &Arrivals, scale: f64) -> Vec<RateStage> {
    let mut reached = arrivals
        .rate
        .as_ref()
        .map_or(0.0, |rate| rate.value.0 * scale);
    if arrivals.stages.is_empty() {
        return vec![RateStage {
            from: reached,
            to: reached,
            length: or(&arrivals.r#for, HumanDuration::default()),
            name: None,
        }];
    }
    let mut all = Vec::new();
    for stage in &arrivals.stages {
        let name = stage.name.as_ref().map(|name| name.value.0.clone());
        for (from, to, length) in stretches(stage, reached, scale) {
            reached = to;
            all.push(RateStage {
                from,
                to,
                length,
                name: name.clone(),
            });
        }
    }
    all
}

/// The straight lines that a stage is made of, when the rate reached so far is this.
fn stretches(stage: &StageText, reached: f64, scale: f64) -> Vec<(f64, f64, HumanDuration)> {
    if let (Some(steps), Some(by)) = (&stage.steps, &stage.by) {
        let each = or(&stage.each, HumanDuration::default());
        // What does not lead from one rate to the other was refused where the file was read.
        let rates = step_rates(steps.value.0, steps.value.1, by.value.0).unwrap_or_default();
        return rates
            .into_iter()
            .map(|rate| (rate * scale, rate * scale, each))
            .collect();
    }
    vec![match (&stage.ramp, &stage.rate) {
        (Some(ramp), _) => (
            ramp.value.0 * scale,
            ramp.value.1 * scale,
            or(&stage.over, HumanDuration::default()),
        ),
        (None, rate) => {
            let rate = rate.as_ref().map_or(reached, |rate| rate.value.0 * scale);
            (rate, rate, or(&stage.hold, HumanDuration::default()))
        }
    }]
}

fn closed(users: &Users, longest_open: Option<HumanDuration>, scale: f64) -> LoadModel {
    let think = users
        .think
        .as_ref()
        .map(|think| (think.value.0, think.value.1));
    LoadModel::Users {
        count: ((users.count.value.get() as f64 * scale).round() as usize).max(1),
        think: think.unwrap_or_default(),
        ramp_up: or(&users.ramp_up, HumanDuration::default()),
        stay: or(&users.r#for, longest_open.unwrap_or_default()),
    }
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
