//! Whether this node still belongs to its cluster: found out, remembered on disk, and acted upon.
//!
//! Who is removed may never receive the entry that says so, as when it was out of reach then. So a member that does not lead
//! asks another one, again and again, which membership is the newest committed one. So does a node with data that knows of no
//! membership which is committed and has it, as after a restart at which its note of what is committed was lost: the leader's word counts
//! for that one, since somebody else may not have read yet that it belongs. Once it is not in it any more, the fence
//! is up for ever: a file in the data directory says so to the next start.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use slog::{Logger, error, info, warn};
use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    actors::{
        membership::{Forget, Leave, MembershipActor, OwnTags, PeerDirectory, Presence, Standing},
        peer::{PeerCalls, PeerDescription},
        raft::{ClusterBoard, ClusterState, Fence, RaftPort},
        supervision::{ActorRef, Reply},
    },
    storage::fs::{FileSystem, OpenMode, read_exact_at},
    types::{LogIndex, NodeId},
};

/// How often it is asked whether it is time to ask another member.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Another member is asked at each so many looks when there is no reason to doubt: a node that was removed and comes back
/// serves stale claims for no longer than this takes.
const LOOKS_WITHOUT_DOUBT: usize = 4;
/// How long the answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The file that says that the node was removed; in it, as text, at which entry.
const FILE_NAME: &str = "removed";
/// The longest number, and some.
const BYTES_MAX: u64 = 64;

/// What it takes.
pub(super) struct Removal {
    pub(super) own: NodeId,
    pub(super) board: ClusterBoard,
    pub(super) directory: PeerDirectory,
    pub(super) calls: PeerCalls,
    pub(super) port: RaftPort,
    pub(super) fence: Fence,
    pub(super) own_tags: Option<OwnTags>,
    /// There was data at the start.
    pub(super) has_data: bool,
    pub(super) membership: ActorRef<MembershipActor>,
    pub(super) file_system: Arc<dyn FileSystem>,
    pub(super) data_dir: PathBuf,
    pub(super) runtime: Handle,
    pub(super) logger: Logger,
}

/// Reads from the data directory whether the node was removed, at an earlier time.
///
/// Errors: the file cannot be read. Blocking.
pub(super) fn remembered(file_system: &dyn FileSystem, data_dir: &Path) -> io::Result<Option<LogIndex>> {
    let file = match file_system.open(&data_dir.join(FILE_NAME), OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; usize::try_from(file.size()?.min(BYTES_MAX)).unwrap_or_default()];
    read_exact_at(file.as_ref(), 0, &mut bytes)?;
    // That the file is there is what counts.
    let number = String::from_utf8_lossy(&bytes).trim().parse();
    Ok(Some(LogIndex(number.unwrap_or_default())))
}

/// Blocking.
fn remember(file_system: &dyn FileSystem, data_dir: &Path, removed_at: LogIndex) -> io::Result<()> {
    let file = match file_system.open(&data_dir.join(FILE_NAME), OpenMode::CreateNew) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    };
    let text = format!("{removed_at}\n");
    file.write_all_at(0, &mut [IoSlice::new(text.as_bytes())])?;
    file.sync_data()?;
    file_system.sync_dir(data_dir)
}

impl Removal {
    /// Ends when the node was removed.
    pub(super) async fn run(self) {
        let removed_at = match self.fence.removed_at() {
            Some(removed_at) => removed_at,
            None => self.until_removed().await,
        };
        self.fence.raise(removed_at);
        error!(self.logger, "this node was removed from its cluster, and serves only old records; to join anew, stop it, \
            wipe its data directory, and start it"; "log_index" => removed_at.get(), "data_dir" => %self.data_dir.display());
        self.remember(removed_at).await;
        self.port.stand_down();
        let (reply, gone) = Reply::channel();
        drop(self.membership.post(Leave { reply }));
        if gone.await.is_ok() {
            info!(self.logger, "gossip was told that this node is gone");
        }
    }

