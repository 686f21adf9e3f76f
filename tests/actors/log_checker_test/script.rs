//! Histories written by hand.

use crate::support::log_checker::{
    Answer, AttemptId, Content, Contents, Level, Node, Notes, Origin, Read, Recorder, Rule, Seen, Stamp,
};

pub(super) fn node(name: &str) -> Node {
    Node::new(name, 0)
}

/// Of producer 1, in its first epoch.
pub(super) fn stamp(sequence: u64) -> Stamp {
    Stamp {
        id: 1,
        epoch: 0,
        sequence,
    }
}

/// Records by their names, from this offset on.
pub(super) fn numbered(first: u64, names: &[&str]) -> Vec<Seen> {
    let named = (first..).zip(names);
    named
        .map(|(offset, name)| Seen {
            offset,
            content: Content::of(name.as_bytes()),
            origin: Origin::default(),
        })
        .collect()
}

/// Writes a history. Each line happens after the one before.
pub(super) struct Script {
    pub(super) recorder: Recorder,
    pub(super) notes: Notes,
}

impl Script {
    pub(super) fn new() -> Self {
        let recorder = Recorder::new();
        let notes = recorder.client("client");
        Self { recorder, notes }
    }

    pub(super) fn send(&self, names: &[&str], stamp: Option<Stamp>) -> AttemptId {
        self.notes.attempt(&node("node-0"), names, stamp, None)
    }

    pub(super) fn begin(&self, name: &str) -> AttemptId {
        self.send(&[name], None)
    }

    pub(super) fn acknowledge(&self, attempt: AttemptId, first_offset: u64) {
        let answer = Answer::acknowledged(first_offset..first_offset + 1);
        self.notes.answered(attempt, answer);
    }

    pub(super) fn append(&self, name: &str, answer: Answer) {
        self.notes.answered(self.begin(name), answer);
    }

    pub(super) fn stored(&self, name: &str, first_offset: u64) {
        self.acknowledge(self.begin(name), first_offset);
    }

    pub(super) fn batch_stored(&self, names: &[&str], first_offset: u64) {
        let answer = Answer::acknowledged(first_offset..first_offset + names.len() as u64);
        self.notes.answered(self.send(names, None), answer);
    }

    pub(super) fn stamped(&self, name: &str, stamp: Stamp, answer: Answer) {
        self.notes.answered(self.send(&[name], Some(stamp)), answer);
    }

    pub(super) fn stamped_stored(&self, name: &str, stamp: Stamp, offset: u64) {
        self.stamped(name, stamp, Answer::acknowledged(offset..offset + 1));
    }

    /// A read that began now.
    pub(super) fn read_of(&self, level: Level, from: u64, names: &[&str]) -> Read {
        let now = self.notes.now();
        Read {
            node: node("node-0"),
            level,
            began: now,
            ended: now,
            from,
            records: numbered(from, names).into(),
            limited: false,
            high_watermark: from + names.len() as u64,
        }
    }

    pub(super) fn read(&self, level: Level, from: u64, names: &[&str]) {
        self.notes.read(self.read_of(level, from, names));
    }

    /// A full read that began now.
    pub(super) fn contents_of(&self, name: &str, earliest: u64, names: &[&str]) -> Contents {
        let now = self.notes.now();
        Contents {
            node: node(name),
            level: Level::Linearizable,
            began: now,
            ended: now,
            earliest,
            high_watermark: earliest + names.len() as u64,
            records: numbered(earliest, names).into(),
        }
    }

    pub(super) fn has(&self, name: &str, earliest: u64, names: &[&str]) {
        self.notes.contents(self.contents_of(name, earliest, names));
    }

    /// At the end the node has these records.
    pub(super) fn ends_with(&self, earliest: u64, names: &[&str]) {
        self.has("node-0", earliest, names);
    }

    pub(super) fn watermark(&self, node: &Node, value: u64) {
        self.notes.watermark(node.clone(), self.notes.now(), value);
    }

    pub(super) fn assert_good(&self) {
        self.recorder.history().assert_kept();
    }

    /// Panics unless these rules are broken and no others; answers what is said of the first.
    pub(super) fn assert_breaks(&self, rules: &[Rule]) -> String {
        let verdict = self.recorder.history().judge();
        assert_eq!(verdict.rules(), rules, "{verdict}");
        verdict.breaches(rules[0])[0].text.clone()
    }
}
