//! Answers that come in pieces: what is in flight, and what breaks half-way.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_stream_is_in_flight_to_its_end() {
    let bed = Bed::memory(1, UpstreamConfig::default()).await;
    let reply = bed
        .upstream
        .call(stream(Duration::from_secs(1)))
        .await
        .expect("a head");
    assert_eq!(bed.upstream.snapshot()[0].in_flight, 1);
    let bytes = reply.response.into_body().bytes(100).await.expect("a body");
    assert_eq!(
        (&bytes[..], bed.upstream.snapshot()[0].in_flight),
        (&b"p1"[..], 0)
    );
    let reply = bed
        .upstream
        .call(stream(Duration::from_secs(1)))
        .await
        .expect("a head");
    drop(reply);
    assert_eq!(bed.upstream.snapshot()[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_or_falls_silent_counts_against_the_instance() {
    let bed = Bed::memory(1, UpstreamConfig::default()).await;
    bed.servers[0].set(Mood::Breaks);
    let reply = bed
        .upstream
        .call(stream(Duration::from_secs(1)))
        .await
        .expect("a head");
    let error = reply
        .response
        .into_body()
        .bytes(100)
        .await
        .expect_err("breaks");
    assert!(matches!(error, BodyError::Broken(_)), "{error}");
    bed.servers[0].set(Mood::Stalls);
    let reply = bed
        .upstream
        .call(stream(Duration::from_secs(1)))
        .await
        .expect("a head");
    let error = reply
        .response
        .into_body()
        .bytes(100)
        .await
        .expect_err("stalls");
    assert_eq!(error, BodyError::Idle(Duration::from_secs(1)));
    let view = &bed.upstream.snapshot()[0];
    assert_eq!((view.succeeded, view.failed, view.in_flight), (2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_whole_read_that_breaks_half_way_is_retried() {
    for mood in [Mood::Breaks, Mood::Stalls] {
        let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
        let results = bed
            .load(200, 5 * MS, BTreeMap::from([(20, Act::Set(1, mood))]))
            .await;
        assert_eq!(failures(&results), Vec::<String>::new(), "{mood:?}");
        for (result, _) in results {
            let body = result.expect("answered").response.into_body();
            assert_eq!(body.bytes(100).await.expect("whole").len(), 2);
        }
    }
}
