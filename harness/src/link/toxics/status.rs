//! `status`: a share of requests is answered by the link and not seen by the node.

use std::sync::Arc;

use clip_service::env::SharedRng;
use parking_lot::Mutex;

use super::super::http1::RequestHead;
use super::{LinkToxic, Reply, Toxic, ToxicKind};
use crate::scenario::fault::StatusAnswer;
use crate::scenario::model::Direction;

#[derive(Debug)]
struct StatusToxic(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: StatusAnswer,
    /// One stream of draws for all connections, in order of the requests: the n-th request has the same fate in every run.
    rng: SharedRng,
    tally: Mutex<Tally>,
}

/// Requests that came to the draw, and those that the link answered.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    requests: u64,
    answered: u64,
}

impl ToxicKind for StatusAnswer {
    const GONE: &'static str = "every request passes";

    fn toxic(&self, rng: SharedRng) -> Arc<dyn LinkToxic> {
        Arc::new(StatusToxic(Arc::new(Shared {
            settings: self.clone(),
            rng,
            tally: Mutex::default(),
        })))
    }
}

impl LinkToxic for StatusToxic {
    fn join(&self, direction: Direction, _: &SharedRng) -> Option<Box<dyn Toxic>> {
        Direction::Upstream
            .includes(direction)
            .then(|| Box::new(Requests(self.0.clone())) as Box<dyn Toxic>)
    }

    fn proof(&self) -> Option<String> {
        proof(*self.0.tally.lock(), self.0.settings.code.0)
    }
}

fn proof(tally: Tally, code: u16) -> Option<String> {
    (tally.answered > 0).then(|| {
        let plural = if tally.requests == 1 { "" } else { "s" };
        format!(
            "{} of {} request{plural} answered {code}",
            tally.answered, tally.requests
        )
    })
}

/// The requests on one connection.
struct Requests(Arc<Shared>);

impl Toxic for Requests {
    fn answers(&self) -> bool {
        true
    }

    fn reply(&mut self, _: &RequestHead) -> Option<Reply> {
        let Shared {
            settings,
            rng,
            tally,
        } = self.0.as_ref();
        let hit = rng.unit() < settings.share.0;
        {
            let mut tally = tally.lock();
            tally.requests += 1;
            tally.answered += u64::from(hit);
        }
        let after = settings.retry_after;
        hit.then(|| Reply {
            status: settings.code.0,
            headers: after
                .map(|after| ("retry-after", after.get().as_secs().to_string()))
                .into_iter()
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_all_passed_are_no_proof() {
        let tally = |requests, answered| Tally { requests, answered };
        assert_eq!(proof(tally(0, 0), 503), None);
        assert_eq!(proof(tally(430, 0), 503), None);
        assert_eq!(
            proof(tally(430, 212), 503).as_deref(),
            Some("212 of 430 requests answered 503")
        );
    }
}
