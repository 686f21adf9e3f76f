//! Nodes in this process, on ports of the system's choice, and what tests do with them.

#[path = "../../support/addresses.rs"]
mod addresses;
mod real;
mod staged;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use annals::{
    net::Options,
    proto::{
        annals::v1::{
            self, cluster_service_client::ClusterServiceClient, cursor_service_client::CursorServiceClient,
            log_service_client::LogServiceClient,
        },
        log::v1 as small,
    },
};
use futures::{Stream, StreamExt};
use small::log_client::LogClient;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

pub use real::{node, trio};
pub use staged::{staged_node, staged_node_with};

/// Everything that tests wait for happens within this, or they fail.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Segments of the nodes' logs: small, so that a test can fill some.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Memory for the newest frames: little, so that reads of files are tested too.
const TAIL_CACHE_BYTES: usize = 64 << 10;

/// Options of a test's node: ports of the system's choice.
pub fn options() -> Options {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        rpc_address: any,
        admin_address: any,
        drain_timeout: Duration::from_secs(5),
        ..Options::default()
    }
}

/// What clients need to know of a node.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    /// Where clients connect.
    pub rpc: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
}

impl Doors {
    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        let uri = format!("http://{}", self.rpc);
        within(Channel::from_shared(uri).unwrap().connect())
            .await
            .unwrap()
    }

    /// A client of the small API.
    pub async fn small(&self) -> LogClient<Channel> {
        LogClient::new(self.channel().await)
    }

    /// A client of the full API.
    pub async fn full(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel().await)
    }

    /// A client of the cluster.
    pub async fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel().await)
    }

    /// A client of cursors.
    pub async fn cursors(&self) -> CursorServiceClient<Channel> {
        CursorServiceClient::new(self.channel().await)
    }

    /// What `/status` says.
    pub async fn status(&self) -> serde_json::Value {
        serde_json::from_str(&get(self.admin, "/status").await.1).unwrap()
    }

    /// Waits until batches of so many bytes wait for their commit.
    pub async fn until_in_flight(&self, bytes: u64) {
        let in_flight = async || {
            let status = self.status().await;
            let bytes = |name: &str| status["gateway"][name].as_u64().unwrap();
            bytes("admission_bytes_max") - bytes("admission_bytes_free")
        };
        within(async { while in_flight().await < bytes {} }).await;
    }
}

/// Waits, but not for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it took too long")
}

/// The next item of a stream that has one.
pub async fn next<T>(stream: &mut (impl Stream<Item = Result<T, Status>> + Unpin)) -> Result<T, Status> {
    within(stream.next()).await.expect("the stream ended")
}

/// What a node answers a call that it cannot answer before its client's deadline. The client gives up by itself then, and where the
/// machine stands still for a tenth of a second that is before the answer comes: it asks again.
pub async fn answered_at_the_deadline<T>(call: impl AsyncFn() -> Result<T, Status>) -> Status {
    within(async {
        loop {
            match call().await {
                Err(status) if status.code() == Code::Cancelled => {}
                Err(status) => return status,
                Ok(_) => panic!("there was nothing to wait for"),
            }
        }
    })
    .await
}

/// A request of the small API.
pub fn small_request(value: &str) -> small::ProduceRequest {
    let record = small::Record {
        value: value.to_owned().into(),
        ..small::Record::default()
    };
    small::ProduceRequest { record: Some(record) }
}

/// A request of the full API with a record for each value.
pub fn request<V: AsRef<[u8]>>(values: &[V]) -> v1::ProduceRequest {
    let record = |value: &V| v1::Record {
        value: value.as_ref().to_vec().into(),
        ..v1::Record::default()
    };
    let records = v1::RecordSet {
        records: values.iter().map(record).collect(),
    };
    v1::ProduceRequest {
        records: Some(records),
        ..v1::ProduceRequest::default()
    }
}

/// The same with a producer's stamp.
pub fn stamped(sequence: u64, epoch: u32, values: &[&str]) -> v1::ProduceRequest {
    v1::ProduceRequest {
        producer: Some(v1::Producer {
            id: 9,
            epoch,
            sequence,
        }),
        ..request(values)
    }
}

/// A read from this position.
pub fn from(position: v1::start::Position) -> v1::ConsumeRequest {
    v1::ConsumeRequest {
        start: Some(v1::Start {
            position: Some(position),
        }),
        ..v1::ConsumeRequest::default()
    }
}

/// Offsets and values of a response, and that its batches fit together.
pub fn records(response: &v1::ConsumeResponse) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for batch in &response.batches {
        let records = &batch.records.as_ref().unwrap().records;
        assert_eq!(records.len(), batch.record_count as usize);
        let value = |record: &v1::Record| String::from_utf8(record.value.to_vec()).unwrap();
        all.extend((batch.base_offset..).zip(records.iter().map(value)));
    }
    if let Some((last, _)) = all.last() {
        assert_eq!(response.next_offset, last + 1);
    }
    all
}

/// Code, reason and metadata of a status.
pub fn told(status: &Status) -> (Code, String, std::collections::HashMap<String, String>) {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "annals");
    (status.code(), info.reason.clone(), info.metadata.clone())
}

/// Code and reason of a status.
pub fn code_and_reason(status: &Status) -> (Code, String) {
    let (code, reason, _) = told(status);
    (code, reason)
}

/// What the admin listener answers: code and body.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = within(tokio::net::TcpStream::connect(address)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    within(stream.read_to_string(&mut response)).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Counts what it is told, for streams of requests that note how far they were read.
#[derive(Clone, Default)]
pub struct Counter(Arc<Mutex<usize>>);

impl Counter {
    /// One more.
    pub fn add(&self) {
        *self.0.lock().unwrap() += 1;
    }

    /// So far.
    pub fn get(&self) -> usize {
        *self.0.lock().unwrap()
    }
}
