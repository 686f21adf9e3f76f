//! What a log promises, each promise as a search for its breach.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
};

use bytes::Bytes;

use super::{Answer, Attempt, Contents, History, Stamp, Tick, Watermark};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A try to append was never answered.
    Unanswered { began: Tick },
    /// Records came with offsets that are not consecutive, or do not begin or end where they should.
    Gap { expected: u64, found: Option<u64> },
    /// What was acknowledged, or read before, was not there later.
    Lost { offset: u64, record: String },
    /// One offset, two records.
    Changed { offset: u64, one: String, other: String },
    /// A record that nobody sent, or that was surely refused.
    Phantom { offset: u64, record: String },
    /// One record, more than one offset.
    Duplicate { record: String, offsets: Vec<u64> },
    /// An append that began after another had been acknowledged got the lower offset.
    Reordered { earlier: u64, later: u64 },
    /// A linearizable read ended before a record that was acknowledged before it began.
    Stale {
        began: Tick,
        acknowledged: u64,
        saw: u64,
    },
    /// A record was given out at or above the high watermark.
    Uncommitted { offset: u64, high_watermark: u64 },
    /// A node's high watermark fell.
    WatermarkFell { node: String, from: u64, to: u64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { began } => write!(f, "the append of {began} was never answered"),
            Self::Gap { expected, found } => write!(f, "offset {found:?} where {expected} was expected"),
            Self::Lost { offset, record } => write!(f, "{record} was at offset {offset} and is gone"),
            Self::Changed { offset, one, other } => write!(f, "offset {offset} is {one} and {other}"),
            Self::Phantom { offset, record } => write!(f, "{record} at offset {offset} was never stored"),
            Self::Duplicate { record, offsets } => write!(f, "{record} is stored at each of {offsets:?}"),
            Self::Reordered { earlier, later } => {
                write!(
                    f,
                    "offset {later} was acknowledged before the append of {earlier} began"
                )
            }
            Self::Stale {
                began,
                acknowledged,
                saw,
            } => {
                write!(
                    f,
                    "the read of {began} saw up to {saw}, but all below {acknowledged} was acknowledged"
                )
            }
            Self::Uncommitted {
                offset,
                high_watermark,
            } => {
                write!(
                    f,
                    "offset {offset} was read with a high watermark of {high_watermark}"
                )
            }
            Self::WatermarkFell { node, from, to } => write!(f, "{node} fell from {from} to {to}"),
        }
    }
}

pub(super) fn judge(history: &History) -> Vec<Violation> {
    let mut violations = unanswered(history);
    violations.extend(gaps(history));
    violations.extend(above_the_watermark(history));
    let sightings = sightings(history);
    violations.extend(changed(&sightings));
    violations.extend(duplicates(&sightings));
    violations.extend(phantoms(history, &sightings));
    for contents in &history.contents {
        violations.extend(lost(&sightings, contents));
    }
    let appends = appends(history);
    violations.extend(reordered(&appends));
    violations.extend(stale(history, &appends));
    violations.extend(fallen(&history.watermarks));
    violations
}

fn unanswered(history: &History) -> Vec<Violation> {
    let unanswered = history.attempts.iter().filter(|attempt| attempt.answer.is_none());
    unanswered
        .map(|attempt| Violation::Unanswered { began: attempt.began })
        .collect()
}

fn gaps(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (_, read) in &history.reads {
        violations.extend(gap(read.from, None, &read.records));
    }
    for contents in &history.contents {
        let end = Some(contents.high_watermark);
        violations.extend(gap(contents.earliest, end, &contents.records));
    }
    violations
}

/// The first offset that does not follow on the one before.
fn gap(from: u64, end: Option<u64>, records: &[(u64, Bytes)]) -> Option<Violation> {
    let mut expected = from;
    for (offset, _) in records {
        if *offset != expected {
            return Some(Violation::Gap {
                expected,
                found: Some(*offset),
            });
        }
        expected += 1;
    }
    let short = end.is_some_and(|end| end != expected);
    short.then_some(Violation::Gap {
        expected,
        found: None,
    })
}

