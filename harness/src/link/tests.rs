mod namespace;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use clip_service::units::HumanDuration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::toxics::{SlowToxic, ToxicKind};
use super::*;
use crate::scenario::fault::{Latency, Slow, StatusAnswer};
use crate::scenario::model::{Direction, Factor, Status};
use crate::scenario::value::Percent;

const BOUND: Duration = Duration::from_secs(5);

async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took longer than {BOUND:?}"))
}

/// A server that sends back every byte with `mark` added to it, and ends when its caller ends.
async fn echo(mark: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count) = stream.read(&mut buffer).await {
                    if count == 0 {
                        break;
                    }
                    for byte in &mut buffer[..count] {
                        *byte = byte.wrapping_add(mark);
                    }
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn link_to(address: SocketAddr) -> (Link, watch::Sender<Option<SocketAddr>>) {
    let (target, upstream) = watch::channel(Some(address));
    let link = Link::open(
        "a->b",
        Ipv4Addr::LOCALHOST.into(),
        upstream,
        &SharedRng::seeded(1),
    )
    .expect("link");
    (link, target)
}

fn latency(add: u64, jitter: u64, share: f64, direction: Direction) -> Latency {
    Latency {
        add: HumanDuration::millis(add),
        jitter: HumanDuration::millis(jitter),
        share: Percent(share),
        direction,
    }
}

/// Puts a toxic on a link, for a fault of this name.
fn put(link: &Link, fault: &str, kind: &impl ToxicKind) -> ToxicId {
    link.put(fault, kind.toxic(link.toxic_rng(fault)))
}

/// The numbers in a proof: `5 chunks held 150-160 ms` has 5, 150 and 160.
fn numbers(proof: Option<&str>) -> Vec<u64> {
    proof
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|text| text.parse().ok())
        .collect()
}

