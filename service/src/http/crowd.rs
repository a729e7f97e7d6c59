//! Who keeps a connection when more are wanted than may be open.
//!
//! Whoever is between requests goes first, the one that came first before the others: a peer that has nothing to ask loses nothing.
//! When all are busy, newcomers come into a small lobby, where they may ask how the node is and no more. Its oldest guest makes
//! room for the newest, so that who looks after the node gets in however many others try. What may be asked there is not decided
//! here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::wire::Exchanges;

/// Most guests of the lobby.
const LOBBY: usize = 32;
/// What a guest of the lobby has at least, or none would get to say what it wants while many come.
const STAY: Duration = Duration::from_millis(10);
/// Who has only just come is not idle yet: its request may be on its way.
const SETTLED: Duration = Duration::from_millis(100);
/// Connections that are looked at for one to close. Busy ones come last in the next look.
const LOOK: usize = 32;

/// The connections of a server.
pub(super) struct Crowd {
    /// Apart from the lobby.
    most: usize,
    /// How many may be in the lobby.
    seats: usize,
    /// In the order in which they are looked at.
    regular: VecDeque<Guest>,
    /// Oldest first.
    lobby: VecDeque<Guest>,
}

/// A connection. It is over when nobody else holds its exchanges.
pub(super) struct Guest {
    pub(super) since: Instant,
    pub(super) exchanges: Arc<Exchanges>,
    /// Cancelled to close it.
    pub(super) end: CancellationToken,
}

impl Guest {
    fn is_over(&self) -> bool {
        Arc::strong_count(&self.exchanges) == 1
    }
}

impl Crowd {
    /// At most `most` are open, the lobby included.
    pub(super) fn new(most: usize) -> Self {
        let seats = (most / 4).min(LOBBY);
        Self {
            most: most - seats,
            seats,
            regular: VecDeque::new(),
            lobby: VecDeque::new(),
        }
    }

    /// When the next may come in; `None`: at once.
    pub(super) fn full_until(&mut self) -> Option<Instant> {
        self.lobby.retain(|guest| !guest.is_over());
        let oldest = self.lobby.front()?;
        (self.lobby.len() >= self.seats).then_some(oldest.since + STAY)
    }

    /// Takes a newcomer in, with so many others `open`. Whether it came no further than the lobby.
    pub(super) fn enter(&mut self, guest: Guest, open: usize) -> bool {
        // Two for each one that comes, so that those that are over do not pile up.
        for _ in 0..2 {
            if let Some(other) = self.regular.pop_front()
                && !other.is_over()
            {
                self.regular.push_back(other);
            }
        }
        self.lobby.retain(|guest| !guest.is_over());
        if open.saturating_sub(self.lobby.len()) < self.most || self.make_room() {
            self.regular.push_back(guest);
            return false;
        }
        self.lobby.push_back(guest);
        if self.lobby.len() > self.seats {
            self.clear_a_seat();
        }
        true
    }

    /// Closes one that can be spared, when another cannot even be let in: the files have run out, whoever has taken them.
    pub(super) fn relieve(&mut self) {
        if !self.make_room() {
            self.clear_a_seat();
        }
    }

    fn clear_a_seat(&mut self) {
        if let Some(oldest) = self.lobby.pop_front() {
            oldest.end.cancel();
        }
    }

    fn make_room(&mut self) -> bool {
        for _ in 0..LOOK.min(self.regular.len()) {
            let Some(guest) = self.regular.pop_front() else {
                break;
            };
            if guest.is_over() {
                continue;
            }
            if guest.exchanges.is_idle() && guest.since.elapsed() >= SETTLED {
                guest.end.cancel();
                return true;
            }
            self.regular.push_back(guest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Peer(Arc<Exchanges>, CancellationToken);

    fn peer() -> (Guest, Peer) {
        let (exchanges, end) = (Arc::new(Exchanges::default()), CancellationToken::new());
        let guest = Guest {
            since: Instant::now(),
            exchanges: Arc::clone(&exchanges),
            end: end.clone(),
        };
        (guest, Peer(exchanges, end))
    }

    /// Lets `count` in; `busy` ones have a request under way.
    fn fill(crowd: &mut Crowd, count: usize, busy: bool) -> Vec<Peer> {
        let mut peers = Vec::new();
        for open in 0..count {
            let (guest, peer) = peer();
            if busy {
                std::mem::forget(peer.0.begin());
            }
            assert!(!crowd.enter(guest, open));
            peers.push(peer);
        }
        peers
    }

    fn closed(peers: &[Peer]) -> usize {
        peers.iter().filter(|peer| peer.1.is_cancelled()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_makes_room() {
        let mut crowd = Crowd::new(13);
        let idle = fill(&mut crowd, 10, false);
        let (newcomer, _) = peer();
        assert!(crowd.enter(newcomer, 10), "the others have only just come");
        tokio::time::advance(SETTLED).await;
        for more in 1..=5 {
            let (guest, peer) = peer();
            std::mem::forget(peer.0.begin());
            assert!(!crowd.enter(guest, 10));
            assert_eq!((closed(&idle), peer.1.is_cancelled()), (more, false));
        }
        crowd.relieve();
        assert_eq!(closed(&idle), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_busy_the_newest_gets_into_the_lobby() {
        let mut crowd = Crowd::new(13);
        let busy = fill(&mut crowd, 10, true);
        let mut lobby = Vec::new();
        for open in 10..1000 {
            let (guest, peer) = peer();
            assert!(crowd.enter(guest, open.min(13)));
            assert!(!peer.1.is_cancelled());
            lobby.push(peer);
        }
        assert_eq!(closed(&lobby), lobby.len() - 3);
        let until = crowd.full_until().expect("it is full");
        assert!(until <= Instant::now() + STAY);
        crowd.relieve();
        assert_eq!(closed(&lobby), lobby.len() - 2);
        assert_eq!(crowd.full_until(), None);
        assert_eq!(closed(&busy), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_over_are_forgotten() {
        let mut crowd = Crowd::new(10);
        for _ in 0..1000 {
            let (guest, _gone) = peer();
            assert!(!crowd.enter(guest, 0));
        }
        assert!(crowd.regular.len() <= 3);
    }
}
