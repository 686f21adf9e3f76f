//! `annals agent`: a node as its configuration says, or the reason why there is none.

use std::net::TcpListener;

use crate::support::{Node, annals, configuration};

const CANNOT_START: i32 = 78;

#[test]
fn a_node_keeps_what_was_acknowledged_across_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let node = Node::agent(&data, "127.0.0.1:0");
    node.wait_until_ready();
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with("one\ntwo\n")
        .done();
    let ended = node.process.stop();
    assert_eq!(
        (ended.status.code(), ended.out),
        (Some(0), Vec::new()),
        "{}",
        ended.err
    );

    let node = Node::agent(&data, "127.0.0.1:0");
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with("three\n")
        .done();
    let found = annals().args(["consume", "--addr", &node.rpc]).run().text();
    assert_eq!(found, "one\ntwo\nthree\n");
}

#[test]
fn a_wrong_configuration_is_told_as_a_whole_and_starts_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let path = configuration(&data, "127.0.0.1:notaport");
    let more = format!("{}colour = \"red\"\n", std::fs::read_to_string(&path).unwrap());
    std::fs::write(&path, more).unwrap();
    let ended = annals().arg("agent").arg("--config").arg(&path).run();
    let text = ended.refused(CANNOT_START);
    assert!(
        text.starts_with("error: the configuration has 2 errors\n"),
        "{text}"
    );
    for wrong in ["listen.rpc", "unknown key `colour` in [telemetry]"] {
        assert!(text.contains(wrong), "{wrong} is not in: {text}");
    }
    assert!(
        !data.exists(),
        "a node that may not start has made its data directory"
    );
}

#[test]
fn a_data_directory_of_another_process_is_refused_with_its_pid() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let node = Node::agent(&data, "127.0.0.1:0");
    node.wait_until_ready();
    let config = configuration(&data, "127.0.0.1:0");
    let second = annals().arg("agent").arg("--config").arg(config).run();
    let text = second.refused(CANNOT_START);
    let wanted = format!(
        "error: data directory {} is in use by another process (pid {}); stop that one, or set another data directory\n",
        data.display(),
        node.process.id()
    );
    assert_eq!(text, wanted);
    assert!(
        node.readyz().starts_with("HTTP/1.1 200 "),
        "the first one was disturbed"
    );
}

#[test]
fn a_port_in_use_is_refused_with_the_address_and_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let temp = tempfile::tempdir().unwrap();
    let config = configuration(&temp.path().join("data"), &address);
    let ended = annals().arg("agent").arg("--config").arg(config).run();
    let text = ended.refused(CANNOT_START);
    assert!(
        text.contains(&format!("cannot listen on {address} for clients")),
        "{text}"
    );
    assert!(text.contains("or choose another port"), "{text}");
}
