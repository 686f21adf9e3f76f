//! `/metrics`: what the node is at this moment, in the text format of Prometheus. The names stand in `telemetry::metrics::names`.
//!
//! Everything is read where it is published: asking costs those who work nothing. Only the disk and the Agent are asked, and not waited
//! for: what does not come in time is left out, and the rest is told also when the disk hangs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use super::{
    admin::checks,
    cluster::ClusterPort,
    connections::Connections,
    context::{Context, DEFAULT_LOG},
    vitals::DiskRoom,
};
use crate::{
    actors::{
        membership::{Peer, Presence},
        supervision::State,
    },
    certs::{Certificate, Fingerprint},
    clock,
    telemetry::metrics::{Exposition, Value, names},
    tls::NodeTls,
    types::{NodeId, TimestampMs},
};

/// How long the disk, and the Agent, may take for their answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Looks at the disk, one at a time: those that hang would take all threads for such things.
#[derive(Clone, Debug)]
pub(super) struct DiskLooks(Arc<Semaphore>);

impl DiskLooks {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// What is found; `None` when it takes too long, or an earlier look still does.
    ///
    /// Cancel: safe; a look under way goes on.
    async fn look(&self, context: &Arc<Context>) -> Option<DiskLook> {
        let place = Arc::clone(&self.0).try_acquire_owned().ok()?;
        let context = Arc::clone(context);
        let look = tokio::task::spawn_blocking(move || {
            let _place = place;
            let segments = context.parts.read_path.view().describe();
            DiskLook {
                segments: segments.ok().map(|segments| {
                    let bytes = segments.iter().map(|segment| segment.bytes).sum();
                    (segments.len(), bytes)
                }),
                room: context.parts.vitals.disk_room(),
            }
        });
        timeout(ANSWER_WITHIN, look).await.ok()?.ok()
    }
}

/// What the disk says.
struct DiskLook {
    /// How many segments, and their bytes.
    segments: Option<(usize, u64)>,
    room: Option<DiskRoom>,
}

/// All metrics that there is something to say of.
///
/// Cancel: safe.
pub(super) async fn text(context: &Arc<Context>, connections: &Connections, looks: &DiskLooks) -> String {
    let mut text = Exposition::new();
    let (disk, parts) = tokio::join!(
        looks.look(context),
        timeout(ANSWER_WITHIN, context.parts.vitals.supervision())
    );
    node(&mut text, context);
    log(&mut text, context, disk);
    if let Some(port) = &context.parts.cluster {
        raft(&mut text, context, port);
        peers(&mut text, port);
    }
    gateway(&mut text, context, connections);
    if let Some(tls) = &context.parts.tls {
        certificates(&mut text, tls, clock::wall());
    }
    security(&mut text, context);
    let parts = parts.unwrap_or_default();
    let of_part = |value: fn(&_) -> Value| {
        parts
            .iter()
            .map(move |part| ([part.part.to_string()], value(part)))
    };
    text.each(
        &names::PART_RUNNING,
        of_part(|part| (part.state == State::Running).into()),
    );
    text.each(&names::PART_RESTARTS, of_part(|part| part.restarts.into()));
    text.finish()
}

fn node(text: &mut Exposition, context: &Context) {
    let identity = &context.parts.identity;
    let cluster = context.parts.cluster.as_ref();
    text.each(
        &names::BUILD_INFO,
        [([env!("CARGO_PKG_VERSION").to_owned()], true)],
    );
    let who = [
        identity.node_name.clone(),
        identity.node_id.to_string(),
        cluster.map(|port| port.name.clone()).unwrap_or_default(),
        context.cluster_id_text().to_owned(),
    ];
    text.each(&names::NODE_INFO, [(who, true)]);
    let checks = checks(context);
    text.one(&names::READY, checks.iter().all(|check| check.problem.is_none()));
    let checks = checks.iter();
    text.each(
        &names::CHECK_OK,
        checks.map(|check| ([check.name.to_owned()], check.problem.is_none())),
    );
}

