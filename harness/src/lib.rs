//! A declarative resilience harness: one file says which system to start, what to ask of it, what to break and what
//! must hold; the harness does it and writes a verdict with its evidence.
//!
//! ```text
//! Scenario --plan--> Plan --run--> events, samples --record--> Record --judge--> Verdict --report--> files
//! ```
//!
//! Each stage is data that the next one reads. Two chains share [`event`] and never meet before [`cli`] and `bdd`:
//! `scenario <- plan <- {runtime <- link <- fault, load} <- run` and `event <- record <- judge <- report`.
//! A test reads the imports and holds the modules to that.

mod http;

pub mod printable;

pub mod sut;

pub mod file_limit;

pub mod scenario;

pub mod plan;

pub mod event;

pub mod series;

pub mod procfs;

pub mod process_set;

pub mod journal;

pub mod runtime;

pub mod link;

pub mod testbed;

pub mod fault;

pub mod load;

pub mod run;

pub mod record;

pub mod judge;

pub mod report;

#[cfg(feature = "simulate")]
pub mod simulate;

pub mod cli;

#[cfg(feature = "bdd")]
pub mod bdd;
