//! Named cursors: whatever becomes of nodes and segments, a consumer goes on where it was, and of two with one name the newer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use annals::{
    clock,
    proto::annals::v1::{
        CommitCursorRequest, Cursor, DeleteCursorRequest, GetCursorRequest, ListCursorsRequest, ReadLevel,
        TakeCursorRequest, cursor_service_client::CursorServiceClient,
    },
};
use tokio::time::{Duration, interval, timeout};
use tonic::{Code, Response, Status, transport::Channel};

use crate::{
    segments::little_is_kept,
    support::{
        cluster::{AT_WORK, Cluster, Port, places},
        load::reason_of,
        node::{in_time, until},
    },
};

/// Between two tries of a client.
const PACE: Duration = Duration::from_millis(5);
/// How long a client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// A client that knows some nodes, and asks the next one where one has no answer.
#[derive(Clone)]
struct Client {
    nodes: Vec<CursorServiceClient<Channel>>,
}

/// What a call came to, and when the try began that was answered.
struct Told<T> {
    began: Instant,
    answer: Result<T, String>,
}

impl Client {
    /// Of all nodes that run, this one first.
    fn of(cluster: &Cluster, first: usize) -> Self {
        let mut numbers = cluster.running();
        numbers.retain(|number| *number != first);
        numbers.insert(0, first);
        let client = |number: &usize| cluster.node(*number).cursors();
        Self {
            nodes: numbers.iter().map(client).collect(),
        }
    }

    /// Of this node alone.
    fn only(cluster: &Cluster, number: usize) -> Self {
        Self {
            nodes: vec![cluster.node(number).cursors()],
        }
    }

    /// Tries until the answer is one that lasts: a value, or a refusal's reason.
    async fn ask<T, F>(&mut self, call: impl Fn(CursorServiceClient<Channel>) -> F) -> Told<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut pace = interval(PACE);
        let tries = async {
            loop {
                pace.tick().await;
                let began = clock::now();
                let answer = match timeout(DEADLINE, call(self.nodes[0].clone())).await {
                    Ok(Ok(response)) => Some(Ok(response.into_inner())),
                    Ok(Err(status)) if lasts(&status) => Some(Err(reason_of(&status))),
                    Ok(Err(_)) | Err(_) => None,
                };
                if let Some(answer) = answer {
                    return Told { began, answer };
                }
                self.nodes.rotate_left(1);
            }
        };
        in_time("an answer about a cursor", tries).await
    }

    async fn take(&mut self, name: &str) -> Cursor {
        let request = TakeCursorRequest {
            name: name.to_owned(),
            ..TakeCursorRequest::default()
        };
        let told = self.ask(|mut node| {
            let request = request.clone();
            async move { node.take(request).await }
        });
        told.await.answer.expect("anybody may take it").cursor.unwrap()
    }

    async fn commit(&mut self, name: &str, epoch: u64, offset: u64) -> Told<Cursor> {
        let request = CommitCursorRequest {
            log: String::new(),
            name: name.to_owned(),
            epoch,
            offset,
        };
        let told = self.ask(|mut node| {
            let request = request.clone();
            async move { node.commit(request).await }
        });
        let Told { began, answer } = told.await;
        let answer = answer.map(|response| as_it_stands(response.cursor.unwrap()));
        Told { began, answer }
    }

    async fn get(&mut self, name: &str) -> Result<Cursor, String> {
        let request = GetCursorRequest {
            name: name.to_owned(),
            ..GetCursorRequest::default()
        };
        let told = self.ask(|mut node| {
            let request = request.clone();
            async move { node.get(request).await }
        });
        told.await
            .answer
            .map(|response| as_it_stands(response.cursor.unwrap()))
    }

    async fn delete(&mut self, name: &str) -> Result<(), String> {
        let request = DeleteCursorRequest {
            name: name.to_owned(),
            ..DeleteCursorRequest::default()
        };
        let told = self.ask(|mut node| {
            let request = request.clone();
            async move { node.delete(request).await }
        });
        told.await.answer.map(|_| ())
    }

    /// What this node alone has applied.
    async fn list_local(&mut self) -> Vec<Cursor> {
        let request = ListCursorsRequest {
            read_level: ReadLevel::Local.into(),
            ..ListCursorsRequest::default()
        };
        let told = self.ask(|mut node| {
            let request = request.clone();
            async move { node.list(request).await }
        });
        let cursors = told.await.answer.unwrap().cursors.into_iter();
        cursors.map(as_it_stands).collect()
    }
}

