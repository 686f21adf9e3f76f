//! That the feature `client` brings nothing of the server's.

use std::{collections::BTreeSet, process::Command};

/// What a crate must not bring that only wants to talk to a node.
const OF_THE_SERVER: [&str; 13] = [
    "actix",
    "actix-rt",
    "axum",
    "casbin",
    "clap",
    "memberlist",
    "memmap2",
    "mimalloc",
    "openraft",
    "rcgen",
    "slog",
    "tonic-reflection",
    "x509-parser",
];

/// The crates that are built for the library with these features.
fn crates(features: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{said}");
    let names = String::from_utf8(tree.stdout).unwrap();
    let names = names.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_client_alone_needs_nothing_of_the_server() {
    let all = crates(&[]);
    let of_the_client = crates(&["--no-default-features", "--features", "client"]);
    for name in OF_THE_SERVER {
        assert!(all.contains(name), "{name} is no dependency any more");
        assert!(!of_the_client.contains(name), "the client brings {name}");
    }
    assert!(of_the_client.contains("tonic"), "{of_the_client:?}");
    // With some room: what is meant is that it stays a fraction.
    println!("{} of {} crates", of_the_client.len(), all.len());
    assert!(2 * of_the_client.len() < all.len(), "{of_the_client:?}");
}
