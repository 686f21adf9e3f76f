//! A history put in order once, for all rules: which batches were sent, and which record was seen where.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::{Answer, Attempt, Content, History, Moment, Seen, Stamp, offset_map::OffsetMap};

/// A batch, all its tries together.
pub(super) struct Batch<'a> {
    pub(super) records: &'a [Content],
    pub(super) stamp: Option<Stamp>,
    /// The first try that may have stored it, if any may.
    pub(super) sent: Option<u32>,
    /// The first try whose acknowledgement came.
    pub(super) acknowledged: Option<u32>,
    /// The number of its first record among all records sent.
    first_record: usize,
}

/// A record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordOf {
    pub(super) batch: usize,
    pub(super) index: usize,
}

/// That a record was at an offset, and who says so first, by his number in the history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) offset: u64,
    pub(super) content: Content,
    /// An attempt that was acknowledged there.
    pub(super) attempt: Option<u32>,
    pub(super) read: Option<u32>,
    pub(super) contents: Option<u32>,
}

/// Who says that a record was at an offset.
#[derive(Clone, Copy)]
enum Witness {
    Attempt(u32),
    Read(u32),
    Contents(u32),
}

/// A history in order.
pub(super) struct Evidence<'a> {
    pub(super) history: &'a History,
    pub(super) batches: Vec<Batch<'a>>,
    records: HashMap<u64, RecordOf, BuildHasherDefault<AsItIs>>,
    /// What was seen first at each offset.
    log: OffsetMap<Sighting>,
    /// What was seen there besides.
    others: Vec<Sighting>,
    /// Where each record sent was seen first, by its number.
    places: Vec<Option<u64>>,
}

