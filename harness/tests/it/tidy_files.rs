//! Files of the library: none needs a map, and none needs another one that needs it.
//!
//! A file depends on another when its code names an item that is defined there: by `use`, or by a path that begins with
//! `crate`, `super`, `self` or a child module. What a file re-exports (`pub use`) is no dependency, and tests may bring
//! everything together. Today's exceptions are listed; one that is no longer needed has to go from its list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Lines of a file, its unit tests apart.
const LONGEST_FILE: usize = 500;
/// Lines of a function.
const LONGEST_FUNCTION: usize = 90;

/// Files that are longer.
const LONG_FILES: &[&str] = &[];

/// Functions that are longer.
const LONG_FUNCTIONS: &[&str] = &[];

/// Circles of files that are still there.
const CIRCLES: &[&[&str]] = &[];

/// A file's code by the path of its module.
type Files = BTreeMap<Vec<String>, String>;

#[test]
fn files_and_functions_can_be_read_without_a_map() {
    let (mut files, mut functions) = (Vec::new(), Vec::new());
    for (name, code) in library() {
        if code.lines().count() > LONGEST_FILE {
            files.push(name.clone());
        }
        let long = lengths(&code)
            .into_iter()
            .filter(|(_, lines)| *lines > LONGEST_FUNCTION);
        functions.extend(long.map(|(function, _)| format!("{name}: {function}")));
    }
    assert_eq!(files, LONG_FILES, "files beyond {LONGEST_FILE} lines");
    assert_eq!(
        functions, LONG_FUNCTIONS,
        "functions beyond {LONGEST_FUNCTION} lines"
    );
}

#[test]
fn files_make_no_circles() {
    let files: Files = library()
        .into_iter()
        .map(|(name, code)| (module(&name), code))
        .collect();
    let edges = edges(&files);
    assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 200);
    let found: Vec<Vec<String>> = circles(&edges);
    assert_eq!(found, CIRCLES, "circles of files");
}

#[test]
fn circles_and_lengths_are_found() {
    let file = |path: &str, code: &str| (module(path), without_tests(code));
    let files = Files::from([
        file(
            "a/mod.rs",
            "pub struct A;\nuse crate::b::{c::C, self};\npub use inner::I;\n",
        ),
        file("a/inner.rs", "use super::A;\n"),
        file("b.rs", "fn f() { crate::d::go() }\n"),
        file("b/c.rs", "// use crate::a::A;\nuse super::super::d;\n"),
        file("d.rs", "use crate::b::B;\n"),
    ]);
    // `a` re-exports of its child, which needs it; `b/c` needs `d`, which needs `b` and not `b/c`.
    assert_eq!(circles(&edges(&files)), [["b", "d"]]);
    let code = "impl X {\n    pub fn one(&self) {\n        a();\n    }\n}\n\nfn two() {}\n";
    assert_eq!(
        lengths(code),
        [("one".to_owned(), 3), ("two".to_owned(), 1)]
    );
}

/// Every file of the library with its code: tests, comments and literals left aside as far as a line tells.
fn library() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(&root)
                .expect("inside")
                .display()
                .to_string();
            let tests = name.contains("/tests") || name.ends_with("testing.rs");
            if path.is_dir() && !tests {
                folders.push(path);
            } else if name.ends_with(".rs") && !tests && name != "lib.rs" && name != "main.rs" {
                let text = std::fs::read_to_string(&path).expect("readable");
                files.push((name, without_tests(&text)));
            }
        }
    }
    files.sort();
    files
}

/// The text up to its unit tests, comments cut off.
fn without_tests(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines();
    let bare = lines.map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line.split(" // ").next().unwrap_or_default(),
    });
    bare.collect::<Vec<_>>().join("\n")
}

fn module(name: &str) -> Vec<String> {
    let name = name.trim_end_matches(".rs").trim_end_matches("/mod");
    name.split('/').map(str::to_owned).collect()
}

/// Which files each file needs.
fn edges(files: &Files) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let needs = |(of, code): (&Vec<String>, &String)| {
        let (uses, rest) = uses(code);
        let trees = uses.iter().flat_map(|tree| paths(tree));
        let named = trees.chain(named(&rest));
        let found = named.filter_map(|path| file_of(&path, of, files));
        (of.clone(), found.filter(|file| file != of).collect())
    };
    files.iter().map(needs).collect()
}

