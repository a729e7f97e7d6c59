//! Whether the programs of a scenario are there on this machine, found as the process runtime will find them: by `PATH`
//! where the name has no slash, and from the folder that clip-harness is started in where it has one.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::scenario::Spanned;
use crate::scenario::diagnostic::{Diagnostic, nearest};
use crate::scenario::model::{Program, System};
use crate::scenario::value::TemplateText;

/// Where programs are looked for.
pub(super) struct Machine {
    /// Relative paths begin here.
    pub(super) folder: PathBuf,
    /// `PATH`, where a node has none of its own.
    pub(super) path: OsString,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        Self {
            folder: std::env::current_dir().unwrap_or_default(),
            path: std::env::var_os("PATH").unwrap_or_default(),
        }
    }
}

/// Programs that read a script which is named by their first argument.
const INTERPRETERS: &[&str] = &[
    "python", "python2", "python3", "node", "ruby", "perl", "php", "sh", "bash", "dash", "zsh",
];
/// Arguments of theirs that stand before the script and take no value.
const SWITCHES: &[&str] = &[
    "-u", "-B", "-E", "-I", "-s", "-S", "-e", "-x", "-eu", "-ex", "-eux", "-w",
];

/// Reports every program, and every script of an interpreter, that is not there.
pub(super) fn check(system: &System, machine: &Machine) -> Vec<Diagnostic> {
    let programs = system.nodes.iter().map(|(_, program)| program);
    programs
        // One with keys that mean nothing here is another tool's, perhaps with a folder of its own to start in.
        .filter(|program| program.complete)
        .filter_map(|program| {
            let words = program.run.known()?.0.as_slice();
            missing_program(program, words.first()?, machine)
                .or_else(|| missing_script(words, machine))
        })
        .collect()
}

fn missing_program(
    program: &Program,
    word: &Spanned<TemplateText>,
    machine: &Machine,
) -> Option<Diagnostic> {
    let name = word.value.0.as_str();
    if name.contains("$(") {
        return None;
    }
    if name.contains('/') {
        let file = machine.folder.join(name);
        return match file.metadata() {
            Err(_) => Some(
                Diagnostic::error(word.span, format!("there is no program `{name}`"))
                    .help(near(name, machine)),
            ),
            Ok(found) if found.is_dir() => Some(
                Diagnostic::error(word.span, format!("`{name}` is a folder"))
                    .help("write the program in it"),
            ),
            Ok(found) if found.permissions().mode() & 0o111 == 0 => Some(
                Diagnostic::error(word.span, format!("`{name}` is not executable")).help(format!(
                    "run chmod +x {name}, or write the program that reads it first"
                )),
            ),
            Ok(_) => None,
        };
    }
    // A node with a PATH of its own is started by that one.
    let own = match program.env.get("PATH") {
        Some(path) => Some(path.known()?.0.as_str()),
        None => None,
    };
    if own.is_some_and(|path| path.contains("$(")) {
        return None;
    }
    let path = own.map_or(machine.path.as_os_str(), OsStr::new);
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    if folders
        .iter()
        .any(|folder| is_program(&machine.folder.join(folder).join(name)))
    {
        return None;
    }
    let help = match machine.folder.join(name).is_file() {
        true => format!("write ./{name} for the file in this folder"),
        false => {
            let files = folders.iter().flat_map(|folder| files_in(folder));
            let files: Vec<String> = files.filter(|file| file != name).collect();
            match nearest(name, files.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "install it, or write the path to it".to_owned(),
            }
        }
    };
    Some(Diagnostic::error(word.span, format!("`{name}` is not on PATH")).help(help))
}

fn missing_script(words: &[Spanned<TemplateText>], machine: &Machine) -> Option<Diagnostic> {
    let (program, arguments) = words.split_first()?;
    let program = Path::new(&program.value.0).file_name()?.to_str()?;
    let program = program.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
    let is_known = |name: &&str| name.trim_end_matches(|c: char| c.is_ascii_digit()) == program;
    if !INTERPRETERS.iter().any(is_known) {
        return None;
    }
    let script = arguments
        .iter()
        .find(|word| !SWITCHES.contains(&word.value.0.as_str()))?;
    let name = script.value.0.as_str();
    // A shell looks for a script without a slash by PATH as well; other switches may take the next word as their value.
    let elsewhere = program.ends_with("sh") && !name.contains('/');
    if name.starts_with('-') || name.contains("$(") || elsewhere {
        return None;
    }
    if machine.folder.join(name).exists() {
        return None;
    }
    Some(
        Diagnostic::error(script.span, format!("there is no file `{name}`"))
            .help(near(name, machine)),
    )
}

