//! Certificates and authorities are replaced while `annals produce` and `annals consume --follow` run.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
};

use crate::support::{
    certs::{self, DAY, Pair, client, node},
    cluster::{Cluster, patient},
    log_lines::LogLines,
    node::{Place, TestNode, until},
    tls::{CLUSTER, Credentials, replace},
};

/// The files of a client, and the verbs that use them.
struct Client {
    folder: tempfile::TempDir,
    addr: String,
}

impl Client {
    fn new(addr: String, own: &Pair, authorities: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = Self { folder, addr };
        client.is_now(own);
        client.believes(authorities);
        client
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the certificate, then its key, as a person does.
    fn is_now(&self, own: &Pair) {
        replace(&self.path("app.pem"), &own.certificate);
        replace(&self.path("app.key"), &own.key);
    }

    fn believes(&self, authorities: &str) {
        replace(&self.path("ca.pem"), authorities);
    }

    /// Starts a verb, which gets from its environment where to go and who it is.
    fn start(&self, verb: &[&str]) -> Running {
        let file = |ending: &str| self.path(&format!("{}.{ending}", verb[0]));
        let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(verb)
            .env("ANNALS_ADDR", &self.addr)
            .env("ANNALS_CA", self.path("ca.pem"))
            .env("ANNALS_CERT", self.path("app.pem"))
            .env("ANNALS_KEY", self.path("app.key"))
            .stdin(Stdio::piped())
            .stdout(File::create(file("out")).unwrap())
            .stderr(File::create(file("err")).unwrap())
            .spawn()
            .unwrap();
        Running {
            input: child.stdin.take(),
            child: RefCell::new(child),
            out: file("out"),
            err: file("err"),
        }
    }
}

/// A verb that runs; it ends with its test.
struct Running {
    child: RefCell<Child>,
    input: Option<ChildStdin>,
    out: PathBuf,
    err: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.get_mut().kill());
        self.child.get_mut().wait().unwrap();
    }
}

