//! The bytes of one connection of a server: a peer that does not read its answers, the answers that the HTTP library gives by
//! itself, and a polite end.
//!
//! Nothing here reads requests. The library answers a head that it cannot read with a status and no word; such an answer is
//! known by its time, for it is written while no request is being answered, and is put into words on its way out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::pace::{Pace, Watch};
use crate::net::BoxIo;

/// How long, and for how many bytes, a peer that is still sending is listened to after its answer. Closed at once, the answer
/// would be lost: the operating system sends a reset for what it can no longer deliver, which overtakes it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1 << 20;

/// Where a connection stands with its requests; its bytes and its requests are looked after apart.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    begun: AtomicUsize,
    over: AtomicUsize,
    unread: AtomicBool,
}

/// One exchange, until its answer's body has ended.
pub(super) struct Begun(Arc<Exchanges>);

impl Exchanges {
    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Begun {
        self.begun.fetch_add(1, Relaxed);
        Begun(Arc::clone(self))
    }

    /// Whether no request is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.begun.load(Relaxed) == self.over.load(Relaxed)
    }

    /// Says whether there may be more of the last request's body on its way.
    pub(super) fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Relaxed);
    }

    /// Whether there may be more of the last request's body on its way.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Relaxed);
    }
}

/// A whole answer of that status.
type Refusal = Box<dyn Fn(StatusCode) -> Vec<u8> + Send>;

/// A connection that watches whether its peer reads.
pub(super) struct Wire {
    io: BoxIo,
    reading: Watch,
    exchanges: Arc<Exchanges>,
    refusal: Refusal,
    /// Exchanges whose answers have been handed to the operating system whole.
    sent: usize,
    /// Something has come since, the beginning of a request perhaps.
    heard: bool,
    /// The answer to what is no request, and how much of it is written.
    own: Option<(Vec<u8>, usize)>,
}

impl Wire {
    pub(super) fn new(io: BoxIo, pace: Pace, exchanges: Arc<Exchanges>, refusal: Refusal) -> Self {
        Self {
            io,
            reading: Watch::new(pace),
            exchanges,
            refusal,
            sent: 0,
            heard: false,
            own: None,
        }
    }

    /// Whether every request that has come is answered.
    fn is_quiet(&self) -> bool {
        self.exchanges.begun.load(Relaxed) == self.sent
    }

    /// Answers with `status` what has come and is no request, unless that has been done or nothing has come.
    pub(super) fn refuse(&mut self, status: StatusCode) {
        if self.own.is_none() && self.heard && self.is_quiet() {
            self.own = Some(((self.refusal)(status), 0));
        }
    }

    /// Takes the library's own answer to what is no request out of its hands.
    fn takes_over(&mut self, bytes: &[u8]) -> bool {
        if !self.is_quiet() {
            return false;
        }
        let status = bytes.get(9..12).map(StatusCode::from_bytes);
        match status {
            Some(Ok(status)) if bytes.starts_with(b"HTTP/1.") => self.refuse(status),
            _ => {}
        }
        self.own.is_some()
    }

    fn poll_own(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((answer, written)) = &mut self.own
            && *written < answer.len()
        {
            let polled = Pin::new(&mut self.io).poll_write(context, &answer[*written..]);
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => *written += bytes,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Closes it. With `unread`, there may be more on its way that nobody wants.
    pub(super) async fn close(mut self, unread: bool) {
        let closing = async {
            self.shutdown().await?;
            if unread {
                let mut rest = (&mut self.io).take(LINGER_BYTES);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            }
            io::Result::Ok(())
        };
        // It is over either way.
        tokio::time::timeout(LINGER, closing).await.ok();
    }

    /// What a write came to; a peer that takes nothing for too long is given up.
    fn written(
        &mut self,
        polled: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(bytes)) => self.reading.moved(bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                return self.reading.poll_late(context).map(|()| {
                    let error = "the peer does not read what it asked for";
                    Err(io::Error::new(io::ErrorKind::TimedOut, error))
                });
            }
        }
        polled
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heard = true;
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes_over(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        self.written(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if first.is_some_and(|slice| self.takes_over(slice)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let polled = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.written(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(context))?;
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        // Flushed when nothing is left to write: what is over by now is sent.
        let begun = self.exchanges.begun.load(Relaxed);
        if begun != self.sent && self.exchanges.is_idle() {
            self.sent = begun;
            self.heard = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
