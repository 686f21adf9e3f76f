//! Which record is at which offset.

use super::script::{Script, stamp};
use crate::support::log_checker::{Answer, Level, Rule};

#[test]
fn a_good_history_with_failures_and_retries_breaks_nothing() {
    let script = Script::new();
    script.stored("a", 0);
    let (slow, quick) = (script.begin("slow"), script.begin("quick"));
    script.acknowledge(quick, 1);
    script.read(Level::Linearizable, 0, &["a", "quick"]);
    script.acknowledge(slow, 2);
    script.append("refused", Answer::Failed);
    script.append("lost on the way", Answer::Unknown);
    script.append("stored, not answered", Answer::Unknown);
    script.stamped("once", stamp(0), Answer::Unknown);
    script.stored("b", 5);
    // Stored by the first try, before "b".
    script.stamped_stored("once", stamp(0), 4);
    script.read(Level::Local, 1, &["quick"]);
    let all = ["a", "quick", "slow", "stored, not answered", "once", "b"];
    script.has("node-0", 0, &all);
    script.has("node-1", 2, &all[2..]);
    script.assert_good();
    let summary = script.recorder.history().summary();
    assert_eq!((summary.acknowledged, summary.failed, summary.unknown), (5, 1, 3));
    assert_eq!(
        (summary.linearizable_reads, summary.records_read, summary.contents),
        (1, 3, 2)
    );
}

#[test]
fn an_append_that_is_never_answered_is_found() {
    let script = Script::new();
    script.begin("a");
    script.ends_with(0, &[]);
    let text = script.assert_breaks(&[Rule::Answered]);
    assert!(text.contains("client \"a\" x1, to node-0 at 0."), "{text}");
}

#[test]
fn another_record_at_an_acknowledged_offset_is_found() {
    let script = Script::new();
    script.stored("a", 0);
    script.append("b", Answer::Unknown);
    script.ends_with(0, &["b"]);
    let text = script.assert_breaks(&[Rule::OneValue, Rule::Kept]);
    assert!(
        text.starts_with("offset 0 is \"a\" (record 1 of 1 of the batch of client"),
        "{text}"
    );
    assert!(text.contains("acknowledged [0, 1)"), "{text}");
    assert!(
        text.contains("; and is \"b\" (record 1 of 1 of the batch of client"),
        "{text}"
    );
    assert!(text.contains("by the full Linearizable read of node-0"), "{text}");
}

#[test]
fn two_acknowledgements_of_one_offset_are_found() {
    let script = Script::new();
    let (one, other) = (script.begin("a"), script.begin("b"));
    script.acknowledge(one, 0);
    script.acknowledge(other, 0);
    script.ends_with(1, &[]);
    script.assert_breaks(&[Rule::OneValue]);
}

#[test]
fn two_reads_of_one_offset_that_differ_are_found() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    script.append("b", Answer::Unknown);
    script.read(Level::Local, 0, &["a"]);
    script.read(Level::Local, 0, &["b"]);
    script.assert_breaks(&[Rule::OneValue]);
}

#[test]
fn an_acknowledged_record_that_is_gone_is_found() {
    let script = Script::new();
    script.stored("a", 0);
    script.stored("b", 1);
    script.ends_with(0, &["a"]);
    let text = script.assert_breaks(&[Rule::Kept]);
    assert!(text.starts_with("offset 1 was acknowledged for \"b\""), "{text}");
    assert!(
        text.contains("there is nothing in the full Linearizable read of node-0"),
        "{text}"
    );
}

#[test]
fn an_acknowledged_record_that_is_gone_from_one_node_is_found() {
    let script = Script::new();
    script.stored("a", 0);
    script.has("node-0", 0, &["a"]);
    script.has("node-1", 0, &[]);
    script.assert_breaks(&[Rule::Kept, Rule::Committed]);
}

#[test]
fn a_record_acknowledged_while_a_node_is_read_may_be_missing_there() {
    let script = Script::new();
    let attempt = script.begin("a");
    let contents = script.contents_of("node-0", 0, &[]);
    script.acknowledge(attempt, 0);
    script.notes.contents(contents);
    script.assert_good();
}

#[test]
fn what_is_trimmed_is_not_lost() {
    let script = Script::new();
    script.stored("a", 0);
    script.stored("b", 1);
    script.ends_with(1, &["b"]);
    script.assert_good();
}

#[test]
fn a_node_read_as_it_is_may_be_behind_but_may_not_lack_what_is_below_its_watermark() {
    let script = Script::new();
    script.stored("a", 0);
    script.stored("b", 1);
    let behind = |high_watermark| {
        let mut contents = script.contents_of("node-0", 0, &["a"]);
        contents.level = Level::Local;
        contents.high_watermark = high_watermark;
        contents
    };
    script.notes.contents(behind(1));
    script.assert_good();
    script.notes.contents(behind(2));
    script.assert_breaks(&[Rule::Kept, Rule::Gapless]);
}

#[test]
fn a_record_that_was_read_and_is_gone_is_found() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    script.read(Level::Local, 0, &["a"]);
    script.ends_with(0, &[]);
    let text = script.assert_breaks(&[Rule::Committed]);
    assert!(
        text.contains("by the Local read of 1 records from 0 at node-0"),
        "{text}"
    );
}

#[test]
fn a_record_with_an_unknown_outcome_may_be_there_or_not() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    script.append("b", Answer::Unknown);
    script.ends_with(0, &["b"]);
    script.assert_good();
}

#[test]
fn a_record_that_nobody_sent_is_found() {
    let script = Script::new();
    script.ends_with(0, &["a"]);
    let text = script.assert_breaks(&[Rule::NoPhantom]);
    assert!(
        text.starts_with("offset 0 is \"a\" (sent by nobody) by the full"),
        "{text}"
    );
}

#[test]
fn a_record_that_was_surely_refused_is_found() {
    let script = Script::new();
    script.append("a", Answer::Failed);
    script.read(Level::Local, 0, &["a"]);
    let text = script.assert_breaks(&[Rule::FailedIsNotStored]);
    assert!(text.contains("failed) by the Local read"), "{text}");
}

#[test]
fn a_record_that_was_refused_once_and_then_stored_is_good() {
    let script = Script::new();
    script.append("a", Answer::Failed);
    script.stored("a", 0);
    script.stamped("b", stamp(0), Answer::Unknown);
    script.stamped("b", stamp(0), Answer::Failed);
    script.ends_with(0, &["a", "b"]);
    script.assert_good();
}
