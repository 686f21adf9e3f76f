//! `kill -9` under those who write and read: they go on by themselves, and nothing is lost or doubled.

use std::{collections::BTreeMap, io::Write, path::Path, thread};

use crate::support::{DEADLINE, Node, addresses::free_addresses, annals, configuration, text};

fn high_watermark(rpc: &str) -> usize {
    let described = annals()
        .args(["log", "describe", "--addr", rpc, "-o", "json"])
        .run()
        .text();
    let described: serde_json::Value = serde_json::from_str(&described).expect("it prints JSON");
    let watermark = described["high_watermark"].as_u64().expect("it has one");
    usize::try_from(watermark).expect("so many lines were in memory")
}

/// Waits until more than `count` records are readable, and says how many are.
fn wait_until_above(rpc: &str, count: usize) -> usize {
    let deadline = annals::clock::now() + DEADLINE;
    loop {
        let found = high_watermark(rpc);
        if found > count {
            return found;
        }
        assert!(
            annals::clock::now() < deadline,
            "{found} records are not more than {count}"
        );
    }
}

#[test]
fn a_producer_goes_on_over_kills_and_every_line_comes_back_once() {
    const KILLS: usize = 3;
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let input = text(60_000);
    let lines = input.lines().count();
    let rpc = free_addresses(1)[0].to_string();
    let mut node = Node::agent(&data, &rpc);
    let (producer, mut stdin) = annals()
        .args(["produce", "--addr", &rpc, "--batch", "50"])
        .start_with_input();
    // The last line is kept back, so that the producer is at work through all kills however fast the machine is.
    let (most, last) = input.split_at(input.trim_end().rfind('\n').unwrap() + 1);
    let (most, last) = (most.to_owned(), last.to_owned());
    let feeding = thread::spawn(move || {
        stdin.write_all(most.as_bytes()).unwrap();
        stdin
    });
    let mut kills_in_the_middle = 0;
    for kill in 1..=KILLS {
        let safe = wait_until_above(&rpc, lines * kill / (KILLS + 2));
        kills_in_the_middle += usize::from(safe < lines - 1);
        node.process.kill();
        node = Node::agent(&data, &rpc);
        let recovered = high_watermark(&rpc);
        assert!(
            recovered >= safe,
            "{safe} were acknowledged, {recovered} are there"
        );
    }
    assert!(
        kills_in_the_middle > 0,
        "all was stored before the node could be killed"
    );
    let mut stdin = feeding.join().unwrap();
    stdin.write_all(last.as_bytes()).unwrap();
    drop(stdin);
    let said = producer.wait().text();
    assert_eq!(said, format!("{lines} records at offsets 0..{lines}\n"));
    let found = annals().args(["consume", "--addr", &rpc]).run().done();
    assert!(found == input.as_bytes(), "lines are lost, doubled or changed");
    assert_eq!(node.process.stop().status.code(), Some(0));
}

/// Each sealed store of the log, by its name: all but the last.
fn sealed_stores(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let directory = std::fs::read_dir(data.join("logs/default")).expect("the log is there");
    let mut stores: BTreeMap<_, _> = directory
        .map(|entry| entry.expect("the directory can be read"))
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, _)| name.ends_with(".store"))
        .collect();
    stores.pop_last();
    let read = |path| std::fs::read(path).expect("no retention removes it");
    stores
        .into_iter()
        .map(|(name, path)| (name, read(path)))
        .collect()
}

#[test]
fn no_byte_of_a_sealed_segment_changes_over_rolls_kills_and_restarts() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let config = configuration(&data, "127.0.0.1:0");
    let smallest = "[log]\nsegment_bytes = \"1MiB\"\nbatch_bytes_max = \"256KiB\"\n";
    let more = format!("{}{smallest}", std::fs::read_to_string(&config).unwrap());
    std::fs::write(&config, more).unwrap();
    let mut before = BTreeMap::new();
    for round in 0..3 {
        let node = Node::start(&config);
        annals()
            .args(["produce", "--addr", &node.rpc, "--batch", "200"])
            .run_with(&text(30_000))
            .done();
        let ended = match round {
            0 => node.process.stop(),
            _ => node.process.kill(),
        };
        drop(ended);
        let now = sealed_stores(&data);
        assert!(now.len() > before.len(), "nothing was sealed: {:?}", now.keys());
        for (name, bytes) in &before {
            assert!(now.get(name) == Some(bytes), "{name} has changed");
        }
        before = now;
    }
}

#[test]
fn a_follower_goes_on_where_the_node_left_off() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let rpc = free_addresses(1)[0].to_string();
    let mut node = Node::agent(&data, &rpc);
    let follower = annals()
        .args(["consume", "--addr", &rpc, "--follow", "--count", "4"])
        .start();
    let mut expected = String::new();
    for (i, line) in ["one\n", "two\n", "three\n", "four\n"].into_iter().enumerate() {
        annals().args(["produce", "--addr", &rpc]).run_with(line).done();
        expected.push_str(line);
        follower.out.wait_for_bytes(expected.len());
        // A stop ends its stream with an answer, a kill without one.
        let ended = if i % 2 == 0 {
            node.process.kill()
        } else {
            node.process.stop()
        };
        assert_eq!(ended.status.code(), (i % 2 == 1).then_some(0), "{}", ended.err);
        node = Node::agent(&data, &rpc);
    }
    let ended = follower.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    assert_eq!(String::from_utf8_lossy(&ended.out), expected);
    // Once when the node is gone, and once when it is back.
    let notes: Vec<_> = ended.err.lines().collect();
    let back = format!("note: goes on at {rpc} after ");
    let is_told = |pair: &[&str]| matches!(pair, [gone, is_back] if gone.ends_with("; trying again") && is_back.starts_with(&back));
    assert!(notes.len() == 6 && notes.chunks(2).all(is_told), "{}", ended.err);
}

#[test]
fn a_node_whose_log_is_gone_does_not_start_as_the_voter_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let node = Node::agent(&data, "127.0.0.1:0");
    node.wait_until_ready();
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with("one\n")
        .done();
    let begun = data.join("begun");
    let deadline = annals::clock::now() + DEADLINE;
    while !begun.exists() {
        assert!(annals::clock::now() < deadline, "its first life leaves no note");
    }
    node.process.kill();
    let (logs, elsewhere) = (data.join("logs"), temp.path().join("logs"));
    std::fs::rename(&logs, &elsewhere).unwrap();
    let config = configuration(&data, "127.0.0.1:0");
    let agent = || annals().arg("agent").arg("--config").arg(&config);
    let ended = agent().run();
    assert!(ended.refused(78).contains("this node has a log"));
    let verified = annals().args(["storage", "verify"]).arg(&data).run();
    assert_eq!(verified.status.code(), Some(9), "{verified:?}");
    std::fs::remove_dir_all(&logs).unwrap_or_default();
    std::fs::rename(&elsewhere, &logs).unwrap();
    assert_eq!(high_watermark(&Node::agent(&data, "127.0.0.1:0").rpc), 1);
}
