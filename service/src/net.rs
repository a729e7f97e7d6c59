//! The network as a parameter: bind and connect behind a trait, plus the real TCP implementation.
//!
//! Sockets are named here and nowhere else (the pipes of media workers apart). Roles address peers by host name and port;
//! [`TcpNet`] resolves names through a table of routes first (so that an operator, or a harness, can put a proxy on
//! any edge), then through DNS.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A byte stream between two peers.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A boxed [`Io`].
pub type BoxIo = Box<dyn Io>;

/// Accepts connections on one bound address.
pub trait Acceptor: Send {
    /// Waits for the next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxIo, SocketAddr)>>;
    /// The address it is bound to (with the real port when 0 was asked for).
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// How a role reaches the network.
pub trait Net: Send + Sync + 'static {
    /// Binds `address` (`ip:port`; port 0 picks a free one).
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Acceptor>>>;
    /// Connects to a peer by host name (or IP literal) and port. Bounded: fails with `TimedOut` after the connect timeout.
    fn connect(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<BoxIo>>;
    /// How many connections a server may have open.
    fn most_connections(&self) -> usize {
        usize::MAX
    }
}

/// Shared handle to a [`Net`].
pub type SharedNet = Arc<dyn Net>;

/// Real TCP.
#[derive(Clone)]
pub struct TcpNet {
    routes: Arc<BTreeMap<String, SocketAddr>>,
    connect_timeout: Duration,
    most_connections: usize,
}

impl fmt::Debug for TcpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpNet")
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

impl TcpNet {
    /// `routes` maps a peer's host name to the address to dial for it, whatever the port asked for.
    #[must_use]
    pub fn new(routes: BTreeMap<String, SocketAddr>) -> Self {
        Self {
            routes: Arc::new(routes),
            connect_timeout: Duration::from_secs(1),
            most_connections: usize::MAX,
        }
    }

    /// In a process that may open so many files. A third of them is for those who come, the rest for what is done for them:
    /// files, workers, and the calls to other nodes.
    #[must_use]
    pub fn within(self, files: usize) -> Self {
        Self {
            most_connections: (files / 3).max(1),
            ..self
        }
    }
}

struct TcpAcceptor(TcpListener);

impl Acceptor for TcpAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxIo, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            stream.set_nodelay(true).ok();
            Ok((Box::new(stream) as BoxIo, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Net for TcpNet {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Acceptor>>> {
        Box::pin(async move {
            Ok(Box::new(TcpAcceptor(TcpListener::bind(address).await?)) as Box<dyn Acceptor>)
        })
    }

    fn connect(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<BoxIo>> {
        let route = self.routes.get(&host).copied();
        let bound = self.connect_timeout;
        Box::pin(async move {
            let dial = async {
                match route {
                    Some(address) => TcpStream::connect(address).await,
                    None => TcpStream::connect((host.as_str(), port)).await,
                }
            };
            let stream = tokio::time::timeout(bound, dial)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connect timed out"))??;
            stream.set_nodelay(true).ok();
            Ok(Box::new(stream) as BoxIo)
        })
    }

    fn most_connections(&self) -> usize {
        self.most_connections
    }
}
