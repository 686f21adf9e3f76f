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

use crate::proto::annals::v1::{GetClusterResponse, ResponseHeader};

use super::{
    connection::Connection,
    error::Error,
    node::Node,
    refusal::Reason,
    router::{LOOKS_BEHIND, Router},
};

/// A node that is up answers within milliseconds what it knows by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A follower that keeps up has by then what the leader had before: some rounds of consensus on slow disks.
const FOLLOWS_WITHIN: Duration = Duration::from_millis(100);

/// How soon a node that was not reached is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Two looks are so far apart whatever happens.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// A node that somebody uses and that is behind is looked at more closely for so many looks: if nobody has left it by then, nobody is better.
const CLOSE_LOOKS: u32 = 4 * LOOKS_BEHIND;

/// Looks again and again, until the client is gone.
pub(super) async fn run(router: Weak<Router>, look: Arc<Notify>) {
    let (mut may_ask, mut is_doubted) = (true, false);
    loop {
        let Some(strong) = router.upgrade() else {
            return;
        };
        may_ask = look_at(&strong, may_ask).await;
        strong.set_looked();
        // What is doubted may not show at the first look: who was cut off a moment ago has what the others have, still.
        let is_soon = is_doubted
            || strong
                .nodes()
                .iter()
                .any(|node| node.is_down() || is_in_question(node));
        let pause = if is_soon {
            TRY_AGAIN.min(strong.settings.look_every)
        } else {
            strong.settings.look_every
        };
        drop(strong);
        time::sleep(PAUSE_MIN).await;
        is_doubted = tokio::select! {
            () = time::sleep(pause) => false,
            () = look.notified() => true,
        };
    }
}

/// Whether somebody uses it who may soon be better served elsewhere.
fn is_in_question(node: &Node) -> bool {
    node.in_flight() > 0 && (1..CLOSE_LOOKS).contains(&node.looks_behind().0)
}

/// Whether a node knows of no leader, though others do: in an election nobody does, and then all do within a moment.
fn is_cut_off(header: &ResponseHeader, others: &[ResponseHeader]) -> bool {
    let is_led = |other: &ResponseHeader| other.leader_id != 0 && other.term >= header.term;
    header.leader_id == 0 && others.iter().any(is_led)
}

/// Asks all nodes at once. Of a client that does nothing, those that were not reached only. Answers whether asking is allowed.
async fn look_at(router: &Router, may_ask: bool) -> bool {
    let nodes = router.nodes();
    let is_used = router.take_used() || nodes.iter().any(|node| node.in_flight() > 0);
    let reached = router.reached();
    let asked: Vec<_> = nodes
        .iter()
        .filter(|node| node.is_down() || (is_used && may_ask))
        .collect();
    let answers = join_all(asked.iter().map(|node| ask(router, node, reached))).await;
    let told = answers.iter().flatten();
    let headers: Vec<_> = told.filter_map(|cluster| cluster.header.clone()).collect();
    let mut newest: Option<GetClusterResponse> = None;
    let mut is_allowed = may_ask;
    for (node, answer) in asked.into_iter().zip(answers) {
        match answer {
            Ok(cluster) => {
                let is_cut_off = cluster
                    .header
                    .as_ref()
                    .is_some_and(|header| is_cut_off(header, &headers));
                node.set_keeps_up(node.has(reached) && cluster.removed_at.is_none() && !is_cut_off);
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

/// How a node is, by its own account: when it has all that was `reached` before, or a moment later.
async fn ask(router: &Router, node: &Arc<Node>, reached: u64) -> Result<GetClusterResponse, Error> {
    let within = router.settings.connect_within.min(ANSWER_WITHIN);
    let connection = node.connection(router.settings.tls.as_ref(), within).await?;
    let mut answer = ask_once(router, node, &connection).await?;
    if !node.has(reached) {
        time::sleep(FOLLOWS_WITHIN).await;
        answer = ask_once(router, node, &connection).await?;
    }
    Ok(answer)
}

async fn ask_once(
    router: &Router,
    node: &Node,
    connection: &Connection,
) -> Result<GetClusterResponse, Error> {
    let asked = time::timeout(ANSWER_WITHIN, connection.get_cluster(true)).await;
    let Ok(answer) = asked else {
        let error = Error::lost(connection.silent_reason());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn header(term: u64, leader_id: u64) -> ResponseHeader {
        ResponseHeader {
            term,
            leader_id,
            ..Default::default()
        }
    }

    #[test]
    fn a_node_without_a_leader_is_cut_off_where_others_have_one_and_not_in_an_election() {
        let table = [
            (header(5, 0), [header(6, 2), header(6, 2)], true),
            (header(7, 0), [header(7, 2), header(7, 2)], true),
            // One that stands again and again, as nobody hears it, has the higher term; it leads nobody, and the others may yet hear it.
            (header(9, 0), [header(6, 2), header(6, 2)], false),
            (header(6, 0), [header(6, 0), header(5, 0)], false),
            (header(5, 1), [header(6, 2), header(6, 2)], false),
        ];
        for (own, others, wanted) in table {
            assert_eq!(is_cut_off(&own, &others), wanted, "{own:?} among {others:?}");
        }
    }
}
