//! `annals init`: what it makes is right and for its owner alone, and nothing is half made or overwritten.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use annals::config::{self, Config, Founding};

use crate::support::{Ended, Program};

/// Where a directory is to be made.
struct Above(tempfile::TempDir);

impl Above {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn init(&self, name: &str, args: &str) -> Ended {
        Program::new(&format!("init {args}"))
            .arg(self.path(name))
            .run(b"")
    }

    /// All that is there now.
    fn names(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(self.0.path()).expect("it is there");
        entries
            .map(|entry| entry.expect("it can be listed").path())
            .collect()
    }
}

fn load(file: &Path) -> Config {
    let loaded = config::load(Some(file), std::iter::empty());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, [""; 0], "{}", file.display());
    loaded.config
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

#[test]
fn every_file_passes_its_check_however_many_nodes_there_are() {
    let above = Above::new();
    for nodes in 1..=9 {
        let name = format!("of {nodes}");
        above.init(&name, &format!("--nodes {nodes}")).done();
        let directory = above.path(&name);
        for node in 0..nodes {
            let file = directory.join(format!("node-{node}.toml"));
            let checked = Program::new("config check --config").arg(&file).run(b"").done();
            assert_eq!(checked.text(), format!("{}: ok\n", file.display()));
            let config = load(&file);
            assert_eq!(config.node.data_dir, directory.join(format!("data/node-{node}")));
            assert!(config.cluster.voters_max >= nodes);
            match config.founding() {
                Founding::Alone => assert_eq!((nodes, config.gossip_listen()), (1, None)),
                Founding::Together(members) => assert_eq!(members.len(), nodes as usize),
                Founding::JoinOnly => panic!("nobody founds it"),
            }
        }
        let listed = Program::new("certs list")
            .arg(directory.join("certs"))
            .run(b"")
            .done();
        assert_eq!(
            listed.text().lines().count(),
            1 + 1 + nodes as usize + 2,
            "{}",
            listed.text()
        );
        let renewed = Program::new("certs renew --all --dir")
            .arg(directory.join("certs"))
            .run(b"");
        assert_eq!(renewed.code, 0, "{}", renewed.err);
    }
}

#[test]
fn what_is_secret_is_for_its_owner_alone_whatever_the_umask() {
    let above = Above::new();
    let line = format!(
        "umask 000; annals init '{}' --nodes 3 > /dev/null",
        above.path("open").display()
    );
    Program::pasted(&line).run(b"").done();
    above.init("alone", "").done();
    let open = above.path("open");
    let secret = ["gossip.keys", "certs/ca.key", "certs/node-1.key", "certs/app.key"];
    for file in secret {
        assert_eq!(mode(&open.join(file)), 0o600, "{file}");
    }
    for directory in [&open, &open.join("certs")] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
    for file in [
        open.join("policy.csv"),
        open.join("certs/ca.pem"),
        above.path("alone/node-0.toml"),
    ] {
        assert_eq!(mode(&file), 0o644, "{}", file.display());
    }
}

#[test]
fn nodes_of_a_cluster_share_a_key_that_no_other_cluster_has() {
    let above = Above::new();
    let keys = |file: &str| load(&above.path(file)).gossip_keys().expect("they are read");
    for name in ["a", "b"] {
        above.init(name, "--nodes 2").done();
        assert_eq!(mode(&above.path(&format!("{name}/gossip.keys"))), 0o600);
    }
    above.init("alone", "").done();
    assert!(keys("a/node-0.toml").is_some());
    assert_eq!(keys("a/node-0.toml"), keys("a/node-1.toml"));
    assert_ne!(keys("a/node-0.toml"), keys("b/node-0.toml"));
    assert_eq!(keys("alone/node-0.toml"), None);
    assert!(!above.path("alone/gossip.keys").exists());
}

