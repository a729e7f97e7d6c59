//! The `clip-service` command.

fn main() {}
