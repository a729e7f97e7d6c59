//! The service as processes that are killed, told to stop, and started wrongly.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::client::eventually;
use crate::node::{Process, run, video};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_the_death_of_everything() {
    let data = tempfile::tempdir().unwrap();
    let first = Process::start("serve", data.path(), &[]).await;
    let video = first.client.video(&video()).await;
    let running = first.client.submit(&video).await;
    let waiting = first.client.submit(&video).await;
    first.client.job_in(&running, &["running"]).await;
    first.kill().await;

    let second = Process::start("serve", data.path(), &[]).await;
    for job in [&running, &waiting] {
        second.client.completed_with_clips(job).await;
    }
    // What the killed process was writing when it died is gone.
    let scratch = std::fs::read_dir(data.path().join("tmp")).unwrap().count();
    assert_eq!(
        scratch, 2,
        "a lock file and a folder, of the living process"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_the_death_of_its_processor_and_of_its_gateway() {
    let data = tempfile::tempdir().unwrap();
    let registry = Process::start("registry", data.path(), &[]).await;
    let at = ["--registry-url", registry.address.as_str()];
    let start = async |role, name| {
        Process::start(role, data.path(), &[&at[..], &["--node", name]].concat()).await
    };
    let mut processors = vec![
        (
            "processor-1".to_owned(),
            start("processor", "processor-1").await,
        ),
        (
            "processor-2".to_owned(),
            start("processor", "processor-2").await,
        ),
    ];
    let gateway = start("gateway", "gateway-1").await;
    gateway.ready().await;
    let video = gateway.client.video(&video()).await;
    let job = gateway.client.submit(&video).await;
    let busy = eventually("a processor to work on the job", async || {
        let seen = gateway.client.get("/internal/upstreams").await.json();
        let instances = seen["instances"].as_array().unwrap();
        let busy = instances.iter().find(|i| i["in_flight"].as_u64() > Some(0));
        busy.map(|i| i["name"].as_str().unwrap().to_owned())
            .ok_or_else(|| seen.to_string())
    })
    .await;
    let place = processors
        .iter()
        .position(|(name, _)| *name == busy)
        .unwrap();
    processors.remove(place).1.kill().await;
    gateway.client.completed_with_clips(&job).await;

    let job = gateway.client.submit(&video).await;
    gateway.client.job_in(&job, &["running"]).await;
    gateway.kill().await;
    let gateway = start("gateway", "gateway-1").await;
    gateway.client.completed_with_clips(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_stop_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let arguments = ["--set", "drain.notice=2s", "--set", "drain.limit=1s"];
    let mut first = Process::start("serve", data.path(), &arguments).await;
    let video = first.client.video(&video()).await;
    let job = first.client.submit(&video).await;
    first.client.job_in(&job, &["running"]).await;
    first.signal(Signal::SIGTERM);
    eventually("/ready to say no", async || {
        let answer = first.client.get("/ready").await;
        if answer.status == 503 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    // Told to go, but whoever has not heard of it yet is still served.
    let frame = first
        .client
        .get(&format!("/api/v1/videos/{video}/frame?at=1"))
        .await;
    assert_eq!(frame.status, 200, "{frame:?}");
    assert_eq!(first.end().await.code(), Some(0));
    let scratch = std::fs::read_dir(data.path().join("tmp")).unwrap().count();
    assert_eq!(scratch, 0, "it cleans up behind itself");

    let second = Process::start("serve", data.path(), &[]).await;
    second.client.completed_with_clips(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_upload_left_behind_is_swept() {
    let data = tempfile::tempdir().unwrap();
    let first = Process::start("serve", data.path(), &[]).await;
    let video = first.client.video(&video()).await;
    first.kill().await;
    let sources = data.path().join("blobs/sources");
    let [kept, left, young] = [&*video, "video_left", "video_young"].map(|id| sources.join(id));
    for file in [&left, &young] {
        std::fs::write(file, "a source without a row").unwrap();
    }
    let day_and_hour = Duration::from_secs(25 * 60 * 60);
    for path in [&kept, &left] {
        let file = File::options().write(true).open(path).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written - day_and_hour).unwrap();
    }

    let second = Process::start("serve", data.path(), &[]).await;
    eventually("the sweep", async || {
        if left.exists() {
            Err("it is still there".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    assert!(young.exists(), "it may still get its row");
    let frame = format!("/api/v1/videos/{video}/frame?at=1");
    assert_eq!(second.client.get(&frame).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mut it = Process::start("serve", data.path(), &["--set", "drain.notice=60s"]).await;
    it.signal(Signal::SIGINT);
    eventually("the drain to begin", async || {
        let answer = it.client.get("/ready").await;
        if answer.status == 503 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    it.signal(Signal::SIGINT);
    assert_eq!(it.end().await.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_start_is_one_line_and_a_code() {
    let data = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for role in ["serve", "gateway", "processor", "registry"] {
        let mut command = Process::command(role, data.path());
        command.args(["--listen", &address]);
        let (code, text) = run(command).await;
        assert_eq!(code, 1, "{role}: {text}");
        assert!(
            text.contains(&address) && text.contains("listen"),
            "{role}: {text}"
        );
        assert_eq!(text.lines().count(), 1, "{role}: {text}");
    }

    let file = data.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let (code, text) = run(Process::command("serve", &file)).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.starts_with("clip-service: cannot use the data folder"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");

    let mut command = Process::command("gateway", Path::new("x"));
    command
        .args(["--set", "jobs.leese=1s", "--listen", "here"])
        .env("CLIP_PROCESSORS", "none");
    let (code, text) = run(command).await;
    assert_eq!(code, 2, "{text}");
    for part in ["jobs.leese", "listen", "CLIP_PROCESSORS"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut command = Process::command("sorve", data.path());
    command.stdout(Stdio::null());
    assert_eq!(run(command).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_outlives_whoever_read_its_log() {
    let data = tempfile::tempdir().unwrap();
    // Every transition is logged, to a pipe that nobody reads any more.
    let mut registry = Process::spawn(Process::logging("info", "registry", data.path())).await;
    registry.close_stderr();
    for name in ["processor-1", "processor-2"] {
        let body = format!(
            r#"{{"name":"{name}","kind":"processor","address":"a:1","epoch":1,"ready":true}}"#
        );
        let headers = [("content-type", "application/json")];
        let path = format!("/v1/instances/{name}");
        let answer = registry
            .client
            .try_send(http::Method::PUT, &path, &headers, body)
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(registry.client.get("/health").await.status, 200);
    registry.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_nobody_who_should_read_what_it_writes() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Process::unread(Process::logging("debug", "serve", data.path())).await;
    node.ready().await;
    // Far more than a pipe holds, to stdout and to stderr.
    for round in 0..600 {
        let state = ["closed", "observe"][round % 2];
        let wish = json!({ "state": state });
        let path = "/internal/upstreams/processor-1/breaker";
        let moved = node.client.post_json(path, &[], &wish).await;
        assert_eq!(moved.status, 200);
    }
    assert_eq!(node.client.get("/health").await.status, 200);
    let metrics = node.client.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for to in ["stderr", "stdout"] {
        let series = format!("clip_lines_dropped_total{{to=\"{to}\"}} ");
        assert!(metrics.contains(&series), "{metrics}");
    }
    node.signal(Signal::SIGTERM);
    assert_eq!(node.end().await.code(), Some(0));
}
