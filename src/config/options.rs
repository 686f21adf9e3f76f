//! Every option: its name, type, default, allowed range and reason. All else about them is derived from this table.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::types::GossipKey;

use super::{
    acl::{AclMode, ModelFile},
    addresses::{Auto, HostPort},
    layers::Layers,
    units::ByteSize,
    value::Value,
    words::{ClusterName, LogFormat, LogLevel, NodeName},
};

/// Name of an option: its section and its key in that section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table that it stands in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

/// Makes the structs, the list of keys, the reader and the writer from one table, so that they cannot disagree.
macro_rules! options {
    ($(
        $(#[$section_doc:meta])*
        $section:ident: $struct:ident {
            $( $(#[$doc:meta])* $name:ident: $type:ty = $default:expr $(, in $range:expr)?; )+
        }
    )+) => {
        /// The effective configuration of one node, checked and complete.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config {
            $( $(#[$section_doc])* pub $section: $struct, )+
        }

        $(
            $(#[$section_doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $struct {
                $( $(#[$doc])* pub $name: $type, )+
            }

            impl Default for $struct {
                fn default() -> Self {
                    Self { $( $name: $default, )+ }
                }
            }
        )+

        /// The name of each option, as `keys::log::segment_bytes`.
        #[expect(non_upper_case_globals, reason = "they are called what the options are called")]
        pub mod keys {
            $(
                $(#[$section_doc])*
                pub mod $section {
                    use crate::config::Key;
                    $(
                        $(#[$doc])*
                        pub const $name: Key = Key { section: stringify!($section), name: stringify!($name) };
                    )+
                }
            )+
        }

        impl Config {
            /// Every option there is, in the order of the files in `config/`.
            pub const KEYS: &'static [Key] = &[ $($( keys::$section::$name, )+)+ ];

            /// The value of each option, in the order of `KEYS`, as a TOML file would have it.
            #[must_use]
            pub fn values(&self) -> Vec<(Key, toml::Value)> {
                vec![$($(
                    (keys::$section::$name, self.$section.$name.to_toml()),
                )+)+]
            }

            pub(super) fn read(layers: &mut Layers<'_>) -> Self {
                Self {
                    $( $section: $struct {
                        $( $name: {
                            let key = keys::$section::$name;
                            let value = layers.take(key, $default);
                            $( layers.check_range(key, &value, &$range); )?
                            value
                        }, )+
                    }, )+
                }
            }
        }
    };
}

options! {
    /// Who this node is and where its data lives.
    node: Node {
        /// What people call this node. The name may change; the identity in the data directory may not.
        name: NodeName = NodeName::numbered(0);
        /// Where the log lives; a relative path starts at the working directory, so that a first try leaves its data
        /// where the person stands.
        data_dir: PathBuf = PathBuf::from("data");
    }

    /// Where this node listens.
    listen: Listen {
        /// For clients. The loopback interface, because a node without TLS trusts whoever reaches it.
        rpc: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8400));
        /// For probes and scrapers, over plain HTTP. The loopback interface, because it says much about the node.
        admin: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8402));
        /// For gossip between nodes, over TCP and UDP. Auto is 127.0.0.1:8401 on a node of a cluster, and nothing on one
        /// that is alone: what nobody asked for should not take a port, nor keep a node from starting where it is taken.
        gossip: Auto<SocketAddr> = Auto::Auto;
        /// Allows addresses that other machines can reach although nothing is encrypted and nobody is asked who they
        /// are. Off, so that this is never so by accident.
        insecure: bool = false;
    }

    /// Who this node is by its certificate, and whom it believes. Without all of it nothing is encrypted and nobody is asked who
    /// they are.
    tls: Tls {
        /// This node's certificate in PEM, of the URI annals://CLUSTER/node/NAME, and behind it those who vouch for it.
        certificate: Option<PathBuf> = None;
        /// Its private key, which nobody else should be able to read.
        key: Option<PathBuf> = None;
        /// The certificates of the authorities that are believed. What they sign is let in, as a client or as a node of the
        /// cluster that it is for, so they should sign nothing else.
        authorities: Option<PathBuf> = None;
        /// Lets clients in by the common name of a certificate that has no other name. Off, because common names were never
        /// meant to say who somebody is, and an authority may check them less.
        allow_common_name: bool = false;
    }

    /// Who may do what.
    acl: Acl {
        /// The policy: lines that say which subject may do what to what. Without one nobody may do anything, so a node that asks
        /// for certificates does not start without.
        policy: Option<PathBuf> = None;
        /// The model that the policy is read by. The built-in one knows roles, beginnings of names, and lines that deny.
        model: ModelFile = ModelFile::default();
        /// Whether the policy is kept to. Auto enforces it where `[tls]` says who somebody is, and asks nobody where it does not:
        /// there everybody would be anonymous.
        mode: AclMode = AclMode::Auto;
    }

    /// The cluster that this node belongs to.
    cluster: Cluster {
        /// What people call the cluster. Nodes of clusters of other names ignore each other.
        name: ClusterName = ClusterName::default();
        /// The names of the nodes that found the cluster; the first does it when it sees them all. Empty: without seeds
        /// this node is alone, with seeds it joins and never founds.
        initial_members: Vec<NodeName> = Vec::new();
        /// Gossip addresses of nodes to join; names are looked up at each try. A node finds those that it knew without.
        seeds: Vec<HostPort> = Vec::new();
        /// Voters at most, an odd number; what joins beyond them follows the log and does not vote. Five survive the loss
        /// of two, and each more makes every write wait for more disks.
        voters_max: u32 = 5, in 1..=9;
        /// Encrypts and authenticates gossip: 16, 24 or 32 bytes in base64, the same on all nodes.
        gossip_key: Option<GossipKey> = None;
        /// A file of such keys instead, one a line, the one in use first. It is read again when it changes, so that keys can be
        /// changed while nodes run.
        gossip_key_file: Option<PathBuf> = None;
        /// Where others reach this node's rpc. Auto is listen.rpc; another one is for nodes behind a name or a mapping.
        advertise_rpc: Auto<HostPort> = Auto::Auto;
        /// The same of listen.gossip; an IP address, since packets go there without a look-up.
        advertise_gossip: Auto<SocketAddr> = Auto::Auto;
    }

    /// The log on disk.
    log: Log {
        /// Size at which a segment is sealed and the next begun. Retention and repair work on whole segments: 64 MiB is
        /// read in a fraction of a second, and a terabyte is still only 16 thousand files. The index of a segment
        /// counts positions in 32 bits, which bounds it.
        segment_bytes: ByteSize = ByteSize::mib(64), in ByteSize::mib(1)..=ByteSize::gib(1);
        /// Age at which a segment is sealed even if it is not full, so that retention by age reaches quiet logs too.
        segment_age: Duration = Duration::from_secs(7 * DAY), in Duration::from_secs(1)..=Duration::from_secs(3650 * DAY);
        /// The largest batch taken. Memory and latency of everybody else grow with it; 1 MiB already fills the disk's
        /// bandwidth. 8 MiB keeps one batch in one gRPC message of common limits.
        batch_bytes_max: ByteSize = ByteSize::mib(1), in ByteSize::kib(1)..=ByteSize::mib(8);
        /// Newest records kept in memory for readers at the tail: seconds of a busy log, so that they cause no reads.
        tail_cache_bytes: ByteSize = ByteSize::mib(64), in ByteSize::kib(64)..=ByteSize::gib(64);
        /// Zeros written ahead of the log, each second, in the background: a sync that does not grow the file is
        /// cheaper. 8 MiB is several times what a lone writer in lockstep uses up, and little beside what a busy log writes. "0B" switches it off.
        prezero_rate: ByteSize = ByteSize::mib(8), in ByteSize::from_bytes(0)..=ByteSize::gib(4);
        /// Free space on the disk below which appends are refused while reads go on: four segments of the default
        /// size, which is room to work in while somebody makes room.
        free_bytes_min: ByteSize = ByteSize::mib(256), in ByteSize::from_bytes(0)..=ByteSize::gib(1024);
        /// Sealed segments whose files are open at a time. Half of the 1024 files that a process usually may open, so
        /// that connections keep the other half.
        open_files_max: u32 = 512, in 8..=1_000_000;
        /// Bytes above which the oldest sealed segments go. Unlimited, because data is never dropped unasked.
        retention_bytes: Option<ByteSize> = None;
        /// Age above which sealed segments go. Unlimited, because data is never dropped unasked.
        retention_age: Option<Duration> = None;
    }

    /// What clients may ask of this node, so that its memory stays bounded.
    limits: Limits {
        /// Bytes of batches taken in and not yet answered, of all clients together; above it a batch is refused as
        /// overloaded. Two seconds of a slow disk; more would only lengthen the queue.
        admission_bytes: ByteSize = ByteSize::mib(128), in ByteSize::kib(1)..=ByteSize::gib(64);
        /// The same of one producing stream, so that one client cannot take it all; enough to keep the disk busy.
        stream_inflight_bytes: ByteSize = ByteSize::mib(8), in ByteSize::kib(1)..=ByteSize::gib(4);
        /// Connections at a time; those above it are closed at once. Each costs a file and some tens of KiB.
        connections_max: u32 = 1024, in 1..=1_000_000;
        /// The same of one address, or one /64 of IPv6: a quarter, so that no machine can take every place. Raise it
        /// where all clients come by one proxy.
        connections_per_address_max: u32 = 256, in 1..=1_000_000;
        /// Consuming streams at a time, on the whole node; one more is refused. A client that does not read leaves
        /// what waits to be sent in memory: 100 to 390 KiB of each, by the window that it asks for.
        consumers_max: u32 = 512, in 1..=1_000_000;
        /// Time a request may take when its client sends no deadline. Long enough for a disk that stalls, short
        /// enough that a caller who waits for ever is not kept for ever.
        request_timeout: Duration = Duration::from_secs(30), in Duration::from_millis(100)..=Duration::from_secs(3600);
        /// Bytes read and sent to a consumer at a time: large reads are what make a disk fast, and each reader holds
        /// one of them in memory. Less at a stream's begin, and where more than 32 streams consume.
        consume_chunk_bytes: ByteSize = ByteSize::kib(256), in ByteSize::kib(4)..=ByteSize::mib(4);
        /// Silence on a connection after which the node asks whether the client is still there; below the minute or
        /// more after which common firewalls forget a connection.
        keepalive_interval: Duration = Duration::from_secs(30), in Duration::from_secs(1)..=Duration::from_secs(3600);
        /// How long the answer to that may take before the connection is closed.
        keepalive_timeout: Duration = Duration::from_secs(10), in Duration::from_millis(100)..=Duration::from_secs(600);
        /// How long requests in progress may go on after SIGTERM; well below the 30 s after which common supervisors
        /// kill.
        drain_timeout: Duration = Duration::from_secs(8), in Duration::from_millis(0)..=Duration::from_secs(600);
    }

    /// What this node says about itself.
    telemetry: Telemetry {
        /// The least important lines that are written. Info is a few lines an hour when all is well.
        log_level: LogLevel = LogLevel::Info;
        /// The form of the lines. Auto suits a person at a terminal and a collector behind a pipe.
        log_format: LogFormat = LogFormat::Auto;
    }
}

/// Seconds of a day.
const DAY: u64 = 24 * 3600;
