//! What nodes have in common, and what each keeps.

use super::script::{Script, node};
use crate::support::log_checker::{Answer, Level, Node, Origin, Rule, Seen};

fn with_origin(records: &[Seen], origin: Origin) -> Vec<Seen> {
    let with = |seen: &Seen| Seen { origin, ..*seen };
    records.iter().map(with).collect()
}

#[test]
fn nodes_that_hold_different_records_are_found() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    script.append("b", Answer::Unknown);
    script.notes.contents(script.contents_of("node-0", 0, &["a"]));
    script.notes.contents(script.contents_of("node-1", 0, &["b"]));
    script.assert_breaks(&[Rule::OneValue, Rule::Identical, Rule::Committed]);
    let verdict = script.recorder.history().judge();
    let text = &verdict.breaches(Rule::Identical)[0].text;
    assert!(text.contains("read of node-0"), "{text}");
    assert!(text.contains("read of node-1"), "{text}");
    assert_eq!(verdict.breaches(Rule::Identical)[0].offset, Some(0));
}

#[test]
fn nodes_that_hold_one_record_in_different_entries_are_found() {
    let origin = Origin {
        term: 2,
        log_index: 7,
        timestamp_ms: 1000,
    };
    let others = [
        Origin { term: 3, ..origin },
        Origin {
            log_index: 8,
            ..origin
        },
        Origin {
            timestamp_ms: 1001,
            ..origin
        },
    ];
    for other in others {
        let script = Script::new();
        script.stored("a", 0);
        for (name, origin) in [("node-0", origin), ("node-1", other)] {
            let mut contents = script.contents_of(name, 0, &["a"]);
            contents.records = with_origin(&contents.records, origin).into();
            script.notes.contents(contents);
        }
        let text = script.assert_breaks(&[Rule::Identical]);
        assert!(
            text.contains("of term 2, log index 7, time 1000 by the full"),
            "{text}"
        );
    }
}

#[test]
fn nodes_that_tell_less_of_an_entry_are_not_different() {
    let script = Script::new();
    script.stored("a", 0);
    script.has("node-0", 0, &["a"]);
    let mut contents = script.contents_of("node-1", 0, &["a"]);
    let known = Origin {
        term: 2,
        log_index: 7,
        timestamp_ms: 1000,
    };
    contents.records = with_origin(&contents.records, known).into();
    script.notes.contents(contents);
    script.assert_good();
}

#[test]
fn nodes_that_begin_and_end_elsewhere_are_not_different() {
    let script = Script::new();
    for (offset, name) in ["a", "b", "c"].iter().enumerate() {
        script.stored(name, offset as u64);
    }
    script.has("node-0", 1, &["b", "c"]);
    let mut behind = script.contents_of("node-1", 0, &["a", "b"]);
    behind.level = Level::Local;
    script.notes.contents(behind);
    script.assert_good();
}

/// A record was read before it was committed; its entry was replaced by a retry of the same batch in another term.
#[test]
fn a_read_of_an_entry_that_another_replaced_is_found_by_its_term() {
    let script = Script::new();
    script.append("a", Answer::Unknown);
    let of_term = |term| Origin {
        term,
        ..Origin::default()
    };
    let mut read = script.read_of(Level::Local, 0, &["a"]);
    read.records = with_origin(&read.records, of_term(2)).into();
    script.notes.read(read);
    let mut contents = script.contents_of("node-0", 0, &["a"]);
    contents.records = with_origin(&contents.records, of_term(3)).into();
    script.notes.contents(contents);
    script.assert_breaks(&[Rule::Identical]);
}

#[test]
fn a_watermark_that_falls_is_found_on_its_node() {
    let script = Script::new();
    let (one, other) = (node("one"), node("other"));
    script.watermark(&one, 5);
    script.watermark(&other, 3);
    script.watermark(&one, 5);
    script.assert_good();
    script.watermark(&one, 4);
    let text = script.assert_breaks(&[Rule::WatermarkRises]);
    assert!(text.starts_with("one told 5 at"), "{text}");
}

#[test]
fn a_watermark_may_begin_lower_in_a_nodes_next_life() {
    let script = Script::new();
    script.watermark(&Node::new("one", 0), 5);
    script.watermark(&Node::new("one", 1), 3);
    script.watermark(&Node::new("one", 1), 4);
    script.assert_good();
    script.watermark(&Node::new("one", 1), 3);
    let text = script.assert_breaks(&[Rule::WatermarkRises]);
    assert!(text.starts_with("one/1 told 4 at"), "{text}");
}

#[test]
fn watermarks_asked_for_at_the_same_time_may_come_in_either_order() {
    let script = Script::new();
    let (one, other) = (script.notes.now(), script.notes.now());
    script.notes.watermark(node("one"), one, 5);
    script.notes.watermark(node("one"), other, 4);
    script.assert_good();
}