async fn round_trip(stream: &mut TcpStream, byte: u8) -> (u8, Duration) {
    let started = Instant::now();
    stream.write_all(&[byte]).await.expect("write");
    let answer = bounded("an answer", stream.read_u8()).await.expect("read");
    (answer, started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_or_moved_while_latency_comes_and_goes() {
    let (link, _target) = link_to(echo(0).await);
    let stream = TcpStream::connect(link.address()).await.expect("connect");
    let (mut read, mut write) = stream.into_split();
    let sent: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 251) as u8).collect();
    let to_send = sent.clone();
    let writer = tokio::spawn(async move {
        for piece in to_send.chunks(10_000) {
            write.write_all(piece).await.expect("write");
        }
        write.shutdown().await.expect("half-close");
    });
    let toggler = async {
        for round in 0..10 {
            let toxic = put(&link, "slow", &latency(5 + round, 5, 1.0, Direction::Both));
            tokio::time::sleep(Duration::from_millis(15)).await;
            link.take(toxic);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut got = Vec::new();
    let (received, ()) = bounded("everything", async {
        tokio::join!(read.read_to_end(&mut got), toggler)
    })
    .await;
    received.expect("the answer ends after the half-close, without a reset");
    writer.await.expect("writer");
    assert!(got == sent, "bytes differ");
    assert_eq!(link.tally().bytes_up, 2_000_000);
    assert_eq!(link.tally().bytes_down, 2_000_000);
}

#[tokio::test]
async fn latency_holds_answers_on_a_live_connection_and_lets_go_when_removed() {
    let (link, _target) = link_to(echo(0).await);
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    assert!(round_trip(&mut stream, 1).await.1 < Duration::from_millis(100));
    let toxic = put(&link, "slow", &latency(200, 50, 1.0, Direction::Downstream));
    for byte in 0..5 {
        let (answer, took) = round_trip(&mut stream, byte).await;
        assert_eq!(answer, byte);
        assert!(took >= Duration::from_millis(149), "took {took:?}");
    }
    let held = numbers(link.take(toxic).as_deref());
    assert_eq!(held[0], 5);
    assert!(held[1] >= 149 && held[2] < 2000, "{held:?}");
    // Removing it lets what is held go at once.
    let toxic = put(
        &link,
        "slower",
        &latency(4000, 0, 1.0, Direction::Downstream),
    );
    let started = Instant::now();
    stream.write_all(&[9]).await.expect("write");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        link.take(toxic).as_deref(),
        Some("1 chunk held until the fault ended")
    );
    assert_eq!(
        bounded("the held byte", stream.read_u8())
            .await
            .expect("read"),
        9
    );
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn share_hits_some_connections_and_always_the_same_ones() {
    let (link, _target) = link_to(echo(0).await);
    put(&link, "slow", &latency(60, 0, 0.5, Direction::Both));
    let mut hit = 0;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(link.address()).await.expect("connect");
        let first = round_trip(&mut stream, 1).await.1 >= Duration::from_millis(60);
        let second = round_trip(&mut stream, 2).await.1 >= Duration::from_millis(60);
        assert_eq!(first, second, "a connection changed sides");
        hit += usize::from(first);
    }
    assert!((3..=17).contains(&hit), "{hit} of 20 hit");
}

#[tokio::test]
async fn down_refuses_and_resets_and_up_has_the_same_address() {
    let (link, _target) = link_to(echo(0).await);
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    round_trip(&mut stream, 1).await;
    link.take_down().await.expect("down");
    let error = bounded("the cut", stream.read_u8()).await.expect_err("cut");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(link.address())
        .await
        .expect_err("refused");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(link.tally().cut, 1);
    link.bring_up().await.expect("up");
    let mut again = TcpStream::connect(link.address()).await.expect("connect");
    assert_eq!(round_trip(&mut again, 7).await.0, 7);
}

#[tokio::test]
async fn going_up_and_down_many_times_never_wedges() {
    let (link, _target) = link_to(echo(0).await);
    for _ in 0..50 {
        link.take_down().await.expect("down");
        link.bring_up().await.expect("up");
    }
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    assert_eq!(round_trip(&mut stream, 3).await.0, 3);
}

#[tokio::test]
async fn a_new_target_takes_new_connections_and_no_target_resets_them() {
    let (link, target) = link_to(echo(1).await);
    let mut first = TcpStream::connect(link.address()).await.expect("connect");
    assert_eq!(round_trip(&mut first, 10).await.0, 11);
    target.send_replace(Some(echo(2).await));
    let mut second = TcpStream::connect(link.address()).await.expect("connect");
    assert_eq!(round_trip(&mut second, 10).await.0, 12);
    assert_eq!(round_trip(&mut first, 10).await.0, 11, "live ones stay");
    target.send_replace(None);
    let mut third = TcpStream::connect(link.address()).await.expect("connect");
    let error = bounded("the reset", third.read_u8())
        .await
        .expect_err("no node");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(link.tally().dials_failed, 1);
}

#[tokio::test]
async fn a_refused_dial_resets_the_caller_at_once() {
    let unused = proxy::reserve("127.0.0.1:0".parse().expect("address")).expect("reserve");
    let (link, _target) = link_to(unused.local_addr().expect("address"));
    let started = Instant::now();
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    let error = bounded("the reset", stream.read_u8())
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_reset_from_the_node_reaches_the_caller_as_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let (link, _target) = link_to(listener.local_addr().expect("address"));
    let mut caller = TcpStream::connect(link.address()).await.expect("connect");
    let (node, _) = bounded("the dial", listener.accept())
        .await
        .expect("accept");
    node.set_zero_linger().expect("linger");
    drop(node);
    let error = bounded("the reset", caller.read_u8())
        .await
        .expect_err("reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// An HTTP node: `/quick`, `/after30` (30 ms later), `/streamed` (chunked), and what is posted to `/echo`; and how many
/// requests it has seen.
async fn http_node() -> (SocketAddr, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let app = axum::Router::new()
        .route("/quick", axum::routing::get(async || "quick"))
        .route(
            "/after30",
            axum::routing::get(async || {
                tokio::time::sleep(Duration::from_millis(30)).await;
                "after30"
            }),
        )
        .route(
            "/streamed",
            axum::routing::get(async || {
                let pieces = ["a", "b", "c"].map(Ok::<_, std::convert::Infallible>);
                axum::body::Body::from_stream(futures_util::stream::iter(pieces))
            }),
        )
        .route("/echo", axum::routing::post(async |body: Bytes| body))
        .layer(axum::middleware::from_fn(
            move |request: axum::extract::Request, next: axum::middleware::Next| {
                counted.fetch_add(1, Ordering::SeqCst);
                next.run(request)
            },
        ));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, seen)
}

fn status(code: u16, share: f64, retry_after: Option<u64>) -> StatusAnswer {
    StatusAnswer {
        code: Status(code),
        share: Percent(share),
        retry_after: retry_after.map(HumanDuration::secs),
    }
}

fn put_slow(link: &Link, factor: f64, least: u64) -> ToxicId {
    let settings = Slow {
        factor: Factor(factor),
        least: HumanDuration::millis(least),
    };
    link.put("gray", Arc::new(SlowToxic::new(&settings)))
}

/// Sends a request and reads one answer to its end: head, body, and how long it took.
async fn ask(stream: &mut TcpStream, request: &str) -> (String, String, Duration) {
    let started = Instant::now();
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let byte = bounded("a head", stream.read_u8()).await.expect("read");
        text.push(byte);
    }
    let head = String::from_utf8(text).expect("text");
    let lower = head.to_lowercase();
    let mut body = Vec::new();
    if lower.contains("transfer-encoding: chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            body.push(bounded("a chunk", stream.read_u8()).await.expect("read"));
        }
    } else if !request.starts_with("HEAD") {
        let length = lower.split("content-length: ").nth(1).expect("length");
        let length = length.split("\r\n").next().expect("line");
        body = vec![0; length.parse().expect("number")];
        bounded("a body", stream.read_exact(&mut body))
            .await
            .expect("read");
    }
    let body = String::from_utf8(body).expect("text");
    (head, body, started.elapsed())
}

