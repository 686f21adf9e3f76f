//! Three nodes as one cluster: in one process by `annals dev --nodes 3`, and as three processes from the files in
//! config/cluster/, on other ports.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::ChildStdin,
};

use crate::support::{DEADLINE, Node, Process, addresses::free_addresses, after, annals, get, line_with};

/// The output of a command, as soon as it is what is waited for.
fn until(what: &str, args: &[&str], holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let deadline = annals::clock::now() + DEADLINE;
    loop {
        let ended = annals().args(args).run();
        let found = serde_json::from_slice(&ended.out).ok();
        match found.filter(|found| holds(found)) {
            Some(found) => return found,
            None => assert!(
                annals::clock::now() < deadline,
                "{what}: not so: {}{}",
                String::from_utf8_lossy(&ended.out),
                ended.err
            ),
        }
    }
}

/// The output of a command that goes well.
fn json(args: &[&str]) -> serde_json::Value {
    serde_json::from_slice(&annals().args(args).run().done()).expect("it is JSON")
}

fn status(addrs: &str, what: &str, holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    until(what, &["cluster", "status", "-o", "json", "--addr", addrs], holds)
}

/// Every node answers and has all of the leader's log.
fn is_whole(cluster: &serde_json::Value) -> bool {
    let nodes = cluster["nodes"].as_array().expect("there is a list");
    let is_level = |node: &serde_json::Value| node["answered"] == true && node["lag"] == 0;
    nodes.len() == 3 && nodes.iter().all(is_level) && cluster["leader"].is_string()
}

/// `annals dev --nodes 3`, and its banner.
fn dev(args: &[&str]) -> (Process, String) {
    let dev = ["dev", "--nodes", "3", "--port", "0"];
    let process = annals().args(dev).args(args).start();
    let is_whole = |text: &str| text.contains("\nCtrl-C").then(|| text.to_owned());
    let banner = process.out.wait_for("the banner is printed", is_whole);
    (process, banner)
}

#[test]
fn three_nodes_in_one_process_are_one_cluster_and_stop_together() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().display().to_string();
    for round in 0..2 {
        let (process, banner) = dev(&["--data-dir", &data]);
        assert!(banner.contains("3 nodes, one cluster"), "{banner}");
        for node in ["node-0", "node-1", "node-2"] {
            assert!(banner.contains(&format!("\n  {node}  127.0.0.1:")), "{banner}");
        }
        let first = after(&banner, "produce --addr ");
        let last = after(&banner, "consume --addr ");
        assert_ne!(first, last);
        let produced = annals().args(["produce", "--addr", &first]).run_with("hello\n");
        let wanted = format!("1 record at offsets {round}..{}\n", round + 1);
        assert_eq!(produced.text(), wanted);
        let consumed = annals().args(["consume", "--addr", &last]).run().text();
        assert_eq!(consumed, "hello\n".repeat(round + 1));
        let whole = status(
            &after(&banner, "cluster status --addr "),
            "all are there",
            is_whole,
        );
        assert_eq!(whole["nodes"].as_array().unwrap().len(), 3);
        let signal = ["TERM", "INT"][round];
        process.signal(signal);
        let ended = process.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
        assert!(
            String::from_utf8_lossy(&ended.out).ends_with("the data stays.\n"),
            "it says more after the banner"
        );
    }
}

#[test]
fn ports_in_use_are_told_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    // Whatever of the other ports is in use is told too.
    let port = address.port().clamp(1024, 65_000).to_string();
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let ended = annals()
        .args(["dev", "--nodes", "3", "--port", &port, "--data-dir"])
        .arg(&data)
        .run();
    let said = ended.refused(78);
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert!(said.contains("--port 0 any that are free"), "{said}");
    assert!(!data.join("node-0").exists(), "a node has been started");
}

/// Processes of a cluster, from the files in config/cluster/ with other ports.
struct Cluster {
    nodes: Vec<Option<Node>>,
    configs: Vec<std::path::PathBuf>,
}

impl Cluster {
    fn start(directory: &Path) -> Self {
        let addresses = free_addresses(9);
        let configs: Vec<_> = (0..3).map(|i| configuration(directory, i, &addresses)).collect();
        // The last one first: who founds does so whenever it comes.
        let mut nodes: Vec<_> = configs
            .iter()
            .rev()
            .map(|config| Some(Node::start(config)))
            .collect();
        nodes.reverse();
        Self { nodes, configs }
    }

