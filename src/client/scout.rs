//! Looks after what a client knows of its cluster: asks each node how it is and whom it knows, and notices when one that was
//! not reached is back.
//!
//! It asks each node what that node knows by itself, which costs next to nothing there. `WatchCluster` would tell of changes sooner, but a
//! watch has its node ask all others every second, and takes one of the places for consumers (ADR 0017); and who leads is in the
//! header of every answer anyway.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::join_all;
use tokio::{sync::Notify, time};

use crate::proto::annals::v1::GetClusterResponse;

use super::{connection::Connection, error::Error, node::Node, refusal::Reason, router::Router};

/// A node that is up answers within milliseconds what it knows by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A follower that keeps up has by then what the leader had before: some rounds of consensus on slow disks.
const FOLLOWS_WITHIN: Duration = Duration::from_millis(100);

/// How soon a node that was not reached is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Two looks are so far apart whatever happens.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Looks again and again, until the client is gone.
pub(super) async fn run(router: Weak<Router>, look: Arc<Notify>) {
    let mut may_ask = true;
    loop {
        let Some(strong) = router.upgrade() else {
            return;
        };
        may_ask = look_at(&strong, may_ask).await;
        let any_down = strong.nodes().iter().any(|node| node.is_down());
        let pause = if any_down {
            TRY_AGAIN.min(strong.settings.look_every)
        } else {
            strong.settings.look_every
        };
        drop(strong);
        time::sleep(PAUSE_MIN).await;
        tokio::select! {
            () = time::sleep(pause) => {}
            () = look.notified() => {}
        }
    }
}

/// Asks all nodes at once. Of a client that does nothing, those that were not reached only. Answers whether asking is allowed.
async fn look_at(router: &Router, may_ask: bool) -> bool {
    let nodes = router.nodes();
    let is_used = router.take_used() || nodes.iter().any(|node| node.in_flight() > 0);
    let reached = router.reached();
    let asked = nodes
        .iter()
        .filter(|node| node.is_down() || (is_used && may_ask))
        .map(|node| ask(router, node, reached));
    let mut newest: Option<GetClusterResponse> = None;
    let mut is_allowed = may_ask;
    for answer in join_all(asked).await {
        match answer {
            Ok(cluster) => {
                let age = |cluster: &GetClusterResponse| {
                    let term = cluster.header.as_ref().map_or(0, |header| header.term);
                    (term, cluster.membership_log_index)
                };
                if newest.as_ref().is_none_or(|newest| age(newest) <= age(&cluster)) {
                    newest = Some(cluster);
                }
            }
            // Whom it knows may not be for this client, which then goes on with what it was given and is told in refusals.
            Err(error) => is_allowed &= error.reason() != Some(Reason::AclDenied),
        }
    }
    if let Some(cluster) = newest {
        router.learn(&cluster);
    }
    is_allowed
}

/// How a node is. It keeps up when it has all that was `reached` before, at once or a moment later.
async fn ask(router: &Router, node: &Arc<Node>, reached: u64) -> Result<GetClusterResponse, Error> {
    let within = router.settings.connect_within.min(ANSWER_WITHIN);
    let connection = node.connection(router.settings.tls.as_ref(), within).await?;
    let mut answer = ask_once(router, node, &connection).await?;
    if !node.has(reached) {
        time::sleep(FOLLOWS_WITHIN).await;
        answer = ask_once(router, node, &connection).await?;
    }
    node.set_keeps_up(node.has(reached) && answer.removed_at.is_none());
    Ok(answer)
}

async fn ask_once(
    router: &Router,
    node: &Node,
    connection: &Connection,
) -> Result<GetClusterResponse, Error> {
    let asked = time::timeout(ANSWER_WITHIN, connection.get_cluster(true)).await;
    let Ok(answer) = asked else {
        let error = Error::lost("it does not answer");
        node.fell_silent(connection, &error);
        return Err(error);
    };
    match &answer {
        Ok(cluster) => {
            router.heard(node, cluster.header.as_ref())?;
            if !router.knows_others() {
                // Whoever was given one address would be lost without this, should that node end now.
                router.learn(cluster);
            }
        }
        Err(error) => router.note(node, connection, error),
    }
    answer
}