const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n";
const AFTER30: &str = "GET /after30 HTTP/1.1\r\nhost: x\r\n\r\n";
const ECHO: &str = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_link_answers_requests_of_a_live_connection_itself_and_the_node_sees_none() {
    let (node, seen) = http_node().await;
    let (link, _target) = link_to(node);
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    assert_eq!(ask(&mut stream, QUICK).await.1, "quick");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    let refusing = put(&link, "refusing", &status(503, 1.0, Some(2)));
    let head_request = QUICK.replace("GET", "HEAD");
    for request in [QUICK, ECHO, &head_request, ECHO] {
        let (head, body, _) = ask(&mut stream, request).await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(head.contains("retry-after: 2\r\n"), "{head}");
        assert_eq!(body, "");
    }
    assert_eq!(
        link.take(refusing).as_deref(),
        Some("4 of 4 requests answered 503")
    );
    assert_eq!(seen.load(Ordering::SeqCst), 1, "the node saw nothing of it");
    assert_eq!(ask(&mut stream, ECHO).await.1, "hello");
    assert_eq!(ask(&mut stream, QUICK).await.1, "quick");
    let streamed = QUICK.replace("quick", "streamed");
    assert!(ask(&mut stream, &streamed).await.1.contains("a\r\n1\r\nb"));
    assert_eq!(seen.load(Ordering::SeqCst), 4);
    assert_eq!(link.tally().connections, 1, "one connection throughout");
}

