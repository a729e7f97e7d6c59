//! `latency`: bytes on a link are held back. Undone by letting them go; proved by the chunks that were held and for how
//! long.

use futures_util::future::BoxFuture;

use super::{Active, FaultError, Injected, Testbed, Undone, held_back};
use crate::plan::{LatencySpec, Way};

#[derive(Debug)]
struct Slow {
    link: String,
}

pub(super) fn inject(
    spec: &LatencySpec,
    link: &str,
    testbed: &Testbed,
) -> Result<Injected, FaultError> {
    testbed.links.get(link)?.set_latency(Some(spec.clone()));
    let way = match spec.way {
        Way::Downstream => "answers",
        Way::Upstream => "requests",
        Way::Both => "requests and answers",
    };
    let jitter = if spec.jitter.get().is_zero() {
        String::new()
    } else {
        format!(" ±{}", spec.jitter)
    };
    Ok(Injected {
        detail: format!(
            "+{}{jitter} on {way} of {:.0} % of connections on {link}",
            spec.add,
            spec.share * 100.0
        ),
        active: Box::new(Slow {
            link: link.to_owned(),
        }),
    })
}

impl Active for Slow {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            let link = testbed.links.get(&self.link)?;
            let held = link.held();
            link.set_latency(None);
            Ok(Undone {
                proof: held_back(held, "chunk"),
                undo: "latency removed, held bytes let go".to_owned(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::link::HeldTally;

    #[test]
    fn nothing_held_is_no_proof() {
        assert_eq!(held_back(HeldTally::default(), "chunk"), None);
        let held = HeldTally {
            count: 214,
            shortest: Duration::from_millis(300),
            longest: Duration::from_millis(500),
        };
        assert_eq!(
            held_back(held, "chunk").as_deref(),
            Some("214 chunks held 300-500 ms")
        );
    }
}
