//! Readers that go away, and pipes that nobody reads.

use std::io::{BufRead, BufReader};

use crate::support::{Node, annals, text};

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
