//! What the documents name is there: commands, flags, recipes, files, options, tests, log lines.
//!
//! Documents are read as text; commands are tried on the program itself, with `--help` behind them, so that it parses
//! everything before that and does nothing.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use annals::{
    storage::{
        Log, LogOptions, OpenError, OpenReport,
        entry::{Batch, Entry, Payload},
    },
    telemetry::metrics::{Description, names},
    types::{ClusterId, LogIndex, Offset, Term, TimestampMs},
};
use bytes::Bytes;

use support::sim_fs::{CallKind, SimFileSystem};

/// Every document.
const DOCUMENTS: [&str; 11] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/flows.md",
    "docs/invariants.md",
    "docs/operations.md",
    "docs/testing.md",
    "docs/adr/README.md",
    "examples/python/README.md",
    "examples/go/README.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents, the decisions among them.
fn documents() -> Vec<(String, String)> {
    let mut names: Vec<String> = DOCUMENTS.map(str::to_owned).to_vec();
    names.extend(decisions().into_iter().map(|name| format!("docs/adr/{name}")));
    names.into_iter().map(|name| (name.clone(), text(name))).collect()
}

/// Names of the files in `docs/adr/` that are decisions.
fn decisions() -> Vec<String> {
    let entries = fs::read_dir(root().join("docs/adr")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    names.sort_unstable();
    assert!(names.len() >= 6, "where are the decisions? only {names:?}");
    names
}

/// Lines of the blocks that a shell would be given: all of `sh`, those behind `$ ` of `console`.
fn shell_lines(document: &str) -> Vec<&str> {
    let (mut lines, mut language) = (Vec::new(), None);
    for line in document.lines() {
        match (line.strip_prefix("```"), language) {
            (Some(opened), None) => language = Some(opened),
            (Some(_), Some(_)) => language = None,
            (None, Some("sh")) => lines.push(line),
            (None, Some("console")) => lines.extend(line.strip_prefix("$ ")),
            (None, _) => {}
        }
    }
    lines
}

/// What stands between backticks outside blocks.
fn code_words(document: &str) -> Vec<&str> {
    let mut inside_block = false;
    let mut words = Vec::new();
    for line in document.lines() {
        if line.starts_with("```") {
            inside_block = !inside_block;
        } else if !inside_block {
            words.extend(line.split('`').skip(1).step_by(2));
        }
    }
    words
}

/// The simple commands of a shell line, each in words, without redirections and comments.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let parts = line
        .split("&&")
        .flat_map(|part| part.split('|'))
        .map(|part| part.split('>').next().unwrap_or_default());
    let words = |part: &str| {
        part.split_whitespace()
            .map(|word| word.trim_matches('\'').to_owned())
            .collect::<Vec<_>>()
    };
    parts.map(words).filter(|words| !words.is_empty()).collect()
}

/// Why a command of the documents would not work.
fn fault_of(command: &[String]) -> Option<String> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cargo", "run", "--release", "--", arguments @ ..] => refused_by_annals(arguments),
        [program, arguments @ ..] if program.rsplit('/').next() == Some("annals") => {
            refused_by_annals(arguments)
        }
        ["cargo", "test", "--test", name, ..] => {
            let there = root().join(format!("tests/{name}.rs")).exists()
                || root().join(format!("tests/{name}/main.rs")).exists();
            (!there).then(|| format!("no test {name}"))
        }
        ["cargo", "bench", "--bench", name, ..] => {
            let there = root().join(format!("benches/{name}.rs")).exists();
            (!there).then(|| format!("no bench {name}"))
        }
        ["just", recipe, ..] => (!recipes().contains(*recipe)).then(|| format!("no recipe {recipe}")),
        _ => None,
    }
}

fn refused_by_annals(arguments: &[&str]) -> Option<String> {
    let tried = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    (!tried.status.success()).then(|| String::from_utf8_lossy(&tried.stderr).into_owned())
}

