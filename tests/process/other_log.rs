//! Another log behind the same address: who goes on there would mix two histories.

use std::io::Write;

use crate::support::{Node, addresses::free_addresses, annals};

#[test]
fn nobody_goes_on_in_another_log_behind_the_same_address() {
    let temp = tempfile::tempdir().unwrap();
    let rpc = free_addresses(1)[0].to_string();
    let node = Node::agent(&temp.path().join("first"), &rpc);
    let follower = annals().args(["consume", "--addr", &rpc, "--follow"]).start();
    let (producer, mut stdin) = annals().args(["produce", "--addr", &rpc]).start_with_input();
    // No more than 16 requests are in flight, so the first ones are acknowledged when the last one is read.
    for sent in 1..=20 {
        stdin.write_all(b"one\n").unwrap();
        follower.out.wait_for_bytes(sent * "one\n".len());
    }
    node.process.kill();
    let other = Node::agent(&temp.path().join("second"), &rpc);
    stdin.write_all(b"two\n").unwrap();
    drop(stdin);
    let ended = follower.wait();
    let said = ended.refused(1);
    assert!(
        said.contains("has another log than before: it is that of cluster "),
        "{said}"
    );
    assert!(said.contains("--from earliest"), "{said}");
    assert_eq!(ended.out, b"one\n".repeat(20));
    let ended = producer.wait();
    let said = ended.refused(6);
    assert!(
        said.contains(" at offsets 0..") && said.contains("; the rest is not"),
        "{said}"
    );
    let found = annals().args(["consume", "--addr", &rpc]).run().done();
    assert!(found.is_empty(), "the other log has a record of this one");
    assert_eq!(other.process.stop().status.code(), Some(0));
}
