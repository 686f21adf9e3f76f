//! Readers that go away, and pipes that nobody reads.

use std::{
    io::{BufRead, BufReader, PipeReader, PipeWriter, Write},
    net::TcpListener,
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::support::{Node, annals, configuration, line_with, text};

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
