//! What `WatchCluster` waits for, and when there is something to tell.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Interval, interval},
};

use crate::{
    actors::{committer::Leadership, membership::PeerTable},
    net::{
        cluster::{self, ClusterPort},
        context::Context,
    },
    proto::raw::annals::v1,
};

/// How often a watch looks for what nobody tells it of: whether each node answers, and what it says.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a watch waits for.
pub(super) struct Changes {
    peers: watch::Receiver<PeerTable>,
    leadership: watch::Receiver<Leadership>,
    looks: Interval,
    /// Without what changes all the time.
    told: Option<v1::GetClusterResponse>,
}

impl Changes {
    /// Nothing is told yet.
    pub(super) fn new(context: &Context, port: &ClusterPort) -> Self {
        Self {
            peers: port.directory.subscribe(),
            leadership: context.parts.leadership.clone(),
            looks: interval(LOOK_EVERY),
            told: None,
        }
    }

    /// The cluster, as soon as it differs from what was told last.
    pub(super) async fn next(&mut self, context: &Context, port: &ClusterPort) -> v1::GetClusterResponse {
        loop {
            // Nobody who publishes goes before the node does, and then the watch ends by the drain.
            tokio::select! {
                _ = self.looks.tick() => {}
                Ok(()) = self.peers.changed() => {}
                Ok(()) = self.leadership.changed() => {}
            }
            let view = cluster::view(context, port, false).await;
            let lasting = lasting(view.clone());
            if self.told.as_ref() != Some(&lasting) {
                self.told = Some(lasting);
                return view;
            }
        }
    }
}

/// What of a view does not change from moment to moment.
fn lasting(mut view: v1::GetClusterResponse) -> v1::GetClusterResponse {
    if let Some(header) = &mut view.header {
        header.high_watermark = 0;
    }
    view.last_log_index = 0;
    for server in &mut view.servers {
        server.applied = None;
        server.matched = None;
        server.lag = None;
        server.last_contact_ms = None;
    }
    view
}
