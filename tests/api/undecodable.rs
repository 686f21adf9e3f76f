//! Bytes that are no message of the method.

use annals::proto::annals::v1::{AddServerRequest, NodeRef, ProduceResponse};
use futures::stream;
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::support::{Doors, code_and_reason, node};

/// A message of another method: its fields have other types than those that are asked for.
fn other() -> AddServerRequest {
    AddServerRequest {
        log: "default".to_owned(),
        node: Some(NodeRef {
            node_id: 7,
            name: "node-7".to_owned(),
        }),
        learner: true,
    }
}

/// What a call of that method is told, one with a stream of requests if need be.
async fn told(node: &Doors, path: &'static str, streams: bool) -> Status {
    let channel = Channel::from_shared(format!("http://{}", node.rpc)).unwrap();
    let mut grpc = Grpc::new(channel.connect().await.unwrap());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    let codec = ProstCodec::<AddServerRequest, ProduceResponse>::default();
    if streams {
        let requests = Request::new(stream::iter([other()]));
        match grpc.streaming(requests, path, codec).await {
            Ok(answers) => answers.into_inner().message().await.unwrap_err(),
            Err(status) => status,
        }
    } else {
        grpc.unary(Request::new(other()), path, codec).await.unwrap_err()
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_the_clients_fault_and_is_told_where() {
    let node = node().await;
    let table = [
        ("/annals.v1.LogService/Produce", false, "ProduceRequest.producer"),
        (
            "/annals.v1.LogService/ProduceStream",
            true,
            "ProduceRequest.producer",
        ),
        ("/annals.v1.ClusterService/Trim", false, "TrimRequest.below"),
        ("/log.v1.Log/Consume", false, "ConsumeRequest.offset"),
    ];
    for (path, streams, place) in table {
        let status = told(&node, path, streams).await;
        let wanted = (Code::InvalidArgument, "INVALID_REQUEST".to_owned());
        assert_eq!(code_and_reason(&status), wanted, "{path}: {status:?}");
        for part in [place, "by this version's schema"] {
            assert!(status.message().contains(part), "{path}: {}", status.message());
        }
    }
}
