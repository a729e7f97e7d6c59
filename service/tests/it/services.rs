//! `clip-service services` as people and scripts use it, against a registry inside this process.

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use clip_service::config::Config;
use clip_service::observe::Notices;
use clip_service::registry::{RegistryConfig, ServiceRegistry};
use clip_service::world::{self, Needs};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

async fn registry(shutdown: &CancellationToken) -> ServiceRegistry {
    let config = Config::default();
    let env = world::open(
        &config,
        "registry-1",
        Needs::REGISTRY,
        Notices::silent(),
        shutdown.clone(),
    );
    let config = RegistryConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..RegistryConfig::default()
    };
    ServiceRegistry::start(&env.await.unwrap(), config)
        .await
        .unwrap()
}

fn command(registry: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clip-service"));
    command
        .arg("services")
        .args(arguments)
        .args(["--registry-url", registry])
        .kill_on_drop(true);
    command
}

/// Exit code, stdout and stderr.
async fn run(registry: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = tokio::time::timeout(LIMIT, command(registry, arguments).output());
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn instances_are_registered_listed_managed_and_deregistered() {
    let shutdown = CancellationToken::new();
    let running = registry(&shutdown).await;
    let registry = running.address().to_string();
    let (code, out, _) = run(&registry, &["list"]).await;
    assert_eq!(code, 0);
    assert!(out.starts_with("no services match"), "{out}");

    let mut register = command(
        &registry,
        &[
            "register",
            "store-1",
            "--type",
            "store",
            "--address",
            "10.0.0.1:80",
            "--tag",
            "ssd",
            "--zone",
            "z",
        ],
    );
    register.stdout(std::process::Stdio::piped());
    let mut member = register.spawn().unwrap();
    let mut lines = BufReader::new(member.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(line.as_deref(), Some("store-1: passing"));

    let (code, out, _) = run(&registry, &["list", "--type", "store", "--tag", "ssd"]).await;
    assert_eq!(code, 0);
    let row: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        row[..7],
        [
            "store-1",
            "store",
            "10.0.0.1:80",
            "z",
            "passing",
            "100",
            "ssd"
        ]
    );
    let (_, out, _) = run(&registry, &["list", "--tag", "tape"]).await;
    assert!(out.starts_with("no services match"), "{out}");

    let (code, out, _) = run(&registry, &["weight", "store-1", "30"]).await;
    assert_eq!((code, out.as_str()), (0, "store-1: weight 30\n"));
    let (code, out, _) = run(&registry, &["maintenance", "store-1", "--reason", "disks"]).await;
    assert_eq!((code, out.as_str()), (0, "store-1: maintenance\n"));
    let (_, out, _) = run(&registry, &["list", "--json"]).await;
    let listing: Value = serde_json::from_str(&out).unwrap();
    let shown = &listing["instances"][0];
    assert_eq!(shown["weight"], 30);
    assert_eq!(shown["reason"], "in maintenance: disks");
    let (code, out, _) = run(&registry, &["maintenance", "store-1", "--off"]).await;
    assert_eq!((code, out.as_str()), (0, "store-1: passing\n"));
    let (code, out, _) = run(&registry, &["drain", "store-1"]).await;
    assert_eq!((code, out.as_str()), (0, "store-1: draining\n"));

    // Ctrl-C: it says goodbye, and that is a good end.
    let id = nix::unistd::Pid::from_raw(i32::try_from(member.id().unwrap()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = tokio::time::timeout(LIMIT, member.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.code(), Some(0));
    let (_, out, _) = run(&registry, &["list"]).await;
    assert!(out.starts_with("no services match"), "{out}");

    let once = ["register", "a", "--type", "b", "--address", "c:1", "--once"];
    assert_eq!(run(&registry, &once).await.0, 0);
    let (code, out, _) = run(&registry, &["deregister", "a"]).await;
    assert_eq!((code, out.as_str()), (0, "a: removed\n"));
    let (code, _, err) = run(&registry, &["deregister", "a"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("no instance of that name"), "{err}");
    shutdown.cancel();
    running.ended().await;
}

#[tokio::test]
async fn mistakes_are_told_with_their_remedy() {
    // Bound and dropped: nobody listens there.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().to_string();
    for arguments in [&["list"][..], &["drain", "a"], &["weight", "a", "5"]] {
        let (code, out, err) = run(&nobody, arguments).await;
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(
            err.contains(&nobody) && err.contains("--registry-url"),
            "{err}"
        );
    }
    for arguments in [
        &["weight", "a", "0"][..],
        &["drain"],
        &["drain", "a b"],
        &["maintenance", "a", "--off", "--reason", "x"],
        &[
            "register",
            "a",
            "--type",
            "b",
            "--address",
            "nowhere",
            "--weight",
            "0",
        ],
    ] {
        let (code, out, err) = run(&nobody, arguments).await;
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
    }
    assert_eq!(run("nowhere", &["list"]).await.0, 2);
}
