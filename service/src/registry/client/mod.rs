//! The registry from the other side: being listed ([`Membership`]) and reading the list ([`Discovery`]).

mod discovery;
mod membership;
mod view;

pub use discovery::Discovery;
pub use membership::Membership;
pub use view::{Peer, Peers};
