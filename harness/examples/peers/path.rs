//! What one cached frame costs on its way: the same bytes from the same processor, through the gateway and through one
//! nginx worker.
//!
//! On a machine with two cores the load generator and the processor are as likely the bottleneck as what is measured.
//! So the figure is the processor time that the proxy itself used per request, from `/proc`; the rate is shown beside it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clip_service::media::synth;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::beside;
use super::peer_proxy::{PROCESSORS, PeerProxy};

/// Connections that ask without a pause.
const CONNECTIONS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
/// Proxies in turns, so that what else the machine does meets them all.
const ROUNDS: usize = 3;
const START: Duration = Duration::from_secs(20);

/// A child process that does not outlive its value.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Cancelled by Ctrl-C and SIGTERM, so that what was started is ended on that way out as well.
fn asked_to_stop() -> Result<CancellationToken, String> {
    let stop = CancellationToken::new();
    let token = stop.clone();
    ctrlc::set_handler(move || token.cancel()).map_err(|e| e.to_string())?;
    Ok(stop)
}

impl Node {
    /// A role of the service on a free port, and where it listens.
    fn service(role: &str, data: &Path, more: &[&str]) -> Result<(Self, SocketAddr), String> {
        let mut child = Command::new(beside("clip-service")?)
            .args([
                role,
                "--listen",
                "127.0.0.1:0",
                "--notices",
                "--log",
                "error",
                "--data",
            ])
            .arg(data)
            .args(more)
            // As many as nginx has workers.
            .env("TOKIO_WORKER_THREADS", "1")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start {role}: {e}"))?;
        let stdout = child.stdout.take();
        let node = Self(child);
        let mut lines = BufReader::new(stdout.ok_or("no output")?).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let notice: serde_json::Value = serde_json::from_str(&line).ok()?;
                let text = notice.to_string();
                let at = text.find("127.0.0.1:")?;
                let address: String = text[at..]
                    .chars()
                    .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
                    .collect();
                address.parse().ok()
            })
            .ok_or_else(|| format!("{role} ended before it listened"))?;
        // Whoever stops reading would in time stop it as well.
        std::thread::spawn(move || lines.for_each(drop));
        Ok((node, address))
    }

    fn proxy(
        proxy: PeerProxy,
        processor: SocketAddr,
        folder: &Path,
    ) -> Result<(Self, SocketAddr), String> {
        let words = proxy.prepare(folder)?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.map_err(|e| e.to_string())?;
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("PORT", address.port().to_string());
        for number in 1..=PROCESSORS {
            command.env(format!("P{number}"), processor.to_string());
        }
        let child = command
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", proxy.name()))?;
        Ok((Self(child), address))
    }

    /// Processor time it has used.
    fn used(&self) -> Duration {
        // Linux counts in hundredths of a second for every program.
        Duration::from_millis(ticks_of(self.0.id()).unwrap_or_default() * 10)
    }
}

