//! The file of gossip's keys is replaced while a node runs.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Node, configuration, get, line_with};

/// 32 bytes each.
const FIRST: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SECOND: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const NO_KEY: &str = "bm90IGEga2V5";

/// As Kubernetes and editors do: never half of it is to be seen.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("it can be written");
    fs::rename(new, file).expect("it is there");
}

/// What `/status` says of the keys.
fn status(node: &Node) -> Value {
    let response = get(&node.admin, "/status");
    let (_, body) = response.split_once("\r\n\r\n").expect("it has a body");
    let mut status: Value = serde_json::from_str(body).expect("it is JSON");
    status["gossip"].take()
}

#[test]
fn a_new_file_of_keys_is_in_force_at_once_and_a_wrong_one_is_told_of_without_its_keys() {
    let temp = tempfile::tempdir().unwrap();
    let config = configuration(&temp.path().join("data"), "127.0.0.1:0");
    let keys = temp.path().join("gossip.keys");
    replace(&keys, FIRST);
    let text = fs::read_to_string(&config).unwrap().replace(
        "[listen]\n",
        "[cluster]\ninitial_members = [\"node-0\"]\ngossip_key_file = \"gossip.keys\"\n[listen]\ngossip = \"127.0.0.1:0\"\n",
    );
    fs::write(&config, text).unwrap();
    let node = Node::start(&config);
    node.wait_until_ready();
    let says = |what: &'static str| node.process.err.wait_for(what, |log| line_with(log, what));

    let stands = |keys: usize, reloads: u64, failures: u64, problem: Option<&str>| {
        let told = status(&node);
        let expected =
            json!({"keys": keys, "reloads": reloads, "reload_failures": failures, "reload_problem": problem});
        assert_eq!(told, expected);
    };
    stands(1, 0, 0, None);

    replace(
        &keys,
        &format!("# the new one is not in use yet\n{FIRST}\n{SECOND}\n"),
    );
    let line = says("2 keys of ");
    assert!(line.contains("\"msg\":\"reloaded\""), "{line}");
    stands(2, 1, 0, None);

    replace(&keys, &format!("{SECOND}\n{NO_KEY}\n"));
    let line = says("line 2 is no key");
    assert!(
        line.contains("cannot reload; what was in force stays so"),
        "{line}"
    );
    assert!(line.contains("openssl rand"), "{line}");
    let problem = format!("{}: line 2 is no key", keys.display());
    stands(2, 1, 1, Some(&problem));

    replace(&keys, &format!("{SECOND}\n"));
    says("1 key of ");
    stands(1, 2, 1, None);
    // Asked for, it answers also where nothing has changed.
    node.process.signal("HUP");
    says("nothing to reload: nothing has changed");
    let log = node.process.err.text();
    for secret in [FIRST, SECOND, NO_KEY] {
        assert!(!log.contains(secret), "{log}");
    }
    node.process.stop();
}
