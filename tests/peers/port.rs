//! Clients and peers on one port.

use annals::{
    consensus::links::{FIRST_BYTE, Lane},
    net::Options,
    proto::{
        log::v1::{GetServersRequest, log_client::LogClient},
        peer::{GreetRequest, peer_service_client::PeerServiceClient},
    },
    types::NodeId,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, transport::Endpoint};

use crate::support::{CLUSTER, Node, Stage, within};

async fn client(node: &Node) -> tonic::transport::Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", node.rpc)).unwrap();
    within("a client's connection", endpoint.connect()).await.unwrap()
}

#[tokio::test]
async fn clients_are_served_beside_peers_and_find_nothing_of_theirs() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    one.until_connected(two.id).await;
    let channel = client(&two).await;
    let servers = LogClient::new(channel.clone())
        .get_servers(GetServersRequest {})
        .await
        .unwrap();
    assert_eq!(servers.into_inner().servers.len(), 1);
    let status = PeerServiceClient::new(channel)
        .greet(GreetRequest {})
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn bytes_that_are_no_protocol_end_their_connection_alone() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    one.until_connected(two.id).await;
    for garbage in [&[FIRST_BYTE, 0xff, 0xff][..], &b"\0\xff garbage"[..]] {
        let mut stream = TcpStream::connect(two.rpc).await.unwrap();
        let mut sent = garbage.to_vec();
        sent.resize(100, 0xff);
        stream.write_all(&sent).await.unwrap();
        let mut heard = Vec::new();
        let ended = within("the end of the connection", stream.read_to_end(&mut heard)).await;
        drop(ended);
    }
    let channel = client(&two).await;
    LogClient::new(channel)
        .get_servers(GetServersRequest {})
        .await
        .unwrap();
    assert!(one.links().channel(two.id, Lane::Control).await.is_ok());
}

#[tokio::test]
async fn peers_get_in_when_clients_have_taken_every_place() {
    let stage = Stage::new();
    let one = stage.node(1).await;
    let few = |options: &mut Options| options.connections_max = 2;
    let two = Node::start(&stage, NodeId(2), CLUSTER, few).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = LogClient::new(client(&two).await);
        client.get_servers(GetServersRequest {}).await.unwrap();
        clients.push(client);
    }
    let mut more = LogClient::new(
        Endpoint::from_shared(format!("http://{}", two.rpc))
            .unwrap()
            .connect_lazy(),
    );
    assert!(
        within("a refusal", more.get_servers(GetServersRequest {}))
            .await
            .is_err()
    );
    stage.move_to(2, two.rpc.to_string());
    one.until_connected(two.id).await;
}