fn above_the_watermark(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (_, read) in &history.reads {
        if let Some((offset, _)) = read
            .records
            .iter()
            .find(|(offset, _)| *offset >= read.high_watermark)
        {
            violations.push(Violation::Uncommitted {
                offset: *offset,
                high_watermark: read.high_watermark,
            });
        }
    }
    violations
}

/// That a record was at an offset, and since when that is known.
struct Sighting {
    offset: u64,
    record: Bytes,
    ended: Tick,
}

/// All of them: what was acknowledged and what was read.
fn sightings(history: &History) -> Vec<Sighting> {
    let mut sightings = Vec::new();
    for attempt in &history.attempts {
        if let Some((ended, Answer::Acknowledged { first_offset })) = attempt.answer {
            sightings.extend(
                (first_offset..)
                    .zip(&attempt.records)
                    .map(|(offset, record)| Sighting {
                        offset,
                        record: record.clone(),
                        ended,
                    }),
            );
        }
    }
    for (ended, read) in &history.reads {
        sightings.extend(read.records.iter().map(|(offset, record)| Sighting {
            offset: *offset,
            record: record.clone(),
            ended: *ended,
        }));
    }
    for contents in &history.contents {
        sightings.extend(contents.records.iter().map(|(offset, record)| Sighting {
            offset: *offset,
            record: record.clone(),
            ended: contents.began,
        }));
    }
    sightings
}

fn changed(sightings: &[Sighting]) -> Vec<Violation> {
    let mut first: HashMap<u64, &Bytes> = HashMap::new();
    let mut violations = Vec::new();
    for sighting in sightings {
        let known = first.entry(sighting.offset).or_insert(&sighting.record);
        if *known != &sighting.record {
            violations.push(Violation::Changed {
                offset: sighting.offset,
                one: text(known),
                other: text(&sighting.record),
            });
        }
    }
    violations
}

fn duplicates(sightings: &[Sighting]) -> Vec<Violation> {
    let mut offsets: HashMap<&Bytes, BTreeSet<u64>> = HashMap::new();
    for sighting in sightings {
        offsets
            .entry(&sighting.record)
            .or_default()
            .insert(sighting.offset);
    }
    let duplicates = offsets.into_iter().filter(|(_, offsets)| offsets.len() > 1);
    duplicates
        .map(|(record, offsets)| Violation::Duplicate {
            record: text(record),
            offsets: offsets.into_iter().collect(),
        })
        .collect()
}

fn phantoms(history: &History, sightings: &[Sighting]) -> Vec<Violation> {
    let may_be_stored = |attempt: &&Attempt| !matches!(attempt.answer, Some((_, Answer::Failed)));
    let sent: HashSet<&Bytes> = history
        .attempts
        .iter()
        .filter(may_be_stored)
        .flat_map(|attempt| &attempt.records)
        .collect();
    let phantoms: BTreeMap<u64, &Bytes> = sightings
        .iter()
        .filter(|sighting| !sent.contains(&sighting.record))
        .map(|sighting| (sighting.offset, &sighting.record))
        .collect();
    phantoms
        .into_iter()
        .map(|(offset, record)| Violation::Phantom {
            offset,
            record: text(record),
        })
        .collect()
}

/// What was known before `contents` was read, and is not in it.
fn lost(sightings: &[Sighting], contents: &Contents) -> Vec<Violation> {
    let held: HashSet<u64> = contents.records.iter().map(|(offset, _)| *offset).collect();
    let missing: BTreeMap<u64, &Bytes> = sightings
        .iter()
        .filter(|sighting| sighting.ended < contents.began && sighting.offset >= contents.earliest)
        .filter(|sighting| !held.contains(&sighting.offset))
        .map(|sighting| (sighting.offset, &sighting.record))
        .collect();
    missing
        .into_iter()
        .map(|(offset, record)| Violation::Lost {
            offset,
            record: text(record),
        })
        .collect()
}

/// An append that was acknowledged, all its tries together.
struct Append {
    first_offset: u64,
    next_offset: u64,
    /// When the first try began.
    began: Tick,
    /// When it was first acknowledged.
    ended: Tick,
}

