//! `examples/*.rs`, with a cluster of three in the place of `annals dev`.

use std::{path::PathBuf, process::Command, sync::LazyLock};

use annals::testing::{Port, TestCluster};

use crate::{
    one_process::{Line, line_with},
    outside::step,
};

/// Where the examples are, once they are built: `cargo test` alone does it, `cargo test --test examples` does not.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = step(Command::new(env!("CARGO")).args(["build", "--locked", "--examples"]));
    built.unwrap_or_else(|why| panic!("{why}"));
    let test = std::env::current_exe().expect("a test is a program");
    let target = test.ancestors().nth(2).expect("it is in target/debug/deps");
    target.join("examples")
});

/// An example that is asked to work at that cluster.
fn example(name: &str, cluster: &TestCluster) -> Line {
    let program = BUILT.join(name).display().to_string();
    Line::new(&program).arg(cluster.address(cluster.follower(0)).to_string())
}

#[tokio::test]
async fn first_records_are_appended_and_read() {
    let cluster = TestCluster::start(3).await;
    assert_eq!(
        example("first_records", &cluster).run().text(),
        "\
appended at 0..2
acknowledged at 2
acknowledged at 3
acknowledged at 4
0: hello
1: world
2: number 1
3: number 2
4: number 3
"
    );
}

#[tokio::test]
async fn an_account_is_never_overdrawn_by_two_who_know_the_same() {
    let cluster = TestCluster::start(3).await;
    assert_eq!(
        example("event_sourcing", &cluster).run().text(),
        "\
first cashier: took 80, 20 is left
second cashier: something happened meanwhile
second cashier: 80 is more than 20
second cashier: took 20, 0 is left
by the events: 0
"
    );
}

#[tokio::test]
async fn a_job_that_was_not_committed_is_done_again_by_who_takes_over() {
    let cluster = TestCluster::start(3).await;
    assert_eq!(
        example("job_queue", &cluster).run().text(),
        "\
worker 1 does job 1
worker 1 does job 2
worker 1 falls silent
worker 2 takes over
worker 2 does job 2
worker 2 does job 3
worker 2 does job 4
worker 1 hears that it is not its queue any more
all jobs are done: true
"
    );
}

#[tokio::test]
async fn who_follows_goes_on_where_it_was_after_its_own_end_and_that_of_a_node() {
    let mut cluster = TestCluster::start(3).await;
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let position = directory.path().join("position");
    cluster.produce(["one", "two", "three"]).await;

    let follow = |cluster: &TestCluster| example("follow", cluster).arg(&position);
    let first = follow(&cluster).arg("2").run();
    assert_eq!(first.text(), "0: one\n1: two\n");

    let second = follow(&cluster).start();
    let wait_for = |line: &str| second.out.wait_for(line, |text| line_with(text, line));
    wait_for("2: three");
    let leader = cluster.leader().await;
    for number in [leader, cluster.follower(leader)] {
        cluster.kill(number).await;
        cluster.begin(number, Port::Same).await;
        cluster.until_ready(number).await;
    }
    cluster.produce(["four"]).await;
    wait_for("3: four");
    let ended = second.stop();
    assert_eq!(String::from_utf8_lossy(&ended.out), "2: three\n3: four\n");
}

/// The story: at the second `annals dev`, whose log is new, it waited without a word for an offset of the first one's.
#[tokio::test]
async fn who_follows_takes_no_position_of_another_log() {
    let cluster = TestCluster::start(1).await;
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let position = directory.path().join("position");
    for kept in ["00000000000000000000000000000001 4\n", "4\n", ""] {
        std::fs::write(&position, kept).expect("there is room for a file");
        let address = cluster.address(0).to_string();
        let ended = Line::new(&BUILT.join("follow").display().to_string())
            .arg(address)
            .arg(&position)
            .run();
        assert!(
            ended.err.contains("to begin anew, delete it"),
            "{kept:?}: {}",
            ended.err
        );
        assert!(
            ended.err.contains(&position.display().to_string()),
            "{kept:?}: {}",
            ended.err
        );
        assert_eq!(ended.status.code(), Some(1), "{kept:?}");
    }
}