/// The trees of private `use` statements, and the code without any.
fn uses(code: &str) -> (Vec<String>, String) {
    let (mut trees, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let begun = line.trim_start();
        let public = begun.starts_with("pub") && begun.contains(" use ");
        if !(public || begun.starts_with("use ")) {
            rest.push_str(line);
            rest.push('\n');
            continue;
        }
        let mut statement = line.to_owned();
        while !statement.contains(';') {
            let Some(more) = lines.next() else { break };
            statement.push_str(more.trim());
        }
        if !public {
            let tree = statement.trim().trim_start_matches("use ");
            trees.push(tree.trim_end_matches(';').to_owned());
        }
    }
    (trees, rest)
}

/// `a::{b, c::{self, d}}` is `a::b`, `a::c` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some((head, body)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        return vec![path.trim_end_matches("::self").to_owned()];
    };
    let body = body.rsplit_once('}').map_or(body, |(inner, _)| inner);
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&body[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&body[begin..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    let whole = |part: &str| match part.trim() {
        "self" => head.trim_end_matches("::").to_owned(),
        part => format!("{head}{part}"),
    };
    parts.flat_map(|part| paths(&whole(part))).collect()
}

/// Paths in code that begin with `crate` or `super`.
fn named(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let path = code[at..].chars();
            found.push(
                path.take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                    .collect(),
            );
        }
    }
    found
}

/// The file in which a path that stands in the file `of` ends.
fn file_of(path: &str, of: &[String], files: &Files) -> Option<Vec<String>> {
    let segments: Vec<&str> = path.split("::").filter(|s| !s.is_empty()).collect();
    let ups = segments.iter().take_while(|s| **s == "super").count();
    let mut full: Vec<String> = match segments.first().copied()? {
        "crate" => Vec::new(),
        "super" => of[..of.len().checked_sub(ups)?].to_vec(),
        _ => of.to_vec(),
    };
    let skipped = match segments[0] {
        "crate" | "self" => 1,
        _ => ups,
    };
    full.extend(segments[skipped..].iter().map(|s| (*s).to_owned()));
    // A name that is neither below this file nor said from the top is another crate's.
    let outside = !matches!(segments[0], "crate" | "super" | "self");
    if outside && !files.contains_key(&full[..=of.len().min(full.len() - 1)]) {
        return None;
    }
    (1..=full.len())
        .rev()
        .map(|length| full[..length].to_vec())
        .find(|file| files.contains_key(file))
}

/// Sets of files each of which needs all others of the set, by what it needs.
fn circles(edges: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Vec<Vec<String>> {
    let reachable = |from: &Vec<String>| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Vec<String>> = edges[from].iter().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file) {
                next.extend(&edges[file]);
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = edges.keys().map(|file| (file, reachable(file))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for file in edges.keys().filter(|file| reach[*file].contains(*file)) {
        let mut circle: Vec<String> = reach[file]
            .iter()
            .filter(|other| reach[**other].contains(file))
            .map(|other| other.join("/"))
            .collect();
        circle.sort();
        found.insert(circle);
    }
    found.into_iter().collect()
}

/// Functions with their lines, from the signature to the closing brace.
fn lengths(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((before, after)) = line.split_once("fn ") else {
            continue;
        };
        let words = [
            "pub",
            "pub(crate)",
            "pub(super)",
            "const",
            "async",
            "unsafe",
        ];
        if !before.split_whitespace().all(|word| words.contains(&word)) {
            continue;
        }
        let name: String = after
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let end = match line.ends_with('}') {
            true => Some(at),
            false => (at..lines.len()).find(|end| lines[*end] == closing),
        };
        // A declaration in a trait ends with a semicolon and has no body of its own.
        let declared = (at..lines.len()).find(|end| lines[*end].ends_with(';'));
        let opened = (at..lines.len()).find(|end| lines[*end].contains('{'));
        if let (Some(end), Some(opened)) = (end, opened)
            && declared.is_none_or(|declared| opened <= declared)
        {
            found.push((name, end + 1 - at));
        }
    }
    found
}
