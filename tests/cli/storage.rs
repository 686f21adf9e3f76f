//! `annals storage`: what it says of data that is whole, torn or damaged, how it ends, and that it changes nothing.

use std::{fs, io::Write, path::Path, sync::Arc};

use annals::storage::{data_dir::DataDir, fs::RealFileSystem};
use tempfile::TempDir;

use crate::support::{
    Ended, Program,
    data::{files, note_committed, store, trim, wait_until_idle, write_node},
};

fn node() -> TempDir {
    let temp = tempfile::tempdir().expect("there is room for a directory");
    write_node(temp.path(), "node-0");
    temp
}

/// Runs a verb of `annals storage` on a directory, which stays as it is.
fn storage(args: &str, directory: &Path) -> Ended {
    let before = files(directory);
    let (verb, options) = args.split_once(' ').unwrap_or((args, ""));
    let ended = Program::new(&format!("storage {verb} {options}"))
        .arg(directory)
        .run(b"");
    assert_eq!(files(directory), before, "`{args}` changes nothing");
    ended
}

fn json(ended: &Ended) -> serde_json::Value {
    serde_json::from_slice(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.text()))
}

/// Flips a bit of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn data_that_is_whole_is_said_to_be() {
    let node = node();
    let text = storage("verify", node.path()).done();
    let said = text.text();
    assert!(said.contains("\nread   2 segments, "), "{said}");
    assert!(
        said.contains(": 3 entries, offsets 0..6\nresult whole\n"),
        "{said}"
    );
    let report = json(&storage("verify -o json", node.path()).done());
    assert_eq!(report["verdict"], "whole");
    assert_eq!(report["nodes"][0]["node"], "node-0");
    assert_eq!(report["nodes"][0]["findings"], serde_json::json!([]));
}

#[test]
fn damage_is_told_with_file_and_position_and_ends_with_code_9() {
    let node = node();
    let damaged = store(node.path(), 1);
    flip(&damaged, 4096 + 70);
    let told = storage("verify", node.path());
    assert_eq!(
        (told.code, told.err.lines().next()),
        (9, Some("error: 1 fault was found"))
    );
    let wanted = format!(
        "\nfault  {}, position 4096\n       frame payload checksum",
        damaged.display()
    );
    assert!(told.text().contains(&wanted), "{}", told.text());
    assert!(told.text().ends_with("\nresult not whole\n"), "{}", told.text());
    let report = json(&storage("verify -o json", node.path()));
    let fault = &report["nodes"][0]["findings"][0];
    assert_eq!(
        (&report["verdict"], &fault["position"]),
        (&"faults".into(), &4096.into())
    );
    assert_eq!(fault["path"], damaged.display().to_string());
}

#[test]
fn a_torn_end_is_no_damage_and_ends_with_code_8() {
    let node = node();
    let last = store(node.path(), 3);
    let end = fs::metadata(&last).expect("it is there").len();
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(&last)
        .expect("it is there");
    file.write_all(&[7; 100]).expect("it can be written");
    let told = storage("verify", node.path());
    assert_eq!(told.code, 8, "{}", told.err);
    let wanted = format!(
        "\nmends  {}, position {end}\n       100 bytes behind",
        last.display()
    );
    assert!(told.text().contains(&wanted), "{}", told.text());
    assert_eq!(json(&storage("verify -o json", node.path()))["verdict"], "mends");
    assert_eq!(
        json(&storage("inspect -o json", node.path()))["nodes"][0]["torn_bytes"],
        100
    );
}

#[test]
fn records_are_printed_from_where_and_as_many_as_is_asked() {
    let node = node();
    let dump = |args: &str| {
        storage(&format!("dump {args}"), node.path())
            .done()
            .text()
            .to_owned()
    };
    assert_eq!(dump(""), "a1\nb1\na2\nb2\na3\nb3\n");
    // In the middle of a batch, and across segments.
    assert_eq!(dump("--from 3 --count 2"), "b2\na3\n");
    assert_eq!(dump("--from 1 --count 1"), "b1\n");
    assert_eq!(
        dump("--from 5 -o json"),
        "{\"offset\":5,\"timestamp_ms\":3000,\"value\":\"b3\"}\n"
    );
    let behind = storage("dump --from 6", node.path());
    assert_eq!((behind.code, behind.text()), (4, ""));
    assert!(
        behind
            .err
            .starts_with("error: there is no offset 6, and none behind it\n"),
        "{}",
        behind.err
    );
}

