//! What a step comes to, and waiting for it with a bound.

use std::time::Duration;

use crate::run::signals::Signals;

/// What a step comes to; the reason is for people.
pub(super) type Step = Result<(), String>;

const POLL: Duration = Duration::from_millis(20);

/// Polls until `check` has a value, for so long; says what it last saw. Ctrl-C ends it early.
pub(super) async fn eventually<T>(
    what: &str,
    within: Duration,
    signals: &Signals,
    mut check: impl AsyncFnMut() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let mut seen = "nothing".to_owned();
    let poll = async {
        loop {
            match check().await {
                Ok(Some(value)) => return value,
                Ok(None) => {}
                Err(now) => seen = now,
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let ended = tokio::select! {
        biased;
        () = signals.cancel.cancelled() => return Err("interrupted".to_owned()),
        ended = tokio::time::timeout(within, poll) => ended,
    };
    ended.map_err(|_| format!("waited {within:?} for {what}; last saw {seen}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded_and_says_what_it_saw() {
        let signals = Signals::default();
        let mut asked = 0;
        let third = eventually("three", Duration::from_secs(1), &signals, async || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(third.await, Ok(3));
        let never = eventually("rain", Duration::from_secs(1), &signals, async || {
            Err::<Option<()>, _>("sunshine".to_owned())
        });
        let told = never.await.expect_err("it never rains");
        assert!(told.contains("rain") && told.contains("sunshine"), "{told}");
        signals.cancel.cancel();
        let cut = eventually("rain", Duration::from_secs(1), &signals, async || {
            Ok(Some(()))
        });
        assert_eq!(cut.await, Err("interrupted".to_owned()));
    }
}