#[test]
fn every_argument_is_heeded() {
    let above = Above::new();
    let args = "--name log-0 --cluster orders --host log-0.example.com,10.0.0.10 --host fd00::1 --client root --port 9400";
    let report = above.init("one", &format!("{args} -o json")).done();
    let report: serde_json::Value = serde_json::from_str(report.text()).expect("it is JSON");
    assert_eq!(report["clients"][0]["identity"], "annals://orders/client/root");
    let file = report["nodes"][0]["config"].as_str().expect("it is a path");
    let config = load(Path::new(file));
    assert_eq!(config.node.name.as_str(), "log-0");
    assert_eq!(config.cluster.name.as_str(), "orders");
    assert_eq!(
        (config.listen.rpc.port(), config.listen.admin.port()),
        (9400, 9402)
    );
    let listed = Program::new("certs list")
        .arg(above.path("one/certs"))
        .run(b"")
        .done();
    let wanted = "log-0.example.com,localhost,10.0.0.10,fd00::1,127.0.0.1,::1";
    assert!(listed.text().contains(wanted), "{}", listed.text());
    let may = |subject: &str, code: i32| {
        let asked = Program::new(&format!("acl check {subject} cluster admin --config"))
            .arg(file)
            .run(b"");
        assert_eq!(asked.code, code, "{subject}: {}{}", asked.text(), asked.err);
    };
    may("annals://orders/client/root", 0);
    may("annals://orders/client/admin", 1);
    may("annals://orders/client/app", 1);
}

#[test]
fn nothing_that_is_there_is_touched() {
    let above = Above::new();
    above.init("made", "").done();
    fs::write(above.path("file"), "mine").expect("it can be written");
    fs::create_dir(above.path("empty")).expect("it can be made");
    symlink("/nowhere", above.path("link")).expect("it can be made");
    let (before, ca) = (above.names(), fs::read(above.path("made/certs/ca.pem")).ok());
    for name in ["made", "file", "empty", "link"] {
        let refused = above.init(name, "--nodes 3");
        assert_eq!(refused.code, 5, "{name}: {}", refused.err);
        let said = format!(
            "error: {} is there already, and nothing is overwritten\n",
            above.path(name).display()
        );
        assert!(refused.err.starts_with(&said), "{}", refused.err);
    }
    assert_eq!(above.names(), before);
    assert_eq!(fs::read(above.path("made/certs/ca.pem")).ok(), ca);
    assert_eq!(fs::read_dir(above.path("made")).expect("it is there").count(), 3);
}

/// The shell lets it write so many blocks of 512 bytes to a file: keys fit into one, certificates into two, the policy does not.
#[test]
fn what_cannot_be_made_leaves_nothing() {
    let above = Above::new();
    for blocks in [0, 1, 2, 4] {
        let directory = above.path("new");
        let line = format!(
            "trap '' XFSZ; ulimit -f {blocks}; annals init '{}'",
            directory.display()
        );
        let failed = Program::pasted(&line).run(b"");
        assert_eq!(failed.code, 1, "{line}");
        assert!(failed.err.starts_with("error: cannot write "), "{}", failed.err);
        assert_eq!(above.names(), BTreeSet::new(), "{line}");
    }
    for (args, code) in [
        ("--client app", 2),
        ("--name admin", 2),
        ("--name app", 2),
        ("--name node-0 --client node-0", 2),
        ("--nodes 3 --client node-2", 2),
        ("--nodes 10", 2),
        ("--nodes 2 --name log-0", 2),
        ("--port 65454", 2),
    ] {
        let refused = above.init("new", args);
        assert_eq!(refused.code, code, "{args}: {}", refused.err);
        assert_eq!(above.names(), BTreeSet::new(), "{args}");
    }
    let refused = above.init("missing/new", "");
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains(&format!(
        "hint: `mkdir -p {}` makes it",
        above.path("missing").display()
    )));
    assert_eq!(above.init("missing/..", "").code, 2);
    assert_eq!(above.names(), BTreeSet::new());
}

#[test]
fn odd_paths_are_told_or_work() {
    use std::os::unix::ffi::OsStrExt;
    let above = Above::new();
    above.init("it's \"new\"\nhere", "").done();
    let file = above.path("it's \"new\"\nhere/node-0.toml");
    assert!(
        load(&file)
            .node
            .data_dir
            .starts_with(above.path("it's \"new\"\nhere"))
    );
    let before = above.names();
    let wild = above.0.path().join(std::ffi::OsStr::from_bytes(b"not \xff text"));
    let refused = Program::new("init").arg(&wild).run(b"");
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("is not UTF-8"), "{}", refused.err);
    assert_eq!(above.names(), before);
}
