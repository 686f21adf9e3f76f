//! `annals init`: what it makes works at once, by the lines that it prints, and lets nobody else in.

use std::{
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering},
};

use crate::support::{Line, Node, annals, lines_to_paste};

/// What a rule denies, or TLS.
const REFUSED: i32 = 5;

/// What was made, in a directory of the test's own.
pub struct Made {
    printed: String,
    directory: tempfile::TempDir,
}

impl Made {
    /// Of `annals init` with these arguments, at ports that are free.
    pub fn new(nodes: u16, args: &[&str]) -> Self {
        let above = tempfile::tempdir().expect("there is room for a directory");
        let port = free_ports(nodes).to_string();
        let line = annals().arg("init").arg(above.path().join("secured"));
        Self {
            printed: line.args(["--port", &port]).args(args).run().text(),
            directory: above,
        }
    }

    fn lines(&self, heading: &str) -> Vec<&str> {
        lines_to_paste(&self.printed, heading)
    }

    /// The nodes, started as is printed below this, and ready.
    fn start(&self, heading: &str) -> Vec<Node> {
        let lines = self.lines(heading);
        // `exec`, so that the guard ends the program itself and not only its shell.
        let start = |line: &&str| Node::listening(shell(&format!("exec {line}")));
        let nodes: Vec<_> = lines.iter().map(start).collect();
        nodes.iter().for_each(Node::wait_until_ready);
        nodes
    }

    /// Where all of it is.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("secured")
    }

    /// Three nodes, ready, that say all that they can.
    pub fn talkative(&self) -> Vec<Node> {
        let nodes: Vec<_> = (0..3).map(|number| self.begin_talkative(number)).collect();
        nodes.iter().for_each(Node::wait_until_ready);
        nodes
    }

    /// One of them.
    pub fn talkative_one(&self, number: usize) -> Node {
        let node = self.begin_talkative(number);
        node.wait_until_ready();
        node
    }

    fn begin_talkative(&self, number: usize) -> Node {
        let line = self.lines("Start the nodes, each in a terminal of its own, in any order:")[number];
        Node::listening(shell(&format!(
            "export ANNALS__TELEMETRY__LOG_LEVEL=trace\nexec {line}"
        )))
    }

    fn as_app(&self) -> Vec<&str> {
        self.lines("Then, in another terminal and this directory, as app:")
    }
}

fn shell(line: &str) -> Line {
    Line::new("sh").args(["-c", line])
}

/// The first of so many nodes' ports, which are at the usual distances and all free. They are below those that the system gives away,
/// and others than those of the calls before, whose nodes may not have started yet.
fn free_ports(nodes: u16) -> u16 {
    let is_free = |port: u16| {
        TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
    };
    let all =
        |first: u16| (0..nodes).flat_map(move |node| (0..3).map(move |which| first + node * 10 + which));
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 200).expect("it is small");
    // A step that meets each of the 200 before it meets one again.
    let begin = own + CALLS.fetch_add(1, Ordering::Relaxed) % 200 * 37;
    let mut candidates = (0..200).map(|i| 10_000 + (begin + i) % 200 * 100);
    let free = candidates.find(|first| all(*first).all(is_free));
    free.expect("some ports are free")
}

#[test]
fn a_node_that_was_made_serves_its_clients_as_printed_and_nobody_else() {
    let made = Made::new(1, &[]);
    let nodes = made.start("Start the node:");
    let [produce, consume] = made.as_app()[..] else {
        panic!("there are other lines: {}", made.printed);
    };
    assert_eq!(shell(produce).run().text(), "1 record at offsets 0..1\n");
    assert_eq!(shell(consume).run().text(), "hello\n");
    let by_environment = made.lines("The same, said once:").join("\n");
    assert_eq!(
        shell(&by_environment).run().text(),
        "1 record at offsets 1..2\nhello\nhello\n"
    );

    let contexts = made.directory.path().join("contexts");
    let by_name =
        made.lines("Or, for good: the line that follows makes a context (`annals context --help`):");
    let line = format!(
        "export ANNALS_CONFIG_DIR='{}'\n{}",
        contexts.display(),
        by_name.join("\n")
    );
    let said = shell(&line).run().text();
    let file = contexts.join("contexts.toml");
    let wanted = format!(
        "context \"annals\" is in {}; it is the current one\n1 record at offsets 2..3\nhello\nhello\nhello\n",
        file.display()
    );
    assert_eq!(said, wanted);

    let [status] = made.lines("As admin:")[..] else {
        panic!("there are other lines: {}", made.printed);
    };
    assert!(shell(status).run().text().contains("node-0"));
    let trim = |line: &str, verb: &str| shell(&line.replace(verb, " log trim --below 1 ")).run();
    let denied = trim(consume, " consume ");
    let said = denied.refused(REFUSED);
    assert!(
        said.contains("hint: an operator allows it by this line in the file that acl.policy names: p, annals://annals/client/app, log, admin"),
        "{said}"
    );
    trim(status, " cluster status ").done();

    let (without, _) = consume.split_once(" --cert ").expect("it shows a certificate");
    let nobody = shell(without).run();
    let said = nobody.refused(REFUSED);
    assert!(
        said.contains("it wants a certificate")
            && said.contains("hint: show who you are: --cert FILE and --key FILE"),
        "{said}"
    );
    let (without, _) = consume.split_once(" --ca ").expect("it speaks TLS");
    let said = shell(without).run();
    assert!(
        said.refused(REFUSED).contains("the node wants TLS"),
        "{}",
        said.err
    );
    drop(nodes);
}

#[test]
fn three_nodes_that_were_made_found_a_cluster_and_give_out_what_one_took() {
    let made = Made::new(3, &["--nodes", "3", "--cluster", "orders", "--client", "root"]);
    let nodes = made.start("Start the nodes, each in a terminal of its own, in any order:");
    assert_eq!(nodes.len(), 3);
    let [produce, consume] = made.as_app()[..] else {
        panic!("there are other lines: {}", made.printed);
    };
    assert!(produce.contains(&nodes[0].rpc), "{produce}");
    assert!(consume.contains(&nodes[2].rpc), "{consume}");
    assert_eq!(shell(produce).run().text(), "1 record at offsets 0..1\n");
    // A stream starts with what the node that is asked knows to be committed, and that may be a moment old.
    let linearizable = format!("{consume} --level linearizable");
    assert_eq!(shell(&linearizable).run().text(), "hello\n");
    let [status] = made.lines("As root:")[..] else {
        panic!("there are other lines: {}", made.printed);
    };
    let status = shell(status).run().text();
    for node in ["cluster  orders ", "node-0 ", "node-1 ", "node-2 "] {
        assert!(status.contains(node), "{node}: {status}");
    }
}