/// A file beside a missing one whose name is like it, or where relative paths begin.
fn near(name: &str, machine: &Machine) -> String {
    let path = Path::new(name);
    let beside = path.parent().unwrap_or(Path::new(""));
    let files = files_in(&machine.folder.join(beside));
    let file = path.file_name().and_then(OsStr::to_str).unwrap_or(name);
    match nearest(file, files.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{}`?", beside.join(meant).display()),
        None if path.is_absolute() => "write the path of a file that is there".to_owned(),
        None => format!(
            "paths begin in {}, where clip-harness is started",
            machine.folder.display()
        ),
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    /// Messages and remedies for a command, on a machine with a few files.
    fn problems(run: &str, env: &str) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(&path, "").expect("a file");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("a mode");
        };
        file("bin/python3", 0o755);
        file("bin/notes", 0o644);
        file("own/redis-server", 0o755);
        file("app/app.py", 0o644);
        file("serve", 0o755);
        let machine = Machine {
            folder: folder.path().to_owned(),
            path: folder.path().join("bin").into(),
        };
        let text = format!(
            "version: 1\nname: t\nsystem: {{ nodes: {{ w: {{ run: {run}, env: {env} }} }} }}\n\
             load: {{ a: {{ arrivals: {{ rate: 1/s, for: 9s }}, steps: [ {{ get: / }} ] }} }}\n\
             expect: {{ always: [ a.success >= 99% ] }}\n"
        );
        let scenario = Scenario::parse("t.yaml", &text).expect("a scenario");
        let here = folder.path().display().to_string();
        check(&scenario.document.system, &machine)
            .into_iter()
            .map(|found| {
                let help = found.help.unwrap_or_default().replace(&here, "HERE");
                (found.message, help)
            })
            .collect()
    }

    #[test]
    fn what_is_there_is_found() {
        for (run, env) in [
            ("[ python3, app/app.py ]", "{}"),
            ("[ python3, -u, app/app.py ]", "{}"),
            ("[ python3, -m, http.server ]", "{}"),
            ("[ python3, $(link.x) ]", "{}"),
            ("[ ./serve ]", "{}"),
            ("[ redis-server ]", "{ PATH: own }"),
        ] {
            assert_eq!(problems(run, env), [], "{run}");
        }
    }

    #[test]
    fn what_is_missing_is_told_with_a_remedy() {
        for (run, env, message, help) in [
            (
                "[ pyhton3, app/app.py ]",
                "{}",
                "`pyhton3` is not on PATH",
                "did you mean `python3`?",
            ),
            (
                "[ notes ]",
                "{}",
                "`notes` is not on PATH",
                "install it, or write the path to it",
            ),
            (
                "[ serve ]",
                "{}",
                "`serve` is not on PATH",
                "write ./serve for the file in this folder",
            ),
            (
                "[ python3 ]",
                "{ PATH: own }",
                "`python3` is not on PATH",
                "install it, or write the path to it",
            ),
            (
                "[ ./srv ]",
                "{}",
                "there is no program `./srv`",
                "paths begin in HERE, where clip-harness is started",
            ),
            (
                "[ ./sevre ]",
                "{}",
                "there is no program `./sevre`",
                "did you mean `./serve`?",
            ),
            (
                "[ app/app.py ]",
                "{}",
                "`app/app.py` is not executable",
                "run chmod +x app/app.py, or write the program that reads it first",
            ),
            (
                "[ ./app ]",
                "{}",
                "`./app` is a folder",
                "write the program in it",
            ),
            (
                "[ python3, app/ap.py ]",
                "{}",
                "there is no file `app/ap.py`",
                "did you mean `app/app.py`?",
            ),
            (
                "[ python3, -u, other/x.py ]",
                "{}",
                "there is no file `other/x.py`",
                "paths begin in HERE, where clip-harness is started",
            ),
        ] {
            let expected = [(message.to_owned(), help.to_owned())];
            assert_eq!(problems(run, env), expected, "{run}");
        }
    }
}
