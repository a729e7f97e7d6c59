//! Getting accepted jobs done: the dispatcher leases tasks from the store, has processors work on them, and records
//! what came of it.
//!
//! A task is leased for a few seconds and the lease renewed while its processor is heard of, so whatever dies, be it a
//! processor, this gateway or the whole machine, the task is soon leased again by whoever lives. Each lease has its own
//! epoch, and only the current one may finish the task. What the states are and when a job is done is decided in the
//! store's transactions; how to reach a processor in [`crate::upstream`]. What cut-off attempts leave behind is swept.

mod dispatcher;
mod patience;
mod queue;
mod storage;
mod sweeper;
mod wire;

pub use dispatcher::Dispatcher;
pub use queue::Queue;
pub use storage::watch_storage;
pub use sweeper::sweep_until;
pub use wire::{Lines, TaskEvent};
