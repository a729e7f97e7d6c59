//! The requests of one connection and who answers each: the node, or the link itself. Shared by the two directions, which
//! otherwise know nothing of each other. Bytes pass as they are; only a request that the link answers is kept back.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::http1::{self, Framer, RequestHead, Seen};
use super::toxics::{Reply, Stretch};

/// What passes between the two directions of a connection.
#[derive(Debug, Default)]
pub(super) struct HttpExchanges {
    /// Oldest first.
    exchanges: Mutex<VecDeque<Exchange>>,
    /// Not HTTP/1, or no longer.
    opaque: AtomicBool,
    /// An answer of the link may be the next one.
    turn: Notify,
}

#[derive(Debug)]
enum Exchange {
    Node {
        /// The answer has no body, whatever its head says.
        head_only: bool,
        /// When the whole request was on its way to the node.
        asked: Option<Instant>,
    },
    Link {
        answer: OwnAnswer,
        /// Whether the request is over; it is answered then.
        complete: bool,
    },
}

/// An answer that the link gives itself.
#[derive(Debug)]
pub(super) struct OwnAnswer {
    pub(super) bytes: Bytes,
    /// The connection ends with it.
    pub(super) close: bool,
}

/// The oldest request that the node has not answered, when it is its turn.
#[derive(Debug, Clone, Copy)]
struct Turn {
    head_only: bool,
    asked: Option<Instant>,
}

impl HttpExchanges {
    fn is_opaque(&self) -> bool {
        self.opaque.load(Ordering::Relaxed)
    }

    fn set_opaque(&self) {
        self.opaque.store(true, Ordering::Relaxed);
    }

    fn push(&self, exchange: Exchange) {
        let mut exchanges = self.exchanges.lock();
        exchanges.push_back(exchange);
        self.call(&exchanges);
    }

    /// The newest request is over.
    fn complete(&self) {
        let mut exchanges = self.exchanges.lock();
        match exchanges.back_mut() {
            Some(Exchange::Node { asked, .. }) => *asked = Some(Instant::now()),
            Some(Exchange::Link { complete, .. }) => *complete = true,
            // The node had answered before it was over.
            None => {}
        }
        self.call(&exchanges);
    }

    /// The node's answer is over.
    fn answered(&self) {
        let mut exchanges = self.exchanges.lock();
        exchanges.pop_front();
        self.call(&exchanges);
    }

    fn call(&self, exchanges: &VecDeque<Exchange>) {
        if let Some(Exchange::Link { complete: true, .. }) = exchanges.front() {
            self.turn.notify_one();
        }
    }

    fn turn(&self) -> Option<Turn> {
        match self.exchanges.lock().front() {
            Some(Exchange::Node { head_only, asked }) => Some(Turn {
                head_only: *head_only,
                asked: *asked,
            }),
            Some(Exchange::Link { .. }) | None => None,
        }
    }

    /// Waits until it may be the link's turn to answer.
    pub(super) async fn own_turn(&self) {
        self.turn.notified().await;
    }

    /// The answer of the link whose turn it is.
    pub(super) fn own_answer(&self) -> Option<OwnAnswer> {
        let mut exchanges = self.exchanges.lock();
        if !matches!(
            exchanges.front(),
            Some(Exchange::Link { complete: true, .. })
        ) {
            return None;
        }
        match exchanges.pop_front() {
            Some(Exchange::Link { answer, .. }) => Some(answer),
            Some(Exchange::Node { .. }) | None => None,
        }
    }
}

/// The way from the caller to the node.
#[derive(Debug)]
pub(super) struct Requests {
    framer: Framer,
    /// The part of a head whose fate is not decided yet.
    withheld: BytesMut,
    /// Whether the present request's fate is decided when its head is there.
    choosing: bool,
    fate: Fate,
}

