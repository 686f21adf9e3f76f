//! Who is let in no longer is out within five seconds: by the policy, which has lost its line, or by its authority, which nobody believes any more;
//! whatever it has open, and however much there is to do for others.

use std::{path::PathBuf, sync::Arc, time::Duration};

use annals::{
    clock,
    config::PolicyFiles,
    net::authorization::Authorization,
    node::NodePolicy,
    proto::annals::v1::{
        ConsumeRequest, DescribeLogRequest, ProduceRequest, ProduceResponse, Record, RecordSet,
        log_service_client::LogServiceClient,
    },
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, ClientTlsConfig},
};

use crate::support::{
    certs::{Cluster, DAY, client, node},
    cluster::AT_WORK,
    load::{ACKNOWLEDGED, Kinds, Load, Nodes},
    log_checker::Recorder,
    node::{Place, TestNode, in_time},
    standstills::Standstills,
    tls::{CLUSTER, Credentials, calling_as, connect, replace},
};

/// The longest that somebody stays who is let in no longer.
const OUT_WITHIN: Duration = Duration::from_secs(5);

const OTHERS: &str = "p, annals://annals/client/load, log, *\n";
const APP: &str = "p, annals://annals/client/app, log, *\n";

/// A node that believes two authorities; clients of the new one are at work on it, and one of the old one is `app`.
struct Stage {
    node: TestNode,
    address: String,
    app: ClientTlsConfig,
    load: Load,
    policy: PathBuf,
    authorities: PathBuf,
    new: Cluster,
    // Behind the node, which ends before its directories go.
    _folders: (Place, TempDir, Arc<Credentials>),
}

impl Stage {
    async fn at_work() -> Self {
        let (old, new) = (Cluster::new(CLUSTER), Cluster::new(CLUSTER));
        let both = format!("{}{}", old.certificate, new.certificate);
        let credentials = Arc::new(Credentials::by(old));
        let files = credentials.files("node-0");
        credentials.put(&files, &new.sign(&node("node-0"), DAY), &both);
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy.csv");
        std::fs::write(&policy, format!("{OTHERS}{APP}")).unwrap();
        let policy_files = PolicyFiles {
            policy: policy.clone(),
            model: None,
        };
        let authorization = Authorization {
            acl: policy_files.open().unwrap(),
            shadow: false,
        };
        let node_policy = NodePolicy {
            authorization,
            files: policy_files,
        };
        let place = Place::real().secured(&credentials);
        let node = TestNode::start_with(&place, |options| options.policy = Some(node_policy)).await;
        let nodes = Nodes::called_as(Some(calling_as(&new.sign(&client("load"), DAY), &both)));
        nodes.starts("node-0", node.addresses.rpc);
        let load = Load::begin_on(&nodes, &Recorder::new(), Kinds::default());
        load.progresses(AT_WORK).await;
        Self {
            address: node.addresses.rpc.to_string(),
            app: calling_as(&credentials.sign(&client("app")), &both),
            node,
            load,
            policy,
            authorities: files.authorities,
            new,
            _folders: (place, folder, credentials),
        }
    }

    fn client(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(connect(&self.address, Some(&self.app)))
    }

