//! What an example does, in whatever language it is.

use std::{fs, path::Path};

use annals::testing::{Port, TestCluster};
use tempfile::TempDir;

use crate::{
    one_process::{Line, Node, annals, line_with},
    outside::Example,
};

fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room for a directory")
}

/// The first block of text of a page: what the example prints.
fn shown(page: &Path) -> String {
    let text = fs::read_to_string(page).expect("an example has a page");
    let block = text
        .split_once("```text\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    block.expect("it shows what is printed").0.to_owned()
}

pub(crate) async fn does_what_its_page_shows(example: &Example) {
    let cluster = TestCluster::start(1).await;
    let directory = directory();
    let run = || {
        let line = example.line(&[]).arg(example.position);
        line.arg(directory.path().join("position"))
            .arg(cluster.address(0).to_string())
    };
    assert_eq!(run().run().text(), shown(&example.page));
    // A second run finds the position of the first.
    let again = run().run().text();
    assert!(again.starts_with("3 records at offsets 4..7\n"), "{again}");
    assert!(again.contains("\nread 4: an order\n"), "{again}");
    assert_eq!(cluster.records(0).await.len(), 8, "each batch is stored once");
}

pub(crate) async fn goes_on_when_its_node_is_back(example: &Example) {
    let mut cluster = TestCluster::start(1).await;
    let directory = directory();
    let line = example
        .line(&[])
        .arg(example.follow)
        .arg(example.position)
        .arg(directory.path().join("position"))
        .arg(cluster.address(0).to_string());
    let following = line.start();
    let wait_for = |line: &str| following.out.wait_for(line, |text| line_with(text, line));
    cluster.produce(["before"]).await;
    wait_for("read 0: before");
    cluster.kill(0).await;
    cluster.begin(0, Port::Same).await;
    cluster.until_ready(0).await;
    cluster.produce(["after"]).await;
    wait_for("read 1: after");
    following.signal("INT");
    assert_eq!(following.wait().text(), "read 0: before\nread 1: after\n");
}

pub(crate) fn shows_the_certificates_of_annals_init(example: &Example) {
    let directory = directory();
    let secured = directory.path().join("secured");
    annals().arg("init").arg(&secured).run().text();
    let ports = [
        "ANNALS__LISTEN__RPC=127.0.0.1:0",
        "ANNALS__LISTEN__ADMIN=127.0.0.1:0",
    ];
    let agent = [env!("CARGO_BIN_EXE_annals"), "agent", "--config"];
    let node = Node::listening(
        Line::new("env")
            .args(ports)
            .args(agent)
            .arg(secured.join("node-0.toml")),
    );
    node.wait_until_ready();
    let file = |name: &str| secured.join("certs").join(name).display().to_string();
    let certificates = [
        ("ANNALS_CA", file("ca.pem")),
        ("ANNALS_CERT", file("app.pem")),
        ("ANNALS_KEY", file("app.key")),
    ];
    let run = |variables: &[(&str, String)]| {
        let line = example.line(variables).arg(example.position);
        line.arg(directory.path().join("position")).arg(&node.rpc).run()
    };
    assert_eq!(run(&certificates).text(), shown(&example.page));
}

/// The story: at the second `annals dev`, whose log is new, an example waited without a word for an offset of the first one's.
pub(crate) async fn takes_no_position_of_another_log(example: &Example) {
    let cluster = TestCluster::start(1).await;
    cluster.produce(["here"]).await;
    let directory = directory();
    let position = directory.path().join("position");
    for kept in ["00000000000000000000000000000001 4\n", "4\n", ""] {
        fs::write(&position, kept).expect("there is room for a file");
        let line = example.line(&[]).arg(example.follow).arg(example.position);
        let ended = line.arg(&position).arg(cluster.address(0).to_string()).run();
        let remedy = format!("to begin anew, delete {}\n", position.display());
        assert!(ended.err.ends_with(&remedy), "{kept:?}: {}", ended.err);
        assert_eq!((ended.status.code(), ended.out.len()), (Some(1), 0), "{kept:?}");
        assert_eq!(fs::read_to_string(&position).expect("it stays"), kept);
    }
}
