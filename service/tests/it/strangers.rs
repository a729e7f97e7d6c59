//! What somebody without a key can do over a real socket, and what becomes of it: the service stays up, and whoever can be
//! answered gets a problem.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use clip_service::env::Exec;
use clip_service::http::{Drain, Held, InFlight, Pace, Patience, serve};
use futures_util::stream;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::node::{BINARY, Embedded, Process, video};
use crate::overload::bare;

/// Longer than anything here is meant to take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `head`, then `more` again and again with a pause in between, until there is an answer; gives the answer and how
/// much was sent.
async fn flood(address: &str, head: &str, more: &[u8], pause: Duration) -> (String, usize) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let (head, more) = (head.as_bytes().to_vec(), more.to_vec());
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        let mut piece = head;
        // It ends when the server has closed.
        while !more.is_empty() && writer.write_all(&piece).await.is_ok() {
            sent += piece.len();
            piece.clone_from(&more);
            sleep(pause).await;
        }
        sent
    });
    let mut answer = Vec::new();
    // Where the server gives up on what is still being sent, the end may be a reset; what came before it counts.
    timeout(PATIENCE, reader.read_to_end(&mut answer))
        .await
        .unwrap()
        .ok();
    drop(reader);
    let sent = timeout(PATIENCE, sending).await.unwrap().unwrap();
    (String::from_utf8(answer).unwrap(), sent)
}

/// The code of the problem that an answer carries; it must be a whole one.
#[track_caller]
pub(crate) fn problem(answer: &str, status: u16) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: application/problem+json"),
        "{answer}"
    );
    assert!(head.contains("connection: close"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["status"], status);
    body["code"].as_str().unwrap().to_owned()
}

const UPLOAD: &str = "POST /api/v1/upload?process=false HTTP/1.1\r\nhost: x\r\n\
    content-type: multipart/form-data; boundary=xx\r\ncontent-length: 1000000000\r\n\r\n";
const FILE: &str = "--xx\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_end_is_refused_early() {
    let service = Embedded::start(|_| {}).await;
    let address = service.client.address();
    for head in [UPLOAD.to_owned(), format!("{UPLOAD}{FILE}x: ")] {
        let (answer, sent) = flood(address, &head, &[b'a'; 65_536], Duration::ZERO).await;
        assert_eq!(problem(&answer, 413), "form_head_too_large");
        // What the operating system and the polite end take is a few megabytes; the form could have had a thousand.
        assert!(sent < 50 << 20, "{sent} bytes were taken");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_make_no_progress_lose_their_places() {
    let service = Embedded::start(|config| {
        config.bulkheads.upload = 2;
        config.limits.send_within = "1s".parse().unwrap();
    })
    .await;
    let head = format!("{UPLOAD}{FILE}\r\n");
    let address = service.client.address();
    let began = Instant::now();
    let slow = || flood(address, &head, b"a", Duration::from_millis(200));
    let ((first, _), (second, _)) = tokio::join!(slow(), slow());
    for answer in [first, second] {
        assert_eq!(problem(&answer, 408), "request_too_slow");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    service.client.video(&video()).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_whoever_makes_it() {
    let service = Embedded::start(|_| {}).await;
    let address = service.client.address();
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    let end = "HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let length = "HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n";
    for (text, status) in [
        ("GET", 400),
        ("GET / HTTP/0.9\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na b\r\n\r\n", 400),
        (&format!("POST /api/v1/process-video {length}"), 400),
        (&many, 431),
        (&long, 431),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (&format!("GET /api/v1/jobs/%ff {end}"), 400),
        (&format!("GET /nothing {end}"), 404),
        (&format!("OPTIONS * {end}"), 404),
        (&format!("CONNECT x:1 {end}"), 404),
        (&format!("PUT /health {end}"), 405),
        (&format!("BREW /health {end}"), 405),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let sent = text.to_owned();
        let sending = tokio::spawn(async move {
            writer.write_all(sent.as_bytes()).await.ok(); // it may be refused before its end
            if !sent.contains("HTTP") {
                writer.shutdown().await.ok(); // no more is to come
            }
            writer
        });
        let mut answer = String::new();
        let reading = reader.read_to_string(&mut answer);
        timeout(PATIENCE, reading).await.unwrap().unwrap();
        drop(sending.await.unwrap());
        problem(&answer, status);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_nobody_reads_loses_its_place() {
    let places = InFlight::default();
    let taken = places.clone();
    let large = async move || {
        // Far more than the operating system keeps for the two of them.
        let pieces = std::iter::repeat_n(Bytes::from_static(&[b'x'; 65_536]), 4096);
        let body = Body::from_stream(stream::iter(pieces.map(std::io::Result::Ok)));
        Response::new(Body::new(Held::new(body, taken.enter())))
    };
    let env = bare();
    let any = "127.0.0.1:0".parse().unwrap();
    let acceptor = env.net.bind(any).await.unwrap();
    let address = acceptor.local_addr().unwrap().to_string();
    let patience = Patience {
        reading: Pace {
            bytes: 1024,
            within: Duration::from_secs(1),
        },
        ..Patience::default()
    };
    let drain = Drain {
        stop: CancellationToken::new(),
        limit: Duration::ZERO,
    };
    let router = Router::new().route("/large", get(large));
    let serving = async move { serve(&env, acceptor, router, patience, drain).await };
    let _serving = Exec::Tokio.scoped(serving);

    let request = "GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    let _unread = crowd(&address, 2, request).await;
    assert_eq!(places.count(), 2);
    timeout(Duration::from_secs(10), places.idle())
        .await
        .unwrap();
}

/// `serve` in a process that may open so many files.
async fn with_files(files: u32, data: &Path) -> Process {
    let mut command = Command::new("bash");
    let limited = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
    command
        .args(["-c", &limited, BINARY, "serve", "--log", "warn", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let process = Process::spawn(command).await;
    process.ready().await;
    process
}

/// So many connections, on each of which `text` was sent.
async fn crowd(address: &str, count: usize, text: &str) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be closed again by now.
        stream.write_all(text.as_bytes()).await.ok();
        streams.push(stream);
    }
    sleep(Duration::from_millis(300)).await; // who has only just come is left the time to ask
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_files_leave_room_for_those_who_ask() {
    let data = tempfile::tempdir().unwrap();
    let node = with_files(256, data.path()).await;
    let video = node.client.video(&video()).await;
    let job = node.client.submit(&video).await;

    // Those that ask nothing make room for whoever does.
    let idle = crowd(&node.address, 600, "").await;
    for path in ["/health", "/api/v1/jobs", "/metrics"] {
        let answer = Client::new(&node.address).get(path).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let half = crowd(&node.address, 600, "GET /api/v1/jobs HTTP/1.1\r\nhost:").await;
    let frame = format!("/api/v1/videos/{video}/frame?at=1");
    assert_eq!(Client::new(&node.address).get(&frame).await.status, 200);

    // Those that are busy do not; who looks after the node still gets in, and everybody is told when to come again.
    let wait = "POST /api/v1/process-video HTTP/1.1\r\nhost: x\r\n\
        content-type: application/json\r\ncontent-length: 9\r\n\r\n";
    let busy = crowd(&node.address, 400, wait).await;
    for path in ["/health", "/ready", "/metrics"] {
        let answer = Client::new(&node.address).get(path).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let refused = Client::new(&node.address).get("/api/v1/jobs").await;
    assert_eq!(refused.problem(503), "too_many_connections");
    assert_eq!(refused.header("retry-after"), "1");

    drop((idle, half, busy));
    Client::new(&node.address).completed_with_clips(&job).await;
}
