//! The files of TLS: what is said when they do not do, and from where they are found.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use annals::config::{self, ConfigErrors, Loaded};

use crate::certs::{Cluster, DAY, Pair, ago, client, node};

/// A directory with `annals.toml` and the files that it names.
struct Folder(tempfile::TempDir);

impl Folder {
    /// Of a node that is all right.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let cluster = Cluster::new("orders");
        folder.put("ca.pem", &cluster.certificate);
        folder.put_pair(&cluster.sign(&node("node-0"), DAY));
        folder.configure("certificate = \"node.pem\"\nkey = \"node.key\"\nauthorities = \"ca.pem\"\n");
        folder
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    fn put_pair(&self, pair: &Pair) {
        self.put("node.pem", &pair.certificate);
        self.put("node.key", &pair.key);
    }

    fn configure(&self, tls: &str) {
        self.put(
            "annals.toml",
            &format!("[listen]\nrpc = \"0.0.0.0:8400\"\n[cluster]\nname = \"orders\"\n[tls]\n{tls}[acl]\nmode = \"off\"\n"),
        );
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        config::load(Some(&self.path().join("annals.toml")), std::iter::empty())
    }

    /// What is printed, without the directory.
    fn complaint(&self) -> String {
        let printed = self.load().unwrap_err().to_string();
        printed.replace(&format!("{}/", self.path().display()), "")
    }
}

#[test]
fn files_that_fit_are_found_beside_the_configuration_and_open_the_address_to_others() {
    let folder = Folder::new();
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let files = loaded.config.tls.files().unwrap();
    assert_eq!(files.certificate, folder.path().join("node.pem"));
    assert_eq!(files.key, folder.path().join("node.key"));
    assert_eq!(files.authorities, folder.path().join("ca.pem"));
}

#[test]
fn a_path_that_a_variable_sets_starts_where_the_process_does() {
    let folder = Folder::new();
    let variable = ("ANNALS__TLS__KEY".to_owned(), "node.key".to_owned());
    let file = folder.path().join("annals.toml");
    let printed = config::load(Some(&file), [variable].into_iter()).unwrap_err();
    assert!(
        printed
            .to_string()
            .contains("ANNALS__TLS__KEY: tls.key: node.key: cannot read it"),
        "{printed}"
    );
}

#[test]
fn without_tls_other_machines_are_kept_out() {
    let folder = Folder::new();
    folder.configure("");
    let printed = folder.complaint();
    assert!(
        printed.contains("listen on 127.0.0.1:8400, set tls.certificate, or"),
        "{printed}"
    );
}

#[test]
fn a_part_alone_is_refused_and_the_missing_one_named() {
    let folder = Folder::new();
    folder.configure("certificate = \"node.pem\"\nauthorities = \"ca.pem\"\n");
    let printed = folder.complaint();
    assert!(
        printed.contains("annals.toml:6:15: tls.certificate is set and tls.key is not, and TLS needs both"),
        "{printed}"
    );
    assert!(printed.contains("help: set tls.key too"), "{printed}");
}

#[test]
fn each_file_that_does_not_do_is_named_with_its_fault_and_its_remedy() {
    let cluster = Cluster::made_at("orders", ago(DAY * 10), DAY * 3650);
    let others = Cluster::new("orders");
    let payments = Cluster::new("payments");
    let expired = cluster.sign(&node("node-0"), DAY);
    let other_key = cluster.sign(&node("node-0"), DAY * 99).key;
    let in_an_hour = annals::types::TimestampMs(annals::clock::wall().0 + 7_200_000);
    let later = Cluster::made_at("orders", in_an_hour, DAY * 99);
    let good = cluster.sign(&node("node-0"), DAY * 99);
    let with = |pair: &Pair, authorities: &str| {
        let folder = Folder::new();
        folder.put("ca.pem", authorities);
        folder.put_pair(pair);
        folder
    };
    let without = |name: &str| {
        let folder = Folder::new();
        fs::remove_file(folder.path().join(name)).unwrap();
        folder
    };
    let own_key = |key: &str| Pair {
        certificate: good.certificate.clone(),
        key: key.to_owned(),
    };
    let ca = &cluster.certificate;
    let table = [
        (
            without("node.pem"),
            "6:15: tls.certificate: node.pem: cannot read it",
            "annals certs node",
        ),
        (
            without("node.key"),
            "7:7: tls.key: node.key: cannot read it",
            "is the path right?",
        ),
        (
            without("ca.pem"),
            "8:15: tls.authorities: ca.pem: cannot read it",
            "is the path right?",
        ),
        (
            with(&own_key(&other_key), ca),
            "tls.key: node.key: the key does not belong",
            "made together",
        ),
        (
            with(&own_key("no key"), ca),
            "tls.key: node.key: there is no private key",
            "NAME.key",
        ),
        (
            with(&expired, ca),
            "tls.certificate: node.pem: the certificate expired at 20",
            "annals certs renew",
        ),
        (
            with(&later.sign(&node("node-0"), DAY), &later.certificate),
            "tls.certificate: node.pem: the certificate is not valid before 20",
            "is the clock",
        ),
        (
            with(&good, &others.certificate),
            "tls.certificate: node.pem: none of the authorities vouches",
            "as ca.pem beside it",
        ),
        (
            with(&cluster.sign(&client("node-0"), DAY * 99), ca),
            "none of the authorities vouches for the certificate: it was not made for this use",
            "annals certs node",
        ),
        (
            with(&payments.sign(&node("node-0"), DAY), &payments.certificate),
            "the certificate is that of annals://payments/node/node-0, and this node is annals://orders/node/node-0",
            "annals certs node node-0",
        ),
        (
            with(&cluster.sign(&node("node-1"), DAY * 99), ca),
            "the certificate is that of annals://orders/node/node-1, and this",
            "annals certs node node-0",
        ),
        (
            with(&good, &good.certificate),
            "tls.authorities: ca.pem: the certificate of",
            "leave out",
        ),
        (
            with(&good, "nothing"),
            "tls.authorities: ca.pem: there is no certificate in it",
            "as ca.pem",
        ),
        (
            with(&good, &"x".repeat(2 << 20)),
            "tls.authorities: ca.pem: it has more than",
            "as ca.pem",
        ),
    ];
    for (folder, fault, remedy) in table {
        let printed = folder.complaint();
        assert!(printed.contains(fault), "{fault}:\n{printed}");
        let help = printed.rsplit("help: ").next().unwrap();
        assert!(help.contains(remedy), "{remedy}:\n{printed}");
        assert!(printed.starts_with("the configuration has 1 error"), "{printed}");
        assert!(!printed.contains("PRIVATE"), "{printed}");
    }
}

#[test]
fn a_key_that_others_may_read_is_warned_of_and_taken() {
    let folder = Folder::new();
    let key = folder.path().join("node.key");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let warnings = folder.load().unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("node.key: others may read"), "{warnings:?}");
    assert!(warnings[0].contains("(mode 0640)"), "{warnings:?}");
}