impl<'a> Evidence<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut evidence = Self {
            history,
            batches: Vec::with_capacity(history.attempts.len()),
            records: HashMap::default(),
            log: OffsetMap::new(0),
            others: Vec::new(),
            places: Vec::new(),
        };
        for (number, attempt) in (0..).zip(&history.attempts) {
            evidence.try_of(number, attempt);
        }
        evidence.log = OffsetMap::new(evidence.places.len());
        evidence.gather();
        evidence.find_places();
        evidence
    }

    /// Adds a try to its batch.
    fn try_of(&mut self, number: u32, attempt: &'a Attempt) {
        let Some(first) = attempt.records.first() else {
            return;
        };
        let batch = match self.record(first) {
            Some(RecordOf { batch, .. }) => {
                let known = &self.batches[batch];
                assert!(
                    known.records == &attempt.records[..] && known.stamp == attempt.stamp,
                    "no history: a record was sent in two batches: {attempt:?}"
                );
                batch
            }
            None => self.new_batch(attempt),
        };
        let batch = &mut self.batches[batch];
        match attempt.answer {
            Some((_, Answer::Failed)) => return,
            Some((ended, Answer::Acknowledged { .. })) => {
                let earlier = batch.acknowledged.map(|earlier| self.history.ended(earlier));
                if earlier.is_none_or(|earlier| ended < earlier) {
                    batch.acknowledged = Some(number);
                }
            }
            Some((_, Answer::Unknown)) | None => (),
        }
        let earlier = batch.sent.map(|earlier| self.history.attempt(earlier).began);
        if earlier.is_none_or(|earlier| attempt.began < earlier) {
            batch.sent = Some(number);
        }
    }

    fn new_batch(&mut self, attempt: &'a Attempt) -> usize {
        let batch = self.batches.len();
        self.batches.push(Batch {
            records: &attempt.records,
            stamp: attempt.stamp,
            sent: None,
            acknowledged: None,
            first_record: self.places.len(),
        });
        for (index, content) in attempt.records.iter().enumerate() {
            let earlier = self.records.insert(content.hash, RecordOf { batch, index });
            assert_eq!(earlier, None, "no history: a record was sent twice: {attempt:?}");
            self.places.push(None);
        }
        batch
    }

    fn gather(&mut self) {
        let history = self.history;
        for (number, attempt) in (0..).zip(&history.attempts) {
            if let Some((_, Answer::Acknowledged { first_offset, .. })) = attempt.answer {
                for (offset, content) in (first_offset..).zip(attempt.records.iter()) {
                    self.see(offset, *content, Witness::Attempt(number));
                }
            }
        }
        // Both in order of time, so the first witness of a kind is the earliest.
        for (number, read) in (0..).zip(&history.reads) {
            self.see_all(&read.records, Witness::Read(number));
        }
        for (number, contents) in (0..).zip(&history.contents) {
            self.see_all(&contents.records, Witness::Contents(number));
        }
    }

    fn see_all(&mut self, records: &[Seen], witness: Witness) {
        for seen in records {
            self.see(seen.offset, seen.content, witness);
        }
    }

    fn see(&mut self, offset: u64, content: Content, witness: Witness) {
        let mut sighting = Sighting {
            offset,
            content,
            attempt: None,
            read: None,
            contents: None,
        };
        match self.log.get_mut(offset) {
            None => {
                sighting.is_told_by(witness, self.history);
                self.log.insert(offset, sighting);
            }
            Some(first) if first.content.hash == content.hash => first.is_told_by(witness, self.history),
            Some(_) => {
                let known =
                    |other: &&mut Sighting| other.offset == offset && other.content.hash == content.hash;
                // Few of a good history; of a bad one it is enough to know the latest.
                const LOOKED_AT: usize = 64;
                match self.others.iter_mut().rev().take(LOOKED_AT).find(known) {
                    Some(other) => other.is_told_by(witness, self.history),
                    None => {
                        sighting.is_told_by(witness, self.history);
                        self.others.push(sighting);
                    }
                }
            }
        }
    }

    fn find_places(&mut self) {
        for sighting in self.log.values().chain(&self.others) {
            let Some(RecordOf { batch, index }) = self.record(&sighting.content) else {
                continue;
            };
            let place = &mut self.places[self.batches[batch].first_record + index];
            if place.is_none() {
                *place = Some(sighting.offset);
            }
        }
    }

    /// The batch that has this record.
    pub(super) fn record(&self, content: &Content) -> Option<RecordOf> {
        self.records.get(&content.hash).copied()
    }

    /// How many records were sent, each counted once.
    pub(super) fn records_sent(&self) -> usize {
        self.places.len()
    }

    /// Everything that was seen anywhere, each record at each offset once.
    pub(super) fn sightings(&self) -> impl Iterator<Item = &Sighting> {
        self.log.values().chain(&self.others)
    }

    /// What was seen at an offset besides what was seen there first.
    pub(super) fn others(&self) -> &[Sighting] {
        &self.others
    }

    /// What was seen first at this offset.
    pub(super) fn first_at(&self, offset: u64) -> Option<&Sighting> {
        self.log.get(offset)
    }

    /// Where this record was seen first.
    pub(super) fn place(&self, RecordOf { batch, index }: RecordOf) -> Option<u64> {
        self.places[self.batches[batch].first_record + index]
    }

    /// The offset of the batch's first record, if any of its records was seen.
    pub(super) fn base(&self, batch: usize) -> Option<u64> {
        let places = (0..self.batches[batch].records.len())
            .filter_map(|index| Some((self.place(RecordOf { batch, index })?, index as u64)));
        places.map(|(place, index)| place.saturating_sub(index)).next()
    }

    /// Since when anybody knew that the batch was stored: its acknowledgement, or the first read that gave a record of it.
    pub(super) fn known_since(&self, batch: usize) -> Option<Moment> {
        let acknowledged = self.batches[batch]
            .acknowledged
            .map(|attempt| self.history.ended(attempt));
        let read = self.base(batch).and_then(|base| self.first_at(base)?.read);
        let read = read.map(|read| self.history.reads[read as usize].ended);
        acknowledged.into_iter().chain(read).min()
    }
}

impl Sighting {
    fn is_told_by(&mut self, witness: Witness, history: &History) {
        match witness {
            Witness::Attempt(attempt) => {
                let later = |known: u32| history.ended(known) > history.ended(attempt);
                if self.attempt.is_none_or(later) {
                    self.attempt = Some(attempt);
                }
            }
            Witness::Read(read) => self.read = self.read.or(Some(read)),
            Witness::Contents(contents) => self.contents = self.contents.or(Some(contents)),
        }
    }
}

impl History {
    pub(super) fn attempt(&self, number: u32) -> &Attempt {
        &self.attempts[number as usize]
    }

    /// When an answered attempt was answered.
    fn ended(&self, number: u32) -> Moment {
        let answer = self.attempt(number).answer;
        answer.expect("only of acknowledged attempts").0
    }
}

/// The greatest value of all that ended before each query began. `done`: when, and the value.
pub(super) fn greatest_before<V: Ord + Copy>(
    mut done: Vec<(Moment, V)>,
    mut queries: Vec<(Moment, usize)>,
) -> Vec<(usize, V)> {
    done.sort_unstable();
    queries.sort_unstable();
    let mut done = done.into_iter().peekable();
    let mut greatest = None;
    let mut answers = Vec::with_capacity(queries.len());
    for (began, query) in queries {
        while let Some((_, value)) = done.next_if(|(ended, _)| *ended < began) {
            greatest = greatest.max(Some(value));
        }
        answers.extend(greatest.map(|greatest| (query, greatest)));
    }
    answers
}

/// What is hashed already need not be hashed again.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are hashed with it");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
