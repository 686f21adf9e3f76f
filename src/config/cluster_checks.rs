//! What must hold between the options of a cluster: each node alone cannot know that others are configured otherwise, but it can
//! know that it would never find them, or they it.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    addresses::Auto,
    checks::{blame, exposed, same_address},
    error::Problem,
    gossip_keys,
    layers::{Layers, bare},
    options::{Config, Key, keys},
    words::NodeName,
};

/// Notes every contradiction in `layers`.
pub(super) fn check(config: &Config, layers: &mut Layers<'_>) {
    check_members(config, layers);
    check_voters(config, layers);
    check_addresses(config, layers);
    gossip_keys::check(config, layers);
    let Some(gossip) = config.gossip_listen() else {
        return;
    };
    check_gossip_listener(config, gossip, layers);
    let cluster = &config.cluster;
    if cluster.advertise_rpc == Auto::Auto {
        says_where(
            layers,
            (keys::listen::rpc, config.listen.rpc),
            keys::cluster::advertise_rpc,
        );
    }
    if cluster.advertise_gossip == Auto::Auto {
        says_where(
            layers,
            (keys::listen::gossip, gossip),
            keys::cluster::advertise_gossip,
        );
    }
}

/// Addresses to be connected to must be somebody's.
fn check_addresses(config: &Config, layers: &mut Layers<'_>) {
    let cluster = &config.cluster;
    let own = |key: Key| format!("set {key} to the address and port at which others reach this node");
    if let Auto::Set(address) = &cluster.advertise_rpc {
        let key = keys::cluster::advertise_rpc;
        is_somewhere(layers, (key, bare(address)), address.as_str(), || own(key));
    }
    if let Auto::Set(address) = &cluster.advertise_gossip {
        let key = keys::cluster::advertise_gossip;
        is_somewhere(layers, (key, bare(address)), &address.to_string(), || own(key));
    }
    let key = keys::cluster::seeds;
    for seed in &cluster.seeds {
        is_somewhere(layers, (key, bare(&cluster.seeds)), seed.as_str(), || {
            format!("in {key}, say the address and port at which that node gossips")
        });
    }
}

fn check_members(config: &Config, layers: &mut Layers<'_>) {
    let (members_key, seeds_key) = (keys::cluster::initial_members, keys::cluster::seeds);
    if layers.is_faulty(members_key) {
        return;
    }
    let members = &config.cluster.initial_members;
    let listed = (members_key, bare(members));
    let mut seen = BTreeSet::new();
    if let Some(twice) = members.iter().find(|name| !seen.insert(name.as_str())) {
        let problem = Problem::NamedTwice {
            key: members_key,
            name: twice.to_string(),
        };
        let help = || format!("every node has a name of its own; name {twice} once");
        blame(layers, &[listed], problem, help);
        return;
    }
    let is_other = |name: &&NodeName| **name != config.node.name;
    let (Some(other), true) = (members.iter().find(is_other), config.cluster.seeds.is_empty()) else {
        return;
    };
    if layers.is_faulty(seeds_key) || layers.is_faulty(keys::node::name) {
        return;
    }
    let problem = Problem::NoWay {
        key: members_key,
        name: other.to_string(),
        seeds: seeds_key,
    };
    let name = config.node.name.clone();
    blame(
        layers,
        &[
            listed,
            (keys::node::name, bare(&name)),
            (seeds_key, "empty".to_owned()),
        ],
        problem,
        || {
            format!(
                "give {seeds_key} the gossip address of another node at least, or make {members_key} [\"{name}\"] for a \
                 cluster of this node alone"
            )
        },
    );
}

fn check_voters(config: &Config, layers: &mut Layers<'_>) {
    let (key, voters) = (keys::cluster::voters_max, config.cluster.voters_max);
    if voters % 2 == 1 || layers.is_faulty(key) {
        return;
    }
    let problem = Problem::Even { key, value: voters };
    blame(layers, &[(key, bare(&voters))], problem, || {
        format!(
            "make it {}, which survives the loss of as many nodes",
            voters.saturating_sub(1)
        )
    });
}

fn check_gossip_listener(config: &Config, gossip: SocketAddr, layers: &mut Layers<'_>) {
    let (key, listen) = (keys::listen::gossip, &config.listen);
    let is_faulty = [keys::cluster::gossip_key, keys::cluster::gossip_key_file]
        .into_iter()
        .any(|key| layers.is_faulty(key));
    if !config.gossip_is_encrypted()
        && !is_faulty
        && !listen.insecure
        && !layers.is_faulty(keys::listen::insecure)
    {
        exposed(layers, key, gossip, Some(keys::cluster::gossip_key));
    }
    same_address(layers, (keys::listen::rpc, listen.rpc), (key, gossip));
    same_address(layers, (keys::listen::admin, listen.admin), (key, gossip));
}

/// Notes that others could not be told where this node is.
fn says_where(layers: &mut Layers<'_>, (listen_key, listen): (Key, SocketAddr), advertise_key: Key) {
    if !listen.ip().is_unspecified() || layers.is_faulty(listen_key) || layers.is_faulty(advertise_key) {
        return;
    }
    let problem = Problem::Nowhere {
        key: listen_key,
        address: listen.to_string(),
        advertise: advertise_key,
    };
    blame(
        layers,
        &[(listen_key, bare(&listen)), (advertise_key, "auto".to_owned())],
        problem,
        || format!("set {advertise_key} to the address at which others reach this node"),
    );
}

/// Notes that nobody can be reached at `address`: one that stands for every interface, or that has no port. A name is looked up when
/// it is used.
fn is_somewhere(
    layers: &mut Layers<'_>,
    (key, value): (Key, String),
    address: &str,
    help: impl FnOnce() -> String,
) {
    let Ok(parsed) = address.parse::<SocketAddr>() else {
        return;
    };
    let is_nowhere = parsed.ip().to_canonical().is_unspecified() || parsed.port() == 0;
    if !is_nowhere || layers.is_faulty(key) {
        return;
    }
    let address = address.to_owned();
    blame(layers, &[(key, value)], Problem::NoAddress { key, address }, help);
}
