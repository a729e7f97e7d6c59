//! `bandwidth`: bytes leave a link one after the other, at a rate. As on a real line, what comes while others are under
//! way waits for its turn, and a piece has arrived when its last byte has; there is no burst at full speed before that.

use std::sync::Arc;
use std::time::Duration;

use clip_service::env::SharedRng;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{HeldCounter, Hold, LinkToxic, Stretch, Toxic, ToxicKind};
use crate::scenario::fault::Bandwidth;
use crate::scenario::model::Direction;

/// Time that one piece takes: a trickle instead of gulps.
const PIECE: f64 = 0.02;
/// Time that everything takes which may wait: what fills the buffers of a real line.
const ROOM: f64 = 0.1;
/// Anything held for less was not slowed: it is within the grain of the clock.
const FELT: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct BandwidthToxic {
    settings: Bandwidth,
    /// For all connections, one for each direction.
    lines: [Arc<Line>; 2],
    held: Arc<HeldCounter>,
}

/// A line that one byte passes after the other.
#[derive(Debug, Default)]
struct Line {
    /// When everything has passed that was given to it.
    free: Mutex<Option<Instant>>,
}

impl Line {
    /// Takes bytes that come at `at`; when the last of them has passed.
    fn take(&self, length: usize, at: Instant, rate: f64) -> Instant {
        let mut free = self.free.lock();
        let begins = free.map_or(at, |free| free.max(at));
        let ends = begins + Duration::from_secs_f64(length as f64 / rate);
        *free = Some(ends);
        ends
    }
}

impl ToxicKind for Bandwidth {
    const GONE: &'static str = "limit removed, waiting bytes let go";

    fn toxic(&self, _: SharedRng) -> Arc<dyn LinkToxic> {
        Arc::new(BandwidthToxic {
            settings: self.clone(),
            lines: [Arc::default(), Arc::default()],
            held: Arc::default(),
        })
    }
}

impl LinkToxic for BandwidthToxic {
    fn join(&self, direction: Direction, _: &SharedRng) -> Option<Box<dyn Toxic>> {
        let line = match (self.settings.shared, direction) {
            (false, _) => Arc::default(),
            (true, Direction::Upstream) => self.lines[0].clone(),
            (true, Direction::Downstream | Direction::Both) => self.lines[1].clone(),
        };
        self.settings.direction.includes(direction).then(|| {
            Box::new(Limited {
                rate: self.settings.rate.0,
                line,
                held: self.held.clone(),
            }) as Box<dyn Toxic>
        })
    }

    fn proof(&self) -> Option<String> {
        let tally = self.held.tally();
        let felt = tally.longest >= FELT || tally.waiting > 0;
        let held = tally.proof("piece").filter(|_| felt)?;
        Some(format!("{held} at {}", self.settings.rate))
    }
}

/// One direction of one connection.
struct Limited {
    rate: f64,
    line: Arc<Line>,
    held: Arc<HeldCounter>,
}

impl Toxic for Limited {
    fn hold(&mut self, stretch: Stretch, at: Instant) -> Option<Hold> {
        if stretch.length == 0 {
            return None;
        }
        let ends = self.line.take(stretch.length, at, self.rate);
        Some(self.held.hold(ends.saturating_duration_since(at)))
    }

    fn piece(&self) -> usize {
        (self.rate * PIECE).max(1.0) as usize
    }

