//! `status`: a link answers requests itself with an HTTP status, and the node does not see them. Undone by passing every
//! request; proved by those that were answered.

use futures_util::future::BoxFuture;

use super::{Active, FaultError, Injected, Testbed, Undone, percent};
use crate::link::AnsweredTally;
use crate::plan::StatusSpec;

#[derive(Debug)]
struct Answering {
    link: String,
    code: u16,
}

pub(super) fn inject(
    spec: &StatusSpec,
    link: &str,
    testbed: &Testbed,
) -> Result<Injected, FaultError> {
    testbed.links.get(link)?.set_status(Some(spec.clone()));
    Ok(Injected {
        detail: format!(
            "{} for {} % of requests on {link}",
            spec.code,
            percent(spec.share)
        ),
        active: Box::new(Answering {
            link: link.to_owned(),
            code: spec.code,
        }),
    })
}

impl Active for Answering {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            let link = testbed.links.get(&self.link)?;
            link.set_status(None);
            Ok(Undone {
                proof: proof(link.answered(), self.code),
                undo: "every request passes".to_owned(),
            })
        })
    }
}

fn proof(answered: AnsweredTally, code: u16) -> Option<String> {
    (answered.answered > 0).then(|| {
        let plural = if answered.requests == 1 { "" } else { "s" };
        format!(
            "{} of {} request{plural} answered {code}",
            answered.answered, answered.requests
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_were_all_spared_are_no_proof() {
        let tally = |requests, answered| AnsweredTally { requests, answered };
        assert_eq!(proof(tally(0, 0), 503), None);
        assert_eq!(proof(tally(430, 0), 503), None);
        assert_eq!(
            proof(tally(430, 212), 503).as_deref(),
            Some("212 of 430 requests answered 503")
        );
    }
}