    async fn until_removed(&self) -> LogIndex {
        let mut changes = self.board.subscribe();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looked, mut asked) = (0_usize, 0_usize);
        let mut belonged = false;
        loop {
            let state = changes.borrow_and_update().clone();
            belonged |= state.committed.1.contains(&self.own);
            self.say_standing(&state);
            if let Some(removed_at) = left_out(self.own, belonged, &state) {
                return removed_at;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                _ = looks.tick() => {
                    looked = looked.wrapping_add(1);
                    let may_belong = belonged || self.has_data;
                    if may_belong && (looked.is_multiple_of(LOOKS_WITHOUT_DOUBT) || self.is_in_doubt(&state)) {
                        asked = asked.wrapping_add(1);
                        if let Some(removed_at) = self.ask(&state, belonged, asked).await {
                            return removed_at;
                        }
                        self.forget_those_gone(&state);
                    }
                }
            }
        }
    }

    /// Whether there is reason to believe that others know more: nobody leads, or the newest membership is not committed.
    fn is_in_doubt(&self, state: &ClusterState) -> bool {
        let leader = self.port.leadership().leader;
        leader.is_none() || state.membership_at != state.committed.0
    }

    /// Asks one member after the other, the leader every other time.
    async fn ask(&self, state: &ClusterState, belonged: bool, asked: usize) -> Option<LogIndex> {
        let leader = self.port.leadership().leader;
        if leader == Some(self.own) {
            return None;
        }
        let others: Vec<_> = state.members.keys().filter(|node| **node != self.own).collect();
        let next = others.get(asked.checked_rem(others.len())?).copied().copied();
        let target = leader.filter(|_| asked.is_multiple_of(2)).or(next)?;
        let answer = self.calls.describe(target, ANSWER_WITHIN).await.ok()?;
        match belonged {
            true => left_out_by(self.own, &self.board.state(), &answer),
            false => left_out_by_leader(self.own, target, &self.board.state(), &answer),
        }
    }

    /// Tells by gossip whether the node belongs: one that did and does not any more is not taken in again.
    fn say_standing(&self, state: &ClusterState) {
        let Some(tags) = &self.own_tags else { return };
        let belongs = match state.committed.1.is_empty() {
            // Consensus does not run yet, or the node is new.
            true => self.has_data,
            false => state.committed.1.contains(&self.own),
        };
        tags.set_standing(if belongs {
            Standing::Member
        } else {
            Standing::Joining
        });
    }

    /// Who was removed and is gone is not looked for.
    fn forget_those_gone(&self, state: &ClusterState) {
        let table = self.directory.table();
        let removed = table.iter().filter(|(node, peer)| {
            let is_gone = match peer.presence {
                Presence::Reachable => false,
                Presence::Unreachable => peer.tags.standing != Standing::Joining,
                Presence::Left => true,
            };
            is_gone && state.settled && !state.members.contains_key(node)
        });
        for (node, _) in removed {
            // One that is not taken is made good by the next look.
            drop(self.membership.post(Forget(node)));
        }
    }

    async fn remember(&self, removed_at: LogIndex) {
        let (file_system, data_dir) = (self.file_system.clone(), self.data_dir.clone());
        let write = move || remember(&*file_system, &data_dir, removed_at);
        match self.runtime.spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(self.logger, "cannot write down that this node was removed; it finds out again when it restarts";
                    "cause" => %error);
            }
            Err(error) => {
                warn!(self.logger, "cannot write down that this node was removed"; "cause" => %error)
            }
        }
    }
}

/// The entry by which `own` was removed, by its own log.
fn left_out(own: NodeId, belonged: bool, state: &ClusterState) -> Option<LogIndex> {
    let (at, members) = &state.committed;
    (belonged && !members.is_empty() && !members.contains(&own)).then_some(*at)
}

/// The entry by which `own`, which belongs by its own log, was removed by the word of another member. Only a later
/// membership counts: the other may be behind.
fn left_out_by(own: NodeId, state: &ClusterState, answer: &PeerDescription) -> Option<LogIndex> {
    let is_later = answer.membership_at > state.committed.0;
    let is_left_out = !answer.members.is_empty() && !answer.members.contains(&own);
    (is_later && is_left_out).then_some(answer.membership_at)
}