fn recipes() -> BTreeSet<String> {
    let is_recipe =
        |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase()) && line.contains(':');
    text("justfile")
        .lines()
        .filter(is_recipe)
        .filter_map(|line| line.split([' ', ':']).next().map(str::to_owned))
        .collect()
}

/// All of `src/` and `tests/`, as text.
fn code() -> String {
    fn gather(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut all = String::new();
    gather(&root().join("src"), &mut all);
    gather(&root().join("tests"), &mut all);
    all
}

fn assert_none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

#[test]
fn every_command_shown_is_one_that_the_program_or_the_tree_knows() {
    let mut faults = Vec::new();
    let mut tried = 0;
    for (name, document) in documents() {
        let in_blocks = shell_lines(&document);
        let in_text = code_words(&document);
        for line in in_blocks.into_iter().chain(in_text) {
            for command in commands(line) {
                // In running text a command may be named without its arguments.
                tried += 1;
                faults.extend(fault_of(&command).map(|fault| format!("{name}: `{line}`: {fault}")));
            }
        }
    }
    assert!(tried > 100, "where are the commands? only {tried}");
    assert_none("commands that do not work", &faults);
}

#[test]
fn a_command_that_does_not_work_is_found() {
    let wrong = [
        "annals produce --colour red",
        "echo x | target/release/annals prodce",
        "cargo run --release -- dev --quick",
        "just verfy",
        "cargo test --test nothing",
        "cargo bench --bench nothing",
    ];
    for line in wrong {
        let faults = commands(line)
            .iter()
            .filter_map(|command| fault_of(command))
            .count();
        assert_eq!(faults, 1, "{line}");
    }
    assert_eq!(
        shell_lines("```sh\na\n```\nb\n```console\n$ c\nd\n```"),
        ["a", "c"]
    );
}

/// A path as documents write it, if it is one below the root.
fn as_path(word: &str) -> Option<PathBuf> {
    let folders = [
        "src/",
        "tests/",
        "docs/",
        "config/",
        "proto/",
        "deploy/",
        "benches/",
        "examples/",
        ".ci/",
    ];
    let files = [
        "build.rs",
        "clippy.toml",
        "Cargo.toml",
        "Cargo.lock",
        "deny.toml",
        "justfile",
        "README.md",
    ];
    let is_path = folders.iter().any(|folder| word.starts_with(folder)) || files.contains(&word);
    let plain = !word.contains(['*', ' ', '{']);
    // Planned by a decision, and not there yet.
    (is_path && plain && word != "src/consensus/").then(|| root().join(word))
}

#[test]
fn every_file_that_is_named_exists() {
    let (mut faults, mut looked_at) = (Vec::new(), 0);
    for (name, document) in documents() {
        let folder = root().join(&name).parent().unwrap().to_owned();
        let links = document
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        let linked = links
            .filter(|link| !link.contains("://"))
            .map(|link| folder.join(link));
        let named = code_words(&document).into_iter().filter_map(as_path);
        for path in named.chain(linked) {
            looked_at += 1;
            if !path.exists() {
                faults.push(format!("{name}: {}", path.display()));
            }
        }
    }
    assert!(looked_at > 100, "where are the paths? only {looked_at}");
    assert_none("files that are named and not there", &faults);
}

#[test]
fn every_folder_and_file_at_the_top_of_the_code_is_on_the_map() {
    let map = text("ARCHITECTURE.md");
    let places = ["src", "src/storage", "src/actors", "src/net"];
    let mut faults = Vec::new();
    for place in places {
        for entry in fs::read_dir(root().join(place)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let slash = if entry.path().is_dir() { "/" } else { "" };
            let path = format!("`{place}/{name}{slash}`");
            // Its files have lines of their own, or are all tests.
            let is_opened = places.contains(&format!("{place}/{name}").as_str()) || name == "status";
            let is_listed = is_opened || map.contains(&path) || (place == "src/net" && slash.is_empty());
            let is_shell = ["mod.rs", "lib.rs", "main.rs"].contains(&name.as_str());
            // What only says names and errors of its neighbours needs no line of its own.
            let is_minor =
                ["proto.rs", "names.rs", "error.rs", "control.rs", "golden_test.rs"].contains(&name.as_str());
            if !is_listed && !is_shell && !is_minor {
                faults.push(path);
            }
        }
    }
    assert_none("not in the code map of ARCHITECTURE.md", &faults);
}

#[test]
fn every_decision_is_listed() {
    let list = text("docs/adr/README.md");
    for name in decisions() {
        let decision = text(format!("docs/adr/{name}"));
        let title = decision
            .lines()
            .next()
            .unwrap()
            .split_once(": ")
            .unwrap()
            .1
            .to_owned();
        let line = format!("| [{}]({name}) | {title} |", &name[..4]);
        assert!(list.contains(&line), "docs/adr/README.md lacks: {line}");
        for part in ["## Context", "## Decision", "## Rejected", "## Consequences"] {
            assert!(decision.contains(part), "{name} lacks {part}");
        }
    }
}

#[test]
fn every_invariant_says_where_it_is_kept_and_which_test_shows_it() {
    let code = text("src/invariant.rs");
    let variants: Vec<String> = code
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','))
        .filter(|name| {
            name.contains('_')
                && name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        })
        .map(|name| name.replace('_', "-"))
        .collect();
    assert!(
        variants.len() >= 10,
        "where are the invariants? only {variants:?}"
    );
    let document = text("docs/invariants.md");
    for id in &variants {
        let heading = format!("## {id}: ");
        let (_, section) = document
            .split_once(&heading)
            .unwrap_or_else(|| panic!("docs/invariants.md lacks {id}"));
        let section = section.split("\n## ").next().unwrap();
        assert!(
            section.contains("- Kept by "),
            "{id} does not say where it is kept"
        );
        assert!(section.contains("- Shown by "), "{id} does not say what shows it");
    }
    let headings = document.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(headings, variants.len(), "docs/invariants.md has others");
}

