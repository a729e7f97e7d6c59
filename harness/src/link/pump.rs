//! One direction of one connection: reads, lets the link's toxics hold bytes back, passes on the rest. It knows no kind
//! of toxic.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use clip_service::env::SharedRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;

use super::exchanges::{Answers, HttpExchanges, Requests};
use super::toxics::{Hold, Stretch, Toxic};
use super::{Chain, Inner, ToxicId};
use crate::scenario::model::Direction;

const CHUNK: usize = 32 * 1024;
/// Bytes held per direction before the sender feels back-pressure, unless a toxic allows fewer.
const HELD_LIMIT: usize = 4 * 1024 * 1024;
/// Longer than any run.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Something on its way.
enum Item {
    Chunk(Bytes),
    End,
}

/// Something that is held until it is due.
struct Waiting {
    arrived: Instant,
    /// What each toxic wants that holds it.
    holds: Vec<(ToxicId, Hold)>,
    item: Item,
}

impl Waiting {
    /// When it may go, as soon as all before it have gone.
    fn due(&self) -> Instant {
        let times = self.holds.iter().map(|(_, hold)| hold.time);
        // Beyond what the clock can count means: not before the toxic is taken away.
        later(
            self.arrived,
            times.fold(Duration::ZERO, Duration::saturating_add),
        )
    }
}

fn later(at: Instant, time: Duration) -> Instant {
    at.checked_add(time).unwrap_or(at + FAR)
}

/// What each direction knows of the messages on it.
pub(super) enum Side {
    /// From the caller to the node.
    Up(Requests),
    /// From the node to the caller.
    Down(Answers),
}

/// A toxic of the link on this direction; `None` where it spares it.
struct Joined {
    id: ToxicId,
    acting: Option<Box<dyn Toxic>>,
}

