//! Batches that a follower forwards.

use annals::{
    actors::{
        committer::{Committed, ProposeError},
        peer::{ForwardError, Forwarder},
        supervision::{Answer, Reply},
    },
    storage::entry::{Batch, ProducerStamp},
    types::{LogIndex, NodeId, Offset},
};
use futures::future;
use tokio::runtime::Handle;

use crate::support::{Event, Node, Stage, until, within};

fn batch(count: u32) -> Batch {
    Batch {
        producer: Some(ProducerStamp {
            id: 3,
            epoch: 1,
            sequence: u64::from(count),
        }),
        expected_offset: Some(Offset(0)),
        record_count: count,
        records: format!("records {count}").into(),
    }
}

async fn forwarder(from: &Node, to: &Node) -> Forwarder {
    let (links, runtime) = (from.links(), Handle::current());
    let opened = Forwarder::open(&*links, to.id, &runtime);
    within("the stream", opened).await.unwrap()
}

fn forward(forwarder: &Forwarder, count: u32) -> Answer<Committed, ForwardError> {
    let (reply, answer) = Reply::channel();
    assert!(forwarder.forward(batch(count), reply).is_ok(), "there is room");
    answer
}

#[tokio::test]
async fn batches_are_proposed_in_the_order_given_as_they_were_and_each_is_answered() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.hold();
    let forwarder = forwarder(&one, &two).await;
    let answers: Vec<_> = (1..=100).map(|count| forward(&forwarder, count)).collect();
    for count in 1..=100 {
        assert_eq!(two.fake.next().await, Event::Proposed(one.id, batch(count)));
    }
    two.fake.allow(100);
    let answers = within("the answers", future::join_all(answers)).await;
    for (count, answer) in (1..).zip(answers) {
        assert_eq!(answer.unwrap().log_index, LogIndex(count));
    }
}

#[tokio::test]
async fn a_follower_names_the_leader() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.follow(NodeId(9));
    let forwarder = forwarder(&one, &two).await;
    assert_eq!(
        within("the answer", forward(&forwarder, 1)).await,
        Err(ForwardError::NotLeader {
            leader: Some(NodeId(9))
        })
    );
}

#[tokio::test]
async fn what_was_sent_when_the_leader_is_lost_has_an_unknown_outcome() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.hold();
    let forwarder = forwarder(&one, &two).await;
    let answer = forward(&forwarder, 1);
    assert_eq!(two.fake.next().await, Event::Proposed(one.id, batch(1)));
    two.stop().await;
    assert_eq!(
        within("the answer", answer).await,
        Err(ForwardError::Refused(ProposeError::OutcomeUnknown))
    );
    until("the forwarder's end", async || !forwarder.is_open()).await;
    let (reply, _answer) = Reply::channel();
    let returned = forwarder.forward(batch(2), reply).unwrap_err();
    assert_eq!(returned.0, batch(2));
}

#[tokio::test]
async fn what_was_not_sent_when_the_leader_is_lost_is_known_not_to_be_stored() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    two.fake.hold();
    let forwarder = forwarder(&one, &two).await;
    // The leader takes 512 of these and no more; the windows between the two take some, and the rest waits here.
    let large = |count| Batch {
        records: vec![7; 64 << 10].into(),
        ..batch(count)
    };
    let mut answers = Vec::new();
    for count in 1..=1500 {
        let (reply, answer) = Reply::channel();
        let mut given = (large(count), reply);
        let room = async {
            while let Err(returned) = forwarder.forward(given.0, given.1) {
                given = *returned;
                tokio::task::yield_now().await;
            }
        };
        within("room", room).await;
        answers.push(answer);
    }
    for _ in 0..512 {
        assert!(matches!(two.fake.next().await, Event::Proposed(..)));
    }
    two.stop().await;
    let answers = within("the answers", future::join_all(answers)).await;
    let unknown = ForwardError::Refused(ProposeError::OutcomeUnknown);
    let unsent = ForwardError::Refused(ProposeError::Unavailable);
    let sent = answers
        .iter()
        .take_while(|answer| **answer == Err(unknown.clone()))
        .count();
    assert!((512..1500).contains(&sent), "{sent} were sent");
    assert!(
        answers[sent..]
            .iter()
            .all(|answer| *answer == Err(unsent.clone()))
    );
}

#[tokio::test]
async fn a_forwarder_that_is_dropped_lets_what_it_has_be_answered() {
    let stage = Stage::new();
    let (one, two) = (stage.node(1).await, stage.node(2).await);
    let forwarder = forwarder(&one, &two).await;
    let answer = forward(&forwarder, 5);
    drop(forwarder);
    assert_eq!(within("the answer", answer).await.unwrap().record_count, 5);
}
