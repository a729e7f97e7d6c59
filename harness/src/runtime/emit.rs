//! The way from wherever something happens to the one task that owns the sink.

use std::sync::Arc;
use std::time::Duration;

use clip_service::observe::Subject;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::wanted::Wanted;
use crate::event::{Event, EventKind, LedgerEntry, Offset, Sample};
use crate::plan::LedgerCheck;

/// What travels to the task that owns the sink.
#[derive(Debug)]
pub enum Message {
    /// Something happened.
    Event(Event),
    /// A request ended.
    Sample(Sample),
    /// The final ledger.
    Ledger(Vec<LedgerEntry>, Vec<LedgerCheck>),
    /// Answered when everything sent before it was handed on.
    Flush(oneshot::Sender<()>),
}

/// Stamps what happens with the time since the run began and sends it on, in order. Cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct Emitter {
    origin: Instant,
    /// Held while stamping and sending, so that events leave in the order of their times.
    tx: Arc<Mutex<mpsc::UnboundedSender<Message>>>,
    wanted: Wanted,
}

impl Emitter {
    /// An emitter whose offset zero is now, and where its messages come out.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Message>) {
        let (tx, rx) = mpsc::unbounded_channel();
        let emitter = Self {
            origin: Instant::now(),
            tx: Arc::new(Mutex::new(tx)),
            wanted: Wanted::default(),
        };
        (emitter, rx)
    }

    /// How many processors the system wants, by what its gateways have said.
    #[must_use]
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Time since the run began.
    #[must_use]
    pub fn now(&self) -> Offset {
        self.at(Instant::now())
    }

    /// An instant as time since the run began.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Offset {
        Offset::from_duration(instant.saturating_duration_since(self.origin))
    }

    /// The instant of an offset.
    #[must_use]
    pub fn instant(&self, offset: Offset) -> Instant {
        self.origin + offset.duration()
    }

    /// Something happened now; says when that was.
    pub fn event(&self, kind: EventKind) -> Offset {
        if let EventKind::Transition(it) = &kind
            && it.subject == Subject::Scale
            && let Ok(count) = it.to.parse()
        {
            self.wanted.say(&it.source, count);
        }
        let tx = self.tx.lock();
        let at = self.now();
        // The channel is closed only after the run has ended; what happens then belongs to no run.
        tx.send(Message::Event(Event { at, kind })).ok();
        at
    }

    /// Something the reader should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.event(EventKind::Warning {
            message: message.into(),
        });
    }

    /// A request ended.
    pub fn sample(&self, sample: Sample) {
        self.tx.lock().send(Message::Sample(sample)).ok();
    }

    /// The final ledger.
    pub fn ledger(&self, entries: Vec<LedgerEntry>, checks: Vec<LedgerCheck>) {
        self.tx.lock().send(Message::Ledger(entries, checks)).ok();
    }

    /// Returns when everything sent so far was handed on; bounded.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let sent = self.tx.lock().send(Message::Flush(done)).is_ok();
        if sent {
            drop(tokio::time::timeout(Duration::from_secs(5), flushed).await);
        }
    }
}
