//! Integration tests of the harness, one binary for all of them.

mod scenario;
mod sim;
