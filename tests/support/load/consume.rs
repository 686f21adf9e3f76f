//! Consumers.

use std::sync::{Arc, atomic::Ordering};

use annals::proto::annals::v1::{
    Batch, ConsumeRequest, DescribeLogRequest, ReadLevel, Start, start::Position,
};
use bytes::Bytes;
use tonic::Status;
use tonic_types::StatusExt;

use super::{Shared, in_time, pace, reason_of};
use crate::support::{
    log_checker::{Contents, Read, Recorder},
    node::TestNode,
};

/// What a reader asks for at most; no node here allows less.
const READ_BYTES_MAX: u64 = 16 << 10;
/// A read of fewer bytes than this came to its end: another record of any test's size would have fitted.
const UNLIMITED_BYTES: usize = 8 << 10;
/// How far before the end of what is acknowledged a reader begins.
const READ_BACK: u64 = 8;

fn at(offset: u64) -> Option<Start> {
    Some(Start {
        position: Some(Position::Offset(offset)),
    })
}

fn records_of(batches: Vec<Batch>) -> Vec<(u64, Bytes)> {
    let records = batches.into_iter().flat_map(|batch| {
        let records = batch.records.unwrap_or_default().records;
        assert_eq!(records.len(), batch.record_count as usize, "a batch's own count");
        (batch.base_offset..).zip(records)
    });
    records.map(|(offset, record)| (offset, record.value)).collect()
}

/// Where to go on after OUT_OF_RANGE.
fn earliest_of(status: &Status) -> u64 {
    let info = status.get_details_error_info().expect("a typed error");
    let earliest = info
        .metadata
        .get("earliest")
        .and_then(|earliest| earliest.parse().ok());
    earliest.expect("OUT_OF_RANGE says where the log begins")
}

/// Follows the log from its beginning; opens the stream again whenever it ends.
pub(super) async fn tail(shared: Arc<Shared>) {
    let mut next = 0;
    let mut pace = pace();
    while !shared.stop.is_cancelled() {
        pace.tick().await;
        let began = shared.recorder.now();
        let request = ConsumeRequest {
            start: at(next),
            follow: true,
            ..ConsumeRequest::default()
        };
        let mut client = shared.client();
        let status = match in_time("the beginning of ConsumeStream", client.consume_stream(request)).await {
            Err(status) => status,
            Ok(responses) => {
                let mut responses = responses.into_inner();
                loop {
                    let response = tokio::select! {
                        response = responses.message() => response,
                        () = shared.stop.cancelled() => return,
                    };
                    let response = match response {
                        Ok(Some(response)) => response,
                        Ok(None) => panic!("a stream that follows ended without a status"),
                        Err(status) => break status,
                    };
                    let records = records_of(response.batches);
                    let count = records.len() as u64;
                    assert_eq!(response.next_offset, next + count, "where to go on");
                    let high_watermark = shared.watermark(began, response.header);
                    shared.recorder.read(Read {
                        began,
                        linearizable: false,
                        from: next,
                        records,
                        limited: true,
                        high_watermark,
                    });
                    next += count;
                    shared.consumed.send_modify(|consumed| *consumed += count);
                }
            }
        };
        let reason = reason_of(&status);
        shared.read_refused(&reason);
        if reason == "OFFSET_OUT_OF_RANGE" {
            next = next.max(earliest_of(&status));
        }
    }
}

/// Reads what was acknowledged last, and asks where the log stands.
pub(super) async fn reader(shared: Arc<Shared>) {
    let mut client = shared.client();
    let mut pace = pace();
    while !shared.stop.is_cancelled() {
        pace.tick().await;
        let from = shared
            .acknowledged_to
            .load(Ordering::SeqCst)
            .saturating_sub(READ_BACK);
        let began = shared.recorder.now();
        let request = ConsumeRequest {
            start: at(from),
            bytes_max: READ_BYTES_MAX,
            read_level: ReadLevel::Linearizable.into(),
            ..ConsumeRequest::default()
        };
        match in_time("an answer to Consume", client.consume(request)).await {
            Err(status) => shared.read_refused(&reason_of(&status)),
            Ok(response) => {
                let response = response.into_inner();
                let records = records_of(response.batches);
                let bytes: usize = records.iter().map(|(_, record)| record.len()).sum();
                let high_watermark = shared.watermark(began, response.header);
                shared.recorder.read(Read {
                    began,
                    linearizable: true,
                    from,
                    records,
                    limited: bytes >= UNLIMITED_BYTES,
                    high_watermark,
                });
            }
        }
        let began = shared.recorder.now();
        match in_time(
            "an answer to DescribeLog",
            client.describe_log(DescribeLogRequest::default()),
        )
        .await
        {
            Err(status) => shared.read_refused(&reason_of(&status)),
            Ok(response) => {
                shared.watermark(began, response.into_inner().header);
            }
        }
    }
}

/// Reads all that a node has, notes it, and says how many records that is.
pub(crate) async fn read_all(node: &TestNode, recorder: &Recorder) -> u64 {
    let mut contents = in_time("all records", try_read_all(node, recorder)).await;
    while let Err(status) = contents {
        // Retention was faster; the next time there is less to read.
        assert_eq!(reason_of(&status), "OFFSET_OUT_OF_RANGE", "{status:?}");
        contents = in_time("all records", try_read_all(node, recorder)).await;
    }
    let contents = contents.expect("otherwise it was tried again");
    let count = contents.records.len() as u64;
    recorder.contents(contents);
    count
}

async fn try_read_all(node: &TestNode, recorder: &Recorder) -> Result<Contents, Status> {
    let mut client = node.client();
    let began = recorder.now();
    let described = client
        .describe_log(DescribeLogRequest::default())
        .await?
        .into_inner();
    let request = ConsumeRequest {
        start: at(described.earliest),
        read_level: ReadLevel::Linearizable.into(),
        ..ConsumeRequest::default()
    };
    let mut responses = client.consume_stream(request).await?.into_inner();
    let mut records = Vec::new();
    while let Some(response) = responses.message().await? {
        records.extend(records_of(response.batches));
    }
    Ok(Contents {
        began,
        earliest: described.earliest,
        high_watermark: described.high_watermark,
        records,
    })
}
