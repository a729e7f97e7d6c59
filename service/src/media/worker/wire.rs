//! What parent and worker say to each other, and how open files travel with it.
//!
//! Each message is one line of JSON. Files travel beside the line of the request they belong to. A picture's bytes follow
//! the line that announces them.

#![expect(
    unsafe_code,
    reason = "file descriptors that arrive over a socket are owned from then on"
)]

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};

use crate::media::config::Limits;
use crate::media::{Analysis, MediaError, Probe, RenderSpec, Rendered, SelectOptions};

/// Most files that travel with one request: source, clip, poster.
pub(super) const MAX_FILES: usize = 3;

/// Longest message, bytes. Analyses of long videos list many cuts.
pub(super) const MAX_MESSAGE: usize = 16 << 20;

/// Tells one file from another and from its own earlier contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct SourceKey {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i64,
}

impl SourceKey {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: metadata
                .mtime()
                .wrapping_mul(1_000_000_000)
                .wrapping_add(metadata.mtime_nsec()),
        }
    }

    #[cfg(test)]
    pub(super) fn numbered(inode: u64) -> Self {
        Self {
            device: 1,
            inode,
            size: 1,
            modified_ns: 0,
        }
    }
}

/// What a worker shall do. The source is the first file, clip and poster are the second and third.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Job {
    Probe,
    Analyse { select: SelectOptions },
    Render { spec: RenderSpec, threads: usize },
    Frame { at: f64, width: u32 },
}

/// A job with what it may use up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) job: Job,
    pub(super) source: SourceKey,
    pub(super) limits: Limits,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// Once, when it is ready; says which walls stand and which its kernel does not give.
    Hello {
        standing: Vec<String>,
        missing: Vec<String>,
    },
    /// Share of the job that is done.
    Progress(f64),
    Probed(Probe),
    Analysed(Box<Analysis>),
    Rendered(Rendered),
    /// A JPEG of `bytes` bytes follows the line.
    Shot {
        from: f64,
        until: f64,
        bytes: usize,
    },
    Failed(MediaError),
}

/// Sends what fits of `bytes`, and all `files` with the first of them.
pub(super) fn send(socket: RawFd, bytes: &[u8], files: &[RawFd]) -> io::Result<usize> {
    let rights = [ControlMessage::ScmRights(files)];
    let control: &[ControlMessage<'_>] = if files.is_empty() { &[] } else { &rights };
    #[cfg(target_os = "linux")]
    let flags = MsgFlags::MSG_NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = MsgFlags::empty();
    Ok(sendmsg::<()>(
        socket,
        &[IoSlice::new(bytes)],
        control,
        flags,
        None,
    )?)
}

/// Reads requests with their files from a socket, blocking.
pub(super) struct Requests<'a> {
    socket: BorrowedFd<'a>,
    bytes: Vec<u8>,
    files: VecDeque<OwnedFd>,
}

impl<'a> Requests<'a> {
    pub(super) fn new(socket: BorrowedFd<'a>) -> Self {
        Self {
            socket,
            bytes: Vec::new(),
            files: VecDeque::new(),
        }
    }

    /// The next request; `None` when the other side is gone.
    pub(super) fn next(&mut self) -> io::Result<Option<(Request, Vec<File>)>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                let request = serde_json::from_slice(&line)?;
                return Ok(Some((
                    request,
                    self.files.drain(..).map(File::from).collect(),
                )));
            }
            if self.bytes.len() > MAX_MESSAGE {
                return Err(io::Error::other("a request without an end"));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0_u8; 16 * 1024];
        let mut control = nix::cmsg_space!([RawFd; MAX_FILES]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        #[cfg(target_os = "linux")]
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = MsgFlags::empty();
        let received = loop {
            match recvmsg::<()>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                flags,
            ) {
                Err(nix::errno::Errno::EINTR) => {}
                other => break other?,
            }
        };
        let count = received.bytes;
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(files) = message {
                // SAFETY: the kernel has just made these descriptors for this process; nothing else knows of them.
                self.files.extend(
                    files
                        .into_iter()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                );
            }
        }
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::media::MediaConfig;

    #[test]
    fn a_request_arrives_with_its_file() {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(b"hello").expect("write");
        file.rewind().expect("rewind");
        let request = Request {
            job: Job::Frame {
                at: 1.5,
                width: 320,
            },
            source: SourceKey::of(&file.metadata().expect("metadata")),
            limits: MediaConfig::default().limits(),
        };
        let mut line = serde_json::to_vec(&request).expect("JSON");
        line.push(b'\n');
        assert_eq!(
            send(ours.as_raw_fd(), &line, &[file.as_raw_fd()]).expect("send"),
            line.len()
        );
        drop(ours);

        let mut requests = Requests::new(theirs.as_fd());
        let (read, mut files) = requests.next().expect("read").expect("a request");
        assert_eq!(read, request);
        let mut text = String::new();
        files[0].read_to_string(&mut text).expect("read the file");
        assert_eq!(text, "hello");
        assert!(requests.next().expect("end").is_none());
    }
}
