//! The gateway as the last part up, which is told, and the first one down, after leadership was handed over; and consensus,
//! with which the connections of peers end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{FutureExt, future::LocalBoxFuture};
use tokio::sync::watch;

use super::Addresses;
use crate::{
    actors::{
        gateway::{GatewayChild, PeersDoor},
        raft::{HandOver, RaftActor, RaftChild},
        supervision::{ActorRef, Child, Lifeline, Part, Reply, StartError},
    },
    net::server::Launcher,
};

/// The gateway, announced each time it has started: it starts last, so all other parts run then.
#[derive(Debug)]
pub(super) struct AnnouncedGateway {
    pub(super) gateway: GatewayChild,
    pub(super) launcher: Launcher,
    pub(super) addresses: watch::Sender<Option<Addresses>>,
    pub(super) raft: ActorRef<RaftActor>,
    /// The process is ending, so that the node will not come back by itself.
    pub(super) stopping: Arc<AtomicBool>,
}

impl Child for AnnouncedGateway {
    fn part(&self) -> Part {
        self.gateway.part()
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        let (launcher, addresses) = (self.launcher.clone(), self.addresses.clone());
        let start = self.gateway.start(lifeline);
        FutureExt::boxed_local(async move {
            start.await?;
            let ports = launcher.ports();
            addresses.send_replace(
                ports
                    .rpc
                    .zip(ports.admin)
                    .map(|(rpc, admin)| Addresses { rpc, admin }),
            );
            Ok(())
        })
    }

    /// Hands leadership over first: while this node still answers, so that clients hardly notice.
    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        if !self.stopping.load(Ordering::Acquire) {
            return self.gateway.stop();
        }
        let (reply, handed_over) = Reply::channel();
        // Where nobody takes the message its reply is dropped, and answers at once.
        drop(self.raft.post(HandOver { to: None, reply }));
        // A node that does not lead, or whom nobody can follow, has nothing to hand over.
        self.gateway
            .stop_after(FutureExt::boxed_local(handed_over.map(drop)))
    }

    fn ping(&self) {
        self.gateway.ping();
    }
}

/// Consensus, which needs its peers for as long as it runs: those who follow the next leader commit with this node's help while
/// its clients drain. Where the gateway was stopped before, peers' connections end with it.
#[derive(Debug)]
pub(super) struct RaftAmongPeers {
    pub(super) raft: RaftChild,
    pub(super) peers_door: PeersDoor,
}

/// Closes the door when it is dropped: also when the stop is passed over.
struct Closes(PeersDoor);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Child for RaftAmongPeers {
    fn part(&self) -> Part {
        self.raft.part()
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        self.raft.start(lifeline)
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        let (closes, stopped) = (Closes(self.peers_door.clone()), self.raft.stop());
        FutureExt::boxed_local(async move {
            stopped.await;
            drop(closes);
        })
    }

    fn ping(&self) {
        self.raft.ping();
    }
}
