//! How far the records of a load are complete, while it goes on.

use std::sync::Arc;

use tokio::time::Instant;

use super::drive::Horizon;
use super::outstanding::Outstanding;

/// How far the records of a load are complete.
#[derive(Debug, Clone)]
pub struct Progress {
    pub(super) outstanding: Arc<Outstanding>,
    pub(super) end: Instant,
}

impl Horizon for Progress {
    fn reached(&self) -> Instant {
        self.outstanding.horizon(Instant::now()).min(self.end)
    }

    fn end(&self) -> Instant {
        self.end
    }

    fn complete(&self) -> bool {
        Instant::now() >= self.end && self.outstanding.count() == 0
    }
}
