//! What the routes of a gateway are to [`crate::admission`]: how much they matter, and which of them share what.

use crate::admission::{Admission, AdmissionConfig, Bulkhead, Priority, Turn, Work};
use crate::env::SharedRng;

/// Where a gateway's limit on concurrent requests begins. A gateway waits more than it works; what it has in flight is
/// mostly at processors, which have limits of their own.
const INITIAL: u32 = 256;

const UPLOAD: usize = 0;
const STREAM: usize = 1;
const READ: usize = 2;

/// The limits of a gateway.
#[must_use]
pub fn admission(config: &AdmissionConfig, rng: &SharedRng) -> Admission {
    let sizes = &config.bulkheads;
    // In the order of the indices above.
    let bulkheads = vec![
        Bulkhead::new("upload", sizes.upload),
        Bulkhead::new("stream", sizes.stream),
        Bulkhead::new("read", sizes.read),
    ];
    Admission::new(config, INITIAL, rng, bulkheads)
}

/// What a route is.
pub(super) fn of(route: &str) -> Work {
    let (kind, priority, turn, bulkhead) = match route {
        "/api/v1/videos/{id}/frame" => (0, Priority::High, Turn::Needed, Some(READ)),
        "/api/v1/clips/{id}/download" | "/api/v1/clips/{id}/thumbnail.jpg" => {
            (1, Priority::High, Turn::Needed, Some(STREAM))
        }
        "/api/v1/process-video" => (2, Priority::Normal, Turn::Needed, None),
        "/api/v1/upload" => (3, Priority::Low, Turn::Gate, Some(UPLOAD)),
        "/api/v1/jobs" => (4, Priority::Background, Turn::Needed, None),
        _ => (5, Priority::Normal, Turn::Needed, None),
    };
    Work {
        kind,
        priority,
        turn,
        bulkhead,
    }
}