    /// Lets `app` do all that it can, revokes its leave, and waits until it is out of everything.
    async fn is_out_once(&self, revoke: impl FnOnce()) -> Vec<Out> {
        let mut producing = Producing::open(self.client()).await;
        let mut idle = Producing::open(self.client()).await;
        let follow = ConsumeRequest {
            follow: true,
            ..ConsumeRequest::default()
        };
        let consuming = self.client().consume_stream(follow).await;
        let mut consuming = consuming.unwrap().into_inner();
        is_told(consuming.message().await).unwrap();
        let (mut unary, mut reading) = (self.client(), self.client());
        unary.produce(request()).await.unwrap();
        reading.consume(ConsumeRequest::default()).await.unwrap();
        let standstills = &Standstills::watch();
        let since = clock::now();
        let ran = &|| standstills.ran_since(since);
        revoke();
        let outs = tokio::join!(
            goes_on("a stream that produces", ran, async || producing.produce().await),
            goes_on("a stream that is silent", ran, async || is_told(
                idle.answers.message().await
            )),
            goes_on("a stream that consumes", ran, async || is_told(
                consuming.message().await
            )),
            goes_on("calls that produce", ran, async || {
                unary.produce(request()).await.map(drop)
            }),
            goes_on("calls that consume", ran, async || {
                reading.consume(ConsumeRequest::default()).await.map(drop)
            }),
            goes_on("new connections", ran, async || {
                let described = self.client().describe_log(DescribeLogRequest::default()).await;
                described.map(drop)
            }),
        );
        vec![outs.0, outs.1, outs.2, outs.3, outs.4, outs.5]
    }

    async fn others_went_on(self) {
        self.load.progresses(AT_WORK).await;
        self.load.finish().await.assert_produced_only(&[ACKNOWLEDGED]);
        self.node.shut_down().await;
    }
}

/// A stream that has stored a record.
struct Producing {
    requests: mpsc::Sender<ProduceRequest>,
    answers: Streaming<ProduceResponse>,
}

impl Producing {
    async fn open(mut client: LogServiceClient<Channel>) -> Self {
        let (requests, taken) = mpsc::channel(1);
        requests.send(request()).await.unwrap();
        let answers = client.produce_stream(ReceiverStream::new(taken)).await;
        let mut answers = answers.unwrap().into_inner();
        is_told(answers.message().await).unwrap();
        Self { requests, answers }
    }

    async fn produce(&mut self) -> Result<(), Status> {
        // Where nobody takes it any more, the answers say why.
        drop(self.requests.send(request()).await);
        is_told(self.answers.message().await)
    }
}

fn request() -> ProduceRequest {
    let records = vec![Record {
        value: "of app".into(),
        ..Record::default()
    }];
    ProduceRequest {
        records: Some(RecordSet { records }),
        ..ProduceRequest::default()
    }
}

fn is_told<T>(message: Result<Option<T>, Status>) -> Result<(), Status> {
    message?.map(drop).ok_or_else(|| Status::aborted("it ended"))
}

/// The end of what somebody did.
#[derive(Debug)]
struct Out {
    what: &'static str,
    /// How long after its leave was revoked something still went well.
    last: Duration,
    /// How long after that it was told.
    ended: Duration,
    status: Status,
}

/// Does it again and again, for as long as it goes well. `ran`: since its leave was revoked.
async fn goes_on(
    what: &'static str,
    ran: &dyn Fn() -> Duration,
    mut act: impl AsyncFnMut() -> Result<(), Status>,
) -> Out {
    let mut last = Duration::ZERO;
    loop {
        match in_time(what, act()).await {
            Ok(()) => last = ran(),
            Err(status) => {
                return Out {
                    what,
                    last,
                    ended: ran(),
                    status,
                };
            }
        }
    }
}

fn assert_in_time(outs: &[Out]) {
    for out in outs {
        let is_out = out.last < OUT_WITHIN && out.ended < OUT_WITHIN;
        assert!(is_out, "{}: {out:?}", out.what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_line_is_taken_from_the_policy_is_out_within_five_seconds_under_load() {
    let stage = Stage::at_work().await;
    let outs = stage.is_out_once(|| replace(&stage.policy, OTHERS)).await;
    assert_in_time(&outs);
    for out in &outs {
        assert_eq!(out.status.code(), Code::PermissionDenied, "{}: {out:?}", out.what);
    }
    stage.others_went_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_authority_is_believed_no_longer_is_out_within_five_seconds_under_load() {
    let stage = Stage::at_work().await;
    let outs = stage
        .is_out_once(|| replace(&stage.authorities, &stage.new.certificate))
        .await;
    assert_in_time(&outs);
    stage.others_went_on().await;
}
