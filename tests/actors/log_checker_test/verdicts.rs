//! What is told of a verdict, and what else a history says.

use std::{panic, time::Duration};

use super::script::{Script, stamp};
use crate::support::log_checker::{Answer, Rule};

#[test]
fn of_many_breaches_all_are_counted_and_the_first_are_told() {
    const LOST: usize = 25;
    let script = Script::new();
    let names: Vec<String> = (0..LOST).map(|number| format!("record {number}")).collect();
    for (offset, name) in (0..).zip(&names) {
        script.stored(name, offset);
    }
    script.ends_with(0, &[]);
    let verdict = script.recorder.history().judge();
    assert_eq!(
        (verdict.rules(), verdict.count(Rule::Kept)),
        (vec![Rule::Kept], LOST)
    );
    let told = verdict.breaches(Rule::Kept);
    let offsets: Vec<_> = told.iter().map(|breach| breach.offset.unwrap()).collect();
    assert_eq!(offsets, (0..10).collect::<Vec<u64>>());
    let text = verdict.to_string();
    assert!(
        text.starts_with("broken 25 times: what was acknowledged is there, unchanged (Kept)\n  - offset 0"),
        "{text}"
    );
    assert!(text.ends_with("\n  - and so on\n"), "{text}");
}

#[test]
fn a_record_that_is_sent_in_two_batches_makes_no_history() {
    let script = Script::new();
    script.stamped("a", stamp(0), Answer::Unknown);
    script.stamped("a", stamp(1), Answer::Unknown);
    let history = script.recorder.history();
    let judged = panic::catch_unwind(|| history.judge());
    assert!(judged.is_err());
}

#[test]
fn an_attempt_is_answered_once_and_in_the_notes_it_was_made_in() {
    let script = Script::new();
    let attempt = script.begin("a");
    let others = script.recorder.client("another");
    assert!(panic::catch_unwind(|| others.answered(attempt, Answer::Failed)).is_err());
    script.acknowledge(attempt, 0);
    assert!(panic::catch_unwind(|| script.acknowledge(attempt, 0)).is_err());
}

#[test]
fn moments_rise_whichever_threads_take_them() {
    const TAKEN: usize = 10_000;
    let recorder = Script::new().recorder;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let recorder = recorder.clone();
            std::thread::spawn(move || (0..TAKEN).map(|_| recorder.now()).collect::<Vec<_>>())
        })
        .collect();
    let mut all = Vec::new();
    for thread in threads {
        let moments = thread.join().unwrap();
        assert!(moments.is_sorted());
        all.extend(moments);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4 * TAKEN, "no two are the same");
}

#[test]
fn the_longest_silence_is_between_two_acknowledgements_or_at_either_end() {
    let script = Script::new();
    let from = script.notes.now();
    script.append("a", Answer::Unknown);
    script.stored("b", 0);
    script.stored("c", 1);
    let to = script.notes.now();
    let mut history = script.recorder.history();
    history.standstills.clear();
    let ended = |number: usize| history.attempts[number].answer.unwrap().0;
    let pauses = [ended(1).since(from), ended(2).since(ended(1)), to.since(ended(2))];
    let longest = history.longest_silence(from, to);
    assert_eq!(Some(longest), pauses.into_iter().max());
    assert!(longest > Duration::ZERO && longest < to.since(from));
    let (before, behind) = (ended(1), ended(2));
    assert_eq!(history.longest_silence(before, behind), pauses[1]);
    // As if the machine had stood still from before the pause until there.
    history.standstills = vec![from..from, from..behind];
    assert_eq!(history.longest_silence(before, behind), Duration::ZERO);
    history.standstills = vec![from..before, behind..to];
    assert_eq!(history.longest_silence(before, behind), pauses[1]);
}
