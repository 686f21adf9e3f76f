//! Who else is there: gossip, the table of peers that it makes, and who founds the cluster.
//!
//! Gossip suggests, Raft decides (G7): what is published here says whom to connect to and whom to make a learner, and
//! never who votes.

mod tags;

mod directory;

pub mod bootstrap;

mod options;

mod own;

mod messages;

mod known;

mod joining;

mod peers_file;

mod inbox;

mod ears;

mod ring;

mod header;

mod wire;

mod gossip;

mod report;

mod actor;

mod child;

pub use actor::MembershipActor;
pub use child::{GossipAddress, MembershipChild};
pub use directory::{Peer, PeerBoard, PeerDirectory, PeerTable, Presence};
pub use messages::{Forget, Leave, Members};
pub use options::{ClusterOptions, GossipTiming, MembershipSetup, NodeIdentity};
pub use own::OwnTags;
pub use ring::{GossipKeysStatus, GossipRing, NotEncrypted};
pub use tags::{Standing, TAGS_BYTES_MAX, Tags, TagsError};
