//! Finds damage in sealed segments before a reader does, and has damaged ones written anew from what other nodes hold.
//!
//! Segments differ between nodes, entries do not: a damaged segment is repaired from entries (ADR 0009).

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use arc_swap::ArcSwap;
use futures::TryStreamExt;
use slog::{Logger, error, info, warn};
use tokio::{runtime::Handle, task::JoinHandle};

use super::{RaftActor, RaftSetup};
use crate::{
    actors::{
        log::{BeginRepair, Replace},
        peer::{PeerCalls, PeerError},
        supervision::{ActorRef, Reply},
    },
    consensus::{DamageBoard, codec},
    error::{Disposition, causes},
    storage::{Last, LogView, ReadEntriesError, ReadError, Rebuild},
    types::{LogIndex, NodeId},
};

/// How long a node is asked who leads.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// After how long a repair that failed is tried again: a peer restarts, a disk gets room.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Why a log without replicas is not repaired.
const NOBODY: &str = "no other node is known";

/// How sealed segments are looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubPace {
    /// Bytes read in a second.
    pub bytes_per_second: u64,
    /// Between the end of one look at everything and the next.
    pub rest: Duration,
}

impl Default for ScrubPace {
    /// A terabyte in a day and a half, and little beside what a disk can do.
    fn default() -> Self {
        Self {
            bytes_per_second: 8 << 20,
            rest: Duration::from_secs(3600),
        }
    }
}

