//! Nodes that come and go with what the system asks for.
//!
//! A service that scales says how many processors it wants; what runs it follows. Here that is the runtime: the plan has
//! as many nodes as there may be, those above the first ones are on standby, and the fleet starts and stops them. It decides
//! nothing. Faults are the conductor's, and only hit nodes that are not on standby.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::system::System;
use super::wanted::Wanted;

/// Time a node that is no longer wanted has to finish what it does: longer than the service's own bound for that.
const LEAVE_WITHIN: Duration = Duration::from_secs(15);

/// Starts and stops nodes on standby until `over`. Those that run then are the system's to stop.
pub async fn follow(system: &System, wanted: &Wanted, over: &CancellationToken) {
    let (first, standby) = system.scaled();
    if standby.is_empty() {
        return;
    }
    let mut wanted = wanted.watch();
    let mut running = 0;
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            Ok(()) = wanted.changed() => {}
        }
        loop {
            // Looked at anew after each step, which takes a while.
            let more = wanted
                .borrow_and_update()
                .saturating_sub(first)
                .min(standby.len());
            if more > running {
                let name = standby[running];
                match system.start_node(name, over).await {
                    Ok(_) => running += 1,
                    Err(_) if over.is_cancelled() => return,
                    Err(error) => {
                        system.warn(format!("{name}, which was asked for: {error}"));
                        break;
                    }
                }
            } else if more < running {
                let name = standby[running - 1];
                running -= 1;
                let Ok(node) = system.node(name) else { break };
                if let Err(error) = node.stop(LEAVE_WITHIN).await {
                    system.warn(format!("{name}, which is no longer wanted: {error}"));
                    break;
                }
            } else {
                break;
            }
            if over.is_cancelled() {
                return;
            }
        }
    }
}
