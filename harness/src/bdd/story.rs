//! What one scenario of a feature knows: everything its steps have said and seen so far.

use std::time::Duration;

use cucumber::World;
use tokio::time::Instant;

use super::checked::Checked;
use super::draft::Draft;
use super::ran::Ran;
use super::visit::Visit;
use crate::procfs::process;
use crate::run::signals::Signals;

/// Children that were told to end are gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// The world of one scenario.
#[derive(Debug, Default, World)]
pub(super) struct Story {
    /// Ctrl-C, for steps that wait.
    pub(super) signals: Signals,
    /// The scenario that steps write.
    pub(super) draft: Draft,
    /// What came of running it.
    pub(super) ran: Option<Ran>,
    /// A scenario file, and what came of checking it.
    pub(super) checked: Checked,
    /// The service as its users see it.
    pub(super) clipping: Visit,
}

impl Story {
    /// The exit code of the last thing done that has one.
    pub(super) fn exit_code(&self) -> Result<u8, String> {
        if let Some(exit) = self.checked.exit() {
            return Ok(exit.code());
        }
        let ran = self.ran.as_ref().ok_or("nothing was checked or run yet")?;
        Ok(ran.verdict(&self.draft)?.exit().code())
    }

    /// Ends what still runs; what is left behind all the same.
    pub(super) async fn clear(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(service) = self.clipping.service.take()
            && let Err(error) = service.stop().await
        {
            left.push(format!("the service did not end well: {error}"));
        }
        left.extend(children_left(GONE_WITHIN).await);
        left
    }
}

/// Child processes of this one that outlive what they were started for.
async fn children_left(within: Duration) -> Vec<String> {
    let until = Instant::now() + within;
    loop {
        let children = process::children();
        if children.is_empty() || Instant::now() >= until {
            let name = |pid| format!("child process {pid}: {}", process::command(pid));
            return children.into_iter().map(|child| name(child.pid)).collect();
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_that_lives_on_is_found() {
        let mut child = tokio::process::Command::new("sleep")
            .arg("61")
            .kill_on_drop(true)
            .spawn()
            .expect("a child");
        let pid = child.id().expect("it lives").to_string();
        let named = |left: Vec<String>| left.iter().any(|child| child.contains(&pid));
        let found = children_left(Duration::ZERO).await;
        assert!(named(found));
        child.kill().await.expect("it dies");
        assert!(!named(children_left(Duration::ZERO).await));
    }
}
