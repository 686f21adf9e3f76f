//! Who knows nothing of the schema, as grpcurl does not, learns it from the node, and produces and consumes by it.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, prost_types::FileDescriptorProto};
use serde_json::{Value, json};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{
    node::{Place, TestNode, in_time},
    tls::connect,
};

/// Messages of which only the descriptor is known.
struct Dynamic(MessageDescriptor);

struct DynamicEncoder;

struct DynamicDecoder(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder(self.0.clone())
    }
}

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&message.encode_to_vec());
        Ok(())
    }
}

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        Ok(Some(DynamicMessage::decode(self.0.clone(), bytes).unwrap()))
    }
}

/// Asks the node about its schema.
async fn ask(client: &mut ServerReflectionClient<Channel>, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let answers = client
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap();
    let answer = in_time("an answer", answers.into_inner().message())
        .await
        .unwrap()
        .unwrap();
    answer.message_response.unwrap()
}

/// All that the node says of those services, files that theirs stand on included.
async fn learn(channel: &Channel, services: &[&str]) -> DescriptorPool {
    let mut client = ServerReflectionClient::new(channel.clone());
    let MessageResponse::ListServicesResponse(listed) =
        ask(&mut client, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services");
    };
    let listed: BTreeSet<_> = listed.service.into_iter().map(|service| service.name).collect();
    let (mut pool, mut known) = (DescriptorPool::new(), BTreeSet::new());
    for service in services {
        assert!(listed.contains(*service), "{listed:?}");
        let mut wanted = vec![MessageRequest::FileContainingSymbol((*service).to_owned())];
        let mut files: Vec<FileDescriptorProto> = Vec::new();
        while let Some(question) = wanted.pop() {
            let MessageResponse::FileDescriptorResponse(found) = ask(&mut client, question).await else {
                panic!("no file");
            };
            for bytes in found.file_descriptor_proto {
                let file = FileDescriptorProto::decode(&bytes[..]).unwrap();
                if known.insert(file.name().to_owned()) {
                    wanted.extend(
                        file.dependency
                            .iter()
                            .cloned()
                            .map(MessageRequest::FileByFilename),
                    );
                    files.push(file);
                }
            }
        }
        pool.add_file_descriptor_protos(files).unwrap();
    }
    pool
}

/// Calls a method of which only the name is known, with a message written in JSON.
async fn call(
    channel: &Channel,
    pool: &DescriptorPool,
    service: &str,
    method: &str,
    message: Value,
) -> Value {
    let service = pool.get_service_by_name(service).unwrap();
    let method = service.methods().find(|known| known.name() == method).unwrap();
    let message = DynamicMessage::deserialize(method.input(), message).unwrap();
    let path: PathAndQuery = format!("/{}/{}", service.full_name(), method.name())
        .parse()
        .unwrap();
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let answer = grpc.unary(Request::new(message), path, Dynamic(method.output()));
    let answer = in_time("an answer", answer).await.unwrap().into_inner();
    serde_json::to_value(&answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_learns_the_schema_from_the_node_produces_and_consumes_by_it() {
    let node = TestNode::start(&Place::real()).await;
    let channel = connect(&node.addresses.rpc.to_string(), None);
    let (small, full) = ("log.v1.Log", "annals.v1.LogService");
    let pool = learn(&channel, &[small, full]).await;

    let produced = call(
        &channel,
        &pool,
        small,
        "Produce",
        json!({ "record": { "value": "b25l" } }),
    )
    .await;
    // The offset is 0, which proto3 does not write.
    assert_eq!(produced, json!({}));
    let batch = json!({
        "records": { "records": [{ "value": "dHdv", "key": "aw==", "headers": [{ "name": "h", "value": "eA==" }] }] },
        "expectedOffset": "1",
    });
    let produced = call(&channel, &pool, full, "Produce", batch).await;
    assert_eq!(
        (&produced["firstOffset"], &produced["nextOffset"]),
        (&json!("1"), &json!("2"))
    );

    let read = call(&channel, &pool, full, "Consume", json!({})).await;
    assert_eq!(read["nextOffset"], "2");
    assert_eq!(
        read["batches"][1]["records"]["records"][0],
        json!({
            "value": "dHdv", "key": "aw==", "headers": [{ "name": "h", "value": "eA==" }]
        })
    );
    let read = call(&channel, &pool, small, "Consume", json!({ "offset": "1" })).await;
    assert_eq!(
        (&read["record"]["value"], &read["record"]["offset"]),
        (&json!("dHdv"), &json!("1"))
    );
    node.shut_down().await;
}
