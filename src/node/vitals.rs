//! What a node says about itself to probes.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use actix::prelude::*;
use futures::future::BoxFuture;

use super::NodeOptions;
use crate::{
    actors::{
        agent::{AgentActor, Status},
        log::{Condition, ConditionBoard},
        membership::{GossipKeysStatus, GossipRing},
        supervision::PartStatus,
    },
    clock,
    net::vitals::{Check, DiskRoom, Vitals},
    storage::fs::FileSystem,
    tls::NodeTls,
    types::Offset,
};

/// Looks at the boards that the actors keep; asks the Agent only for the tree.
#[derive(Debug)]
pub(super) struct NodeVitals {
    board: ConditionBoard,
    tls: Option<NodeTls>,
    file_system: Arc<dyn FileSystem>,
    log_directory: PathBuf,
    floor_bytes: u64,
    /// Of a node that gossips.
    gossip: Option<GossipRing>,
    /// Set once, right after the Agent is started.
    agent: Arc<OnceLock<Addr<AgentActor>>>,
}

impl NodeVitals {
    pub(super) fn new(board: ConditionBoard, options: &NodeOptions) -> Self {
        Self {
            board,
            tls: options.tls.clone(),
            file_system: options.file_system.clone(),
            log_directory: options.log.directory.clone(),
            floor_bytes: options.free_bytes_min,
            gossip: options
                .cluster
                .listen
                .map(|_| options.cluster.gossip.gossip_keys.clone()),
            agent: Arc::default(),
        }
    }

    pub(super) fn set_agent(&self, agent: Addr<AgentActor>) {
        self.agent.get_or_init(|| agent);
    }
}

fn nearly_full(free_bytes: u64, floor_bytes: u64) -> String {
    format!(
        "nearly full: {free_bytes} bytes free, {floor_bytes} are kept free; make room or lower log.free_bytes_min"
    )
}

impl Vitals for NodeVitals {
    fn tail(&self) -> Offset {
        self.board.tail()
    }

    fn checks(&self) -> Vec<Check> {
        let disk = match self.board.condition() {
            Condition::Opening | Condition::Writable => None,
            Condition::StorageFull {
                free_bytes,
                floor_bytes,
            } => Some(nearly_full(free_bytes, floor_bytes)),
            Condition::Damaged { cause } | Condition::Failsafe { cause } => Some(cause),
        };
        let disk = Check {
            name: "disk",
            problem: disk,
            remark: None,
        };
        let certificate = self.tls.as_ref().map(|tls| Check {
            name: "certificate",
            problem: tls.expired(clock::wall()).map(|problem| {
                format!(
                    "{problem}, and nobody is let in; make a new one with `annals certs renew`, where the authority's key is, and \
                     put its files where the old ones are"
                )
            }),
            remark: None,
        });
        [disk].into_iter().chain(certificate).collect()
    }

    fn storage_full(&self) -> Option<String> {
        match self.board.condition() {
            Condition::StorageFull {
                free_bytes,
                floor_bytes,
            } => Some(nearly_full(free_bytes, floor_bytes)),
            Condition::Opening
            | Condition::Writable
            | Condition::Damaged { .. }
            | Condition::Failsafe { .. } => None,
        }
    }

    fn disk_room(&self) -> Option<DiskRoom> {
        let free_bytes = self.file_system.free_bytes(&self.log_directory).ok()?;
        Some(DiskRoom {
            free_bytes,
            floor_bytes: self.floor_bytes,
        })
    }

    fn gossip_keys(&self) -> Option<GossipKeysStatus> {
        self.gossip.as_ref().map(GossipRing::status)
    }

    fn supervision(&self) -> BoxFuture<'_, Vec<PartStatus>> {
        let agent = self.agent.get().cloned();
        Box::pin(async move {
            match agent {
                Some(agent) => agent.send(Status).await.unwrap_or_default(),
                None => Vec::new(),
            }
        })
    }
}