/// Without how far it is behind, which changes with each record.
fn as_it_stands(cursor: Cursor) -> Cursor {
    Cursor {
        behind: None,
        ..cursor
    }
}

/// Whether another try, or another node, would say the same.
fn lasts(status: &Status) -> bool {
    let is_ours = [
        "FENCED",
        "UNKNOWN_CURSOR",
        "OFFSET_OUT_OF_RANGE",
        "INVALID_REQUEST",
    ];
    is_ours.contains(&reason_of(status).as_str()) || status.code() == Code::InvalidArgument
}

fn fenced<T>() -> Result<T, String> {
    Err("FENCED".to_owned())
}

/// Waits until all nodes that run say of all cursors what this one says.
async fn until_alike(cluster: &Cluster) -> Vec<Cursor> {
    let first = Client::only(cluster, cluster.running()[0]).list_local().await;
    for number in cluster.running() {
        until("every node to say the same of cursors", async || {
            Client::only(cluster, number).list_local().await == first
        })
        .await;
    }
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_goes_on_where_it_was_whatever_becomes_of_leaders_segments_and_nodes() {
    let mut cluster = Cluster::new(places(4), 3, little_is_kept).founded().await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    let mut client = Client::only(&cluster, follower);
    let old = client.take("billing").await;
    assert_eq!(old.offset, None);
    let committed = client.commit("billing", old.epoch, 7).await.answer;
    assert_eq!(committed.as_ref().map(|cursor| cursor.offset), Ok(Some(7)));
    assert_eq!(Client::only(&cluster, leader).get("billing").await, committed);
    assert_eq!(client.commit("plain", 0, 3).await.answer.map(|_| ()), Ok(()));
    assert_eq!(client.commit("billing", 0, 9).await.answer, fenced());

    // The next leader knows it, and who was fenced under the last one stays so.
    cluster.kill(leader).await;
    cluster.until_led().await;
    let mut client = Client::of(&cluster, follower);
    let new = client.take("billing").await;
    assert!(new.epoch > old.epoch, "{new:?}");
    assert_eq!(new.offset, Some(7));
    assert_eq!(client.commit("billing", old.epoch, 8).await.answer, fenced());
    let committed = client.commit("billing", new.epoch, 11).await.answer;
    assert_eq!(committed.as_ref().map(|cursor| cursor.offset), Ok(Some(11)));
    cluster.start(leader, Port::Other).await;
    assert_eq!(Client::only(&cluster, leader).get("billing").await, committed);

    // No segment is left that says so, and a node comes that has seen none of it.
    until("the entries about cursors to be trimmed", async || {
        let first = cluster.node(follower).refs.read_path.view().segment_firsts()[0];
        first.get() > committed.as_ref().map_or(0, |cursor| cursor.epoch) + 100
    })
    .await;
    cluster.start(3, Port::Other).await;
    assert_eq!(Client::only(&cluster, 3).get("billing").await, committed);
    assert_eq!(
        Client::only(&cluster, 3)
            .get("plain")
            .await
            .map(|cursor| cursor.offset),
        Ok(Some(3))
    );
    for number in [3, follower] {
        cluster.kill(number).await;
        cluster.start(number, Port::Other).await;
        assert_eq!(Client::only(&cluster, number).get("billing").await, committed);
    }

    let mut client = Client::only(&cluster, 3);
    assert_eq!(client.commit("billing", old.epoch, 1).await.answer, fenced());
    assert_eq!(client.delete("plain").await, Ok(()));
    let unknown = Err("UNKNOWN_CURSOR".to_owned());
    assert_eq!(client.delete("plain").await, unknown.clone());
    assert_eq!(client.get("plain").await.map(|_| ()), unknown);
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 4);
    let alike = until_alike(&cluster).await;
    assert_eq!(alike, [committed.unwrap()]);
    cluster.stop().await;
}

