//! The service as its users meet it: real sockets, real processes, real videos.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod api;
mod client;
mod media;
mod node;
mod overload;
mod processes;
mod scaling;
mod services;
mod storage;
mod strangers;
mod tidy;
