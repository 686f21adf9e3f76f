//! A configuration file loads, or every fault has its place and its remedy; and what loaded loads again, as
//! `annals config show` prints it, to the same values.
//!
//! Input: the file.

#![no_main]

use std::{fs::File, iter, os::unix::fs::FileExt, path::Path, sync::LazyLock};

use annals::{
    cli::config::{ConfigCommand, Output, Source},
    config::{Config, ConfigErrors, Origin, keys, load},
};
use annals_fuzz::seeds;
use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;

/// The file, and what was printed.
static FILES: LazyLock<[NamedTempFile; 2]> =
    LazyLock::new(|| [(), ()].map(|()| NamedTempFile::new().expect("there is room for a file")));

fuzz_target!(init: seeds::plant("config", seeds()), |input: &[u8]| {
    let [file, printed] = &*FILES;
    write(file.as_file(), input);
    let file = file.path();
    let config = match read(file) {
        Ok(config) => config,
        Err(errors) => return assert_each_has_its_place(&errors, file, input),
    };
    let mut text = Vec::new();
    let source = Source { config: Some(file.to_path_buf()) };
    annals::cli::config::run(&ConfigCommand::Show { source, output: Output::Text }, &mut text).expect("it loads");
    write(printed.as_file(), &text);
    let again = read(printed.path());
    if config.cluster.gossip_key.is_some() {
        // A secret is not printed, and what stands for it is refused.
        let errors = again.expect_err("a hidden key is none");
        let key = keys::cluster::gossip_key.to_string();
        assert!(matches!(errors.as_slice(), [only] if only.problem.to_string().starts_with(&key)), "{errors}");
    } else {
        assert_eq!(again.map_err(|errors| errors.to_string()), Ok(config));
    }
});

/// Every option, without the words about it; options of a cluster; and the same in other forms of TOML.
fn seeds() -> Vec<Vec<u8>> {
    let every = include_str!("../../config/default.toml").lines();
    let every: Vec<&str> = every.filter(|line| !line.starts_with('#')).collect();
    let cluster = "[node]\nname = \"node-1\"\n[cluster]\nname = \"a\"\ninitial_members = [\"node-0\", \"node-1\"]\n\
        seeds = [\"node-0:8401\"]\nadvertise_rpc = \"node-1:8400\"\ngossip_key = \"none\"\n";
    let inline = "log = { segment_bytes = \"64MiB\", retention_age = \"7d\" }\nlimits.consumers_max = 0x10\n";
    [&every.join("\n"), cluster, inline].map(Vec::from).to_vec()
}

/// Over what was there: a file that is cut to nothing first is written to the disk at once by some file systems.
fn write(file: &File, bytes: &[u8]) {
    let written = file
        .write_all_at(bytes, 0)
        .and_then(|()| file.set_len(bytes.len() as u64));
    written.expect("there is room for a file");
}

fn read(file: &Path) -> Result<Config, ConfigErrors> {
    load(Some(file), iter::empty()).map(|loaded| loaded.config)
}

fn assert_each_has_its_place(errors: &ConfigErrors, file: &Path, input: &[u8]) {
    assert!(!errors.as_slice().is_empty() && !errors.to_string().is_empty());
    let lines = input.split(|byte| *byte == b'\n').count();
    for error in errors.as_slice() {
        assert!(
            !error.to_string().is_empty() && !error.help.is_empty(),
            "{error:?}"
        );
        match &error.origin {
            Origin::File { path, line, column } => {
                assert!(
                    path == file && (1..=lines).contains(line) && *column >= 1,
                    "{error:?}"
                );
            }
            // The defaults contradict nothing, so neither does what is left of a file that sets nothing.
            Origin::Default | Origin::Environment { .. } => panic!("{error:?} is nowhere in the file"),
        }
    }
}