/// What was answered to one of those who fight for a cursor.
#[derive(Clone, Copy, Debug)]
enum Event {
    Taken {
        epoch: u64,
        offset: u64,
        began: Instant,
        ended: Instant,
    },
    Committed {
        epoch: u64,
        offset: u64,
        began: Instant,
        ended: Instant,
    },
    Fenced,
}

/// Everything that both of them were told.
type Events = Arc<Mutex<Vec<Event>>>;

/// Takes the cursor, commits one more record and one more until it is fenced or has done a few, and takes it again.
async fn fight(mut client: Client, events: Events, over: Arc<AtomicBool>) {
    let tell = |event| events.lock().unwrap().push(event);
    while !over.load(Ordering::Acquire) {
        let began = clock::now();
        let cursor = client.take("contested").await;
        let (epoch, mut offset) = (cursor.epoch, cursor.offset.unwrap_or_default());
        let ended = clock::now();
        tell(Event::Taken {
            epoch,
            offset,
            began,
            ended,
        });
        for _ in 0..4 {
            let Told { began, answer } = client.commit("contested", epoch, offset + 1).await;
            match answer {
                Ok(_) => {
                    offset += 1;
                    let ended = clock::now();
                    tell(Event::Committed {
                        epoch,
                        offset,
                        began,
                        ended,
                    });
                }
                Err(reason) if reason == "FENCED" => {
                    tell(Event::Fenced);
                    break;
                }
                // As many records are not there yet.
                Err(reason) => assert_eq!(reason, "OFFSET_OUT_OF_RANGE"),
            }
        }
    }
}

fn count(events: &Events, counts: impl Fn(&Event) -> bool) -> usize {
    let events = events.lock().unwrap();
    events.iter().filter(|event| counts(event)).count()
}

/// Nobody commits once somebody else was told that it is theirs, and whoever takes it goes on at the last commit or behind it.
fn assert_kept(events: &[Event]) {
    let mut epochs = Vec::new();
    for event in events {
        let Event::Taken {
            epoch,
            offset,
            began,
            ended,
        } = *event
        else {
            continue;
        };
        epochs.push(epoch);
        for other in events {
            let Event::Committed {
                epoch: older,
                offset: committed,
                began: tried,
                ended: answered,
            } = *other
            else {
                continue;
            };
            assert!(older >= epoch || tried < ended, "{other:?} in spite of {event:?}");
            assert!(
                answered > began || committed <= offset,
                "{event:?} goes back behind {other:?}"
            );
        }
    }
    let takes = epochs.len();
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), takes, "two takes have one epoch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_consumers_that_fight_for_one_name_the_newer_wins_also_while_leaders_change() {
    let mut cluster = Cluster::found(3).await;
    let load = cluster.load().await;
    let leader = cluster.until_led().await;
    let (events, over) = (Events::default(), Arc::<AtomicBool>::default());
    let fights = cluster.others(leader).into_iter().map(|number| {
        let client = Client::of(&cluster, number);
        tokio::spawn(fight(client, events.clone(), over.clone()))
    });
    let fights: Vec<_> = fights.collect();
    let fenced = |event: &Event| matches!(event, Event::Fenced);
    let committed = |event: &Event| matches!(event, Event::Committed { .. });
    for leaders in 0..3 {
        let (fences, commits) = (count(&events, fenced), count(&events, committed));
        until("both to fight", async || {
            count(&events, fenced) > fences + 10 && count(&events, committed) > commits + 20
        })
        .await;
        if leaders < 2 {
            let leader = cluster.until_led().await;
            cluster.kill(leader).await;
            cluster.until_led().await;
            cluster.start(leader, Port::Same).await;
        }
    }
    load.progresses(AT_WORK).await;
    over.store(true, Ordering::Release);
    for fight in fights {
        in_time("the fight to end", fight).await.unwrap();
    }
    let events = events.lock().unwrap().clone();
    assert_kept(&events);
    let (_, summary) = cluster.judge(load).await;
    assert_eq!(summary.contents, 3);
    let alike = until_alike(&cluster).await;
    let last = events.iter().filter_map(|event| match event {
        Event::Committed { offset, .. } => Some(*offset),
        Event::Taken { .. } | Event::Fenced => None,
    });
    assert!(alike[0].offset >= last.max(), "{alike:?}");
    cluster.stop().await;
}
