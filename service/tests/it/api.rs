//! The HTTP API of the whole service, embedded.

use http::Method;
use serde_json::json;

use crate::client::sha256;
use crate::node::{Embedded, files, video};

#[tokio::test(flavor = "multi_thread")]
async fn a_video_becomes_clips_that_can_be_had() {
    let service = Embedded::start(|_| {}).await;
    let client = &service.client;
    let fields = [
        ("max_clips", "2"),
        ("max_clip_length", "6"),
        ("metadata", r#"{"who":"me"}"#),
    ];
    let accepted = client.upload(&video(), &fields).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let body = accepted.json();
    assert_eq!(accepted.header("location"), body["status_url"]);
    let job = body["job_id"].as_str().unwrap();
    client.completed_with_clips(job).await;
    let view = client.job_in(job, &["completed"]).await;
    assert_eq!(
        (&view["metadata"]["who"], &view["progress"]),
        (&json!("me"), &json!(1.0))
    );

    let clips = client
        .get(&format!("/api/v1/jobs/{job}/clips"))
        .await
        .json();
    let clip = &clips["clips"][0];
    let url = clip["download_url"].as_str().unwrap();
    let whole = client.get(url).await;
    let size = whole.body.len();
    assert_eq!(clip["size"], size);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-type"), "video/mp4");
    let etag = whole.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", sha256(&whole.body)));

    let ask = async |headers: &[(&str, &str)]| client.send(Method::GET, url, headers, "").await;
    let part = ask(&[("range", "bytes=100-199")]).await;
    assert_eq!(part.status, 206);
    assert_eq!(
        part.header("content-range"),
        format!("bytes 100-199/{size}")
    );
    assert_eq!(part.body, whole.body.slice(100..200));
    let tail = ask(&[("range", "bytes=-50"), ("if-range", &etag)]).await;
    assert_eq!(
        (tail.status.as_u16(), &tail.body),
        (206, &whole.body.slice(size - 50..))
    );
    let changed = ask(&[("range", "bytes=0-1"), ("if-range", "\"older\"")]).await;
    assert_eq!((changed.status.as_u16(), changed.body.len()), (200, size));
    let beyond = ask(&[("range", &format!("bytes={size}-"))]).await;
    assert_eq!(beyond.problem(416), "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
    let known = ask(&[("if-none-match", &etag)]).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    let head = client.send(Method::HEAD, url, &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), size.to_string());

    let poster = client.get(clip["thumbnail_url"].as_str().unwrap()).await;
    assert_eq!(
        (poster.status.as_u16(), poster.header("content-type")),
        (200, "image/jpeg")
    );
    assert_eq!(&poster.body[..2], [0xff, 0xd8]);

    let video = view["video_id"].as_str().unwrap();
    for at in ["1", "1.5", "1.5s"] {
        let frame = client
            .get(&format!("/api/v1/videos/{video}/frame?at={at}&width=160"))
            .await;
        assert_eq!(
            (frame.status.as_u16(), frame.header("content-type")),
            (200, "image/jpeg")
        );
        assert_eq!(&frame.body[..2], [0xff, 0xd8]);
        assert_eq!(frame.header("x-instance"), "processor-1");
    }
    let frames = format!("/api/v1/videos/{video}/frame");
    assert_eq!(
        client.get(&format!("{frames}?at=9999")).await.problem(422),
        "out_of_range"
    );
    assert_eq!(
        client.get(&format!("{frames}?at=soon")).await.problem(422),
        "invalid_request"
    );
    assert_eq!(
        client.get(&format!("{frames}?time=1")).await.problem(400),
        "unknown_field"
    );
    assert_eq!(
        client
            .get("/api/v1/videos/video_0/frame")
            .await
            .problem(404),
        "video_not_found"
    );

    let metrics = client.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let frames = "clip_http_requests_total{route=\"/api/v1/videos/{id}/frame\",method=\"GET\",status=\"200\"} 3";
    for line in [
        frames,
        "clip_jobs_open 0",
        "clip_breaker_state{instance=\"processor-1\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
    let upstreams = client.get("/internal/upstreams").await.json();
    assert_eq!(
        upstreams["instances"][0]["name"], "processor-1",
        "{upstreams}"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_is_moved_by_hand() {
    let service = Embedded::start(|_| {}).await;
    let client = &service.client;
    let path = "/internal/upstreams/processor-1/breaker";
    for (state, place) in [
        ("forced-open", "unused"),
        ("observe", "regular"),
        ("closed", "regular"),
    ] {
        let moved = client
            .post_json(path, &[], &json!({ "state": state }))
            .await;
        assert_eq!(moved.json()["state"], state, "{}", moved.json());
        let seen = client.get("/internal/upstreams").await.json();
        let instance = &seen["instances"][0];
        assert_eq!(instance["breaker"], state, "{seen}");
        assert_eq!(instance["place"], place, "{seen}");
        assert_eq!(instance["breaker_detail"]["state"], state, "{seen}");
    }
    for (path, wish, status, code) in [
        (path, json!({ "state": "open" }), 422, "invalid_request"),
        (path, json!({}), 422, "invalid_request"),
        (path, json!({ "stat": "closed" }), 400, "unknown_field"),
        (
            "/internal/upstreams/processor-9/breaker",
            json!({ "state": "closed" }),
            404,
            "instance_not_found",
        ),
    ] {
        let refused = client.post_json(path, &[], &wish).await;
        assert_eq!(refused.problem(status), code);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_video_is_refused_and_not_kept() {
    let service = Embedded::start(|config| config.limits.upload_bytes = 100_000).await;
    let client = &service.client;
    let text = b"this is a text, and no more of a video than that".repeat(50);
    let refused = client.upload(&text, &[]).await;
    assert_eq!(refused.problem(422), "not_a_video");
    assert_eq!(client.upload(b"", &[]).await.problem(422), "not_a_video");
    assert_eq!(
        client.upload(&vec![0; 2_000_000], &[]).await.problem(413),
        "upload_too_large"
    );
    // Small enough by its declared length, too large once its bytes are counted.
    assert_eq!(
        client.upload(&vec![0; 300_000], &[]).await.problem(413),
        "upload_too_large"
    );
    let fields = [("max_clips", "many"), ("aspect_ratio", "4:3")];
    let wrong = client.upload(&text, &fields).await;
    assert_eq!(wrong.problem(422), "invalid_request");
    assert_eq!(wrong.json()["errors"].as_array().unwrap().len(), 2);
    assert_eq!(
        client
            .upload(&text, &[("langage", "de")])
            .await
            .problem(400),
        "unknown_field"
    );

    let no_file =
        "--xx\r\ncontent-disposition: form-data; name=\"max_clips\"\r\n\r\n3\r\n--xx--\r\n";
    let form = [("content-type", "multipart/form-data; boundary=xx")];
    let missing = client
        .send(Method::POST, "/api/v1/upload", &form, no_file)
        .await;
    assert_eq!(missing.problem(422), "missing_file");
    let broken = client
        .send(Method::POST, "/api/v1/upload", &form, "--xx\r\nhello")
        .await;
    assert_eq!(broken.problem(400), "malformed_form");
    let other = client.send(Method::POST, "/api/v1/upload", &[], "x").await;
    assert_eq!(other.problem(415), "unsupported_media_type");

    let kept = files(&service._data.path().join("blobs"));
    assert!(kept.is_empty(), "{kept:?}");
    let jobs = client.get("/api/v1/jobs").await.json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_with_a_key_is_made_once() {
    let service = Embedded::start(|_| {}).await;
    let client = &service.client;
    let video = client.video(&video()).await;
    let body = json!({ "video_id": video, "max_clips": 1, "max_clip_length": 5 });
    let same = json!({ "max_clips": 1, "max_clip_length": 5.0, "video_id": video });
    let key = [("idempotency-key", "k-1")];
    let twins = (0..4).map(|_| client.post_json("/api/v1/process-video", &key, &body));
    let answers = futures_util::future::join_all(twins).await;
    assert!(
        answers
            .iter()
            .all(|a| a.status == 202 && a.body == answers[0].body),
        "{answers:?}"
    );
    let replayed = answers
        .iter()
        .filter(|a| a.header("idempotent-replayed") == "true")
        .count();
    assert_eq!(replayed, 3);
    let again = client.post_json("/api/v1/process-video", &key, &same).await;
    assert_eq!(
        (
            again.body == answers[0].body,
            again.header("idempotent-replayed")
        ),
        (true, "true")
    );
    let other = json!({ "video_id": video, "max_clips": 2 });
    let other = client
        .post_json("/api/v1/process-video", &key, &other)
        .await;
    assert_eq!(other.problem(422), "idempotency_key_reused");
    client.submit(&video).await;

    let page = client.get("/api/v1/jobs?limit=1").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = client
        .get(&format!("/api/v1/jobs?limit=1&cursor={cursor}"))
        .await
        .json();
    assert_eq!(rest["jobs"][0]["job_id"], answers[0].json()["job_id"]);
    assert_eq!(rest["next_cursor"], json!(null));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem() {
    let service = Embedded::start(|config| config.limits.body_bytes = 4096).await;
    let client = &service.client;
    let submit = "/api/v1/process-video";
    assert_eq!(client.get("/nowhere").await.problem(404), "no_such_route");
    assert_eq!(
        client.get("/api/v1/jobs/job_x").await.problem(404),
        "job_not_found"
    );
    assert_eq!(
        client
            .get("/api/v1/jobs/not%20an%20id/clips")
            .await
            .problem(404),
        "job_not_found"
    );
    assert_eq!(
        client
            .get("/api/v1/clips/clip_x/download")
            .await
            .problem(404),
        "clip_not_found"
    );
    assert_eq!(
        client.get("/api/v1/jobs?status=lost").await.problem(422),
        "invalid_request"
    );
    assert_eq!(
        client.get("/api/v1/jobs?limit=0").await.problem(422),
        "invalid_request"
    );
    assert_eq!(
        client.get("/api/v1/jobs?page=2").await.problem(400),
        "unknown_field"
    );
    let method = client.send(Method::PUT, submit, &[], "").await;
    assert_eq!(method.problem(405), "method_not_allowed");
    assert_eq!(method.header("allow"), "POST");
    let kind = client
        .send(
            Method::POST,
            submit,
            &[("content-type", "text/plain")],
            "{}",
        )
        .await;
    assert_eq!(kind.problem(415), "unsupported_media_type");
    let json_kind = [("content-type", "application/json")];
    let broken = client
        .send(Method::POST, submit, &json_kind, "{\"video_id\":")
        .await;
    assert_eq!(broken.problem(400), "malformed_json");
    let large = format!("{{\"video_id\":\"{}\"}}", "x".repeat(5000));
    let large = client.send(Method::POST, submit, &json_kind, large).await;
    assert_eq!(large.problem(413), "body_too_large");
    let missing = client
        .post_json(submit, &[], &json!({ "video_id": "video_gone" }))
        .await;
    assert_eq!(missing.problem(422), "video_not_found");
    let other = client
        .post_json(submit, &[], &json!({ "youtube_url": "https://youtu.be/x" }))
        .await;
    assert_eq!(other.problem(422), "unsupported_source");
    let late = client
        .send(Method::GET, "/api/v1/jobs", &[("x-timeout-ms", "0")], "")
        .await;
    assert_eq!(late.problem(504), "deadline_exceeded");

    let mine = client
        .send(Method::GET, "/health", &[("x-request-id", "my-id.1")], "")
        .await;
    assert_eq!(
        (mine.status.as_u16(), mine.header("x-request-id")),
        (200, "my-id.1")
    );
    let odd = client
        .send(Method::GET, "/health", &[("x-request-id", "a b\"<c>")], "")
        .await;
    assert_eq!(odd.header("x-request-id").len(), 32);
    service.stop().await;
}
