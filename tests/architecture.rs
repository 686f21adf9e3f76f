//! The shape of the tree, held by a test: which folder may use which, and how long a file may be.
//!
//! Reads `src/` as text. Tests (`mod tests` and files named `tests.rs`) are not bound by it.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Below all: anybody may use them, and they use each other only.
const BASE: [&str; 4] = ["types", "error", "invariant", "clock"];

/// What else each top-level module may use. An arrow that is not here points the wrong way.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("types", &[]),
    ("error", &[]),
    ("invariant", &[]),
    ("clock", &[]),
    ("proto", &[]),
    ("record_set", &["proto"]),
    ("certs", &[]),
    ("acl", &[]),
    ("tls", &["certs"]),
    // No module of the server: clients are built without it.
    ("client", &["tls", "proto", "record_set"]),
    ("storage", &[]),
    ("consensus", &["storage", "proto"]),
    ("actors", &["storage", "consensus", "tls", "proto"]),
    (
        "net",
        &[
            "storage",
            "consensus",
            "actors",
            "acl",
            "certs",
            "tls",
            "proto",
            "record_set",
            "telemetry",
        ],
    ),
    ("config", &["acl", "tls"]),
    ("telemetry", &["config"]),
    (
        "node",
        &[
            "storage",
            "consensus",
            "actors",
            "net",
            "config",
            "acl",
            "certs",
            "tls",
        ],
    ),
    (
        "cli",
        &[
            "client",
            "storage",
            "actors",
            "net",
            "node",
            "config",
            "acl",
            "certs",
            "tls",
            "telemetry",
            "proto",
            "record_set",
        ],
    ),
    (
        "testing",
        &[
            "client",
            "storage",
            "consensus",
            "actors",
            "net",
            "node",
            "tls",
            "proto",
        ],
    ),
    ("main", &["cli", "config", "telemetry"]),
];

/// Lines of a file, apart from its tests. One idea fits.
const LINES_MAX: usize = 500;

/// A source file without its tests and comments.
struct Source {
    path: PathBuf,
    /// Its module path: `["actors", "supervision", "policy"]`.
    module: Vec<String>,
    code: String,
    lines: usize,
}

impl Source {
    fn new(path: PathBuf, text: &str) -> Self {
        let mut module: Vec<String> = path
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        module.pop_if(|last| last == "mod");
        let untested: Vec<&str> = text.lines().take_while(|line| *line != "mod tests {").collect();
        let code = untested
            .iter()
            .map(|line| line.split("//").next().unwrap_or_default());
        Self {
            path,
            module,
            code: code.collect::<Vec<_>>().join("\n"),
            lines: untested.len(),
        }
    }

    /// The top-level modules that it names, by `crate::` or, in the program, by the library's name.
    fn uses(&self) -> Vec<String> {
        let root = if self.module == ["main"] {
            "annals::"
        } else {
            "crate::"
        };
        let mut uses = Vec::new();
        for (at, _) in self.code.match_indices(root) {
            let is_path_start =
                !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_path_start {
                uses.extend(first_segments(&self.code[at + root.len()..]));
            }
        }
        // The macro lives at the root, the invariants it checks in their module.
        for used in uses.iter_mut().filter(|used| *used == "check") {
            "invariant".clone_into(used);
        }
        uses
    }

    fn wrong_arrows(&self) -> Vec<String> {
        let own = self.module[0].as_str();
        let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == own) else {
            return vec![format!(
                "{}: say in tests/architecture.rs what `{own}` may use",
                self.path.display()
            )];
        };
        let is_allowed = |used: &str| used == own || BASE.contains(&used) || allowed.contains(&used);
        let mut wrong: Vec<String> = self.uses().into_iter().filter(|used| !is_allowed(used)).collect();
        // `super` may not leave the top-level module: that would be an arrow that nobody sees.
        if self.code.contains(&"super::".repeat(self.module.len())) {
            wrong.push("super:: up to the root".to_owned());
        }
        wrong.sort_unstable();
        wrong.dedup();
        wrong
            .iter()
            .map(|used| format!("{}: `{own}` may not use `{used}`", self.path.display()))
            .collect()
    }
}

/// The first path segment of each path in a `use` tree: `a` and `b` of `{a::x, b::{y, z}}`.
fn first_segments(tree: &str) -> Vec<String> {
    let name = |text: &str| {
        let text = text.trim_start();
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let Some(group) = tree.strip_prefix('{') else {
        return vec![name(tree)];
    };
    let (mut segments, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                segments.push(name(&group[begin..at]));
                begin = at + 1;
            }
            '}' if depth == 0 => {
                segments.push(name(&group[begin..at]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every file of `src/` that is not all tests, by its path below `src/`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    files.sort_unstable();
    let sources: Vec<Source> = files
        .iter()
        .filter(|file| !file.ends_with("tests.rs") && **file != root.join("lib.rs"))
        .map(|file| {
            Source::new(
                file.strip_prefix(&root).unwrap().to_owned(),
                &fs::read_to_string(file).unwrap(),
            )
        })
        .collect();
    assert!(
        sources.len() > 10,
        "where is the code? only {} files in {}",
        sources.len(),
        root.display()
    );
    sources
}

fn assert_none(rule: &str, violations: &[String]) {
    let mut report = String::new();
    for violation in violations {
        write!(report, "\n  src/{violation}").unwrap();
    }
    assert!(violations.is_empty(), "{rule}{report}");
}

#[test]
fn dependencies_point_one_way() {
    let wrong: Vec<String> = sources().iter().flat_map(Source::wrong_arrows).collect();
    assert_none(
        "dependencies point one way: storage <- actors <- net <- node <- cli (ARCHITECTURE.md)",
        &wrong,
    );
}

#[test]
fn files_hold_one_idea() {
    let too_long = |source: &Source| format!("{}: {} lines", source.path.display(), source.lines);
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > LINES_MAX)
        .map(too_long)
        .collect();
    assert_none(&format!("more than {LINES_MAX} lines: split it by idea"), &long);
}

#[test]
fn nothing_is_left_for_later() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut left = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            if ["TODO", "FIXME", "XXX"].iter().any(|mark| line.contains(mark)) {
                left.push(format!(
                    "{}:{}",
                    file.strip_prefix(&root).unwrap().display(),
                    number + 1
                ));
            }
        }
    }
    assert_none("write an issue instead, and name it", &left);
}

