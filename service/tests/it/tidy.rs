//! Rules of the source tree that the compiler does not know: which way imports point, and where effects may be named.
//!
//! The order of the modules is read from `lib.rs`, so a new module has a place as soon as it is declared. Unit tests
//! may bring anything together and are left aside.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Names that may be imported from further down the list: `Env` carries storage and media, so it has to name their
/// traits, which know nothing of it.
const FROM_BELOW: &[(&str, &str)] = &[
    ("env", "media::MediaEngine"),
    ("env", "store::Blobs"),
    ("env", "store::JobStore"),
];

/// Effects, with the files that implement them. Everything else takes them from `Env`, or it could not be simulated.
const EFFECTS: &[(&str, &[&str])] = &[
    ("tokio::net", &["net.rs", "media/worker/process.rs"]),
    ("tokio::process", &["media/worker/process.rs"]),
    // Only people's commands live in a process of their own.
    ("tokio::signal", &["cli.rs", "clip_cmd.rs"]),
    // Workers are processes, which no simulation has.
    (
        "tokio::spawn",
        &["env.rs", "cli.rs", "media/worker/pool.rs"],
    ),
    ("tokio::task::spawn", &[]),
    ("tokio::task::spawn_local", &["env.rs"]),
    // tokio's can be paused, and stands still in a simulation until it is moved.
    ("std::time::Instant", &[]),
    ("std::time::SystemTime", &[]),
    ("std::net::TcpStream", &[]),
    ("std::net::TcpListener", &[]),
];

#[test]
fn imports_point_up() {
    let tree = Tree::read();
    let order = modules(&tree.library);
    let mut offences = Vec::new();
    let mut crossing = 0;
    let mut used = BTreeSet::new();
    for source in &tree.sources {
        let Some(module) = source.module.first() else {
            continue;
        };
        let Some(here) = order.iter().position(|name| name == module) else {
            offences.push(format!("{}: `{module}` is not in lib.rs", source.file));
            continue;
        };
        for (line, path) in &source.paths {
            let Some(path) = within_crate(&source.module, path) else {
                continue;
            };
            let Some(imported) = path.first().filter(|name| *name != module) else {
                continue;
            };
            crossing += 1;
            let name = path.join("::");
            if let Some(at) = FROM_BELOW.iter().position(|rule| *rule == (module, &name)) {
                used.insert(at);
            } else if order
                .iter()
                .position(|m| m == imported)
                .is_none_or(|at| at > here)
            {
                offences.push(format!("{}:{line}: {module} imports {name}", source.file));
            }
        }
    }
    let unused = FROM_BELOW
        .iter()
        .enumerate()
        .filter(|(at, _)| !used.contains(at));
    offences.extend(unused.map(|(_, rule)| format!("{rule:?} allows what nobody does")));
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
    assert!(
        crossing > 100,
        "only {crossing} imports found: does the test still read them?"
    );
}

