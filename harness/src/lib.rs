//! A declarative resilience harness.
