//! The disk of one node fails, hangs, is slow or full.

use std::{cell::Cell, io::ErrorKind, sync::Arc, time::Duration};

use annals::{
    actors::{
        raft::TrimBelow,
        replicator::faults::Cut,
        supervision::{
            Reply,
            policy::{EXIT_ESCALATED, EXIT_FAILSAFE},
        },
    },
    node::NodeOptions,
    storage::fs::RealFileSystem,
    types::Offset,
};

use crate::{
    segments::{little_is_kept, until_trimmed_past},
    support::{
        cluster::{AT_WORK, Cluster, Port, TIMING, patient},
        hooked_fs::{Gate, HookedFileSystem, Slowness},
        load::{ACKNOWLEDGED, Kinds, Load},
        node::{Place, in_time, until},
        sim_fs::{CallKind, SimFileSystem},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_fails_ends_and_the_others_go_on() {
    let disks: Vec<_> = (1..=3).map(SimFileSystem::new).collect();
    let places = disks
        .iter()
        .map(|disk| Place::on(Arc::new(disk.clone())))
        .collect();
    let mut cluster = Cluster::found_at_with(places, 3, patient).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_leads_soon_when_the_leader_s_disk_hangs_and_the_leader_comes_back_as_a_follower() {
    // The story: heartbeats do not need the disk, so a leader whose disk hung led on, and nobody was answered, for half a minute.
    let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
    let place = |gate: &Arc<Gate>| Place::on(Arc::new(HookedFileSystem::new(RealFileSystem, gate.clone())));
    let cluster = Cluster::found_at(gates.iter().map(place).collect(), 3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    // Clients of the others, who wait for every answer: it would come by way of the leader whose disk hangs.
    let others = cluster.others(leader);
    let patient = Kinds {
        patience: None,
        ..Kinds::of_a_cluster()
    };
    let at_others = [0, 1].map(|other| cluster.load_at(others[other], patient));
    for load in &at_others {
        load.progresses(AT_WORK).await;
    }
    let since = cluster.recorder.now();
    gates[leader].close();
    let next = cluster.until_led_among(&others).await;
    load.progresses(AT_WORK).await;
    for load in &at_others {
        load.progresses(AT_WORK).await;
    }
    let silence = cluster
        .recorder
        .history()
        .longest_silence(since, cluster.recorder.now());
    println!("{silence:?} without acknowledgements");
    assert!(silence < 4 * TIMING.election_timeout, "{silence:?}");
    assert!(gates[leader].waiting() > 0, "its disk was to hang all the time");
    gates[leader].open();
    assert_eq!(cluster.until_led().await, next);
    for load in at_others {
        load.finish().await;
    }
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

/// Room on each disk that is kept free.
const FLOOR: u64 = 1 << 20;

async fn with_floors() -> (Vec<SimFileSystem>, Cluster) {
    let disks: Vec<_> = (1..=3).map(SimFileSystem::new).collect();
    let places = disks
        .iter()
        .map(|disk| Place::on(Arc::new(disk.clone())))
        .collect();
    let cluster = Cluster::found_at_with(places, 3, |options| options.free_bytes_min = FLOOR).await;
    (disks, cluster)
}

/// Whether a node has seen that its disk has too little room.
async fn knows_it_is_full(cluster: &Cluster, number: usize) -> bool {
    let (_, text) = cluster.node(number).get("/readyz").await;
    text.contains("nearly full")
}

/// Leaves too little room on a node's disk, and waits until it has seen that.
async fn fill(disks: &[SimFileSystem], cluster: &Cluster, number: usize) {
    disks[number].set_free_bytes(FLOOR - 1);
    until("the node to see that its disk is full", async || {
        knows_it_is_full(cluster, number).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_lets_one_with_room_lead_and_clients_write_on() {
    let (disks, cluster) = with_floors().await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let since = cluster.recorder.now();
    fill(&disks, &cluster, leader).await;
    cluster.until_led_among(&cluster.others(leader)).await;
    load.progresses(AT_WORK).await;
    let silence = cluster
        .recorder
        .history()
        .longest_silence(since, cluster.recorder.now());
    println!("{silence:?} without acknowledgements");
    // A leadership that is not taken over in time, as on a machine that has none for it, ends in an election.
    assert!(silence < 4 * TIMING.election_timeout, "{silence:?}");
    // And of two others it is the one with room.
    disks[leader].set_free_bytes(FLOOR);
    let leader = cluster.until_led().await;
    let others = cluster.others(leader);
    let (also_full, roomy) = (others[0], others[1]);
    for full in [also_full, leader] {
        fill(&disks, &cluster, full).await;
    }
    cluster.until_led_among(&[roomy]).await;
    disks[also_full].set_free_bytes(FLOOR);
    load.progresses(AT_WORK).await;
    assert_eq!(cluster.until_led().await, roomy);
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_disks_are_full_wait_for_others_to_stand_and_lead_when_there_are_none() {
    let (disks, mut cluster) = with_floors().await;
    let leader = cluster.until_led().await;
    let others = cluster.others(leader);
    for full in &others {
        fill(&disks, &cluster, *full).await;
    }
    let since = cluster.recorder.now();
    cluster.kill(leader).await;
    cluster.until_led_among(&others).await;
    let leaderless = cluster.recorder.now().since(since);
    println!("{leaderless:?} without a leader");
    assert!(leaderless > 3 * TIMING.election_timeout, "{leaderless:?}");
    cluster.start(leader, Port::Other).await;
    assert_eq!(
        cluster.until_led_among(&[leader]).await,
        leader,
        "it has room, and is let lead"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_hardly_any_room_takes_no_entries_disturbs_nobody_and_catches_up_when_there_is_some()
{
    // Else it would write on to the last byte of its disk, where a write fails and the node ends.
    let (disks, cluster) = with_floors().await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let term = async || cluster.header(leader).await.unwrap().term;
    let (follower, term_then) = (cluster.follower(leader), term().await);
    fill(&disks, &cluster, follower).await;
    disks[follower].set_free_bytes(FLOOR / 2 - 1);
    until("the node to take no more", async || {
        let stood_at = cluster.high_watermark(follower);
        load.progresses(AT_WORK).await;
        cluster.high_watermark(follower) == stood_at
    })
    .await;
    let stood_at = cluster.high_watermark(follower);
    load.progresses(5 * AT_WORK).await;
    assert_eq!(cluster.high_watermark(follower), stood_at);
    assert_eq!((cluster.until_led().await, term().await), (leader, term_then));
    disks[follower].set_free_bytes(FLOOR);
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    assert!(cluster.high_watermark(follower) > stood_at);
    cluster.stop().await;
}

/// Room that is kept free, and segments so small that there are many of them soon.
fn small_segments(options: &mut NodeOptions) {
    options.free_bytes_min = FLOOR;
    options.log.segment_bytes = 64 << 10;
}

/// It took no entries, and so not the trim either: it stayed full until somebody made room by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_hardly_any_room_drops_what_was_trimmed_though_the_trim_does_not_come_to_it() {
    let disks: Vec<_> = (1..=3).map(SimFileSystem::new).collect();
    let places = disks
        .iter()
        .map(|disk| Place::on(Arc::new(disk.clone())))
        .collect();
    let cluster = Cluster::found_at_with(places, 3, small_segments).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    let firsts = || cluster.node(follower).refs.read_path.view().segment_firsts();
    until("many segments", async || firsts().len() > 4).await;
    fill(&disks, &cluster, follower).await;
    disks[follower].set_free_bytes(FLOOR / 2 - 1);
    until("the node to take no more", async || {
        let stood_at = cluster.high_watermark(follower);
        load.progresses(AT_WORK).await;
        cluster.high_watermark(follower) == stood_at
    })
    .await;
    load.finish().await;
    let (many, stood_at) = (firsts().len(), cluster.high_watermark(follower));
    // What it lacks stays: else it would be brought up by segments, the trim among them.
    let (reply, trimmed) = Reply::channel();
    let below = Offset(stood_at);
    let trim = TrimBelow { below, reply };
    assert!(cluster.node(leader).refs.raft.post(trim).is_ok());
    in_time("the trim", trimmed).await.unwrap();
    until("it to drop all but the last segments", async || {
        firsts().len() <= 2
    })
    .await;
    assert!(many > 2 && cluster.high_watermark(follower) == stood_at, "{many}");
    let earliest = || cluster.node(follower).refs.read_path.view().earliest();
    assert!(earliest() <= below, "{}", earliest());
    disks[follower].set_free_bytes(FLOOR);
    until("it to have the trim", async || earliest() == below).await;
    cluster.until_level().await;
    cluster.stop().await;
}

/// It fetched segments on to the last byte of its disk, where a write fails and the node ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_room_for_the_segments_that_would_bring_it_up_waits_for_room() {
    let disks: Vec<_> = (1..=3).map(SimFileSystem::new).collect();
    let places = disks
        .iter()
        .map(|disk| Place::on(Arc::new(disk.clone())))
        .collect();
    let cluster = Cluster::found_at_with(places, 3, |options| {
        little_is_kept(options);
        options.free_bytes_min = FLOOR;
    })
    .await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    cluster.isolate(follower, Cut::Fail);
    until_trimmed_past(&cluster, leader, follower).await;
    disks[follower].set_free_bytes(FLOOR / 2 + 1);
    cluster.faults.heal_all();
    let says = async |what: &str| {
        until(what, async || {
            let lines = cluster.node(follower).lines.all();
            lines.iter().any(|line| line.contains(what))
        })
        .await;
    };
    says("takes no entries and no segments until there is room").await;
    load.progresses(AT_WORK).await;
    disks[follower].set_free_bytes(u64::MAX);
    says("segments installed").await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

/// What the node says of itself in a word.
async fn readiness(cluster: &Cluster, number: usize) -> String {
    let (_, status) = cluster.node(number).get("/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["readiness"].as_str().unwrap().to_owned()
}

/// It was ready as soon as it heard of a leader, however much it lacked. Here its disk has no room for what it lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_is_not_ready_before_it_has_what_was_committed_by_then() {
    let (disks, mut cluster) = with_floors().await;
    let follower = cluster.follower(cluster.until_led().await);
    cluster.kill(follower).await;
    let load = cluster.load().await;
    disks[follower].set_free_bytes(FLOOR / 2 - 1);
    cluster.begin(follower, Port::Other).await;
    until("it to know its leader", async || {
        cluster.leader_of(follower).await.is_some()
    })
    .await;
    until("it to say that it lacks something", async || {
        readiness(&cluster, follower).await == "catching up"
    })
    .await;
    let (code, text) = cluster.node(follower).get("/readyz").await;
    assert!(
        code == 503 && text.contains("leader failed: it is catching up"),
        "{text}"
    );
    disks[follower].set_free_bytes(FLOOR);
    until("it to be ready", async || {
        cluster.node(follower).get("/readyz").await.0 == 200
    })
    .await;
    // And so it stays, though more is committed all the time.
    let target = load.answers(ACKNOWLEDGED) + AT_WORK;
    until("more to be acknowledged", async || {
        assert_eq!(readiness(&cluster, follower).await, "ready");
        load.answers(ACKNOWLEDGED) >= target
    })
    .await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_disks_are_full_nobody_writes_and_leadership_stays_where_it_is() {
    let (disks, cluster) = with_floors().await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let term = async || cluster.header(leader).await.unwrap().term;
    for full in cluster.others(leader).into_iter().chain([leader]) {
        fill(&disks, &cluster, full).await;
    }
    let term_then = term().await;
    let still_leads = async || {
        let leads = (cluster.until_led().await, term().await);
        assert!(leads == (leader, term_then) || cluster.stood_still(), "{leads:?}");
    };
    // So many come in several election timeouts.
    let refused = load.answers("STORAGE_FULL") + 2000;
    until("refusals", async || load.answers("STORAGE_FULL") >= refused).await;
    still_leads().await;
    assert!(cluster.linearizable_read(cluster.until_led().await).await.is_ok());
    // The leader is the first to see that it has room: it would let another one lead that has some before.
    disks[leader].set_free_bytes(FLOOR);
    until("the leader to see that it has room", async || {
        !knows_it_is_full(&cluster, leader).await
    })
    .await;
    for disk in &disks {
        disk.set_free_bytes(FLOOR);
    }
    load.progresses(AT_WORK).await;
    still_leads().await;
    cluster.judge(load).await;
    cluster.stop().await;
}

/// The leader went on taking batches, until those whose disks were full took no more: all clients waited to their deadlines, and the trim that
/// would have helped was never committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_majority_is_full_the_leader_refuses_batches_and_a_trim_makes_room() {
    let (disks, cluster) = with_floors().await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    for full in cluster.others(leader) {
        fill(&disks, &cluster, full).await;
    }
    let refused = load.answers("STORAGE_FULL") + 100;
    until("refusals", async || load.answers("STORAGE_FULL") >= refused).await;
    assert_eq!(cluster.until_led().await, leader);
    assert!(cluster.linearizable_read(leader).await.is_ok());
    let (reply, trimmed) = Reply::channel();
    let below = Offset(cluster.high_watermark(leader));
    assert!(
        cluster
            .node(leader)
            .refs
            .raft
            .post(TrimBelow { below, reply })
            .is_ok()
    );
    in_time("the trim", trimmed).await.unwrap();
    for disk in &disks {
        disk.set_free_bytes(FLOOR);
    }
    load.progresses(AT_WORK).await;
    cluster.judge(load).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_slow_holds_nobody_up_takes_no_memory_and_catches_up() {
    /// As long as a cheap disk takes that others use too.
    const SYNC_TAKES: Duration = Duration::from_millis(50);
    /// Few of these make many bytes, and three of them one batch.
    const RECORD_BYTES: usize = 20 << 10;
    /// More than a leader holds in memory for those that keep up.
    const WRITTEN: u64 = 40 << 20;
    /// What it may hold: 32 MiB of what is synced, and what it was just given.
    const HELD_MAX: usize = 36 << 20;
    /// Clients who wait for one answer before they ask for the next.
    const PRODUCERS: u64 = 4;
    let disks: Vec<_> = (0..3).map(|_| Slowness::new(SYNC_TAKES)).collect();
    let place =
        |disk: &Arc<Slowness>| Place::on(Arc::new(HookedFileSystem::new(RealFileSystem, disk.clone())));
    let cluster = Cluster::found_at_with(disks.iter().map(place).collect(), 3, patient).await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    let kinds = Kinds {
        unary: PRODUCERS / 2,
        unary_stamped: PRODUCERS / 2,
        streams: 0,
        streams_stamped: 0,
        tails: 1,
        readers: 1,
        lease_readers: 0,
        record_bytes: RECORD_BYTES,
        ..Kinds::of_a_cluster()
    };
    let load = Load::begin_on(&cluster.nodes, &cluster.recorder, kinds);
    load.progresses(20).await;
    disks[follower].set(true);
    let (lacked, held) = (Cell::new(0), Cell::new(0));
    let from = cluster.high_watermark(leader);
    until("much to be written", async || {
        let refs = &cluster.node(leader).refs;
        let state = refs.cluster.state();
        let matched = state.members[&cluster.id(follower)].matched.unwrap_or_default();
        let behind = state.applied.distance_from(matched.min(state.applied));
        lacked.set(lacked.get().max(behind));
        held.set(held.get().max(refs.consensus.running().unwrap().held_bytes()));
        (cluster.high_watermark(leader) - from) * RECORD_BYTES as u64 >= WRITTEN
    })
    .await;
    let slowed = disks[follower].slowed();
    println!(
        "{slowed} syncs were slow; up to {} committed entries behind; {} bytes held",
        lacked.get(),
        held.get()
    );
    assert!(slowed > 10, "{slowed}");
    // Had anybody waited for it, it would lack nothing that is committed; and nobody sends more than one batch at a time.
    assert!(lacked.get() > 4 * PRODUCERS, "{lacked:?}");
    assert!(held.get() < HELD_MAX, "{held:?}");
    assert_eq!(cluster.until_led().await, leader);
    disks[follower].set(false);
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}