#[tokio::test]
async fn the_share_is_of_requests_and_follows_from_the_seed() {
    let (node, seen) = http_node().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (link, _target) = link_to(node);
        let refusing = put(&link, "refusing", &status(500, 0.5, None));
        let before = seen.load(Ordering::SeqCst);
        let mut pattern = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(link.address()).await.expect("connect");
            for _ in 0..10 {
                let (head, ..) = ask(&mut stream, QUICK).await;
                pattern.push(head.starts_with("HTTP/1.1 500"));
            }
        }
        let hit = pattern.iter().filter(|hit| **hit).count();
        assert!((8..=32).contains(&hit), "{hit} of 40 hit");
        assert!(pattern[..10].contains(&true) && pattern[..10].contains(&false));
        assert_eq!(
            link.take(refusing),
            Some(format!("{hit} of 40 requests answered 500"))
        );
        assert_eq!(seen.load(Ordering::SeqCst) - before, 40 - hit);
        runs.push(pattern);
    }
    assert_eq!(runs[0], runs[1], "the same seed, the same requests");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_whoever_answers() {
    let (node, _) = http_node().await;
    let (link, _target) = link_to(node);
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    stream.write_all(AFTER30.as_bytes()).await.expect("write");
    while link.tally().bytes_up == 0 {
        tokio::task::yield_now().await;
    }
    put(&link, "refusing", &status(418, 1.0, None));
    // Sent before the first answer is there.
    let (first, body, _) = ask(&mut stream, QUICK).await;
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    assert_eq!(body, "after30");
    let (second, ..) = ask(&mut stream, "").await;
    assert!(second.starts_with("HTTP/1.1 418"), "{second}");
}

#[tokio::test]
async fn an_own_answer_ends_a_connection_that_shall_not_go_on() {
    let (node, seen) = http_node().await;
    let (link, _target) = link_to(node);
    put(&link, "refusing", &status(503, 1.0, None));
    let close = QUICK.replace("host: x", "host: x\r\nconnection: close");
    let expect =
        "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    for request in [&*close, expect] {
        let mut stream = TcpStream::connect(link.address()).await.expect("connect");
        let (head, ..) = ask(&mut stream, request).await;
        assert!(head.contains("connection: close"), "{head}");
        let mut rest = Vec::new();
        let end = bounded("the end", stream.read_to_end(&mut rest)).await;
        assert_eq!(end.expect("an orderly end"), 0);
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_head_that_is_kept_back_goes_on_when_the_fault_is_taken_away() {
    let (node, _) = http_node().await;
    let (link, _target) = link_to(node);
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    ask(&mut stream, QUICK).await;
    let refusing = put(&link, "refusing", &status(503, 1.0, None));
    let (begun, rest) = QUICK.split_at(20);
    stream.write_all(begun.as_bytes()).await.expect("write");
    ask_nothing_passed(&link).await;
    link.take(refusing);
    assert_eq!(ask(&mut stream, rest).await.1, "quick");
}

/// A moment in which the link has had time to pass something on, and has not.
async fn ask_nothing_passed(link: &Link) {
    let before = link.tally().bytes_up;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(link.tally().bytes_up, before);
}

#[tokio::test]
async fn what_is_no_http_feels_no_fault_of_requests() {
    let (link, _target) = link_to(echo(0).await);
    let refusing = put(&link, "refusing", &status(503, 1.0, None));
    let slowed = put_slow(&link, 1000.0, 1000);
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    for byte in [0, 9, 200] {
        let (answer, took) = round_trip(&mut stream, byte).await;
        assert_eq!(answer, byte);
        assert!(took < Duration::from_millis(500), "took {took:?}");
    }
    assert_eq!(link.take(refusing), None);
    assert_eq!(link.take(slowed), None);
}

#[tokio::test]
async fn after_an_upgrade_bytes_pass_as_they_are() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let (link, _target) = link_to(listener.local_addr().expect("address"));
    let mut caller = TcpStream::connect(link.address()).await.expect("connect");
    let node = async {
        let (mut node, _) = listener.accept().await.expect("accept");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(node.read_u8().await.expect("read"));
        }
        let switched =
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\ncontent-length: 0\r\n\r\n";
        node.write_all(switched.as_bytes()).await.expect("write");
        node
    };
    let upgrade = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let ((head, ..), mut node) = bounded("the upgrade", async {
        tokio::join!(ask(&mut caller, upgrade), node)
    })
    .await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    put(&link, "refusing", &status(503, 1.0, None));
    caller.write_all(QUICK.as_bytes()).await.expect("write");
    let mut got = vec![0; QUICK.len()];
    bounded("the bytes", node.read_exact(&mut got))
        .await
        .expect("read");
    assert_eq!(got, QUICK.as_bytes());
}

