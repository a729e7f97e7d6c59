//! The stack against real loopback servers.
