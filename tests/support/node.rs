//! A real node in a System on a thread of its own, at ports of its own.

use std::{
    fs,
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_rt::System;
use annals::{
    actors::{
        log::Describe,
        membership::{ClusterOptions, GossipRing, GossipTiming},
        raft::VoterRules,
        replicator::faults::LinkFaults,
        supervision::{Ending, Part, PartStatus, Reply, State, Timing},
    },
    net,
    node::{Addresses, ClusterSetup, Node, NodeControl, NodeOptions, NodeRefs},
    proto::annals::v1::{
        cluster_service_client::ClusterServiceClient, cursor_service_client::CursorServiceClient,
        log_service_client::LogServiceClient,
    },
    storage::{
        LogOptions, Retention,
        data_dir::{DataDir, Identity},
        fs::{FileSystem, RealFileSystem},
        has_been_used,
    },
    types::{ClusterId, NodeId},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::{interval, timeout},
};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::{
    log_lines::LogLines,
    tls::{Credentials, endpoint},
};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// How often a condition is looked at that nobody tells the change of.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The same for all nodes here.
const NODE_NAME: &str = "node-0";

/// Waits for `answer`; panics when it does not come.
pub(crate) async fn in_time<F: Future>(what: &str, answer: F) -> F::Output {
    let in_time = timeout(DEADLINE, answer).await;
    in_time.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Waits until `holds`; panics when it never does.
pub(crate) async fn until<F>(what: &str, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let mut looks = interval(LOOK_EVERY);
    let held = async {
        loop {
            looks.tick().await;
            if holds().await {
                return;
            }
        }
    };
    in_time(what, held).await;
}

/// Where a node keeps its data, over several of its lives.
#[derive(Debug)]
pub(crate) struct Place {
    name: String,
    /// The node is a cluster by itself.
    alone: bool,
    directory: TempDir,
    file_system: Arc<dyn FileSystem>,
    /// Where its certificate comes from; `None`: nothing is encrypted.
    credentials: Option<Arc<Credentials>>,
    /// Whose certificate it has; `None`: its own.
    certified_as: Option<String>,
}

impl Place {
    /// On the machine's disk.
    pub(crate) fn real() -> Self {
        Self::on(Arc::new(RealFileSystem))
    }

    /// On another disk. The lock is on the machine's all the same.
    pub(crate) fn on(file_system: Arc<dyn FileSystem>) -> Self {
        Self {
            name: NODE_NAME.to_owned(),
            alone: true,
            directory: tempfile::tempdir().expect("the machine has a disk"),
            file_system,
            credentials: None,
            certified_as: None,
        }
    }

    /// That of a node of this name, which comes to a cluster of several.
    pub(crate) fn among_others(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            alone: false,
            ..self
        }
    }

    /// That of a node that has TLS.
    pub(crate) fn secured(self, credentials: &Arc<Credentials>) -> Self {
        Self {
            credentials: Some(credentials.clone()),
            ..self
        }
    }

    /// That of a node that has the certificate of another one.
    pub(crate) fn certified_as(self, name: &str) -> Self {
        Self {
            certified_as: Some(name.to_owned()),
            ..self
        }
    }

    /// Where its certificate comes from.
    pub(crate) fn credentials(&self) -> Option<&Arc<Credentials>> {
        self.credentials.as_ref()
    }

    /// The node that has lived here, or the one that will.
    pub(crate) fn identity(&self) -> Identity {
        let data_dir = DataDir::open(self.file_system.clone(), self.directory.path(), NODE_NAME);
        data_dir
            .expect("the node before has let go of the directory")
            .identity()
            .clone()
    }

    /// A copy of the data of a node that does not run.
    pub(crate) fn copy(&self) -> Self {
        let directory = tempfile::tempdir().expect("the machine has a disk");
        copy_files(self.directory.path(), directory.path()).expect("it can be copied");
        Self {
            name: self.name.clone(),
            alone: self.alone,
            directory,
            file_system: self.file_system.clone(),
            credentials: self.credentials.clone(),
            certified_as: self.certified_as.clone(),
        }
    }

    /// The same data as another disk shows it.
    pub(crate) fn seen_through(self, file_system: Arc<dyn FileSystem>) -> Self {
        Self { file_system, ..self }
    }

    /// Where the log is.
    pub(crate) fn log_directory(&self) -> PathBuf {
        self.directory.path().join("logs").join("default")
    }

    /// What a node here is made from: small segments, quick restarts, no patience lost.
    fn options(&self) -> (NodeOptions, DataDir) {
        let open = if self.alone {
            DataDir::open
        } else {
            DataDir::open_without_cluster
        };
        let data_dir = open(self.file_system.clone(), self.directory.path(), &self.name)
            .expect("the node before has let go of the directory");
        let directory = data_dir.log_dir("default").expect("the disk is well so far");
        let has_data = has_been_used(&*self.file_system, &directory).expect("it can be listed");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = NodeOptions {
            node_name: self.name.clone(),
            file_system: self.file_system.clone(),
            log: LogOptions {
                directory,
                cluster_id: data_dir.identity().cluster_id.unwrap_or(ClusterId(0)),
                segment_bytes: 1 << 20,
                segment_age_ms: u64::MAX,
                tail_cache_bytes: 64 << 10,
                open_files_max: 4,
                prezero_bytes_per_second: 0,
            },
            free_bytes_min: 0,
            retention: Retention::default(),
            retention_every: Duration::from_millis(20),
            consensus: annals::consensus::Timing::default(),
            scrub: annals::actors::raft::ScrubPace::default(),
            cluster: alone(),
            has_data,
            policy: None,
            gossip_key_file: None,
            net: net::Options {
                rpc_address: any_port,
                admin_address: any_port,
                batch_bytes_max: 64 << 10,
                admission_bytes: 4 << 20,
                request_timeout: DEADLINE,
                drain_timeout: Duration::from_secs(2),
                ..net::Options::default()
            },
            tls: self
                .credentials
                .as_ref()
                .map(|credentials| credentials.node(self.certified_as.as_ref().unwrap_or(&self.name))),
            timing: Timing {
                back_off_min: Duration::from_millis(10),
                back_off_max: Duration::from_millis(20),
                // No test here is about a machine so busy that a thread does not get to run for a while.
                stuck_after: DEADLINE,
                ..Timing::default()
            },
        };
        (options, data_dir)
    }
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let copy = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy_files(&file.path(), &copy)?;
        } else {
            fs::copy(file.path(), copy)?;
        }
    }
    Ok(())
}

