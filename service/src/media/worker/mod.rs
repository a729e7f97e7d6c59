//! Worker processes: the same program again, sandboxed, doing media work for the one that started it.
//!
//! A worker gets a job and open files over a socket that is its standard input, and answers on the same socket. It has no
//! path to anything: no file system, no network, no other programs, no privileges. It ends when the socket ends. The parent's side is
//! [`WorkerPool`], which keeps workers warm, replaces those that die and kills those that hang.

mod cache;
mod child;
mod lane;
mod pool;
mod process;
mod sandbox;
mod wire;

pub use child::answer_worker_verb;
pub use pool::WorkerPool;

/// First argument of a worker process. Hidden: people never type it.
const VERB: &str = "__media-worker";
