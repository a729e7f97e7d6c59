//! `clip-service clip FILE`: a long video in, clips beside it, no server needed.
//!
//! All or nothing: clips are made in a hidden folder and moved to their place together, so a failure or Ctrl-C leaves
//! nothing behind. Results go to stdout, progress and errors to stderr.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people speaks on its terminal"
)]

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tempfile::TempDir;

use crate::media::{
    Analysis, AspectRatio, Highlight, MediaEngine, MediaError, Progress, RenderSpec, Rendered,
    SelectOptions,
};
use crate::units::HumanDuration;

/// Share of the progress bar that the analysis fills.
const ANALYSIS_SHARE: f64 = 0.2;

/// Exit code after Ctrl-C, as shells expect it.
const INTERRUPTED: u8 = 130;

/// Finds the best moments of a video and writes them as clips.
#[derive(Debug, Clone, clap::Args)]
pub struct ClipArgs {
    /// The video.
    pub file: PathBuf,
    /// Folder for the clips [default: the video's name with `-clips`, in the current folder]
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// At most this many clips
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub max_clips: u16,
    /// Shortest clip (15s, or a number of seconds)
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = seconds)]
    pub min_length: f64,
    /// Longest clip (1m, or a number of seconds)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    pub max_length: f64,
    /// Shape of the clips
    #[arg(long, default_value = "9:16", value_parser = shape())]
    pub aspect: AspectRatio,
    /// Write the result as JSON
    #[arg(long)]
    pub json: bool,
    /// No progress, no notes
    #[arg(long, short)]
    pub quiet: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = match text.parse::<f64>() {
        Ok(seconds) => seconds,
        Err(_) => text
            .parse::<HumanDuration>()
            .map_err(|e| e.to_string())?
            .get()
            .as_secs_f64(),
    };
    if (0.5..=21_600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("must be between 0.5s and 6h".to_owned())
    }
}

fn shape() -> impl clap::builder::TypedValueParser<Value = AspectRatio> {
    PossibleValuesParser::new(["9:16", "1:1", "16:9", "source"]).map(|name| match name.as_str() {
        "1:1" => AspectRatio::Square,
        "16:9" => AspectRatio::Landscape,
        "source" => AspectRatio::Source,
        _ => AspectRatio::Portrait,
    })
}

/// Why there are no clips. One line each.
#[derive(Debug, thiserror::Error)]
enum ClipError {
    #[error("{}: {source}", .file.display())]
    Media { file: PathBuf, source: MediaError },
    #[error("--min-length {min} s is longer than --max-length {max} s")]
    Lengths { min: f64, max: f64 },
    #[error("{}: {source}", .path.display())]
    Output {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("interrupted, nothing was written")]
    Interrupted,
}

/// One clip, as `--json` writes it.
#[derive(Debug, Clone, Serialize)]
struct Made {
    file: String,
    poster: String,
    #[serde(flatten)]
    highlight: Highlight,
    rendered: Rendered,
}

/// Everything, as `--json` writes it.
#[derive(Debug, Clone, Serialize)]
struct Report<'a> {
    source: String,
    folder: String,
    algorithm: &'a str,
    duration: f64,
    warnings: &'a [String],
    clips: &'a [Made],
}

