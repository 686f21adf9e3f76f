//! What a node says about itself to probes.

use std::sync::{Arc, OnceLock};

use actix::prelude::*;
use futures::future::BoxFuture;

use crate::{
    actors::{
        agent::{AgentActor, Status},
        log::{Condition, ConditionBoard},
        supervision::PartStatus,
    },
    net::vitals::{Check, Vitals},
    types::Offset,
};

/// Looks at the boards that the actors keep; asks the Agent only for the tree.
#[derive(Debug)]
pub(super) struct NodeVitals {
    board: ConditionBoard,
    /// Set once, right after the Agent is started.
    agent: Arc<OnceLock<Addr<AgentActor>>>,
}

impl NodeVitals {
    pub(super) fn new(board: ConditionBoard) -> Self {
        Self {
            board,
            agent: Arc::default(),
        }
    }

    pub(super) fn set_agent(&self, agent: Addr<AgentActor>) {
        self.agent.get_or_init(|| agent);
    }
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
            } => Some(format!(
                "nearly full: {free_bytes} bytes free, {floor_bytes} are kept free; make room or lower log.free_bytes_min"
            )),
            Condition::Damaged { cause } | Condition::Failsafe { cause } => Some(cause),
        };
        vec![Check {
            name: "disk",
            problem: disk,
        }]
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