/// The one log that there is.
fn of_log(value: impl Into<Value>) -> [([String; 1], Value); 1] {
    [([DEFAULT_LOG.to_owned()], value.into())]
}

fn log(text: &mut Exposition, context: &Context, disk: Option<DiskLook>) {
    let read_path = &context.parts.read_path;
    text.each(&names::LOG_EARLIEST, of_log(read_path.view().earliest().get()));
    text.each(
        &names::LOG_HIGH_WATERMARK,
        of_log(read_path.high_watermark().get()),
    );
    text.each(&names::LOG_TAIL, of_log(context.parts.vitals.tail().get()));
    let Some(DiskLook { segments, room }) = disk else {
        return;
    };
    if let Some((count, bytes)) = segments {
        text.each(&names::LOG_SEGMENTS, of_log(count));
        text.each(&names::LOG_BYTES, of_log(bytes));
    }
    if let Some(room) = room {
        text.each(&names::DISK_FREE, of_log(room.free_bytes));
        text.each(&names::DISK_FLOOR, of_log(room.floor_bytes));
    }
}

fn raft(text: &mut Exposition, context: &Context, port: &ClusterPort) {
    let own = context.parts.identity.node_id;
    let leadership = context.parts.leadership.borrow().clone();
    let state = port.board.state();
    let leads = leadership.leader == Some(own);
    text.each(&names::RAFT_TERM, of_log(leadership.term.get()));
    text.each(&names::RAFT_IS_LEADER, of_log(leads));
    text.each(&names::RAFT_HAS_LEADER, of_log(leadership.leader.is_some()));
    let role = port.role_of(own, leadership.leader);
    text.each(
        &names::RAFT_ROLE,
        ["leader", "follower", "learner", "none"]
            .map(|name| ([DEFAULT_LOG.to_owned(), name.to_owned()], name == role)),
    );
    let voters = state.members.values().filter(|member| member.voter).count();
    text.each(&names::RAFT_VOTERS, of_log(voters));
    text.each(&names::RAFT_LEARNERS, of_log(state.members.len() - voters));
    text.each(
        &names::RAFT_CANDIDATES,
        of_log(port.problems_of_others(&state).len()),
    );
    text.each(&names::RAFT_LAST, of_log(state.last.get()));
    text.each(&names::RAFT_COMMITTED, of_log(state.commit.get()));
    text.each(&names::RAFT_APPLIED, of_log(state.applied.get()));
    let others = state.members.iter().filter(|(node, _)| leads && **node != own);
    text.each(
        &names::PEER_LAG,
        others.map(|(node, member)| {
            let [name, id] = port.labels_of(*node);
            let matched = member.matched.map_or(0, |matched| matched.get());
            (
                [DEFAULT_LOG.to_owned(), name, id],
                state.last.get().saturating_sub(matched),
            )
        }),
    );
}

fn peers(text: &mut Exposition, port: &ClusterPort) {
    let links = port.links.status();
    text.each(
        &names::PEER_CONNECTED,
        links
            .iter()
            .map(|(node, status, _)| (port.labels_of(*node), status.connected)),
    );
    let heard = links
        .iter()
        .filter_map(|(node, _, silent_for)| Some((port.labels_of(*node), (*silent_for)?)));
    text.each(&names::PEER_SILENCE, heard);
    text.each(
        &names::PEER_FAILURES,
        links
            .iter()
            .map(|(node, status, _)| (port.labels_of(*node), u64::from(status.failures))),
    );
    let table = port.directory.table();
    let count = |presence| {
        let with = |(_, peer): &(NodeId, &Peer)| peer.presence == presence;
        table.iter().filter(with).count()
    };
    text.each(
        &names::GOSSIP_PEERS,
        [
            ("reachable", Presence::Reachable),
            ("unreachable", Presence::Unreachable),
            ("left", Presence::Left),
        ]
        .map(|(name, presence)| ([name.to_owned()], count(presence))),
    );
}

