//! Lets hyper's client connect through [`crate::net::Net`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;

use crate::net::{BoxIo, SharedNet};

/// Connects to the host and port of a URI.
#[derive(Clone)]
pub(super) struct Connector(pub(super) SharedNet);

impl tower::Service<Uri> for Connector {
    type Response = ConnIo;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<ConnIo>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let net = SharedNet::clone(&self.0);
        Box::pin(async move {
            let host = uri
                .host()
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "URL without a host"))?;
            // An IPv6 literal stands in brackets in a URL, and without them everywhere else.
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let io = net.connect(host, uri.port_u16().unwrap_or(80)).await?;
            Ok(ConnIo(TokioIo::new(io)))
        })
    }
}

/// A connection as hyper wants it.
pub(super) struct ConnIo(TokioIo<BoxIo>);

impl Connection for ConnIo {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for ConnIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for ConnIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
