//! What the options of `[cluster]` come to.

use std::net::SocketAddr;

use super::{Auto, Config, NodeName};

/// Where gossip listens by default, once there is any.
const GOSSIP_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8401);

/// How a node that is new comes to its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Founding {
    /// It is a cluster by itself from its first start.
    Alone,
    /// Together with these nodes, of which it is one; the first of them founds the cluster.
    Together(Vec<NodeName>),
    /// It only joins a cluster that is there.
    JoinOnly,
}

impl Config {
    /// How this node comes to its cluster when it is new.
    #[must_use]
    pub fn founding(&self) -> Founding {
        let (cluster, own) = (&self.cluster, &self.node.name);
        match cluster.initial_members.as_slice() {
            [] if cluster.seeds.is_empty() => Founding::Alone,
            [only] if only == own && cluster.seeds.is_empty() => Founding::Alone,
            members if members.contains(own) => Founding::Together(members.to_vec()),
            _ => Founding::JoinOnly,
        }
    }

    /// Where this node gossips; `None` when it does not.
    #[must_use]
    pub fn gossip_listen(&self) -> Option<SocketAddr> {
        let cluster = &self.cluster;
        match self.listen.gossip {
            Auto::Set(address) => Some(address),
            Auto::Auto if cluster.initial_members.is_empty() && cluster.seeds.is_empty() => None,
            Auto::Auto => Some(GOSSIP_DEFAULT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;

    fn config(name: &str, members: &str, seeds: &str) -> Config {
        let mut config = Config::default();
        config.node.name = NodeName::from_text(name).unwrap();
        config.cluster.initial_members = Value::from_text(members).unwrap();
        config.cluster.seeds = Value::from_text(seeds).unwrap();
        config
    }

    #[test]
    fn a_node_that_nothing_was_said_to_is_alone_and_silent() {
        let alone = Config::default();
        assert_eq!((alone.founding(), alone.gossip_listen()), (Founding::Alone, None));
    }

    #[test]
    fn a_node_that_lists_itself_alone_founds_and_can_be_joined() {
        let first = config("node-0", "node-0", "");
        assert_eq!(first.founding(), Founding::Alone);
        assert_eq!(first.gossip_listen(), Some(GOSSIP_DEFAULT));
        let asked = Config {
            listen: crate::config::Listen {
                gossip: Auto::Set(GOSSIP_DEFAULT),
                ..Default::default()
            },
            ..Config::default()
        };
        assert_eq!(
            (asked.founding(), asked.gossip_listen()),
            (Founding::Alone, Some(GOSSIP_DEFAULT))
        );
    }

    #[test]
    fn nodes_of_a_list_found_together_and_others_only_join() {
        let of_list = config("node-1", "node-0,node-1", "a:1");
        let Founding::Together(members) = of_list.founding() else {
            panic!("{:?}", of_list.founding())
        };
        assert_eq!(members.len(), 2);
        for joining in [
            config("node-7", "node-0,node-1", "a:1"),
            config("node-0", "", "a:1"),
        ] {
            assert_eq!(joining.founding(), Founding::JoinOnly);
            assert_eq!(joining.gossip_listen(), Some(GOSSIP_DEFAULT));
        }
        // With a seed there may be a cluster that it belongs to already.
        let with_seed = config("node-0", "node-0", "a:1");
        assert!(matches!(with_seed.founding(), Founding::Together(_)));
    }
}
