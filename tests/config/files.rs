//! The files in `config/`.

use std::path::{Path, PathBuf};

use annals::config::{self, ByteSize, Config, Founding, Origin};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

#[test]
fn default_toml_equals_the_defaults_in_the_code() {
    let loaded = config::load(Some(&shipped("default.toml")), std::iter::empty()).unwrap();
    assert_eq!(loaded.config, Config::default());
}

#[test]
fn default_toml_sets_every_option_in_the_order_of_the_code() {
    let loaded = config::load(Some(&shipped("default.toml")), std::iter::empty()).unwrap();
    let lines: Vec<usize> = Config::KEYS
        .iter()
        .map(|key| match loaded.origins.of(*key) {
            Origin::File { line, .. } => *line,
            origin => panic!("{key} comes from {origin}, not from the file"),
        })
        .collect();
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn default_toml_gives_a_reason_for_every_option() {
    let text = std::fs::read_to_string(shipped("default.toml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (before, line) in lines
        .iter()
        .zip(&lines[1..])
        .filter(|(_, line)| line.contains(" = "))
    {
        assert!(before.starts_with("# "), "no reason stands above `{line}`");
    }
}

#[test]
fn single_node_toml_is_accepted() {
    let loaded = config::load(Some(&shipped("single-node.toml")), std::iter::empty()).unwrap();
    assert_eq!(loaded.config.node.data_dir, Path::new("/var/lib/annals"));
    assert_eq!(loaded.config.log.retention_bytes, Some(ByteSize::gib(400)));
}

/// A value of each of the three nodes.
fn of_each<T>(value: impl Fn(&Config) -> T) -> [T; 3] {
    [
        "cluster/node-0.toml",
        "cluster/node-1.toml",
        "cluster/node-2.toml",
    ]
    .map(|name| {
        let loaded = config::load(Some(&shipped(name)), std::iter::empty()).unwrap();
        value(&loaded.config)
    })
}

#[test]
fn three_nodes_of_one_machine_found_one_cluster_and_are_in_nobodys_way() {
    assert_eq!(
        of_each(|config| config.node.name.to_string()),
        ["node-0", "node-1", "node-2"]
    );
    let [first, others @ ..] = of_each(Config::founding);
    let Founding::Together(members) = &first else {
        panic!("{first:?}")
    };
    assert_eq!(members.len(), 3);
    assert!(others.iter().all(|other| *other == first));
    let [name, ..] = of_each(|config| config.cluster.name.clone());
    assert!(
        of_each(|config| config.cluster.name == name)
            .into_iter()
            .all(|same| same)
    );
    let gossip = of_each(|config| config.gossip_listen().unwrap());
    for seeds in of_each(|config| config.cluster.seeds.clone()) {
        let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        assert_eq!(seeds, gossip.map(|address| address.to_string()));
    }
    let addresses = of_each(|config| {
        let gossip = config.gossip_listen().unwrap();
        [config.listen.rpc, gossip, config.listen.admin].map(|address| address.port())
    });
    assert_eq!(
        addresses,
        [[8400, 8401, 8402], [8410, 8411, 8412], [8420, 8421, 8422]]
    );
    let directories: std::collections::BTreeSet<_> = of_each(|config| config.node.data_dir.clone()).into();
    assert_eq!(directories.len(), 3);
}
