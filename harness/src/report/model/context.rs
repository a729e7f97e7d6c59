//! What the parts of a report are worked out from, and what several of them have in common.

use super::{Moment, Recovery, Request, Stretch};
use crate::event::{Offset, Outcome};
use crate::judge::Recovered;
use crate::printable::Text;
use crate::record::{Exemplar, Record, Timeline};
use crate::series::Window;

/// What everything is read from.
pub(super) struct Context<'a> {
    pub(super) record: &'a Record,
    pub(super) timeline: &'a Timeline,
    pub(super) origin: Offset,
}

impl Context<'_> {
    pub(super) fn at(&self, offset: Offset) -> Moment {
        Moment::new(offset, self.origin)
    }

    pub(super) fn stretch(&self, window: Window) -> Stretch {
        Stretch::new(window, self.origin)
    }
}

pub(super) fn recovery(recovered: &Recovered) -> Recovery {
    match recovered {
        Recovered::After(after) => Recovery::After(*after),
        Recovered::Never => Recovery::Never,
        Recovered::Unknown(why) => Recovery::Unknown(why.clone()),
    }
}

pub(super) fn request(cx: &Context<'_>, kept: &Exemplar) -> Request {
    let load = cx.record.plan.load.get(kept.load);
    let several = load.is_some_and(|load| load.steps.len() > 1);
    Request {
        due: cx.at(kept.due),
        load: Text::from(load.map_or("?", |load| load.name.as_str())),
        step: several.then_some(kept.step + 1),
        failure: match &kept.outcome {
            Outcome::Ok => None,
            Outcome::Failed(class) => Some(Text::from(class)),
            Outcome::Unsent => Some(Text::from(crate::series::UNSENT)),
        },
        status: kept.status,
        response: kept.done.since(kept.due),
        service: kept.sent.map(|sent| kept.done.since(sent)),
        id: kept.request_id.as_ref().map(Text::from),
    }
}
