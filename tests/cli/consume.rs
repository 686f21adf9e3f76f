//! `annals consume`: what is printed, and when it ends.

use std::io::{BufRead, BufReader, Read};

use crate::support::{Program, Server, odd_lines, wait_until};

fn five_records() -> Server {
    let server = Server::start();
    server.append(&["a", "b", "c"], 1_000);
    server.append(&["d", "e"], 2_000);
    server
}

#[test]
fn what_was_produced_comes_back_byte_for_byte() {
    let server = Server::start();
    let mut lines = odd_lines(20_000);
    Program::new(&format!("produce --addr {}", server.addr()))
        .run(&lines)
        .done();
    let consumed = Program::new(&format!("consume --addr {}", server.addr()))
        .run(b"")
        .done();
    lines.push(b'\n');
    assert!(consumed.out == lines, "other bytes came back");
}

#[test]
fn each_position_starts_where_it_says() {
    let server = five_records();
    let table = [
        ("", "a\nb\nc\nd\ne\n"),
        ("--from earliest", "a\nb\nc\nd\ne\n"),
        ("--from 1 --count 3", "b\nc\nd\n"),
        ("--from -2", "d\ne\n"),
        ("--from -9", "a\nb\nc\nd\ne\n"),
        ("--from @1.5", "d\ne\n"),
        ("--from @1970-01-01T00:00:01Z --count 1", "a\n"),
        ("--from 5", ""),
    ];
    for (args, wanted) in table {
        let ended = Program::new(&format!("consume --addr {} {args}", server.addr()))
            .run(b"")
            .done();
        assert_eq!(ended.text(), wanted, "{args}");
    }
}

#[test]
fn json_has_a_record_in_a_line() {
    let server = five_records();
    let ended = Program::new(&format!("consume --addr {} --from 3 -o json", server.addr()))
        .run(b"")
        .done();
    let wanted = "{\"offset\":3,\"timestamp_ms\":2000,\"value\":\"d\"}\n{\"offset\":4,\"timestamp_ms\":2000,\"value\":\"e\"}\n";
    assert_eq!(ended.text(), wanted);
}

#[test]
fn a_reader_of_the_output_that_goes_away_ends_it_quietly() {
    let server = Server::start();
    // More than a pipe holds, so that it must be writing when the reader goes.
    let lines = vec!["x".repeat(1000); 5_000];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    lines.chunks(100).for_each(|chunk| server.append(chunk, 1));
    let mut child = Program::new(&format!("consume --addr {}", server.addr())).start();
    let mut head = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    head.read_line(&mut line).unwrap();
    assert_eq!(line.len(), 1001);
    drop(head);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), b"".as_slice())
    );
}

#[test]
fn following_prints_what_comes_as_it_comes() {
    let server = five_records();
    let args = format!(
        "consume --addr {} --from latest --follow --count 2",
        server.addr()
    );
    let mut child = Program::new(&args).start();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    wait_until("it reads", || server.readers() == 1);
    for new in ["f", "g"] {
        server.append(&[new], 3_000);
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{new}\n"));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The story: an offset of a log that was no more was waited for without a word.
#[test]
fn who_follows_from_behind_the_end_is_told_once_where_that_is_and_gets_what_comes_there() {
    let server = five_records();
    let args = format!("consume --addr {} --from 6 --follow --count 1", server.addr());
    let mut child = Program::new(&args).start();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut note = String::new();
    err.read_line(&mut note).unwrap();
    assert_eq!(note, "note: the log ends at 5; waiting for offset 6\n");
    wait_until("it reads", || server.readers() == 1);
    server.append(&["f", "g"], 3_000);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), b"g\n".as_slice())
    );
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn the_log_is_described() {
    let server = five_records();
    let ended = Program::new(&format!("log describe --addr {} -o json", server.addr()))
        .run(b"")
        .done();
    let described: serde_json::Value = serde_json::from_str(ended.text()).unwrap();
    assert_eq!(described["high_watermark"], 5);
    assert_eq!(described["node_id"], "2748");
    let ended = Program::new(&format!("log describe --addr {}", server.addr()))
        .run(b"")
        .done();
    assert!(ended.text().contains("\nreadable   0..5\n"), "{}", ended.text());
}
