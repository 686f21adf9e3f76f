//! The files in `config/`.

use std::path::{Path, PathBuf};

use annals::config::{self, ByteSize, Config, Origin};

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