/// Runs the command.
pub async fn clip(args: ClipArgs, media: Arc<dyn MediaEngine>) -> ExitCode {
    let bar = bar(&args);
    let result = tokio::select! {
        biased;
        () = interrupted() => Err(ClipError::Interrupted),
        result = make(&args, media.as_ref(), &bar) => result,
    };
    bar.finish_and_clear();
    match result {
        Ok((folder, analysis, clips)) => {
            if args.json {
                let report = Report {
                    source: args.file.to_string_lossy().into_owned(),
                    folder: folder.to_string_lossy().into_owned(),
                    algorithm: &analysis.algorithm,
                    duration: analysis.probe.duration,
                    warnings: &analysis.warnings,
                    clips: &clips,
                };
                match serde_json::to_string_pretty(&report) {
                    Ok(text) => println!("{text}"),
                    Err(error) => {
                        eprintln!("clip-service: {error}");
                        return ExitCode::FAILURE;
                    }
                }
            } else {
                let width =
                    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
                print!("{}", table(&args.file, &folder, &analysis, &clips, width));
                if !args.quiet {
                    for warning in &analysis.warnings {
                        eprintln!("note: {warning}");
                    }
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("clip-service: {error}");
            match error {
                ClipError::Interrupted => ExitCode::from(INTERRUPTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Ends when the person, or whoever runs this, wants it to stop.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                biased;
                Ok(()) = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the default action ends the process, which is the same without the tidying up.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The bar on a terminal; hidden when nobody looks.
fn bar(args: &ClipArgs) -> ProgressBar {
    if args.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(10));
    // Without colour the bar says the same.
    if let Ok(style) = ProgressStyle::with_template(" {msg:28} {bar:32} {percent:>3} %  {elapsed}")
    {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}

/// Says what is being done: on the bar, or as a line where there is none.
fn say(args: &ClipArgs, bar: &ProgressBar, what: String) {
    if bar.is_hidden() && !args.quiet {
        eprintln!("{what}");
    }
    bar.set_message(what);
}

fn part(bar: &ProgressBar, from: f64, to: f64) -> Progress {
    let bar = bar.clone();
    Progress::new(move |share| {
        bar.set_position((1000.0 * (from + (to - from) * share.clamp(0.0, 1.0))) as u64);
    })
}

async fn make(
    args: &ClipArgs,
    media: &dyn MediaEngine,
    bar: &ProgressBar,
) -> Result<(PathBuf, Analysis, Vec<Made>), ClipError> {
    if args.min_length > args.max_length {
        return Err(ClipError::Lengths {
            min: args.min_length,
            max: args.max_length,
        });
    }
    let failed = |source| ClipError::Media {
        file: args.file.clone(),
        source,
    };
    let options = SelectOptions {
        min_length: args.min_length,
        max_length: args.max_length,
        max_clips: usize::from(args.max_clips),
    };
    // Headers first: what is no video at all is refused before a bar appears.
    media.probe(&args.file).await.map_err(failed)?;
    say(args, bar, format!("looking at {}", file_name(&args.file)));
    let analysis = media
        .analyse(&args.file, &options, part(bar, 0.0, ANALYSIS_SHARE))
        .await
        .map_err(failed)?;

    let stem = args
        .file
        .file_stem()
        .unwrap_or(args.file.as_os_str())
        .to_owned();
    let folder = args.out.clone().unwrap_or_else(|| {
        let mut name = stem.clone();
        name.push("-clips");
        PathBuf::from(name)
    });
    let workshop = Workshop::open(&folder)?;
    let count = analysis.highlights.len();
    let mut clips = Vec::new();
    for (i, highlight) in analysis.highlights.iter().enumerate() {
        let number = i + 1;
        say(args, bar, format!("making clip {number} of {count}"));
        let named = |extension: &str| {
            let mut name = stem.clone();
            name.push(format!("-{number:02}.{extension}"));
            PathBuf::from(name)
        };
        let (clip, poster) = (named("mp4"), named("jpg"));
        let spec = RenderSpec {
            start: highlight.start,
            end: highlight.end,
            aspect_ratio: args.aspect,
            max_height: None,
        };
        let step = (1.0 - ANALYSIS_SHARE) / count as f64;
        let from = ANALYSIS_SHARE + step * i as f64;
        let inside = workshop.path();
        let rendered = media
            .render(
                &args.file,
                &spec,
                &inside.join(&clip),
                &inside.join(&poster),
                part(bar, from, from + step),
            )
            .await
            .map_err(failed)?;
        clips.push(Made {
            file: clip.to_string_lossy().into_owned(),
            poster: poster.to_string_lossy().into_owned(),
            highlight: highlight.clone(),
            rendered,
        });
    }
    workshop.finish()?;
    Ok((folder, analysis, clips))
}

/// A hidden folder inside the output folder, where clips are until all of them are done. Dropped before that, it goes, and
/// so does the output folder if it was made for this.
struct Workshop {
    inside: Option<TempDir>,
    folder: PathBuf,
    /// The outermost folder that was not there before, and everything below it.
    created: Vec<PathBuf>,
}

impl Workshop {
    fn open(folder: &Path) -> Result<Self, ClipError> {
        let failed = |source| ClipError::Output {
            path: folder.to_owned(),
            source,
        };
        let created: Vec<PathBuf> = folder
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(Path::to_owned)
            .collect();
        let mut workshop = Self {
            inside: None,
            folder: folder.to_owned(),
            created,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let inside = tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(folder)
            .map_err(failed)?;
        workshop.inside = Some(inside);
        Ok(workshop)
    }

    fn path(&self) -> &Path {
        self.inside.as_ref().map_or(&self.folder, TempDir::path)
    }

    fn finish(mut self) -> Result<(), ClipError> {
        let failed = |source| ClipError::Output {
            path: self.folder.clone(),
            source,
        };
        for entry in std::fs::read_dir(self.path()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            std::fs::rename(entry.path(), self.folder.join(entry.file_name())).map_err(failed)?;
        }
        self.created.clear();
        Ok(())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        drop(self.inside.take());
        // Innermost first; one that somebody else put something into stays.
        for path in &self.created {
            if std::fs::remove_dir(path).is_err() {
                break;
            }
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// The clips, aligned, at most `width` columns wide.
fn table(file: &Path, folder: &Path, analysis: &Analysis, clips: &[Made], width: usize) -> String {
    let mut text = String::new();
    let noun = if clips.len() == 1 { "clip" } else { "clips" };
    // Writing to a string cannot fail.
    writeln!(
        text,
        "{} {noun} of {} ({}) in {}\n",
        clips.len(),
        file_name(file),
        time(analysis.probe.duration),
        folder.display()
    )
    .ok();
    let name_width = clips
        .iter()
        .map(|c| c.file.chars().count())
        .max()
        .unwrap_or_default()
        .max(4);
    writeln!(
        text,
        " {:name_width$}  {:>9}  {:>9}  {:>7}  {:>5}  why",
        "clip", "from", "to", "length", "score"
    )
    .ok();
    for clip in clips {
        let highlight = &clip.highlight;
        let row = format!(
            " {:name_width$}  {:>9}  {:>9}  {:>5.1} s  {:>5.1}  {}",
            clip.file,
            time(highlight.start),
            time(highlight.end),
            clip.rendered.duration,
            highlight.score,
            highlight.reasons.first().map_or("", String::as_str),
        );
        text.push_str(&shorten(&row, width.max(80)));
        text.push('\n');
    }
    text
}

/// `00:20.0`, with hours when there are any.
fn time(seconds: f64) -> String {
    let tenths = (seconds.max(0.0) * 10.0).round() as u64;
    let (hours, minutes, rest) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let short = format!("{minutes:02}:{:02}.{}", rest / 10, rest % 10);
    if hours > 0 {
        format!("{hours}:{short}")
    } else {
        short
    }
}

fn shorten(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(width - 1).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::env::SharedRng;
    use crate::media::model::{ModelCosts, ModelMedia};

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: ClipArgs,
    }

    fn args(line: &[&str]) -> Result<ClipArgs, clap::Error> {
        Command::try_parse_from(std::iter::once(&"clip").chain(line)).map(|command| command.args)
    }

    fn engine() -> ModelMedia {
        ModelMedia::new(ModelCosts::default(), SharedRng::seeded(1))
    }

    #[test]
    fn reads_lengths_with_and_without_a_unit() {
        let args = args(&[
            "a.mp4",
            "--min-length",
            "7.5",
            "--max-length",
            "1m",
            "--aspect",
            "1:1",
        ])
        .expect("valid");
        assert_eq!(
            (args.min_length, args.max_length, args.aspect),
            (7.5, 60.0, AspectRatio::Square)
        );
        for wrong in [
            ["--min-length", "0"],
            ["--max-length", "soon"],
            ["--aspect", "2:1"],
            ["--max-clips", "0"],
        ] {
            assert!(
                super::tests::args(&["a.mp4", wrong[0], wrong[1]]).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn clips_appear_together_with_their_posters() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("new").join("clips");
        let args =
            args(&["talk.mp4", "-q", "--out", folder.to_str().expect("UTF-8")]).expect("valid");
        let (_, analysis, clips) = make(&args, &engine(), &ProgressBar::hidden())
            .await
            .expect("clips");
        assert_eq!(clips.len(), 3);
        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .expect("the folder")
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        let wanted = [
            "talk-01.jpg",
            "talk-01.mp4",
            "talk-02.jpg",
            "talk-02.mp4",
            "talk-03.jpg",
            "talk-03.mp4",
        ];
        assert_eq!(names, wanted);
        insta::assert_snapshot!(
            table(Path::new("talk.mp4"), Path::new("talk-clips"), &analysis, &clips, 80),
            @r"
        3 clips of talk.mp4 (01:00.0) in talk-clips

         clip              from         to   length  score  why
         talk-01.mp4    00:00.0    00:15.0   15.0 s   90.0  modelled
         talk-02.mp4    00:16.0    00:31.0   15.0 s   81.9  modelled
         talk-03.mp4    00:32.0    00:47.0   15.0 s   75.1  modelled
        "
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_leaves_nothing_behind() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("new").join("clips");
        let args =
            args(&["talk.mp4", "-q", "--out", folder.to_str().expect("UTF-8")]).expect("valid");
        let engine = engine();
        let bar = ProgressBar::hidden();
        // The analysis takes about two seconds, a clip about as long: this ends inside a clip.
        let given_up = tokio::time::timeout(
            std::time::Duration::from_secs(5),
            make(&args, &engine, &bar),
        )
        .await;
        assert!(given_up.is_err(), "still at work");
        assert_eq!(
            std::fs::read_dir(home.path()).expect("the folder").count(),
            0
        );
    }

    #[tokio::test(start_paused = true)]
    async fn lengths_that_exclude_each_other_are_refused() {
        let args = args(&["talk.mp4", "--min-length", "20", "--max-length", "10"]).expect("valid");
        let error = make(&args, &engine(), &ProgressBar::hidden())
            .await
            .expect_err("refused");
        assert_eq!(
            error.to_string(),
            "--min-length 20 s is longer than --max-length 10 s"
        );
    }

    #[test]
    fn long_rows_are_shortened() {
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abcd", 4), "abcd");
        assert_eq!(
            (time(3725.04), time(59.96)),
            ("1:02:05.0".to_owned(), "01:00.0".to_owned())
        );
    }
}
