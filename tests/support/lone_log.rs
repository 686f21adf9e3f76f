//! LogActor alone under an Agent, in a System on a thread of its own. Nobody else writes, so a test may tell it what it likes,
//! in any order: beside a node's consensus that would be a second leader.

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_rt::{Arbiter, System};
use annals::{
    actors::{
        agent::{AgentActor, Restart, Shutdown, Status},
        log::{
            Append, AppendFailed, ConditionBoard, Describe, LogActor, LogChild, LogSetup, LogShared,
            OnPersisted, SaveVote, Standing,
        },
        supervision::{ActorRef, Ending, Part, PartStatus, Reply, State, Timing},
    },
    storage::{LogOptions, LogView, Placed, Vote, entry::Entry, fs::FileSystem},
    types::{ClusterId, NodeId, Term},
};
use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};

use super::{
    log_lines::LogLines,
    node::{DEADLINE, in_time, until},
};

/// What becomes of an append.
pub(crate) type Persisted = Result<Vec<Placed>, AppendFailed>;

/// A log that has been opened.
pub(crate) struct LoneLog {
    pub(crate) log: ActorRef<LogActor>,
    pub(crate) view: Arc<ArcSwap<LogView>>,
    agent: actix::Addr<AgentActor>,
    ending: oneshot::Receiver<Ending>,
    thread: JoinHandle<()>,
}

impl LoneLog {
    /// Opens the log in `directory`, which is made if need be, and waits until it takes appends.
    pub(crate) async fn open(file_system: Arc<dyn FileSystem>, directory: &Path, segment_bytes: u64) -> Self {
        Self::open_of(ClusterId(1), file_system, directory, segment_bytes).await
    }

    /// The same, of another cluster.
    pub(crate) async fn open_of(
        cluster_id: ClusterId,
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
        segment_bytes: u64,
    ) -> Self {
        file_system
            .create_dir_all(directory)
            .expect("the disk is well so far");
        let view = Arc::new(ArcSwap::from_pointee(LogView::unopened()));
        let log = ActorRef::new();
        let (cluster_sender, cluster_receiver) = watch::channel(Some(cluster_id));
        let setup = LogSetup {
            file_system,
            options: LogOptions {
                directory: directory.to_owned(),
                cluster_id,
                segment_bytes,
                segment_age_ms: u64::MAX,
                tail_cache_bytes: 64 << 10,
                open_files_max: 4,
                prezero_bytes_per_second: 0,
            },
            cluster_id: cluster_receiver,
            data_dir: None,
            free_bytes_min: 0,
            view: view.clone(),
            board: ConditionBoard::new(),
            logger: LogLines::new().logger(),
        };
        let (agent_sender, agent) = oneshot::channel();
        let (ending_sender, ending) = oneshot::channel();
        let actor = log.clone();
        let thread = thread::Builder::new().name("lone log".to_owned()).spawn(move || {
            System::new().block_on(async move {
                let arbiter = Arbiter::new();
                let shared = LogShared {
                    thread: arbiter.handle(),
                    log: actor,
                };
                let logger = setup.logger.clone();
                let child = LogChild::new(setup, shared);
                let (agent, end) = AgentActor::new(vec![Box::new(child)], timing(), &logger);
                drop(agent_sender.send(actix::Actor::start(agent)));
                drop(ending_sender.send(end.wait().await));
                drop(cluster_sender);
                arbiter.stop();
                drop(arbiter.join());
            });
        });
        let opened = Self {
            log,
            view,
            agent: in_time("the start of the log", agent)
                .await
                .expect("the log's thread does not panic"),
            ending,
            thread: thread.expect("the machine has threads"),
        };
        opened.until_running(1).await;
        opened
    }

    /// What the Agent says about the log.
    pub(crate) async fn status(&self) -> PartStatus {
        let status = self.agent.send(Status).await.expect("the Agent is there");
        let found = status.into_iter().find(|status| status.part == Part::Log);
        found.expect("it has a log")
    }

    /// Waits until that generation of the log, or a later one, runs.
    pub(crate) async fn until_running(&self, generation: u64) {
        until(&format!("generation {generation} of the log"), async || {
            let status = self.status().await;
            status.generation >= generation && status.state == State::Running
        })
        .await;
    }

    /// Asks the Agent to build the log again.
    pub(crate) async fn restart(&self) {
        let accepted = self.agent.send(Restart(Part::Log)).await;
        assert!(accepted.expect("the Agent is there"));
    }

    /// Votes in `term`: a log with entries of a term that it has no vote of is not opened again.
    pub(crate) async fn votes_in(&self, term: Term) {
        let (reply, saved) = Reply::channel();
        let vote = Vote {
            term,
            voted_for: Some(NodeId(1)),
            committed: false,
        };
        self.log
            .post(SaveVote { vote, reply })
            .expect("it runs, and has room");
        in_time("the vote", saved).await.expect("the disk is well so far");
    }

    /// Posts an append.
    pub(crate) fn append(&self, entries: Vec<Entry>) -> oneshot::Receiver<Persisted> {
        let (sender, persisted) = oneshot::channel();
        let append = Append {
            entries,
            on_persisted: OnPersisted::new(move |persisted| drop(sender.send(persisted))),
        };
        self.log.post(append).expect("it runs, and has room");
        persisted
    }

    /// Where the log stands once all before is synced.
    pub(crate) async fn standing(&self) -> Standing {
        let (reply, standing) = Reply::channel();
        self.log.post(Describe { reply }).expect("it runs, and has room");
        in_time("where the log stands", standing)
            .await
            .expect("it is answered")
    }

    /// Ends the log by the Agent.
    pub(crate) async fn shut_down(self) -> Ending {
        self.agent.send(Shutdown).await.expect("the Agent is there");
        self.ended().await
    }

    /// Waits until the Agent has ended by itself.
    pub(crate) async fn ended(self) -> Ending {
        let ending = in_time("the end of the log", self.ending).await;
        ending.expect("the log's thread does not panic")
    }

    /// The same as [`Self::shut_down`], for `Drop`.
    ///
    /// Blocking.
    pub(crate) fn stop(self) {
        // One that has ended by itself has done what is asked.
        drop(self.agent.try_send(Shutdown));
        drop(self.thread.join());
    }
}

fn timing() -> Timing {
    Timing {
        back_off_min: Duration::from_millis(10),
        back_off_max: Duration::from_millis(20),
        stuck_after: DEADLINE,
        ..Timing::default()
    }
}
