//! Nodes of the cluster's authority that call as other nodes than they are.
//!
//! The bug: a peer's certificate had to be that of a node, and of any, so that whoever had one (that of a node which was removed, say) made
//! the leader give up its office or removed another node, in the name of that, and read whatever the log had.

use std::{io, net::SocketAddr, sync::Arc};

use annals::{
    actors::{
        raft::{ChangeMember, MemberChange},
        replicator::faults::Cut,
        supervision::Reply,
    },
    proto::peer::{self, peer_service_client::PeerServiceClient},
    types::NodeId,
};
use futures::stream;
use rustls::pki_types::ServerName;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    appending::Appender,
    speaking::{PEER, Speaker},
    support::{
        certs::node,
        cluster::{Cluster, Port, patient},
        node::{in_time, until},
        tls::{CLUSTER, Credentials},
    },
};

/// A node that there is not.
const NOBODY: NodeId = NodeId(999);

/// A connection as peers make them, by other code than the replicators'.
async fn as_peer(speaker: &Speaker, address: SocketAddr) -> Channel {
    let config = Arc::new(speaker.config());
    let connector = tower::service_fn(move |_| {
        let connector = TlsConnector::from(config.clone());
        async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(PEER).await?;
            let host = ServerName::try_from("localhost").unwrap();
            let stream = connector.connect(host, stream).await?;
            Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_static("http://peer");
    in_time("a connection", endpoint.connect_with_connector(connector))
        .await
        .unwrap()
}

/// Three nodes that are one cluster, and their authority.
async fn secured() -> (Cluster, Arc<Credentials>) {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let cluster = Cluster::found_secured_by(&credentials, 3, patient).await;
    (cluster, credentials)
}

/// The same, one of which is down; the leader, that one, and somebody with its certificate who has a connection with the leader.
async fn one_is_down() -> (Cluster, usize, usize, Peer) {
    let (mut cluster, credentials) = secured().await;
    let leader = cluster.until_led().await;
    let gone = cluster.follower(leader);
    cluster.kill(gone).await;
    let caller = Peer::certified_as(cluster.name(gone), &credentials, &cluster, leader).await;
    (cluster, leader, gone, caller)
}

/// Removes a member, as an operator does.
async fn remove(cluster: &Cluster, leader: usize, node: NodeId) {
    let (reply, removed) = Reply::channel();
    let change = MemberChange::Remove { node };
    let raft = &cluster.node(leader).refs.raft;
    assert!(raft.post(ChangeMember { change, reply }).is_ok());
    in_time("its removal", removed).await.unwrap();
}

/// Somebody with the certificate of a node, on a connection with another one.
struct Peer {
    client: PeerServiceClient<Channel>,
    cluster_id: String,
    to: NodeId,
    speaker: Speaker,
    address: SocketAddr,
}

impl Peer {
    async fn certified_as(name: &str, credentials: &Credentials, cluster: &Cluster, to: usize) -> Self {
        let believes = &credentials.authority.certificate;
        let address = cluster.node(to).addresses.rpc;
        let speaker = Speaker::new(Some(credentials.sign(&node(name))), believes);
        let channel = as_peer(&speaker, address).await;
        Self {
            speaker,
            address,
            client: PeerServiceClient::new(channel),
            cluster_id: cluster.header(to).await.unwrap().cluster_id,
            to: cluster.id(to),
        }
    }

    fn says<T>(&self, from: NodeId, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in [
            ("annals-cluster-id", self.cluster_id.clone()),
            ("annals-from-node", from.to_string()),
            ("annals-from-incarnation", "1".to_owned()),
            ("annals-to-node", self.to.to_string()),
        ] {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    async fn greet(&self, from: NodeId) -> Result<(), Status> {
        let mut client = self.client.clone();
        let greeting = self.says(from, peer::GreetRequest {});
        let greeted = in_time("an answer", client.greet(greeting));
        greeted.await.map(drop)
    }

    async fn leave(&self, from: NodeId) -> Result<(), Status> {
        let mut client = self.client.clone();
        let wish = self.says(from, peer::LeaveRequest::default());
        let left = in_time("an answer", client.leave(wish));
        left.await.map(drop)
    }

    /// Whether a stream of appends is let in.
    async fn asks_to_append(&self, from: NodeId) -> Result<(), Status> {
        let config = self.speaker.config();
        let connected = in_time("a connection", Appender::connect(self.address, config)).await;
        let cluster_id = u128::from_str_radix(&self.cluster_id, 16).unwrap();
        let hello = peer::AppendsHello {
            cluster_id: cluster_id.to_be_bytes().to_vec().into(),
            from_node: from.get(),
            from_incarnation: 1,
            to_node: self.to.get(),
        };
        connected.unwrap().asks_to_append(hello).await
    }

    /// What each call but the greeting and the wish to leave is answered, by its name.
    async fn asks_for_all(&self, from: NodeId) -> Vec<(&'static str, Result<(), Status>)> {
        let mut client = self.client.clone();
        macro_rules! asks_for {
            ($method:ident, $message:expr) => {{
                let answer = client.$method(self.says(from, $message));
                (
                    stringify!($method),
                    in_time("an answer", answer).await.map(drop),
                )
            }};
        }
        vec![
            ("a stream of appends", self.asks_to_append(from).await),
            asks_for!(append, peer::AppendRequest::default()),
            asks_for!(vote, peer::VoteRequest::default()),
            asks_for!(transfer_leader, peer::TransferLeaderRequest::default()),
            asks_for!(install_snapshot, peer::InstallSnapshotRequest::default()),
            asks_for!(describe, peer::DescribeRequest::default()),
            asks_for!(read_segment, peer::ReadSegmentRequest::default()),
            asks_for!(list_segments, peer::ListSegmentsRequest::default()),
            asks_for!(read_entries, peer::ReadEntriesRequest::default()),
            asks_for!(read_index, peer::ReadIndexRequest::default()),
            asks_for!(propose, stream::empty()),
        ]
    }
}

fn assert_all_refused(answers: &[(&str, Result<(), Status>)], code: Code, why: &str) {
    for (name, answer) in answers {
        let refusal = answer.as_ref().expect_err(name);
        assert_eq!(refusal.code(), code, "{name}: {refusal}");
        assert!(refusal.message().contains(why), "{name}: {refusal}");
    }
}

async fn until_told(cluster: &Cluster, number: usize, line: &str, what: &str) {
    until(what, async || {
        let lines = cluster.node(number).lines.beginning(line);
        lines.iter().any(|line| line.contains(what))
    })
    .await;
}

async fn until_members(cluster: &Cluster, number: usize, wanted: &[NodeId]) {
    until("the membership", async || {
        let state = cluster.node(number).refs.cluster.state();
        state.settled
            && wanted.len() == state.members.len()
            && wanted.iter().all(|id| state.members.contains_key(id))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_calls_as_the_node_that_is_called() {
    let (cluster, credentials) = secured().await;
    let leader = cluster.until_led().await;
    let id = cluster.id(leader);
    for name in ["evil", cluster.name(leader)] {
        let caller = Peer::certified_as(name, &credentials, &cluster, leader).await;
        let why = format!("this is node {id}, and the call says that it comes from node {id}");
        assert_all_refused(
            &[("Greet", caller.greet(id).await)],
            Code::FailedPrecondition,
            &why,
        );
        assert_all_refused(
            &[("Leave", caller.leave(id).await)],
            Code::FailedPrecondition,
            &why,
        );
        assert_all_refused(&caller.asks_for_all(id).await, Code::FailedPrecondition, &why);
    }
    assert_eq!(cluster.until_led().await, leader);
    until_told(
        &cluster,
        leader,
        "refused a peer",
        "the call says that it comes from",
    )
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_calls_as_a_member_with_the_certificate_of_another_node() {
    let (mut cluster, credentials) = secured().await;
    let stopped = cluster.follower(cluster.until_led().await);
    let id = cluster.id(stopped);
    cluster.kill(stopped).await;
    let leader = cluster.until_led_among(&cluster.running()).await;
    let why = format!(
        "node {id}, as which the caller poses, is called {}",
        cluster.name(stopped)
    );
    let other = cluster.name(cluster.follower(leader)).to_owned();
    for name in ["evil", &other] {
        let caller = Peer::certified_as(name, &credentials, &cluster, leader).await;
        assert_all_refused(&[("Leave", caller.leave(id).await)], Code::PermissionDenied, &why);
        assert_all_refused(&caller.asks_for_all(id).await, Code::PermissionDenied, &why);
    }
    let told = "that of annals://annals/node/evil";
    until_told(&cluster, leader, "refused a peer", told).await;
    until_members(&cluster, leader, &[cluster.id(0), cluster.id(1), cluster.id(2)]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_greets_as_a_stopped_node_does_not_keep_it_out() {
    let (mut cluster, credentials) = secured().await;
    let stopped = cluster.follower(cluster.until_led().await);
    let id = cluster.id(stopped);
    cluster.kill(stopped).await;
    let mut callers = Vec::new();
    for number in cluster.running() {
        let caller = Peer::certified_as("evil", &credentials, &cluster, number).await;
        assert_all_refused(
            &[("Greet", caller.greet(id).await)],
            Code::PermissionDenied,
            "is called",
        );
        callers.push(caller);
    }
    // The connections are still open.
    cluster.start(stopped, Port::Other).await;
    cluster.until_level().await;
    drop(callers);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_known_to_nobody_may_greet_and_nothing_else() {
    let (cluster, credentials) = secured().await;
    let leader = cluster.until_led().await;
    for number in [leader, cluster.follower(leader)] {
        let caller = Peer::certified_as("evil", &credentials, &cluster, number).await;
        caller.greet(NOBODY).await.unwrap();
        let why = "node 999, as which annals://annals/node/evil calls, is no member";
        assert_all_refused(
            &[("Leave", caller.leave(NOBODY).await)],
            Code::PermissionDenied,
            why,
        );
        assert_all_refused(&caller.asks_for_all(NOBODY).await, Code::PermissionDenied, why);
        until_told(&cluster, number, "refused a peer", why).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_is_told_so_and_nothing_else_and_comes_back_as_a_new_one() {
    let (mut cluster, credentials) = secured().await;
    let leader = cluster.until_led().await;
    let gone = cluster.follower(leader);
    let old = cluster.id(gone);
    cluster.isolate(gone, Cut::Fail);
    remove(&cluster, leader, old).await;
    let rest: Vec<_> = cluster
        .others(gone)
        .into_iter()
        .map(|number| cluster.id(number))
        .collect();
    until_members(&cluster, leader, &rest).await;
    cluster.faults.heal_all();
    until_told(
        &cluster,
        gone,
        "this node was removed from its cluster",
        "removed",
    )
    .await;
    // With a good certificate.
    let caller = Peer::certified_as(cluster.name(gone), &credentials, &cluster, leader).await;
    let answers = caller.asks_for_all(old).await;
    assert_eq!(
        answers[6].0, "read_segment",
        "the others are for more than members"
    );
    assert_all_refused(&answers[6..], Code::PermissionDenied, "is no member");
    assert_all_refused(
        &[("Leave", caller.leave(old).await)],
        Code::PermissionDenied,
        "is no member",
    );
    drop(caller);
    cluster.kill(gone).await;
    cluster.wipe(gone);
    cluster.start(gone, Port::Other).await;
    assert_ne!(cluster.id(gone), old);
    until_members(&cluster, leader, &[cluster.id(0), cluster.id(1), cluster.id(2)]).await;
    cluster.stop().await;
}

/// What it had open when it was removed went on: it could forward batches for as long as nobody closed the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_has_open_ends_when_it_is_removed() {
    let (cluster, leader, gone, caller) = one_is_down().await;
    let id = cluster.id(gone);
    let opens = async {
        loop {
            let proposals = caller.says(id, stream::pending());
            match caller.client.clone().propose(proposals).await {
                // The leader has not noticed yet that the node itself is gone.
                Err(status) if status.code() == Code::AlreadyExists => {}
                opened => break opened.unwrap().into_inner(),
            }
        }
    };
    let mut answers = in_time("a stream", opens).await;
    remove(&cluster, leader, id).await;
    let ended = in_time("the end of the stream", answers.message())
        .await
        .unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended}");
    assert!(ended.message().contains("is no member"), "{ended}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_is_in_the_audit_trail() {
    let (cluster, leader, gone, caller) = one_is_down().await;
    let id = cluster.id(gone);
    caller.leave(id).await.unwrap();
    let rest: Vec<_> = cluster
        .running()
        .into_iter()
        .map(|number| cluster.id(number))
        .collect();
    until_members(&cluster, leader, &rest).await;
    let line = format!(
        "audit audit=true who=annals://annals/node/{} fingerprint=",
        cluster.name(gone)
    );
    let told = cluster.node(leader).lines.beginning(&line);
    assert_eq!(told.len(), 1, "{told:?}");
    let rest = "object=cluster action=admin verdict=allowed rule=- method=/annals.v1.PeerService/Leave";
    assert!(told[0].contains(rest), "{told:?}");
    cluster.stop().await;
}
