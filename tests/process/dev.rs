//! `annals dev`: what it says is so, and how it ends.

use std::path::Path;

use crate::support::{Line, Node, after, annals, get, lines_to_paste};

#[test]
fn every_line_of_the_banner_works_as_it_stands() {
    let (node, banner) = Node::dev(&[]);
    let lines = lines_to_paste(&banner, "Paste into another terminal:");
    let [produce, consume, follow, describe, read, probe] = lines[..] else {
        panic!("the banner has other lines: {lines:?}");
    };
    let shell = |line: &str| Line::new("sh").args(["-c", line]);
    assert_eq!(shell(produce).run().text(), "1 record at offsets 0..1\n");
    assert_eq!(shell(consume).run().text(), "hello\n");
    assert!(shell(describe).run().text().contains("\nreadable   0..1\n"));

    // `exec`, so that the guard ends the program itself and not only its shell.
    let following = shell(&format!("exec {follow}")).start();
    // It starts at the end as it finds it: some record that comes later is printed, and never the first one.
    let first = (1..1_000).find_map(|i| {
        let sent = annals()
            .args(["produce", "--addr", &node.rpc])
            .run_with(&format!("later {i}\n"));
        sent.done();
        following.out.text().lines().next().map(str::to_owned)
    });
    assert!(first.expect("it follows").starts_with("later "));

    // No `curl` is needed to see that what it would ask is answered.
    let ask = |line: &str| {
        let url = after(line, "curl 'http://");
        let (address, path) = url.trim_end_matches('\'').split_once('/').expect("it has a path");
        get(address, &format!("/{path}"))
    };
    let answer = ask(read);
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""text":"hello""#),
        "{answer}"
    );
    let answer = ask(probe);
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("[+] log ok"),
        "{answer}"
    );
}

#[test]
fn each_signal_ends_it_well_with_everything_synced() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let args = ["--data-dir", data.to_str().unwrap()];
    let mut expected = String::new();
    for signal in ["TERM", "INT"] {
        let (node, banner) = Node::dev(&args);
        assert_eq!(after(&banner, "  data     "), data.display().to_string());
        assert!(banner.ends_with("the data stays.\n"), "{banner}");
        let line = format!("before {signal}\n");
        annals()
            .args(["produce", "--addr", &node.rpc])
            .run_with(&line)
            .done();
        expected.push_str(&line);
        node.process.signal(signal);
        let ended = node.process.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
        assert!(
            ended.err.contains(&format!("\"signal\":\"SIG{signal}\"")),
            "{}",
            ended.err
        );
    }
    let (node, _) = Node::dev(&args);
    let found = annals().args(["consume", "--addr", &node.rpc]).run().text();
    assert_eq!(found, expected);
    // A log that was closed has nothing behind its last mark, and so nothing to cut off or to write again.
    let log = node.process.stop().err;
    assert!(!log.contains("cut off"), "{log}");
}

/// Both founded another cluster in the directory, without a word, and the records of before seemed to be gone.
#[test]
fn one_node_is_not_put_into_the_directory_of_several_nor_several_into_that_of_one() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("one");
    let one = directory.to_str().unwrap();
    let (node, _) = Node::dev(&["--data-dir", one]);
    assert_eq!(node.process.stop().status.code(), Some(0));
    let refused = annals()
        .args(["dev", "--port", "0", "--nodes", "3", "--data-dir", one])
        .run();
    let said = refused.refused(78);
    assert!(
        said.contains("holds the data of a single node") && said.contains("hint: leave out --nodes"),
        "{said}"
    );
    assert!(!directory.join("node-0").exists(), "nothing is founded");
    for name in ["node-0", "node-1", "node-2"] {
        std::fs::create_dir_all(place.path().join("several").join(name).join("logs")).unwrap();
    }
    let several = place.path().join("several");
    let refused = annals()
        .args(["dev", "--port", "0", "--data-dir"])
        .arg(&several)
        .run();
    let said = refused.refused(78);
    assert!(
        said.contains("holds the data of several nodes (node-0, node-1, node-2)")
            && said.contains("hint: --nodes 3 "),
        "{said}"
    );
    assert!(!several.join("identity").exists(), "nothing is founded");
}

#[test]
fn a_temporary_data_directory_goes_with_its_node() {
    let (node, banner) = Node::dev(&[]);
    let data = after(&banner, "  data     ");
    assert!(Path::new(&data).join("identity").exists());
    assert!(banner.contains("and the data goes"), "{banner}");
    assert_eq!(node.process.stop().status.code(), Some(0));
    assert!(!Path::new(&data).exists(), "{data} is still there");
}