#[test]
fn every_test_that_is_named_exists() {
    let code = code();
    let document = [
        text("docs/invariants.md"),
        text("docs/adr/0003-index-in-memory.md"),
    ]
    .concat();
    let is_test_name = |word: &&str| {
        word.matches('_').count() >= 4
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let names: Vec<&str> = code_words(&document).into_iter().filter(is_test_name).collect();
    assert!(names.len() > 15, "where are the tests? only {names:?}");
    let missing: Vec<String> = names
        .into_iter()
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .map(str::to_owned)
        .collect();
    assert_none("tests that are named and not there", &missing);
}

#[test]
fn every_option_that_is_named_exists() {
    let defaults: toml::Table = text("config/default.toml").parse().unwrap();
    let mut faults = Vec::new();
    for (name, document) in documents() {
        for word in code_words(&document) {
            let word = word.split(" = ").next().unwrap();
            let Some((section, key)) = word.split_once('.') else {
                continue;
            };
            let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if let Some(section) = defaults.get(section).and_then(toml::Value::as_table)
                && is_key
                && !["rs", "toml"].contains(&key)
                && !section.contains_key(key)
            {
                faults.push(format!("{name}: {word}"));
            }
        }
    }
    assert_none("options that are named and not there", &faults);
}

#[test]
fn every_log_line_to_alert_on_is_one_that_is_written() {
    let operations = text("docs/operations.md");
    let (_, table) = operations.split_once("## What to alert on").unwrap();
    let lines: Vec<&str> = table
        .lines()
        .filter(|line| {
            ["| CRITICAL", "| ERROR", "| WARNING"]
                .iter()
                .any(|level| line.starts_with(level))
        })
        .collect();
    assert!(lines.len() > 10, "where is the table? only {lines:?}");
    let code = code();
    let missing: Vec<String> = lines
        .iter()
        .map(|line| line.split('`').nth(1).unwrap().trim_end_matches("..."))
        .filter(|message| !code.contains(&format!("\"{message}")))
        .map(str::to_owned)
        .collect();
    assert_none("log lines that nobody writes", &missing);
}

#[test]
fn every_metric_is_listed_as_it_is_and_no_other() {
    let operations = text("docs/operations.md");
    let (_, rest) = operations.split_once("\n## Metrics\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let listed: Vec<_> = section
        .lines()
        .filter(|line| line.starts_with("| `annals_"))
        .collect();
    let wanted: Vec<_> = names::ALL.iter().map(row).collect();
    assert_eq!(listed, wanted);
    let told = code_words(section)
        .into_iter()
        .filter(|word| word.starts_with("annals_"));
    let unknown: Vec<_> = told
        .map(|word| word.split([' ', '{']).next().unwrap_or_default().to_owned())
        .filter(|word| !names::ALL.iter().any(|metric| metric.name == word))
        .collect();
    assert_none("metrics that there are not", &unknown);
}

fn row(metric: &Description) -> String {
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let (kind, labels) = (metric.kind.as_str(), labels.join(", "));
    format!("| `{}` | {kind} | {labels} | {} |", metric.name, metric.help)
}

#[test]
fn the_policy_of_operations_is_the_one_to_start_from() {
    let said = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let operations = text("docs/operations.md");
    let (_, shown) = operations
        .split_once("`config/acl/policy.csv` is one to start from:\n\n```text\n")
        .unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert_eq!(said(shown), said(&text("config/acl/policy.csv")));
}

#[test]
fn the_exit_codes_of_operations_are_those_of_the_program() {
    let operations = text("docs/operations.md");
    for code in [0, 70, 74, 78] {
        assert!(
            operations.contains(&format!("| {code} | ")),
            "{code} is not in docs/operations.md"
        );
        let in_program = format!("\n  {code:>2}  ");
        assert!(
            annals::cli::exit::TABLE.contains(&in_program),
            "{code} is not in --help"
        );
    }
}

// What follows is the example of CONTRIBUTING.md, and what it stands on.

fn options() -> LogOptions {
    LogOptions {
        directory: "/data/logs/default".into(),
        cluster_id: ClusterId(1),
        segment_bytes: 1 << 20,
        segment_age_ms: u64::MAX,
        tail_cache_bytes: 0,
        open_files_max: 2,
        prezero_bytes_per_second: 0,
    }
}

fn open(fs: &SimFileSystem, options: LogOptions) -> Result<(Log, OpenReport), OpenError> {
    Log::open(Arc::new(fs.clone()), options)
}

fn entry(log_index: u64) -> Entry {
    Entry {
        log_index: LogIndex(log_index),
        term: Term(1),
        timestamp: TimestampMs(0),
        payload: Payload::Records(Batch {
            producer: None,
            expected_offset: None,
            record_count: 1,
            records: Bytes::from_static(b"\x0a\x03\x0a\x01x"),
        }),
    }
}

#[test]
fn what_a_failed_sync_leaves_is_not_acknowledged_and_what_was_before_it_is_there() {
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    log.append(vec![entry(1)]).unwrap();
    log.sync().unwrap();

    fs.fail_nth(CallKind::Sync, 1, io::ErrorKind::Other);
    log.append(vec![entry(2)]).unwrap();
    assert!(log.sync().is_err());
    assert!(log.sync().is_err(), "nothing is tried again (STO-3)");

    for seed in 0..100 {
        let before = fs.snapshot();
        fs.crash(seed);
        let (log, report) = open(&fs, options()).unwrap();
        assert!(report.tail >= Offset(1) && report.damage.is_none());
        drop(log);
        fs.restore(&before);
    }
}

#[test]
fn the_example_of_a_fault_test_is_one_that_runs() {
    let contributing = text("CONTRIBUTING.md");
    let (_, example) = contributing.split_once("```rust,ignore\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert!(
        text("tests/docs.rs").contains(example),
        "tests/docs.rs has another"
    );
}
