//! Renewals, and those that were interrupted.

use std::collections::BTreeMap;

use super::{Certs, json};

#[test]
fn a_renewal_keeps_who_it_is_and_where_and_not_the_key() {
    let certs = Certs::new();
    certs
        .run("node node-0 --dns node-0.example.com,*.annals.example --ip 10.0.0.1 --valid-for 30d")
        .done();
    certs.run("client billing").done();
    let (before, key) = (certs.certificate("node-0"), certs.key("node-0"));
    certs.run("renew node-0").done();
    let after = certs.certificate("node-0");
    assert_ne!(after, before);
    assert!(after.is_of(&certs.key("node-0")) && !after.is_of(&key));
    assert_eq!(after.identity, before.identity);
    assert_eq!((&after.dns, &after.ips), (&before.dns, &before.ips));
    assert_eq!(
        after.not_after.0 - after.not_before.0,
        before.not_after.0 - before.not_before.0
    );
    let key = certs.key("node-0");
    certs.run("renew node-0 --keep-key --valid-for 60d").done();
    let kept = certs.certificate("node-0");
    assert!(kept.is_of(&key));
    assert_eq!(kept.not_after.0 - kept.not_before.0, (60 * 24 + 1) * 3_600_000);
    // A client stays one, without hosts.
    certs.run("renew billing").done();
    let billing = certs.certificate("billing");
    assert_eq!(
        billing.identity.expect("it has one").to_string(),
        "annals://orders/client/billing"
    );
    assert_eq!((billing.dns.len(), billing.ips.len()), (0, 0));
    let names: Vec<_> = certs.all().into_keys().collect();
    let wanted = [
        "billing.key",
        "billing.pem",
        "ca.key",
        "ca.pem",
        "node-0.key",
        "node-0.pem",
    ];
    assert_eq!(names, wanted.map(|file| certs.path(file)));
}

#[test]
fn a_renewal_that_was_interrupted_between_its_renames_is_finished() {
    let certs = Certs::new();
    certs.run("node a b c").done();
    let old: BTreeMap<_, _> = ["a.pem", "b.key", "c.pem", "c.key"]
        .map(|file| (file, certs.read(file)))
        .into();
    certs.run("renew --all").done();
    // a: the key was renamed, the certificate not. b: the disk kept only the other of the two. c: neither was.
    certs.move_to("a.pem", "a.pem.new");
    certs.write("a.pem", &old["a.pem"]);
    certs.move_to("b.key", "b.key.new");
    certs.write("b.key", &old["b.key"]);
    for file in ["c.pem", "c.key"] {
        certs.move_to(file, &format!("{file}.new"));
        certs.write(file, &old[file]);
    }
    let listed = certs.list("");
    assert_eq!(
        listed.text().matches("is the key of another certificate").count(),
        2
    );
    assert_eq!(
        listed
            .text()
            .matches("left by a renewal that was interrupted")
            .count(),
        4
    );
    let new = (
        certs.read("a.pem.new"),
        certs.read("b.key.new"),
        certs.read("c.pem.new"),
    );
    let ended = json(&certs.run("renew --all -o json").done());
    let outcomes: Vec<_> = ended["certificates"]
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|one| one["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["finished", "finished", "renewed"]);
    assert_eq!((certs.read("a.pem"), certs.read("b.key")), (new.0, new.1));
    // A new one, and not what lay beside it.
    assert_ne!(certs.read("c.pem"), new.2);
    for name in ["a", "b", "c"] {
        assert!(certs.certificate(name).is_of(&certs.key(name)), "{name}");
    }
    assert_eq!(certs.all().len(), 8, "nothing is left beside them");
}

/// Whoever may put a file there must not get it signed.
#[test]
fn what_the_authority_did_not_sign_is_not_renewed() {
    let certs = Certs::new();
    let other = Certs::new();
    certs.run("node good").done();
    other.run("node forged").done();
    for file in ["forged.pem", "forged.key"] {
        certs.write(file, other.read(file));
    }
    certs.write("junk.pem", "junk");
    certs.write("renamed.pem", certs.read("good.pem"));
    let before = certs.all();
    for (name, code, why) in [
        ("forged", 5, "it was not signed by "),
        ("renamed", 5, "it is that of annals://orders/node/good"),
        ("junk", 1, "there is no certificate in it"),
        ("nobody", 4, "No such file"),
    ] {
        let refused = certs.run(&format!("renew {name}"));
        assert_eq!(refused.code, code, "{name}: {}", refused.err);
        assert!(refused.err.contains(why), "{name}: {}", refused.err);
        assert_eq!(certs.all(), before);
    }
    let ended = json(&certs.run("renew --all -o json").done());
    assert_eq!(ended["certificates"].as_array().map(Vec::len), Some(1));
    assert_eq!(ended["skipped"].as_array().map(Vec::len), Some(3));
    for file in ["forged.pem", "forged.key", "renamed.pem", "junk.pem"] {
        assert_eq!(certs.read(file), before[&certs.path(file)], "{file}");
    }
}
