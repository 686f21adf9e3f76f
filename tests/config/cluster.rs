//! The section `[cluster]`: lists, what contradicts itself, and the key that is never shown.

use annals::{
    config::{Auto, Config},
    types::GossipKey,
};

use crate::{complaint, load};

/// 32 bytes of 7.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn config(text: &str, environment: &[(&str, &str)]) -> Config {
    load(text, environment).unwrap().config
}

#[test]
fn lists_are_arrays_in_the_file_and_have_commas_in_a_variable() {
    let text = "[cluster]\ninitial_members = [\"node-0\", \"node-1\"]\nseeds = [\"a.example:8401\", \"[::1]:8401\"]\n";
    let environment = [
        ("ANNALS__CLUSTER__INITIAL_MEMBERS", "node-0, node-1"),
        ("ANNALS__CLUSTER__SEEDS", "a.example:8401,[::1]:8401"),
    ];
    let from_file = config(text, &[]);
    assert_eq!(config("", &environment), from_file);
    let seeds: Vec<String> = from_file.cluster.seeds.iter().map(ToString::to_string).collect();
    assert_eq!(seeds, ["a.example:8401", "[::1]:8401"]);
    assert_eq!(
        config(
            "[cluster]\nseeds = [\"a:1\"]\n",
            &[("ANNALS__CLUSTER__SEEDS", "")]
        ),
        Config::default()
    );
}

#[test]
fn what_is_no_list_is_refused_with_the_list_that_was_meant() {
    let printed = complaint("[cluster]\nseeds = \"a:8401\"\n", &[]);
    assert!(
        printed.contains(
            "cluster.seeds must be an array of hosts with ports such as [\"10.0.0.1:8401\"], not a string"
        ),
        "{printed}"
    );
    assert!(printed.contains("help: did you mean [\"a:8401\"]?"), "{printed}");
    let printed = complaint("[cluster]\nseeds = [\"a:8401\", \"b\"]\n", &[]);
    assert!(printed.contains("not `b`"), "{printed}");
    assert!(
        printed.contains("help: for example seeds = [\"10.0.0.1:8401\", \"10.0.0.2:8401\"]"),
        "{printed}"
    );
}

