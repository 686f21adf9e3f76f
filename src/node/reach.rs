//! Whether a node is within reach of its leader: it has applied what was committed when it came to know one.
//!
//! Asked once each time that a leader is known after none was: what is committed later comes as it is committed, so that a node
//! under load does not fall out of reach and back in all the time. A leader is within reach of itself.

use std::time::Duration;

use tokio::{runtime::Handle, sync::watch, time::sleep};

use crate::{
    actors::{
        committer::{Committer, Leadership, ReadIndex},
        raft::RaftPort,
        supervision::Reply,
    },
    types::NodeId,
};

/// When a leader that could not be asked is asked again: it may just have come to lead, or its link may be being opened.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// No leader is known.
    NoLeader,
    /// What was committed when the leader became known is not all applied.
    Behind,
    /// It is.
    Level,
}

/// How it stands, and its changes, for as long as anybody listens.
pub(super) fn follow(own: NodeId, port: RaftPort, runtime: &Handle) -> watch::Receiver<Reach> {
    let (sender, receiver) = watch::channel(Reach::NoLeader);
    runtime.spawn(async move {
        tokio::select! {
            () = publish(own, port, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

/// Ends with RaftActor's board.
async fn publish(own: NodeId, port: RaftPort, reach: &watch::Sender<Reach>) {
    let mut leadership = port.subscribe_leadership();
    let knows_one = |now: &Leadership| now.leader.is_some();
    let leads = |now: &Leadership| now.leader == Some(own);
    loop {
        reach.send_replace(Reach::NoLeader);
        let Ok(led_by) = leadership.wait_for(knows_one).await.map(|now| now.leader) else {
            return;
        };
        if led_by != Some(own) {
            reach.send_replace(Reach::Behind);
            let mut changes = leadership.clone();
            tokio::select! {
                () = until_level(&port) => {}
                _ = changes.wait_for(|now| leads(now) || !knows_one(now)) => {}
            }
        }
        if knows_one(&leadership.borrow_and_update()) {
            reach.send_replace(Reach::Level);
        }
        if leadership.wait_for(|now| !knows_one(now)).await.is_err() {
            return;
        }
    }
}

/// Waits until all is applied here that the leader has committed by now. Cancel: safe.
async fn until_level(port: &RaftPort) {
    loop {
        let (reply, answer) = Reply::channel();
        let read = ReadIndex { lease: true, reply };
        if port.read_index(read).is_ok() && answer.await.is_ok() {
            return;
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}
