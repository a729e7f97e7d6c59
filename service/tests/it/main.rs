//! The service as its users meet it: real sockets, real processes, real videos.

mod api;
mod client;
mod node;
mod processes;
