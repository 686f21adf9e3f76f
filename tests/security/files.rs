//! The policy's file is replaced under a running node.

use annals::proto::annals::v1::{
    ConsumeRequest, DescribeLogRequest, ProduceRequest, Record, RecordSet, Start,
    log_service_client::LogServiceClient, start::Position,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::node::{Folder, Node, within};

const CONFIGURATION: &str = "[listen]\nrpc = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
     [acl]\npolicy = \"policy.csv\"\nmode = \"enforce\"\n";
const ALL: &str = "p, anonymous, log, *\n";
const ONLY_DESCRIBE: &str = "p, anonymous, log, describe\n";

fn folder(policy: &str) -> Folder {
    let folder = Folder::new();
    folder.put("annals.toml", CONFIGURATION);
    folder.put("policy.csv", policy);
    folder
}

fn request(value: &'static str) -> ProduceRequest {
    let record = Record {
        value: value.into(),
        ..Record::default()
    };
    ProduceRequest {
        records: Some(RecordSet {
            records: vec![record],
        }),
        ..ProduceRequest::default()
    }
}

fn follow() -> ConsumeRequest {
    ConsumeRequest {
        start: Some(Start {
            position: Some(Position::Offset(0)),
        }),
        follow: true,
        ..ConsumeRequest::default()
    }
}

fn assert_denied(status: &Status) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
}

#[tokio::test]
async fn streams_of_who_lost_the_right_end_within_seconds_and_what_they_send_is_not_stored() {
    let folder = folder(ALL);
    let node = Node::start(&folder).await;
    let mut client = LogServiceClient::new(node.channel().await);

    let mut consumed = client.consume_stream(follow()).await.unwrap().into_inner();
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    requests.send(request("first")).await.unwrap();
    let answers = client.produce_stream(ReceiverStream::new(receiver)).await;
    let mut answers = answers.unwrap().into_inner();
    assert_eq!(within(answers.message()).await.unwrap().unwrap().next_offset, 1);
    assert_eq!(within(consumed.message()).await.unwrap().unwrap().next_offset, 1);

    folder.put("policy.csv", ONLY_DESCRIBE);
    let started = annals::clock::now();
    assert_denied(&within(consumed.message()).await.unwrap_err());
    assert_denied(&within(answers.message()).await.unwrap_err());
    let within_seconds = started.elapsed().as_secs();
    assert!(within_seconds < 5, "it took {within_seconds} s");
    // The stream is gone, or goes with this.
    drop(requests.send(request("late")).await);
    assert_denied(&client.produce(request("another")).await.unwrap_err());
    let described = client.describe_log(DescribeLogRequest::default()).await.unwrap();
    assert_eq!(described.into_inner().high_watermark, 1);
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing_and_is_told_once_until_it_is_right() {
    let folder = folder(ALL);
    let node = Node::start(&folder).await;
    let mut client = LogServiceClient::new(node.channel().await);
    folder.put("policy.csv", "p, anonymous, log, wirte\n");
    node.until_logged("the new policy is wrong").await;
    client.produce(request("kept")).await.unwrap();
    folder.put("policy.csv", ALL);
    node.until_logged("the policy's files are right again").await;
    let told = node.lines.beginning("the new policy is wrong");
    assert!(
        told.len() == 1 && told[0].contains("policy.csv:1: unknown action `wirte`"),
        "{told:#?}"
    );
    folder.put("policy.csv", ONLY_DESCRIBE);
    node.until_logged("another policy is in force").await;
    assert_denied(&client.produce(request("denied")).await.unwrap_err());
}

#[tokio::test]
async fn a_policy_behind_links_is_followed_as_kubernetes_replaces_it() {
    let folder = folder(ALL);
    for (name, policy) in [("one", ALL), ("two", ONLY_DESCRIBE)] {
        std::fs::create_dir(folder.path(name)).unwrap();
        std::fs::write(folder.path(name).join("policy.csv"), policy).unwrap();
    }
    let link = |target: &str| {
        std::os::unix::fs::symlink(target, folder.path("data.next")).unwrap();
        std::fs::rename(folder.path("data.next"), folder.path("..data")).unwrap();
    };
    link("one");
    std::fs::remove_file(folder.path("policy.csv")).unwrap();
    std::os::unix::fs::symlink("..data/policy.csv", folder.path("policy.csv")).unwrap();
    let node = Node::start(&folder).await;
    let mut client = LogServiceClient::new(node.channel().await);
    client.produce(request("kept")).await.unwrap();
    link("two");
    node.until_logged("another policy is in force").await;
    assert_denied(&client.produce(request("denied")).await.unwrap_err());
}

#[tokio::test]
async fn nothing_of_a_call_that_is_denied_is_read() {
    let folder = folder(ONLY_DESCRIBE);
    let node = Node::start(&folder).await;
    let mut client = LogServiceClient::new(node.channel().await);
    // A stream that would never end, and whose first message never comes.
    let (_requests, receiver) = tokio::sync::mpsc::channel(1);
    let denied = within(client.produce_stream(ReceiverStream::new(receiver))).await;
    assert_denied(&denied.unwrap_err());
}
