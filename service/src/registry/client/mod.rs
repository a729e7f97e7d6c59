//! The registry from the other side: being listed ([`Membership`]), reading the list ([`Discovery`]), and both with
//! what operators do under one name ([`ServiceClient`]).

mod discovery;
mod membership;
mod service;
mod view;

pub use discovery::{Discovery, Query};
pub use membership::Membership;
pub use service::{ServiceClient, ServiceError};
pub use view::{Peer, Peers};