/// Keys that a line has before it says anything: those of every line, of every part's logger, of every node's.
const TAKEN_KEYS: [&str; 5] = ["ts", "level", "msg", "actor", "node"];

/// Speaks of nodes from outside them, by a logger that names none.
const OUTSIDE_NODES: &str = "node/several.rs";

/// What stands before the parenthesis that closes the one before `code`.
fn arguments(code: &str) -> &str {
    let mut open = 1;
    let closes = code.find(|c| {
        open += i32::from(c == '(') - i32::from(c == ')');
        open == 0
    });
    &code[..closes.unwrap_or(code.len())]
}

/// Keys that a line of the log would have twice, in the calls of slog's macros.
fn doubled_keys(source: &Source) -> Vec<String> {
    let mut doubled = Vec::new();
    for level in ["debug!(", "info!(", "warn!(", "error!(", "crit!("] {
        for (at, _) in source.code.match_indices(level) {
            let call = arguments(&source.code[at + level.len()..]);
            let mut keys: Vec<&str> = TAKEN_KEYS.to_vec();
            keys.retain(|key| *key != "node" || source.path != Path::new(OUTSIDE_NODES));
            for (at, _) in call.match_indices("\" =>") {
                let key = call[..at].rsplit('"').next().unwrap_or_default();
                if keys.contains(&key) {
                    doubled.push(format!("{}: {key:?} in {call}", source.path.display()));
                }
                keys.push(key);
            }
        }
    }
    doubled
}

#[test]
fn no_log_line_has_a_key_twice() {
    let doubled: Vec<String> = sources().iter().flat_map(doubled_keys).collect();
    assert_none("a program that reads the line takes one of the two", &doubled);
    // A line about a stranger had the stranger's name and this node's under one key.
    let of = |text: &str| doubled_keys(&Source::new(PathBuf::from("actors/a.rs"), text));
    assert_eq!(of("warn!(log, \"x\"; \"node\" => 1);").len(), 1);
    assert_eq!(of("warn!(log, \"x\"; \"id\" => 1,\n \"id\" => 2);").len(), 1);
    assert_eq!(
        of("warn!(log, \"x\"; \"id\" => 1); warn!(log, \"x\"; \"id\" => 2);").len(),
        0
    );
}

fn wrong_arrows_of(path: &str, text: &str) -> Vec<String> {
    Source::new(PathBuf::from(path), text).wrong_arrows()
}

#[test]
fn an_arrow_that_points_up_is_found_however_it_is_written() {
    let wrong_uses = [
        "use crate::actors::read_path::ReadPath;",
        "use crate::{\n    error::Disposition,\n    actors::{read_path::ReadPath},\n};",
        "pub(crate) use crate::{actors};",
        "fn x() { crate::actors::f() }",
        "use crate::{types::{LogIndex, Offset}, actors::agent};",
    ];
    for text in wrong_uses {
        let expected = ["storage/fs/real.rs: `storage` may not use `actors`"];
        assert_eq!(wrong_arrows_of("storage/fs/real.rs", text), expected, "{text}");
    }
    let by_super = wrong_arrows_of("storage/fs/real.rs", "use super::super::super::actors::agent;");
    assert_eq!(
        by_super,
        ["storage/fs/real.rs: `storage` may not use `super:: up to the root`"]
    );
    assert_eq!(
        wrong_arrows_of("main.rs", "use annals::storage::LogView;").len(),
        1
    );
    assert_eq!(wrong_arrows_of("utils.rs", "").len(), 1);
}

#[test]
fn an_arrow_that_points_down_is_no_fault() {
    let fine = [
        (
            "actors/agent.rs",
            "use crate::{clock, storage::{entry::Batch, LogView}, types::Offset};",
        ),
        (
            "actors/agent.rs",
            "use super::supervision::Reply; check!(ACT_1, true, \"\");",
        ),
        (
            "storage/fs/mod.rs",
            "use super::ReadError;\n#[cfg(test)]\nmod tests {\n    use crate::actors;",
        ),
        (
            "storage/view.rs",
            "/// Published by [`crate::actors::read_path`].\nuse crate::check;",
        ),
        (
            "net/mod.rs",
            "use crate::proto::annals::v1; use crate::actors::committer::Propose;",
        ),
        ("main.rs", "use annals::cli;"),
    ];
    for (path, text) in fine {
        assert_eq!(wrong_arrows_of(path, text), [""; 0], "{text}");
    }
}