#[test]
fn frames_are_printed_with_their_places() {
    let node = node();
    let frames = storage("dump --frames -o json", node.path()).done();
    let all: Vec<serde_json::Value> = frames
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is an object"))
        .collect();
    let kinds: Vec<_> = all
        .iter()
        .map(|frame| frame["kind"].as_str().unwrap_or_default())
        .collect();
    // A segment is sealed with a mark, and the log was idle at its end.
    assert_eq!(kinds, ["records", "records", "mark", "records", "mark"]);
    assert_eq!(
        (&all[0]["position"], &all[3]["segment"]),
        (&4096.into(), &3.into())
    );
    let table = storage("dump --frames --from 2 --count 1", node.path()).done();
    let words: Vec<_> = table
        .text()
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(words[..5], ["2", "1", "records", "2", "2"]);
    assert_eq!(table.text().lines().count(), 2);
}

#[test]
fn a_dump_prints_all_before_the_damage_and_says_where_that_is() {
    let node = node();
    flip(&store(node.path(), 3), 4096 + 70);
    let dump = storage("dump", node.path());
    assert_eq!((dump.code, dump.text()), (9, "a1\nb1\na2\nb2\n"));
    assert!(
        dump.err
            .contains("is damaged at position 4096: frame payload checksum"),
        "{}",
        dump.err
    );
}

/// Dumps of logs that had lost their first or their last segments ended with 0, as if that were all.
#[test]
fn what_is_missing_at_an_end_is_told_behind_all_that_is_there() {
    let dump = |node: &TempDir, args: &str, out: &str, said: &str| {
        let dump = storage(&format!("dump {args}"), node.path());
        let ends_so = if said.is_empty() {
            dump.err.is_empty()
        } else {
            dump.err.starts_with("error: fault in ")
                && dump.err.contains(said)
                && dump.err.contains("\nhint: ")
        };
        let code = if said.is_empty() { 0 } else { 9 };
        assert_eq!((dump.code, dump.text()), (code, out), "{args}: {}", dump.err);
        assert!(ends_so, "{args}: {}", dump.err);
    };
    let first = "beginning: the log begins with entry 1, and its first segments, with the entries up to 2, are missing";
    let last = "entries up to 3 were committed here, and those behind 2 are gone";
    let node_without = |firsts: &[u64]| {
        let node = node();
        note_committed(node.path());
        for first in firsts {
            fs::remove_file(store(node.path(), *first)).expect("it is there");
        }
        assert_eq!(
            storage("verify", node.path()).code,
            if firsts.is_empty() { 0 } else { 9 }
        );
        node
    };
    dump(&node_without(&[]), "", "a1\nb1\na2\nb2\na3\nb3\n", "");
    let node = node_without(&[1]);
    dump(&node, "", "a3\nb3\n", first);
    dump(&node, "--count 1", "a3\n", first);
    dump(&node, "--from 1", "a3\nb3\n", first);
    // Who does not ask for what is missing is not told of it.
    dump(&node, "--from 4", "a3\nb3\n", "");
    let node = node_without(&[3]);
    dump(&node, "", "a1\nb1\na2\nb2\n", last);
    dump(&node, "--from 4", "", last);
    dump(&node, "--count 4", "a1\nb1\na2\nb2\n", "");
    dump(
        &node_without(&[1, 3]),
        "",
        "",
        "entries up to 3 were committed here, and no segment is left",
    );
    // Taken out by the node, to be repaired.
    let node = super::storage::node();
    let taken_out = store(node.path(), 3).with_extension("store.quarantined.1");
    fs::rename(store(node.path(), 3), taken_out).expect("it is there");
    dump(&node, "", "a1\nb1\na2\nb2\n", "entry 3 was damaged and taken out");
}

#[test]
fn a_dump_of_a_log_that_is_gone_is_a_fault() {
    let node = node();
    fs::remove_dir_all(node.path().join("logs")).expect("it is there");
    fs::write(node.path().join("begun"), "").expect("it can be written");
    for verb in ["verify", "inspect", "dump"] {
        let told = storage(verb, node.path());
        assert_eq!(
            (told.code, told.out.is_empty()),
            (9, verb == "dump"),
            "{verb}: {}",
            told.err
        );
    }
}

/// What may lie where a file of a data directory belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Instead {
    Directory,
    Fifo,
    LinkToNowhere,
    Nothing,
}

