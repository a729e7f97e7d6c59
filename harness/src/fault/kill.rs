//! `kill`: a node's process group gets SIGKILL (its tasks are dropped in the embedded runtime). Undone by starting it
//! again and waiting until it is ready.

use futures_util::future::BoxFuture;

use super::{Act, Active, FaultError, Injected, Testbed, Undone, start_again};

#[derive(Debug)]
struct Killed {
    node: String,
    how: String,
}

impl Act for crate::scenario::fault::Kill {
    fn inject<'a>(
        &'a self,
        node: &'a str,
        _: &'a str,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Injected, FaultError>> {
        Box::pin(inject(node, testbed))
    }
}

async fn inject(node: &str, testbed: &Testbed) -> Result<Injected, FaultError> {
    let detail = testbed.system.node(node)?.kill().await?;
    // `SIGKILL processor-2 (pid 4711): exited by signal 9`: the part after the colon is the proof.
    let how = detail
        .split_once(": ")
        .map_or(detail.as_str(), |(_, how)| how)
        .to_owned();
    Ok(Injected {
        detail,
        active: Box::new(Killed {
            node: node.to_owned(),
            how,
        }),
    })
}

impl Active for Killed {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            Ok(Undone {
                undo: start_again(&self.node, testbed).await?,
                proof: Some(self.how),
            })
        })
    }
}
