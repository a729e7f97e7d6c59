//! The body of an answer: complete already, or streamed under watch.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::attempt::Recorder;
use crate::http::ClientError;

/// Why a streamed answer did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for this long.
    #[error("silent for {0:?}")]
    Idle(Duration),
    /// The call's time was up.
    #[error("deadline exceeded while the answer was streamed")]
    Deadline,
    /// The connection broke.
    #[error("connection broke: {0}")]
    Broken(String),
    /// More than the reader wanted.
    #[error("answer longer than {0} bytes")]
    TooLong(usize),
}

/// Body of a [`super::Reply`].
pub struct UpstreamBody(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Stream(Box<Stream>),
}

struct Stream {
    inner: Incoming,
    idle: Duration,
    silence: Pin<Box<Sleep>>,
    deadline: Pin<Box<Sleep>>,
    /// Counts as in flight until the body ends or is dropped.
    recorder: Option<Recorder>,
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => f
                .debug_tuple("Whole")
                .field(&bytes.as_ref().map(Bytes::len))
                .finish(),
            Kind::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl UpstreamBody {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Some(bytes)))
    }

    pub(super) fn stream(
        inner: Incoming,
        idle: Duration,
        deadline: Instant,
        recorder: Recorder,
    ) -> Self {
        Self(Kind::Stream(Box::new(Stream {
            inner,
            idle,
            silence: Box::pin(tokio::time::sleep(idle)),
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            recorder: Some(recorder),
        })))
    }

    /// Reads it to its end. Bounded by the call's deadline and by `limit` bytes.
    ///
    /// # Errors
    /// Any [`BodyError`].
    pub async fn bytes(self, limit: usize) -> Result<Bytes, BodyError> {
        let mut body = match self.0 {
            Kind::Whole(bytes) => {
                let bytes = bytes.unwrap_or_default();
                return if bytes.len() > limit {
                    Err(BodyError::TooLong(limit))
                } else {
                    Ok(bytes)
                };
            }
            stream => Self(stream),
        };
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                if all.len() + data.len() > limit {
                    return Err(BodyError::TooLong(limit));
                }
                all.extend_from_slice(&data);
            }
        }
        Ok(all.freeze())
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Kind::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Stream(stream) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Stream(stream) => stream.inner.size_hint(),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let error = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.as_mut().reset(Instant::now() + self.idle);
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                self.recorder = None;
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => {
                let ClientError::Broken(text) = ClientError::broken(&error) else {
                    return Poll::Ready(None);
                };
                BodyError::Broken(text)
            }
            Poll::Pending if self.silence.as_mut().poll(cx).is_ready() => {
                BodyError::Idle(self.idle)
            }
            Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => BodyError::Deadline,
            Poll::Pending => return Poll::Pending,
        };
        if let Some(mut recorder) = self.recorder.take()
            // Whoever sets a deadline that is too short learns nothing about the instance.
            && error != BodyError::Deadline
        {
            recorder.broke();
        }
        Poll::Ready(Some(Err(error)))
    }
}
