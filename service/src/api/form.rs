//! A multipart form whose parser holds no more than a bounded number of bytes, whatever is sent.
//!
//! The parser keeps what it cannot place yet: a preamble or the headers of a part that do not end would fill the memory. It is
//! therefore fed by measure: it may take [`HEAD_BYTES`] and must then give a part or a piece of one before it gets more. Nothing
//! here reads the syntax, so there is no second opinion about it that a sender could play off against the parser's. What the
//! parts mean, and how long their contents may be, is the upload's to say.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::extract::{FromRequest as _, Request};
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;

use crate::http::Problem;

/// Most bytes between two parts: a boundary and the headers of a part, before the first also the preamble.
pub(super) const HEAD_BYTES: usize = 16 * 1024;
/// Most bytes that the parser takes of a file before it gives some of them.
const FILE_BYTES: usize = 64 * 1024;

/// A form on its way in.
pub(super) struct Form {
    parser: Multipart,
    meter: Arc<Meter>,
}

/// One part of it.
pub(super) struct Part<'f> {
    field: Field<'f>,
    meter: Arc<Meter>,
}

impl Form {
    /// Begins to read the body of `request`.
    pub(super) async fn of(request: Request) -> Result<Self, Problem> {
        let meter = Arc::new(Meter::default());
        let measured = request.map(|body| Body::new(Measured::new(body, Arc::clone(&meter))));
        let parser = Multipart::from_request(measured, &())
            .await
            .map_err(no_form)?;
        Ok(Self { parser, meter })
    }

    /// The next part. The one before must have been read to its end.
    pub(super) async fn next(&mut self) -> Result<Option<Part<'_>>, Problem> {
        self.meter.allow(HEAD_BYTES);
        let next = self.parser.next_field().await;
        let meter = Arc::clone(&self.meter);
        match next {
            Ok(field) => Ok(field.map(|field| Part { field, meter })),
            Err(error) => Err(meter.explain(&error)),
        }
    }
}

impl Part<'_> {
    /// What the form calls it.
    pub(super) fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    /// Of a part that is a file.
    pub(super) fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// The next piece of its content.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        let is_file = self.file_name().is_some();
        self.meter
            .allow(if is_file { FILE_BYTES } else { HEAD_BYTES });
        let chunk = self.field.chunk().await;
        chunk.map_err(|error| self.meter.explain(&error))
    }
}

fn no_form(rejection: MultipartRejection) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("expected multipart/form-data: {}", rejection.body_text()),
    )
    .hint("curl -F file=@talk.mp4 …")
}

/// How much the parser may still take, and whether it asked for more than that.
#[derive(Debug, Default)]
struct Meter {
    room: AtomicUsize,
    exceeded: AtomicBool,
}

impl Meter {
    fn allow(&self, bytes: usize) {
        self.room.store(bytes, Relaxed);
    }

    fn explain(&self, error: &MultipartError) -> Problem {
        if self.exceeded.load(Relaxed) {
            let detail = format!("more than {HEAD_BYTES} bytes of the form belong to no part");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Problem::new(status, "form_head_too_large", detail).close();
        }
        Problem::new(StatusCode::BAD_REQUEST, "malformed_form", error.body_text())
    }
}

/// The body of a form, which is given out as the meter allows.
struct Measured {
    inner: Body,
    meter: Arc<Meter>,
    /// Received and not yet given out.
    rest: Bytes,
    /// The parser has been asked to make do with what it has.
    refused: bool,
}

