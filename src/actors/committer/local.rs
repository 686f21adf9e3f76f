//! Commits what is durable on this node: the committer of a cluster of one.
//!
//! Owns     the number of the next entry; the high watermark.
//! Accepts  Propose, ReadIndex.
//! Emits    Append to LogActor, Trim when retention asks for it; the high watermark and who leads, published.
//! Limits   proposals that wait for their sync, bounded by the permits they carry; `PROPOSALS_MAX` messages.
//! Fails    rebuilt from where the log stands; proposals in flight are answered `OutcomeUnknown`.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use slog::{Logger, debug, o, warn};
use tokio::sync::watch;

use super::{Committed, Leadership, Propose, ProposeError, ReadIndex};
use crate::{
    actors::{
        log::{
            Append, AppendFailed, Condition, ConditionBoard, LogActor, OnPersisted, RetentionDue, Standing,
            Trim,
        },
        read_path::HighWatermark,
        supervision::{ActorRef, Heartbeat, Lifeline, PostError, Reply, StartError, Unanswered},
    },
    clock,
    storage::{
        Retention,
        control::Control,
        entry::{Entry, Outcome, Payload, VoidReason},
    },
    types::{LogIndex, NodeId, Offset, Term},
};

/// Messages that may wait for the committer; more are refused as overload. Each is a batch, so this is far above what
/// keeps the disk busy.
pub(super) const PROPOSALS_MAX: usize = 16 << 10;
/// How often retention is looked at, unless told otherwise: segments are minutes long at least.
pub const RETENTION_EVERY: Duration = Duration::from_secs(10);

/// What the committer is made of; the same for each of its lives.
#[derive(Clone, Debug)]
pub struct CommitterSetup {
    /// This node, which leads.
    pub node_id: NodeId,
    /// The log.
    pub log: ActorRef<LogActor>,
    /// Whether the log takes appends.
    pub board: ConditionBoard,
    /// Moved by commits.
    pub high_watermark: HighWatermark,
    /// Where it is published who leads.
    pub leadership: Arc<watch::Sender<Leadership>>,
    /// How much of the log is kept.
    pub retention: Retention,
    /// How often that is looked at.
    pub retention_every: Duration,
    /// Where to write what happens.
    pub logger: Logger,
}

/// Stop. What was handed to the log is answered by the log; nothing follows it.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Retire {
    pub(super) reply: Reply<(), Unanswered>,
}

/// See the module.
pub struct LocalCommitterActor {
    setup: CommitterSetup,
    term: Term,
    next_log_index: LogIndex,
    /// Whoever waits for the high watermark and the leader to be published: clients must not see them missing.
    opening: Option<Reply<(), StartError>>,
    lifeline: Lifeline,
}

impl Actor for LocalCommitterActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.setup.retention != Retention::default() {
            context.run_interval(self.setup.retention_every, Self::look_at_retention);
        }
        let leader = Some(self.setup.node_id);
        self.setup.leadership.send_replace(Leadership {
            term: self.term,
            leader,
        });
        if let Some(opening) = self.opening.take() {
            opening.send(Ok(()));
        }
    }
}

impl Drop for LocalCommitterActor {
    fn drop(&mut self) {
        self.setup.leadership.send_replace(Leadership {
            term: self.term,
            leader: None,
        });
    }
}

impl Handler<Propose> for LocalCommitterActor {
    type Result = ();

    fn handle(&mut self, propose: Propose, _: &mut Self::Context) {
        self.propose(propose);
    }
}

impl Handler<ReadIndex> for LocalCommitterActor {
    type Result = ();

    fn handle(&mut self, read: ReadIndex, _: &mut Self::Context) {
        // Alone in the cluster: nobody else can have committed anything.
        read.reply
            .send(Ok(*self.setup.high_watermark.subscribe().borrow()));
    }
}

impl Handler<Retire> for LocalCommitterActor {
    type Result = ();

    fn handle(&mut self, retire: Retire, context: &mut Self::Context) {
        context.stop();
        retire.reply.send(Ok(()));
    }
}

impl Handler<Heartbeat> for LocalCommitterActor {
    type Result = ();

    fn handle(&mut self, _: Heartbeat, _: &mut Self::Context) {
        self.lifeline.beat();
    }
}

#[cfg(feature = "fault-injection")]
impl Handler<crate::actors::supervision::Sabotage> for LocalCommitterActor {
    type Result = ();

    fn handle(&mut self, sabotage: crate::actors::supervision::Sabotage, _: &mut Self::Context) {
        sabotage.strike();
    }
}

