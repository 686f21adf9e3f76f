//! How the Agent starts and stops MembershipActor.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use actix::prelude::*;
use futures::{FutureExt, future::LocalBoxFuture};
use slog::{o, warn};
use tokio::sync::watch;

use crate::{
    actors::supervision::{ActorRef, Child, Lifeline, Part, Reply, StartError, Unanswered},
    error::{Disposition, causes},
    types::NodeId,
};

use super::{
    MembershipActor, MembershipSetup, OwnTags, PeerBoard, PeerDirectory, Standing, TagsError,
    gossip::{Gossip, GossipError, Listen},
    messages::Stop,
    peers_file::{self, Remembered},
};

/// MembershipActor as a child of the Agent. It runs on the thread where it is started, and its memberlist on the runtime.
///
/// What must outlive an instance is here: the table, the node's own tags, and the address that the first one was given.
#[derive(Debug)]
pub struct MembershipChild {
    setup: Arc<MembershipSetup>,
    own: OwnTags,
    board: PeerBoard,
    actor: ActorRef<MembershipActor>,
    /// Of the present instance. Kept here too, since an instance that is stuck never lets go of its sockets.
    gossip: Arc<watch::Sender<Option<Gossip>>>,
}

impl MembershipChild {
    /// Starts nothing yet.
    ///
    /// Errors: the node's or the cluster's name is not one.
    pub fn new(setup: MembershipSetup) -> Result<Self, TagsError> {
        let own = OwnTags::new(&setup.identity, &setup.cluster.name)?;
        let logger = setup.logger.new(o!("actor" => "membership"));
        Ok(Self {
            setup: Arc::new(MembershipSetup { logger, ..setup }),
            own,
            board: PeerBoard::new(),
            actor: ActorRef::new(),
            gossip: Arc::new(watch::Sender::new(None)),
        })
    }

    /// The peers, for whoever wants to know.
    #[must_use]
    pub fn directory(&self) -> PeerDirectory {
        self.board.directory()
    }

    /// What the node says about itself, for whoever learns more about it.
    #[must_use]
    pub fn own_tags(&self) -> OwnTags {
        self.own.clone()
    }

    /// The present instance.
    #[must_use]
    pub fn actor(&self) -> ActorRef<MembershipActor> {
        self.actor.clone()
    }

    /// Where gossip can be reached; `None` before it was started for the first time.
    #[must_use]
    pub fn address(&self) -> GossipAddress {
        GossipAddress(self.gossip.subscribe())
    }
}

/// Where a node's gossip can be reached.
#[derive(Clone, Debug)]
pub struct GossipAddress(watch::Receiver<Option<Gossip>>);

impl GossipAddress {
    /// `None` before it was started for the first time.
    #[must_use]
    pub fn get(&self) -> Option<SocketAddr> {
        self.0.borrow().as_ref().map(Gossip::address)
    }
}

impl Child for MembershipChild {
    fn part(&self) -> Part {
        Part::Membership
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        self.actor.clear();
        let (setup, own, board) = (Arc::clone(&self.setup), self.own.clone(), self.board.clone());
        let (running, actor) = (Arc::clone(&self.gossip), self.actor.clone());
        async move {
            // What an instance that died, or is stuck, left behind is in the way of its port.
            let previous = running.borrow().clone();
            let listen = match &previous {
                Some(previous) => {
                    previous.close().await;
                    Listen {
                        address: same_port(&setup, previous.address()),
                        is_again: true,
                    }
                }
                None => Listen {
                    address: setup.listen,
                    is_again: false,
                },
            };
            let remembered = remembered(&setup).await;
            let gossip = match own.get().standing {
                Standing::Leaving => None,
                Standing::Joining | Standing::Member => {
                    let started = Gossip::start(&setup, own.clone(), listen).await;
                    Some(started.map_err(cannot_start)?)
                }
            };
            if gossip.is_some() {
                running.send_replace(gossip.clone());
            }
            let membership = MembershipActor::new(setup, gossip, own, board, remembered, lifeline);
            actor.set(membership.start());
            Ok(())
        }
        .boxed_local()
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        let (reply, stopped) = Reply::<(), Unanswered>::channel();
        // When nobody takes the message its reply is dropped, and `stopped` answers at once.
        drop(self.actor.post(Stop { reply }));
        let (actor, running) = (self.actor.clone(), Arc::clone(&self.gossip));
        Box::pin(async move {
            let outcome = stopped.await;
            actor.clear();
            let left_behind = running.borrow().clone();
            if let (Err(Unanswered), Some(gossip)) = (outcome, left_behind) {
                gossip.close().await;
            }
        })
    }

    fn ping(&self) {
        self.actor.ping();
    }
}

/// Where the next instance listens: at the port that the system gave the first one.
fn same_port(setup: &MembershipSetup, reached_at: SocketAddr) -> SocketAddr {
    let mut listen = setup.listen;
    if listen.port() == 0 && setup.cluster.advertise.is_none() {
        listen.set_port(reached_at.port());
    }
    listen
}

async fn remembered(setup: &Arc<MembershipSetup>) -> BTreeMap<NodeId, Remembered> {
    let reading = Arc::clone(setup);
    let read = move || peers_file::load(reading.file_system.as_ref(), &reading.data_dir);
    match setup.runtime.spawn_blocking(read).await {
        Ok(Ok(mut peers)) => {
            peers.remove(&setup.identity.node_id);
            peers
        }
        Ok(Err(error)) => {
            let path = setup.data_dir.join(peers_file::FILE_NAME);
            warn!(setup.logger, "the file of peers is ignored"; "path" => %path.display(), "error" => causes(&error));
            BTreeMap::new()
        }
        // The runtime is going down, or the file system panicked; either way others will notice.
        Err(_) => BTreeMap::new(),
    }
}

/// An address in use may be free a moment later: at process start it ends the process all the same, and later it is tried
/// again.
fn cannot_start(error: GossipError) -> StartError {
    StartError::new(Disposition::Restart, error)
}