/// A sealed segment is damaged.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Damaged {
    /// Its first entry.
    pub(super) first: LogIndex,
    /// What is wrong.
    pub(super) what: String,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Ends(JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RaftActor {
    /// Looks through the sealed segments, over and over, and has repaired what is found there or by any reader.
    pub(super) fn watch_for_damage(&mut self) {
        // What was being repaired in an earlier life is found again where it is still damaged.
        self.setup.damage.settle_all();
        let (view, pace, runtime) = (
            self.setup.view.clone(),
            self.setup.scrub,
            self.setup.runtime.clone(),
        );
        let scrub = scrub(view, pace, runtime, self.setup.damage.clone());
        let hears = hear(self.setup.damage.clone(), self.address.clone());
        self.vigil = Some([
            Ends(self.setup.runtime.spawn(scrub)),
            Ends(self.setup.runtime.spawn(hears)),
        ]);
    }

    /// Has the segment repaired. It is not told of again before it is settled.
    pub(super) fn damaged(&mut self, damaged: Damaged, context: &mut Context<Self>) {
        let first = damaged.first;
        // Who looked before it was repaired may say so after it.
        if self.setup.view.load().has_again(first, &damaged.what) {
            self.setup.damage.settle(first);
            return;
        }
        error!(self.setup.logger, "a sealed segment is damaged"; "first_log_index" => first.get(),
            "what" => damaged.what);
        let repaired = self
            .setup
            .runtime
            .spawn(repair(self.setup.clone(), Some(first), LogIndex::ZERO));
        context.spawn(repaired.into_actor(self).map(move |repaired, actor, context| {
            let Ok(Err(why)) = repaired else {
                actor.setup.damage.settle(first);
                return;
            };
            warn!(actor.setup.logger, "segment not repaired, tried again when it is read"; "first_log_index" => first.get(),
                "cause" => why);
            if others(&actor.setup).is_empty() {
                actor.setup.damage.give_up(first);
            }
            // The next look finds it again where it is still damaged.
            context.run_later(AGAIN_AFTER, move |actor, _| actor.setup.damage.settle(first));
        }));
    }

    /// Has these segments repaired, and starts consensus then. `noted`: up to there the log is known to be committed.
    pub(super) fn repair_then_open(
        &mut self,
        damaged: Vec<(LogIndex, String)>,
        noted: LogIndex,
        context: &mut Context<Self>,
    ) {
        let setup = self.setup.clone();
        let repaired = self.setup.runtime.spawn(async move {
            for (first, what) in damaged {
                error!(setup.logger, "a sealed segment is damaged"; "first_log_index" => first.get(), "what" => what);
                repair(setup.clone(), Some(first), noted).await?;
            }
            Ok::<_, String>(())
        });
        context.spawn(repaired.into_actor(self).map(|repaired, actor, context| {
            // The start reads the log anew, and finds what is still damaged.
            actor.setup.damage.settle_all();
            match repaired {
                Ok(Ok(())) => actor.open(context),
                Ok(Err(why)) => {
                    warn!(actor.setup.logger, "the log is not repaired yet, tried again"; "cause" => why);
                    context.run_later(AGAIN_AFTER, Self::open);
                }
                Err(panicked) => actor.fail(Disposition::Restart, panicked.to_string(), context),
            }
        }));
    }

    /// The log is damaged, in that segment or at its end: no part in consensus until all that this node may have acknowledged is there
    /// again.
    pub(super) fn repair_damaged(&mut self, damaged: Option<LogIndex>, context: &mut Context<Self>) {
        let repaired = self
            .setup
            .runtime
            .spawn(repair(self.setup.clone(), damaged, LogIndex::ZERO));
        context.spawn(repaired.into_actor(self).map(move |repaired, actor, context| {
            // When it is repaired the log is opened again, and this actor after it.
            if let Ok(Err(why)) = repaired {
                warn!(actor.setup.logger, "the log is not repaired yet, tried again"; "cause" => why);
                context.run_later(AGAIN_AFTER, move |actor, context| {
                    actor.repair_damaged(damaged, context);
                });
            }
        }));
    }
}

/// Hands what is found damaged to whoever repairs it, each segment once.
async fn hear(damage: DamageBoard, raft: ActorRef<RaftActor>) {
    loop {
        for (first, what) in damage.take().await {
            if raft.post(Damaged { first, what }).is_err() {
                damage.settle(first);
            }
        }
    }
}

async fn scrub(view: Arc<ArcSwap<LogView>>, pace: ScrubPace, runtime: Handle, damage: DamageBoard) {
    loop {
        let firsts = view.load().segment_firsts();
        let sealed = firsts.split_last().map_or(&[][..], |(_, sealed)| sealed);
        for first in sealed.iter().copied() {
            let (view, runtime) = (view.load_full(), runtime.clone());
            let looked = tokio::task::spawn_blocking(move || {
                view.scrub_segment(first, |bytes| {
                    let seconds = bytes as f64 / pace.bytes_per_second.max(1) as f64;
                    runtime.block_on(tokio::time::sleep(Duration::from_secs_f64(seconds)));
                })
            });
            if let Ok(Err(ReadEntriesError::Read(ReadError::Corrupt { what, .. }))) = looked.await {
                damage.found(first, &what);
            }
        }
        tokio::time::sleep(pace.rest).await;
    }
}

/// Writes a segment anew, the one that begins with `first` or the last one, and puts it in its place. Up to `noted` entries are known to
/// be committed where consensus does not run.
async fn repair(setup: RaftSetup, first: Option<LogIndex>, noted: LogIndex) -> Result<(), String> {
    if others(&setup).is_empty() {
        return Err(NOBODY.to_owned());
    }
    let calls = PeerCalls::new(Arc::new(setup.links.clone()));
    let (reply, begun) = Reply::channel();
    setup
        .log
        .post(BeginRepair { first, reply })
        .map_err(|error| error.to_string())?;
    let (mut rebuild, last) = begun.await.map_err(|error| causes(&error))?;
    let filled = match last {
        Last::Exactly(last) => fill(&setup, &calls, &mut rebuild, (last, noted)).await,
        Last::AtLeast(_) => fill_from_leader(&setup, &calls, &mut rebuild).await,
    };
    filled?;
    let rebuilt = tokio::task::spawn_blocking(move || rebuild.finish()).await;
    let rebuilt = rebuilt.map_err(|error| error.to_string())?;
    let (reply, replaced) = Reply::channel();
    let replace = Replace {
        rebuilt: rebuilt.map_err(|error| causes(&error))?,
        reply,
    };
    setup.log.post(replace).map_err(|error| error.to_string())?;
    replaced.await.map_err(|error| causes(&error))
}

/// Everybody else who may hold the log.
fn others(setup: &RaftSetup) -> Vec<NodeId> {
    let state = setup.cluster.state();
    let by_gossip = setup.directory.table();
    let mut others: Vec<_> = state
        .leader
        .into_iter()
        .chain(state.members.into_keys())
        .collect();
    others.extend(by_gossip.reachable().map(|(node, _)| node));
    others.retain(|node| *node != setup.node_id);
    others.dedup();
    others
}

/// Entries up to `last`, all of them committed, from whoever has them.
async fn fill(
    setup: &RaftSetup,
    calls: &PeerCalls,
    rebuild: &mut Box<Rebuild>,
    (last, noted): (LogIndex, LogIndex),
) -> Result<(), String> {
    // Committed and not applied: what is damaged may be what is to be applied next.
    let running = setup.port.running();
    let mut committed = running.map_or(noted, |consensus| consensus.committed_index());
    if last > committed {
        committed = committed.max(leaders_index(setup, calls).await);
    }
    if last > committed {
        return Err(format!("entries up to {last} are not known to be committed yet"));
    }
    let mut why = NOBODY.to_owned();
    for node in others(setup) {
        match take(calls, node, rebuild, last.plus(1), &setup.logger).await {
            Ok(()) if rebuild.next() > last => return Ok(()),
            Ok(()) => why = format!("node {node} has no entry {}", rebuild.next()),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Up to where the leader says that entries are committed; 0 where none is found.
async fn leaders_index(setup: &RaftSetup, calls: &PeerCalls) -> LogIndex {
    for node in others(setup) {
        if let Ok(committed) = calls.read_index(node, ASK_WITHIN).await {
            return committed;
        }
    }
    LogIndex::ZERO
}

/// All entries that the leader has: what this node may have acknowledged and lost is among them.
async fn fill_from_leader(
    setup: &RaftSetup,
    calls: &PeerCalls,
    rebuild: &mut Box<Rebuild>,
) -> Result<(), String> {
    let mut why = NOBODY.to_owned();
    for node in others(setup) {
        let committed = match calls.read_index(node, ASK_WITHIN).await {
            Ok(committed) => committed,
            Err(PeerError::NotLeader { .. }) => continue,
            Err(error) => {
                why = causes(&error);
                continue;
            }
        };
        take(calls, node, rebuild, LogIndex(u64::MAX), &setup.logger).await?;
        if rebuild.next() > committed {
            return Ok(());
        }
        why = format!("the leader's log ended before entry {committed}");
    }
    Err(why)
}

/// Takes what a node has of the missing entries.
async fn take(
    calls: &PeerCalls,
    node: NodeId,
    rebuild: &mut Box<Rebuild>,
    below: LogIndex,
    logger: &Logger,
) -> Result<(), String> {
    info!(logger, "fetching entries to repair a segment"; "from" => node.get(), "next" => rebuild.next().get());
    let chunks = calls.read_entries(node, rebuild.next(), below).await;
    let mut chunks = chunks.map_err(|error| causes(&error))?;
    while let Some(entries) = chunks.try_next().await.map_err(|error| causes(&error))? {
        // Writes go to the page cache; what is gathered is synced some megabytes at a time.
        tokio::task::block_in_place(|| {
            entries
                .into_iter()
                .try_for_each(|entry| rebuild.append(codec::to_storage_entry(entry)))
        })
        .map_err(|error| causes(&error))?;
    }
    Ok(())
}
