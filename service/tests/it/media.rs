//! The media engine as the service uses it: real worker processes, real files.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall say where"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clip_service::media::worker::WorkerPool;
use clip_service::media::{
    AspectRatio, MediaConfig, MediaEngine as _, MediaErrorCode, Progress, RenderSpec,
    SelectOptions, synth,
};
use clip_service::units::HumanDuration;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn config() -> MediaConfig {
    let program = env!("CARGO_BIN_EXE_clip-service").to_owned();
    MediaConfig {
        worker_command: Some(vec![program, "__media-worker".to_owned()]),
        ..MediaConfig::default()
    }
}

fn pool() -> WorkerPool {
    WorkerPool::new(config()).unwrap()
}

fn short() -> PathBuf {
    synth::fixture("short").unwrap()
}

fn spec(start: f64, end: f64, aspect_ratio: AspectRatio) -> RenderSpec {
    RenderSpec {
        start,
        end,
        aspect_ratio,
        max_height: None,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Names of an mp4's top boxes, in order.
fn boxes(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let mut at = 0;
    let mut names = Vec::new();
    while at + 8 <= bytes.len() {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        names.push(String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned());
        at += size.max(8);
    }
    names
}

#[tokio::test]
async fn a_planted_moment_is_found_and_cut_out() {
    let pool = pool();
    let source = short();
    let probe = pool.probe(&source).await.unwrap();
    assert_eq!(
        (probe.width, probe.height, probe.video_codec.as_str()),
        (320, 180, "h264")
    );
    assert!((probe.duration - 6.0).abs() < 0.1 && (probe.fps - 30.0).abs() < 0.1);

    let options = SelectOptions {
        min_length: 2.0,
        max_length: 4.0,
        max_clips: 3,
    };
    let reports = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&reports);
    let analysis = pool
        .analyse(
            &source,
            &options,
            Progress::new(move |s| seen.lock().push(s)),
        )
        .await
        .unwrap();
    let text = std::fs::read_to_string(synth::truth_of(&source)).unwrap();
    let truth: synth::Truth = serde_json::from_str(&text).unwrap();
    assert_eq!(analysis.cuts.len(), truth.cuts.len(), "{:?}", analysis.cuts);
    for (found, planted) in analysis.cuts.iter().zip(&truth.cuts) {
        assert!((found - planted).abs() < 0.04, "{found} for {planted}");
    }
    let best = &analysis.highlights[0];
    assert!(
        (best.start - truth.highlights[0].from).abs() < 0.04,
        "{best:?}"
    );
    assert!(
        best.end > truth.highlights[0].to - 0.04 && best.end < 5.5,
        "{best:?}"
    );
    let reports = reports.lock().clone();
    assert!(reports.is_sorted(), "{reports:?}");
    assert_eq!(reports.last(), Some(&1.0), "{reports:?}");

    let folder = tempfile::tempdir().unwrap();
    let (clip, poster) = (
        folder.path().join("clip.mp4"),
        folder.path().join("poster.jpg"),
    );
    for (shape, size) in [
        (AspectRatio::Portrait, (102, 180)),
        (AspectRatio::Square, (180, 180)),
        (AspectRatio::Landscape, (320, 180)),
        (AspectRatio::Source, (320, 180)),
    ] {
        let rendered = pool
            .render(
                &source,
                &spec(2.0, 4.5, shape),
                &clip,
                &poster,
                Progress::ignored(),
            )
            .await
            .unwrap();
        assert_eq!((rendered.width, rendered.height), size, "{shape:?}");
        assert_eq!(names(folder.path()), ["clip.mp4", "poster.jpg"]);
        let made = pool.probe(&clip).await.unwrap();
        assert_eq!((made.width, made.height), size);
        assert!((made.duration - 2.5).abs() < 0.01, "{}", made.duration);
        assert_eq!(made.audio_codec.as_deref(), Some("aac"));
        assert_eq!(rendered.size, std::fs::metadata(&clip).unwrap().len());
        let boxes = boxes(&clip);
        let place = |name: &str| boxes.iter().position(|b| b == name).unwrap();
        assert!(place("moov") < place("mdat"), "{boxes:?}");
        assert!(std::fs::read(&poster).unwrap().starts_with(&[0xff, 0xd8]));
    }
}

#[tokio::test]
async fn a_frame_is_the_one_shown_at_that_time_however_it_is_reached() {
    let source = short();
    let forwards = pool();
    let backwards = WorkerPool::new(MediaConfig {
        frame_cache_mb: 0,
        ..config()
    })
    .unwrap();
    let times: Vec<f64> = (0..24).map(|i| f64::from(i) * 0.25).collect();
    let mut first = Vec::new();
    for at in &times {
        first.push(forwards.frame(&source, *at, 160).await.unwrap());
    }
    for (at, expected) in times.iter().zip(&first).rev() {
        let again = backwards.frame(&source, *at, 160).await.unwrap();
        assert_eq!(&again, expected, "at {at}");
        assert!(again.starts_with(&[0xff, 0xd8]));
    }
    // A frame lasts until the next one: 1/30 s.
    let inside = forwards.frame(&source, 2.5 + 0.03, 160).await.unwrap();
    assert_eq!(inside, forwards.frame(&source, 2.5, 160).await.unwrap());
    assert_ne!(
        inside,
        forwards.frame(&source, 2.5 + 0.034, 160).await.unwrap()
    );
    for outside in [-0.1, 6.2, f64::NAN] {
        let error = forwards.frame(&source, outside, 160).await.unwrap_err();
        assert_eq!(error.code, MediaErrorCode::OutOfRange);
    }
}

#[tokio::test]
async fn requests_for_the_same_frame_share_one_answer() {
    let pool = WorkerPool::new(MediaConfig {
        frame_queue: 0,
        ..config()
    })
    .unwrap();
    let source = short();
    let same = futures_util::future::join_all((0..20).map(|_| pool.frame(&source, 3.0, 160))).await;
    let jpeg = same[0].as_ref().unwrap();
    assert!(same.iter().all(|other| other.as_ref() == Ok(jpeg)));
    // Different ones do not, and with one worker and no queue all but one are refused.
    let different =
        futures_util::future::join_all((0..5).map(|i| pool.frame(&source, f64::from(i), 320)))
            .await;
    let busy = different
        .iter()
        .filter(|r| r.as_ref().is_err_and(|e| e.code == MediaErrorCode::Busy))
        .count();
    assert_eq!(busy, 4, "{different:?}");
}

#[tokio::test]
async fn broken_files_are_told_apart() {
    let pool = pool();
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(short()).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let cases = [
        (
            file("text.mp4", b"This is a text."),
            MediaErrorCode::NotAVideo,
        ),
        (
            file("playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
            MediaErrorCode::NotAVideo,
        ),
        (file("empty.mp4", b""), MediaErrorCode::NotAVideo),
        (
            file("half.mp4", &whole[..whole.len() / 2]),
            MediaErrorCode::CorruptMedia,
        ),
        (
            file("head.mp4", &whole[..4000]),
            MediaErrorCode::CorruptMedia,
        ),
        (folder.path().to_owned(), MediaErrorCode::NotAVideo),
        (
            folder.path().join("nothing.mp4"),
            MediaErrorCode::SourceUnavailable,
        ),
    ];
    for (path, code) in &cases {
        let error = pool
            .analyse(path, &SelectOptions::default(), Progress::ignored())
            .await
            .unwrap_err();
        assert_eq!(error.code, *code, "{}: {error}", path.display());
        assert!(
            !error.detail.contains('\n') && !error.detail.ends_with('.'),
            "{error}"
        );
    }
    let small = WorkerPool::new(MediaConfig {
        max_pixels: 160 * 90,
        ..config()
    })
    .unwrap();
    assert_eq!(
        small.probe(&short()).await.unwrap_err().code,
        MediaErrorCode::ResourceLimit
    );
    let brief = WorkerPool::new(MediaConfig {
        max_duration: HumanDuration::secs(5),
        ..config()
    })
    .unwrap();
    assert_eq!(
        brief.probe(&short()).await.unwrap_err().code,
        MediaErrorCode::ResourceLimit
    );
    let out = folder.path().join("clip.mp4");
    let error = pool
        .render(
            &short(),
            &spec(7.0, 9.0, AspectRatio::Source),
            &out,
            &folder.path().join("p.jpg"),
            Progress::ignored(),
        )
        .await
        .unwrap_err();
    assert_eq!(error.code, MediaErrorCode::OutOfRange);
    assert!(
        !names(folder.path())
            .iter()
            .any(|name| name.contains("clip") || name.contains("part"))
    );
}

#[tokio::test]
async fn work_that_is_dropped_stops_and_leaves_nothing() {
    let pool = pool();
    let source = short();
    let folder = tempfile::tempdir().unwrap();
    let (clip, poster) = (
        folder.path().join("clip.mp4"),
        folder.path().join("poster.jpg"),
    );
    let (started, begun) = tokio::sync::oneshot::channel();
    let started = parking_lot::Mutex::new(Some(started));
    let progress = Progress::new(move |_| {
        if let Some(started) = started.lock().take() {
            started.send(()).ok();
        }
    });
    {
        let wanted = spec(0.0, 6.0, AspectRatio::Source);
        let work = pool.render(&source, &wanted, &clip, &poster, progress);
        tokio::select! {
            biased;
            begun = begun => begun.unwrap(),
            _ = work => {}
        }
    }
    assert!(
        !clip.with_extension("mp4.part").exists() && !poster.with_extension("jpg.part").exists()
    );
    let rendered = pool
        .render(
            &source,
            &spec(1.0, 2.0, AspectRatio::Source),
            &clip,
            &poster,
            Progress::ignored(),
        )
        .await
        .unwrap();
    assert!((rendered.duration - 1.0).abs() < 0.01);
    assert_eq!(names(folder.path()), ["clip.mp4", "poster.jpg"]);
}

#[tokio::test]
async fn dead_workers_are_replaced_and_hung_ones_given_up() {
    let pool = WorkerPool::new(MediaConfig {
        frame_stall: HumanDuration::millis(400),
        ..config()
    })
    .unwrap();
    let source = short();
    pool.frame(&source, 1.0, 160).await.unwrap();
    let first = pool.idle_workers();
    assert_eq!(first.len(), 1);
    let signal =
        |pid: u32, signal| kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();

    signal(first[0], Signal::SIGKILL);
    // Whether the pool notices the death before or during the next request is a race; after it, all is well.
    if let Err(error) = pool.frame(&source, 2.0, 160).await {
        assert_eq!(error.code, MediaErrorCode::WorkerCrashed);
    }
    pool.frame(&source, 2.0, 160).await.unwrap();
    let second = pool.idle_workers();
    assert_ne!(first, second);

    signal(second[0], Signal::SIGSTOP);
    let hung = tokio::time::timeout(Duration::from_secs(5), pool.frame(&source, 3.0, 160))
        .await
        .unwrap();
    assert_eq!(hung.unwrap_err().code, MediaErrorCode::Stalled);
    pool.frame(&source, 3.0, 160).await.unwrap();
    assert_ne!(second, pool.idle_workers());
}

#[tokio::test]
async fn a_worker_command_that_is_none_is_reported() {
    let command = Some(vec![
        "/bin/sh".to_owned(),
        "-c".to_owned(),
        "exit 3".to_owned(),
    ]);
    let pool = WorkerPool::new(MediaConfig {
        worker_command: command,
        ..config()
    })
    .unwrap();
    let error = pool.warm().await.unwrap_err();
    assert_eq!(error.code, MediaErrorCode::WorkerCrashed);
    assert!(
        error
            .detail
            .contains("/bin/sh does not work as a media worker"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_walls_stand() {
    let pool = pool();
    pool.warm().await.unwrap();
    for pid in pool.idle_workers() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = |name: &str| {
            let found = status
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .unwrap_or_default();
            found.trim().to_owned()
        };
        assert_eq!(line("NoNewPrivs:"), "1", "{status}");
        assert_eq!(line("Seccomp:"), "2", "{status}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            let none = u64::from_str_radix(&line(set), 16).unwrap() == 0;
            // Who is not root may not shrink the bounding set, and has nothing to gain from it.
            assert!(
                none || (set == "CapBnd:" && !nix::unistd::geteuid().is_root()),
                "{status}"
            );
        }
    }
}

/// A named pipe that nobody writes to, a socket, a device and a folder.
fn no_plain_files(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let pipe = folder.join("pipe.mp4");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = folder.join("socket.mp4");
    std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let odd = "not a plain file";
    vec![
        (pipe, odd),
        (socket, odd),
        (PathBuf::from("/dev/zero"), odd),
        (folder.to_owned(), "a directory"),
    ]
}

#[tokio::test]
async fn what_is_no_plain_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool();
    for (path, what) in no_plain_files(folder.path()) {
        // The engine may not block the thread that asks it, so the clock of this one tells.
        let refused = pool.probe(&path).await.unwrap_err();
        assert_eq!(refused.code, MediaErrorCode::NotAVideo, "{refused}");
        assert_eq!(refused.detail, format!("this is {what}"));
        let frame = pool.frame(&path, 0.0, 160).await.unwrap_err();
        assert_eq!(frame.code, MediaErrorCode::NotAVideo, "{frame}");

        let command = tokio::process::Command::new(env!("CARGO_BIN_EXE_clip-service"))
            .arg("clip")
            .arg(&path)
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(Duration::from_secs(10), command).await;
        let output = ended.expect("the command ends by itself").unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(what), "{said}");
    }
}

#[tokio::test]
async fn a_probe_that_hangs_keeps_no_frame_waiting() {
    let pool = WorkerPool::new(MediaConfig {
        frame_stall: HumanDuration::millis(300),
        frame_wait: HumanDuration::secs(2),
        stall: HumanDuration::secs(3),
        ..config()
    })
    .unwrap();
    let source = short();
    pool.frame(&source, 1.0, 160).await.unwrap();
    let only = pool.idle_workers();
    assert_eq!(only.len(), 1);
    let pid = Pid::from_raw(i32::try_from(only[0]).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let hangs = pool.probe(&source);
    let others = async {
        // The probe has the only worker by now.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let began = tokio::time::Instant::now();
        pool.frame(&source, 2.0, 160).await.unwrap();
        began.elapsed()
    };
    let (probe, waited) = futures_util::join!(hangs, others);
    assert_eq!(probe.unwrap_err().code, MediaErrorCode::Stalled);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}