#[tokio::test]
async fn answers_of_a_slow_node_take_their_factor_and_come_whole() {
    let (node, _) = http_node().await;
    let (link, _target) = link_to(node);
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    ask(&mut stream, AFTER30).await;
    let slowed = put_slow(&link, 5.0, 0);
    for _ in 0..3 {
        let (_, body, took) = ask(&mut stream, AFTER30).await;
        assert_eq!(body, "after30");
        // Timers may be a millisecond early on either side.
        assert!(took >= Duration::from_millis(145), "took {took:?}");
    }
    let held = numbers(link.take(slowed).as_deref());
    assert_eq!(held[0], 3);
    assert!(held[1] >= 115, "{held:?}");
    let slowed = put_slow(&link, 1.5, 60);
    let (_, _, took) = ask(&mut stream, QUICK).await;
    assert!(took >= Duration::from_millis(60), "the least: {took:?}");
    let streamed = QUICK.replace("quick", "streamed");
    let (_, body, took) = ask(&mut stream, &streamed).await;
    assert_eq!(body, "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n");
    assert!(took < Duration::from_secs(1), "held once: {took:?}");
    assert_eq!(numbers(link.take(slowed).as_deref())[0], 2);
    // Taking it away lets what is held go at once.
    let slowed = put_slow(&link, 2.0, 60_000);
    let release = async {
        while link.tally().bytes_up == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        link.take(slowed);
    };
    let ((_, body, _), ()) = tokio::join!(ask(&mut stream, QUICK), release);
    assert_eq!(body, "quick");
}

#[tokio::test]
async fn a_half_close_lets_the_answer_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let (link, _target) = link_to(listener.local_addr().expect("address"));
    let mut caller = TcpStream::connect(link.address()).await.expect("connect");
    caller.write_all(b"question").await.expect("write");
    caller.shutdown().await.expect("half-close");
    let (mut node, _) = bounded("the dial", listener.accept())
        .await
        .expect("accept");
    let mut question = String::new();
    bounded("the end", node.read_to_string(&mut question))
        .await
        .expect("read");
    assert_eq!(question, "question");
    node.write_all(b"answer").await.expect("write");
    drop(node);
    let mut answer = String::new();
    bounded("the answer", caller.read_to_string(&mut answer))
        .await
        .expect("read");
    assert_eq!(answer, "answer");
}

#[tokio::test]
async fn toxics_of_one_kind_act_together_and_go_one_by_one() {
    let (link, _target) = link_to(echo(0).await);
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    let first = put(&link, "first", &latency(80, 0, 1.0, Direction::Downstream));
    let second = put(
        &link,
        "second",
        &latency(120, 0, 1.0, Direction::Downstream),
    );
    let (_, took) = round_trip(&mut stream, 1).await;
    assert!(took >= Duration::from_millis(199), "both: {took:?}");
    assert_eq!(numbers(link.take(first).as_deref())[0], 1);
    let (_, took) = round_trip(&mut stream, 2).await;
    assert!(took >= Duration::from_millis(119), "the second: {took:?}");
    assert_eq!(numbers(link.take(second).as_deref())[0], 2);
    assert_eq!(link.take(second), None, "it is gone");
    let (_, took) = round_trip(&mut stream, 3).await;
    assert!(took < Duration::from_millis(80), "neither: {took:?}");
}

#[tokio::test]
async fn a_link_that_two_faults_took_down_is_up_when_both_are_over() {
    let (link, _target) = link_to(echo(0).await);
    link.take_down().await.expect("down");
    link.take_down().await.expect("down again");
    link.bring_up().await.expect("one over");
    assert!(link.is_down());
    let refused = TcpStream::connect(link.address()).await;
    assert_eq!(
        refused.expect_err("refused").kind(),
        io::ErrorKind::ConnectionRefused
    );
    link.bring_up().await.expect("up");
    let mut stream = TcpStream::connect(link.address()).await.expect("connect");
    assert_eq!(round_trip(&mut stream, 7).await.0, 7);
}