/// A node that is a cluster by itself and does not gossip.
fn alone() -> ClusterSetup {
    ClusterSetup {
        gossip: ClusterOptions {
            name: "annals".to_owned(),
            seeds: Vec::new(),
            gossip_keys: GossipRing::new(None),
            advertise: None,
        },
        listen: None,
        gossip_timing: GossipTiming::default(),
        initial_members: vec![NODE_NAME.to_owned()],
        alone: true,
        voters: VoterRules {
            voters_max: 5,
            stable_for: Duration::from_secs(10),
        },
        faults: LinkFaults::new(),
    }
}

/// A node that has started.
pub(crate) struct TestNode {
    pub(crate) id: NodeId,
    pub(crate) control: NodeControl,
    pub(crate) refs: NodeRefs,
    pub(crate) addresses: Addresses,
    pub(crate) lines: LogLines,
    /// How it is called.
    caller: Option<ClientTlsConfig>,
    /// Told once it serves; dropped when it ends without.
    ready: oneshot::Receiver<()>,
    ending: oneshot::Receiver<Option<Ending>>,
    /// Dropped to end the node in the middle of whatever it does.
    life: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl TestNode {
    /// Starts a node and waits until it serves.
    pub(crate) async fn start(place: &Place) -> Self {
        Self::start_with(place, |_| ()).await
    }

    /// The same, with other options.
    pub(crate) async fn start_with(place: &Place, adjust: impl FnOnce(&mut NodeOptions)) -> Self {
        let mut node = Self::begin_with(place, LogLines::new(), adjust).await;
        node.until_ready().await;
        node
    }

    /// Starts a node and waits until it takes connections, which may be before it knows who leads.
    pub(crate) async fn start_bound(place: &Place) -> Self {
        Self::begin_with(place, LogLines::new(), |_| ()).await
    }

    /// Starts a node that ends by itself before it leads, and answers how. It may have taken connections.
    pub(crate) async fn start_that_fails(place: &Place) -> Ending {
        match Self::launch(place, LogLines::new(), |_| ()).await {
            Ok(node) => node.ended().await,
            Err((ending, _)) => ending.expect("nobody killed it"),
        }
    }

    /// Starts a node and waits until its addresses are bound.
    pub(crate) async fn begin_with(
        place: &Place,
        lines: LogLines,
        adjust: impl FnOnce(&mut NodeOptions),
    ) -> Self {
        let begun = Self::launch(place, lines, adjust).await;
        begun.unwrap_or_else(|(_, lines)| panic!("the node did not start: {:#?}", lines.all()))
    }

    async fn launch(
        place: &Place,
        lines: LogLines,
        adjust: impl FnOnce(&mut NodeOptions),
    ) -> Result<Self, (Option<Ending>, LogLines)> {
        let (mut options, data_dir) = place.options();
        adjust(&mut options);
        let caller = place.credentials().map(|credentials| credentials.client("app"));
        let id = data_dir.identity().node_id;
        let logger = lines.logger();
        let (bound_sender, bound) = oneshot::channel();
        let (ready_sender, ready) = oneshot::channel();
        let (ending_sender, ending) = oneshot::channel();
        let (life, killed) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("node".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("the machine has threads");
            let handle = runtime.handle().clone();
            let system = System::with_tokio_rt(move || runtime);
            let ending = system.block_on(async move {
                let node = Node::start(options, data_dir, &handle, &logger).unwrap();
                let lives = async {
                    drop(bound_sender.send((node.control(), node.refs().clone(), node.bound().await)));
                    if node.ready().await.is_some() {
                        // Nobody may be waiting.
                        ready_sender.send(()).unwrap_or(());
                    }
                    node.wait().await
                };
                tokio::select! {
                    ending = lives => Some(ending),
                    _ = killed => None,
                }
            });
            if ending.is_none() {
                System::current().stop();
                system.run().expect("it was stopped by us");
            }
            // The data directory is free again, so whoever hears of the end may start the next node.
            drop(ending_sender.send(ending));
        });
        let thread = thread.expect("the machine has threads");
        let (control, refs, addresses) = in_time("the start of the node", bound)
            .await
            .expect("the node's thread does not panic");
        let Some(addresses) = addresses else {
            let ending = in_time("the end of the node", ending).await;
            return Err((ending.expect("the node's thread does not panic"), lines));
        };
        Ok(Self {
            id,
            control,
            refs,
            addresses,
            lines,
            caller,
            ready,
            ending,
            life,
            thread,
        })
    }