fn appends(history: &History) -> Vec<Append> {
    let mut began: HashMap<Stamp, Tick> = HashMap::new();
    for attempt in &history.attempts {
        if let Some(stamp) = attempt.stamp {
            let first = began.entry(stamp).or_insert(attempt.began);
            *first = attempt.began.min(*first);
        }
    }
    let appends = history
        .attempts
        .iter()
        .filter_map(|attempt| match attempt.answer {
            Some((ended, Answer::Acknowledged { first_offset })) => Some(Append {
                first_offset,
                next_offset: first_offset + attempt.records.len() as u64,
                began: attempt.stamp.map_or(attempt.began, |stamp| began[&stamp]),
                ended,
            }),
            Some((_, Answer::Failed | Answer::Unknown)) | None => None,
        });
    appends.collect()
}

/// The largest value of all that ended before each query began. `done`: when, and the value.
fn largest_before(mut done: Vec<(Tick, u64)>, mut queries: Vec<(Tick, usize)>) -> Vec<(usize, Option<u64>)> {
    done.sort_unstable();
    queries.sort_unstable();
    let mut done = done.into_iter().peekable();
    let mut largest = None;
    let mut answers = Vec::with_capacity(queries.len());
    for (began, query) in queries {
        while let Some((_, value)) = done.next_if(|(ended, _)| *ended < began) {
            largest = largest.max(Some(value));
        }
        answers.push((query, largest));
    }
    answers
}

fn reordered(appends: &[Append]) -> Vec<Violation> {
    let done = appends
        .iter()
        .map(|append| (append.ended, append.first_offset))
        .collect();
    let began = appends
        .iter()
        .enumerate()
        .map(|(index, append)| (append.began, index))
        .collect();
    let before = largest_before(done, began);
    let violations = before.into_iter().filter_map(|(index, largest)| {
        let own = appends[index].first_offset;
        let later = largest.filter(|largest| *largest > own)?;
        Some(Violation::Reordered { earlier: own, later })
    });
    violations.collect()
}

fn stale(history: &History, appends: &[Append]) -> Vec<Violation> {
    let reads: Vec<_> = history.reads.iter().map(|(_, read)| read).collect();
    let done = appends
        .iter()
        .map(|append| (append.ended, append.next_offset))
        .collect();
    let linearizable = reads.iter().enumerate().filter(|(_, read)| read.linearizable);
    let began = linearizable.map(|(index, read)| (read.began, index)).collect();
    let before = largest_before(done, began);
    let violations = before.into_iter().filter_map(|(index, acknowledged)| {
        let (read, acknowledged) = (reads[index], acknowledged?);
        let behind_last = read.records.last().map_or(read.from, |(offset, _)| offset + 1);
        let saw = if read.limited {
            read.high_watermark
        } else {
            read.high_watermark.min(behind_last)
        };
        (saw < acknowledged).then_some(Violation::Stale {
            began: read.began,
            acknowledged,
            saw,
        })
    });
    violations.collect()
}

fn fallen(watermarks: &[Watermark]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let nodes: BTreeSet<&String> = watermarks.iter().map(|watermark| &watermark.node).collect();
    for node in nodes {
        let told: Vec<_> = watermarks
            .iter()
            .filter(|watermark| watermark.node == *node)
            .collect();
        let done = told
            .iter()
            .map(|watermark| (watermark.ended, watermark.value))
            .collect();
        let began = told
            .iter()
            .enumerate()
            .map(|(index, watermark)| (watermark.began, index))
            .collect();
        for (index, largest) in largest_before(done, began) {
            let to = told[index].value;
            if let Some(from) = largest.filter(|from| *from > to) {
                let node = node.clone();
                violations.push(Violation::WatermarkFell { node, from, to });
            }
        }
    }
    violations
}

/// The beginning of a record, for people.
fn text(record: &Bytes) -> String {
    const SHOWN: usize = 48;
    String::from_utf8_lossy(&record[..record.len().min(SHOWN)]).into_owned()
}
