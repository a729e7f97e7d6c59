//! Starting the service: inside this process, or as processes that can be killed.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clip_service::config::Config;
use clip_service::env::Env;
use clip_service::error::RoleResult;
use clip_service::observe::{Notice, Notices};
use clip_service::world::{self, Needs};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, eventually};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_clip-service");

/// How long a process may take to say that it listens.
const START: Duration = Duration::from_secs(30);

/// A short video with a few events in it.
pub(crate) fn video() -> Vec<u8> {
    let file = clip_service::media::synth::fixture("short").unwrap();
    std::fs::read(file).unwrap()
}

/// The whole service inside this process.
pub(crate) struct Embedded {
    pub(crate) client: Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ended: tokio::task::JoinHandle<RoleResult>,
    pub(crate) _data: tempfile::TempDir,
}

/// Sources that a data folder holds.
pub(crate) fn sources(data: &Path) -> usize {
    files(&data.join("blobs/sources")).len()
}

impl Embedded {
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            data: data.path().to_owned(),
            ..Config::default()
        };
        // This test program is no worker, the binary is.
        config.media.worker_command = Some(vec![BINARY.to_owned(), "__media-worker".to_owned()]);
        change(&mut config);
        let shutdown = CancellationToken::new();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let notices = Notices::new(move |notice: Notice| {
            if let Notice::Listening { address, .. } = notice {
                tell.send(address).unwrap();
            }
        });
        let env: Env = world::open(&config, "serve", Needs::SERVE, notices, shutdown.clone())
            .await
            .unwrap();
        let ended = tokio::spawn(clip_service::serve::serve(env, config));
        let address = tokio::time::timeout(START, told.recv())
            .await
            .unwrap()
            .unwrap();
        let client = Client::new(&address);
        ready(&client).await;
        Self {
            client,
            shutdown,
            ended,
            _data: data,
        }
    }

    /// Drains; every role must have ended well.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(START, self.ended)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

async fn ready(client: &Client) {
    eventually("the service to be ready", async || {
        let answer = client
            .try_send(http::Method::GET, "/ready", &[], "")
            .await?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
}

/// One process of the service. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// What nobody reads of what it writes.
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    pub(crate) address: String,
    pub(crate) client: Client,
}

impl Process {
    pub(crate) fn command(role: &str, data: &Path) -> Command {
        Self::logging("warn", role, data)
    }

    pub(crate) fn logging(level: &str, role: &str, data: &Path) -> Command {
        let mut command = Command::new(BINARY);
        command
            .arg(role)
            .args(["--log", level, "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Starts a role on a free port and waits until it is ready.
    pub(crate) async fn start(role: &str, data: &Path, arguments: &[&str]) -> Self {
        let mut command = Self::command(role, data);
        command.args(arguments).stderr(Stdio::inherit());
        let process = Self::spawn(command).await;
        if role != "registry" && role != "gateway" {
            process.ready().await; // a gateway waits for processors, which may not be there yet
        }
        process
    }

    /// Starts a command on a free port and waits until it listens.
    pub(crate) async fn spawn(command: Command) -> Self {
        let mut process = Self::unread(command).await;
        if let Some(mut lines) = process.stdout.take() {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        }
        process
    }

    /// The same, and reads nothing more of what it writes.
    pub(crate) async fn unread(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Ok(Notice::Listening { address, .. }) = serde_json::from_str(&line) {
                    return address;
                }
            }
            panic!("{command:?} ended before it listened")
        };
        let address = tokio::time::timeout(START, listening).await.unwrap();
        let client = Client::new(&address);
        Self {
            child,
            stdout: Some(lines),
            address,
            client,
        }
    }

    /// Leaves its log without a reader.
    pub(crate) fn close_stderr(&mut self) {
        drop(self.child.stderr.take());
    }

    pub(crate) async fn ready(&self) {
        ready(&self.client).await;
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = self.child.id().expect("it runs");
        let id = nix::unistd::Pid::from_raw(i32::try_from(id).unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        tokio::time::timeout(START, self.child.wait())
            .await
            .unwrap()
            .unwrap()
    }
}

/// Runs a command to its end; gives its exit code and what it wrote on stderr.
pub(crate) async fn run(mut command: Command) -> (i32, String) {
    let mut child = command.spawn().unwrap();
    let mut stderr = String::new();
    let read = async {
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .await
            .unwrap();
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(START, read).await.unwrap();
    (status.code().unwrap(), stderr)
}

/// Files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}
