//! Verbs that are given a port which is not for clients.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
};

use crate::support::{Node, addresses::free_addresses, annals, configuration};

const VERBS: [&[&str]; 8] = [
    &["health"],
    &["top", "--once"],
    &["consume"],
    &["consume", "--follow"],
    &["produce"],
    &["log", "describe"],
    &["cluster", "status"],
    &["cursor", "list"],
];

/// What each verb says of an address, and its remedy.
fn each_says(address: &str, what: &str, hint: &str) {
    for verb in VERBS {
        let ended = annals().args(verb).args(["--addr", address]).run_with("a\n");
        let wanted = format!("error: {address} {what}\nhint: {hint}\n");
        assert_eq!(ended.refused(3), wanted, "{verb:?}");
    }
}

/// They spoke of a broken protocol, or of a connection that was lost.
#[test]
fn what_is_there_instead_is_told_with_where_clients_are_taken() {
    let temp = tempfile::tempdir().expect("there is room for a directory");
    let config = configuration(&temp.path().join("data"), "127.0.0.1:0");
    let gossip = free_addresses(1)[0].to_string();
    let with_gossip = format!("[cluster]\ninitial_members = [\"node-0\"]\n[listen]\ngossip = {gossip:?}\n");
    let text = fs::read_to_string(&config)
        .expect("it was written")
        .replace("[listen]\n", &with_gossip);
    fs::write(&config, text).expect("it can be written");
    let node = Node::start(&config);
    node.wait_until_ready();
    each_says(
        &node.admin,
        "is no port for clients of a node: it is the admin listener of node node-0, for probes (listen.admin)",
        &format!("give --addr {}, where that node takes clients", node.rpc),
    );
    let ended = annals()
        .args(["health", "-o", "json", "--addr", &node.admin])
        .run();
    let report: serde_json::Value = serde_json::from_slice(&ended.out).expect("it is JSON");
    let problem = report["nodes"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("is no port for clients of a node"), "{report}");
    let ended = annals().args(["health", "--addr", &gossip]).run();
    let said = ended.refused(3);
    assert!(
        said.contains("closes connections without a word, as the port of gossip does"),
        "{said}"
    );
}

#[test]
fn a_server_of_http_is_told_from_a_node() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("somebody comes");
            let mut said = [0; 1024];
            // What becomes of it is the other side's business.
            drop(socket.read(&mut said));
            drop(
                socket.write_all(
                    b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.25.3\r\nContent-Length: 0\r\n\r\n",
                ),
            );
        }
    });
    each_says(
        &address,
        "is no port for clients of a node: it is a server of HTTP (nginx/1.25.3), and no node",
        "give --addr the port for clients, listen.rpc of a node's configuration",
    );
}
