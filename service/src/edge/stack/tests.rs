use axum::routing::{get, post};
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::*;
use crate::admission::{
    AdmissionConfig, Bulkhead, RateLimitConfig, ShedConfig, X_PRIORITY, X_TENANT,
};
use crate::edge::{Class, Operation};
use crate::http::X_SHED;
use crate::http::testing::{MemoryNet, node};

/// A row of a class of its own.
fn row(
    method: Method,
    path: &'static str,
    turn: Turn,
    priority: Priority,
    bulkhead: Option<&'static str>,
) -> Operation {
    Operation {
        class: Class {
            name: path,
            priority,
            turn,
            bulkhead,
        },
        ..Operation::new(method, path, path, "")
    }
}

struct Bed {
    router: Router,
    admission: Admission,
    /// Lets `/slow` go on.
    go: Arc<Notify>,
}

fn bed(config: &AdmissionConfig) -> Bed {
    let (env, _) = node("server", Arc::new(MemoryNet::default()), 1);
    let admission = Admission::new(config, 4, &env.rng, vec![Bulkhead::new("stream", 1)]);
    let config = StackConfig {
        env,
        metrics: Arc::default(),
        draining: CancellationToken::new(),
        request: Duration::from_secs(10),
        upload: Duration::from_secs(10),
        body_bytes: 1024,
        admission: admission.clone(),
    };
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let cached = async |axum::Extension(ticket): axum::Extension<Ticket>, headers: HeaderMap| {
        if headers.contains_key("miss") {
            ticket.turn().await?;
        }
        Ok::<_, Problem>("cached")
    };
    let slow = get(async move || {
        wait.notified().await;
        "slow"
    });
    let (get_, high) = (Method::GET, Priority::High);
    let operational = Operation {
        access: Access::Operational,
        ..Operation::new(Method::GET, "/health", "health", "")
    };
    let endpoints = vec![
        Endpoint::new(row(get_.clone(), "/slow", Turn::Needed, high, None), slow),
        Endpoint::new(
            row(Method::POST, "/gated", Turn::Gate, Priority::Low, None),
            post(async || "gated"),
        ),
        Endpoint::new(
            row(get_.clone(), "/cached", Turn::Later, high, None),
            get(cached),
        ),
        Endpoint::new(
            row(get_, "/stream", Turn::None, high, Some("stream")),
            get(async || "a body"),
        ),
        Endpoint::new(operational, get(async || "fine")),
    ];
    Bed {
        router: router(endpoints, (), config),
        admission,
        go,
    }
}

impl Bed {
    async fn ask(&self, path: &str, headers: &[(HeaderName, &'static str)]) -> Response {
        let mut request = http::Request::builder().uri(path);
        if path == "/gated" {
            request = request.method("POST");
        }
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }
}

fn one_at_a_time() -> AdmissionConfig {
    AdmissionConfig {
        shed: ShedConfig {
            min: 1,
            max: 1,
            queue: 0,
            ..ShedConfig::default()
        },
        ..AdmissionConfig::default()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_sends_too_much_is_told_when_to_come_again() {
    let bed = bed(&AdmissionConfig {
        rate_limit: RateLimitConfig {
            per_second: 0.5,
            burst: 2,
        },
        ..AdmissionConfig::default()
    });
    let tenant = [(X_TENANT, "a")];
    for remaining in ["1", "0"] {
        let answer = bed.ask("/stream", &tenant).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "ratelimit-remaining"), remaining);
    }
    let refused = bed.ask("/stream", &tenant).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "retry-after"), "2");
    assert_eq!(header(&refused, "ratelimit-limit"), "2");
    assert_eq!(bed.ask("/stream", &[]).await.status(), 200, "others may");
    for _ in 0..10 {
        assert_eq!(bed.ask("/health", &tenant).await.status(), 200);
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(bed.ask("/stream", &tenant).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_too_much_to_do_says_so_and_stays_visible() {
    let bed = bed(&one_at_a_time());
    let mut slow = Box::pin(bed.ask("/slow", &[]));
    assert!(futures_util::poll!(slow.as_mut()).is_pending());
    let refused = bed.ask("/slow", &[]).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(header(&refused, X_SHED.as_str()), "queue-full");
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(header(&refused, "content-type"), "application/problem+json");
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&problem["code"], &problem["instance"]),
        (&"overloaded".into(), &"/slow".into())
    );
    assert_eq!(
        header(&bed.ask("/gated", &[]).await, X_SHED.as_str()),
        "limit"
    );
    // Neither what looks after the node nor what costs nothing needs a turn.
    assert_eq!(bed.ask("/health", &[]).await.status(), 200);
    assert_eq!(bed.ask("/cached", &[]).await.status(), 200);
    let miss = [(HeaderName::from_static("miss"), "1")];
    assert_eq!(bed.ask("/cached", &miss).await.status(), 503);
    bed.go.notify_one();
    assert_eq!(slow.await.status(), 200);
    assert_eq!(bed.ask("/gated", &[]).await.status(), 200);
    assert_eq!(bed.ask("/cached", &miss).await.status(), 200);

    let metrics = Metrics::default();
    bed.admission.publish(&metrics);
    let text = metrics.render();
    for line in [
        r#"clip_shed_total{priority="high",reason="queue-full"} 2"#,
        r#"clip_shed_total{priority="low",reason="limit"} 1"#,
        r#"clip_admitted_total{priority="high"} 2"#,
        "clip_admission_in_flight 0",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_time_is_up_is_not_begun() {
    let bed = bed(&AdmissionConfig {
        shed: ShedConfig {
            queue: 8,
            ..one_at_a_time().shed
        },
        ..AdmissionConfig::default()
    });
    let timeout = |ms| [(crate::edge::deadline::X_TIMEOUT_MS, ms)];
    assert_eq!(bed.ask("/slow", &timeout("0")).await.status(), 504);
    let mut slow = Box::pin(bed.ask("/slow", &[]));
    assert!(futures_util::poll!(slow.as_mut()).is_pending());
    let began = Instant::now();
    let refused = bed.ask("/slow", &timeout("20")).await;
    assert_eq!(header(&refused, X_SHED.as_str()), "deadline");
    assert_eq!(began.elapsed(), Duration::from_millis(20));
    let refused = bed.ask("/slow", &[(X_PRIORITY, "low")]).await;
    assert_eq!(header(&refused, X_SHED.as_str()), "queue-age");
    assert_eq!(began.elapsed(), Duration::from_millis(120));
    // And one that is begun ends.
    assert_eq!(slow.await.status(), 504);
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn a_place_is_kept_until_the_body_has_ended() {
    let bed = bed(&AdmissionConfig::default());
    let first = bed.ask("/stream", &[]).await;
    let second = bed.ask("/stream", &[]).await;
    assert_eq!(
        (second.status().as_u16(), header(&second, X_SHED.as_str())),
        (503, "bulkhead")
    );
    first.into_body().collect().await.unwrap();
    let third = bed.ask("/stream", &[]).await;
    assert_eq!(third.status(), 200);
    drop(third);
    assert_eq!(bed.ask("/stream", &[]).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn browsers_are_told_to_make_nothing_more_of_an_answer() {
    let bed = bed(&AdmissionConfig::default());
    for path in ["/stream", "/health", "/nowhere"] {
        let answer = bed.ask(path, &[]).await;
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        let policy = header(&answer, "content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
    }
}
