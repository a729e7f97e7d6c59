//! The bytes of one connection of a server: a peer that does not read its answers, and a polite end.
//!
//! HTTP itself is the library's; nothing here reads requests.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::pace::{Pace, Watch};
use crate::net::BoxIo;

/// How long, and for how many bytes, a peer that is still sending is listened to after its answer. Closed at once, the answer
/// would be lost: the operating system sends a reset for what it can no longer deliver, which overtakes it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1 << 20;

/// A connection that watches whether its peer reads.
pub(super) struct Wire {
    io: BoxIo,
    reading: Watch,
}

impl Wire {
    pub(super) fn new(io: BoxIo, pace: Pace) -> Self {
        Self {
            io,
            reading: Watch::new(pace),
        }
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
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        self.written(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.written(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