#[test]
fn effects_are_named_where_they_are_implemented() {
    let tree = Tree::read();
    let mut offences = Vec::new();
    for (effect, allowed) in EFFECTS {
        let wanted: Vec<&str> = effect.split("::").collect();
        let mut used = BTreeSet::new();
        for source in &tree.sources {
            for (line, path) in &source.paths {
                let part = path.get(..wanted.len()).unwrap_or_default();
                if !part.iter().eq(&wanted) {
                    continue;
                }
                if allowed.contains(&source.file.as_str()) {
                    used.insert(source.file.as_str());
                } else {
                    offences.push(format!("{}:{line}: names {effect}", source.file));
                }
            }
        }
        let unused = allowed.iter().filter(|file| !used.contains(*file));
        offences.extend(unused.map(|file| format!("{file} may name {effect} and does not")));
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// Without `biased;` the branch that wins is drawn from a generator that nobody seeds.
#[test]
fn selects_are_biased() {
    let tree = Tree::read();
    let mut seen = 0;
    for source in &tree.sources {
        for at in selects(&source.code) {
            seen += 1;
            let line = source.code[..at].matches('\n').count() + 1;
            let body = source.code[at..]
                .trim_start()
                .trim_start_matches(['{', '(']);
            let biased = body.trim_start().starts_with("biased;");
            assert!(biased, "{}:{line}: select! without biased;", source.file);
        }
    }
    assert!(
        seen > 10,
        "only {seen} found: does the test still read them?"
    );
}

#[test]
fn what_the_rules_rest_on_is_read_right() {
    let text = "\
use tokio::{net::{TcpStream, self as n}, sync::watch};
pub(crate) use super::view::*; // crate::judge
fn f() -> Option<crate::env::Env> { x.y(std::time::Duration::ZERO) }
#[cfg(test)]
mod tests {
    use crate::cli;
}
";
    let found: Vec<(usize, String)> = paths(&code(text))
        .into_iter()
        .filter(|(_, path)| path.len() > 1)
        .map(|(line, path)| (line, path.join("::")))
        .collect();
    let expected = [
        (1, "tokio::net::TcpStream"),
        (1, "tokio::net"),
        (1, "tokio::sync::watch"),
        (2, "super::view"),
        (3, "crate::env::Env"),
        (3, "std::time::Duration::ZERO"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));

    let own = |path: &str| {
        let parts: Vec<String> = path.split("::").map(str::to_owned).collect();
        within_crate(&["api".to_owned(), "v1".to_owned()], &parts).map(|path| path.join("::"))
    };
    assert_eq!(own("crate::env::Env").as_deref(), Some("env::Env"));
    assert_eq!(own("super::x").as_deref(), Some("api::x"));
    assert_eq!(own("super::super::jobs::x").as_deref(), Some("jobs::x"));
    assert_eq!(own("tokio::net"), None);

    let tests =
        test_files("#[cfg(test)]\nmod tests;\nmod real;\n#[cfg(test)]\npub(crate) mod testing;\n");
    assert_eq!(tests, ["tests", "testing"]);
}

struct Tree {
    library: String,
    sources: Vec<Source>,
}

struct Source {
    /// Below `src`.
    file: String,
    /// Path of the module that the file is; empty for `main.rs`.
    module: Vec<String>,
    code: String,
    paths: Vec<(usize, Vec<String>)>,
}

impl Tree {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut sources = Vec::new();
        let mut tests = BTreeSet::new();
        for path in rust_files(&root) {
            let file = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let mut module: Vec<String> = file
                .trim_end_matches(".rs")
                .split('/')
                .map(str::to_owned)
                .collect();
            if module.last().is_some_and(|name| name == "mod") {
                module.pop();
            }
            let text = fs::read_to_string(&path).unwrap();
            for test in test_files(&text) {
                tests.insert([&module[..], &[test]].concat());
            }
            if matches!(file.as_str(), "main.rs" | "lib.rs") {
                module.clear();
            }
            let code = code(&text);
            let mut paths = paths(&code);
            paths.retain(|(_, path)| path.len() > 1); // a mere name
            sources.push(Source {
                file,
                module,
                code,
                paths,
            });
        }
        sources.retain(|source| !tests.iter().any(|test| source.module.starts_with(test)));
        let library = fs::read_to_string(root.join("lib.rs")).unwrap();
        Self { library, sources }
    }
}

/// Modules in the order in which `lib.rs` declares them.
fn modules(library: &str) -> Vec<String> {
    let declared = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    declared
        .map(|rest| rest.trim_end_matches(';').to_owned())
        .collect()
}

/// Modules in files of their own that are compiled for tests only.
fn test_files(text: &str) -> Vec<String> {
    let after = text.split("#[cfg(test)]\n").skip(1);
    let names = after.filter_map(|item| {
        let (head, _) = item.lines().next()?.split_once(';')?;
        Some(head.split_once("mod ")?.1.to_owned())
    });
    names.collect()
}

/// The text with comments and what is compiled for tests only blanked out; lines keep their numbers.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        if bare == "#[cfg(test)]" {
            code.push('\n');
            let indent = &line[..line.len() - bare.len()];
            let mut first = true;
            for line in lines.by_ref() {
                code.push('\n');
                let over = first && line.ends_with([';', '}']);
                if over || line == format!("{indent}}}") || line == format!("{indent}}};") {
                    break;
                }
                first = false;
            }
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// Every path (`a::b::c`) with its line; `use` trees are taken apart.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(offset) = code[at..].find(is_name) {
        line += code[at..at + offset].matches('\n').count();
        at += offset;
        let mut here = Vec::new();
        let end = path(code, at, &mut Vec::new(), &mut here);
        found.extend(here.into_iter().map(|path| (line, path)));
        line += code[at..end].matches('\n').count();
        at = end;
    }
    found
}

/// Reads the path that begins at `at` into `found`, `prefix` before it; returns where it ends.
fn path(
    code: &str,
    mut at: usize,
    prefix: &mut Vec<String>,
    found: &mut Vec<Vec<String>>,
) -> usize {
    let depth = prefix.len();
    loop {
        let rest = &code[at..];
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        at += name.len();
        if !name.is_empty() && name != "self" {
            prefix.push(name.to_owned());
        }
        if let Some(group) = code[at..].strip_prefix('{').filter(|_| name.is_empty()) {
            at = code.len() - group.len();
            while let Some(offset) = code[at..].find(|c: char| is_name(c) || c == '}') {
                at += offset;
                if code[at..].starts_with('}') {
                    at += 1;
                    break;
                }
                at = path(code, at, prefix, found);
                // The rest of `name as other` is no path.
                at += code[at..].find([',', '}']).unwrap_or(0);
            }
            break;
        }
        if name.is_empty() || !code[at..].starts_with("::") {
            found.push(prefix.clone());
            break;
        }
        at += 2;
    }
    prefix.truncate(depth);
    at
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The path from the crate's root on; `None` for another crate's and for one that is relative to an import.
fn within_crate(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    if path.first()? == "crate" {
        Some(path[1..].to_vec())
    } else if supers > 0 {
        let above = module.len().checked_sub(supers)?;
        Some([&module[..above], &path[supers..]].concat())
    } else {
        None
    }
}

/// Where the bodies of `select!` begin.
fn selects(code: &str) -> impl Iterator<Item = usize> {
    let name = "select!";
    code.match_indices(name).map(move |(at, _)| at + name.len())
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