/// An index that was a directory ended `verify` with an internal error, and a FIFO would have been waited for to this day.
#[test]
fn whatever_lies_in_the_place_of_a_file_is_told_with_its_place_and_waits_for_nobody() {
    let named = |number: u64, end: &str| format!("logs/default/{number:020}.{end}");
    let log = |name: &str| format!("logs/default/{name}");
    // With how an empty file ends `verify`.
    let files = [
        ("LOCK".to_owned(), 0),
        ("begun".to_owned(), 0),
        ("identity".to_owned(), 9),
        (log("beginning"), 9),
        (log("vote"), 9),
        (log("committed"), 8),
        (named(1, "index"), 8),
        (named(1, "store"), 9),
        (named(3, "store"), 9),
        ("logs".to_owned(), 9),
        (log(""), 9),
    ];
    for (name, code_of_nothing) in &files {
        for instead in [
            Instead::Directory,
            Instead::Fifo,
            Instead::LinkToNowhere,
            Instead::Nothing,
        ] {
            let is_log = name == "logs" || name == "logs/default/";
            if is_log && instead == Instead::Directory {
                continue;
            }
            let node = node();
            note_committed(node.path());
            let path = node.path().join(name.trim_end_matches('/'));
            if path.is_dir() {
                fs::remove_dir_all(&path).expect("it is there");
            } else if path.exists() {
                fs::remove_file(&path).expect("it is there");
            }
            match instead {
                Instead::Directory => fs::create_dir(&path).expect("it can be made"),
                Instead::Fifo => {
                    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
                        .expect("it can be made");
                }
                Instead::LinkToNowhere => {
                    std::os::unix::fs::symlink("/nowhere/at/all", &path).expect("it can be made");
                }
                Instead::Nothing => fs::write(&path, "").expect("it can be made"),
            }
            let wanted = if instead == Instead::Nothing {
                *code_of_nothing
            } else {
                9
            };
            let told = storage("verify", node.path());
            let what = format!("{name}: {instead:?}: {}{}", told.text(), told.err);
            assert_eq!(told.code, wanted, "{what}");
            let names_it = told
                .text()
                .lines()
                .any(|line| line.contains(&path.display().to_string()) && !line.starts_with("data"));
            assert!(names_it || wanted == 0, "{what}");
            for verb in ["inspect", "dump"] {
                let told = storage(verb, node.path());
                assert!(
                    [0, 4, 9].contains(&told.code),
                    "{verb} of {name}: {instead:?}: {}",
                    told.err
                );
            }
        }
    }
}

#[test]
fn what_is_there_is_shown() {
    let node = node();
    let shown = storage("inspect", node.path()).done();
    for line in [
        "offsets    0..6",
        "last       entry 3 of term 1",
        "vote       term 1, for node 7",
        "committed  nothing is noted",
        "producers  0",
    ] {
        assert!(
            shown.text().contains(&format!("\n{line}\n")),
            "{line}: {}",
            shown.text()
        );
    }
    let shown = json(&storage("inspect -o json", node.path()).done());
    let segments = &shown["nodes"][0]["segments"];
    assert_eq!(
        (&segments[0]["last_log_index"], &segments[0]["state"]),
        (&2.into(), &"sealed".into())
    );
    assert_eq!(
        (&segments[1]["next_offset"], &segments[1]["state"]),
        (&6.into(), &"active".into())
    );
}

/// The story: what was damaged was shown as such, and the exit code said that all is well.
#[test]
fn a_look_at_what_is_there_ends_with_code_9_where_it_meets_a_fault() {
    let faults = [
        // The header of a sealed segment, and of the last one.
        |node: &Path| flip(&store(node, 1), 30),
        |node: &Path| flip(&store(node, 3), 30),
        // A frame of the last one, with another that was synced behind it.
        |node: &Path| flip(&store(node, 3), 4096 + 70),
        |node: &Path| flip(&node.join("identity"), 12),
        |node: &Path| {
            let taken_out = store(node, 1).with_extension("store.quarantined.1");
            fs::rename(store(node, 1), taken_out).expect("it is there");
        },
    ];
    for (number, damage) in faults.into_iter().enumerate() {
        let node = node();
        damage(node.path());
        for format in ["text", "json"] {
            let told = storage(&format!("inspect -o {format}"), node.path());
            assert_eq!(
                (told.code, told.err.lines().next()),
                (9, Some("error: 1 fault was found")),
                "{number}: {}",
                told.text()
            );
            assert!(!told.text().is_empty());
        }
    }
}

