//! The end of listening, which is what callers of a killed node see. That a node is there is [`super::ready`]'s to say.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(5);
const TRY_BOUND: Duration = Duration::from_millis(200);

/// Waits for so long until nothing accepts connections at `address`; whether that came.
pub(super) async fn refused(address: SocketAddr, within: Duration) -> bool {
    let until = Instant::now() + within;
    while Instant::now() < until {
        match tokio::time::timeout(TRY_BOUND, TcpStream::connect(address)).await {
            Ok(Err(_)) => return true,
            Ok(Ok(_)) | Err(_) => tokio::time::sleep(POLL).await,
        }
    }
    false
}
