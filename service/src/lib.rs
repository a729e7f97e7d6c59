//! A video-clip service: long videos in; scored, cut, reframed, captioned clips out.
//!
//! The modules read top to bottom, and imports only point up this list: the words of the domain, the world a role
//! runs in ([`env::Env`]), storage, media work, the registry, the client side of a gateway ([`upstream`]), jobs, the
//! HTTP API, and last the roles, which are composition only.
//!
//! Everything a role needs from outside (network, clock, randomness, storage, media engine, shutdown) enters by
//! [`env::Env`], so that the same role runs as a child process, embedded in a test, or on a simulated network.

pub mod units;

pub mod model;

pub mod error;

pub mod observe;

pub mod net;

pub mod env;

pub mod config;

pub mod telemetry;

pub mod http;

pub mod store;

pub mod media;

pub mod registry;

pub mod upstream;

pub mod jobs;

pub mod api;

pub mod gateway;

pub mod processor;

pub mod serve;

pub mod world;

pub mod clip_cmd;

pub mod cli;
