//! The order of appends.

use super::script::{Script, node, stamp};
use crate::support::log_checker::{Answer, Level, Rule, Stamp};

#[test]
fn an_append_that_overtakes_an_acknowledged_one_is_found() {
    let script = Script::new();
    script.stored("first", 1);
    script.stored("second", 0);
    script.ends_with(0, &["second", "first"]);
    let text = script.assert_breaks(&[Rule::RealTimeOrder]);
    assert!(
        text.starts_with("offset 0 is the batch of client \"second\""),
        "{text}"
    );
    assert!(
        text.contains("known to be the batch of client \"first\""),
        "{text}"
    );
}

#[test]
fn an_append_with_an_unknown_outcome_that_overtakes_an_acknowledged_one_is_found() {
    let script = Script::new();
    script.stored("first", 1);
    script.append("second", Answer::Unknown);
    script.ends_with(0, &["second", "first"]);
    script.assert_breaks(&[Rule::RealTimeOrder]);
}

#[test]
fn an_append_that_overtakes_one_that_was_read_is_found() {
    let script = Script::new();
    script.append("first", Answer::Unknown);
    script.read(Level::Local, 1, &["first"]);
    script.append("second", Answer::Unknown);
    script.ends_with(0, &["second", "first"]);
    script.assert_breaks(&[Rule::RealTimeOrder]);
}

#[test]
fn appends_at_the_same_time_may_come_in_either_order() {
    let script = Script::new();
    let (one, other) = (script.begin("one"), script.begin("other"));
    script.acknowledge(one, 1);
    script.acknowledge(other, 0);
    script.ends_with(0, &["other", "one"]);
    script.assert_good();
}

#[test]
fn a_try_that_failed_does_not_make_a_batch_older() {
    let script = Script::new();
    script.append("a", Answer::Failed);
    script.stored("b", 1);
    script.stored("a", 0);
    script.ends_with(0, &["a", "b"]);
    script.assert_breaks(&[Rule::RealTimeOrder]);
}

#[test]
fn sequences_of_a_producer_that_are_stored_in_another_order_are_found() {
    let script = Script::new();
    let (first, second) = (
        script.send(&["first"], Some(stamp(0))),
        script.send(&["second"], Some(stamp(1))),
    );
    script.acknowledge(first, 1);
    script.acknowledge(second, 0);
    script.ends_with(0, &["second", "first"]);
    let text = script.assert_breaks(&[Rule::ProducerOrder]);
    assert!(text.contains("producer 1 epoch 0 sequence 1"), "{text}");
}

#[test]
fn a_batch_of_a_fenced_epoch_behind_one_of_a_later_epoch_is_found() {
    let later = Stamp { epoch: 1, ..stamp(0) };
    let script = Script::new();
    script.stamped("old", stamp(0), Answer::Unknown);
    script.stamped_stored("new", later, 0);
    script.ends_with(0, &["new"]);
    script.assert_good();
    script.ends_with(0, &["new", "old"]);
    script.assert_breaks(&[Rule::ProducerOrder]);
}

#[test]
fn producers_do_not_wait_for_each_other() {
    let other = Stamp { id: 2, ..stamp(9) };
    let script = Script::new();
    let (one, two) = (
        script.send(&["one"], Some(stamp(0))),
        script.send(&["two"], Some(other)),
    );
    script.acknowledge(one, 1);
    script.acknowledge(two, 0);
    script.ends_with(0, &["two", "one"]);
    script.assert_good();
}

#[test]
fn requests_of_one_stream_that_are_stored_in_another_order_are_found() {
    for (streams, rules) in [([7, 7], &[Rule::ProducerOrder][..]), ([7, 8], &[])] {
        let script = Script::new();
        let send = |name, stream| script.notes.attempt(&node("node-0"), &[name], None, Some(stream));
        let (first, second) = (send("first", streams[0]), send("second", streams[1]));
        script.acknowledge(first, 1);
        script.acknowledge(second, 0);
        script.ends_with(0, &["second", "first"]);
        assert_eq!(script.recorder.history().judge().rules(), rules);
    }
}
