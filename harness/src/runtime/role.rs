//! Nodes that have a role of a system that the harness knows: the system says how it is started.

use super::{NodeContext, RuntimeError};
use crate::plan::{NodePlan, NodeStart};
use crate::sut::SutKind;
use crate::sut::acting::{Acting, Body, CommandLine, Place, acting};

/// The command that runs the role as a child process.
pub(super) fn command(
    system: SutKind,
    plan: &NodePlan,
    context: &NodeContext,
) -> Result<CommandLine, RuntimeError> {
    started(system, plan, context, <dyn Acting>::command)
}

/// The tasks that run the role in this process.
pub(super) fn body(
    system: SutKind,
    plan: &NodePlan,
    context: &NodeContext,
) -> Result<Body, RuntimeError> {
    started(system, plan, context, <dyn Acting>::body)
}

fn started<T>(
    system: SutKind,
    plan: &NodePlan,
    context: &NodeContext,
    how: impl FnOnce(&'static dyn Acting, &Place<'_>) -> Result<T, String>,
) -> Result<T, RuntimeError> {
    let failed = |reason: String| RuntimeError::Start {
        node: plan.name.clone(),
        reason,
    };
    let NodeStart::Service { role, config, .. } = &plan.start else {
        return Err(failed("it has no role".to_owned()));
    };
    let acting =
        acting(system).ok_or_else(|| failed(format!("{} has no roles", system.sut().title())))?;
    let place = Place {
        node: &plan.name,
        role,
        config,
        data: &context.data,
        routes: context.routes.get(&plan.name),
    };
    how(acting, &place).map_err(failed)
}
