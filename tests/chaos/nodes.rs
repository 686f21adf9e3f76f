//! The three processes: started, killed, stopped and frozen, and asked who leads.

use std::{fs, net::SocketAddr, path::PathBuf, thread};

use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::{
    doors::{Behind, Doors},
    processes::{Line, Node, addresses::free_addresses, get},
};

/// Of a cluster that can lose one.
pub(crate) const COUNT: usize = 3;

/// The program to prove, where it is not the one that cargo has built.
const PROGRAM_VARIABLE: &str = "PROOF_CLIENT_PROGRAM";

/// Who leads, as the nodes that can be asked say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) node: usize,
    pub(crate) term: u64,
}

/// What a node says about itself.
struct Word {
    id: String,
    term: u64,
    leader: Option<String>,
}

/// Processes of one cluster.
pub(crate) struct Nodes {
    pub(crate) doors: Doors,
    nodes: Vec<Option<Node>>,
    frozen: Option<usize>,
    configurations: Vec<PathBuf>,
    /// How often a process was started that had run before.
    pub(crate) restarts: u32,
    /// The last to go: what the processes write to.
    _directory: TempDir,
}

impl Nodes {
    /// Founds a cluster, and waits until each node listens.
    pub(crate) async fn found() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let doors = Doors::new(COUNT).await;
        let gossip = free_addresses(COUNT);
        let seeds: Vec<_> = gossip.iter().map(SocketAddr::to_string).collect();
        let configuration = |number: usize| {
            let path = directory.path().join(format!("node-{number}.toml"));
            let data = directory.path().join(format!("node-{number}"));
            let text = format!(
                "[node]\nname = \"node-{number}\"\ndata_dir = {:?}\n\
                 [listen]\nrpc = \"127.0.0.1:0\"\ngossip = {:?}\nadmin = \"127.0.0.1:0\"\n\
                 [cluster]\ninitial_members = [\"node-0\", \"node-1\", \"node-2\"]\nseeds = {seeds:?}\nadvertise_rpc = \"{}\"\n\
                 [telemetry]\nlog_format = \"json\"\n",
                data.display().to_string(),
                seeds[number],
                doors.addresses[number],
            );
            fs::write(&path, text).unwrap();
            path
        };
        let configurations: Vec<_> = (0..COUNT).map(configuration).collect();
        let mut nodes = Self {
            doors,
            nodes: (0..COUNT).map(|_| None).collect(),
            frozen: None,
            configurations,
            restarts: 0,
            _directory: directory,
        };
        (0..COUNT).for_each(|number| nodes.start(number));
        nodes.restarts = 0;
        nodes
    }

    /// Starts the process of a node that has none, and waits until it listens.
    pub(crate) fn start(&mut self, number: usize) {
        let program = std::env::var(PROGRAM_VARIABLE);
        let program = program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_annals").to_owned());
        let line = Line::new(&program).arg("agent").arg("--config");
        let node = block_in_place(|| Node::listening(line.arg(&self.configurations[number])));
        let behind = Behind {
            rpc: node.rpc.parse().unwrap(),
            process: node.process.id(),
        };
        self.doors.lead_to(number, Some(behind));
        self.restarts += 1;
        assert!(self.nodes[number].replace(node).is_none(), "it runs already");
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, number: usize) {
        let node = self.nodes[number].take().expect("it runs");
        block_in_place(|| node.process.kill());
        self.doors.lead_to(number, None);
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self, number: usize) {
        let node = self.nodes[number].take().expect("it runs");
        let ended = block_in_place(|| node.process.stop());
        assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
        self.doors.lead_to(number, None);
    }

    /// SIGSTOP: its connections stay, and nothing moves on them.
    pub(crate) fn freeze(&mut self, number: usize) {
        self.node(number).process.signal("STOP");
        self.frozen = Some(number);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&mut self) {
        let number = self.frozen.take().expect("one is frozen");
        self.node(number).process.signal("CONT");
    }

    fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("it runs")
    }

    /// Where a node listens itself, behind its door.
    pub(crate) fn rpc(&self, number: usize) -> String {
        self.node(number).rpc.clone()
    }

    /// Everybody runs and serves.
    pub(crate) fn are_ready(&self) -> bool {
        let is_ready = |node: &Option<Node>| {
            node.as_ref()
                .is_some_and(|node| node.readyz().starts_with("HTTP/1.1 200 "))
        };
        block_in_place(|| self.nodes.iter().all(is_ready))
    }

    /// Who leads in the latest term that any node knows, if another one agrees.
    pub(crate) fn leadership(&self) -> Option<Leadership> {
        let asked = (0..COUNT).filter(|number| self.frozen != Some(*number) && self.nodes[*number].is_some());
        let words: Vec<(usize, Word)> =
            block_in_place(|| asked.map(|number| (number, self.word_of(number))).collect());
        let term = words.iter().map(|(_, word)| word.term).max()?;
        let agree = |id: &String| {
            let of_this_term = words.iter().filter(|(_, word)| word.term == term);
            of_this_term
                .filter(|(_, word)| word.leader.as_ref() == Some(id))
                .count()
                > 1
        };
        let leader = words.iter().find(|(_, word)| agree(&word.id));
        leader.map(|(node, _)| Leadership { node: *node, term })
    }

    fn word_of(&self, number: usize) -> Word {
        let answer = get(&self.node(number).admin, "/status");
        let (_, body) = answer.split_once("\r\n\r\n").expect("there is a body");
        let status: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
        let leadership = &status["leadership"];
        Word {
            id: status["node"]["id"].as_str().expect("it has one").to_owned(),
            term: leadership["term"].as_u64().expect("there is one"),
            leader: leadership["leader"].as_str().map(str::to_owned),
        }
    }

    /// What all of them have logged in their present lives, where the test fails: see `Process`.
    pub(crate) fn assert_no_panics(&self) {
        for node in self.nodes.iter().flatten() {
            let log = node.process.err.text();
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("frozen: {:?}", self.frozen);
        }
    }
}
