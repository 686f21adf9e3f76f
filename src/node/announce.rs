//! Tells when the last part is up: the node serves then.

use futures::{FutureExt, future::LocalBoxFuture};
use tokio::sync::watch;

use super::Addresses;
use crate::{
    actors::{
        gateway::GatewayChild,
        supervision::{Child, Lifeline, Part, StartError},
    },
    net::server::Launcher,
};

/// The gateway, announced each time it has started: it starts last, so all other parts run then.
#[derive(Debug)]
pub(super) struct AnnouncedGateway {
    pub(super) gateway: GatewayChild,
    pub(super) launcher: Launcher,
    pub(super) addresses: watch::Sender<Option<Addresses>>,
}

impl Child for AnnouncedGateway {
    fn part(&self) -> Part {
        self.gateway.part()
    }

    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>> {
        let (launcher, addresses) = (self.launcher.clone(), self.addresses.clone());
        let start = self.gateway.start(lifeline);
        FutureExt::boxed_local(async move {
            start.await?;
            let ports = launcher.ports();
            addresses.send_replace(
                ports
                    .rpc
                    .zip(ports.admin)
                    .map(|(rpc, admin)| Addresses { rpc, admin }),
            );
            Ok(())
        })
    }

    fn stop(&mut self) -> LocalBoxFuture<'static, ()> {
        self.gateway.stop()
    }

    fn ping(&self) {
        self.gateway.ping();
    }
}
