//! How long a task that is held is waited for. A store keeps wall-clock times, and the wall clock may be set back: then
//! leases of the dead and waits for a next try end an hour late. By the time of this process a lease that lives is renewed
//! and a wait ends, so what stays as it is for longer is over.
//!
//! Not the end of a lease where clocks agree: that is in the store, and comes first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::TaskId;
use crate::store::Held;

/// What is held, and since when this process has seen it so.
#[derive(Debug, Default)]
pub(super) struct Patience(BTreeMap<TaskId, (Held, Instant)>);

impl Patience {
    /// Takes note of what is held `now`, and gives back what has not changed for `longest`.
    pub(super) fn over(&mut self, held: Vec<Held>, longest: Duration, now: Instant) -> Vec<Held> {
        let mut before = std::mem::take(&mut self.0);
        let mut over = Vec::new();
        for held in held {
            let since = match before.remove(&held.task) {
                Some((known, since)) if known == held => since,
                _ => now,
            };
            if now.duration_since(since) >= longest {
                over.push(held.clone());
            }
            self.0.insert(held.task.clone(), (held, since));
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn held(task: &str, epoch: u32, second: i64) -> Held {
        Held {
            task: TaskId::parse(task).unwrap(),
            epoch,
            until: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn only_what_stays_as_it_is_is_over() {
        let longest = Duration::from_secs(5);
        let start = Instant::now();
        let mut patience = Patience::default();
        let mut at = |second, held: &[Held]| {
            let now = start + Duration::from_secs(second);
            patience.over(held.to_vec(), longest, now)
        };
        let dead = held("task_1", 1, 3600);
        let waits = held("task_3", 0, 9999);
        assert!(at(0, &[dead.clone(), held("task_2", 1, 5)]).is_empty());
        // Renewed each second.
        for second in 1_u32..=4 {
            let lives = held("task_2", 1, i64::from(second) + 5);
            assert!(at(u64::from(second), &[dead.clone(), lives, waits.clone()]).is_empty());
        }
        let taken = held("task_2", 2, 9);
        let seen = [dead.clone(), taken.clone(), waits.clone()];
        assert_eq!(at(5, &seen), [dead]);
        // What was freed and held anew begins anew.
        let again = held("task_1", 2, 3700);
        assert_eq!(
            at(6, &[again.clone(), taken.clone(), waits.clone()]),
            [waits]
        );
        assert_eq!(at(10, &[again.clone(), taken.clone()]), [taken]);
        assert_eq!(at(11, std::slice::from_ref(&again)), [again]);
    }
}
