use clip_service::units::HumanDuration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::plan::Way;

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
    let link = Link::open("a->b", upstream, &SharedRng::seeded(1)).expect("link");
    (link, target)
}

fn latency(add: u64, jitter: u64, share: f64, way: Way) -> Option<LatencySpec> {
    Some(LatencySpec {
        add: HumanDuration::millis(add),
        jitter: HumanDuration::millis(jitter),
        share,
        way,
    })
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
            link.set_latency(latency(5 + round, 5, 1.0, Way::Both));
            tokio::time::sleep(Duration::from_millis(15)).await;
            link.set_latency(None);
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
    link.set_latency(latency(200, 50, 1.0, Way::Downstream));
    for byte in 0..5 {
        let (answer, took) = round_trip(&mut stream, byte).await;
        assert_eq!(answer, byte);
        assert!(took >= Duration::from_millis(149), "took {took:?}");
    }
    let held = link.held();
    assert_eq!(held.chunks, 5);
    assert!(held.shortest >= Duration::from_millis(149) && held.longest < Duration::from_secs(2));
    // Removing it lets what is held go at once.
    link.set_latency(latency(4000, 0, 1.0, Way::Downstream));
    let started = Instant::now();
    stream.write_all(&[9]).await.expect("write");
    tokio::time::sleep(Duration::from_millis(100)).await;
    link.set_latency(None);
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
    link.set_latency(latency(60, 0, 0.5, Way::Both));
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
    link.set_down(true).await.expect("down");
    let error = bounded("the cut", stream.read_u8()).await.expect_err("cut");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(link.address())
        .await
        .expect_err("refused");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(link.tally().cut, 1);
    link.set_down(false).await.expect("up");
    let mut again = TcpStream::connect(link.address()).await.expect("connect");
    assert_eq!(round_trip(&mut again, 7).await.0, 7);
}

#[tokio::test]
async fn going_up_and_down_many_times_never_wedges() {
    let (link, _target) = link_to(echo(0).await);
    for _ in 0..50 {
        link.set_down(true).await.expect("down");
        link.set_down(false).await.expect("up");
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
