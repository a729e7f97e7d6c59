//! The `clip-harness` command.

fn main() {}
