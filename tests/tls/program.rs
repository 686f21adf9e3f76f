//! The program as a client of a node with TLS: what works, and what it says when it does not.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use annals::certs::Terms;

use crate::{
    speaking::signed_at,
    support::{
        certs::{Cluster, DAY, Pair, ago, client, node},
        node::{Place, TestNode},
        tls::{CLUSTER, Credentials},
    },
};

/// The program with these arguments, and nothing of the environment.
async fn annals(arguments: Vec<String>) -> Output {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        for variable in ["ANNALS_ADDR", "ANNALS_CA", "ANNALS_CERT", "ANNALS_KEY"] {
            command.env_remove(variable);
        }
        // Whoever runs the tests may have contexts.
        command.env("ANNALS_CONFIG_DIR", "/nowhere");
        command.args(arguments).output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn printed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A node, and a folder with the files of its clients.
struct Stage {
    node: TestNode,
    credentials: Arc<Credentials>,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn new(authority: Cluster) -> Self {
        let credentials = Arc::new(Credentials::by(authority));
        let stage = Self {
            node: TestNode::start(&Place::real().secured(&credentials)).await,
            credentials,
            folder: tempfile::tempdir().unwrap(),
        };
        stage.put("ca", &stage.credentials.authority.certificate);
        stage.put_pair("app", &stage.credentials.sign(&client("app")));
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn put_pair(&self, name: &str, pair: &Pair) {
        self.put(&format!("{name}.pem"), &pair.certificate);
        self.put(&format!("{name}.key"), &pair.key);
    }

    /// The arguments for that certificate, as a client that believes that file.
    fn given(&self, ca: &str, own: Option<&str>) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut given = vec!["--ca".to_owned(), path(&self.path(ca))];
        if let Some(own) = own {
            given.extend(["--cert".to_owned(), path(&self.path(&format!("{own}.pem")))]);
            given.extend(["--key".to_owned(), path(&self.path(&format!("{own}.key")))]);
        }
        given
    }

    async fn run(&self, verb: &[&str], host: &str, given: &[String]) -> Output {
        let addr = format!("{host}:{}", self.node.addresses.rpc.port());
        let verb = verb.iter().map(|word| (*word).to_owned());
        let arguments = verb.chain(["--addr".to_owned(), addr]).chain(given.to_vec());
        annals(arguments.collect()).await
    }

    /// What is said of a failure, its hint included.
    async fn fails(&self, given: &[String], exit: i32) -> String {
        for verb in [
            &["log", "describe"][..],
            &["cluster", "status"],
            &["cluster", "transfer-leader"],
        ] {
            let output = self.run(verb, "localhost", given).await;
            assert_eq!(
                output.status.code(),
                Some(exit),
                "{verb:?}: {}",
                printed(&output.stderr)
            );
        }
        printed(&self.run(&["log", "describe"], "localhost", given).await.stderr)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_speaks_tls() {
    let stage = Stage::new(Cluster::new(CLUSTER)).await;
    let given = stage.given("ca", Some("app"));
    let lines = stage.put("lines", "a\nb\n").display().to_string();
    let verbs: [&[&str]; 8] = [
        &["produce", "--file", &lines],
        &["consume"],
        &["log", "describe"],
        &["log", "trim", "--below", "1"],
        &["cluster", "status"],
        &["cluster", "servers"],
        &["bench", "produce", "--records", "10"],
        &["bench", "consume", "--records", "2"],
    ];
    for verb in verbs {
        for host in ["localhost", "127.0.0.1"] {
            let output = stage.run(verb, host, &given).await;
            assert!(
                output.status.success(),
                "{verb:?} at {host}: {}",
                printed(&output.stderr)
            );
            if *verb == ["consume"] {
                assert!(
                    printed(&output.stdout).starts_with("a\nb\n"),
                    "{}",
                    printed(&output.stdout)
                );
            }
        }
    }
    stage.node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_client_is_said_with_what_to_do() {
    let stage = Stage::new(Cluster::made_at(CLUSTER, ago(DAY * 10), DAY * 3650)).await;
    let others = Cluster::new(CLUSTER);
    stage.put("other-ca", &others.certificate);
    stage.put_pair("other", &others.sign(&client("app"), DAY));
    stage.put_pair("expired", &stage.credentials.authority.sign(&client("app"), DAY));
    stage.put("broken.pem", "nothing");
    stage.put("broken.key", "nothing");
    let table = [
        (Vec::new(), 5, "the node wants TLS", "give --ca, --cert and --key"),
        (
            stage.given("ca", None),
            5,
            "it wants a certificate",
            "--cert FILE and --key FILE",
        ),
        (
            stage.given("other-ca", Some("app")),
            5,
            "signed by no authority that is believed here",
            "give with --ca",
        ),
        (
            stage.given("ca", Some("other")),
            5,
            "does not believe the authority",
            "is --cert signed by",
        ),
        (
            stage.given("ca", Some("expired")),
            1,
            "expired.pem: the certificate expired at",
            "annals certs renew",
        ),
        (
            stage.given("missing", Some("app")),
            4,
            "missing: cannot read it",
            "is the path right?",
        ),
        (
            stage.given("ca", Some("broken")),
            1,
            "broken.pem: there is no certificate in it",
            "give a certificate in PEM",
        ),
    ];
    for (given, exit, said, hint) in table {
        let text = stage.fails(&given, exit).await;
        assert!(text.contains(said), "{said}:\n{text}");
        let told = text.split_once("hint: ").map_or("", |(_, hint)| hint);
        assert!(told.contains(hint), "{hint}:\n{text}");
    }
    // Its certificate is for localhost and the usual loopback addresses.
    let elsewhere = TestNode::start_with(&Place::real().secured(&stage.credentials), |options| {
        options.net.rpc_address = ([127, 0, 0, 2], 0).into();
    })
    .await;
    let verb = ["log", "describe", "--addr", &elsewhere.addresses.rpc.to_string()].map(str::to_owned);
    let given = stage.given("ca", Some("app"));
    let output = annals(verb.into_iter().chain(given).collect()).await;
    elsewhere.shut_down().await;
    let text = printed(&output.stderr);
    assert!(text.contains("is not for 127.0.0.2, but for "), "{text}");
    assert!(
        text.contains("localhost") && text.contains("--dns HOST --ip ADDRESS"),
        "{text}"
    );
    stage.node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_node_is_said_with_what_to_do() {
    let plain = TestNode::start(&Place::real()).await;
    let stage = Stage::new(Cluster::new(CLUSTER)).await;
    let port = plain.addresses.rpc.port();
    let to = |given: Vec<String>| {
        let verb = ["log", "describe", "--addr"].map(str::to_owned);
        verb.into_iter()
            .chain([format!("localhost:{port}")])
            .chain(given)
            .collect()
    };
    let output = annals(to(stage.given("ca", Some("app")))).await;
    let text = printed(&output.stderr);
    assert!(text.contains("does not speak TLS"), "{text}");
    assert!(text.contains("leave out --ca, --cert and --key"), "{text}");
    plain.shut_down().await;
    // The node was all right when it started.
    let terms = Terms {
        now: annals::clock::wall(),
        // The machine may stand still before it is in force.
        valid_for: std::time::Duration::from_secs(10),
    };
    let short = signed_at(&stage.credentials.authority, &node("node-0"), terms);
    let ca = &stage.credentials.authority.certificate;
    stage
        .credentials
        .put(&stage.credentials.files("node-0"), &short, ca);
    stage.node.control.reload();
    let given = stage.given("ca", Some("app"));
    crate::support::node::until("the node's certificate to expire", async || {
        let output = stage.run(&["log", "describe"], "localhost", &given).await;
        let text = printed(&output.stderr);
        text.contains("the other side's certificate has expired")
            && text.contains("renew the node's certificate")
    })
    .await;
    stage.node.shut_down().await;
}

/// A process that is ended with its test.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_hears_sighup_reads_its_certificates_again_and_goes_on() {
    let credentials = Credentials::of(CLUSTER);
    drop(credentials.node("node-0"));
    let files = credentials.files("node-0");
    let folder = files.certificate.parent().unwrap();
    let (config, log) = (folder.join("annals.toml"), folder.join("log"));
    std::fs::write(
        &config,
        "[listen]\nrpc = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [tls]\ncertificate = \"node-0.pem\"\nkey = \"node-0.key\"\nauthorities = \"node-0.ca.pem\"\n\
         [acl]\nmode = \"off\"\n",
    )
    .unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args([Path::new("agent"), Path::new("--config"), &config])
        .env("ANNALS__NODE__DATA_DIR", folder.join("data"))
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let process = Process(process);
    let says = async |text: &str| {
        crate::support::node::until(text, async || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains(text))
        })
        .await;
    };
    says("\"a node leads\"").await;
    let pid = rustix::process::Pid::from_child(&process.0);
    let hang_up = || rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    hang_up();
    says("nothing to reload").await;
    credentials.put(
        &files,
        &credentials.sign(&node("node-0")),
        &credentials.authority.certificate,
    );
    hang_up();
    says("\"reloaded\"").await;
}
