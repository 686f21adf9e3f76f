//! Consumers that are ended again and again: with a cursor, what one has printed is not printed by the next.

use std::{
    io::{PipeReader, Read},
    time::Duration,
};

use rustix::io::ioctl_fionread;

use crate::support::{Line, Node, Process, annals};

/// More than a pipe holds, so that a consumer is in the middle of its work when it is told to end.
const TAKEN_BYTES: usize = 100_000;

/// Lines of some length, each another one.
fn numbered(lines: usize) -> String {
    (0..lines)
        .map(|i| format!("{i:06} {}\n", "annals ".repeat(i % 13)))
        .collect()
}

fn node_with(input: &str) -> Node {
    let (node, _) = Node::dev(&[]);
    produce(&node, input);
    node
}

fn produce(node: &Node, input: &str) {
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with(input)
        .done();
}

fn consume(node: &Node, args: &[&str]) -> Line {
    annals().args(["consume", "--addr", &node.rpc]).args(args)
}

/// A consumer whose output is read as this test likes.
fn started(line: Line) -> (Process, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("there is room for a pipe");
    (line.stdout(writer).start(), reader)
}

fn take(reader: &mut PipeReader, bytes: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    reader
        .take(bytes as u64)
        .read_to_end(&mut taken)
        .expect("it can be read");
    taken
}

fn rest(mut reader: PipeReader) -> Vec<u8> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("it can be read");
    rest
}

/// Where the cursor stands, by its own node.
fn cursor(node: &Node) -> Option<u64> {
    let shown = annals()
        .args(["cursor", "get", "billing", "-o", "json", "--addr", &node.rpc])
        .run()
        .text();
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
    shown["offset"].as_u64()
}

#[test]
fn each_record_is_printed_once_and_in_order_by_consumers_that_are_told_to_end() {
    const PORTION: usize = 30_000;
    let mut input = numbered(PORTION);
    let node = node_with(&input);
    let mut seen = Vec::new();
    let mut ended = 0;
    while ended < 6 || seen.len() < input.len() {
        if seen.len() == input.len() {
            // Nobody knows how much one prints before it hears that it is to end.
            produce(&node, &numbered(PORTION));
            input += &numbered(PORTION);
        }
        let (consumer, mut out) = started(consume(&node, &["--cursor", "billing", "--follow"]));
        let wanted = TAKEN_BYTES.min(input.len() - seen.len());
        seen.extend(take(&mut out, wanted));
        consumer.signal(if ended % 2 == 0 { "TERM" } else { "INT" });
        seen.extend(rest(out));
        consumer.wait().done();
        ended += 1;
    }
    assert!(
        seen == input.as_bytes(),
        "a record is missing, torn, or there twice"
    );
    assert_eq!(cursor(&node), Some(input.lines().count() as u64));
}

#[test]
fn each_record_is_printed_at_least_once_by_consumers_that_are_killed() {
    let input = numbered(30_000);
    let node = node_with(&input);
    let mut next = 0;
    for _ in 0..3 {
        let before = cursor_if_any(&node);
        let (consumer, mut out) = started(consume(&node, &["--cursor", "billing", "--follow"]));
        let mut seen = take(&mut out, TAKEN_BYTES);
        // It has committed something while it wrote on.
        while cursor(&node).unwrap_or(0) <= before {}
        consumer.signal("KILL");
        seen.extend(rest(out));
        assert_eq!(consumer.wait().status.code(), None);
        next = follow_on(next, &seen);
    }
    let last = consume(&node, &["--cursor", "billing"]).run().done();
    assert_eq!(follow_on(next, &last), 30_000);
    assert!(input.as_bytes().ends_with(&last));
}

