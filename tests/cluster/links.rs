//! Links between nodes are cut, and heal.

use std::collections::BTreeMap;

use annals::{
    actors::replicator::faults::Cut,
    consensus::links::Lane,
    proto::{
        annals::v1::{ConsumeRequest, ProduceRequest, ReadLevel, Record, RecordSet},
        log::v1::{GetServersRequest, log_client::LogClient},
    },
    types::NodeId,
};
use tonic::transport::Endpoint;

use crate::support::{
    cluster::{AT_WORK, Cluster, TIMING},
    load::{ACKNOWLEDGED, Kinds, Load, TIMED_OUT},
    log_checker::Level,
    node::{in_time, until},
    standstills::Standstills,
};

/// Clients who do not wait for a node that cannot answer.
fn impatient() -> Kinds {
    Kinds {
        patience: Some(TIMING.election_timeout / 3),
        ..Kinds::of_a_cluster()
    }
}

/// Waits until producers have been told so many times more that there is no leader.
async fn refused(load: &Load, count: u64) {
    let wanted = load.answers("NO_LEADER") + count;
    until("refusals", async || load.answers("NO_LEADER") >= wanted).await;
}

/// Parts the leader from the others under load, and heals the links once another one leads.
async fn leader_is_parted(how: Cut) {
    let cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let old = cluster.until_led().await;
    cluster.isolate(old, how);
    let (parted, standstills) = (cluster.recorder.now(), Standstills::watch());
    let since = annals::clock::now();
    let at_the_old_one = cluster.load_at(old, impatient());
    until("it to lead no more", async || {
        cluster.leader_of(old).await.is_none()
    })
    .await;
    let led_on = standstills.ran_since(since);
    println!("the leader steps down after {led_on:?}");
    // It takes one, and a busy machine may take its time.
    assert!(led_on < 4 * TIMING.election_timeout, "{led_on:?}");
    assert!(cluster.linearizable_read(old).await.is_err());
    refused(&at_the_old_one, 20).await;
    let answers = at_the_old_one.finish().await;
    assert_eq!(answers.produced.get(ACKNOWLEDGED), None, "{answers:?}");
    let unknown = ["OUTCOME_UNKNOWN", TIMED_OUT]
        .iter()
        .filter_map(|reason| answers.produced.get(*reason));
    assert!(
        unknown.sum::<u64>() > 0,
        "nothing is in its log alone: {answers:?}"
    );
    let fresh = cluster.recorder.history().reads.into_iter().filter(|read| {
        read.level == Level::Linearizable && read.began > parted && &*read.node.name == cluster.name(old)
    });
    assert_eq!(fresh.count(), 0);
    cluster.until_led_among(&cluster.others(old)).await;
    load.progresses(AT_WORK).await;
    cluster.faults.heal_all();
    cluster.until_led().await;
    load.progresses(AT_WORK).await;
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_nothing_reaches_acknowledges_nothing_and_steps_down_and_its_tail_is_cut_off() {
    leader_is_parted(Cut::Hang).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_links_break_acknowledges_nothing_and_steps_down_and_its_tail_is_cut_off() {
    leader_is_parted(Cut::Fail).await;
}

/// Whom the small API of a node names as leaders, by their names.
async fn servers_that_lead(cluster: &Cluster, number: usize) -> Option<Vec<String>> {
    let address = cluster.node(number).addresses.rpc;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = LogClient::new(endpoint.connect_lazy());
    let told = client.get_servers(GetServersRequest {}).await.ok()?;
    let servers = told.into_inner().servers.into_iter();
    Some(
        servers
            .filter(|server| server.is_leader)
            .map(|server| server.id)
            .collect(),
    )
}

/// Who leads, as a node has announced it, with the term.
fn announced(cluster: &Cluster, number: usize) -> Vec<(u64, NodeId)> {
    let lines = cluster.node(number).lines.beginning("a node leads ");
    let number_of = |line: &str, key: &str| -> u64 {
        let found = line.split(' ').find_map(|pair| pair.strip_prefix(key));
        found.unwrap().parse().unwrap()
    };
    let told = |line: &String| (number_of(line, "term="), NodeId(number_of(line, "leader=")));
    lines.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_deposed_while_it_was_parted_names_the_new_one_as_all_do() {
    let cluster = Cluster::found(3).await;
    let old = cluster.until_led().await;
    let (old_id, old_term) = (cluster.id(old), cluster.node(old).refs.cluster.state().term.get());
    cluster.isolate(old, Cut::Hang);
    let new = cluster.until_led_among(&cluster.others(old)).await;
    cluster.faults.heal_all();
    until("every node to name the new leader", async || {
        for number in 0..3 {
            if servers_that_lead(&cluster, number).await.as_deref() != Some(&[cluster.name(new).to_owned()]) {
                return false;
            }
        }
        true
    })
    .await;
    // That is what was so in the end; and this is what was never so.
    let mut leaders = BTreeMap::new();
    for number in 0..3 {
        let mut newest = 0;
        for (term, leader) in announced(&cluster, number) {
            assert_eq!(
                *leaders.entry(term).or_insert(leader),
                leader,
                "two lead in term {term}"
            );
            assert!(
                term >= newest,
                "{} goes back to term {term}",
                cluster.name(number)
            );
            newest = term;
        }
    }
    let later = leaders.range(old_term + 1..).map(|(_, leader)| *leader);
    let later: Vec<_> = later.collect();
    assert!(
        later.contains(&cluster.id(new)) && !later.contains(&old_id),
        "{leaders:?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_parted_for_long_does_not_disturb_the_others_and_catches_up() {
    let cluster = Cluster::found_steady(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let term = cluster.node(leader).refs.cluster.state().term;
    let follower = cluster.follower(leader);
    let since = cluster.recorder.now();
    cluster.isolate(follower, Cut::Hang);
    let stood_at = cluster.high_watermark(follower);
    until("it to know no leader", async || {
        cluster.leader_of(follower).await.is_none()
    })
    .await;
    load.progresses(20 * AT_WORK).await;
    assert!(cluster.linearizable_read(follower).await.is_err());
    assert!(cluster.local_read(follower).await.is_ok());
    let lag = cluster.high_watermark(leader) - stood_at;
    cluster.faults.heal_all();
    assert_eq!(
        cluster.until_led().await,
        leader,
        "it was thrown out by who came back"
    );
    let silence = cluster
        .recorder
        .history()
        .longest_silence(since, cluster.recorder.now());
    println!("{lag} records behind; {silence:?} of silence");
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(
        cluster.node(leader).refs.cluster.state().term,
        term,
        "there was an election"
    );
    assert!(lag > AT_WORK && summary.contents == 3, "{lag}, {summary:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_write_on_and_one_alone_refuses_to_and_still_serves_what_it_has() {
    let cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let [gone, last] = cluster.others(leader)[..] else {
        panic!("there are three")
    };
    cluster.isolate(gone, Cut::Fail);
    load.progresses(5 * AT_WORK).await;
    cluster.isolate(last, Cut::Fail);
    for number in [leader, gone, last] {
        until("nobody to lead", async || {
            cluster.leader_of(number).await.is_none()
        })
        .await;
    }
    let acknowledged = load.answers(ACKNOWLEDGED);
    refused(&load, 100).await;
    assert_eq!(load.answers(ACKNOWLEDGED), acknowledged);
    for number in [leader, gone, last] {
        assert!(cluster.linearizable_read(number).await.is_err());
        assert!(cluster.local_read(number).await.unwrap() > 0);
    }
    cluster.faults.heal_all();
    cluster.until_led().await;
    load.progresses(AT_WORK).await;
    cluster.judge(load).await;
    cluster.stop().await;
}

/// Stores one record at that node.
async fn stores_at(cluster: &Cluster, number: usize) {
    let records = vec![Record {
        value: "record".into(),
        ..Record::default()
    }];
    let request = ProduceRequest {
        records: Some(RecordSet { records }),
        ..ProduceRequest::default()
    };
    let mut client = cluster.node(number).client();
    let produced = in_time("an answer to Produce", client.produce(request)).await;
    produced.expect("it is stored, and nobody is told who leads");
}

/// A follower forwards over one stream, and found that its link had broken only when the next batch was there: that one was
/// refused with `NOT_LEADER`, however long the link was whole again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_link_broke_while_nothing_was_on_its_way_forwards_the_next_batch_over_the_new_one() {
    let cluster = Cluster::found_steady(3).await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    let (from, to) = (cluster.id(follower), cluster.id(leader));
    stores_at(&cluster, follower).await;
    for _ in 0..3 {
        let lost = || {
            cluster
                .node(follower)
                .lines
                .beginning("lost the connection to a peer")
                .len()
        };
        let before = lost();
        // The leader's own links stay, so that it leads on.
        cluster.faults.cut(from, to, Cut::Fail);
        until("all lanes to be lost", async || {
            lost() >= before + Lane::ALL.len()
        })
        .await;
        cluster.faults.heal(from, to);
        until("the link to be whole", async || {
            let links = cluster.node(follower).refs.links.status();
            links.iter().any(|(node, link, _)| *node == to && link.connected)
        })
        .await;
        stores_at(&cluster, follower).await;
    }
    assert_eq!(cluster.until_led().await, leader, "another one leads");
    cluster.stop().await;
}

/// It was five seconds, for as long as the old leader was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_leader_is_gone_answers_a_linearizable_read_as_soon_as_it_knows_that() {
    let cluster = Cluster::found(3).await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    let standstills = Standstills::watch();
    cluster.isolate(leader, Cut::Hang);
    let parted = annals::clock::now();
    // It believes in that leader still, and asks it.
    let mut client = cluster.node(follower).client();
    let request = ConsumeRequest {
        read_level: ReadLevel::Linearizable.into(),
        ..Default::default()
    };
    let answer = in_time("an answer", client.consume(request)).await;
    let waited = standstills.ran_since(parted);
    println!("{answer:?} after {waited:?}");
    assert!(
        waited < 4 * TIMING.election_timeout,
        "{answer:?} after {waited:?}"
    );
    until("it to read under the next leader", async || {
        cluster.linearizable_read(follower).await.is_ok()
    })
    .await;
    cluster.faults.heal_all();
    cluster.stop().await;
}
