//! Certificates as files: who may read them, what is never overwritten, what is wrong with them, and what an interruption leaves.

mod files;
mod listed;
mod renewed;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use annals::{
    certs::{Authority, Certificate, Holder, Hosts, Key, Terms},
    clock,
    types::TimestampMs,
};
use serde_json::Value;

use crate::support::{Ended, Program};

/// A directory with the authority of the cluster `orders`.
struct Certs {
    _above: tempfile::TempDir,
    directory: PathBuf,
}

impl Certs {
    fn new() -> Self {
        let above = tempfile::tempdir().expect("there is room for a directory");
        let certs = Self {
            directory: above.path().join("above/certs"),
            _above: above,
        };
        certs.run("ca --cluster orders").done();
        certs
    }

    fn run(&self, args: &str) -> Ended {
        Program::new(&format!("certs {args} --dir"))
            .arg(&self.directory)
            .run(b"")
    }

    fn list(&self, args: &str) -> Ended {
        Program::new(&format!("certs list {args}"))
            .arg(&self.directory)
            .run(b"")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(file), content).expect("it can be written");
    }

    fn move_to(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("it is there");
    }

    fn certificate(&self, name: &str) -> Certificate {
        Certificate::from_pem(&self.read(&format!("{name}.pem"))).expect("it is a certificate")
    }

    fn key(&self, name: &str) -> Key {
        Key::from_pem(&self.read(&format!("{name}.key"))).expect("it is a key")
    }

    /// Every file and what is in it.
    fn all(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(&self.directory).expect("it is there");
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        paths
            .map(|path| {
                let content = fs::read(&path).unwrap_or_default();
                (path, content)
            })
            .collect()
    }

    /// Makes a certificate so long ago, without the program; the key is left as `NAME.key`.
    fn sign_long_ago(&self, holder: &Holder, ago: Duration, valid_for: Duration) -> String {
        let name = holder.name().expect("it is a node or a client");
        let key = Key::generate().expect("there are random numbers");
        let then = TimestampMs(clock::wall().0 - ago.as_secs() * 1000);
        // Its own certificate would not have been valid then: the same authority, made earlier.
        let ca = Authority::make(
            &"orders".parse().expect("it is a name"),
            &self.key("ca"),
            Terms {
                now: then,
                valid_for: DAY * 3650,
            },
        );
        let ca = ca.expect("it can be made");
        self.write("ca.pem", &ca);
        let authority = Authority::read(ca.as_bytes(), self.key("ca")).expect("it is one");
        let terms = Terms { now: then, valid_for };
        let hosts = Hosts::default().with_loopback();
        let text = authority
            .sign(holder, &hosts, &key, terms)
            .expect("it is valid then");
        self.write(&format!("{name}.pem"), &text);
        self.write(&format!("{name}.key"), key.to_pem());
        fs::set_permissions(
            self.path(&format!("{name}.key")),
            fs::Permissions::from_mode(0o600),
        )
        .expect("it is ours");
        text
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o7777
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(ended.text()).expect("it is JSON")
}

fn node(name: &str) -> Holder {
    Holder::Node(name.parse().expect("it is a name"))
}
