//! Consumers.

use std::sync::{Arc, atomic::Ordering};

use annals::proto::annals::v1::{
    Batch, ConsumeRequest, ConsumeResponse, DescribeLogRequest, ReadLevel, Start, start::Position,
};
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use super::{
    caller::{Call, Caller, Refused},
    pace,
};
use crate::support::log_checker::{Content, Level, Origin, Read, Seen};

/// What a reader asks for at most; no node here allows less.
const READ_BYTES_MAX: u64 = 16 << 10;
/// A read of fewer bytes than this came to its end: another record of any test's size would have fitted.
const UNLIMITED_BYTES: usize = 8 << 10;
/// How far before the end of what is acknowledged a reader begins.
const READ_BACK: u64 = 8;

pub(super) fn at(offset: u64) -> Option<Start> {
    Some(Start {
        position: Some(Position::Offset(offset)),
    })
}

pub(super) fn level_of(level: Level) -> i32 {
    match level {
        Level::Linearizable => ReadLevel::Linearizable.into(),
        Level::Lease => ReadLevel::Lease.into(),
        Level::Local => ReadLevel::Local.into(),
    }
}

/// The records of some batches, and how many bytes they have.
pub(super) fn records_of(batches: Vec<Batch>) -> (Vec<Seen>, usize) {
    let (mut seen, mut bytes) = (Vec::new(), 0);
    for batch in batches {
        let origin = Origin {
            term: batch.term,
            log_index: 0,
            timestamp_ms: batch.timestamp_ms,
        };
        let records = batch.records.unwrap_or_default().records;
        assert_eq!(records.len(), batch.record_count as usize, "a batch's own count");
        for (offset, record) in (batch.base_offset..).zip(records) {
            bytes += record.value.len();
            let content = Content::of(&record.value);
            seen.push(Seen {
                offset,
                content,
                origin,
            });
        }
    }
    (seen, bytes)
}

/// What OUT_OF_RANGE says of the log.
fn bound_of(status: &Status, bound: &str) -> Option<u64> {
    let info = status.get_details_error_info()?;
    info.metadata.get(bound)?.parse().ok()
}

/// Follows the log from its beginning as one node after the other shows it; opens the stream again whenever it ends.
pub(super) async fn tail(mut caller: Caller) {
    let shared = caller.shared.clone();
    let mut next = 0;
    let mut pace = pace();
    while !shared.stop.is_cancelled() {
        pace.tick().await;
        let mut call = caller.call();
        let request = ConsumeRequest {
            start: at(next),
            follow: true,
            ..ConsumeRequest::default()
        };
        let opened = call.client.consume_stream(request);
        let ended = match caller.ask("the beginning of ConsumeStream", opened).await {
            Err(status) => Some(status),
            Ok(responses) => follow(&caller, &call, responses.into_inner(), &mut next).await,
        };
        let Some(status) = ended else { return };
        let refused = Refused::from(&status);
        shared.read_refused(&refused.reason);
        if refused.reason == "OFFSET_OUT_OF_RANGE" {
            // Trimmed; what lies ahead would be waited for.
            next = next.max(bound_of(&status, "earliest").expect("OUT_OF_RANGE says where the log begins"));
        } else {
            caller.move_on();
        }
    }
}

/// Notes what a stream gives, until it ends, or the load does: then nothing is answered.
async fn follow(
    caller: &Caller,
    call: &Call,
    mut responses: Streaming<ConsumeResponse>,
    next: &mut u64,
) -> Option<Status> {
    let shared = &caller.shared;
    loop {
        let response = tokio::select! {
            response = responses.message() => response,
            () = shared.stop.cancelled() => return None,
        };
        let response = match response {
            Ok(Some(response)) => response,
            Ok(None) => panic!("a stream that follows ended without a status"),
            Err(status) => return Some(status),
        };
        let (records, _) = records_of(response.batches);
        let count = records.len() as u64;
        assert_eq!(response.next_offset, *next + count, "where to go on");
        let high_watermark = caller.heard_itself(call, response.header.as_ref());
        caller.notes.read(Read {
            node: call.node.clone(),
            level: Level::Local,
            began: call.began,
            ended: call.began,
            from: *next,
            records: records.into(),
            limited: true,
            high_watermark,
        });
        *next += count;
        shared.consumed.send_modify(|consumed| *consumed += count);
    }
}

/// Reads what was acknowledged last, and asks where the log stands, at one node after the other.
pub(super) async fn reader(mut caller: Caller, level: Level) {
    let shared = caller.shared.clone();
    let mut pace = pace();
    while !shared.stop.is_cancelled() {
        pace.tick().await;
        read_the_end(&caller, level).await;
        let mut call = caller.call();
        let described = call.client.describe_log(DescribeLogRequest::default());
        match caller.ask("an answer to DescribeLog", described).await {
            Err(status) => shared.read_refused(&Refused::from(&status).reason),
            Ok(response) => {
                caller.heard_itself(&call, response.into_inner().header.as_ref());
            }
        }
        caller.move_on();
    }
}

async fn read_the_end(caller: &Caller, level: Level) {
    let shared = &caller.shared;
    let acknowledged = shared.acknowledged_to.load(Ordering::SeqCst);
    let from = acknowledged.saturating_sub(READ_BACK);
    let mut call = caller.call();
    let request = ConsumeRequest {
        start: at(from),
        bytes_max: READ_BYTES_MAX,
        read_level: level_of(level),
        ..ConsumeRequest::default()
    };
    let read = Read {
        node: call.node.clone(),
        level,
        began: call.began,
        ended: call.began,
        from,
        records: Arc::new([]),
        limited: false,
        high_watermark: 0,
    };
    match caller
        .ask("an answer to Consume", call.client.consume(request))
        .await
    {
        Err(status) => {
            let high_watermark = bound_of(&status, "high_watermark");
            if let Some(high_watermark) = high_watermark.filter(|high_watermark| *high_watermark < from) {
                // All it tells is where the log ends, and that it has to know.
                caller.notes.read(Read {
                    high_watermark,
                    ..read
                });
            }
            shared.read_refused(&Refused::from(&status).reason);
        }
        Ok(response) => {
            let response = response.into_inner();
            let (records, bytes) = records_of(response.batches);
            let high_watermark = caller.heard_itself(&call, response.header.as_ref());
            caller.notes.read(Read {
                records: records.into(),
                limited: bytes >= UNLIMITED_BYTES,
                high_watermark,
                ..read
            });
        }
    }
}