fn ticks_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name, which may contain anything; user and system time are the 14th and 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Measures the gateway and nginx, and prints both.
pub(crate) fn compare(proxies: &[PeerProxy], scratch: &TempDir) -> Result<(), String> {
    if !proxies.contains(&PeerProxy::Nginx) || !proxies.contains(&PeerProxy::Gateway) {
        println!("\ncached frame: skipped, it compares the gateway with nginx");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let stop = asked_to_stop()?;
    let data = scratch.path().join("data");
    let (_registry, registry) = Node::service("registry", &data, &[])?;
    let registry = registry.to_string();
    let known = ["--registry-url", registry.as_str()];
    let (_processor, processor) = Node::service("processor", &data, &known)?;
    let (gateway, entry) = Node::service("gateway", &data, &known)?;
    let (nginx, proxy) = Node::proxy(PeerProxy::Nginx, processor, scratch.path())?;
    let bounded = |work: futures_util::future::LocalBoxFuture<'_, Result<u64, String>>| {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => Err("interrupted".to_owned()),
                done = work => done,
            }
        })
    };
    let mut video = String::new();
    bounded(Box::pin(async {
        video = upload(entry).await?;
        Ok(0)
    }))?;
    let path = format!("/api/v1/videos/{video}/frame?at=5");
    let mut costs: [Vec<(f64, f64)>; 2] = Default::default();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        for (index, (node, address)) in [(&gateway, entry), (&nginx, proxy)].into_iter().enumerate()
        {
            let url = format!("http://{address}{path}");
            bytes = bounded(Box::pin(ready(&url)))?;
            bounded(Box::pin(ask(&url, WARM_UP)))?;
            let before = node.used();
            let answered = bounded(Box::pin(ask(&url, MEASURED)))?;
            let used = (node.used() - before).as_secs_f64();
            costs[index].push((
                used / answered as f64 * 1e6,
                answered as f64 / MEASURED.as_secs_f64(),
            ));
        }
    }
    let [gateway, nginx] = costs.map(|mut rounds| {
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        rounds[rounds.len() / 2]
    });
    println!(
        "\nA cached frame of {bytes} bytes, {CONNECTIONS} connections, one thread each; medians of {ROUNDS} rounds of {} s",
        MEASURED.as_secs()
    );
    println!(
        " {:<8} {:>22} {:>14}",
        "proxy", "processor time", "requests"
    );
    println!(
        " {:<8} {:>14.1} us each {:>12.0}/s",
        "gateway", gateway.0, gateway.1
    );
    println!(
        " {:<8} {:>14.1} us each {:>12.0}/s",
        "nginx", nginx.0, nginx.1
    );
    println!(
        " the gateway does {:.2} of nginx per second of processor time, {:.2} in requests answered",
        nginx.0 / gateway.0,
        gateway.1 / nginx.1
    );
    Ok(())
}

async fn upload(entry: SocketAddr) -> Result<String, String> {
    let made = tokio::task::spawn_blocking(|| synth::fixture("talk"));
    let file = made
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    let bytes = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let client = reqwest::Client::new();
    let until = Instant::now() + START;
    loop {
        let part = reqwest::multipart::Part::bytes(bytes.clone()).file_name("talk.mp4");
        let sent = client
            .post(format!("http://{entry}/api/v1/upload?process=false"))
            .multipart(reqwest::multipart::Form::new().part("file", part))
            .timeout(START)
            .send()
            .await;
        let seen = match sent {
            Ok(answer) => {
                let body: serde_json::Value = answer.json().await.map_err(|e| e.to_string())?;
                match body["video_id"].as_str() {
                    Some(id) => return Ok(id.to_owned()),
                    None => body.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        if Instant::now() >= until {
            return Err(format!("the fixture cannot be uploaded: {seen}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the frame comes; how long it is.
async fn ready(url: &str) -> Result<u64, String> {
    let client = reqwest::Client::new();
    let until = Instant::now() + START;
    loop {
        let seen = match client.get(url).timeout(START).send().await {
            Ok(answer) if answer.status().is_success() => {
                let body = answer.bytes().await.map_err(|e| e.to_string())?;
                return Ok(body.len() as u64);
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= until {
            return Err(format!("{url} does not answer: {seen}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks on every connection without a pause; how many good answers came.
async fn ask(url: &str, length: Duration) -> Result<u64, String> {
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(CONNECTIONS)
        .timeout(START)
        .build()
        .map_err(|e| e.to_string())?;
    let until = Instant::now() + length;
    let connections = (0..CONNECTIONS).map(|_| async {
        let mut answered = 0_u64;
        while Instant::now() < until {
            let answer = client.get(url).send().await.map_err(|e| e.to_string())?;
            if !answer.status().is_success() {
                return Err(format!("{url} answered {}", answer.status()));
            }
            answer.bytes().await.map_err(|e| e.to_string())?;
            answered += 1;
        }
        Ok(answered)
    });
    let counts: Vec<u64> = futures_util::future::try_join_all(connections).await?;
    Ok(counts.iter().sum())
}
