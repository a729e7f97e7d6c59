//! A video-clip service: long videos in; scored, cut, reframed, captioned clips out.
//!
//! The modules read top to bottom, and imports only point up this list: units, lines for pipes, what a machine runs out of, what is
//! wrong with a configuration, the world a role runs in ([`env::Env`]), HTTP, which requests a node takes ([`admission`]), the
//! table of what a role can be asked and what stands in front of it ([`edge`]), media work, the words of the domain ([`model`]),
//! storage, breakers, the registry, the client side of a
//! gateway ([`upstream`]), the settings of it all, jobs, the HTTP API, the roles, which are composition only, and last
//! people's commands. A test reads the imports and holds the modules to that. One exception: `env` names the traits
//! of storage and media, which it carries.
//!
//! Everything a role needs from outside (network, clock, randomness, storage, media engine, shutdown) enters by
//! [`env::Env`], so that the same role runs as a child process, embedded in a test, or on a simulated network.

pub mod units;

pub mod lines;

pub mod shortage;

pub mod config_error;

pub mod observe;

pub mod net;

pub mod env;

pub mod telemetry;

pub mod http;

pub mod admission;

pub mod edge;

pub mod media;

pub mod model;

pub mod store;

pub mod breaker;

pub mod registry;

pub mod upstream;

pub mod scale;

pub mod config;

pub mod error;

pub mod jobs;

pub mod api;

pub mod processor;

pub mod gateway;

pub mod serve;

pub mod world;

pub mod clip_cmd;

pub mod services_cmd;

pub mod cli;
