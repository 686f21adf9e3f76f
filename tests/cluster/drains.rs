//! A node is asked to stop: it gives up what it has in good order, and is of use to its peers until consensus has ended.

use std::time::Duration;

use annals::{
    actors::{
        replicator::faults::Cut,
        supervision::{Part, State, policy::EXIT_GRACEFUL},
    },
    node::NodeOptions,
    proto::annals::v1::ConsumeRequest,
};

use crate::support::{
    cluster::{AT_WORK, Cluster, Port, TIMING},
    node::{DEADLINE, until},
};

/// Less than what is to be read, so that the node waits for its reader.
const WINDOW_BYTES: u32 = 64 << 10;

/// Clients may take as long as they like; a test ends their calls.
fn patient(options: &mut NodeOptions) {
    options.net.drain_timeout = DEADLINE;
    options.timing.stop_within = DEADLINE + Duration::from_secs(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_drains_votes_and_appends_until_its_clients_are_gone() {
    // The story: a node that was asked to stop turned its peers away with its clients, and accepted nobody any more while its
    // consensus ran on. Clients that came back waited at a door behind which nobody was, until the drain was over.
    let mut cluster = Cluster::found_with(3, patient).await;
    let load = cluster.load().await;
    load.stores(4 * u64::from(WINDOW_BYTES) / 100).await;
    let old = cluster.until_led().await;
    let [next, gone] = cluster.others(old)[..] else {
        panic!("there are three")
    };
    // From here on nothing is decided without the node that stops.
    cluster.kill(gone).await;
    cluster.until_led_among(&[old]).await;
    load.progresses(AT_WORK).await;
    let reads_nothing = cluster
        .node(old)
        .client_with_window(WINDOW_BYTES)
        .consume_stream(ConsumeRequest::default())
        .await
        .unwrap();
    let since = cluster.recorder.now();
    cluster.node(old).control.shutdown().await;
    assert_eq!(cluster.until_led_among(&[next]).await, next);
    load.progresses(AT_WORK).await;
    let silence = cluster
        .recorder
        .history()
        .longest_silence(since, cluster.recorder.now());
    println!("{silence:?} without acknowledgements");
    // A leadership that is not taken over in time, as on a machine that has none for it, ends in an election.
    assert!(silence < 4 * TIMING.election_timeout, "{silence:?}");

    // A peer whose connections break finds the door open.
    let (from, to) = (cluster.id(next), cluster.id(old));
    cluster.faults.part(from, to, Cut::Fail);
    let links = cluster.node(next).refs.links.clone();
    until("the connections to break", async || !links.is_connected(to)).await;
    cluster.faults.heal_all();
    load.progresses(AT_WORK).await;
    // One that comes anew finds it open too, and is elected by the node that stops, which does not stand itself.
    cluster.start(gone, Port::Other).await;
    load.finish().await;
    cluster.until_level().await;
    cluster.kill(next).await;
    assert_eq!(cluster.until_led_among(&[gone]).await, gone);
    let load = cluster.load().await;
    assert_eq!(
        cluster.node(old).status_of(Part::Gateway).await.state,
        State::Stopping,
        "it was to drain all the time"
    );

    drop(reads_nothing);
    let ending = cluster.ended(old).await;
    assert_eq!(ending.exit_code, EXIT_GRACEFUL, "{ending:?}");
    cluster.start(next, Port::Other).await;
    cluster.start(old, Port::Other).await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}
