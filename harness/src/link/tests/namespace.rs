//! A link that is dialled from another network namespace, as a runtime with networks of its own has it. Needs root and
//! `ip`; says why where it is skipped.

#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped, or leaves something behind, says so"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Output};

use super::*;

/// A network namespace with one pair of interfaces: the host has one end, the namespace the other. Gone when dropped.
struct Namespace {
    name: String,
    host_interface: String,
    host: Ipv4Addr,
}

impl Namespace {
    /// The reason when there can be none here.
    fn new() -> Result<Self, String> {
        let id = std::process::id();
        let name = format!("clip-link-{id}");
        ip(&["netns", "add", &name])?;
        // From here on dropping it cleans up, however far this comes.
        let [_, b, c, d] = id.to_be_bytes();
        let low = d & 0b1111_1100;
        let at = |last: u8| Ipv4Addr::new(10, 128 | (b & 0x7f), c, low | last);
        let namespace = Self {
            host_interface: format!("clh{id}"),
            host: at(1),
            name,
        };
        let (outer, inner) = (&namespace.host_interface, format!("cln{id}"));
        let (host, guest) = (format!("{}/30", at(1)), format!("{}/30", at(2)));
        let inside = ["-n", &namespace.name];
        ip(&[
            "link",
            "add",
            outer,
            "type",
            "veth",
            "peer",
            "name",
            &inner,
            "netns",
            &namespace.name,
        ])?;
        ip(&["addr", "add", &host, "dev", outer])?;
        ip(&["link", "set", outer, "up"])?;
        ip(&[&inside[..], &["addr", "add", &guest, "dev", &inner]].concat())?;
        ip(&[&inside[..], &["link", "set", &inner, "up"]].concat())?;
        ip(&[&inside[..], &["link", "set", "lo", "up"]].concat())?;
        ip(&["netns", "exec", &namespace.name, "true"])?;
        Ok(namespace)
    }

    /// Sends `hello` to an address from inside and reads five bytes back.
    async fn greet(&self, to: SocketAddr) -> Output {
        let script = format!(
            "exec 3<>/dev/tcp/{}/{} && printf hello >&3 && head -c 5 <&3",
            to.ip(),
            to.port()
        );
        let client = tokio::process::Command::new("ip")
            .args(["netns", "exec", &self.name, "bash", "-c", &script])
            .env("LC_ALL", "C")
            .kill_on_drop(true)
            .output();
        bounded("a client in the namespace", client)
            .await
            .expect("`ip` was there a moment ago")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // One end of a pair goes with the other; there is none if setting up failed before it.
        ip(&["link", "del", &self.host_interface]).ok();
        if let Err(why) = ip(&["netns", "del", &self.name]) {
            eprintln!("namespace {} is left behind: {why}", self.name);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("ip: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!(
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&ran.stderr).trim()
    ))
}

#[tokio::test]
async fn a_link_is_reached_from_another_network_namespace_and_its_faults_act_there() {
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(why) => {
            eprintln!("skipped: no network namespace here: {why}");
            return;
        }
    };
    let node = echo(1).await;
    let passed = |output: &Output| {
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "ifmmp",
            "{output:?}"
        );
    };
    let refused = |output: &Output| {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Connection refused"), "{output:?}");
    };

    // The loopback address in the namespace is the namespace's own.
    let (loopback, _target) = link_to(node);
    refused(&namespace.greet(loopback.address()).await);
    assert_eq!(loopback.tally().connections, 0);

    for bind in [IpAddr::V4(namespace.host), Ipv4Addr::UNSPECIFIED.into()] {
        let (_target, upstream) = watch::channel(Some(node));
        let link = Link::open("a->b", bind, upstream, &SharedRng::seeded(1)).expect("link");
        let reached = SocketAddr::from((namespace.host, link.address().port()));

        passed(&namespace.greet(reached).await);
        let tally = link.tally();
        assert_eq!(
            (tally.connections, tally.bytes_up, tally.bytes_down),
            (1, 5, 5)
        );

        let slowed = put(&link, "lag", &latency(300, 0, 1.0, Direction::Both));
        let began = Instant::now();
        passed(&namespace.greet(reached).await);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(600), "{took:?}");
        let proof = link.take(slowed);
        assert_eq!(numbers(proof.as_deref()).first(), Some(&2), "{proof:?}");

        link.take_down().await.expect("down");
        refused(&namespace.greet(reached).await);
        link.bring_up().await.expect("up");
        passed(&namespace.greet(reached).await);
    }
}