fn gateway(text: &mut Exposition, context: &Context, connections: &Connections) {
    text.one(&names::CONNECTIONS, connections.open());
    text.one(&names::CONNECTIONS_MAX, connections.max());
    text.one(&names::CONNECTIONS_REFUSED, connections.refused());
    text.each(
        &names::HANDSHAKES_REFUSED,
        [
            ("client", context.refusals.clients()),
            ("peer", context.refusals.peers()),
        ]
        .map(|(side, count)| ([side.to_owned()], count)),
    );
    let consumers_max = context.options.consumers_max;
    let free = context.consumers.available_permits();
    text.one(&names::CONSUMERS, consumers_max.saturating_sub(free));
    text.one(&names::CONSUMERS_MAX, consumers_max);
    let admission = &context.admission;
    text.one(
        &names::ADMISSION_USED,
        admission.bytes_max() - admission.free_bytes(),
    );
    text.one(&names::ADMISSION_MAX, admission.bytes_max());
}

fn certificates(text: &mut Exposition, tls: &NodeTls, now: TimestampMs) {
    let status = tls.status();
    // By fingerprint: a file of authorities may have one twice.
    let mut all: BTreeMap<Fingerprint, (&str, &Certificate)> = BTreeMap::new();
    for authority in &status.authorities {
        all.insert(authority.fingerprint(), ("authority", authority));
    }
    all.insert(status.certificate.fingerprint(), ("node", &status.certificate));
    let labels = |fingerprint: &Fingerprint, holder: &str, certificate: &Certificate| {
        [
            holder.to_owned(),
            certificate.subject.clone(),
            fingerprint.to_string(),
        ]
    };
    let seconds = |not_after: TimestampMs, since: u64| {
        // Dates of certificates are far within 2^53.
        Value::Seconds((not_after.0 as f64 - since as f64) / 1000.0)
    };
    for (metric, since) in [
        (&names::CERTIFICATE_EXPIRES_IN, now.0),
        (&names::CERTIFICATE_NOT_AFTER, 0),
    ] {
        let samples = all.iter().map(|(fingerprint, (holder, certificate))| {
            (
                labels(fingerprint, holder, certificate),
                seconds(certificate.not_after, since),
            )
        });
        text.each(metric, samples);
    }
    text.one(&names::TLS_CONNECTIONS, status.connections);
}

/// What can be replaced, and who was denied what.
fn security(text: &mut Exposition, context: &Context) {
    let certificates = context.parts.tls.as_ref().map(|tls| {
        let status = tls.status();
        ("certificates", status.reloads, status.failures)
    });
    let acl = context.parts.authorization.as_ref();
    let policy = acl.map(|authorization| {
        let status = authorization.acl.status();
        ("policy", status.reloads, status.failures)
    });
    let gossip = context.parts.vitals.gossip_keys();
    let keys = gossip
        .as_ref()
        .map(|status| ("gossip_keys", status.reloads, status.failures));
    let reloads: Vec<_> = [certificates, policy, keys].into_iter().flatten().collect();
    let of_each = |count: fn(&(&str, u64, u64)) -> u64| {
        reloads
            .iter()
            .map(move |of| ([of.0.to_owned()], count(of)))
            .collect::<Vec<_>>()
    };
    text.each(&names::RELOADS, of_each(|(_, reloads, _)| *reloads));
    text.each(&names::RELOAD_FAILURES, of_each(|(_, _, failures)| *failures));
    if let Some(gossip) = &gossip {
        text.one(&names::GOSSIP_KEYS, gossip.keys);
    }
    if let Some(authorization) = acl {
        text.one(&names::ACL_RULES, authorization.acl.status().rules);
        text.one(&names::ACL_ENFORCED, !authorization.shadow);
    }
    let audit = context.audit.by_verdict();
    text.each(
        &names::AUDIT,
        audit.map(|(verdict, count)| ([verdict.to_owned()], count)),
    );
    text.one(&names::AUDIT_SUPPRESSED, context.audit.suppressed());
}
