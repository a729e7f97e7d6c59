//! The proxy behind a link: accept, dial, two pumps per connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clip_service::env::SharedRng;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::Inner;
use super::exchanges::{Answers, HttpExchanges, Requests};
use super::pump::{Pump, Side};

pub(crate) const BACKLOG: u32 = 1024;
const DIAL_BOUND: Duration = Duration::from_secs(2);
/// Pause after a failed accept (descriptors exhausted), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A socket bound to `address`, not listening: connections to it are refused, and no other program can take the port.
pub(crate) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves a link until its task is aborted.
pub(crate) async fn serve(inner: Arc<Inner>, first: TcpListener, address: SocketAddr) {
    let mut downs = inner.downs.subscribe();
    let mut listener = first;
    let mut number: u64 = 0;
    loop {
        accept_until_down(&inner, &mut downs, &listener, &mut number).await;
        // The port stays reserved while the link is down: a free port could be handed out as a source port.
        drop(listener);
        let reserved = insist(|| reserve(address), &inner.name).await;
        inner.cuts.send_modify(|epoch| *epoch += 1);
        inner.listening.send_replace(false);
        if downs.wait_for(|downs| *downs == 0).await.is_err() {
            return;
        }
        let mut reserved = Some(reserved);
        listener = insist(
            || match reserved.take() {
                Some(socket) => socket.listen(BACKLOG),
                None => reserve(address)?.listen(BACKLOG),
            },
            &inner.name,
        )
        .await;
        inner.listening.send_replace(true);
    }
}

/// Repeats what can fail for a moment (the kernel has not let go of the port yet) until it works.
async fn insist<T>(mut attempt: impl FnMut() -> io::Result<T>, link: &str) -> T {
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => {
                tracing::warn!(link, %error, "link cannot have its port back yet");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_until_down(
    inner: &Arc<Inner>,
    downs: &mut tokio::sync::watch::Receiver<u32>,
    listener: &TcpListener,
    number: &mut u64,
) {
    loop {
        tokio::select! {
            biased;
            // The sender lives as long as the link's task, so this can only mean: down.
            () = async { drop(downs.wait_for(|downs| *downs > 0).await) } => return,
            accepted = listener.accept() => match accepted {
                Ok((caller, _)) => {
                    *number += 1;
                    let rng = inner.rng.fork(&format!("connection/{number}"));
                    // Subscribed before the task runs, so that no cut is missed in between.
                    let cuts = inner.cuts.subscribe();
                    tokio::spawn(connection(inner.clone(), caller, rng, cuts));
                }
                Err(error) => {
                    tracing::warn!(link = inner.name, %error, "accept failed");
                    inner.note(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Keeps the count of open connections right however a connection ends.
struct Open<'a>(&'a Inner);

impl<'a> Open<'a> {
    fn new(inner: &'a Inner) -> Self {
        let mut tally = inner.tally.lock();
        tally.connections += 1;
        tally.open += 1;
        Self(inner)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.tally.lock().open -= 1;
    }
}

async fn connection(
    inner: Arc<Inner>,
    caller: TcpStream,
    rng: SharedRng,
    mut cuts: tokio::sync::watch::Receiver<u64>,
) {
    let _open = Open::new(&inner);
    let work = async {
        let node = match dial(&inner).await {
            Ok(node) => node,
            Err(error) => {
                tracing::debug!(link = inner.name, %error, "dial failed");
                inner.tally.lock().dials_failed += 1;
                inner.note(&error);
                return Err(error);
            }
        };
        caller.set_nodelay(true).ok();
        node.set_nodelay(true).ok();
        Ok(node)
    };
    let node = tokio::select! {
        biased;
        _ = cuts.changed() => {
            inner.tally.lock().cut += 1;
            reset(&caller);
            return;
        }
        dialled = work => match dialled {
            Ok(node) => node,
            Err(_) => {
                reset(&caller);
                return;
            }
        },
    };
    let (from_caller, to_caller) = caller.into_split();
    let (from_node, to_node) = node.into_split();
    let exchanges = HttpExchanges::default();
    let mut up = Pump::new(
        &inner,
        &exchanges,
        (from_caller, to_node),
        Side::Up(Requests::new()),
        &rng,
    );
    let mut down = Pump::new(
        &inner,
        &exchanges,
        (from_node, to_caller),
        Side::Down(Answers::new()),
        &rng,
    );
    let ended = {
        let pumps = async { tokio::try_join!(up.run(), down.run()).map(|_| ()) };
        tokio::select! {
            biased;
            _ = cuts.changed() => {
                inner.tally.lock().cut += 1;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            ended = pumps => ended,
        }
    };
    if ended.is_err() {
        // Whatever broke on one side breaks on the other: no orderly end is made up.
        reset(up.write().as_ref());
        reset(down.write().as_ref());
        // A dropped write half would send an orderly end first.
        up.into_write().forget();
        down.into_write().forget();
    }
}

async fn dial(inner: &Inner) -> io::Result<TcpStream> {
    let address = (*inner.upstream.borrow()).ok_or(io::ErrorKind::NotConnected)?;
    tokio::time::timeout(DIAL_BOUND, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Makes the close that follows a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "socket would not be reset");
    }
}
