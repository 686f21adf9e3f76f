//! Long histories: judged in seconds when good, and one wrong thing in them is found.

use super::script::{node, stamp};
use crate::support::{
    log_checker::{
        Answer, Content, Contents, History, Level, Notes, Origin, Read, Recorder, Rule, Seen, Stamp,
    },
    standstills::Standstills,
};

const NODES: [&str; 3] = ["node-0", "node-1", "node-2"];
/// Records of a batch.
const BATCH: u64 = 4;
/// Batches that are sent before the first of them is answered.
const UNDER_WAY: u64 = 8;
/// Records of a reader's read.
const READ: usize = 64;

fn name(number: u64) -> String {
    format!("record {number}")
}

/// A good history of a log of so many records: every batch is tried twice by one of eight producers, all nodes are
/// followed, and read in full at the end.
fn good(records: u64) -> History {
    let recorder = Recorder::new();
    let notes = recorder.client("client");
    let log: Vec<Seen> = (0..records)
        .map(|offset| Seen {
            offset,
            content: Content::of(name(offset).as_bytes()),
            origin: Origin {
                term: 1 + offset / 1000,
                log_index: 1 + offset / BATCH,
                timestamp_ms: 1000 + offset,
            },
        })
        .collect();
    let round = BATCH * UNDER_WAY;
    for first in (0..records).step_by(usize::try_from(round).unwrap()) {
        produce(&notes, first, (first + round).min(records));
    }
    for (life, node_name) in (0..).zip(NODES) {
        let mut follower = node(node_name);
        follower.life = life;
        for chunk in log.chunks(READ) {
            let (from, end) = (chunk[0].offset, chunk[chunk.len() - 1].offset + 1);
            let began = notes.now();
            notes.watermark(follower.clone(), began, end);
            notes.read(Read {
                node: follower.clone(),
                level: if from % 3 == 0 {
                    Level::Linearizable
                } else {
                    Level::Local
                },
                began,
                ended: began,
                from,
                records: chunk.into(),
                limited: true,
                high_watermark: records,
            });
        }
        let began = notes.now();
        notes.contents(Contents {
            node: follower,
            level: Level::Linearizable,
            began,
            ended: began,
            earliest: 0,
            high_watermark: records,
            records: log.as_slice().into(),
        });
    }
    recorder.history()
}

fn produce(notes: &Notes, first: u64, end: u64) {
    let batches = (first..end).step_by(usize::try_from(BATCH).unwrap());
    let batches: Vec<(u64, Vec<String>, Stamp)> = batches
        .map(|base| {
            let records = (base..(base + BATCH).min(end)).map(name).collect();
            let stamp = Stamp {
                id: base / BATCH % UNDER_WAY,
                ..stamp(base)
            };
            (base, records, stamp)
        })
        .collect();
    for answered in [false, true] {
        let attempts: Vec<_> = batches
            .iter()
            .map(|(_, records, stamp)| notes.attempt(&node("node-0"), records, Some(*stamp), None))
            .collect();
        for (attempt, (base, records, _)) in attempts.into_iter().zip(&batches) {
            let next_offset = base + records.len() as u64;
            let answer = Answer::Acknowledged {
                first_offset: *base,
                next_offset,
                leader_watermark: Some(next_offset),
            };
            notes.answered(attempt, if answered { answer } else { Answer::Unknown });
        }
    }
}

#[test]
fn a_million_records_on_three_nodes_are_judged_in_seconds() {
    /// Seconds of a busy machine without optimization, of which a quiet one takes ten; what is quadratic takes hours.
    const SECONDS_MAX: u64 = 120;
    let history = good(1_000_000);
    let standstills = Standstills::watch();
    let began = annals::clock::now();
    let summary = history.assert_kept();
    let took = standstills.ran_since(began);
    assert_eq!((summary.acknowledged, summary.unknown), (250_000, 250_000));
    assert_eq!((summary.records_read, summary.contents), (3_000_000, 3));
    assert!(took.as_secs() < SECONDS_MAX, "{took:?}");
}

/// What a fault of a cluster would make of a good history.
type Fault = fn(&mut History);

fn contents(history: &mut History, node: usize, change: impl FnOnce(&mut Vec<Seen>)) {
    let mut records = history.contents[node].records.to_vec();
    change(&mut records);
    history.contents[node].high_watermark = records.last().map_or(0, |seen| seen.offset + 1);
    history.contents[node].records = records.into();
}

/// Applies each fault by itself to a good history; these rules are broken then and no others.
fn assert_found(faults: &[(&str, &[Rule], Fault)]) {
    const RECORDS: u64 = 10_000;
    let history = good(RECORDS);
    history.assert_kept();
    for (fault, rules, apply) in faults {
        let mut history = history.clone();
        apply(&mut history);
        let verdict = history.judge();
        assert_eq!(verdict.rules(), *rules, "{fault}:\n{verdict}");
    }
}

#[test]
fn one_wrong_thing_on_a_node_of_a_long_log_is_found() {
    assert_found(&[
        (
            "a follower lost its tail",
            &[Rule::Kept, Rule::Committed],
            |history| {
                contents(history, 1, |records| records.truncate(9_996));
            },
        ),
        (
            "a follower swapped two batches",
            &[
                Rule::OneValue,
                Rule::Identical,
                Rule::Kept,
                Rule::Committed,
                Rule::StoredOnce,
            ],
            |history| {
                contents(history, 2, |records| {
                    for at in 4000..4004 {
                        let (one, other) = (records[at].content, records[at + 4].content);
                        (records[at].content, records[at + 4].content) = (other, one);
                    }
                });
            },
        ),
        (
            "a bit flipped",
            &[
                Rule::OneValue,
                Rule::Identical,
                Rule::Kept,
                Rule::Committed,
                Rule::NoPhantom,
                Rule::Atomic,
            ],
            |history| {
                contents(history, 0, |records| records[77].content.hash ^= 1);
            },
        ),
        ("a retry was stored again", &[Rule::StoredOnce], |history| {
            for node in 0..3 {
                contents(history, node, |records| {
                    let again = records[100..104].to_vec();
                    let end = records.len() as u64;
                    records.extend((end..).zip(again).map(|(offset, seen)| Seen { offset, ..seen }));
                });
            }
        }),
    ]);
}

#[test]
fn one_wrong_answer_in_a_long_history_is_found() {
    assert_found(&[
        (
            "a deposed leader served a read",
            &[Rule::Linearizable, Rule::NeverBackwards],
            |history| {
                // Through the second node, after the first was read.
                let mut reads = history.reads[200..].iter_mut();
                let read = reads.find(|read| read.level.is_fresh()).unwrap();
                read.high_watermark = read.records.last().unwrap().offset + 1;
            },
        ),
        (
            "a refused batch was stored",
            &[Rule::FailedIsNotStored],
            |history| {
                let records = history.attempts[500].records.clone();
                for attempt in history
                    .attempts
                    .iter_mut()
                    .filter(|attempt| attempt.records == records)
                {
                    attempt.answer = attempt.answer.map(|(ended, _)| (ended, Answer::Failed));
                }
            },
        ),
        ("a watermark fell", &[Rule::WatermarkRises], |history| {
            let (earlier, later) = history.watermarks.split_at_mut(50);
            std::mem::swap(&mut earlier[20].value, &mut later[0].value);
        }),
    ]);
}
