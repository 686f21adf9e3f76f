//! How a cluster of tests begins.

use annals::{actors::replicator::faults::LinkFaults, node::NodeOptions};

use super::{Cluster, Port, Spot};
use crate::support::{
    load::Nodes,
    log_checker::Recorder,
    log_lines::LogLines,
    node::{Place, until},
};

impl Cluster {
    pub(crate) fn new(places: Vec<Place>, founders: usize, adjust: fn(&mut NodeOptions)) -> Self {
        let spots: Vec<_> = places
            .into_iter()
            .enumerate()
            .map(|(number, place)| Spot::new(number, place))
            .collect();
        let caller = spots.first().and_then(|spot| spot.place.credentials());
        let caller = caller.map(|credentials| credentials.client("load"));
        Self {
            faults: LinkFaults::new(),
            nodes: Nodes::called_as(caller),
            recorder: Recorder::new(),
            founders: spots
                .iter()
                .take(founders)
                .map(|spot| spot.name.clone())
                .collect(),
            spots,
            adjust,
        }
    }

    pub(crate) async fn founded(mut self) -> Self {
        self.begin_all().await;
        for number in 0..self.founders.len() {
            self.spots[number].running().until_ready().await;
        }
        self.until_led().await;
        self
    }

    /// Starts all founders, each of which knows those before it.
    pub(crate) async fn begin_all(&mut self) {
        for number in 0..self.founders.len() {
            self.begin(number, Port::Other).await;
            until("the node to gossip", async || {
                self.gossip_addresses().len() == number + 1
            })
            .await;
        }
    }

    /// Where those that run gossip.
    pub(super) fn gossip_addresses(&self) -> Vec<String> {
        let running = self.spots.iter().filter_map(|spot| spot.node.as_ref());
        let addresses = running.filter_map(|node| node.refs.gossip.as_ref()?.get());
        addresses.map(|address| address.to_string()).collect()
    }
}

impl Spot {
    fn new(number: usize, place: Place) -> Self {
        let name = format!("node-{number}");
        Self {
            place: place.among_others(&name),
            name,
            lines: LogLines::new(),
            id: None,
            node: None,
            rpc: None,
        }
    }
}