/// The same of a node that is not known to belong by its own log, and has data, so that a leader counted it among the members once.
/// Only the word of a leader counts, of no term before that which this node knows, and only when it has the node neither among those
/// who belong for certain nor among those whose change is under way.
fn left_out_by_leader(
    own: NodeId,
    target: NodeId,
    state: &ClusterState,
    answer: &PeerDescription,
) -> Option<LogIndex> {
    let leads = answer.leader == Some(target) && answer.term >= state.term;
    let belongs = answer.members.contains(&own) || answer.progress_of(own).is_some();
    (leads && !answer.members.is_empty() && !belongs).then_some(answer.membership_at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{actors::peer::Progress, storage::fs::RealFileSystem, types::Term};

    const OWN: NodeId = NodeId(1);

    fn state(at: u64, members: &[u64]) -> ClusterState {
        ClusterState {
            committed: (LogIndex(at), members.iter().copied().map(NodeId).collect()),
            ..ClusterState::default()
        }
    }

    #[test]
    fn a_node_that_belonged_and_does_not_any_more_was_removed() {
        assert_eq!(left_out(OWN, true, &state(1, &[1, 2])), None);
        assert_eq!(left_out(OWN, true, &state(5, &[2, 3])), Some(LogIndex(5)));
        // A learner that catches up reads memberships from before its time.
        assert_eq!(left_out(OWN, false, &state(5, &[2, 3])), None);
        assert_eq!(left_out(OWN, true, &state(0, &[])), None);
    }

    #[test]
    fn only_a_later_membership_is_believed() {
        let own = state(5, &[1, 2, 3]);
        let answer = |at, members: &[u64]| PeerDescription {
            membership_at: LogIndex(at),
            members: members.iter().copied().map(NodeId).collect::<BTreeSet<_>>(),
            ..PeerDescription::default()
        };
        assert_eq!(left_out_by(OWN, &own, &answer(6, &[2, 3])), Some(LogIndex(6)));
        assert_eq!(left_out_by(OWN, &own, &answer(4, &[2, 3])), None);
        assert_eq!(left_out_by(OWN, &own, &answer(6, &[1, 2])), None);
        assert_eq!(left_out_by(OWN, &own, &answer(6, &[])), None);
    }

    /// The bug: a node that was removed while it was away, and lost its note of what is committed, asked nobody for as long as it ran.
    #[test]
    fn where_nothing_is_known_to_be_committed_a_leader_is_believed_and_nobody_else() {
        const LEADER: NodeId = NodeId(2);
        let own = ClusterState {
            term: Term(3),
            ..ClusterState::default()
        };
        let answer = PeerDescription {
            term: Term(3),
            leader: Some(LEADER),
            membership_at: LogIndex(6),
            members: BTreeSet::from([LEADER, NodeId(3)]),
            ..PeerDescription::default()
        };
        let says = |target, answer: &PeerDescription| left_out_by_leader(OWN, target, &own, answer);
        assert_eq!(says(LEADER, &answer), Some(LogIndex(6)));
        assert_eq!(
            says(NodeId(3), &answer),
            None,
            "it is a follower, and may be behind"
        );
        let (mut old, mut counted, mut joining) = (answer.clone(), answer.clone(), answer);
        old.term = Term(2);
        assert_eq!(says(LEADER, &old), None, "it was deposed");
        counted.members.insert(OWN);
        assert_eq!(says(LEADER, &counted), None);
        joining.progress.push(Progress {
            node: OWN,
            matched: None,
            silent_for: None,
        });
        assert_eq!(says(LEADER, &joining), None, "it is being taken in");
    }

    #[test]
    fn that_it_was_removed_outlives_the_process() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(remembered(&RealFileSystem, temp.path()).unwrap(), None);
        remember(&RealFileSystem, temp.path(), LogIndex(7)).unwrap();
        remember(&RealFileSystem, temp.path(), LogIndex(9)).unwrap();
        assert_eq!(
            remembered(&RealFileSystem, temp.path()).unwrap(),
            Some(LogIndex(7))
        );
    }
}