/// One direction of one connection.
pub(super) struct Pump<'a> {
    inner: &'a Inner,
    exchanges: &'a HttpExchanges,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    side: Side,
    rng: SharedRng,
    toxics: Vec<Joined>,
    held: VecDeque<Waiting>,
    held_bytes: usize,
    /// Nothing further is read.
    ended: bool,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        inner: &'a Inner,
        exchanges: &'a HttpExchanges,
        (read, write): (OwnedReadHalf, OwnedWriteHalf),
        side: Side,
        rng: &SharedRng,
    ) -> Self {
        Self {
            inner,
            exchanges,
            read,
            write,
            side,
            rng: rng.clone(),
            toxics: Vec::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            ended: false,
        }
    }

    pub(super) fn write(&self) -> &OwnedWriteHalf {
        &self.write
    }

    pub(super) fn into_write(self) -> OwnedWriteHalf {
        self.write
    }

    fn direction(&self) -> Direction {
        match self.side {
            Side::Up(_) => Direction::Upstream,
            Side::Down(_) => Direction::Downstream,
        }
    }

    /// Passes bytes until the end of the stream has been passed on.
    pub(super) async fn run(&mut self) -> io::Result<()> {
        let mut chain = self.inner.chain.subscribe();
        self.apply(&chain.borrow_and_update());
        let mut buffer = BytesMut::new();
        let exchanges = self.exchanges;
        let answers = self.direction() == Direction::Downstream;
        loop {
            let next_due = self.held.front().map(Waiting::due);
            let room = self.room().saturating_sub(self.held_bytes);
            if buffer.capacity() - buffer.len() < CHUNK / 4 {
                buffer.reserve(CHUNK);
            }
            let over = tokio::select! {
                biased;
                changed = chain.changed() => {
                    if changed.is_err() {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    self.apply(&chain.borrow_and_update());
                    false
                }
                () = tokio::time::sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {
                    self.release().await?
                }
                () = exchanges.own_turn(), if answers && !self.ended => self.answer().await?,
                read = async { self.read.read_buf(&mut (&mut buffer).limit(room)).await }, if !self.ended && room > 0 => match read? {
                    0 => self.end().await?,
                    _ => {
                        self.received(&mut buffer).await?;
                        false
                    }
                },
            };
            if over {
                return Ok(());
            }
        }
    }

    /// Takes in what is on the link now; lets go what was held by a toxic that is gone.
    fn apply(&mut self, chain: &Chain) {
        self.toxics
            .retain(|joined| chain.iter().any(|on| on.id == joined.id));
        for on in chain.iter() {
            if self.toxics.iter().all(|joined| joined.id != on.id) {
                let rng = self.rng.fork(&on.fault);
                self.toxics.push(Joined {
                    id: on.id,
                    acting: on.toxic.join(self.direction(), &rng),
                });
            }
        }
        let holds = self.held.iter_mut().flat_map(|waiting| &mut waiting.holds);
        for (id, hold) in holds {
            if self.toxics.iter().all(|joined| joined.id != *id) {
                hold.time = Duration::ZERO;
            }
        }
    }

    /// The toxics that act here, in their order.
    fn acting(&mut self) -> impl Iterator<Item = (ToxicId, &mut Box<dyn Toxic>)> {
        self.toxics
            .iter_mut()
            .filter_map(|joined| Some((joined.id, joined.acting.as_mut()?)))
    }

    fn room(&mut self) -> usize {
        let rooms = self.acting().map(|(_, toxic)| toxic.room());
        rooms.fold(HELD_LIMIT, usize::min)
    }

    async fn received(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        let piece = self.acting().map(|(_, toxic)| toxic.piece()).min();
        let mut stretches = Vec::new();
        if let Side::Down(answers) = &mut self.side {
            let mut rest = &buffer[..];
            while !rest.is_empty() {
                let stretch = answers.next(rest, self.exchanges);
                rest = &rest[stretch.length..];
                if piece.is_some() {
                    stretches.push(stretch);
                }
            }
        } else if piece.is_some() {
            stretches.push(Stretch {
                length: buffer.len(),
                begins: None,
            });
        }
        let Some(piece) = piece else {
            // No toxic acts here, but what came before one was taken away may still wait.
            let whole = Stretch {
                length: buffer.len(),
                begins: None,
            };
            if self.held.is_empty() {
                self.deliver(buffer).await?;
                buffer.clear();
                return Ok(());
            }
            return self.pass(Item::Chunk(buffer.split().freeze()), whole).await;
        };
        for stretch in stretches {
            let mut left = stretch.length;
            let mut begins = stretch.begins;
            while left > 0 {
                let length = left.min(piece.max(1));
                left -= length;
                let chunk = buffer.split_to(length).freeze();
                let begins = begins.take();
                self.pass(Item::Chunk(chunk), Stretch { length, begins })
                    .await?;
            }
        }
        Ok(())
    }

    /// Gives the answers of the link itself whose turn it is; true when the connection ends with one.
    async fn answer(&mut self) -> io::Result<bool> {
        while let Some(own) = self.exchanges.own_answer() {
            let length = own.bytes.len();
            let begins = None;
            self.pass(Item::Chunk(own.bytes), Stretch { length, begins })
                .await?;
            if own.close {
                return self.end().await;
            }
        }
        Ok(false)
    }

    /// Nothing further comes; true when that has been passed on.
    async fn end(&mut self) -> io::Result<bool> {
        self.ended = true;
        let (length, begins) = (0, None);
        self.pass(Item::End, Stretch { length, begins }).await?;
        Ok(self.held.is_empty())
    }

    /// Sends something through the toxics, one after the other: it comes to each when the one before lets it go. What
    /// none of them holds goes on at once, unless something waits before it.
    async fn pass(&mut self, item: Item, stretch: Stretch) -> io::Result<()> {
        let arrived = Instant::now();
        let mut at = arrived;
        let mut holds = Vec::new();
        for (id, toxic) in self.acting() {
            if let Some(hold) = toxic.hold(stretch, at) {
                at = later(at, hold.time);
                holds.push((id, hold));
            }
        }
        if holds.is_empty() && self.held.is_empty() {
            return match item {
                Item::Chunk(bytes) => self.deliver(&bytes).await,
                Item::End => self.finish().await,
            };
        }
        self.held_bytes += stretch.length;
        self.held.push_back(Waiting {
            arrived,
            holds,
            item,
        });
        Ok(())
    }

    /// Lets the first held item go; true when that was the end of the stream.
    async fn release(&mut self) -> io::Result<bool> {
        let Some(waiting) = self.held.pop_front() else {
            return Ok(false);
        };
        match waiting.item {
            Item::Chunk(bytes) => {
                let held = waiting.arrived.elapsed();
                for (_, hold) in waiting.holds {
                    hold.released(held);
                }
                self.deliver(&bytes).await?;
                self.held_bytes -= bytes.len();
                Ok(false)
            }
            Item::End => {
                self.finish().await?;
                Ok(true)
            }
        }
    }

    /// Passes bytes on; of requests, those that the node shall see.
    async fn deliver(&mut self, bytes: &[u8]) -> io::Result<()> {
        let on = match &mut self.side {
            Side::Up(requests) => {
                let toxics = &mut self.toxics;
                let acting = |toxics: &mut Vec<Joined>| {
                    let acting = toxics.iter_mut();
                    acting
                        .filter_map(|joined| joined.acting.as_mut())
                        .any(|toxic| toxic.answers())
                };
                let answers = acting(toxics);
                requests.filter(bytes, self.exchanges, answers, |head| {
                    let acting = toxics.iter_mut();
                    let mut acting = acting.filter_map(|joined| joined.acting.as_mut());
                    acting.find_map(|toxic| toxic.reply(head))
                })
            }
            Side::Down(_) => Cow::Borrowed(bytes),
        };
        self.write.write_all(&on).await?;
        self.passed(on.len());
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        if let Side::Up(requests) = &mut self.side {
            let rest = requests.rest();
            self.write.write_all(&rest).await?;
            self.passed(rest.len());
        }
        self.write.shutdown().await
    }

    fn passed(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        {
            let mut tally = self.inner.tally.lock();
            match self.side {
                Side::Up(_) => tally.bytes_up += count,
                Side::Down(_) => tally.bytes_down += count,
            }
        }
        *self.inner.last_activity.lock() = Some(Instant::now());
    }
}
