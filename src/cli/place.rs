//! Where the nodes of one machine listen: each on three ports, the next node's ten above.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Auto, Config, HostPort, NodeName};

/// Ports of two nodes are this far apart: as in config/cluster/.
const PORTS_APART: u16 = 10;
/// Gossip is so far above the rpc port, as by default.
const GOSSIP_DISTANCE: u16 = 1;
/// The probes are so far above the rpc port, as by default.
pub(super) const ADMIN_DISTANCE: u16 = 2;

/// The highest port of a first node that leaves room for those of so many.
pub(super) const fn port_max(nodes: u16) -> u16 {
    u16::MAX - (nodes - 1) * PORTS_APART - ADMIN_DISTANCE
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) rpc: SocketAddr,
    pub(super) gossip: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Place {
    /// Those of so many nodes; `port` is the rpc port of the first, at most [`port_max`].
    pub(super) fn several(ip: IpAddr, port: u16, nodes: u16) -> Vec<Self> {
        let at = |node: u16| port + node * PORTS_APART;
        (0..nodes).map(|node| Self::at(ip, at(node))).collect()
    }

    fn at(ip: IpAddr, port: u16) -> Self {
        Self {
            rpc: SocketAddr::new(ip, port),
            gossip: SocketAddr::new(ip, port + GOSSIP_DISTANCE),
            admin: SocketAddr::new(ip, port + ADMIN_DISTANCE),
        }
    }

    /// The configurations of nodes of these names at these places, which found one cluster; all else as in `base`, and the data of
    /// each in a directory of its name in that of `base`.
    pub(super) fn configs(places: &[Self], names: &[NodeName], base: &Config) -> Vec<Config> {
        let seeds: Vec<_> = places.iter().map(|place| HostPort::from(place.gossip)).collect();
        let config = |(name, place): (&NodeName, &Self)| {
            let mut config = base.clone();
            config.node.name = name.clone();
            config.node.data_dir = base.node.data_dir.join(name.as_str());
            config.listen.rpc = place.rpc;
            config.listen.gossip = Auto::Set(place.gossip);
            config.listen.admin = place.admin;
            config.cluster.initial_members = names.to_vec();
            config.cluster.seeds.clone_from(&seeds);
            config
        };
        names.iter().zip(places).map(config).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_port_leaves_room_for_all_nodes_and_not_for_more() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        for nodes in [1, 5, 9] {
            let places = Place::several(ip, port_max(nodes), nodes);
            assert_eq!(places.len(), usize::from(nodes));
            assert_eq!(places.last().map(|last| last.admin.port()), Some(u16::MAX));
        }
    }
}
