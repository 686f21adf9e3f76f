//! What a list says.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::Value;

use super::{Certs, DAY, json, node};

#[test]
fn a_list_says_what_is_wrong_with_what_is_there() {
    let certs = Certs::new();
    certs.run("node a b c d").done();
    fs::set_permissions(certs.path("a.key"), fs::Permissions::from_mode(0o640)).expect("it is ours");
    fs::copy(certs.path("c.key"), certs.path("b.key")).expect("it is there");
    certs.write("c.key", "no key");
    fs::remove_file(certs.path("d.key")).expect("it is there");
    certs.write("empty.pem", "");
    fs::create_dir(certs.path("folder.pem")).expect("it can be made");
    std::os::unix::fs::symlink("nowhere", certs.path("gone.pem")).expect("it can be made");
    certs.write("huge.pem", vec![b'a'; (1 << 20) + 1]);
    let pem = certs.read("a.pem");
    certs.write("cut.crt", &pem[..300]);
    let other = Certs::new();
    other.run("node e").done();
    for file in ["e.pem", "e.key"] {
        certs.write(file, other.read(file));
    }
    let listed = certs.list("-o json");
    assert_eq!(listed.code, 1);
    assert!(
        listed
            .err
            .starts_with("error: 5 files that should have certificates cannot be read\n"),
        "{}",
        listed.err
    );
    let listed = json(&listed);
    let by_name = |name: &str| {
        let path = certs.path(name).display().to_string();
        let all = listed["certificates"].as_array().expect("it is a list");
        let found = all.iter().find(|one| one["file"] == path.as_str());
        found.unwrap_or_else(|| panic!("{name}: {listed}")).clone()
    };
    let states =
        ["a.pem", "b.pem", "c.pem", "d.pem", "ca.pem"].map(|name| by_name(name)["key"]["state"].clone());
    assert_eq!(
        states,
        ["belongs", "of_another", "unreadable", "missing", "belongs"]
    );
    let warned = |name: &str, text: &str| {
        let warnings = by_name(name)["warnings"].to_string();
        assert!(warnings.contains(text), "{name}: {warnings}");
    };
    warned("a.pem", "(mode 0640): `chmod 600 ");
    warned("b.pem", "is the key of another certificate");
    warned("c.pem", "there is no private key in it");
    warned("e.pem", "it was not signed by ");
    assert_eq!(by_name("d.pem")["warnings"].as_array().map(Vec::len), Some(0));
    assert_eq!(by_name("e.pem")["signed_by"], Value::Null);
    let problems: BTreeMap<String, String> = listed["problems"]
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|one| {
            let file = Path::new(one["file"].as_str().expect("it is text"));
            let name = file
                .file_name()
                .expect("it has one")
                .to_string_lossy()
                .into_owned();
            (name, one["problem"].as_str().expect("it is text").to_owned())
        })
        .collect();
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert_eq!(
        problems["gone.pem"].matches("os error").count(),
        1,
        "{problems:?}"
    );
    assert_eq!(problems["empty.pem"], "there is no certificate in it");
    assert_eq!(problems["cut.crt"], "its PEM is damaged");
    for name in ["folder.pem", "huge.pem"] {
        assert!(
            problems[name].ends_with("is not a file of at most 1 MiB"),
            "{problems:?}"
        );
    }
}

#[test]
fn what_has_expired_is_said_loudly_and_by_the_exit_code() {
    let certs = Certs::new();
    certs.sign_long_ago(&node("old"), DAY * 10, DAY * 5);
    certs.sign_long_ago(&node("soon"), DAY * 10, DAY * 15);
    let listed = certs.list("");
    assert_eq!(listed.code, 7, "{}", listed.err);
    assert!(
        listed.err.starts_with("error: 1 expired, 0 more"),
        "{}",
        listed.err
    );
    assert!(listed.text().contains("\nEXPIRED: "), "{}", listed.text());
    let line = listed.text().lines().find(|line| line.contains("/node/old"));
    assert!(line.is_some_and(|line| line.contains(" EXPIRED ")), "{line:?}");
    let listed = certs.list("--expires-within 30d -o json");
    assert!(
        listed.err.starts_with("error: 1 expired, 1 more"),
        "{}",
        listed.err
    );
    let listed = json(&listed);
    let due = listed["certificates"].as_array().expect("it is a list");
    let due: Vec<_> = due
        .iter()
        .map(|one| {
            (
                one["expired"].as_bool(),
                one["due"].as_bool(),
                one["days_left"].as_i64(),
            )
        })
        .collect();
    let wanted = [
        (Some(false), Some(false), Some(3639)),
        (Some(true), Some(true), Some(-6)),
        (Some(false), Some(true), Some(4)),
    ];
    assert_eq!(due, wanted);
    // What is renewed has not expired.
    let renewed = json(&certs.run("renew --all --expires-within 30d -o json").done());
    assert_eq!(renewed["certificates"].as_array().map(Vec::len), Some(2));
    certs.list("--expires-within 4d").done();
    // Each for as long as before.
    assert_eq!(
        certs.certificate("soon").not_after.0 - certs.certificate("old").not_after.0,
        10 * 86_400_000
    );
}
