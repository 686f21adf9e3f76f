//! Readers that go away, and pipes that nobody reads.

use std::{
    fs,
    io::{BufRead, BufReader, PipeReader, PipeWriter, Write},
    net::TcpListener,
    time::UNIX_EPOCH,
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::support::{Line, Node, annals, configuration, line_with, text};

#[test]
fn a_reader_that_goes_away_ends_a_consumer_quietly() {
    let (node, _) = Node::dev(&[]);
    // More than pipes and buffers hold, so that it must be writing when its reader goes.
    let input = text(50_000);
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with(&input)
        .done();
    let (reader, writer) = std::io::pipe().unwrap();
    let consumer = annals()
        .args(["consume", "--addr", &node.rpc])
        .stdout(writer)
        .start();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    for expected in input.split_inclusive('\n').take(3) {
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
    }
    drop(reader);
    consumer.wait().done();
    assert!(node.readyz().starts_with("HTTP/1.1 200 "));
}

/// Behind `head -1` it stayed until the next record came, which may be never.
#[test]
fn a_reader_that_goes_away_ends_a_consumer_that_waits_for_more() {
    let (node, _) = Node::dev(&[]);
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with("one\n")
        .done();
    for cursor in [&[][..], &["--cursor", "billing"]] {
        let (reader, writer) = std::io::pipe().expect("there is room for a pipe");
        let consumer = annals()
            .args(["consume", "--follow", "--addr", &node.rpc])
            .args(cursor)
            .stdout(writer)
            .start();
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).expect("it prints");
        assert_eq!(line, "one\n");
        consumer.wait().done();
    }
}

/// A pipe that is full, and its other end.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("there is room for a pipe");
    let flags = fcntl_getfl(&writer).expect("it is open");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("it is open");
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    while writer.write(b"\n").is_ok() {}
    fcntl_setfl(&writer, flags).expect("it is open");
    (reader, writer)
}

#[test]
fn a_log_that_nobody_reads_keeps_a_node_neither_from_serving_nor_from_its_end() {
    let (reader, writer) = full_pipe();
    let process = annals().args(["dev", "--port", "0"]).stderr(writer).start();
    let rpc = process
        .out
        .wait_for("it serves", |text| line_with(text, "  address  "))
        .replace("  address  ", "");
    annals()
        .args(["produce", "--addr", &rpc])
        .run_with("one\n")
        .done();
    assert_eq!(process.stop().status.code(), Some(0));
    drop(reader);
}

/// The line about them was waited for by a `dev` whose standard error nobody read.
#[test]
fn what_earlier_ones_have_left_is_told_and_nobody_has_to_read_it() {
    let temp = tempfile::tempdir().expect("there is room for a directory");
    let left = temp.path().join("annals-dev-left");
    fs::create_dir(&left).expect("it can be made");
    fs::write(left.join("identity"), "").expect("it can be made");
    let lock = fs::File::create(left.join("LOCK")).expect("it can be made");
    lock.set_modified(UNIX_EPOCH)
        .expect("the file system keeps times");
    let dev = || {
        let place = format!("TMPDIR={}", temp.path().display());
        let annals = env!("CARGO_BIN_EXE_annals");
        Line::new("env").arg(place).args([annals, "dev", "--port", "0"])
    };
    let process = dev().start();
    let note = process.err.wait_for("it is told", |text| {
        line_with(text, "note: a temporary directory")
    });
    assert!(note.ends_with(&format!("rm -r {}", left.display())), "{note}");
    let serves = |text: &str| line_with(text, "  address  ");
    process.out.wait_for("it serves", serves);
    assert_eq!(process.stop().status.code(), Some(0));
    let (reader, writer) = full_pipe();
    let process = dev().stderr(writer).start();
    process.out.wait_for("it serves", serves);
    assert_eq!(process.stop().status.code(), Some(0));
    assert!(left.exists(), "nothing is removed");
    drop(reader);
}

#[test]
fn a_node_that_cannot_start_ends_with_its_code_though_nobody_hears_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let temp = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = configuration(&temp.path().join("data"), &address);
    let (reader, writer) = full_pipe();
    let process = annals()
        .arg("agent")
        .arg("--config")
        .arg(config)
        .stderr(writer)
        .start();
    assert_eq!(process.wait().status.code(), Some(78));
    drop(reader);
}
