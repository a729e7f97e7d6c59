//! What is stored, when requests are refused and the storage itself fails.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::client::eventually;
use crate::node::{Embedded, Process, sources, video};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_leaves_no_source_behind() {
    let service = Embedded::start(|config| config.limits.jobs_open = 1).await;
    let (client, data) = (&service.client, service._data.path());
    let key = [("idempotency-key", "k-1")];
    let fields = [("max_clips", "1"), ("max_clip_length", "5")];
    let first = client.upload_with(&key, &video(), &fields).await;
    assert_eq!(first.status, 202, "{first:?}");
    // While that job is open there is no room for another one.
    let full = client.upload(&video(), &fields).await;
    assert_eq!(full.problem(429), "queue_full");
    assert_eq!(sources(data), 1, "one job, one source");

    let job = first.json()["job_id"].as_str().unwrap().to_owned();
    client.completed_with_clips(&job).await;
    // The count is made once a second.
    let reused = eventually("room for a job", async || {
        let other = [("max_clips", "2")];
        let reused = client.upload_with(&key, &video(), &other).await;
        match reused.status.as_u16() {
            422 => Ok(reused.problem(422)),
            status => Err(format!("{status}")),
        }
    })
    .await;
    assert_eq!(reused, "idempotency_key_reused");
    let again = client.upload_with(&key, &video(), &fields).await;
    assert_eq!(again.json(), first.json());
    assert_eq!(sources(data), 1, "the first upload is the one that counts");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_named_beside_the_others() {
    let service = Embedded::start(|_| {}).await;
    let client = &service.client;
    let video = client.video(&video()).await;
    let damaged = client.submit(&video).await;
    client.completed_with_clips(&damaged).await;
    let database = rusqlite::Connection::open(service._data.path().join("jobs.db")).unwrap();
    database
        .execute("UPDATE jobs SET doc = 'x' WHERE id = ?1", [&damaged])
        .unwrap();
    let sound = client.submit(&video).await;
    client.completed_with_clips(&sound).await;

    let listed = client.get("/api/v1/jobs").await.json();
    assert_eq!(listed["unreadable"], json!([damaged]));
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(listed["jobs"][0]["job_id"], json!(sound));
    // It has its place in the pages.
    let page = client.get("/api/v1/jobs?limit=1").await.json();
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    let rest = client
        .get(&format!("/api/v1/jobs?limit=1&cursor={cursor}"))
        .await
        .json();
    assert_eq!(
        (&rest["unreadable"], &rest["next_cursor"]),
        (&json!([damaged]), &json!(null))
    );
    let one = client.get(&format!("/api/v1/jobs/{damaged}")).await;
    assert_eq!(one.problem(500), "row_unreadable");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_while_all_was_dead_keeps_no_job_waiting() {
    let data = tempfile::tempdir().unwrap();
    let first = Process::start("serve", data.path(), &[]).await;
    let video = first.client.video(&video()).await;
    let running = first.client.submit(&video).await;
    let waiting = first.client.submit(&video).await;
    first.client.job_in(&running, &["running"]).await;
    first.kill().await;
    // To a clock an hour behind, every time in the store is an hour ahead.
    let database = rusqlite::Connection::open(data.path().join("jobs.db")).unwrap();
    let open = database
        .execute(
            "UPDATE tasks SET at_ms = at_ms + 3600000 WHERE state <> 'done'",
            [],
        )
        .unwrap();
    assert!(open >= 2, "{open}");

    let second = Process::start("serve", data.path(), &[]).await;
    let started = Instant::now();
    for job in [&running, &waiting] {
        second.client.job_in(job, &["running", "completed"]).await;
    }
    let took = started.elapsed();
    // A lease of 5 s, a look each second, and the work on the first job.
    assert!(took < Duration::from_secs(12), "{took:?}");
    for job in [&running, &waiting] {
        second.client.completed_with_clips(job).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_data_is_gone_is_not_ready_and_accepts_nothing() {
    let service = Embedded::start(|_| {}).await;
    let client = &service.client;
    let known = client.video(&video()).await;
    let wish = json!({ "video_id": known, "max_clips": 1, "max_clip_length": 5 });
    std::fs::remove_dir_all(service._data.path()).unwrap();
    // At once, before anybody has looked: nothing is answered with a promise that cannot be kept.
    let submitted = client.post_json("/api/v1/process-video", &[], &wish).await;
    assert_eq!(submitted.status, 503, "{submitted:?}");
    let uploaded = client.upload(&video(), &[]).await;
    assert_eq!(uploaded.status, 503, "{uploaded:?}");
    let lost = Instant::now();
    let noticed = eventually("the loss to be noticed", async || {
        let answer = client.get("/ready").await;
        match answer.status.as_u16() {
            503 => Ok(answer.problem(503)),
            status => Err(format!("{status}")),
        }
    })
    .await;
    assert_eq!(noticed, "storage_lost");
    assert!(lost.elapsed() < Duration::from_secs(4));
    let submitted = client.post_json("/api/v1/process-video", &[], &wish).await;
    assert_eq!(submitted.problem(503), "storage_lost");
    let uploaded = client.upload(&video(), &[]).await;
    assert_eq!(uploaded.problem(503), "storage_lost");
    // Whoever looks after the process need not restart it for that.
    assert_eq!(client.get("/health").await.status, 200);
    service.shutdown.cancel();
}
