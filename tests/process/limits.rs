//! Limits that are changed between two runs.

use std::fs;

use crate::support::{Node, annals, configuration};

#[test]
fn what_was_stored_under_a_larger_limit_is_read_back_under_a_smaller_one() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let config = configuration(&data, "127.0.0.1:0");
    let small = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{small}[log]\nbatch_bytes_max = \"8MiB\"\n")).unwrap();
    let node = Node::start(&config);
    let input = format!("first\n{}\nlast\n", "b".repeat(7_000_000));
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with(&input)
        .done();
    node.process.stop();

    fs::write(&config, small).unwrap();
    let node = Node::start(&config);
    let found = annals().args(["consume", "--addr", &node.rpc]).run().text();
    assert!(
        found == input,
        "{} bytes came back of {}",
        found.len(),
        input.len()
    );
}
