//! The real roles on a simulated network in virtual time, broken on a schedule that follows from a seed.
//!
//! One registry, two gateways and three processors run in one thread on turmoil: no socket, no clock, no entropy of the
//! machine. A [`Schedule`] drawn from the seed crashes hosts, holds and cuts links, delays messages, slows processors and
//! stalls storage, several at a time, and ends before a quiet tail. A client keeps asking throughout, in an open loop.
//! Afterwards [`simulate`] checks what must hold after any such schedule, and returns the log, which is the same to the
//! byte each time. [`sweep`] does that for many seeds on several threads.
//!
//! Not a runtime of scenarios: nothing here reads a scenario file or gives a verdict on latency. Work on the processor
//! takes no virtual time, so what overload does is for real runs to show.

mod active_faults;
mod check;
mod client;
mod media;
mod mutants;
mod schedule;
mod store;
mod sweep;
mod system;
mod world;

pub use mutants::Flaw;
pub use schedule::{Fault, SHORTEST, Schedule, What};
pub use sweep::{Failure, Summary, Sweep, sweep};
pub use system::{Options, Run, simulate, simulate_schedule};
