//! Every metric there is. `docs/operations.md` lists them, and a test holds the two together.
//!
//! Units are base units and stand at the end of a name. What may be many one day (logs, peers) has a label from the beginning.

use super::{Description, Kind, Metric};

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric<{ <[&str]>::len(&[$($label),*]) }> = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: [$($label),*],
                help: $help,
            };
        )*

        /// All of them, in the order in which they are written.
        pub const ALL: &[Description] = &[
            $(
                Description {
                    name: $name,
                    kind: Kind::$kind,
                    labels: &[$($label),*],
                    help: $help,
                },
            )*
        ];
    };
}

metrics! {
    BUILD_INFO = Gauge "annals_build_info" ["version"] "Always 1; which program this is.";
    NODE_INFO = Gauge "annals_node_info" ["node", "node_id", "cluster", "cluster_id"] "Always 1; which node this is, and of which cluster.";
    READY = Gauge "annals_ready" [] "1 while every check of /readyz holds.";
    CHECK_OK = Gauge "annals_check_ok" ["check"] "1 while that check of /readyz holds.";

    LOG_EARLIEST = Gauge "annals_log_earliest_offset" ["log"] "Lowest offset that can be read.";
    LOG_HIGH_WATERMARK = Gauge "annals_log_high_watermark_offset" ["log"] "First offset that is not committed; its rate is that of committed records.";
    LOG_TAIL = Gauge "annals_log_tail_offset" ["log"] "First offset that is not written on this node.";
    LOG_SEGMENTS = Gauge "annals_log_segments" ["log"] "Segments of the log on this node.";
    LOG_BYTES = Gauge "annals_log_bytes" ["log"] "Bytes of those segments that hold data.";
    DISK_FREE = Gauge "annals_disk_free_bytes" ["log"] "Bytes that may still be written on the disk of the log.";
    DISK_FLOOR = Gauge "annals_disk_floor_bytes" ["log"] "With fewer free bytes than this, appends are refused (log.free_bytes_min).";

    RAFT_TERM = Gauge "annals_raft_term" ["log"] "The current term; its rise is an election.";
    RAFT_IS_LEADER = Gauge "annals_raft_is_leader" ["log"] "1 on the node that leads.";
    RAFT_HAS_LEADER = Gauge "annals_raft_has_leader" ["log"] "1 while this node knows who leads.";
    RAFT_ROLE = Gauge "annals_raft_role" ["log", "role"] "1 for what this node is: leader, follower, learner or none.";
    RAFT_VOTERS = Gauge "annals_raft_voters" ["log"] "Members that vote.";
    RAFT_LEARNERS = Gauge "annals_raft_learners" ["log"] "Members that do not vote yet.";
    RAFT_CANDIDATES = Gauge "annals_raft_candidates" ["log"] "On the leader: nodes that ask to belong, and that there is no connection to.";
    RAFT_LAST = Gauge "annals_raft_last_log_index" ["log"] "Last entry of this node's log.";
    RAFT_COMMITTED = Gauge "annals_raft_committed_log_index" ["log"] "Last entry that this node knows to be committed.";
    RAFT_APPLIED = Gauge "annals_raft_applied_log_index" ["log"] "Last entry that this node has applied.";
    PEER_LAG = Gauge "annals_peer_lag_entries" ["log", "peer", "peer_id"] "On the leader: entries that the peer is not known to have on its disk.";
    PEER_CONNECTED = Gauge "annals_peer_connected" ["peer", "peer_id"] "1 while every connection to the peer is open.";
    PEER_SILENCE = Gauge "annals_peer_silence_seconds" ["peer", "peer_id"] "Time since the peer was last heard of.";
    PEER_FAILURES = Gauge "annals_peer_connect_failures" ["peer", "peer_id"] "Tries in a row that did not lead to a connection with the peer.";
    GOSSIP_PEERS = Gauge "annals_gossip_peers" ["presence"] "Other nodes that gossip knows: reachable, unreachable or left.";

    CONNECTIONS = Gauge "annals_connections" [] "Connections of clients that are open.";
    CONNECTIONS_MAX = Gauge "annals_connections_max" [] "As many there can be (limits.connections_max).";
    CONNECTIONS_REFUSED = Counter "annals_connections_refused_total" [] "Connections that were closed at once, because there were too many.";
    HANDSHAKES_REFUSED = Counter "annals_handshakes_refused_total" ["side"] "Clients and peers that were not let in at the entrance: no TLS, no good certificate, no time.";
    CONSUMERS = Gauge "annals_consumers" [] "Consuming streams that are open.";
    CONSUMERS_MAX = Gauge "annals_consumers_max" [] "As many there can be (limits.consumers_max).";
    ADMISSION_USED = Gauge "annals_admission_used_bytes" [] "Bytes of batches that wait for their commit.";
    ADMISSION_MAX = Gauge "annals_admission_max_bytes" [] "As many there can be (limits.admission_bytes); at that, producers wait or are refused.";

    CERTIFICATE_EXPIRES_IN = Gauge "annals_certificate_expires_in_seconds" ["holder", "subject", "fingerprint"] "Time until a certificate in force expires, the node's or an authority's; less than 0 when it has.";
    CERTIFICATE_NOT_AFTER = Gauge "annals_certificate_not_after_timestamp_seconds" ["holder", "subject", "fingerprint"] "When that is, since 1970.";
    TLS_CONNECTIONS = Gauge "annals_tls_connections" [] "Connections by TLS that are open, of clients and with peers.";
    RELOADS = Counter "annals_reloads_total" ["what"] "How often others came into force while the node ran: certificates, policy or gossip_keys.";
    RELOAD_FAILURES = Counter "annals_reload_failures_total" ["what"] "How often others did not, since they were wrong; the log says why.";
    GOSSIP_KEYS = Gauge "annals_gossip_keys" [] "Keys of gossip that are understood; 0 where it is not encrypted.";

    ACL_RULES = Gauge "annals_acl_rules" [] "Lines of the policy in force that grant or deny something.";
    ACL_ENFORCED = Gauge "annals_acl_enforced" [] "1 where what the policy does not allow is denied, 0 where it is only written down.";
    AUDIT = Counter "annals_audit_total" ["verdict"] "Calls in the audit trail: denied, would_be_denied, and allowed ones that administer.";
    AUDIT_SUPPRESSED = Counter "annals_audit_suppressed_total" [] "Denials among them that have no line of their own, since there were too many at a time.";

    PART_RUNNING = Gauge "annals_part_running" ["part"] "1 while that part of the node is at work.";
    PART_RESTARTS = Counter "annals_part_restarts_total" ["part"] "How often that part failed and was built again.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn is_name(text: &str) -> bool {
        let mut letters = text.chars();
        letters.next().is_some_and(|c| c.is_ascii_lowercase())
            && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    }

    #[test]
    fn names_are_as_prometheus_wants_them_and_no_two_are_the_same() {
        let mut names = BTreeSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("annals_") && is_name(name), "{name}");
            assert!(names.insert(name), "{name} is there twice");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(metric.labels.iter().all(|label| is_name(label)), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            assert!(
                !metric.help.contains(['\\', '\n']),
                "{name}: the help is not escaped"
            );
        }
    }
}