    /// Waits until the node serves; once.
    pub(crate) async fn until_ready(&mut self) {
        let ready = in_time("the node to be ready", &mut self.ready).await;
        assert!(ready.is_ok(), "the node did not start: {:#?}", self.lines.all());
    }

    /// Ends the node in the middle of whatever it does, as far as that can be done inside a process: nothing is handed
    /// over, drained or synced. Answers once its directory is free.
    pub(crate) async fn kill(self) {
        let Self {
            life,
            ending,
            thread,
            refs,
            ..
        } = self;
        drop(life);
        in_time("the end of a node that was killed", ending)
            .await
            .expect("its thread does not panic");
        joined(thread).await;
        // The log has a thread of its own, which ends behind what it is writing.
        until("the end of the log's thread", async || {
            let (reply, _) = Reply::channel();
            refs.log.post(Describe { reply }).is_err()
        })
        .await;
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.endpoint().connect_lazy())
    }

    /// A client of its cursors.
    pub(crate) fn cursors(&self) -> CursorServiceClient<Channel> {
        CursorServiceClient::new(self.endpoint().connect_lazy())
    }

    /// A client of its log; what it has not read yet, the node holds back from so many bytes on.
    pub(crate) fn client_with_window(&self, bytes: u32) -> LogServiceClient<Channel> {
        let endpoint = self
            .endpoint()
            .initial_stream_window_size(bytes)
            .initial_connection_window_size(bytes);
        LogServiceClient::new(endpoint.connect_lazy())
    }

    /// A client of the cluster, with a connection of its own.
    pub(crate) fn cluster_client(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.endpoint().connect_lazy())
    }

    fn endpoint(&self) -> Endpoint {
        endpoint(&self.addresses.rpc.to_string(), self.caller.as_ref())
    }

    /// Asks the node to stop, and waits until it has.
    pub(crate) async fn shut_down(self) -> Ending {
        self.control.shutdown().await;
        self.ended().await
    }

    /// Waits until the node has ended by itself.
    pub(crate) async fn ended(self) -> Ending {
        let ending = in_time("the end of the node", self.ending).await;
        let ending = ending.unwrap_or_else(|_| panic!("the node's thread died: {:#?}", self.lines.all()));
        joined(self.thread).await;
        ending.expect("nobody killed it")
    }

    /// What the tree says about a part; a segment is told of with its log.
    pub(crate) async fn status_of(&self, part: Part) -> PartStatus {
        let status = self.control.status().await;
        let found = status.into_iter().find(|status| status.part == part);
        found.unwrap_or_else(|| panic!("the node has ended: {:#?}", self.lines.all()))
    }

    /// Waits until that generation of the part, or a later one, runs.
    pub(crate) async fn until_running(&self, part: Part, generation: u64) {
        until(&format!("generation {generation} of the {part}"), async || {
            let status = self.status_of(part).await;
            status.generation >= generation && status.state == State::Running
        })
        .await;
    }

    /// `GET path` at the admin address: status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
        let exchange = async {
            let mut connection = TcpStream::connect(self.addresses.admin).await?;
            connection.write_all(request.as_bytes()).await?;
            let mut response = String::new();
            connection.read_to_string(&mut response).await?;
            std::io::Result::Ok(response)
        };
        let response = in_time("an answer of the admin address", exchange).await;
        let response = response.expect("the admin address answers");
        let (head, body) = response
            .split_once("\r\n\r\n")
            .expect("HTTP has a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("HTTP has a status"), body.to_owned())
    }
}

async fn joined(thread: JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    joined
        .expect("joining does not panic")
        .expect("nor does the node's thread");
}
