//! Nodes join, leave and move.

use std::sync::Arc;

use annals::{
    actors::{
        committer::ProposeError,
        membership::{Leave, Presence},
        raft::{ChangeFailed, ChangeMember, MemberChange},
        replicator::faults::Cut,
        supervision::Reply,
    },
    consensus::types::Member,
    proto::annals::v1::{
        AddServerRequest, GetClusterRequest, LeaveRequest, NodeRef,
        cluster_service_client::ClusterServiceClient,
    },
    storage::{
        entry::{Entry, Payload},
        fs::RealFileSystem,
    },
    types::{NodeId, TimestampMs},
};

use futures::future::join_all;

use crate::support::{
    cluster::{AT_WORK, Cluster, Port, places},
    hooked_fs::{Gate, HookedFileSystem},
    log_lines::LogLines,
    lone_log::LoneLog,
    node::{Place, TestNode, in_time, until},
};

/// A node that there is not.
const NOBODY: NodeId = NodeId(9);
/// Entries; openraft takes a learner that lacks 5000 for one that has caught up.
const MORE_THAN_A_VOTER_MAY_LACK: u64 = 6000;

/// Waits until each node that runs has these voters, and no learners, in a committed membership.
async fn until_voters(cluster: &Cluster, numbers: &[usize]) {
    let wanted: Vec<_> = numbers.iter().map(|number| cluster.id(*number)).collect();
    until(&format!("{numbers:?} to be the voters"), async || {
        numbers.iter().all(|number| {
            let state = cluster.node(*number).refs.cluster.state();
            let voters: Vec<_> = state.members.iter().filter(|(_, member)| member.voter).collect();
            state.settled
                && !state.joint
                && state.members.len() == wanted.len()
                && voters.len() == wanted.len()
                && wanted.iter().all(|id| state.members.contains_key(id))
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_grows_to_three_and_to_five_and_shrinks_to_one_under_load() {
    let mut cluster = Cluster::found_at(places(5), 1).await;
    let load = cluster.load().await;
    for joining in [[1, 2], [3, 4]] {
        for number in joining {
            cluster.start(number, Port::Other).await;
        }
        until_voters(&cluster, &cluster.running()).await;
        load.progresses(AT_WORK).await;
    }
    while cluster.running().len() > 2 {
        // The leader: it hands over when it is stopped, and the next one removes it.
        let gone = cluster.until_led().await;
        leave(&cluster, gone).await;
        cluster.nodes.leaves(cluster.name(gone));
        cluster.shut_down(gone).await;
        until_voters(&cluster, &cluster.running()).await;
        load.progresses(AT_WORK).await;
    }
    // One of two has to be removed before it is stopped.
    let last = cluster.until_led().await;
    let gone = cluster.follower(last);
    leave(&cluster, gone).await;
    until_voters(&cluster, &[last]).await;
    cluster.nodes.leaves(cluster.name(gone));
    cluster.shut_down(gone).await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 1);
    cluster.stop().await;
}

/// For good.
async fn leave(cluster: &Cluster, gone: usize) {
    let mut client = cluster.node(gone).cluster_client();
    let left = in_time("the node to leave", client.leave(LeaveRequest::default()));
    left.await.unwrap();
}

/// The bug: a word in gossip was enough to remove a member, and whoever has its key can say that of anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_by_gossip_alone_is_a_voter_still() {
    let mut cluster = Cluster::found_at(places(4), 3).await;
    let leader = cluster.until_led().await;
    let gone = cluster.follower(leader);
    let (reply, left) = Reply::channel();
    assert!(cluster.node(gone).refs.membership.post(Leave { reply }).is_ok());
    in_time("the node to leave", left).await.unwrap();
    until("the leader to hear of it", async || {
        let table = cluster.node(leader).refs.directory.table();
        table
            .get(cluster.id(gone))
            .is_some_and(|peer| peer.presence == Presence::Left)
    })
    .await;
    // By the time that another one votes, the leader has looked at all of them many times.
    cluster.start(3, Port::Other).await;
    until_voters(&cluster, &[0, 1, 2, 3]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_is_found_and_catches_up() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let follower = cluster.follower(cluster.until_led().await);
    cluster.kill(follower).await;
    load.progresses(AT_WORK).await;
    cluster.start(follower, Port::Other).await;
    let address = cluster.node(follower).addresses.rpc.to_string();
    let id = cluster.id(follower);
    until("all to know the new address", async || {
        cluster.running().into_iter().all(|number| {
            let state = cluster.node(number).refs.cluster.state();
            state.settled && state.members[&id].member.address == address
        })
    })
    .await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_wiped_joins_as_a_new_one_and_the_old_one_is_removed() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let wiped = cluster.follower(cluster.until_led().await);
    let old = cluster.id(wiped);
    cluster.kill(wiped).await;
    cluster.wipe(wiped);
    cluster.start(wiped, Port::Other).await;
    assert_ne!(cluster.id(wiped), old);
    let leader = cluster.until_led().await;
    remove(&cluster, leader, old).await;
    until_voters(&cluster, &[0, 1, 2]).await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

/// The bug: a voter that had been heard of less than two seconds ago counted as up, so that its removal was begun, and hung for
/// want of its own vote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_nobody_is_left_to_confirm_is_refused_at_once() {
    let cluster = Cluster::found(2).await;
    let leader = cluster.until_led().await;
    let gone = cluster.follower(leader);
    cluster.isolate(gone, Cut::Fail);
    let refused = try_to_remove(&cluster, leader, cluster.id(gone)).await;
    let Err(ChangeFailed::Refused { why }) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("only 1 of 2 voters answer"), "{why}");
    assert!(
        why.contains(&format!("Bring {} back first", cluster.name(gone))),
        "{why}"
    );
    cluster.faults.heal_all();
    until_voters(&cluster, &[0, 1]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_is_not_confirmed_in_time_says_so_and_goes_on() {
    let gates: Vec<_> = (0..2).map(|_| Gate::new()).collect();
    let place = |gate: &Arc<Gate>| Place::on(Arc::new(HookedFileSystem::new(RealFileSystem, gate.clone())));
    let cluster = Cluster::found_at(gates.iter().map(place).collect(), 2).await;
    let leader = cluster.until_led().await;
    let gone = cluster.follower(leader);
    gates[gone].close();
    let unknown = try_to_remove(&cluster, leader, cluster.id(gone)).await;
    let Err(error @ ChangeFailed::Unconfirmed { .. }) = unknown else {
        panic!("{unknown:?}")
    };
    assert!(error.to_string().contains("though all voters answer"), "{error}");
    gates[gone].open();
    // Whoever leads by now finishes it.
    let left = cluster.id(leader);
    until("the removal to be made", async || {
        let state = cluster.node(leader).refs.cluster.state();
        state.settled && !state.joint && state.members.keys().eq([&left])
    })
    .await;
    cluster.stop().await;
}

/// By an operator's command.
async fn remove(cluster: &Cluster, leader: usize, node: NodeId) {
    try_to_remove(cluster, leader, node).await.unwrap();
}

async fn try_to_remove(cluster: &Cluster, leader: usize, node: NodeId) -> Result<(), ChangeFailed> {
    let (reply, changed) = Reply::channel();
    let change = ChangeMember {
        change: MemberChange::Remove { node },
        reply,
    };
    assert!(cluster.node(leader).refs.raft.post(change).is_ok());
    in_time("the change of the membership", changed).await
}

/// The story: of two removals at once both were made, and of one it was said that nobody knows: the other had come between its two steps, as the
/// leader's own changes can, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_the_same_time_each_is_told_what_became_of_it() {
    let cluster = Cluster::found(5).await;
    let leader = cluster.until_led().await;
    let others = cluster.others(leader);
    let removed = others[..2].iter().map(|gone| cluster.id(*gone));
    let removals = join_all(removed.map(|gone| try_to_remove(&cluster, leader, gone)));
    // It belongs already: this changes nothing, but is a change of its own.
    let stays = cluster.id(others[2]);
    let member = cluster.node(leader).refs.cluster.state().members[&stays]
        .member
        .clone();
    let changes = async {
        loop {
            let (reply, changed) = Reply::channel();
            let change = MemberChange::Add {
                node: stays,
                member: member.clone(),
                voter: false,
            };
            let posted = cluster
                .node(leader)
                .refs
                .raft
                .post(ChangeMember { change, reply });
            assert!(posted.is_ok());
            let added: Result<(), ChangeFailed> = in_time("a change that changes nothing", changed).await;
            added.unwrap();
        }
    };
    let told = tokio::select! {
        told = removals => told,
        () = changes => unreachable!("it goes on and on"),
    };
    assert_eq!(told, [Ok(()), Ok(())]);
    let left = [leader, others[2], others[3]];
    until_voters(&cluster, &left).await;
    cluster.stop().await;
}

/// What openraft says of its inside came to the operator: "log entry discarded on leader change; ... has to forward request to ..".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_change_whose_leader_is_deposed_it_is_said_that_nobody_knows_what_became_of_it() {
    let cluster = Cluster::found(3).await;
    let old = cluster.until_led().await;
    let before = cluster.node(old).refs.cluster.state().membership_at;
    cluster.isolate(old, Cut::Hang);
    let (reply, changed) = Reply::channel();
    // Of one that belongs nobody asks whether it answers; and it changes nothing, but in the log.
    let node = cluster.id(cluster.follower(old));
    let member = cluster.node(old).refs.cluster.state().members[&node]
        .member
        .clone();
    let change = MemberChange::Add {
        node,
        member,
        voter: false,
    };
    let posted = cluster.node(old).refs.raft.post(ChangeMember { change, reply });
    assert!(posted.is_ok());
    until("the change to be in the log of the old leader", async || {
        cluster.node(old).refs.cluster.state().membership_at != before
    })
    .await;
    cluster.until_led_among(&cluster.others(old)).await;
    cluster.faults.heal_all();
    let unknown = in_time("an answer to the command", changed).await;
    assert_eq!(unknown, Err(ProposeError::OutcomeUnknown.into()));
    cluster.until_led().await;
    // What a node shows follows what it knows a moment later.
    until("the change to be gone", async || {
        cluster.node(old).refs.cluster.state().membership_at == before
    })
    .await;
    cluster.stop().await;
}

/// It was warned about with `own_cluster_id=none` on the node that was renamed: its own id was not known to gossip yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_cluster_got_another_name_says_to_which_cluster_it_belongs() {
    let mut cluster = Cluster::found(2).await;
    let cluster_id = cluster.header(0).await.unwrap().cluster_id;
    let seed = cluster.node(0).refs.gossip.as_ref().unwrap().get().unwrap();
    cluster.kill(1).await;
    let lines = LogLines::new();
    let renamed = TestNode::begin_with(cluster.place(1), lines.clone(), |options| {
        options.cluster.listen = Some(([127, 0, 0, 1], 0).into());
        options.cluster.gossip.name = "renamed".to_owned();
        options.cluster.gossip.seeds = vec![seed.to_string()];
        (options.cluster.alone, options.cluster.initial_members) = (false, Vec::new());
    })
    .await;
    let told = || lines.beginning("a node of another cluster is ignored");
    until("it to see a stranger", async || !told().is_empty()).await;
    let expected = format!(
        "its_cluster=annals its_cluster_id={cluster_id} own_cluster=renamed own_cluster_id={cluster_id}"
    );
    assert!(told()[0].ends_with(&expected), "{:?}", told());
    assert_eq!(renamed.shut_down().await.exit_code, 0);
    cluster.stop().await;
}

/// Makes the log of a cluster of one, whose node does not run, so much longer.
async fn lengthen(place: &Place, entries: u64) {
    let cluster_id = place.identity().cluster_id.expect("it belongs to one");
    let log = LoneLog::open_of(
        cluster_id,
        Arc::new(RealFileSystem),
        &place.log_directory(),
        1 << 20,
    )
    .await;
    let standing = log.standing().await;
    let blanks = (1..=entries).map(|number| Entry {
        log_index: standing.last_log_index.plus(number),
        term: standing.last_term,
        timestamp: TimestampMs(1),
        payload: Payload::Blank,
    });
    let appended = in_time("the entries", log.append(blanks.collect())).await;
    appended.unwrap().unwrap();
    assert_eq!(log.shut_down().await.exit_code, 0);
}

/// With a log of few entries, none of which it had to receive, it became a voter whom nobody could reach: of two, so that nothing was
/// committed any more. With more entries the command waited for it without an end. Later it became a learner, for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_answers_is_made_no_member_and_whoever_adds_it_is_told() {
    let mut cluster = Cluster::found(1).await;
    for more_entries in [0, MORE_THAN_A_VOTER_MAY_LACK] {
        if more_entries > 0 {
            cluster.kill(0).await;
            lengthen(cluster.place(0), more_entries).await;
            cluster.start(0, Port::Other).await;
        }
        let (reply, changed) = Reply::channel();
        let add = MemberChange::Add {
            node: NOBODY,
            member: Member {
                name: "nobody".to_owned(),
                // Nobody listens on port 1.
                address: "127.0.0.1:1".to_owned(),
            },
            voter: true,
        };
        let posted = cluster
            .node(0)
            .refs
            .raft
            .post(ChangeMember { change: add, reply });
        assert!(posted.is_ok());
        let refused = in_time("an answer to the command", changed).await.unwrap_err();
        let told = refused.to_string();
        assert!(told.contains("nobody does not answer this node"), "{told}");
        let state = cluster.node(0).refs.cluster.state();
        assert!(!state.joint && state.members.len() == 1);
        // One of one is a majority.
        assert!(cluster.linearizable_read(0).await.is_ok());
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_of_the_same_name_is_neither_shown_nor_added() {
    // It was taken for one that waits to join: it never answered, and counted for the majority.
    let mut other = Cluster::found(1).await;
    other.kill(0).await;
    let cluster = Cluster::found(1).await;
    let stranger = cluster.begin_at(other.place(0)).await;
    for lines in [&cluster.node(0).lines, &stranger.lines] {
        until("each to see that the other is of another cluster", async || {
            !lines.beginning("a node of another cluster is ignored").is_empty()
        })
        .await;
    }
    let address = format!("http://{}", cluster.node(0).addresses.rpc);
    let mut client = ClusterServiceClient::connect(address).await.unwrap();
    let add = AddServerRequest {
        node: Some(NodeRef {
            node_id: stranger.id.get(),
            name: String::new(),
        }),
        ..AddServerRequest::default()
    };
    let refused = in_time("a refusal", client.add_server(add)).await.unwrap_err();
    for said in [&stranger.id.to_string(), "belongs to another cluster"] {
        assert!(refused.message().contains(said), "{refused}");
    }
    let shown = client.get_cluster(GetClusterRequest::default()).await.unwrap();
    let shown = shown
        .into_inner()
        .servers
        .into_iter()
        .map(|server| server.node_id);
    assert_eq!(shown.collect::<Vec<_>>(), [cluster.id(0).get()]);
    let ending = stranger.shut_down().await;
    assert_eq!(ending.exit_code, 0, "{ending:?}");
    cluster.stop().await;
}

/// What it knew was a note that is never synced: without it no membership was committed for certain, so that nobody was asked, and the node
/// looked for a leader for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_while_it_was_down_and_knows_nothing_to_be_committed_finds_out() {
    let mut cluster = Cluster::found(3).await;
    let leader = cluster.until_led().await;
    let gone = cluster.follower(leader);
    cluster.kill(gone).await;
    remove(&cluster, leader, cluster.id(gone)).await;
    let note = cluster.place(gone).log_directory().join("committed");
    // It may not have been written yet.
    drop(std::fs::remove_file(note));
    cluster.begin(gone, Port::Other).await;
    until("the node to find out", async || {
        let lines = &cluster.node(gone).lines;
        !lines
            .beginning("this node was removed from its cluster")
            .is_empty()
    })
    .await;
    cluster.stop().await;
}
