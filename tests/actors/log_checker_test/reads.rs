//! What reads have to see, and may not see.

use super::script::{Script, node};
use crate::support::log_checker::{Answer, Level, Read, Rule};

#[test]
fn a_linearizable_read_that_misses_an_acknowledged_record_is_found() {
    for level in [Level::Linearizable, Level::Lease] {
        let script = Script::new();
        script.stored("a", 0);
        script.stored("b", 1);
        script.read(level, 0, &["a"]);
        script.ends_with(0, &["a", "b"]);
        let text = script.assert_breaks(&[Rule::Linearizable]);
        assert!(
            text.starts_with("all below 2 was acknowledged, but 1 is the end of the"),
            "{text}"
        );
        assert!(text.contains("before it, client \"b\" x1"), "{text}");
    }
}

#[test]
fn a_linearizable_read_that_begins_behind_the_end_and_is_told_an_old_watermark_is_found() {
    let script = Script::new();
    script.stored("a", 0);
    let empty = |high_watermark| Read {
        high_watermark,
        ..script.read_of(Level::Linearizable, 1, &[])
    };
    script.notes.read(empty(1));
    script.assert_good();
    script.notes.read(empty(0));
    script.assert_breaks(&[Rule::Linearizable]);
}

#[test]
fn a_linearizable_read_may_miss_what_is_acknowledged_while_it_goes_on() {
    let script = Script::new();
    let attempt = script.begin("a");
    let read = script.read_of(Level::Linearizable, 0, &[]);
    script.acknowledge(attempt, 0);
    script.notes.read(read);
    script.assert_good();
}

#[test]
fn a_limited_read_that_knows_an_old_watermark_is_found() {
    let script = Script::new();
    script.stored("a", 0);
    script.stored("b", 1);
    let limited = |high_watermark| Read {
        limited: true,
        high_watermark,
        ..script.read_of(Level::Linearizable, 0, &["a"])
    };
    script.notes.read(limited(2));
    script.assert_good();
    script.notes.read(limited(1));
    script.assert_breaks(&[Rule::Linearizable]);
}

#[test]
fn a_local_read_may_be_old() {
    let script = Script::new();
    script.stored("a", 0);
    script.read(Level::Local, 0, &[]);
    script.ends_with(0, &["a"]);
    script.assert_good();
}

#[test]
fn a_linearizable_read_that_goes_back_behind_another_on_another_node_is_found() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    script.read(Level::Linearizable, 0, &["a"]);
    let elsewhere = Read {
        node: node("node-1"),
        ..script.read_of(Level::Linearizable, 0, &[])
    };
    script.notes.read(elsewhere);
    script.ends_with(0, &["a"]);
    let text = script.assert_breaks(&[Rule::NeverBackwards]);
    assert!(
        text.starts_with("0 is the end of the Linearizable read of 0 records from 0 at node-1"),
        "{text}"
    );
    assert!(
        text.contains("before it, the Linearizable read of 1 records from 0 at node-0"),
        "{text}"
    );
}

#[test]
fn linearizable_reads_at_the_same_time_may_see_different_ends() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    let early = script.read_of(Level::Linearizable, 0, &[]);
    script.read(Level::Linearizable, 0, &["a"]);
    script.notes.read(early);
    script.ends_with(0, &["a"]);
    script.assert_good();
}

#[test]
fn a_linearizable_read_that_is_behind_a_followers_watermark_is_found() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    script.watermark(&node("node-1"), 1);
    script.read(Level::Local, 0, &[]);
    script.assert_good();
    script.read(Level::Linearizable, 0, &[]);
    script.assert_breaks(&[Rule::NeverBackwards]);
}

#[test]
fn a_record_at_the_watermark_is_found() {
    let script = Script::new();
    script.stored("a", 0);
    let read = Read {
        high_watermark: 0,
        ..script.read_of(Level::Local, 0, &["a"])
    };
    script.notes.read(read);
    script.ends_with(0, &["a"]);
    let text = script.assert_breaks(&[Rule::BelowWatermark]);
    assert!(text.starts_with("offset 0 was given by the Local read"), "{text}");
}

#[test]
fn an_acknowledgement_above_the_leaders_watermark_is_found() {
    let acknowledged = |watermark| Answer::Acknowledged {
        first_offset: 0,
        next_offset: 1,
        leader_watermark: watermark,
    };
    for good in [None, Some(1), Some(2)] {
        let script = Script::new();
        script.append("a", acknowledged(good));
        script.assert_good();
    }
    let script = Script::new();
    script.append("a", acknowledged(Some(0)));
    let text = script.assert_breaks(&[Rule::BelowWatermark]);
    assert!(
        text.starts_with("the leader's high watermark was 0: client \"a\""),
        "{text}"
    );
}
