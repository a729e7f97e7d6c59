//! Peers measured in turns, so that what else the machine does meets them all, and their ratios in plain words.
//!
//! Criterion measures one function after the other: good for comparing a function with its own past, less for
//! comparing two with each other on a busy machine.

use std::time::Duration;

/// How often peers are measured, and on how many calls each time: enough for a mean to mean something, few enough that a
/// disturbance spoils few rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    /// Calls of one round.
    pub(crate) batch: u64,
    /// Rounds.
    pub(crate) rounds: usize,
}

/// One way to do the same thing: does it so many times and says how long that took.
pub(crate) type Peer<'a> = (&'a str, &'a dyn Fn(u64) -> Duration);

/// Whether this is `cargo bench`, which measures, and not a test run or a listing.
pub(crate) fn measuring() -> bool {
    let given = |flag| std::env::args().any(|arg| arg == flag);
    given("--bench") && !given("--test") && !given("--list")
}

/// Measures `peers` in turns and prints the median of each and its ratio to the first.
pub(crate) fn compare(title: &str, peers: &[Peer<'_>], rounds: Rounds) {
    let Rounds { batch, rounds } = rounds;
    let mut costs = vec![Vec::with_capacity(rounds); peers.len()];
    for round in 0..rounds {
        // Each round begins with another one: being first after a pause may cost more.
        for turn in 0..peers.len() {
            let at = (round + turn) % peers.len();
            costs[at].push(peers[at].1(batch).as_secs_f64() / batch as f64 * 1e6);
        }
    }
    println!("  {title}");
    let base = &costs[0];
    for (at, ((name, _), own)) in peers.iter().zip(&costs).enumerate() {
        let [_, cost, _] = quartiles(own.clone());
        let cost = if cost < 1.0 {
            format!("{:>8.1} ns", cost * 1e3)
        } else {
            format!("{cost:>8.1} µs")
        };
        if at == 0 {
            println!("    {name:<28} {cost}");
            continue;
        }
        let ratios: Vec<f64> = own.iter().zip(base).map(|(own, base)| own / base).collect();
        let [low, ratio, high] = quartiles(ratios);
        println!("    {name:<28} {cost}   x{ratio:.2}   (middle half x{low:.2} to x{high:.2})");
    }
}

/// Says what the figures that follow are.
pub(crate) fn heading(text: &str, rounds: Rounds) {
    let Rounds { batch, rounds } = rounds;
    println!("\n{text}");
    println!(
        "Medians of {rounds} rounds of {batch} calls, the peers in turns; ratios within a round."
    );
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}
