//! The checker of histories finds nothing wrong with a good one, and the breach in each bad one.

use bytes::Bytes;

use crate::support::log_checker::{Answer, AttemptId, Contents, Read, Recorder, Stamp, Violation};

fn record(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn numbered(first: u64, names: &[&str]) -> Vec<(u64, Bytes)> {
    (first..)
        .zip(names)
        .map(|(offset, name)| (offset, record(name)))
        .collect()
}

/// Writes histories by hand. Each line happens after the one before.
#[derive(Default)]
struct Script(Recorder);

impl Script {
    fn begin(&self, name: &str) -> AttemptId {
        self.0.attempt(vec![record(name)], None)
    }

    fn answer(&self, attempt: AttemptId, answer: Answer) {
        self.0.answered(attempt, answer);
    }

    fn acknowledge(&self, attempt: AttemptId, first_offset: u64) {
        self.answer(attempt, Answer::Acknowledged { first_offset });
    }

    fn append(&self, name: &str, answer: Answer) {
        self.answer(self.begin(name), answer);
    }

    fn stored(&self, name: &str, first_offset: u64) {
        self.append(name, Answer::Acknowledged { first_offset });
    }

    fn stamped(&self, name: &str, sequence: u64, answer: Answer) {
        let stamp = Stamp {
            id: 1,
            epoch: 0,
            sequence,
        };
        let attempt = self.0.attempt(vec![record(name)], Some(stamp));
        self.answer(attempt, answer);
    }

    fn read(&self, from: u64, names: &[&str]) {
        self.0.read(Read {
            linearizable: true,
            ..self.local(from, names)
        });
    }

    fn local(&self, from: u64, names: &[&str]) -> Read {
        Read {
            began: self.0.now(),
            linearizable: false,
            from,
            records: numbered(from, names),
            limited: false,
            high_watermark: from + names.len() as u64,
        }
    }

    fn ends_with(&self, earliest: u64, names: &[&str]) -> Vec<Violation> {
        self.0.contents(Contents {
            began: self.0.now(),
            earliest,
            high_watermark: earliest + names.len() as u64,
            records: numbered(earliest, names),
        });
        self.0.history().judge()
    }
}

#[test]
fn a_good_history_with_failures_and_retries_has_no_violations() {
    let script = Script::default();
    script.stored("a", 0);
    let (slow, quick) = (script.begin("slow"), script.begin("quick"));
    script.acknowledge(quick, 1);
    script.read(0, &["a", "quick"]);
    script.acknowledge(slow, 2);
    script.append("refused", Answer::Failed);
    script.append("lost on the way", Answer::Unknown);
    script.append("stored, not answered", Answer::Unknown);
    script.stamped("once", 0, Answer::Unknown);
    script.stored("b", 5);
    // Stored by the first try, before "b".
    script.stamped("once", 0, Answer::Acknowledged { first_offset: 4 });
    let asked = script.0.now();
    script.0.watermark("node", asked, 6);
    script.0.read(script.local(1, &["quick"]));
    let all = ["a", "quick", "slow", "stored, not answered", "once", "b"];
    assert_eq!(script.ends_with(0, &all), []);
    assert_eq!(script.ends_with(2, &all[2..]), []);
    let summary = script.0.history().assert_kept();
    assert_eq!((summary.acknowledged, summary.failed, summary.unknown), (5, 1, 3));
}

#[test]
fn an_append_that_is_never_answered_is_found() {
    let script = Script::default();
    script.begin("a");
    let violations = script.ends_with(0, &[]);
    assert!(
        matches!(violations[..], [Violation::Unanswered { .. }]),
        "{violations:?}"
    );
}

#[test]
fn a_missing_offset_is_found() {
    let script = Script::default();
    for (offset, name) in ["a", "b", "c"].iter().enumerate() {
        script.stored(name, offset as u64);
    }
    let mut read = script.local(0, &["a", "b", "c"]);
    read.records.remove(1);
    script.0.read(read);
    let gap = Violation::Gap {
        expected: 1,
        found: Some(2),
    };
    assert_eq!(script.ends_with(0, &["a", "b", "c"]), [gap]);
}

#[test]
fn contents_that_end_before_the_watermark_are_found() {
    let script = Script::default();
    script.0.contents(Contents {
        began: script.0.now(),
        earliest: 3,
        high_watermark: 5,
        records: Vec::new(),
    });
    let gap = Violation::Gap {
        expected: 3,
        found: None,
    };
    assert_eq!(script.0.history().judge(), [gap]);
}

#[test]
fn an_acknowledged_record_that_is_gone_is_found() {
    let script = Script::default();
    script.stored("a", 0);
    script.stored("b", 1);
    let lost = Violation::Lost {
        offset: 1,
        record: "b".to_owned(),
    };
    assert_eq!(script.ends_with(0, &["a"]), [lost]);
}

#[test]
fn a_record_that_was_read_and_is_gone_is_found() {
    let script = Script::default();
    script.append("a", Answer::Unknown);
    script.0.read(script.local(0, &["a"]));
    let lost = Violation::Lost {
        offset: 0,
        record: "a".to_owned(),
    };
    assert_eq!(script.ends_with(0, &[]), [lost]);
}

#[test]
fn another_record_at_an_acknowledged_offset_is_found() {
    let script = Script::default();
    script.stored("a", 0);
    script.append("b", Answer::Unknown);
    let changed = Violation::Changed {
        offset: 0,
        one: "a".to_owned(),
        other: "b".to_owned(),
    };
    assert_eq!(script.ends_with(0, &["b"]), [changed]);
}

#[test]
fn two_acknowledgements_of_one_offset_are_found() {
    let script = Script::default();
    let (one, other) = (script.begin("a"), script.begin("b"));
    script.acknowledge(one, 0);
    script.acknowledge(other, 0);
    let violations = script.ends_with(1, &[]);
    assert!(
        matches!(violations[..], [Violation::Changed { offset: 0, .. }]),
        "{violations:?}"
    );
}

#[test]
fn a_record_that_nobody_sent_is_found() {
    let script = Script::default();
    let phantom = Violation::Phantom {
        offset: 0,
        record: "a".to_owned(),
    };
    assert_eq!(script.ends_with(0, &["a"]), [phantom]);
}

#[test]
fn a_record_that_was_surely_refused_is_found() {
    let script = Script::default();
    script.append("a", Answer::Failed);
    let phantom = Violation::Phantom {
        offset: 0,
        record: "a".to_owned(),
    };
    assert_eq!(script.ends_with(0, &["a"]), [phantom]);
}

#[test]
fn a_retry_that_is_stored_again_is_found() {
    let script = Script::default();
    script.stamped("a", 0, Answer::Unknown);
    script.stamped("a", 0, Answer::Acknowledged { first_offset: 1 });
    let duplicate = Violation::Duplicate {
        record: "a".to_owned(),
        offsets: vec![0, 1],
    };
    assert_eq!(script.ends_with(0, &["a", "a"]), [duplicate]);
}

#[test]
fn an_append_that_overtakes_an_acknowledged_one_is_found() {
    let script = Script::default();
    script.stored("first", 1);
    script.stored("second", 0);
    let reordered = Violation::Reordered { earlier: 0, later: 1 };
    assert_eq!(script.ends_with(0, &["second", "first"]), [reordered]);
}

#[test]
fn appends_at_the_same_time_may_come_in_either_order() {
    let script = Script::default();
    let (one, other) = (script.begin("one"), script.begin("other"));
    script.acknowledge(one, 1);
    script.acknowledge(other, 0);
    assert_eq!(script.ends_with(0, &["other", "one"]), []);
}

#[test]
fn a_linearizable_read_that_misses_an_acknowledged_record_is_found() {
    let script = Script::default();
    script.stored("a", 0);
    script.stored("b", 1);
    script.read(0, &["a"]);
    let violations = script.ends_with(0, &["a", "b"]);
    let [
        Violation::Stale {
            acknowledged, saw, ..
        },
    ] = violations[..]
    else {
        panic!("{violations:?}")
    };
    assert_eq!((acknowledged, saw), (2, 1));
}

#[test]
fn a_limited_read_that_knows_an_old_watermark_is_found() {
    let script = Script::default();
    script.stored("a", 0);
    script.stored("b", 1);
    let limited = |high_watermark| Read {
        limited: true,
        linearizable: true,
        high_watermark,
        ..script.local(0, &["a"])
    };
    script.0.read(limited(2));
    assert_eq!(script.0.history().judge(), []);
    script.0.read(limited(1));
    let violations = script.0.history().judge();
    assert!(
        matches!(violations[..], [Violation::Stale { .. }]),
        "{violations:?}"
    );
}

#[test]
fn a_local_read_may_be_old() {
    let script = Script::default();
    script.stored("a", 0);
    script.0.read(script.local(0, &[]));
    assert_eq!(script.ends_with(0, &["a"]), []);
}

#[test]
fn a_record_at_the_watermark_is_found() {
    let script = Script::default();
    script.stored("a", 0);
    let read = Read {
        high_watermark: 0,
        ..script.local(0, &["a"])
    };
    script.0.read(read);
    let uncommitted = Violation::Uncommitted {
        offset: 0,
        high_watermark: 0,
    };
    assert_eq!(script.ends_with(0, &["a"]), [uncommitted]);
}

#[test]
fn a_watermark_that_falls_is_found_on_its_node() {
    let script = Script::default();
    let tell = |node: &str, value| script.0.watermark(node, script.0.now(), value);
    tell("one", 5);
    tell("other", 3);
    tell("one", 5);
    assert_eq!(script.0.history().judge(), []);
    tell("one", 4);
    let fell = Violation::WatermarkFell {
        node: "one".to_owned(),
        from: 5,
        to: 4,
    };
    assert_eq!(script.0.history().judge(), [fell]);
}

#[test]
fn watermarks_asked_for_at_the_same_time_may_come_in_either_order() {
    let script = Script::default();
    let (one, other) = (script.0.now(), script.0.now());
    script.0.watermark("node", one, 5);
    script.0.watermark("node", other, 4);
    assert_eq!(script.0.history().judge(), []);
}