impl LocalCommitterActor {
    /// Goes on where the log stands: all that recovery found is durable, hence committed. Answers `opening` once it is
    /// started.
    pub(super) fn new(
        setup: CommitterSetup,
        standing: &Standing,
        opening: Reply<(), StartError>,
        lifeline: Lifeline,
    ) -> Self {
        // A damaged log ends where the damage begins, and that may be below what was committed before: the watermark stays,
        // what is left is read, and reads behind it say what is damaged.
        let committed = *setup.high_watermark.subscribe().borrow();
        match &standing.damage {
            Some(_) => setup.high_watermark.advance(standing.tail.max(committed)),
            None => setup.high_watermark.advance(standing.tail),
        }
        let logger = setup.logger.new(o!("actor" => "committer"));
        Self {
            setup: CommitterSetup { logger, ..setup },
            term: standing.last_term.max(Term(1)),
            next_log_index: standing.last_log_index.plus(1),
            opening: Some(opening),
            lifeline,
        }
    }

    fn propose(&mut self, propose: Propose) {
        let Propose { batch, permit, reply } = propose;
        if let Some(condition) = self.setup.board.refusal() {
            reply.send(Err(refused(condition)));
            return;
        }
        let record_count = batch.record_count;
        let high_watermark = self.setup.high_watermark.clone();
        let on_persisted = OnPersisted::new(move |result| {
            let result = result.map_err(not_appended).map(|placed| {
                let placed = placed.first().expect("one entry was appended");
                let committed = Committed {
                    log_index: placed.log_index,
                    outcome: placed.outcome,
                    record_count,
                };
                if let Some(next_offset) = committed.stored_to() {
                    high_watermark.advance(next_offset);
                }
                committed
            });
            reply.send(result);
            drop(permit);
        });
        match self.append(Payload::Records(batch), on_persisted) {
            Ok(()) => {}
            Err(PostError::Full(append)) => append.on_persisted.call(Err(AppendFailed::Overloaded)),
            Err(PostError::Gone(append)) => append.on_persisted.call(Err(AppendFailed::Unavailable)),
        }
    }

    /// Gives the entry the next number, once LogActor has it.
    fn append(&mut self, payload: Payload, on_persisted: OnPersisted) -> Result<(), PostError<Append>> {
        let entry = Entry {
            log_index: self.next_log_index,
            term: self.term,
            timestamp: clock::wall(),
            payload,
        };
        self.setup.log.post(Append {
            entries: vec![entry],
            on_persisted,
        })?;
        self.next_log_index = self.next_log_index.plus(1);
        Ok(())
    }

    fn look_at_retention(&mut self, context: &mut Context<Self>) {
        let (reply, due) = Reply::channel();
        let ask = RetentionDue {
            retention: self.setup.retention,
            now: clock::wall(),
            reply,
        };
        if self.setup.log.post(ask).is_err() {
            return;
        }
        let then = due.into_actor(self).map(|due, actor, _| match due {
            Ok(Some(below)) => actor.trim(below),
            Ok(None) => {}
            Err(error) => {
                warn!(actor.setup.logger, "cannot tell what retention drops"; "cause" => %error);
            }
        });
        context.spawn(then);
    }

    /// Retention goes through the log, so that in a cluster every node drops the same.
    ///
    /// Also while the disk is nearly full, when it is needed most: the entry takes less than a hundred bytes of what is
    /// kept free.
    fn trim(&mut self, below: Offset) {
        match self.setup.board.condition() {
            Condition::Writable | Condition::StorageFull { .. } => {}
            Condition::Opening | Condition::Failsafe { .. } => return,
        }
        let log = self.setup.log.clone();
        let logger = self.setup.logger.clone();
        let on_persisted = OnPersisted::new(move |result| {
            let (reply, _) = Reply::channel();
            if result.is_err() || log.post(Trim { below, reply }).is_err() {
                debug!(logger, "not trimmed, retention asks again"; "below" => below.get());
            }
        });
        let control = Payload::Control(Control::Trim { below }.encode());
        if self.append(control, on_persisted).is_err() {
            debug!(self.setup.logger, "not trimmed, retention asks again"; "below" => below.get());
        }
    }
}

impl Committed {
    /// The offset behind its last record, when it is in the log.
    fn stored_to(&self) -> Option<Offset> {
        match self.outcome {
            Outcome::Stored { base_offset } => Some(base_offset.plus(u64::from(self.record_count))),
            Outcome::Void(
                VoidReason::Repeated { .. }
                | VoidReason::RepeatedLongAgo
                | VoidReason::OutOfOrder { .. }
                | VoidReason::UnknownProducer
                | VoidReason::Fenced { .. }
                | VoidReason::ConditionFailed { .. },
            ) => None,
        }
    }
}

fn refused(condition: Condition) -> ProposeError {
    match condition {
        Condition::StorageFull {
            free_bytes,
            floor_bytes,
        } => ProposeError::StorageFull {
            free_bytes,
            floor_bytes,
        },
        Condition::Failsafe { cause } => ProposeError::Failsafe { cause },
        Condition::Opening | Condition::Writable => ProposeError::Unavailable,
    }
}

fn not_appended(error: AppendFailed) -> ProposeError {
    match error {
        AppendFailed::Refused { cause } => ProposeError::Failsafe { cause },
        AppendFailed::Overloaded => ProposeError::Overloaded,
        AppendFailed::Unavailable => ProposeError::Unavailable,
        AppendFailed::Unknown { .. } => ProposeError::OutcomeUnknown,
    }
}