    fn node(&self, at: usize) -> &Node {
        self.nodes[at].as_ref().expect("it runs")
    }

    fn addrs(&self) -> String {
        let addrs: Vec<_> = self.nodes.iter().flatten().map(|node| node.rpc.clone()).collect();
        addrs.join(",")
    }

    fn at(&self, name: &str) -> usize {
        name.strip_prefix("node-")
            .and_then(|at| at.parse().ok())
            .expect("it is a name")
    }

    fn leader(&self) -> usize {
        let whole = status(&self.addrs(), "there is a leader", |cluster| {
            cluster["leader"].is_string()
        });
        self.at(whole["leader"].as_str().expect("it has a name"))
    }
}

/// The file of that node, with its data in `directory` and at these addresses.
fn configuration(directory: &Path, node: usize, addresses: &[SocketAddr]) -> std::path::PathBuf {
    let file = format!("{}/config/cluster/node-{node}.toml", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(file).expect("the file is there");
    for (i, address) in addresses.iter().enumerate() {
        let (node, which) = (i / 3, i % 3);
        text = text.replace(&format!("127.0.0.1:84{node}{which}"), &address.to_string());
    }
    let data = directory.join(format!("node-{node}"));
    text = text.replace(
        &format!("\"data/node-{node}\""),
        &format!("{:?}", data.display().to_string()),
    );
    text.push_str("\n[telemetry]\nlog_format = \"json\"\n");
    let path = directory.join(format!("node-{node}.toml"));
    std::fs::write(&path, text).expect("there is room for a configuration");
    path
}

#[test]
fn three_processes_found_a_cluster_and_a_producer_outlives_its_leader() {
    let temp = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(temp.path());
    status(&cluster.addrs(), "all are there", is_whole);
    let addrs = cluster.addrs();
    let leader = cluster.leader();
    // It begins at the leader, which is killed under it.
    let mut order: Vec<_> = (0..3)
        .map(|i| cluster.node((leader + i) % 3).rpc.clone())
        .collect();
    let (producer, mut stdin) = annals()
        .args(["produce", "--batch", "10", "--addr", &order.join(",")])
        .start_with_input();
    let follower = annals().args(["consume", "--follow", "--addr", &addrs]).start();
    let feed = |stdin: &mut ChildStdin, lines: std::ops::Range<usize>| {
        for line in lines {
            writeln!(stdin, "{line:06}").unwrap();
        }
    };
    feed(&mut stdin, 0..500);
    follower.out.wait_for_bytes(500 * 7);
    cluster.nodes[leader].take().unwrap().process.kill();
    feed(&mut stdin, 500..1_000);
    drop(stdin);
    let ended = producer.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    follower.out.wait_for_bytes(1_000 * 7);
    let wanted: String = (0..1_000).map(|line| format!("{line:06}\n")).collect();
    order.remove(0);
    for addr in &order {
        let found = annals().args(["consume", "--addr", addr]).run().text();
        assert!(
            found == wanted,
            "lines are lost, doubled or out of order at {addr}"
        );
    }
    drop(follower);

    let without = status(&cluster.addrs(), "one is out of reach", |cluster| {
        cluster["nodes"]
            .as_array()
            .is_some_and(|nodes| nodes.iter().any(|node| node["answered"] == false))
    });
    assert_ne!(without["leader"], format!("node-{leader}").as_str());
    let config = &cluster.configs[leader];
    cluster.nodes[leader] = Some(Node::start(config));
    status(&cluster.addrs(), "it is back", is_whole);
    // What a dead peer means is said once by the parts that know it, and not by openraft at each try.
    for node in cluster.nodes.iter().flatten() {
        assert_eq!(line_with(&node.process.err.text(), "\"target\":\"openraft"), None);
    }
}

/// Produces this, and waits until every node has it.
fn produce_to_all(cluster: &Cluster, records: &str) {
    let addrs = cluster.addrs();
    annals()
        .args(["produce", "--addr", &addrs])
        .run_with(records)
        .done();
    for node in cluster.nodes.iter().flatten() {
        let read = ["consume", "--addr", &node.rpc];
        assert_eq!(annals().args(read).run().text(), records);
    }
}

#[test]
fn a_node_that_was_away_while_it_was_removed_fences_itself() {
    let temp = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(temp.path());
    status(&cluster.addrs(), "all are there", is_whole);
    let leader = cluster.leader();
    produce_to_all(&cluster, "before\n");
    let away = (leader + 1) % 3;
    let name = format!("node-{away}");
    cluster.node(away).process.signal("STOP");
    // Two of three voters are left, and with one of them away nothing could be written any more.
    let third = format!("node-{}", (leader + 2) % 3);
    let addr = cluster.node(leader).rpc.clone();
    status(&addr, "it is missed", |cluster| {
        let nodes = cluster["nodes"].as_array();
        let is_missed =
            |node: &serde_json::Value| node["node"] == name.as_str() && node["reachable"] == false;
        nodes.is_some_and(|nodes| nodes.iter().any(is_missed))
    });
    let ended = annals()
        .args(["cluster", "remove", &third, "--addr", &addr])
        .run();
    let said = ended.refused(5);
    assert!(said.contains("only 1 of 2 voters would be up"), "{said}");
    assert!(said.contains(&format!("Bring {name} back first")), "{said}");
    let removed = json(&["cluster", "remove", &name, "-o", "json", "--addr", &addr]);
    assert_eq!(removed["node"], name.as_str());
    assert_eq!(removed["address"], cluster.node(away).rpc.as_str());
    assert_eq!(
        (&removed["was"], &removed["is"]),
        (&"follower".into(), &"removed".into())
    );
    let led = json(&["cluster", "transfer-leader", "-o", "json", "--addr", &addr]);
    let leader_name = format!("node-{leader}");
    assert_eq!(
        (&led["node"], &led["led_before"]),
        (&third.as_str().into(), &leader_name.as_str().into())
    );
    assert_eq!((&led["changed"], &led["leader_id"]), (&true.into(), &led["id"]));
    annals()
        .args(["produce", "--addr", &addr])
        .run_with("after\n")
        .done();

    cluster.node(away).process.signal("CONT");
    let node = cluster.nodes[away].take().unwrap();
    let log = node.process.err.wait_for("it says so once", |log| {
        line_with(log, "this node was removed from its cluster")
    });
    assert!(log.contains(&name), "{log}");
    assert_fenced(&node, "before\n");
    // It knows it after a restart too.
    assert_eq!(node.process.stop().status.code(), Some(0));
    let again = Node::start(&cluster.configs[away]);
    assert_fenced(&again, "before\n");

    let two = status(&cluster.addrs(), "two are left", |cluster| {
        cluster["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2)
    });
    assert_eq!(two["changing"], false);
}

#[test]
fn what_a_minority_has_can_be_read_by_who_asks_for_no_more() {
    let temp = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(temp.path());
    status(&cluster.addrs(), "all are there", is_whole);
    produce_to_all(&cluster, "kept\n");
    for gone in [1, 2] {
        cluster.nodes[gone].take().unwrap().process.kill();
    }
    let addr = &cluster.node(0).rpc;
    status(addr, "nobody leads", |cluster| cluster["leader"].is_null());
    let refused = annals()
        .args(["consume", "--timeout", "5s", "--addr", addr])
        .run();
    let said = refused.refused(3);
    assert!(said.contains("the cluster has no leader"), "{said}");
    assert!(said.contains("annals consume --level local"), "{said}");
    let read = annals().args(["consume", "--level", "local", "--addr", addr]);
    assert_eq!(read.run().text(), "kept\n");
}

#[test]
fn a_node_that_waits_for_the_others_says_for_whom() {
    let temp = tempfile::tempdir().unwrap();
    let node = Node::start(&configuration(temp.path(), 0, &free_addresses(9)));
    let why = "waiting for node-1, node-2, not seen yet";
    let waits = status(&node.rpc, "it waits", |cluster| cluster["waiting"] == why);
    assert_eq!(waits["nodes"].as_array().unwrap().len(), 0);
    let ready = get(&node.admin, "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.contains(&format!("it belongs to no cluster yet: {why}")),
        "{ready}"
    );
    let refused = annals()
        .args(["produce", "--timeout", "5s", "--addr", &node.rpc])
        .run_with("x\n");
    let said = refused.refused(3);
    assert!(
        said.contains(&format!("this node belongs to no cluster yet: {why}")),
        "{said}"
    );
    assert!(said.contains("cluster.seeds"), "{said}");
    // To start it again would not help.
    assert!(get(&node.admin, "/startupz").starts_with("HTTP/1.1 200 "));
    assert_eq!(node.process.stop().status.code(), Some(0));
}

/// Refuses everything but its old records, which are these.
fn assert_fenced(node: &Node, records: &str) {
    let refused = annals().args(["produce", "--addr", &node.rpc]).run_with("x\n");
    let said = refused.refused(5);
    assert!(said.contains("was removed from its cluster"), "{said}");
    let refused = annals().args(["consume", "--addr", &node.rpc]).run();
    let said = refused.refused(5);
    assert!(said.contains("serves only old records"), "{said}");
    assert!(said.contains("annals consume --level local"), "{said}");
    let old = ["consume", "--level", "local", "--addr", &node.rpc];
    assert_eq!(annals().args(old).run().text(), records);
    let ready = get(&node.admin, "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.contains("wipe its data directory"),
        "{ready}"
    );
}

#[test]
fn a_node_leaves_for_good_and_a_wiped_one_takes_its_place() {
    let temp = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(temp.path());
    status(&cluster.addrs(), "all are there", is_whole);
    let leader = cluster.leader();
    let name = format!("node-{leader}");
    // The one that leads: it hands over first.
    let left = annals()
        .args(["cluster", "leave", "--addr", &cluster.node(leader).rpc])
        .run()
        .text();
    assert!(left.contains("has left"), "{left}");
    let node = cluster.nodes[leader].take().unwrap();
    assert_fenced(&node, "");
    let again = annals()
        .args(["cluster", "leave", "--addr", &node.rpc])
        .run()
        .text();
    assert!(again.contains("was removed from its cluster already"), "{again}");
    let again = json(&["cluster", "leave", "-o", "json", "--addr", &node.rpc]);
    assert_eq!(again["node"], name.as_str());
    assert_eq!(
        (&again["changed"], &again["is"]),
        (&false.into(), &"removed".into())
    );
    let old = annals()
        .args(["cluster", "status", "--addr", &node.rpc])
        .run()
        .text();
    assert!(old.starts_with("removed  this node was removed"), "{old}");
    node.process.stop();
    let gone =
        |cluster: &serde_json::Value| cluster["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2);
    status(&cluster.addrs(), "it is gone", gone);

    std::fs::remove_dir_all(temp.path().join(&name)).unwrap();
    cluster.nodes[leader] = Some(Node::start(&cluster.configs[leader]));
    let other = cluster.node((leader + 1) % 3).rpc.clone();
    status(&other, "it is a learner", |cluster| {
        let nodes = cluster["nodes"].as_array();
        nodes.is_some_and(|nodes| {
            nodes
                .iter()
                .any(|node| node["node"] == name.as_str() && node["role"] == "learner")
        })
    });
    let added = annals()
        .args(["cluster", "add", &name, "--addr", &other])
        .run()
        .text();
    assert!(added.contains("votes"), "{added}");
    let add = ["cluster", "add", &name, "--addr", &other, "--learner"];
    let again = annals().args(add).run().text();
    assert!(
        again.contains("is a voter already; nothing was changed"),
        "{again}"
    );
    status(&cluster.addrs(), "three vote", |cluster| {
        is_whole(cluster)
            && cluster["nodes"]
                .as_array()
                .unwrap()
                .iter()
                .all(|node| node["voter"] == true)
    });
}

#[test]
fn a_node_that_cannot_begin_ends_them_all_and_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let alone = Node::agent(&temp.path().join("node-1"), "127.0.0.1:0");
    let dev = ["dev", "--nodes", "3", "--port", "0", "--data-dir"];
    let ended = annals().args(dev).arg(temp.path()).run();
    let said = ended.refused(78);
    assert!(said.contains("node-1 is in use by another process"), "{said}");
    assert!(!ended.err.contains("node starts"), "one has begun: {}", ended.err);
    assert_eq!(alone.process.stop().status.code(), Some(0));
}
