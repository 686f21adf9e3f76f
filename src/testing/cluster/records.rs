//! Records put in and read out, for tests whose concern is something else.

use std::ops::Range;

use bytes::Bytes;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{TestCluster, looks::ANSWER_WITHIN};
use crate::{
    proto::annals::v1::{
        ConsumeRequest, Header, ProduceRequest, ProduceResponse, Producer, ReadLevel, Record, RecordSet,
    },
    testing::waiting::in_time,
};

/// A record as a node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its offset.
    pub offset: u64,
    /// Its key; empty where it has none.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Its headers, in the order in which they were sent.
    pub headers: Vec<(String, Bytes)>,
}

impl TestCluster {
    /// Puts records with these values in, as one batch, and waits until they are acknowledged, whoever leads by then. They are stored
    /// once, however often that has to be tried. Answers their offsets.
    ///
    /// Panics: nobody leads, or the batch is refused for good, as one that is too large.
    pub async fn produce<V: Into<Bytes>>(&self, values: impl IntoIterator<Item = V>) -> Range<u64> {
        let records = values.into_iter().map(|value| Record {
            value: value.into(),
            ..Record::default()
        });
        let request = ProduceRequest {
            records: Some(RecordSet {
                records: records.collect(),
            }),
            producer: Some(Producer {
                id: rand::random_range(1..=u64::MAX),
                epoch: 0,
                sequence: 0,
            }),
            ..ProduceRequest::default()
        };
        let answer = in_time("records to be acknowledged", self.produce_somewhere(request)).await;
        answer.first_offset..answer.next_offset
    }

    async fn produce_somewhere(&self, request: ProduceRequest) -> ProduceResponse {
        loop {
            let mut client = self.node(self.leader().await).client();
            let tried = timeout(ANSWER_WITHIN, client.produce(request.clone())).await;
            match tried {
                Ok(Ok(answer)) => return answer.into_inner(),
                Ok(Err(status)) => assert!(passes(&status), "the batch was refused: {status:?}"),
                Err(_) => {}
            }
        }
    }

    /// All records that a node has and that are committed as far as it knows, from its disk or memory, the oldest first. It may be cut off,
    /// and then has old ones only.
    ///
    /// Panics: it does not run, or cannot read what it has.
    pub async fn records(&self, number: usize) -> Vec<StoredRecord> {
        let request = ConsumeRequest {
            read_level: ReadLevel::Local.into(),
            ..ConsumeRequest::default()
        };
        let mut client = self.node(number).client();
        let read = async {
            let mut records = Vec::new();
            let mut stream = client.consume_stream(request).await?.into_inner();
            while let Some(response) = stream.message().await? {
                for batch in response.batches {
                    let set = batch.records.unwrap_or_default();
                    records.extend((batch.base_offset..).zip(set.records).map(StoredRecord::from));
                }
            }
            Ok(records)
        };
        let read: Result<_, Status> = in_time("all records of a node", read).await;
        read.unwrap_or_else(|status| panic!("{} does not read: {status:?}", self.name(number)))
    }
}

impl From<(u64, Record)> for StoredRecord {
    fn from((offset, record): (u64, Record)) -> Self {
        let headers = record.headers.into_iter();
        Self {
            offset,
            key: record.key,
            value: record.value,
            headers: headers.map(|Header { name, value }| (name, value)).collect(),
        }
    }
}

/// Whether another try may do better.
fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Cancelled
    )
}
