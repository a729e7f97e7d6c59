//! The real roles (registry, gateway, three processors) on a simulated network in virtual time: one simulated minute
//! with one crash, a modelled media engine, the same log on every run. Keeps the seams of the service true: a role that
//! opened a real socket, slept on a real clock or drew its own randomness would fail here.

mod world;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clip_service::config::Config;
use clip_service::env::{Env, SharedRng};
use clip_service::http::Client;
use clip_service::media::NoMedia;
use clip_service::media::model::{ModelCosts, ModelMedia};
use clip_service::model::{Video, VideoId};
use clip_service::store::{MemoryBlobs, MemoryStore};
use clip_service::{gateway, processor, registry};
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use world::{Disk, Log};

const PORT: u16 = 80;
const SEED: u64 = 42;
const MINUTE: Duration = Duration::from_secs(60);
/// Everything is listed and probed by then.
const LOAD_FROM: Duration = Duration::from_secs(2);
const CRASH: Duration = Duration::from_secs(20);
const BOUNCE: Duration = Duration::from_secs(28);
const VIDEO: &str = "video_simulated";

/// What the client saw.
#[derive(Default)]
struct Seen {
    asked: AtomicU64,
    answered: AtomicU64,
    slowest_us: AtomicU64,
    accepted: Mutex<Vec<String>>,
    finished: AtomicU64,
}

fn config() -> Config {
    Config {
        listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)),
        registry_url: format!("registry-1:{PORT}"),
        ..Config::default()
    }
}

/// One incarnation after the other of one role on one simulated host.
fn host(sim: &mut turmoil::Sim<'_>, name: &'static str, seed: u64, disk: &Disk, log: &Log) {
    let (disk, log) = (disk.clone(), log.clone());
    let incarnation = Arc::new(AtomicU64::new(0));
    sim.host(name, move || {
        let (disk, log) = (disk.clone(), log.clone());
        let incarnation = incarnation.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            log.line(format!("{name} starts, incarnation {incarnation}"));
            let rng = SharedRng::seeded(seed).fork(name).fork("media");
            let media = ModelMedia::new(ModelCosts::default(), rng);
            let env = world::env(name, seed, incarnation, &disk, Arc::new(media), &log);
            let config = Config {
                advertise: Some(format!("{name}:{PORT}")),
                ..config()
            };
            match name.split('-').next() {
                Some("registry") => registry::registry(env, config.registry()).await?,
                Some("gateway") => gateway::gateway(env, config.gateway()).await?,
                _ => processor::processor(env, config.processor()).await?,
            }
            Ok(())
        }
    });
}

async fn ask(
    client: &Client,
    method: &str,
    path: &str,
    body: &str,
    key: &str,
) -> Option<(u16, Bytes)> {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://gateway-1:{PORT}{path}"))
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .expect("a valid request");
    let exchange = async {
        let answer = client.request(request).await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.into_body().collect().await.ok()?.to_bytes()))
    };
    timeout(Duration::from_secs(2), exchange)
        .await
        .ok()
        .flatten()
}