/// What becomes of the present request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The node gets it.
    Pass,
    /// The link answers it; the next one may pass.
    Drop,
    /// The link's answer ends the connection, and nothing further passes.
    CloseAfterReply,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            framer: Framer::new(),
            withheld: BytesMut::new(),
            choosing: false,
            fate: Fate::Pass,
        }
    }

    /// What of `bytes`, and of what was kept back before, goes on to the node. Where the link `answers` some requests
    /// itself, `reply` says for each what it answers.
    pub(super) fn filter<'b>(
        &mut self,
        bytes: &'b [u8],
        exchanges: &HttpExchanges,
        answers: bool,
        mut reply: impl FnMut(&RequestHead) -> Option<Reply>,
    ) -> Cow<'b, [u8]> {
        let untouched = self.fate == Fate::Pass && self.withheld.is_empty();
        if exchanges.is_opaque() && untouched {
            return Cow::Borrowed(bytes);
        }
        // Without such a fault only framing is paid for.
        let plain = untouched && !answers;
        let mut on = BytesMut::new();
        let mut rest = bytes;
        while !(rest.is_empty() || exchanges.is_opaque() && self.fate == Fate::Pass) {
            self.choosing = answers && (self.choosing || self.framer.between_messages());
            let (taken, seen) = self.framer.step(rest, http1::request);
            let (segment, tail) = rest.split_at(taken);
            rest = tail;
            let passes = match seen {
                Seen::Head { head, ends } => {
                    let reply = self.choosing.then(|| reply(&head)).flatten();
                    self.decide(head, ends, exchanges, reply)
                }
                Seen::End => {
                    let passes = self.fate == Fate::Pass;
                    exchanges.complete();
                    if self.fate == Fate::Drop {
                        self.fate = Fate::Pass;
                    }
                    passes
                }
                Seen::Nothing if self.choosing && self.framer.within_head() => {
                    self.withheld.extend_from_slice(segment);
                    continue;
                }
                Seen::Nothing => self.fate == Fate::Pass,
                Seen::Opaque => self.give_up(exchanges),
            };
            if !passes {
                self.withheld.clear();
            } else if !plain {
                on.unsplit(self.withheld.split());
                on.extend_from_slice(segment);
            }
        }
        if plain {
            return Cow::Borrowed(bytes);
        }
        if exchanges.is_opaque() && self.fate == Fate::Pass {
            on.unsplit(self.withheld.split());
            on.extend_from_slice(rest);
        }
        Cow::Owned(on.into())
    }

    /// Whether a request whose head is complete goes on to the node.
    fn decide(
        &mut self,
        head: RequestHead,
        ends: bool,
        exchanges: &HttpExchanges,
        reply: Option<Reply>,
    ) -> bool {
        if self.fate == Fate::CloseAfterReply {
            return false;
        }
        let Some(reply) = reply else {
            exchanges.push(Exchange::Node {
                head_only: head.head_only,
                asked: ends.then(Instant::now),
            });
            return true;
        };
        // A caller that waits for 100 (Continue) gets the answer instead, and may send the body or not: only closing the
        // connection leaves no doubt about what comes next.
        let close = head.close || (head.expects && !ends);
        self.fate = match (close, ends) {
            (true, _) => Fate::CloseAfterReply,
            (false, true) => Fate::Pass,
            (false, false) => Fate::Drop,
        };
        exchanges.push(Exchange::Link {
            answer: own_answer(&reply, close),
            complete: ends || head.expects,
        });
        false
    }

    /// The caller no longer speaks HTTP/1; whether what it sends goes on to the node.
    fn give_up(&mut self, exchanges: &HttpExchanges) -> bool {
        if self.fate == Fate::Pass {
            exchanges.set_opaque();
            return true;
        }
        // In the body of a request that the link answers: there is no next one.
        self.fate = Fate::CloseAfterReply;
        exchanges.complete();
        false
    }

    /// What is still kept back when the caller has ended.
    pub(super) fn rest(&mut self) -> Bytes {
        self.withheld.split().freeze()
    }
}

/// The bytes of an answer that the link gives itself.
fn own_answer(reply: &Reply, close: bool) -> OwnAnswer {
    let status = reply.status;
    // The reason is for people; it tells such an answer from one of the node.
    let mut text = format!("HTTP/1.1 {status} Injected\r\nserver: clip-harness\r\n");
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !matches!(status, 204 | 304) {
        text.push_str("content-length: 0\r\n");
    }
    if close {
        text.push_str("connection: close\r\n");
    }
    text.push_str("\r\n");
    OwnAnswer {
        bytes: text.into(),
        close,
    }
}

/// The way from the node to the caller.
#[derive(Debug)]
pub(super) struct Answers {
    framer: Framer,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            framer: Framer::new(),
        }
    }

    /// The first stretch of `bytes`; at most all of them, and at least one.
    pub(super) fn next(&mut self, bytes: &[u8], exchanges: &HttpExchanges) -> Stretch {
        let passing = Stretch {
            length: bytes.len(),
            begins: None,
        };
        if exchanges.is_opaque() {
            return passing;
        }
        let first = self.framer.between_messages();
        let Some(turn) = exchanges.turn() else {
            // No request was open.
            exchanges.set_opaque();
            return passing;
        };
        let parse = |head: &[u8]| http1::answer(head, turn.head_only);
        let (length, seen) = self.framer.step(bytes, parse);
        match seen {
            Seen::Head { head, ends } if ends && !head.interim => exchanges.answered(),
            Seen::End => exchanges.answered(),
            Seen::Opaque => exchanges.set_opaque(),
            Seen::Head { .. } | Seen::Nothing => {}
        }
        Stretch {
            length,
            // An answer to half a request takes no time.
            begins: first.then(|| turn.asked.unwrap_or_else(Instant::now)),
        }
    }
}
