//! Whether this machine offers what a plan needs. Looked at before anything starts: a scenario that cannot run here is
//! skipped with the reason, which is neither a failure of the system nor a pass.

use crate::plan::{Need, Plan};
use crate::procfs;
use crate::sut::acting::acting;

/// The needs of a plan that this machine does not meet, each with the reason.
#[must_use]
pub fn missing(plan: &Plan) -> Vec<(Need, String)> {
    let needs = plan.needs().into_iter();
    needs
        .filter_map(|need| Some((need, probe(need).err()?)))
        .collect()
}

fn probe(need: Need) -> Result<(), String> {
    match need {
        Need::Processes => match procfs::available() {
            true => Ok(()),
            false => Err("this system has no /proc to find processes in".to_owned()),
        },
        Need::Program(system) => match acting(system) {
            Some(acting) => acting.present(),
            None => Ok(()),
        },
    }
}
