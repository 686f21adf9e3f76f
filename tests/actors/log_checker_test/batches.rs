//! What becomes of a batch.

use super::script::{Script, numbered, stamp};
use crate::support::log_checker::{Answer, Level, Rule};

#[test]
fn a_missing_offset_is_found() {
    let script = Script::new();
    script.batch_stored(&["a"], 0);
    script.batch_stored(&["b"], 1);
    script.batch_stored(&["c"], 2);
    let mut read = script.read_of(Level::Local, 0, &["a", "b", "c"]);
    let mut records = read.records.to_vec();
    records.remove(1);
    read.records = records.into();
    script.notes.read(read);
    script.ends_with(0, &["a", "b", "c"]);
    let text = script.assert_breaks(&[Rule::Gapless]);
    assert!(
        text.starts_with("offset 2 where 1 was expected in the Local read"),
        "{text}"
    );
}

#[test]
fn a_read_that_begins_too_late_is_found() {
    let script = Script::new();
    script.stored("a", 0);
    script.stored("b", 1);
    let mut read = script.read_of(Level::Local, 0, &["a", "b"]);
    read.records = numbered(1, &["b"]).into();
    script.notes.read(read);
    script.assert_breaks(&[Rule::Gapless]);
}

#[test]
fn contents_that_end_before_the_watermark_are_found() {
    let script = Script::new();
    let mut contents = script.contents_of("node-0", 3, &[]);
    contents.high_watermark = 5;
    script.notes.contents(contents);
    let text = script.assert_breaks(&[Rule::Gapless]);
    assert!(text.starts_with("the records end before 3"), "{text}");
}

#[test]
fn a_retry_that_is_stored_again_is_found() {
    let script = Script::new();
    script.stamped("a", stamp(0), Answer::Unknown);
    script.stamped_stored("a", stamp(0), 1);
    script.ends_with(0, &["a", "a"]);
    let text = script.assert_breaks(&[Rule::StoredOnce]);
    assert!(text.starts_with("offsets 0 and 1 are both \"a\""), "{text}");
    assert!(
        text.contains("producer 1 epoch 0 sequence 0; to node-0"),
        "{text}"
    );
}

#[test]
fn a_retry_acknowledged_at_another_offset_is_found() {
    let script = Script::new();
    script.stamped_stored("a", stamp(0), 0);
    script.stamped_stored("a", stamp(0), 1);
    script.assert_breaks(&[Rule::StoredOnce]);
}

#[test]
fn an_unstamped_batch_that_is_stored_twice_is_found() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    script.ends_with(0, &["a", "a"]);
    script.assert_breaks(&[Rule::StoredOnce]);
}

#[test]
fn a_retry_acknowledged_at_the_same_offset_is_good() {
    let script = Script::new();
    script.stamped_stored("a", stamp(0), 0);
    script.stored("b", 1);
    script.stamped_stored("a", stamp(0), 0);
    script.ends_with(0, &["a", "b"]);
    script.assert_good();
}

#[test]
fn a_batch_of_which_the_last_record_is_missing_is_found() {
    let script = Script::new();
    let attempt = script.send(&["a 1", "a 2"], None);
    script.notes.answered(attempt, Answer::Unknown);
    script.stored("b", 1);
    script.ends_with(0, &["a 1", "b"]);
    let text = script.assert_breaks(&[Rule::Atomic]);
    assert!(
        text.starts_with("the record at offset 1 is not \"a 2\" (record 2 of 2 of"),
        "{text}"
    );
}

#[test]
fn a_batch_of_which_the_first_record_is_missing_is_found() {
    let script = Script::new();
    script.stored("b", 0);
    let attempt = script.send(&["a 1", "a 2"], None);
    script.notes.answered(attempt, Answer::Unknown);
    script.read(Level::Local, 0, &["b", "a 2"]);
    script.assert_breaks(&[Rule::Atomic]);
}

#[test]
fn a_watermark_inside_a_batch_is_found() {
    let script = Script::new();
    let attempt = script.send(&["a 1", "a 2"], None);
    script.notes.answered(attempt, Answer::Unknown);
    script.ends_with(0, &["a 1"]);
    let text = script.assert_breaks(&[Rule::Atomic]);
    assert!(
        text.starts_with("behind the end, at offset 1 is not \"a 2\""),
        "{text}"
    );
}

#[test]
fn a_batch_torn_by_another_is_found() {
    let script = Script::new();
    let attempts = [
        script.send(&["a 1", "a 2"], None),
        script.send(&["b 1", "b 2"], None),
    ];
    for attempt in attempts {
        script.notes.answered(attempt, Answer::Unknown);
    }
    script.ends_with(0, &["a 1", "b 1", "a 2", "b 2"]);
    script.assert_breaks(&[Rule::Atomic]);
}

#[test]
fn an_acknowledgement_of_fewer_offsets_than_records_is_found() {
    let script = Script::new();
    let attempt = script.send(&["a 1", "a 2"], None);
    script.notes.answered(attempt, Answer::acknowledged(0..1));
    script.ends_with(0, &["a 1", "a 2"]);
    script.assert_breaks(&[Rule::Atomic]);
}

#[test]
fn a_read_may_begin_and_end_inside_a_batch() {
    let script = Script::new();
    script.batch_stored(&["a 1", "a 2", "a 3"], 0);
    script.batch_stored(&["b 1", "b 2"], 3);
    script.read(Level::Local, 1, &["a 2", "a 3", "b 1"]);
    script.ends_with(2, &["a 3", "b 1", "b 2"]);
    script.assert_good();
}