#[test]
fn nodes_that_could_not_find_each_other_are_a_contradiction() {
    let expected = "\
the configuration has 1 error

annals.toml:2:19: cluster.initial_members names node-1, but cluster.seeds is empty, so that this node finds no other
  |
2 | initial_members = [\"node-0\", \"node-1\"]
  |                   ^^^^^^^^^^^^^^^^^^^^
note: cluster.initial_members is node-0,node-1 by annals.toml:2:19
note: node.name is node-0 by default
note: cluster.seeds is empty by default
help: give cluster.seeds the gossip address of another node at least, or make cluster.initial_members [\"node-0\"] for a \
cluster of this node alone";
    let list = "[cluster]\ninitial_members = [\"node-0\", \"node-1\"]\n";
    assert_eq!(complaint(list, &[]), expected);
    assert!(load(list, &[("ANNALS__CLUSTER__SEEDS", "a:8401")]).is_ok());
    // A node outside of the list waits to be told of the cluster, and nobody would tell it.
    let others = "[node]\nname = \"node-7\"\n[cluster]\ninitial_members = [\"node-0\"]\n";
    assert!(complaint(others, &[]).contains("names node-0, but cluster.seeds is empty"));
    assert!(load("[cluster]\ninitial_members = [\"node-0\"]\n", &[]).is_ok());
}

#[test]
fn a_name_that_is_listed_twice_is_a_contradiction() {
    let text = "[cluster]\ninitial_members = [\"node-0\", \"node-1\", \"node-0\"]\nseeds = [\"a:1\"]\n";
    let printed = complaint(text, &[]);
    assert!(
        printed.contains("cluster.initial_members names node-0 twice"),
        "{printed}"
    );
}

#[test]
fn an_even_number_of_voters_is_refused_with_the_one_that_is_as_good() {
    let printed = complaint("[cluster]\nvoters_max = 4\n", &[]);
    assert!(
        printed.contains("cluster.voters_max is 4, which is even"),
        "{printed}"
    );
    assert!(printed.contains("help: make it 3"), "{printed}");
    assert!(load("[cluster]\nvoters_max = 7\n", &[]).is_ok());
    for wrong in ["0", "11"] {
        let printed = complaint(&format!("[cluster]\nvoters_max = {wrong}\n"), &[]);
        assert!(printed.starts_with("the configuration has 1 error"), "{printed}");
        assert!(printed.contains("not between 1 and 9"), "{printed}");
    }
}

#[test]
fn gossip_for_everybody_needs_a_key_or_leave_to_be_insecure() {
    let exposed = "[listen]\ngossip = \"10.0.0.1:8401\"\n";
    let printed = complaint(exposed, &[]);
    assert!(
        printed.contains(
            "listen.gossip is 10.0.0.1:8401, which other machines can reach, but nothing is encrypted"
        ),
        "{printed}"
    );
    assert!(printed.contains("set cluster.gossip_key"), "{printed}");
    assert!(load(exposed, &[("ANNALS__LISTEN__INSECURE", "true")]).is_ok());
    assert!(load(exposed, &[("ANNALS__CLUSTER__GOSSIP_KEY", KEY)]).is_ok());
}

#[test]
fn a_listener_on_all_interfaces_does_not_say_where_the_node_is() {
    let everywhere = "[listen]\ngossip = \"0.0.0.0:8401\"\nrpc = \"0.0.0.0:8400\"\ninsecure = true\n";
    let printed = complaint(everywhere, &[]);
    assert!(printed.starts_with("the configuration has 2 errors"), "{printed}");
    for (listen, advertise) in [("rpc", "rpc"), ("gossip", "gossip")] {
        assert!(
            printed.contains(&format!("listen.{listen} is 0.0.0.0:840")),
            "{printed}"
        );
        assert!(
            printed.contains(&format!("set cluster.advertise_{advertise} to")),
            "{printed}"
        );
    }
    let told = [
        ("ANNALS__CLUSTER__ADVERTISE_RPC", "node-0.example.com:8400"),
        ("ANNALS__CLUSTER__ADVERTISE_GOSSIP", "10.0.0.1:8401"),
    ];
    let told = config(everywhere, &told);
    assert!(matches!(told.cluster.advertise_gossip, Auto::Set(_)));
    // Without gossip nobody is told anything.
    assert!(load("[listen]\nrpc = \"0.0.0.0:8400\"\ninsecure = true\n", &[]).is_ok());
    let nowhere = [("ANNALS__CLUSTER__ADVERTISE_GOSSIP", "10.0.0.1:0")];
    let printed = complaint("[listen]\ngossip = \"127.0.0.1:8401\"\n", &nowhere);
    assert!(
        printed.contains("10.0.0.1:0, where nobody can be reached"),
        "{printed}"
    );
}

/// `advertise_rpc = "0.0.0.0:1"` was taken, and told to everybody.
#[test]
fn an_address_that_is_every_interface_or_has_no_port_is_nobody_s() {
    let alone = "[cluster]\n";
    for nowhere in ["0.0.0.0:8400", "[::]:8400", "[::ffff:0.0.0.0]:8400"] {
        for option in ["advertise_rpc", "advertise_gossip"] {
            let printed = complaint(&format!("{alone}{option} = \"{nowhere}\"\n"), &[]);
            assert!(
                printed.contains(&format!(
                    "cluster.{option} is {nowhere}, where nobody can be reached"
                )),
                "{printed}"
            );
            assert!(printed.contains(&format!("set cluster.{option} to")), "{printed}");
        }
        let printed = complaint(
            &format!("{alone}seeds = [\"10.0.0.1:8401\", \"{nowhere}\"]\n"),
            &[],
        );
        assert!(
            printed.contains(&format!("{nowhere}, where nobody can be reached"))
                && printed.contains("gossips"),
            "{printed}"
        );
    }
    // Without a port it is no address at all.
    for wrong in ["advertise_rpc = \"10.0.0.1:0\"", "seeds = [\"10.0.0.1:0\"]"] {
        let printed = complaint(&format!("{alone}{wrong}\n"), &[]);
        assert!(printed.contains("10.0.0.1:0"), "{printed}");
    }
    assert!(load("[cluster]\nadvertise_rpc = \"10.0.0.1:8400\"\n", &[]).is_ok());
}

#[test]
fn gossip_has_an_address_of_its_own() {
    for other in ["rpc", "admin"] {
        let text = format!("[listen]\n{other} = \"127.0.0.1:8401\"\n");
        // Alone it does not gossip.
        assert!(load(&text, &[]).is_ok());
        let printed = complaint(&text, &[("ANNALS__CLUSTER__SEEDS", "a:1")]);
        assert!(
            printed.contains(&format!(
                "listen.{other} and listen.gossip are both 127.0.0.1:8401"
            )),
            "{printed}"
        );
    }
}

#[test]
fn a_key_is_read_and_never_shown() {
    let loaded = load(&format!("[cluster]\ngossip_key = \"{KEY}\"\n"), &[]).unwrap();
    assert_eq!(loaded.config.cluster.gossip_key, GossipKey::from_bytes(&[7; 32]));
    assert!(!format!("{loaded:?}").contains("7, 7"));
    let shown: Vec<String> = loaded
        .config
        .values()
        .iter()
        .map(|(_, value)| value.to_string())
        .collect();
    assert!(!shown.iter().any(|value| value.contains("Bwc")), "{shown:?}");
    // What is printed in its place is refused, and does not quietly mean none.
    let printed = complaint("[cluster]\ngossip_key = \"(hidden)\"\n", &[]);
    assert!(printed.contains("16, 24 or 32 bytes in base64"), "{printed}");
}

#[test]
fn a_key_with_a_mistake_is_not_shown_either() {
    let short = &KEY[..KEY.len() - 4];
    for text in [
        format!("[cluster]\ngossip_key = \"{short}\"\n"),
        format!("[cluster]\ngossip_key = {KEY}\n"),
        format!("[cluster]\ngossip_kye = \"{KEY}\"\n"),
        format!("[node]\ngossip_key = \"{KEY}\"\n"),
        format!("gossip_key = \"{KEY}\"\n"),
        format!("cluster = {{ gossip_keys = \"{KEY}\" }}\n"),
        format!("[cluster]\ngossip_key = [\"{KEY}\"]\n"),
    ] {
        let error = load(&text, &[]).unwrap_err();
        for printed in [error.to_string(), format!("{error:?}")] {
            assert!(!printed.contains("Bwc"), "{printed}");
        }
    }
    let error = load("", &[("ANNALS__CLUSTER__GOSSIP_KEY", short)]).unwrap_err();
    for printed in [error.to_string(), format!("{error:?}")] {
        assert!(!printed.contains("Bwc"), "{printed}");
    }
}

#[test]
fn keys_are_in_one_place_and_their_file_is_read_with_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gossip.keys");
    let option = format!("[cluster]\ngossip_key_file = {:?}\n", file.display().to_string());
    let printed = complaint(&option, &[]);
    assert!(printed.contains("gossip.keys: cannot be read"), "{printed}");
    std::fs::write(&file, format!("{KEY}\nc2hvcnQ=\n")).unwrap();
    let printed = complaint(&option, &[]);
    assert!(
        printed.contains("line 2 is no key") && !printed.contains("c2hvcnQ"),
        "{printed}"
    );
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let config = load(&option, &[]).unwrap().config;
    let keys = config.gossip_keys().unwrap().unwrap();
    assert_eq!(Some(keys.first()), GossipKey::from_bytes(&[7; 32]));
    // It encrypts, so that gossip may be where others reach it.
    assert!(load(&format!("{option}[listen]\ngossip = \"10.0.0.1:8401\"\n"), &[]).is_ok());
    let printed = complaint(&format!("{option}gossip_key = \"{KEY}\"\n"), &[]);
    assert!(
        printed.contains("cluster.gossip_key and cluster.gossip_key_file are both set")
            && !printed.contains(KEY),
        "{printed}"
    );
}
