//! Whether a produce request can be taken at all.

use crate::{
    net::{context::Context, status::Refusal},
    proto::raw::{annals, log},
    record_set,
    storage::entry::{Batch, ProducerStamp},
    types::Offset,
};

use super::gather::Item;

/// Checks a request of annals.v1. Its records' bytes are taken over, not copied.
///
/// Errors: `UnknownLog`, `Invalid`, `RecordTooLarge`.
pub fn annals_v1(context: &Context, request: annals::v1::ProduceRequest) -> Result<Item, Refusal> {
    context.check_log(&request.log)?;
    let records = request
        .records
        .ok_or_else(|| Refusal::invalid("the request has no records; send at least one"))?;
    check_size(context, records.len())?;
    let record_count = record_set::check(&records)?;
    let producer = request.producer.map(check_producer).transpose()?;
    Ok(Item::Batch(Batch {
        producer,
        expected_offset: request.expected_offset.map(Offset),
        record_count,
        records,
    }))
}

/// Checks a request of log.v1. Whether the record is well-formed shows when it is put into a batch.
///
/// Errors: `Invalid`, `RecordTooLarge`.
pub fn log_v1(context: &Context, request: log::v1::ProduceRequest) -> Result<Item, Refusal> {
    let record = request
        .record
        .ok_or_else(|| Refusal::invalid("the request has no record"))?;
    let item = Item::Record(record);
    check_size(context, item.bytes())?;
    Ok(item)
}

fn check_size(context: &Context, bytes: usize) -> Result<(), Refusal> {
    let bytes_max = context.options.batch_bytes_max;
    if bytes > bytes_max {
        Err(Refusal::RecordTooLarge { bytes, bytes_max })
    } else {
        Ok(())
    }
}

fn check_producer(producer: annals::v1::Producer) -> Result<ProducerStamp, Refusal> {
    if producer.id == 0 {
        return Err(Refusal::invalid(
            "producer id 0 is not allowed; choose one at random",
        ));
    }
    Ok(ProducerStamp {
        id: producer.id,
        epoch: producer.epoch,
        sequence: producer.sequence,
    })
}
