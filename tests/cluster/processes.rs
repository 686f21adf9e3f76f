//! Three real processes: one is killed as by a power switch, or stands still for a long time.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use annals::proto::annals::v1::{DescribeLogRequest, log_service_client::LogServiceClient};
use tempfile::TempDir;

use crate::{
    one_process::{Node, addresses::free_addresses},
    support::{
        cluster::AT_WORK,
        load::{Kinds, Load, Nodes, read_all_running},
        log_checker::Recorder,
        node::until,
    },
};

/// The longest time without acknowledgements when a leader is killed: two election timeouts as shipped, one more when two nodes
/// stand at the same time, and as much again for a machine that does much else.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// Three processes of one cluster.
struct Processes {
    recorder: Recorder,
    nodes: Nodes,
    running: Vec<Option<Node>>,
    configurations: Vec<PathBuf>,
    _directory: TempDir,
}

impl Processes {
    /// Starts them, and waits until one leads.
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let gossip = free_addresses(3);
        let seeds: Vec<_> = gossip.iter().map(SocketAddr::to_string).collect();
        let configurations = (0..3).map(|number| {
            let path = directory.path().join(format!("node-{number}.toml"));
            let data = directory.path().join(format!("node-{number}"));
            let text = format!(
                r#"[node]
name = "node-{number}"
data_dir = {data:?}
[listen]
rpc = "127.0.0.1:0"
gossip = "{}"
admin = "127.0.0.1:0"
[cluster]
initial_members = ["node-0", "node-1", "node-2"]
seeds = {seeds:?}
[log]
tail_cache_bytes = "8MiB"
[telemetry]
log_format = "json"
"#,
                gossip[number]
            );
            fs::write(&path, text).unwrap();
            path
        });
        let mut processes = Self {
            recorder: Recorder::new(),
            nodes: Nodes::default(),
            running: Vec::new(),
            configurations: configurations.collect(),
            _directory: directory,
        };
        processes.running.resize_with(3, || None);
        for number in 0..3 {
            processes.begin(number);
        }
        processes.until_led(&[0, 1, 2]).await;
        processes
    }

    fn begin(&mut self, number: usize) {
        let node = Node::start(&self.configurations[number]);
        self.nodes.starts(&name(number), node.rpc.parse().unwrap());
        self.running[number] = Some(node);
    }

    fn node(&self, number: usize) -> &Node {
        self.running[number].as_ref().unwrap()
    }

    fn kill(&mut self, number: usize) {
        let node = self.running[number].take().unwrap();
        node.process.kill();
        self.nodes.ends(&name(number));
    }

    /// Whether the node itself says that it leads.
    async fn leads(&self, number: usize) -> bool {
        let url = format!("http://{}", self.node(number).rpc);
        let described = async {
            let mut client = LogServiceClient::connect(url).await.ok()?;
            let described = client.describe_log(DescribeLogRequest::default()).await.ok()?;
            described.into_inner().header
        };
        let header = described.await;
        header.is_some_and(|header| header.leader_id == header.node_id)
    }

    /// Waits until one of these leads, and says which.
    async fn until_led(&self, numbers: &[usize]) -> usize {
        let leader = std::cell::Cell::new(None);
        until("a leader", async || {
            for number in numbers {
                if self.leads(*number).await {
                    leader.set(Some(*number));
                }
            }
            leader.get().is_some()
        })
        .await;
        leader.get().unwrap()
    }

    /// Reads all that each node has, judges everything, and stops the nodes.
    async fn judge(mut self, load: Load) {
        load.finish().await;
        read_all_running(&self.nodes, &self.recorder).await;
        self.recorder.history().assert_kept();
        for node in self.running.drain(..).flatten() {
            let ended = node.process.stop();
            assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
        }
    }
}

fn name(number: usize) -> String {
    format!("node-{number}")
}

/// Bytes of memory that a process uses.
fn resident_bytes(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.process.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_leads_when_the_leader_s_is_killed_and_nothing_acknowledged_is_lost_or_doubled() {
    let mut processes = Processes::start().await;
    let load = Load::begin_on(&processes.nodes, &processes.recorder, Kinds::of_a_cluster());
    load.progresses(AT_WORK).await;
    for _ in 0..2 {
        let leader = processes.until_led(&[0, 1, 2]).await;
        let since = processes.recorder.now();
        processes.kill(leader);
        let others: Vec<_> = (0..3).filter(|number| *number != leader).collect();
        processes.until_led(&others).await;
        load.progresses(AT_WORK).await;
        let history = processes.recorder.history();
        let silence = history.longest_silence(since, processes.recorder.now());
        println!("{silence:?} without a leader");
        assert!(silence < SILENCE_MAX, "{silence:?}");
        processes.begin(leader);
        load.progresses(AT_WORK).await;
    }
    processes.judge(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_stands_still_costs_the_leader_no_memory_and_catches_up() {
    const RECORD_BYTES: usize = 16 << 10;
    /// More than the leader keeps in memory of what is on its disk.
    const WARM_UP: u64 = 56 << 20;
    const WRITTEN_MEANWHILE: u64 = 112 << 20;
    /// What the memory of a process may grow by for other reasons.
    const GROWTH_MAX: u64 = 48 << 20;
    let processes = Processes::start().await;
    let kinds = Kinds {
        record_bytes: RECORD_BYTES,
        tails: 1,
        ..Kinds::of_a_cluster()
    };
    let load = Load::begin_on(&processes.nodes, &processes.recorder, kinds);
    let leader = processes.until_led(&[0, 1, 2]).await;
    load.stores(WARM_UP / RECORD_BYTES as u64).await;
    let before = resident_bytes(processes.node(leader));
    let follower = (0..3).find(|number| *number != leader).unwrap();
    processes.node(follower).process.signal("STOP");
    load.stores(WRITTEN_MEANWHILE / RECORD_BYTES as u64).await;
    let growth = resident_bytes(processes.node(leader)).saturating_sub(before);
    println!("the leader's {} MiB grew by {} MiB", before >> 20, growth >> 20);
    assert!(growth < GROWTH_MAX, "{growth}");
    processes.node(follower).process.signal("CONT");
    processes.judge(load).await;
}
