//! What is made, and what is left alone.

use std::{fs, os::unix::fs::symlink};

use annals::certs::Key;

use super::{Certs, mode};
use crate::support::{Program, wait_until};

#[test]
fn keys_are_for_their_owner_alone_whatever_the_umask() {
    let certs = Certs::new();
    assert_eq!(mode(&certs.directory), 0o700);
    for umask in ["000", "077"] {
        let line = format!(
            "umask {umask}; annals certs node node-{umask} --dir '{}' > /dev/null",
            certs.directory.display()
        );
        Program::pasted(&line).run(b"").done();
        assert_eq!(mode(&certs.path(&format!("node-{umask}.key"))), 0o600);
    }
    certs.run("renew node-000").done();
    for key in ["ca.key", "node-000.key"] {
        assert_eq!(mode(&certs.path(key)), 0o600, "{key}");
    }
    assert_eq!(mode(&certs.path("node-000.pem")), 0o644);
}

#[test]
fn nothing_that_is_there_is_overwritten_and_nothing_is_half_made() {
    let certs = Certs::new();
    certs.run("node node-1").done();
    let before = certs.all();
    // The first of them could be made.
    for args in ["ca --cluster other", "node node-0 node-1", "client node-1"] {
        let refused = certs.run(args);
        assert_eq!(refused.code, 5, "{args}: {}", refused.err);
        assert!(refused.err.contains("there already"), "{}", refused.err);
        assert_eq!(certs.all(), before, "{args}");
    }
}

#[test]
fn half_of_a_pair_is_told_of_and_left_alone() {
    let certs = Certs::new();
    certs.run("node node-0 node-1").done();
    certs.move_to("node-0.pem", "elsewhere");
    certs.move_to("node-1.key", "elsewhere-too");
    // Not even where it leads nowhere.
    symlink("/nowhere", certs.path("node-2.key")).expect("it can be made");
    let before = certs.all();
    for (name, there, missing) in [
        ("node-0", "node-0.key", "node-0.pem"),
        ("node-1", "node-1.pem", "node-1.key"),
        ("node-2", "node-2.key", "node-2.pem"),
    ] {
        let refused = certs.run(&format!("node {name}"));
        let wanted = format!(
            "error: {} is there already, and {} is not\n",
            certs.path(there).display(),
            certs.path(missing).display()
        );
        assert!(refused.err.starts_with(&wanted), "{}", refused.err);
        assert_eq!(refused.code, 5);
        assert_eq!(certs.all(), before);
    }
    let listed = certs.list("");
    let wanted = format!(
        "node-0.key: a key without its certificate: {} is missing\n",
        certs.path("node-0.pem").display()
    );
    assert!(listed.text().contains(&wanted), "{}", listed.text());
    assert_eq!(listed.code, 0);
}

#[test]
fn names_that_are_paths_make_nothing_anywhere() {
    let certs = Certs::new();
    let before = certs.all();
    let long = "n".repeat(64);
    for name in [
        "../x", "/tmp/x", "a/b", "..", ".", "", "-x", "a\nb", "ca", "ä", &long,
    ] {
        for verb in ["node", "client", "renew"] {
            let refused = Program::new(&format!("certs {verb} --dir"))
                .arg(&certs.directory)
                .arg("--")
                .arg(name)
                .run(b"");
            assert_eq!(refused.code, 2, "{verb} {name}: {}", refused.err);
        }
    }
    assert_eq!(certs.all(), before);
    let above = certs.directory.parent().expect("it has one");
    assert_eq!(fs::read_dir(above).expect("it is there").count(), 1);
}

#[test]
fn without_the_key_of_the_authority_nothing_is_signed() {
    let certs = Certs::new();
    certs.move_to("ca.key", "elsewhere");
    let refused = certs.run("node node-0");
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains("ca.key is missing"), "{}", refused.err);
    certs.write(
        "ca.key",
        Key::generate().expect("there are random numbers").to_pem(),
    );
    let refused = certs.run("node node-0");
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains("ca.pem: the key does not belong to the certificate"),
        "{}",
        refused.err
    );
}

#[test]
fn two_that_make_certificates_do_not_meet() {
    let certs = Certs::new();
    let held = fs::File::open(&certs.directory).expect("it is there");
    // Not even beside one that only shares it.
    held.lock_shared().expect("nobody holds it");
    for args in ["node node-0", "renew --all"] {
        let refused = certs.run(args);
        assert_eq!(refused.code, 1);
        assert!(
            refused.err.contains("another `annals certs` is at work"),
            "{}",
            refused.err
        );
    }
    // To look is always possible.
    certs.list("").done();
    drop(held);
    // A process that another test has just started may have it for a moment more.
    wait_until("it is free", || certs.run("node node-0").code == 0);
}

/// The shell lets it write so many blocks of 512 bytes to a file: the key fits into one, and the certificate does not.
#[test]
fn what_cannot_be_written_leaves_nothing_and_changes_nothing() {
    let certs = Certs::new();
    certs.run("node node-1").done();
    let before = certs.all();
    for (args, blocks) in [
        ("node node-0", 0),
        ("node node-0", 1),
        ("renew node-1", 0),
        ("renew node-1", 1),
    ] {
        let directory = certs.directory.display();
        let line = format!("trap '' XFSZ; ulimit -f {blocks}; annals certs {args} --dir '{directory}'");
        let failed = Program::pasted(&line).run(b"");
        assert_eq!(failed.code, 1, "{line}");
        assert!(failed.err.starts_with("error: cannot write "), "{}", failed.err);
        assert_eq!(certs.all(), before, "{line}");
    }
}