impl Running {
    fn says(&mut self, line: &str) {
        self.input.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Whether it has ended, and well.
    fn ended(&self) -> Option<bool> {
        let status = self.child.borrow_mut().try_wait().unwrap()?;
        Some(status.success())
    }

    /// What it has to say of its end.
    fn last_words(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Fails when it has ended.
    fn runs(&self) {
        assert_eq!(self.ended(), None, "{}", self.last_words());
    }

    async fn until_printed(&self, text: &str) {
        until(text, async || {
            self.runs();
            fs::read_to_string(&self.out).unwrap() == text
        })
        .await;
    }

    /// Waits until it ends, which must be with success; what it has printed.
    async fn ends_well(mut self) -> String {
        drop(self.input.take());
        until("its end", async || self.ended().is_some()).await;
        assert_eq!(self.ended(), Some(true), "{}", self.last_words());
        fs::read_to_string(&self.out).unwrap()
    }
}

/// A producer, and a consumer that prints what it stores.
struct Pipe {
    producer: Running,
    consumer: Running,
    lines: String,
}

impl Pipe {
    fn new(client: &Client, count: usize) -> Self {
        Self {
            producer: client.start(&["produce"]),
            consumer: client.start(&["consume", "--follow", "--count", &count.to_string()]),
            lines: String::new(),
        }
    }

    /// One line goes in at one end, and comes out at the other.
    async fn carries(&mut self, line: &str) {
        self.puts_in(line);
        self.consumer.until_printed(&self.lines).await;
        self.runs();
    }

    /// Fails when either has ended.
    fn runs(&self) {
        self.producer.runs();
        self.consumer.runs();
    }

    fn puts_in(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.producer.says(&line);
        self.lines += &line;
    }

    /// The last line of all that the consumer waits for.
    async fn ends_well(mut self, line: &str) {
        self.puts_in(line);
        let printed = self.producer.ends_well().await;
        let count = self.lines.lines().count();
        assert!(
            printed.starts_with(&format!("{count} records at offsets")),
            "{printed}"
        );
        assert_eq!(self.consumer.ends_well().await, self.lines);
    }
}

/// Waits until the node has replaced its certificates so often.
async fn until_reloaded(lines: &LogLines, times: usize) {
    until("a reload", async || lines.beginning("reloaded").len() == times).await;
}

/// As operations.md has it under "Replacing certificates". Clients read their files once, and were out at its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_and_a_consumer_outlive_the_authority_that_signed_them() {
    let old = Arc::new(Credentials::of(CLUSTER));
    let new = certs::Cluster::new(CLUSTER);
    let both = format!("{}{}", old.authority.certificate, new.certificate);
    let cluster = Cluster::found_secured_by(&old, 3, patient).await;
    let files = |number: usize| old.files(cluster.name(number));
    let all_reloaded = async |times| {
        for number in 0..3 {
            until_reloaded(&cluster.node(number).lines, times).await;
        }
    };
    let addresses = (0..3).map(|number| cluster.node(number).addresses.rpc.to_string());
    let addr = addresses.collect::<Vec<_>>().join(",");
    let app = Client::new(addr, &old.sign(&client("app")), &old.authority.certificate);
    let mut pipe = Pipe::new(&app, 4);
    pipe.carries("before").await;
    for number in 0..3 {
        replace(&files(number).authorities, &both);
    }
    app.believes(&both);
    all_reloaded(1).await;
    pipe.carries("step 1").await;
    for number in 0..3 {
        let own = new.sign(&node(cluster.name(number)), DAY);
        old.put(&files(number), &own, &both);
    }
    app.is_now(&new.sign(&client("app"), DAY));
    all_reloaded(2).await;
    pipe.carries("step 2").await;
    for number in 0..3 {
        replace(&files(number).authorities, &new.certificate);
    }
    app.believes(&new.certificate);
    all_reloaded(3).await;
    until("both to be disconnected", async || {
        let closed = (0..3).flat_map(|number| {
            let lines = &cluster.node(number).lines;
            lines.beginning("closed a connection: nobody vouches")
        });
        closed
            .filter(|line| line.contains("who=annals://annals/client/app"))
            .count()
            == 2
    })
    .await;
    pipe.ends_well("step 3").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_files_are_replaced_last_is_let_in_again_as_soon_as_they_are() {
    let old = Arc::new(Credentials::of(CLUSTER));
    let new = certs::Cluster::new(CLUSTER);
    let server = TestNode::start(&Place::real().secured(&old)).await;
    let addr = server.addresses.rpc.to_string();
    let app = Client::new(addr, &old.sign(&client("app")), &old.authority.certificate);
    let mut pipe = Pipe::new(&app, 3);
    pipe.carries("before").await;
    // At once, and the client knows nothing of it: neither side believes the other.
    let own = new.sign(&node("node-0"), DAY);
    old.put(&old.files("node-0"), &own, &new.certificate);
    until_reloaded(&server.lines, 1).await;
    let refused = async |pipe: &Pipe, why: &str| {
        until(why, async || {
            pipe.runs();
            let lines = server.lines.beginning("refused a client");
            // The first time of each kind is told, and the second.
            lines.iter().filter(|line| line.contains(why)).count() >= 2
        })
        .await;
    };
    pipe.puts_in("meanwhile");
    refused(
        &pipe,
        "it does not believe the authority that signed this side's certificate",
    )
    .await;
    // Then it believes the node, which does not believe it; and its key is that of another certificate for a moment.
    app.believes(&new.certificate);
    refused(&pipe, "is signed by no authority that is believed here").await;
    let own = new.sign(&client("app"), DAY);
    replace(&app.path("app.pem"), &own.certificate);
    pipe.runs();
    app.is_now(&own);
    pipe.ends_well("after").await;
    server.shut_down().await;
}