/// One frame every 20 ms and one job every two seconds, whether or not the system keeps up; then waits for the jobs.
async fn load(env: Env, seen: Arc<Seen>, log: Log) {
    let client = Client::new(&env);
    let origin = Instant::now();
    sleep_until(origin + LOAD_FROM).await;
    let mut tasks = Vec::new();
    for slot in 0..2_900_u64 {
        let due = origin + LOAD_FROM + Duration::from_millis(20 * slot);
        sleep_until(due).await;
        let (client, seen, log) = (client.clone(), Arc::clone(&seen), log.clone());
        tasks.push(env.exec.spawn(async move {
            seen.asked.fetch_add(1, Ordering::Relaxed);
            let (answer, expected) = if slot % 100 == 0 {
                let body = format!(r#"{{"video_id":"{VIDEO}","max_clips":1,"min_clip_length":3,"max_clip_length":5}}"#);
                (ask(&client, "POST", "/api/v1/process-video", &body, &format!("job-{slot}")).await, 202)
            } else {
                let path = format!("/api/v1/videos/{VIDEO}/frame?at={}", slot % 60);
                (ask(&client, "GET", &path, "", "").await, 200)
            };
            let took = due.elapsed();
            match answer {
                Some((status, body)) if status == expected => {
                    seen.answered.fetch_add(1, Ordering::Relaxed);
                    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                    seen.slowest_us.fetch_max(micros, Ordering::Relaxed);
                    if status == 202 {
                        let job: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                        seen.accepted.lock().push(job["job_id"].as_str().expect("an id").to_owned());
                    }
                    log.line(format!("{slot} ok {} us", took.as_micros()));
                }
                other => log.line(format!("{slot} failed: {:?}", other.map(|(status, _)| status))),
            }
        }));
    }
    for task in tasks {
        task.await.expect("no request panics");
    }
    let accepted = seen.accepted.lock().clone();
    for job in accepted {
        let path = format!("/api/v1/jobs/{job}");
        while origin.elapsed() < MINUTE + Duration::from_secs(30) {
            let state = ask(&client, "GET", &path, "", "")
                .await
                .and_then(|(_, body)| {
                    let job: serde_json::Value = serde_json::from_slice(&body).ok()?;
                    Some(job["status"].as_str()?.to_owned())
                });
            log.line(format!("{job} {state:?}"));
            if state.as_deref() == Some("completed") {
                seen.finished.fetch_add(1, Ordering::Relaxed);
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Runs the minute once.
fn minute(seed: u64) -> (Arc<Seen>, Vec<String>) {
    let log = Log::default();
    let disk = Disk {
        store: Arc::new(MemoryStore::default()),
        blobs: Arc::new(MemoryBlobs::default()),
    };
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(120))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(3))
        .tcp_capacity(4096)
        .build();
    for name in [
        "registry-1",
        "gateway-1",
        "processor-1",
        "processor-2",
        "processor-3",
    ] {
        host(&mut sim, name, seed, &disk, &log);
    }
    let seen = Arc::new(Seen::default());
    {
        let (seen, log, disk) = (Arc::clone(&seen), log.clone(), disk.clone());
        sim.client("client", async move {
            let env = world::env("client", seed, 1, &disk, Arc::new(NoMedia), &log);
            let video = Video {
                id: VideoId::parse(VIDEO).expect("a valid id"),
                blob: "sources/simulated.mp4".to_owned(),
                name: "simulated.mp4".to_owned(),
                size: 3,
                sha256: String::new(),
                created_at: env.clock.now(),
            };
            env.blobs
                .put(&video.blob, Bytes::from_static(b"mp4"))
                .await?;
            env.store.add_video(video).await?;
            load(env, seen, log).await;
            Ok(())
        });
    }
    let mut schedule = [(CRASH, true), (BOUNCE, false)].into_iter().peekable();
    loop {
        while let Some((_, crash)) = schedule.next_if(|(at, _)| sim.elapsed() >= *at) {
            if crash {
                sim.crash("processor-2");
                log.line("processor-2 crashes");
            } else {
                sim.bounce("processor-2");
            }
        }
        if sim.step().expect("the simulation goes on") {
            break;
        }
    }
    (seen, log.lines())
}

#[test]
fn a_simulated_minute_with_one_crash_hurts_nobody_and_repeats_exactly() {
    let (seen, first) = minute(SEED);
    let log = || first.join("\n");
    assert_eq!(seen.asked.load(Ordering::Relaxed), 2_900);
    assert_eq!(
        seen.answered.load(Ordering::Relaxed),
        2_900,
        "requests failed:\n{}",
        log()
    );
    let accepted = seen.accepted.lock().len() as u64;
    assert_eq!(accepted, 29);
    assert_eq!(
        seen.finished.load(Ordering::Relaxed),
        accepted,
        "jobs were lost:\n{}",
        log()
    );
    assert!(
        seen.slowest_us.load(Ordering::Relaxed) < 1_000_000,
        "a request took over a second:\n{}",
        log()
    );
    let moved = |what: &str| first.iter().any(|line| line.contains(what));
    assert!(
        moved("Breaker processor-2: closed -> open"),
        "the crash was not noticed:\n{}",
        log()
    );
    assert!(
        moved("processor-2 starts, incarnation 2"),
        "it did not come back:\n{}",
        log()
    );

    let (_, second) = minute(SEED);
    if let Some((at, (a, b))) = first
        .iter()
        .zip(&second)
        .enumerate()
        .find(|(_, (a, b))| a != b)
    {
        panic!("two runs of seed {SEED} differ at line {at}:\n  {a}\n  {b}");
    }
    assert_eq!(first.len(), second.len());
}
