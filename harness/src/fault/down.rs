//! `down`: a link refuses connections and resets those it has. Undone by listening again on the same port; proved by
//! the connections that were cut, or by traffic that was there until the moment it went down.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use super::{Act, Active, FaultError, Injected, Testbed, Undone};
use crate::link::LinkError;

/// Traffic as recent as this counts as cut off by the fault, even where no connection stood open between two requests.
const RECENT: Duration = Duration::from_secs(1);
const PROBE_BOUND: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Down {
    link: String,
    proof: Option<String>,
}

impl Act for crate::scenario::fault::Down {
    fn inject<'a>(
        &'a self,
        link: &'a str,
        _: &'a str,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Injected, FaultError>> {
        Box::pin(inject(link, testbed))
    }
}

async fn inject(link: &str, testbed: &Testbed) -> Result<Injected, FaultError> {
    let edge = testbed.links.get(link)?;
    let before = edge.tally();
    let idle = edge.idle();
    edge.take_down().await?;
    if connects(edge.address()).await {
        return Err(LinkError::Stuck {
            name: link.to_owned(),
            wanted: "down",
            within: PROBE_BOUND,
        }
        .into());
    }
    let plural = if before.open == 1 { "" } else { "s" };
    let cut = format!(
        "{} connection{plural} cut, further ones refused",
        before.open
    );
    let proof = match idle {
        _ if before.open > 0 => Some(cut.clone()),
        Some(idle) if idle <= RECENT => Some(format!(
            "in use until {} ms before, connections refused",
            idle.as_millis()
        )),
        Some(_) | None => None,
    };
    Ok(Injected {
        detail: format!("{link} down: {cut}"),
        active: Box::new(Down {
            link: link.to_owned(),
            proof,
        }),
    })
}

impl Active for Down {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            let edge = testbed.links.get(&self.link)?;
            edge.bring_up().await?;
            if edge.is_down() {
                return Ok(Undone {
                    proof: self.proof,
                    undo: "the link stays down for another fault".to_owned(),
                });
            }
            if !connects(edge.address()).await {
                return Err(LinkError::Stuck {
                    name: self.link,
                    wanted: "up",
                    within: PROBE_BOUND,
                }
                .into());
            }
            Ok(Undone {
                proof: self.proof,
                undo: "link up, accepts connections".to_owned(),
            })
        })
    }
}

async fn connects(address: std::net::SocketAddr) -> bool {
    matches!(
        tokio::time::timeout(PROBE_BOUND, TcpStream::connect(address)).await,
        Ok(Ok(_))
    )
}
