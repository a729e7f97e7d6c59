//! What the feature tests are asked for on the command line, by three askers: people (cucumber's own flags), `cargo test`
//! (which gives every test binary the same words), and cargo-nextest (which wants a list first).

use std::ffi::OsStr;

/// The one test that test runners see.
pub(super) const NAME: &str = "features";

/// Tags to run, where no flag can be given: `CLIP_HARNESS_FEATURE_TAGS='@clip or @check' cargo nextest run`.
pub(super) const TAGS: &str = "CLIP_HARNESS_FEATURE_TAGS";

/// Flags of cucumber that are followed by a value.
const VALUED: &[&str] = &[
    "-n",
    "--name",
    "--scenario-name",
    "-t",
    "--tags",
    "-i",
    "--input",
    "-c",
    "--concurrency",
    "--retry",
    "--retry-after",
    "--retry-tag-filter",
    "--color",
];

/// Flags of Rust's own test programs that mean nothing here, and those of them that are followed by a value.
const NOT_OURS: &[&str] = &[
    "--nocapture",
    "--no-capture",
    "--exact",
    "--include-ignored",
    "--show-output",
    "-q",
    "--quiet",
    "--report-time",
    "--test",
    "--bench",
];
const NOT_OURS_VALUED: &[&str] = &[
    "--test-threads",
    "--format",
    "--logfile",
    "--shuffle-seed",
    "-Z",
];

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The names of the tests in this binary.
    List(Vec<&'static str>),
    /// Other tests than this one.
    NotThis,
    /// The features, with these arguments for cucumber.
    Run(Vec<String>),
}

/// Reads the arguments, the program's name left out. `tags` is the value of [`TAGS`].
pub(super) fn read(arguments: impl IntoIterator<Item = String>, tags: Option<&OsStr>) -> Asked {
    let mut run = vec![NAME.to_owned()];
    let (mut list, mut ignored, mut exact) = (false, false, false);
    let (mut filters, mut skipped): (Vec<String>, Vec<String>) = Default::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (flag, inline) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        match flag {
            "--list" => list = true,
            "--ignored" => ignored = true,
            "--skip" => skipped.extend(inline.or_else(|| arguments.next())),
            _ if NOT_OURS.contains(&flag) => exact |= flag == "--exact",
            _ if NOT_OURS_VALUED.contains(&flag) => {
                if inline.is_none() {
                    arguments.next();
                }
            }
            _ if VALUED.contains(&flag) => {
                let bare = inline.is_none();
                run.push(argument);
                run.extend(arguments.next_if(bare));
            }
            _ if flag.starts_with('-') => run.push(argument),
            _ => filters.push(argument),
        }
    }
    // Nothing here is ignored by default, so there is nothing to list or run of that kind.
    if list {
        return Asked::List(if ignored { Vec::new() } else { vec![NAME] });
    }
    let means = |filter: &String| match exact {
        true => filter == NAME,
        false => NAME.contains(filter.as_str()),
    };
    if ignored || skipped.iter().any(means) || !(filters.is_empty() || filters.iter().any(means)) {
        return Asked::NotThis;
    }
    let chosen = ["-n", "--name", "--scenario-name", "-t", "--tags"];
    let chosen = |word: &String| chosen.contains(&word.split('=').next().unwrap_or_default());
    if let Some(tags) = tags.filter(|tags| !tags.is_empty())
        && !run.iter().any(chosen)
    {
        run.push(format!("--tags={}", tags.to_string_lossy()));
    }
    Asked::Run(run)
}

/// `next`, under a condition that is known before.
trait NextIf: Iterator {
    fn next_if(&mut self, wanted: bool) -> Option<Self::Item> {
        if wanted { self.next() } else { None }
    }
}

impl<I: Iterator> NextIf for I {}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Asked {
        read(line.split_whitespace().map(str::to_owned), None)
    }

    fn run(words: &[&str]) -> Asked {
        let words = [NAME].iter().chain(words);
        Asked::Run(words.map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn flags_of_cucumber_reach_it() {
        assert_eq!(asked(""), run(&[]));
        assert_eq!(
            asked("--tags @kill --fail-fast"),
            run(&["--tags", "@kill", "--fail-fast"])
        );
        assert_eq!(asked("--name=Killed -vv"), run(&["--name=Killed", "-vv"]));
        assert_eq!(asked("-n features"), run(&["-n", "features"]));
    }

    #[test]
    fn words_for_other_tests_do_no_harm() {
        assert_eq!(
            asked("--nocapture --test-threads 1 --format=json -q"),
            run(&[])
        );
        assert_eq!(asked("judge::exit"), Asked::NotThis);
        assert_eq!(asked("judge feature"), run(&[]));
        assert_eq!(asked("--ignored"), Asked::NotThis);
        assert_eq!(asked("--include-ignored"), run(&[]));
        assert_eq!(asked("--skip features"), Asked::NotThis);
        assert_eq!(asked("--skip other"), run(&[]));
    }

    #[test]
    fn nextest_gets_its_list_and_its_run() {
        assert_eq!(asked("--list --format terse"), Asked::List(vec![NAME]));
        assert_eq!(
            asked("--list --format terse --ignored"),
            Asked::List(Vec::new())
        );
        assert_eq!(asked("--exact features --nocapture"), run(&[]));
        assert_eq!(asked("--exact feature"), Asked::NotThis);
    }

    #[test]
    fn tags_may_come_from_the_environment() {
        let tags = Some(OsStr::new("@kill or @check"));
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read(words(&["--exact", NAME]), tags),
            run(&["--tags=@kill or @check"])
        );
        assert_eq!(read(words(&["-t", "@x"]), tags), run(&["-t", "@x"]));
        assert_eq!(read(words(&["--name=a"]), tags), run(&["--name=a"]));
        assert_eq!(read(words(&[]), Some(OsStr::new(""))), run(&[]));
    }
}
