//! How a node comes to its cluster: it founds it, or adopts the one that its peers belong to.

use std::sync::{Arc, Mutex, PoisonError};

use slog::{Logger, error, info, warn};
use tokio::sync::watch;

use super::{Addresses, taken_in::until_taken_in};
use crate::{
    actors::{
        membership::{
            OwnTags, PeerDirectory,
            bootstrap::{Applicant, Bootstrap, Founder, decide},
        },
        peer::PeerIdentity,
        raft::ClusterBoard,
    },
    consensus::types::{Member, Members},
    error::causes,
    storage::data_dir::DataDir,
    types::ClusterId,
};

/// What it takes.
pub(super) struct Founding {
    pub(super) data_dir: Arc<Mutex<DataDir>>,
    pub(super) identity: PeerIdentity,
    pub(super) node_name: String,
    pub(super) cluster_name: String,
    pub(super) initial_members: Vec<String>,
    /// The node founds a cluster by itself, whoever else is there.
    pub(super) alone: bool,
    pub(super) own_tags: Option<OwnTags>,
    pub(super) directory: PeerDirectory,
    pub(super) addresses: watch::Receiver<Option<Addresses>>,
    /// What clients and peers are told to connect to, where that is not where the node listens.
    pub(super) advertised: Option<String>,
    pub(super) has_data: bool,
    /// What consensus knows of the cluster.
    pub(super) board: ClusterBoard,
    /// Why the last one who called as a peer was not let in.
    pub(super) refusal: watch::Receiver<Option<String>>,
    pub(super) cluster_id: watch::Sender<Option<ClusterId>>,
    pub(super) founding: watch::Sender<Option<Members>>,
    /// For what it waits, for whoever asks.
    pub(super) waiting: watch::Sender<Option<String>>,
    pub(super) logger: Logger,
}

impl Founding {
    /// Ends when the node belongs to a cluster, which knows it, and there is nothing left to found.
    pub(super) async fn run(mut self) {
        let Some(address) = self.address().await else {
            return;
        };
        if let Some(tags) = &self.own_tags
            && let Err(error) = tags.set_rpc_address(&address)
        {
            error!(self.logger, "the node's address cannot be told to others"; "address" => &address,
                "cause" => %error);
        }
        if self.alone {
            self.found(vec![Founder {
                node_id: self.identity.node_id(),
                name: self.node_name.clone(),
                rpc_address: address,
            }]);
            return;
        }
        let mut peers = self.directory.subscribe();
        let mut told = String::new();
        loop {
            let table = peers.borrow_and_update().clone();
            match decide(&self.applicant(&address), &table) {
                Bootstrap::Nothing if self.has_data => {
                    self.waiting.send_replace(None);
                    return;
                }
                Bootstrap::Nothing => break,
                Bootstrap::Found { members } => {
                    self.found(members);
                    return;
                }
                Bootstrap::Adopt(cluster_id) => {
                    if !self.adopt(cluster_id) {
                        return;
                    }
                    break;
                }
                Bootstrap::Wait { reason } if reason != told => {
                    info!(self.logger, "no cluster yet"; "reason" => &reason);
                    self.waiting.send_replace(Some(reason.clone()));
                    told = reason;
                }
                Bootstrap::Refuse { reason } if reason != told => {
                    error!(self.logger, "this node cannot come to its cluster"; "reason" => &reason);
                    self.waiting.send_replace(Some(reason.clone()));
                    told = reason;
                }
                Bootstrap::Wait { .. } | Bootstrap::Refuse { .. } => {}
            }
            if peers.changed().await.is_err() {
                return;
            }
        }
        let board = self.board.subscribe();
        until_taken_in(&address, board, self.refusal, &self.waiting, &self.logger).await;
    }

    /// Where others reach this node, once that is bound.
    async fn address(&mut self) -> Option<String> {
        let bound = self.addresses.wait_for(Option::is_some).await.ok()?;
        let bound = bound.as_ref().map(|bound| bound.rpc.to_string());
        self.advertised.clone().or(bound)
    }

    fn applicant(&self, address: &str) -> Applicant {
        Applicant {
            cluster_name: self.cluster_name.clone(),
            initial_members: self.initial_members.clone(),
            node_id: self.identity.node_id(),
            node_name: self.node_name.clone(),
            rpc_address: Some(address.to_owned()),
            cluster_id: self.identity.cluster_id(),
            has_data: self.has_data,
        }
    }

    /// The first of the list makes the cluster's id, and the entry that names its members.
    fn found(&self, members: Vec<Founder>) {
        let own = self.identity.node_id();
        let cluster_id = self
            .identity
            .cluster_id()
            .unwrap_or_else(|| ClusterId::founded_by(own));
        if !self.adopt(cluster_id) {
            return;
        }
        self.waiting.send_replace(None);
        let members = members.into_iter().map(|founder| {
            let member = Member {
                name: founder.name,
                address: founder.rpc_address,
            };
            (founder.node_id, member)
        });
        self.founding.send_replace(Some(members.collect()));
    }

    /// Durably, and before anything is done in the cluster's name. Whether it worked.
    fn adopt(&self, cluster_id: ClusterId) -> bool {
        let mut data_dir = self.data_dir.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = data_dir.adopt_cluster(cluster_id) {
            error!(self.logger, "cannot store the cluster's id; restart the node"; "cause" => causes(&error));
            return false;
        }
        drop(data_dir);
        if let Err(other) = self.identity.join(cluster_id) {
            warn!(self.logger, "belongs to another cluster already"; "cluster_id" => %other);
            return false;
        }
        info!(self.logger, "belongs to a cluster"; "cluster_id" => %cluster_id);
        self.tell(cluster_id);
        self.cluster_id.send_replace(Some(cluster_id));
        true
    }

    fn tell(&self, cluster_id: ClusterId) {
        let Some(tags) = &self.own_tags else { return };
        if let Err(error) = tags.set_cluster_id(cluster_id) {
            error!(self.logger, "the cluster's id cannot be told to others"; "cause" => %error);
        }
    }
}
