//! The disk of one node fails or hangs.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use annals::{
    actors::supervision::policy::{EXIT_ESCALATED, EXIT_FAILSAFE},
    storage::fs::RealFileSystem,
};

use crate::support::{
    cluster::{AT_WORK, Cluster},
    hooked_fs::{Gate, HookedFileSystem},
    node::{Place, until},
    sim_fs::{CallKind, SimFileSystem},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_fails_ends_and_the_others_go_on() {
    let disks: Vec<_> = (1..=3).map(SimFileSystem::new).collect();
    let places = disks
        .iter()
        .map(|disk| Place::on(Arc::new(disk.clone())))
        .collect();
    let mut cluster = Cluster::found_at(places, 3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    disks[follower].fail_nth(CallKind::Sync, 1, ErrorKind::Other);
    let ending = cluster.ended(follower).await;
    assert_eq!(ending.exit_code, EXIT_FAILSAFE, "{ending:?}");
    load.progresses(AT_WORK).await;
    assert_eq!(cluster.until_led().await, leader);
    cluster.judge(load).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_fails_ends_and_another_one_leads() {
    let disks: Vec<_> = (1..=3).map(SimFileSystem::new).collect();
    let places = disks
        .iter()
        .map(|disk| Place::on(Arc::new(disk.clone())))
        .collect();
    let mut cluster = Cluster::found_at(places, 3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    disks[leader].fail_nth(CallKind::Sync, 1, ErrorKind::Other);
    let ending = cluster.ended(leader).await;
    assert_eq!(ending.exit_code, EXIT_FAILSAFE, "{ending:?}");
    cluster.until_led().await;
    load.progresses(AT_WORK).await;
    cluster.judge(load).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_hangs_holds_nobody_up_and_catches_up() {
    let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
    let place = |gate: &Arc<Gate>| Place::on(Arc::new(HookedFileSystem::new(RealFileSystem, gate.clone())));
    let cluster = Cluster::found_at(gates.iter().map(place).collect(), 3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    gates[follower].close();
    until("a sync to hang", async || gates[follower].waiting() > 0).await;
    load.progresses(10 * AT_WORK).await;
    gates[follower].open();
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_for_too_long_ends_and_another_one_leads() {
    let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
    let place = |gate: &Arc<Gate>| Place::on(Arc::new(HookedFileSystem::new(RealFileSystem, gate.clone())));
    let places = gates.iter().map(place).collect();
    let mut cluster = Cluster::found_at_with(places, 3, |options| {
        options.timing.heartbeat_every = Duration::from_millis(200);
        options.timing.stuck_after = Duration::from_secs(3);
        options.timing.stop_within_when_failed = Duration::from_millis(500);
    })
    .await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    gates[leader].close();
    let ending = cluster.ended(leader).await;
    assert_eq!(ending.exit_code, EXIT_ESCALATED, "{ending:?}");
    cluster.until_led().await;
    load.progresses(AT_WORK).await;
    gates[leader].open();
    cluster.judge(load).await;
    cluster.stop().await;
}
