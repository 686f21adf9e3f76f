//! The policy's file is replaced under a running node.

use std::path::PathBuf;

use annals::proto::annals::v1::{
    ConsumeRequest, DescribeLogRequest, ProduceRequest, Record, RecordSet, Start,
    log_service_client::LogServiceClient, start::Position,
};
use annals::{config::PolicyFiles, net::authorization::Authorization, node::NodePolicy};
use tempfile::TempDir;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Channel};

use crate::support::{
    node::{Place, TestNode, in_time, until},
    standstills::Standstills,
    tls::{connect, replace},
};

const CANNOT: &str = "cannot reload; what was in force stays so what=policy";
const ALL: &str = "p, anonymous, log, *\n";
const ONLY_DESCRIBE: &str = "p, anonymous, log, describe\n";

/// A directory with a policy.
struct Folder(TempDir);

impl Folder {
    fn new(policy: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put(policy);
        folder
    }

    /// As an operator replaces a file: nobody sees half of it.
    fn put(&self, policy: &str) {
        replace(&self.path("policy.csv"), policy);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A node that enforces the policy, without TLS: everybody is anonymous.
    async fn node(&self) -> TestNode {
        let files = PolicyFiles {
            policy: self.path("policy.csv"),
            model: None,
        };
        let authorization = Authorization {
            acl: files.open().unwrap(),
            shadow: false,
        };
        let policy = NodePolicy { authorization, files };
        TestNode::start_with(&Place::real(), |options| options.policy = Some(policy)).await
    }
}

fn client(node: &TestNode) -> LogServiceClient<Channel> {
    LogServiceClient::new(connect(&node.addresses.rpc.to_string(), None))
}

async fn until_logged(node: &TestNode, start: &str) {
    until(start, async || !node.lines.beginning(start).is_empty()).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_who_lost_the_right_end_within_seconds_and_what_they_send_is_not_stored() {
    let folder = Folder::new(ALL);
    let node = folder.node().await;
    let mut client = client(&node);

    let mut consumed = client.consume_stream(follow()).await.unwrap().into_inner();
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    requests.send(request("first")).await.unwrap();
    let answers = client.produce_stream(ReceiverStream::new(receiver)).await;
    let mut answers = answers.unwrap().into_inner();
    assert_eq!(
        in_time("an answer", answers.message())
            .await
            .unwrap()
            .unwrap()
            .next_offset,
        1
    );
    assert_eq!(
        in_time("an answer", consumed.message())
            .await
            .unwrap()
            .unwrap()
            .next_offset,
        1
    );

    let standstills = Standstills::watch();
    let started = annals::clock::now();
    folder.put(ONLY_DESCRIBE);
    assert_denied(&in_time("an answer", consumed.message()).await.unwrap_err());
    assert_denied(&in_time("an answer", answers.message()).await.unwrap_err());
    let took = standstills.ran_since(started);
    assert!(took.as_secs() < 5, "it took {took:?}");
    // The stream is gone, or goes with this.
    drop(requests.send(request("late")).await);
    assert_denied(&client.produce(request("another")).await.unwrap_err());
    let described = client.describe_log(DescribeLogRequest::default()).await.unwrap();
    assert_eq!(described.into_inner().high_watermark, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_wrong_changes_nothing_and_is_told_once_until_it_is_right() {
    let folder = Folder::new(ALL);
    let node = folder.node().await;
    let mut client = client(&node);
    folder.put("p, anonymous, log, wirte\n");
    until_logged(&node, CANNOT).await;
    client.produce(request("kept")).await.unwrap();
    folder.put(ALL);
    until_logged(&node, "reloaded what=policy changed=nothing").await;
    let told = node.lines.beginning(CANNOT);
    assert!(
        told.len() == 1 && told[0].matches("policy.csv:1: unknown action `wirte`").count() == 1,
        "{told:#?}"
    );
    folder.put(ONLY_DESCRIBE);
    until_logged(&node, "reloaded what=policy changed=1 rule of").await;
    assert_denied(&client.produce(request("denied")).await.unwrap_err());
    let (_, status) = node.get("/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let expected = serde_json::json!({"mode": "enforce", "rules": 1, "reloads": 1, "reload_failures": 1});
    assert_eq!(status["acl"], expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_behind_links_is_followed_as_kubernetes_replaces_it() {
    let folder = Folder::new(ALL);
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
    let node = folder.node().await;
    let mut client = client(&node);
    client.produce(request("kept")).await.unwrap();
    link("two");
    until_logged(&node, "reloaded what=policy changed=1 rule of").await;
    assert_denied(&client.produce(request("denied")).await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_call_that_is_denied_is_read() {
    let folder = Folder::new(ONLY_DESCRIBE);
    let node = folder.node().await;
    let mut client = client(&node);
    // A stream that would never end, and whose first message never comes.
    let (_requests, receiver) = tokio::sync::mpsc::channel(1);
    let denied = in_time("an answer", client.produce_stream(ReceiverStream::new(receiver))).await;
    assert_denied(&denied.unwrap_err());
}
