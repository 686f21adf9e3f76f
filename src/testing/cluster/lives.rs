//! Nodes of a cluster come and go.

use std::sync::Arc;

use super::{HeldPort, LogLines, Place, Port, Spot, TestCluster, TestNode, until};
use crate::{actors::supervision::Ending, testing::Certificates};

impl TestCluster {
    /// Starts a node again and waits until it serves, at another port than before; one that runs is asked to stop first.
    ///
    /// Panics: it does not serve, which takes a majority of the nodes.
    pub async fn restart(&mut self, number: usize) {
        if self.spots[number].node.is_some() {
            self.shut_down(number).await;
        }
        self.begin(number, Port::Other).await;
        self.until_ready(number).await;
    }

    /// Lets one more node come to the cluster, and answers its number. It serves, and votes a little later.
    ///
    /// Panics: it does not serve, which takes a majority of the nodes.
    pub async fn join(&mut self) -> usize {
        let number = self.spots.len();
        self.spots.push(Spot::new(number, Place::real()));
        self.begin(number, Port::Other).await;
        self.until_ready(number).await;
        number
    }

    /// Ends a node as a kill does: nobody is told, nothing is handed over or synced.
    ///
    /// Panics: it does not run, or does not end.
    pub async fn kill(&mut self, number: usize) {
        let node = self.taken(number);
        node.kill().await;
    }

    /// Asks a node to stop, as SIGTERM does, and waits until it has. One that leads hands over.
    ///
    /// Panics: it does not run, or does not end.
    pub async fn shut_down(&mut self, number: usize) -> Ending {
        let node = self.taken(number);
        node.shut_down().await
    }

    /// Waits until a node has ended by itself.
    ///
    /// Panics: it does not run, or goes on.
    pub async fn ended(&mut self, number: usize) -> Ending {
        let node = self.taken(number);
        node.ended().await
    }

    /// Starts a node that does not run, and waits until it listens, which may be before it knows who leads.
    ///
    /// Panics: it runs already, or ends instead, or there is no free port.
    pub async fn begin(&mut self, number: usize, port: Port) {
        let spot = &mut self.spots[number];
        assert!(spot.node.is_none(), "{} runs already", spot.name);
        let held = spot.port.take().filter(|_| port == Port::Same);
        let held = held.unwrap_or_else(|| HeldPort::any().expect("there is a free port"));
        let same = spot.rpc.filter(|_| port == Port::Same);
        let spot = &self.spots[number];
        let begins = TestNode::begin_with(&spot.place, spot.lines.clone(), |options| {
            self.set_up(options);
            options.net.rpc_address = same.unwrap_or_else(|| held.address());
            (self.adjust)(options);
        });
        let node = begins.await;
        let spot = &mut self.spots[number];
        (spot.id, spot.rpc) = (Some(node.id), Some(node.addresses.rpc));
        (spot.node, spot.port) = (Some(node), Some(held));
    }

    /// Starts all founders, each of which knows those before it, and waits until each listens.
    ///
    /// Panics: one of them runs already, or ends instead.
    pub async fn begin_all(&mut self) {
        for number in 0..self.founders.len() {
            self.begin(number, Port::Other).await;
            until("the node to gossip", async || {
                self.gossip_addresses().len() == number + 1
            })
            .await;
        }
    }

    /// Waits until a node that was begun serves; once.
    ///
    /// Panics: it does not run, or ends instead.
    pub async fn until_ready(&mut self, number: usize) {
        self.spots[number].running().until_ready().await;
    }

    /// Starts a node whose data lies elsewhere, and waits until it listens. It is none of those that are counted here.
    ///
    /// Panics: it ends instead.
    pub async fn begin_at(&self, place: &Place) -> TestNode {
        TestNode::begin_with(place, LogLines::new(), |options| {
            self.set_up(options);
            (self.adjust)(options);
        })
        .await
    }

    /// Puts an empty disk in the place of a node that does not run. What is cut stays with the node that it had been.
    ///
    /// Panics: it runs.
    pub fn wipe(&mut self, number: usize) {
        let spot = &mut self.spots[number];
        assert!(spot.node.is_none(), "{} runs", spot.name);
        spot.place = spot.place.emptied();
    }

    /// Gives a node that does not run a certificate from there.
    ///
    /// Panics: it runs.
    pub fn certify<C: Certificates + 'static>(&mut self, number: usize, certificates: &Arc<C>) {
        let spot = &mut self.spots[number];
        assert!(spot.node.is_none(), "{} runs", spot.name);
        spot.place.secure(certificates);
    }

    fn taken(&mut self, number: usize) -> TestNode {
        let spot = &mut self.spots[number];
        let name = &spot.name;
        spot.node.take().unwrap_or_else(|| panic!("{name} does not run"))
    }
}