/// Each of these took the cursor, though nothing came of it: whoever consumed with it was thrown out by a slip of the keyboard.
#[test]
fn what_the_log_refuses_takes_no_cursor_from_whoever_holds_it() {
    let node = node_with("0\n1\n2\n");
    let run = |args: &str| {
        let line = annals().args(args.split(' ')).args(["--addr", &node.rpc]);
        let ended = line.run();
        (ended.status.code(), ended.err)
    };
    consume(&node, &["--cursor", "billing"]).run().done();
    let list = || {
        annals()
            .args(["cursor", "list", "-o", "json", "--addr", &node.rpc])
            .run()
            .text()
    };
    let before = list();
    let not_taken = "is not taken: whoever holds it goes on";
    for args in [
        "cursor commit billing 5000 --take",
        "cursor commit typo 5000 --take",
        "consume --cursor typo --from 9999",
    ] {
        let (code, err) = run(args);
        assert!(code == Some(4) && err.contains(not_taken), "{args}: {err}");
    }
    assert_eq!(list(), before, "no cursor is made, and none changes its holder");
    let (_, err) = run("cursor commit billing 5000 --take");
    assert!(
        err.contains("hint: a cursor stands at most behind the last record"),
        "{err}"
    );
    assert_eq!(run("cursor commit billing 1 --take").0, Some(0));
    assert_eq!(cursor(&node), Some(1));
    // Elsewhere an offset that is not there ends with 4, and here it was 1.
    let (code, err) = run("log trim --below 99999999");
    assert!(
        code == Some(4) && err.contains("hint: `annals log describe`"),
        "{err}"
    );
    assert_eq!(run("log trim --below 2").0, Some(0));
    let before = list();
    let (code, err) = run("consume --cursor billing");
    assert!(code == Some(4) && err.contains(not_taken), "{err}");
    assert_eq!(list(), before, "where records were trimmed, too");
    assert_eq!(
        run("cursor commit billing 0 --take").0,
        Some(0),
        "to move it there is no mistake"
    );
}

/// 0 where there is no cursor yet.
fn cursor_if_any(node: &Node) -> u64 {
    let listed = annals()
        .args(["cursor", "list", "-o", "json", "--addr", &node.rpc])
        .run()
        .text();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("it is JSON");
    listed["cursors"][0]["offset"].as_u64().unwrap_or(0)
}

/// Looks at what a consumer has printed after others got to `next`; says which line comes next. Of one that was killed the last line may be torn.
fn follow_on(next: usize, seen: &[u8]) -> usize {
    let text = String::from_utf8_lossy(seen);
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let numbers: Vec<usize> = lines
        .map(|line| line[..6].parse().expect("it begins with a number"))
        .collect();
    let first = numbers[0];
    assert!(first <= next, "records {next}..{first} are nobody's");
    assert!(
        numbers.iter().copied().eq(first..first + numbers.len()),
        "records are missing"
    );
    next.max(first + numbers.len())
}

#[test]
fn a_second_signal_ends_a_consumer_at_once_and_what_nobody_has_read_is_not_committed() {
    let input = format!("{}\nshort\n", "x".repeat(500_000));
    let node = node_with(&input);
    let (consumer, out) = started(consume(&node, &["--cursor", "billing", "--follow"]));
    // It is in the middle of a record that is larger than a pipe.
    while ioctl_fionread(&out).expect("it is a pipe") < 65_536 {}
    let asked = annals::clock::now();
    consumer.signal("INT");
    consumer.signal("TERM");
    let ended = consumer.wait();
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "it waited for its reader"
    );
    assert_eq!(
        (ended.status.code(), ended.err.as_str()),
        (Some(1), "error: interrupted\n")
    );
    drop(out);
    assert_eq!(cursor(&node), None);
    let whole = consume(&node, &["--cursor", "billing"]).run().text();
    assert!(whole == input, "nothing is lost");
}

#[test]
fn a_consumer_that_was_to_read_to_the_end_says_that_it_was_interrupted() {
    // Many times what one prints before it hears that it is to end.
    let input = numbered(120_000);
    let node = node_with(&input);
    let (consumer, mut out) = started(consume(&node, &[]));
    let mut seen = take(&mut out, TAKEN_BYTES);
    consumer.signal("INT");
    seen.extend(rest(out));
    let ended = consumer.wait();
    assert_eq!(
        (ended.status.code(), ended.err.as_str()),
        (Some(1), "error: interrupted\n")
    );
    assert!(seen.len() < input.len() && input.as_bytes().starts_with(&seen));
    assert!(seen.ends_with(b"\n"), "what is out ends with a whole record");
}
