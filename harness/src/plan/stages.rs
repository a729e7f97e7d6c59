//! What can be asked of a plan beyond its fields: named stages and entries.

use std::time::Duration;

use super::{LoadModel, LoadPlan, Plan};

/// A named stretch of a load's time, counted from the start of load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStage<'p> {
    /// Its name.
    pub name: &'p str,
    /// The load it was named in.
    pub load: &'p str,
    /// Its start.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
}

impl Plan {
    /// Every named stage, in the order of the loads and of time.
    #[must_use]
    pub fn stages(&self) -> Vec<NamedStage<'_>> {
        let mut named: Vec<NamedStage<'_>> = Vec::new();
        for load in &self.load {
            let LoadModel::Arrivals { stages, .. } = &load.model else {
                continue;
            };
            let mut from = Duration::ZERO;
            for stage in stages {
                let to = from + stage.length.get();
                if let Some(name) = &stage.name {
                    match named.last_mut() {
                        Some(last) if last.name == name && last.load == load.name => last.to = to,
                        _ => named.push(NamedStage {
                            name,
                            load: &load.name,
                            from,
                            to,
                        }),
                    }
                }
                from = to;
            }
        }
        named
    }

    /// Names of the links that a load enters through.
    #[must_use]
    pub fn entries<'p>(&'p self, load: &'p LoadPlan) -> &'p [String] {
        match (load.entries.as_slice(), self.system.entries.as_slice()) {
            ([], []) => std::slice::from_ref(&self.system.entry),
            ([], system) => system,
            (own, _) => own,
        }
    }
}
