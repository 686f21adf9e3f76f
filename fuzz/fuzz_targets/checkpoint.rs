//! A checkpoint that is read is one that a log goes on from: it comes back the same from its bytes, and whatever is placed
//! behind it, batches and commands, takes the offsets that follow, or none; a batch in doubt is answered as the sequencer said it would be.
//!
//! Input: how long the checkpoint is, the checkpoint, entries to place behind it.

#![no_main]

use annals::{
    storage::{
        Checkpoint,
        control::Control,
        cursors::CursorCommand,
        entry::{Batch, Entry, Outcome, Payload, ProducerStamp},
    },
    types::{LogIndex, Offset, TimestampMs},
};
use annals_fuzz::{seeds, store::NUMBER_END};
use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Placed {
    /// Few, so that they meet again.
    producer: Option<(u8, u8)>,
    sequence: u8,
    expected_offset: Option<u64>,
    record_count: u32,
    term_rises: bool,
    control: Option<Command>,
}

/// What a control entry holds. Names are few, so that they meet again.
#[derive(Arbitrary, Debug)]
enum Command {
    Trim(u64),
    Take(u8),
    Commit { name: u8, epoch: u8, offset: u8 },
    Delete(u8),
}

fuzz_target!(init: seeds::plant("checkpoint", seeds()), |input: &[u8]| {
    if let [low, high, bytes @ ..] = input {
        let (bytes, rest) = bytes.split_at(bytes.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        if let Ok(checkpoint) = Checkpoint::decode(bytes) {
            check(checkpoint, Unstructured::new(rest));
        }
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let golden = &seeds::golden_store()[96..216];
    let empty = Checkpoint::new().encode();
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_le_bytes(), bytes, &[7; 40]].concat();
    vec![with_length(golden), with_length(&empty)]
}

fn check(mut checkpoint: Checkpoint, mut rest: Unstructured<'_>) {
    assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint.clone()));
    for placed in rest
        .arbitrary_iter::<Placed>()
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .take(20)
    {
        let (before, entry) = (checkpoint.next_offset(), entry(&checkpoint, &placed));
        let is_batch = matches!(entry.payload, Payload::Records(_));
        let Ok((stored, outcome)) = checkpoint.place(entry) else {
            return;
        };
        let taken = match outcome {
            Outcome::Stored { base_offset } => {
                assert_eq!(base_offset, before);
                if is_batch { placed.record_count.max(1) } else { 0 }
            }
            Outcome::Void(_) => 0,
        };
        assert_eq!((stored.base_offset, stored.record_count), (before, taken));
        assert_eq!(checkpoint.next_offset(), before.plus(u64::from(taken)));
        assert!(checkpoint.trim_point() <= checkpoint.next_offset());
        if checkpoint.last_log_index() >= LogIndex(NUMBER_END)
            || checkpoint.next_offset() >= Offset(NUMBER_END)
        {
            return;
        }
        assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint.clone()));
    }
}

fn entry(checkpoint: &Checkpoint, placed: &Placed) -> Entry {
    let producer = placed.producer.map(|(id, epoch)| ProducerStamp {
        id: u64::from(id),
        epoch: u32::from(epoch),
        sequence: u64::from(placed.sequence),
    });
    let batch = Batch {
        producer,
        expected_offset: placed.expected_offset.map(Offset),
        record_count: placed.record_count.max(1),
        records: Bytes::new(),
    };
    let last = checkpoint.last_term();
    Entry {
        log_index: checkpoint.last_log_index().plus(1),
        term: if placed.term_rises {
            last.get().saturating_add(1).into()
        } else {
            last
        },
        timestamp: TimestampMs(0),
        payload: placed
            .control
            .as_ref()
            .map_or(Payload::Records(batch), |command| Payload::Control(control(command).encode())),
    }
}

fn control(command: &Command) -> Control {
    let name = |number: u8| format!("cursor-{}", number % 8).parse().expect("it is a name");
    match *command {
        Command::Trim(below) => Control::Trim { below: Offset(below) },
        Command::Take(of) => Control::Cursor(CursorCommand::Take { name: name(of) }),
        Command::Delete(of) => Control::Cursor(CursorCommand::Delete { name: name(of) }),
        Command::Commit { name: of, epoch, offset } => Control::Cursor(CursorCommand::Commit {
            name: name(of),
            epoch: LogIndex(u64::from(epoch)),
            offset: Offset(u64::from(offset)),
        }),
    }
}
