//! Between the moment when a new node has found its cluster and the one when the cluster takes it in: what the node says meanwhile.
//!
//! Gossip is enough for the first. For the second the leader must have a connection to the node, and with TLS believe it; where it
//! does not come to that, the node is the one place where somebody looks.

use std::collections::BTreeSet;

use slog::{Logger, error, info};
use tokio::sync::watch;

use crate::actors::raft::ClusterState;

/// Reasons that were told of; one more is an attack, and no news.
const TOLD_MAX: usize = 16;

/// Says for what the node waits until it is taken in; `address` is where the leader looks for it.
///
/// Cancel: safe.
pub(super) async fn until_taken_in(
    address: &str,
    mut board: watch::Receiver<ClusterState>,
    mut refusal: watch::Receiver<Option<String>>,
    waiting: &watch::Sender<Option<String>>,
    logger: &Logger,
) {
    let mut told = BTreeSet::new();
    loop {
        if is_taken_in(&board.borrow_and_update()) {
            waiting.send_replace(None);
            return;
        }
        let refused = refusal.borrow_and_update().clone();
        let reason = reason(address, refused.as_deref());
        let is_news = told.len() < TOLD_MAX && told.insert(reason.clone());
        match &refused {
            None if is_news => info!(logger, "no member of the cluster yet"; "reason" => &reason),
            Some(_) if is_news => {
                error!(logger, "this node is not taken into its cluster"; "reason" => &reason);
            }
            None | Some(_) => {}
        }
        waiting.send_replace(Some(reason));
        let is_over = tokio::select! {
            changed = board.changed() => changed.is_err(),
            // Its sender lives as long as the gateway's parts, and the board longer.
            Ok(()) = refusal.changed() => false,
        };
        if is_over {
            return;
        }
    }
}

/// A leader speaks to whom it takes in, and the first that it says is who belongs.
fn is_taken_in(state: &ClusterState) -> bool {
    state.leader.is_some() || !state.members.is_empty()
}

fn reason(address: &str, refused: Option<&str>) -> String {
    let because = refused.map(|why| format!("; {why}")).unwrap_or_default();
    format!(
        "it has found its cluster, whose leader takes it in once it has a connection to {address}, and knows who answers there{because}"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slog::{Discard, o};
    use tokio::time::timeout;

    use super::*;
    use crate::types::NodeId;

    #[tokio::test]
    async fn a_node_says_for_what_it_waits_and_why_it_is_refused_until_a_leader_speaks_to_it() {
        let (board, state) = watch::channel(ClusterState::default());
        let (refusals, refusal) = watch::channel(None);
        let (waiting, mut says) = watch::channel(None);
        let log = Logger::root(Discard, o!());
        let task =
            tokio::spawn(async move { until_taken_in("host:1", state, refusal, &waiting, &log).await });
        let said = async |says: &mut watch::Receiver<Option<String>>, part: &str| {
            let holds = |said: &Option<String>| said.as_ref().is_some_and(|said| said.contains(part));
            let said = timeout(Duration::from_secs(20), says.wait_for(holds)).await;
            said.unwrap().unwrap().clone()
        };
        said(&mut says, "a connection to host:1").await;
        refusals.send_replace(Some("a peer at 10.0.0.1 was refused: it speaks TLS".to_owned()));
        said(&mut says, "it speaks TLS").await;
        board.send_replace(ClusterState {
            leader: Some(NodeId(1)),
            ..ClusterState::default()
        });
        timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
        assert_eq!(*says.borrow_and_update(), None);
    }
}