    fn room(&self) -> usize {
        (self.rate * ROOM).max(1.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::*;
    use crate::link::Link;

    fn limit(rate: &str, direction: Direction, shared: bool) -> Bandwidth {
        Bandwidth {
            rate: rate.parse().expect(rate),
            direction,
            shared,
        }
    }

    /// A link to a server that takes everything in and then sends it all back, limited so.
    async fn limited(settings: &Bandwidth) -> (Link, super::super::super::ToxicId) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut all = Vec::new();
                    if stream.read_to_end(&mut all).await.is_ok() {
                        drop(stream.write_all(&all).await);
                    }
                });
            }
        });
        let upstream = watch::channel(Some::<SocketAddr>(address)).1;
        let rng = SharedRng::seeded(1);
        let link = Link::open("a->b", Ipv4Addr::LOCALHOST.into(), upstream, &rng).expect("link");
        let toxic = link.put("narrow", settings.toxic(link.toxic_rng("narrow")));
        (link, toxic)
    }

    /// Sends so many bytes and gets them back; how long that took.
    async fn exchange(link: &Link, bytes: usize) -> Duration {
        let began = Instant::now();
        let mut stream = TcpStream::connect(link.address()).await.expect("connect");
        let sent: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
        stream.write_all(&sent).await.expect("write");
        stream.shutdown().await.expect("half-close");
        let mut got = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut got));
        read.await.expect("in time").expect("read");
        assert!(got == sent, "bytes differ");
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_one_after_the_other_at_the_rate() {
        let toxic = limit("100kB/s", Direction::Downstream, false).toxic(SharedRng::seeded(1));
        let rng = SharedRng::seeded(1);
        assert!(toxic.join(Direction::Upstream, &rng).is_none());
        let mut one = toxic.join(Direction::Downstream, &rng).expect("limited");
        let mut other = toxic.join(Direction::Downstream, &rng).expect("limited");
        let now = Instant::now();
        let stretch = |length| Stretch {
            length,
            begins: None,
        };
        let ms = |hold: Option<Hold>| hold.expect("held").time.as_millis();
        assert_eq!(ms(one.hold(stretch(1_000), now)), 10);
        assert_eq!(ms(one.hold(stretch(1_000), now)), 20, "after the first");
        assert_eq!(ms(other.hold(stretch(1_000), now)), 10, "for itself");
        // A pause is not saved up.
        let later = now + Duration::from_secs(5);
        assert_eq!(ms(one.hold(stretch(3_000), later)), 30);
        assert!(one.hold(stretch(0), later).is_none());
        assert_eq!((one.piece(), one.room()), (2_000, 10_000));
        let shared = limit("100kB/s", Direction::Both, true).toxic(SharedRng::seeded(1));
        let mut one = shared.join(Direction::Downstream, &rng).expect("limited");
        let mut other = shared.join(Direction::Downstream, &rng).expect("limited");
        let mut up = shared.join(Direction::Upstream, &rng).expect("limited");
        assert_eq!(ms(one.hold(stretch(1_000), now)), 10);
        assert_eq!(ms(other.hold(stretch(1_000), now)), 20, "after the other");
        assert_eq!(ms(up.hold(stretch(1_000), now)), 10, "each way for itself");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_gets_the_rate_and_no_more() {
        let (link, toxic) = limited(&limit("500kB/s", Direction::Downstream, false)).await;
        // 200 kB at 500 kB/s; other connections have the same for themselves.
        let (one, other) = tokio::join!(exchange(&link, 200_000), exchange(&link, 200_000));
        for took in [one, other] {
            assert!(took >= Duration::from_millis(399), "{took:?}");
            assert!(took < Duration::from_millis(700), "{took:?}");
        }
        let proof = link.take(toxic).expect("it was felt");
        assert!(proof.ends_with(" ms at 500 kB/s"), "{proof}");
        let free = exchange(&link, 200_000).await;
        assert!(free < Duration::from_millis(399), "{free:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_share_what_the_link_has() {
        let (link, _) = limited(&limit("500kB/s", Direction::Both, true)).await;
        let began = Instant::now();
        tokio::join!(exchange(&link, 100_000), exchange(&link, 100_000));
        // 200 kB up, then 200 kB down, or partly side by side.
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(399), "{took:?}");
        assert!(took < Duration::from_millis(1200), "{took:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_not_slowed_was_not_hit() {
        let (link, toxic) = limited(&limit("100GB/s", Direction::Downstream, false)).await;
        let taken = exchange(&link, 0).await;
        assert!(taken < Duration::from_secs(1));
        assert_eq!(link.take(toxic), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn removing_it_lets_everything_go() {
        let (link, toxic) = limited(&limit("1kB/s", Direction::Downstream, false)).await;
        let release = async {
            while link.tally().bytes_up < 50_000 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            link.take(toxic)
        };
        let (took, proof) = tokio::join!(exchange(&link, 50_000), release);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(proof.is_some());
    }
}
