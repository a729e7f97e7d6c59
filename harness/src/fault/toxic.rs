//! Faults that a link does by itself: any toxic, put on a link and taken away again.

use futures_util::future::BoxFuture;

use super::{Active, FaultError, Injected, Testbed, Undone};
use crate::link::ToxicId;
use crate::link::toxics::ToxicRow;
use crate::scenario::fault::{Aimed, Injection};

#[derive(Debug)]
struct OnLink {
    link: String,
    toxic: ToxicId,
    gone: &'static str,
}

/// Puts the toxic of an injection on a link; `None` when its kind is no toxic.
pub(super) fn inject(
    fault: &str,
    injection: &Injection,
    link: &str,
    testbed: &Testbed,
) -> Option<Result<Injected, FaultError>> {
    let row = ToxicRow::find(injection.kind().name)?;
    let edge = match testbed.links.get(link) {
        Ok(edge) => edge,
        Err(error) => return Some(Err(error.into())),
    };
    let rng = edge.toxic_rng(fault);
    let toxic = edge.put(fault, row.toxic(injection, rng)?);
    let aimed = Aimed {
        names: link,
        several: false,
    };
    Some(Ok(Injected {
        detail: injection.phrase(aimed).note,
        active: Box::new(OnLink {
            link: link.to_owned(),
            toxic,
            gone: row.gone,
        }),
    }))
}

impl Active for OnLink {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            let proof = testbed.links.get(&self.link)?.take(self.toxic);
            Ok(Undone {
                proof,
                undo: self.gone.to_owned(),
            })
        })
    }
}
