//! One direction of one connection: reads, holds back what a fault wants held, passes on the rest.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clip_service::env::SharedRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;

use super::Inner;
use super::exchanges::{Answers, HttpExchanges, Requests};
use super::toxic::{Delay, Direction, Draw, Toxics};
use crate::plan::{SlowSpec, StatusSpec};

const CHUNK: usize = 32 * 1024;
/// Bytes held per direction before the sender feels back-pressure.
const HELD_LIMIT: usize = 4 * 1024 * 1024;

/// Something on its way, held until it is due.
enum Item {
    Chunk(Bytes),
    End,
}

struct Waiting {
    arrived: Instant,
    /// What each fault that holds it wants; `None` where it does not.
    latency: Option<Duration>,
    slow: Option<Duration>,
    item: Item,
}

impl Waiting {
    /// When it may go, as soon as all before it have gone.
    fn due(&self) -> Instant {
        let wanted = self.latency.unwrap_or_default();
        let wanted = wanted.saturating_add(self.slow.unwrap_or_default());
        // Beyond what the clock can count means: not before the fault is taken away.
        self.arrived
            .checked_add(wanted)
            .unwrap_or(self.arrived + FAR)
    }
}

/// Longer than any run.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What each direction knows of the messages on it.
enum Side {
    Up(Requests),
    Down(Answers),
}

/// One direction of one connection.
pub(super) struct Pump<'a> {
    inner: &'a Inner,
    exchanges: &'a HttpExchanges,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    direction: Direction,
    side: Side,
    draw: Draw,
    rng: SharedRng,
    delay: Option<Delay>,
    slow: Option<SlowSpec>,
    status: Option<StatusSpec>,
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
        direction: Direction,
        draw: Draw,
        rng: &SharedRng,
    ) -> Self {
        let (name, side) = match direction {
            Direction::Up => ("up", Side::Up(Requests::new())),
            Direction::Down => ("down", Side::Down(Answers::new())),
        };
        Self {
            inner,
            exchanges,
            read,
            write,
            direction,
            side,
            draw,
            rng: rng.fork(name),
            delay: None,
            slow: None,
            status: None,
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

    /// Passes bytes until the end of the stream has been passed on.
    pub(super) async fn run(&mut self) -> io::Result<()> {
        let mut toxics = self.inner.toxics.subscribe();
        self.feel(&toxics.borrow_and_update());
        let mut buffer = BytesMut::new();
        let (exchanges, answers) = (self.exchanges, self.direction == Direction::Down);
        loop {
            let next_due = self.held.front().map(Waiting::due);
            let room = self.held_bytes < HELD_LIMIT;
            if buffer.capacity() - buffer.len() < CHUNK / 4 {
                buffer.reserve(CHUNK);
            }
            let over = tokio::select! {
                biased;
                changed = toxics.changed() => {
                    if changed.is_err() {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    self.feel(&toxics.borrow_and_update());
                    false
                }
                () = tokio::time::sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {
                    self.release().await?
                }
                () = exchanges.own_turn(), if answers && !self.ended => self.answer().await?,
                read = self.read.read_buf(&mut buffer), if !self.ended && room => match read? {
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

    /// Takes in what is wrong now; lets go what was held by a fault that is gone.
    fn feel(&mut self, toxics: &Toxics) {
        self.delay = toxics.latency_for(self.draw, self.direction);
        match self.direction {
            Direction::Up => self.status.clone_from(&toxics.status),
            Direction::Down => self.slow.clone_from(&toxics.slow),
        }
        for waiting in &mut self.held {
            if self.delay.is_none() && waiting.latency.is_some() {
                waiting.latency = Some(Duration::ZERO);
            }
            if self.slow.is_none() && waiting.slow.is_some() {
                waiting.slow = Some(Duration::ZERO);
            }
        }
    }

    fn holds(&self) -> bool {
        self.delay.is_some() || !self.held.is_empty()
    }

    async fn received(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        let straight = !self.holds() && self.slow.is_none();
        if let Side::Down(answers) = &mut self.side {
            let arrived = Instant::now();
            let mut rest = &buffer[..];
            let mut stretches = Vec::new();
            while !rest.is_empty() {
                let stretch = answers.next(rest, self.exchanges);
                rest = &rest[stretch.length..];
                if !straight {
                    stretches.push(stretch);
                }
            }
            for stretch in stretches {
                let slow = stretch
                    .begins
                    .zip(self.slow.as_ref())
                    .map(|(asked, slow)| slow.hold(arrived.saturating_duration_since(asked)));
                let chunk = buffer.split_to(stretch.length).freeze();
                self.hold(Item::Chunk(chunk), slow);
            }
        } else if !straight {
            let chunk = buffer.split().freeze();
            self.hold(Item::Chunk(chunk), None);
        }
        if straight {
            self.deliver(buffer).await?;
            buffer.clear();
        }
        Ok(())
    }

    /// Gives the answers of the link itself whose turn it is; true when the connection ends with one.
    async fn answer(&mut self) -> io::Result<bool> {
        while let Some(own) = self.exchanges.own_answer() {
            if self.holds() {
                self.hold(Item::Chunk(own.bytes), None);
            } else {
                self.deliver(&own.bytes).await?;
            }
            if own.close {
                return self.end().await;
            }
        }
        Ok(false)
    }

    /// Nothing further comes; true when that has been passed on.
    async fn end(&mut self) -> io::Result<bool> {
        self.ended = true;
        if self.holds() {
            self.hold(Item::End, None);
            return Ok(false);
        }
        self.finish().await?;
        Ok(true)
    }

    fn hold(&mut self, item: Item, slow: Option<Duration>) {
        if let Item::Chunk(bytes) = &item {
            self.held_bytes += bytes.len();
        }
        self.held.push_back(Waiting {
            arrived: Instant::now(),
            latency: self.delay.map(|delay| delay.draw(&self.rng)),
            slow,
            item,
        });
    }

    /// Lets the first held item go; true when that was the end of the stream.
    async fn release(&mut self) -> io::Result<bool> {
        let Some(waiting) = self.held.pop_front() else {
            return Ok(false);
        };
        let held = waiting.arrived.elapsed();
        match waiting.item {
            Item::Chunk(bytes) => {
                if waiting.latency.is_some() {
                    self.inner.held.lock().add(held);
                }
                if waiting.slow.is_some() {
                    self.inner.slowed.lock().add(held);
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
        let inner = self.inner;
        let on = match &mut self.side {
            Side::Up(requests) => {
                requests.filter(bytes, self.exchanges, self.status.as_ref(), |status| {
                    let hit = inner.draw.unit() < status.share;
                    let mut answered = inner.answered.lock();
                    answered.requests += 1;
                    answered.answered += u64::from(hit);
                    hit
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
            match self.direction {
                Direction::Up => tally.bytes_up += count,
                Direction::Down => tally.bytes_down += count,
            }
        }
        *self.inner.last_activity.lock() = Some(Instant::now());
    }
}
