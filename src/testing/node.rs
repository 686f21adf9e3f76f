//! A real node in a System on a thread of its own, at ports of its own.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::{
    endpoint::endpoint,
    log_lines::LogLines,
    place::Place,
    thread::NodeThread,
    waiting::{in_time, until},
};
use crate::{
    actors::supervision::{Ending, Part, PartStatus, State},
    node::{Addresses, NodeControl, NodeOptions, NodeRefs},
    proto::annals::v1::{
        cluster_service_client::ClusterServiceClient, cursor_service_client::CursorServiceClient,
        log_service_client::LogServiceClient,
    },
    types::NodeId,
};

/// Under which name a node's clients call it, where they are asked who they are.
const CALLER: &str = "app";

/// A node that has started. Dropping it ends it, as [`TestNode::kill`] does.
#[derive(Debug)]
pub struct TestNode {
    /// Which node it is, for as long as it keeps its data.
    pub id: NodeId,
    /// Steers it.
    pub control: NodeControl,
    /// Its actors, and what they publish.
    pub refs: NodeRefs,
    /// Where it listens.
    pub addresses: Addresses,
    /// What it logs.
    pub lines: LogLines,
    /// How it is called.
    caller: Option<ClientTlsConfig>,
    /// Told once it serves; dropped when it ends without.
    ready: oneshot::Receiver<()>,
    thread: NodeThread,
}

impl TestNode {
    /// Starts a node and waits until it serves.
    ///
    /// Panics: it does not.
    pub async fn start(place: &Place) -> Self {
        Self::start_with(place, |_| ()).await
    }

    /// The same, with other options.
    ///
    /// Panics: it does not serve.
    pub async fn start_with(place: &Place, adjust: impl FnOnce(&mut NodeOptions)) -> Self {
        let mut node = Self::begin_with(place, LogLines::new(), adjust).await;
        node.until_ready().await;
        node
    }

    /// Starts a node and waits until it takes connections, which may be before it knows who leads.
    ///
    /// Panics: it ends instead.
    pub async fn start_bound(place: &Place) -> Self {
        Self::begin_with(place, LogLines::new(), |_| ()).await
    }

    /// Starts a node that ends by itself before it leads, and answers how. It may have taken connections.
    ///
    /// Panics: it goes on.
    pub async fn start_that_fails(place: &Place) -> Ending {
        match Self::launch(place, LogLines::new(), |_| ()).await {
            Ok(node) => node.ended().await,
            Err((ending, _)) => ending,
        }
    }

    /// Starts a node and waits until its addresses are bound.
    ///
    /// Panics: it ends instead.
    pub async fn begin_with(place: &Place, lines: LogLines, adjust: impl FnOnce(&mut NodeOptions)) -> Self {
        let begun = Self::launch(place, lines, adjust).await;
        begun.unwrap_or_else(|(ending, lines)| {
            panic!("the node did not start: {ending:?}: {:#?}", lines.all())
        })
    }

    async fn launch(
        place: &Place,
        lines: LogLines,
        adjust: impl FnOnce(&mut NodeOptions),
    ) -> Result<Self, (Ending, LogLines)> {
        let (mut options, data_dir) = place.options();
        adjust(&mut options);
        let certificates = place.certificates();
        let caller = certificates.map(|certificates| certificates.of_client(CALLER));
        let id = data_dir.identity().node_id;
        let (mut thread, starting) = NodeThread::spawn(options, data_dir, lines.logger());
        let bound = in_time("the start of the node", starting.bound).await;
        let Ok((control, refs, addresses)) = bound else {
            panic!("the node's thread panicked: {:#?}", lines.all());
        };
        thread.knows(&refs);
        let Some(addresses) = addresses else {
            let ending = thread.ended().await;
            return Err((ending.expect("the node's thread does not panic"), lines));
        };
        Ok(Self {
            id,
            control,
            refs,
            addresses,
            lines,
            caller,
            ready: starting.ready,
            thread,
        })
    }

    /// Waits until the node serves; once.
    ///
    /// Panics: it ends instead.
    pub async fn until_ready(&mut self) {
        let ready = in_time("the node to be ready", &mut self.ready).await;
        assert!(ready.is_ok(), "the node did not start: {:#?}", self.lines.all());
    }

    /// Ends the node in the middle of whatever it does, as far as that can be done inside a process: nothing is handed
    /// over, drained or synced. Answers once its directory is free.
    ///
    /// Panics: it does not end.
    pub async fn kill(self) {
        self.thread.killed().await;
    }

    /// Lets it begin to end, as a kill does, for whoever drops it soon.
    pub(super) fn strike(&mut self) {
        self.thread.strike();
    }

    /// A client with a connection of its own.
    #[must_use]
    pub fn client(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.endpoint().connect_lazy())
    }

    /// A client of its cursors.
    #[must_use]
    pub fn cursors(&self) -> CursorServiceClient<Channel> {
        CursorServiceClient::new(self.endpoint().connect_lazy())
    }

    /// The same; what it has not read yet, the node holds back from so many bytes on.
    #[must_use]
    pub fn client_with_window(&self, bytes: u32) -> LogServiceClient<Channel> {
        let endpoint = self
            .endpoint()
            .initial_stream_window_size(bytes)
            .initial_connection_window_size(bytes);
        LogServiceClient::new(endpoint.connect_lazy())
    }

    /// A client of the cluster, with a connection of its own.
    #[must_use]
    pub fn cluster_client(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.endpoint().connect_lazy())
    }

    /// The way to it, for other clients.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        endpoint(&self.addresses.rpc.to_string(), self.caller.as_ref())
    }

    /// Asks the node to stop, and waits until it has.
    ///
    /// Panics: it does not.
    pub async fn shut_down(self) -> Ending {
        self.control.shutdown().await;
        self.ended().await
    }

    /// Waits until the node has ended by itself.
    ///
    /// Panics: it does not.
    pub async fn ended(self) -> Ending {
        let ending = self.thread.ended().await;
        ending.unwrap_or_else(|| panic!("the node's thread panicked: {:#?}", self.lines.all()))
    }

    /// What the supervision tree says about a part; a segment is told of with its log.
    ///
    /// Panics: the node has ended.
    pub async fn status_of(&self, part: Part) -> PartStatus {
        let status = self.control.status().await;
        let found = status.into_iter().find(|status| status.part == part);
        found.unwrap_or_else(|| panic!("the node has ended: {:#?}", self.lines.all()))
    }

    /// Waits until that generation of the part, or a later one, runs.
    ///
    /// Panics: it does not.
    pub async fn until_running(&self, part: Part, generation: u64) {
        until(&format!("generation {generation} of the {part}"), async || {
            let status = self.status_of(part).await;
            status.generation >= generation && status.state == State::Running
        })
        .await;
    }

    /// `GET path` at the admin address: status and body.
    ///
    /// Panics: it does not answer in HTTP.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let exchange = async {
            let mut connection = TcpStream::connect(self.addresses.admin).await?;
            connection.write_all(request.as_bytes()).await?;
            let mut response = String::new();
            connection.read_to_string(&mut response).await?;
            io::Result::Ok(response)
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