/// The story: a log that begins with offset 5 was shown from 0 on, without a word.
#[test]
fn what_is_trimmed_and_lies_there_yet_is_said_to_be() {
    let node = node();
    trim(node.path(), 5);
    let shown = storage("inspect", node.path()).done();
    for line in [
        "offsets    5..6",
        "trimmed    0..5 lie here yet, until their segments go; no node reads them",
    ] {
        assert!(
            shown.text().contains(&format!("\n{line}\n")),
            "{line}: {}",
            shown.text()
        );
    }
    let states: Vec<_> = shown
        .text()
        .lines()
        .filter(|line| line.contains("  sealed") || line.contains("  active"))
        .collect();
    assert!(
        states[0].ends_with("  sealed, trimmed") && states[1].ends_with("  active"),
        "{states:?}"
    );
    let shown = json(&storage("inspect -o json", node.path()).done());
    let shown = &shown["nodes"][0];
    assert_eq!(
        (&shown["earliest"], &shown["trimmed_below"]),
        (&5.into(), &5.into())
    );
    let trimmed: Vec<_> = [0, 1]
        .map(|number| shown["segments"][number]["trimmed"].clone())
        .into();
    assert_eq!(trimmed, [true, false]);

    let dumped = storage("dump", node.path());
    assert_eq!(dumped.code, 0, "{}", dumped.err);
    assert_eq!(dumped.text(), "a1\nb1\na2\nb2\na3\nb3\n");
    let note = "note: the log begins with offset 5: of what was printed, 5 records below that were trimmed";
    assert!(dumped.err.starts_with(note), "{}", dumped.err);
    let dumped = storage("dump --from 4 --count 1 --frames", node.path()).done();
    assert_eq!(dumped.err, "", "what a frame holds of the log is no less of it");
    let dumped = storage("dump --from 1 --count 2 --frames", node.path());
    assert!(
        dumped.err.contains("2 frames below that were trimmed"),
        "{}",
        dumped.err
    );
    assert_eq!(storage("dump --from 5", node.path()).done().err, "");

    let trimmed = |args: &str, key: &str| -> Vec<(u64, bool)> {
        let dumped = storage(&format!("dump {args} -o json"), node.path()).done();
        assert_eq!(dumped.err, "", "each line says it");
        let lines = dumped
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("it is JSON"));
        let of_line =
            |line: serde_json::Value| (line[key].as_u64().expect("it has one"), line["trimmed"] == true);
        lines.map(of_line).collect()
    };
    assert_eq!(trimmed("--from 3", "offset"), [(3, true), (4, true), (5, false)]);
    let frames = trimmed("--frames", "log_index");
    let (trimmed, others): (Vec<_>, Vec<_>) = frames.into_iter().partition(|(_, trimmed)| *trimmed);
    assert_eq!(trimmed, [(1, true), (2, true)], "and no mark is");
    assert!(others.contains(&(3, false)), "{others:?}");
}

#[test]
fn the_nodes_below_a_directory_are_looked_at_together_and_dumped_one_by_one() {
    let above = tempfile::tempdir().expect("there is room for a directory");
    for name in ["node-0", "node-1"] {
        write_node(&above.path().join(name), name);
    }
    let report = json(&storage("verify -o json", above.path()).done());
    let names: Vec<_> = (0..2)
        .map(|number| report["nodes"][number]["node"].clone())
        .collect();
    assert_eq!(names, ["node-0", "node-1"]);
    let refused = storage("dump", above.path());
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .err
            .contains("holds the data of 2 nodes\nhint: name one of them: "),
        "{}",
        refused.err
    );
}

#[test]
fn what_a_node_uses_is_left_alone() {
    let node = node();
    let held = DataDir::open(Arc::new(RealFileSystem), node.path(), "node-0").expect("nobody else has it");
    for verb in ["verify", "inspect", "dump"] {
        let refused = storage(verb, node.path());
        assert_eq!((refused.code, refused.text()), (5, ""), "{verb}");
        let pid = std::process::id();
        assert!(
            refused
                .err
                .contains(&format!("is in use by another process (pid {pid})")),
            "{}",
            refused.err
        );
    }
    drop(held);
    wait_until_idle(node.path());
    storage("verify", node.path()).done();
}

#[test]
fn an_identity_that_is_lost_or_damaged_is_a_fault() {
    let node = node();
    let identity = node.path().join("identity");
    flip(&identity, 20);
    let told = storage("verify", node.path());
    assert_eq!(told.code, 9);
    assert!(
        told.text()
            .contains(&format!("{}, position 8\n", identity.display())),
        "{}",
        told.text()
    );
    fs::remove_file(&identity).expect("it is there");
    let told = storage("verify", node.path());
    assert_eq!(told.code, 9);
    assert!(
        told.text().contains("it is missing, and there is a log"),
        "{}",
        told.text()
    );
}
