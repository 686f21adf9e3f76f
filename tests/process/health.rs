//! `annals health`: what it says of real nodes, and how it ends.

use crate::support::{Node, addresses::free_addresses, annals};

fn health(args: &[&str]) -> crate::support::Line {
    annals().arg("health").args(args)
}

#[test]
fn a_node_that_serves_is_healthy_and_one_that_is_not_there_gives_no_answer() {
    let (node, _) = Node::dev(&[]);
    node.wait_until_ready();
    let well = health(&["--addr", &node.rpc]).run().text();
    assert_eq!(well, format!("{} serves\n", node.rpc));
    let well = health(&["--addr", &node.rpc, "-o", "json"]).run().text();
    assert_eq!(
        well,
        format!(
            "{{\"healthy\":true,\"nodes\":[{{\"addr\":\"{}\",\"healthy\":true}}]}}\n",
            node.rpc
        )
    );
    // Each of several has to serve.
    let both = format!("{},127.0.0.1:1", node.rpc);
    let ended = health(&["--addr", &both, "-o", "json"]).run();
    assert!(
        ended
            .refused(3)
            .starts_with("error: cannot connect to 127.0.0.1:1"),
        "{}",
        ended.err
    );
    let report: serde_json::Value = serde_json::from_slice(&ended.out).expect("it is JSON");
    assert_eq!(
        (&report["healthy"], &report["nodes"][0]["healthy"]),
        (&false.into(), &true.into())
    );
    let ended = health(&[
        "--addr",
        "127.0.0.1:1",
        "--exit-when-healthy",
        "--timeout",
        "400ms",
    ])
    .run();
    ended.refused(3);
}

/// Of two nodes that are to found a cluster one alone cannot.
#[test]
fn a_node_that_waits_is_not_healthy_says_why_and_is_waited_for() {
    let above = tempfile::tempdir().expect("there is room for a directory");
    let configs = two_nodes(above.path());
    let first = Node::start(&configs[0]);
    let ended = health(&["--addr", &first.rpc]).run();
    let said = ended.refused(1);
    let begin = format!("error: not healthy: {} does not serve: it waits: ", first.rpc);
    assert!(said.starts_with(&begin), "{said}");
    let waiting = health(&["--addr", &first.rpc, "--exit-when-healthy", "--timeout", "60s"]).start();
    let _second = Node::start(&configs[1]);
    assert_eq!(waiting.wait().text(), format!("{} serves\n", first.rpc));
}

fn two_nodes(above: &std::path::Path) -> Vec<std::path::PathBuf> {
    let gossip: Vec<String> = free_addresses(2).iter().map(ToString::to_string).collect();
    let write = |number: usize| {
        let path = above.join(format!("node-{number}.toml"));
        let text = format!(
            "[node]\nname = \"node-{number}\"\ndata_dir = {:?}\n[listen]\nrpc = \"127.0.0.1:0\"\ngossip = {:?}\nadmin = \"127.0.0.1:0\"\n\
             [cluster]\ninitial_members = [\"node-0\", \"node-1\"]\nseeds = [{:?}, {:?}]\n[telemetry]\nlog_format = \"json\"\n",
            above.join(format!("data-{number}")).display().to_string(),
            gossip[number],
            gossip[0],
            gossip[1]
        );
        std::fs::write(&path, text).expect("there is room for a configuration");
        path
    };
    (0..2).map(write).collect()
}
