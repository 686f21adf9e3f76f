//! The policy that a configuration names: when it is asked, and what is said when it does not do.

use std::fs;

use annals::config::{self, ConfigErrors, Enforcement, Loaded};

use crate::certs::{Cluster, DAY, node};

const POLICY: &str = "p, annals://orders/client/app, log, produce\n";
const WITH_TLS: &str = "[tls]\ncertificate = \"node.pem\"\nkey = \"node.key\"\nauthorities = \"ca.pem\"\n";

/// A directory with `annals.toml`, a policy, and the files of TLS.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let cluster = Cluster::new("orders");
        let pair = cluster.sign(&node("node-0"), DAY);
        folder.put("ca.pem", &cluster.certificate);
        folder.put("node.pem", &pair.certificate);
        folder.put("node.key", &pair.key);
        folder.put("policy.csv", POLICY);
        folder
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn load(&self, sections: &str) -> Result<Loaded, ConfigErrors> {
        self.put(
            "annals.toml",
            &format!("[cluster]\nname = \"orders\"\n{sections}"),
        );
        config::load(Some(&self.0.path().join("annals.toml")), std::iter::empty())
    }

    /// What is printed, without the directory.
    fn complaint(&self, sections: &str) -> String {
        let printed = self.load(sections).unwrap_err().to_string();
        printed.replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn a_policy_is_enforced_where_tls_says_who_somebody_is_and_where_it_is_wished() {
    let folder = Folder::new();
    let enforcement = |tls: &str, mode: &str| {
        let acl = format!("[acl]\npolicy = \"policy.csv\"\nmode = \"{mode}\"\n");
        folder.load(&format!("{tls}{acl}")).unwrap().config.enforcement()
    };
    for tls in ["", WITH_TLS] {
        assert_eq!(enforcement(tls, "enforce"), Some(Enforcement::Enforce));
        assert_eq!(enforcement(tls, "shadow"), Some(Enforcement::Shadow));
        assert_eq!(enforcement(tls, "off"), None);
    }
    assert_eq!(enforcement(WITH_TLS, "auto"), Some(Enforcement::Enforce));
    assert_eq!(enforcement("", "auto"), None);
}

#[test]
fn a_policy_is_found_beside_the_configuration() {
    let folder = Folder::new();
    let loaded = folder
        .load("[acl]\npolicy = \"policy.csv\"\nmode = \"enforce\"\n")
        .unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let files = loaded.config.acl.files().unwrap();
    assert_eq!(files.policy, folder.0.path().join("policy.csv"));
    assert_eq!(files.model, None);
}

#[test]
fn who_asks_for_certificates_has_a_policy_or_says_that_it_wants_none() {
    let folder = Folder::new();
    assert_eq!(
        folder.complaint(WITH_TLS),
        "\
the configuration has 1 error

default: acl.policy is none, so that nobody could do anything
note: acl.mode is auto by default
note: acl.policy is none by default
note: tls.certificate is node.pem by annals.toml:4:15
help: set acl.policy to a file such as config/acl/policy.csv, or acl.mode = \"off\" to let everybody with a certificate do everything"
    );
    for mode in ["enforce", "shadow"] {
        let printed = folder.complaint(&format!("[acl]\nmode = \"{mode}\"\n"));
        assert!(
            printed.contains("annals.toml:4:8: acl.policy is none"),
            "{printed}"
        );
    }
    assert!(folder.load(&format!("{WITH_TLS}[acl]\nmode = \"off\"\n")).is_ok());
    assert!(folder.load("").is_ok());
}

#[test]
fn a_policy_that_is_wrong_is_told_though_nobody_is_held_to_it_yet() {
    let folder = Folder::new();
    folder.put("policy.csv", "p, app, log, produce\np, app, log, write\n");
    let printed = folder.complaint("[acl]\npolicy = \"policy.csv\"\n");
    assert!(
        printed.contains("annals.toml:4:10: acl.policy: policy.csv:2: unknown action `write`"),
        "{printed}"
    );
    assert!(
        printed.contains("help: actions are produce, consume"),
        "{printed}"
    );
    for (policy, told) in [("missing.csv", "cannot read missing.csv"), (".", "is not a file")] {
        let printed = folder.complaint(&format!("[acl]\npolicy = \"{policy}\"\n"));
        assert!(printed.contains(told), "{printed}");
    }
}

#[test]
fn a_model_that_is_wrong_is_told_where_it_is_named() {
    let folder = Folder::new();
    folder.put("model.conf", "[matcher]\n");
    let printed = folder.complaint("[acl]\npolicy = \"policy.csv\"\nmodel = \"model.conf\"\n");
    assert!(
        printed.contains("annals.toml:5:9: acl.model: model.conf:1: this is no section of a model"),
        "{printed}"
    );
    let printed = folder.complaint("[acl]\npolicy = \"policy.csv\"\nmodel = \"missing.conf\"\n");
    assert!(
        printed.contains("annals.toml:5:9: acl.model: cannot read missing.conf"),
        "{printed}"
    );
    folder.put("model.conf", annals::acl::BUILT_IN_MODEL);
    let loaded = folder.load("[acl]\npolicy = \"policy.csv\"\nmodel = \"model.conf\"\nmode = \"enforce\"\n");
    assert_eq!(
        loaded.unwrap().config.acl.files().unwrap().model,
        Some(folder.0.path().join("model.conf"))
    );
}

#[test]
fn a_policy_that_nobody_is_held_to_is_worth_a_warning() {
    let folder = Folder::new();
    let warnings = |sections: &str| folder.load(sections).unwrap().warnings.join("\n");
    let auto = "[acl]\npolicy = \"policy.csv\"\n";
    assert!(warnings(auto).contains("not in force: acl.mode is auto, and without [tls]"));
    assert!(warnings(&format!("{auto}mode = \"off\"\n")).contains("not in force: acl.mode is off"));
    assert!(!warnings(&format!("{auto}mode = \"enforce\"\n")).contains("not in force"));
}