impl Measured {
    fn new(inner: Body, meter: Arc<Meter>) -> Self {
        Self {
            inner,
            meter,
            rest: Bytes::new(),
            refused: false,
        }
    }
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                // A form has no use for trailers.
                Some(Ok(frame)) => this.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let room = this.meter.room.load(Relaxed);
        if room == 0 {
            if this.refused {
                this.meter.exceeded.store(true, Relaxed);
                let error = axum::Error::new("the form is out of measure");
                return Poll::Ready(Some(Err(error)));
            }
            // The parser takes all that is ready before it looks at any of it. It looks now; if it then still asks, what it
            // has is neither a part nor content.
            this.refused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.refused = false;
        let piece = this.rest.split_to(room.min(this.rest.len()));
        this.meter.allow(room - piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use http::header;
    use proptest::prelude::*;

    use super::*;

    /// A form in pieces; says in `pulled` how many bytes were taken of it.
    fn request(
        pieces: impl Iterator<Item = Bytes> + Send + 'static,
    ) -> (Request, Arc<AtomicUsize>) {
        let pulled = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&pulled);
        let pieces = stream::iter(pieces).map(move |piece| {
            counter.fetch_add(piece.len(), Relaxed);
            Ok::<_, std::io::Error>(piece)
        });
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=xx")
            .body(Body::from_stream(pieces))
            .unwrap();
        (request, pulled)
    }

    type Parts = Vec<(String, Option<String>, Vec<u8>)>;

    /// Every part with its name, file name and content.
    async fn read(request: Request) -> Result<Parts, Problem> {
        let mut form = Form::of(request).await?;
        let mut parts = Vec::new();
        while let Some(mut part) = form.next().await? {
            let mut content = Vec::new();
            while let Some(chunk) = part.chunk().await? {
                content.extend_from_slice(&chunk);
            }
            let file = part.file_name().map(str::to_owned);
            parts.push((part.name().to_owned(), file, content));
        }
        Ok(parts)
    }

    /// Reads what begins with `head` and goes on with `more` for ever.
    async fn endless(head: &'static str, more: &'static str) -> (Problem, usize) {
        let pieces = std::iter::once(head).chain(std::iter::repeat(more));
        let (request, pulled) = request(pieces.map(|text| Bytes::from_static(text.as_bytes())));
        let problem = read(request).await.unwrap_err();
        (problem, pulled.load(Relaxed))
    }

    const PART: &str = "--xx\r\ncontent-disposition: form-data; name=\"a\"\r\n";

    #[tokio::test]
    async fn what_belongs_to_no_part_is_not_kept_for_ever() {
        let padded = "--xx\r\ncontent-disposition: form-data; name=\"a\"\r\nx: ";
        for (head, more) in [
            ("", "preamble\r\n"),
            ("", "-"),
            ("", "--x"),
            (padded, "aaaaaaaaaaaaaaaa"),
            (PART, "x: y\r\n"),
            (
                "--xx\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xx\r\n",
                "x: y\r\n",
            ),
        ] {
            let (problem, pulled) = endless(head, more).await;
            let seen = (problem.status, problem.code.as_str(), problem.close);
            assert_eq!(seen, (413, "form_head_too_large", true), "{head}{more}");
            assert!(pulled < 4 * HEAD_BYTES, "{pulled} bytes of {head}{more}");
        }
        // A boundary that never ends is none, and padding after one is dropped as it comes.
        assert_eq!(endless("--xx", "a").await.0.code, "malformed_form");
        assert_eq!(endless("--xx", " ").await.0.code, "form_head_too_large");
    }

    #[tokio::test]
    async fn what_follows_the_last_part_is_not_read() {
        let text = format!("{PART}\r\n1\r\n--xx--\r\n");
        let more = std::iter::repeat_n(Bytes::from_static(b"epilogue"), 1_000_000);
        let (request, pulled) = request(std::iter::once(Bytes::from(text)).chain(more));
        assert_eq!(read(request).await.unwrap().len(), 1);
        assert!(pulled.load(Relaxed) < 4 * HEAD_BYTES);
    }

    proptest! {
        #[test]
        fn a_sound_form_is_read_whole_in_whatever_pieces(
            size in 0_usize..600_000,
            cut in prop::sample::select(vec![1_usize, 7, 1000, 16 * 1024, 70_000, 1 << 20]),
            before in 0_usize..15_000,
        ) {
            let cut = cut.max(size / 2000);
            let content: Vec<u8> = (0..size).map(|i| b"\r\n--x?\r\n-"[i % 9]).collect();
            let padding = "p".repeat(before);
            let mut body = format!(
                "{padding}\r\n--xx\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
            )
            .into_bytes();
            // The last byte must not be half of a boundary's line break.
            body.extend_from_slice(&content);
            body.extend_from_slice(
                format!(".\r\n--xx\r\nx-long: {padding}\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n7\r\n--xx--\r\n").as_bytes(),
            );
            let content = [content, b".".to_vec()].concat();
            let pieces: Vec<Bytes> = body.chunks(cut).map(Bytes::copy_from_slice).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let parts = runtime.block_on(read(request(pieces.into_iter()).0)).unwrap();
            let expected = [
                ("file".to_owned(), Some("a".to_owned()), content),
                ("n".to_owned(), None, b"7".to_vec()),
            ];
            prop_assert!(parts == expected);
        }
    }
}
