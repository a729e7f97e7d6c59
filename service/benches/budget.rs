//! What a budget of retries costs the calls that it watches, beside tower's.
//!
//! Tower's reads the clock itself; ours is handed the time, which the layers around it have read already. So ours is
//! measured both ways.
#![expect(clippy::print_stdout, reason = "figures are for whoever runs this")]

use std::hint::black_box;
use std::time::Duration;

use clip_service::upstream::Budget;
use paired::{Peer, Rounds};
use tokio::time::Instant;
use tower::retry::budget::{Budget as _, TpsBudget};

#[path = "bed/paired.rs"]
mod paired;

const ROUNDS: Rounds = Rounds {
    batch: 10_000,
    rounds: 200,
};

fn timed(n: u64, mut one: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..n {
        one();
    }
    start.elapsed()
}

fn main() {
    if !paired::measuring() {
        return;
    }
    let ours = || Budget::new(0.2, 10, Instant::now());
    let theirs = || TpsBudget::new(Duration::from_secs(10), 10, 0.2);
    let (budget, tower) = (ours(), theirs());
    paired::heading("A budget of retries, one thread.", ROUNDS);
    let deposits: [Peer<'_>; 3] = [
        ("ours, time given", &|n| {
            let now = Instant::now();
            timed(n, || budget.deposit(black_box(now)))
        }),
        ("ours, clock read", &|n| {
            timed(n, || budget.deposit(Instant::now()))
        }),
        ("tower's", &|n| timed(n, || tower.deposit())),
    ];
    paired::compare("a call is counted", &deposits, ROUNDS);
    // Enough is there in every round: what is measured is a withdrawal that is granted.
    let (budget, tower) = (ours(), theirs());
    let fill = |n| {
        for _ in 0..n * 6 {
            budget.deposit(Instant::now());
            tower.deposit();
        }
    };
    let withdrawals: [Peer<'_>; 3] = [
        ("ours, time given", &|n| {
            fill(n);
            let now = Instant::now();
            timed(n, || assert!(budget.withdraw(black_box(now))))
        }),
        ("ours, clock read", &|n| {
            fill(n);
            timed(n, || assert!(budget.withdraw(Instant::now())))
        }),
        ("tower's", &|n| {
            fill(n);
            timed(n, || assert!(tower.withdraw()))
        }),
    ];
    paired::compare("a retry is granted", &withdrawals, ROUNDS);
}
