//! The running servers of one generation of the gateway: what is served, on which listeners, and how it ends.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::LocalBoxFuture;
use slog::{info, warn};
use tokio::{net::TcpListener, runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, HealthService},
};
use tower::ServiceBuilder;

use super::{
    admin,
    authorization::AuthorizationLayer,
    connection::Connection,
    connections::Connections,
    context::{Context, Parts},
    entrance::{Clients, Entrance, PeerSides, Side},
    health,
    http::{Http, conversation, fork::ForkLayer},
    http2,
    listener::{AdminDoor, BindError, Door, accept_loop, bind},
    peers,
    receive::{ReceiveBudget, ReceiveLayer},
    refusals::Refusals,
    services::{annals_v1::AnnalsV1, cluster_v1::ClusterV1, cursors_v1::CursorsV1, log_v1::LogV1},
};
use crate::actors::{
    gateway::{Launch, Servers},
    supervision::StartError,
};
use crate::proto::{
    DESCRIPTORS,
    raw::{
        annals::v1::{
            cluster_service_server::ClusterServiceServer, cursor_service_server::CursorServiceServer,
            log_service_server::LogServiceServer,
        },
        log::v1::log_server::LogServer,
    },
};

/// Connections that are accepted and wait for the server to take them: it takes them at once, so this is slack only.
const ACCEPTED_MAX: usize = 64;

/// The addresses that servers were bound to; where the next generation binds again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// Of clients.
    pub rpc: Option<SocketAddr>,
    /// Of operators.
    pub admin: Option<SocketAddr>,
}

/// Starts [`RunningServers`] for the gateway's actor.
#[derive(Clone, Debug)]
pub struct Launcher {
    runtime: Handle,
    parts: Parts,
    ports: Arc<Mutex<Ports>>,
}

impl Launcher {
    /// Servers on `runtime`, a multi-thread one, made of `parts`.
    #[must_use]
    pub fn new(runtime: Handle, parts: Parts) -> Self {
        Self {
            runtime,
            parts,
            ports: Arc::default(),
        }
    }

    /// Where the servers listen, once they have been started; shared by all clones.
    #[must_use]
    pub fn ports(&self) -> Ports {
        *self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Launch for Launcher {
    fn launch(&mut self) -> Result<Rc<dyn Servers>, StartError> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        match RunningServers::start(&self.runtime, &self.parts, &mut ports) {
            Ok(servers) => Ok(Rc::new(servers)),
            Err(error) => Err(StartError::new(error.disposition(), error)),
        }
    }
}

/// The servers, for whoever starts and ends them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunningServers {
    rpc: OwnedListener,
    admin: OwnedListener,
    addresses: (SocketAddr, SocketAddr),
    /// Asks clients to go, and turns away those who come.
    draining: CancellationToken,
    /// Set when the last client has gone.
    finished: CancellationToken,
    /// Ends the admin server.
    closing: CancellationToken,
    /// Ends the connections of peers, and shuts the door to them.
    parting: CancellationToken,
}

/// A listener that nobody else owns; taken when its address is given up.
#[derive(Clone, Debug)]
struct OwnedListener(Arc<Mutex<Option<Arc<TcpListener>>>>);

impl OwnedListener {
    fn new(listener: Arc<TcpListener>) -> Self {
        Self(Arc::new(Mutex::new(Some(listener))))
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl RunningServers {
    /// Binds and serves, on `runtime`. The addresses in `ports`, when there are some, go before those in the options;
    /// those bound are put there.
    ///
    /// Errors: when an address cannot be listened on.
    pub fn start(runtime: &Handle, parts: &Parts, ports: &mut Ports) -> Result<Self, BindError> {
        let _inside = runtime.enter();
        let options = &parts.options;
        let rpc = bind(ports.rpc.unwrap_or(options.rpc_address), "clients")?;
        let admin = bind(ports.admin.unwrap_or(options.admin_address), "administration")?;
        let rpc_address = address_of(&rpc, options.rpc_address)?;
        let admin_address = address_of(&admin, options.admin_address)?;
        *ports = Ports {
            rpc: Some(rpc_address),
            admin: Some(admin_address),
        };

        let draining = CancellationToken::new();
        let context = Arc::new(Context::new(parts.clone(), rpc_address, draining.clone()));
        let connections = Arc::new(Connections::new(
            options.connections_max,
            options.connections_per_address_max,
        ));
        let (rpc_door, admin_door) = (Door::new(&rpc, rpc_address), Door::new(&admin, admin_address));
        let servers = Self {
            addresses: (rpc_address, admin_address),
            draining,
            finished: CancellationToken::new(),
            closing: CancellationToken::new(),
            parting: CancellationToken::new(),
            rpc: OwnedListener::new(rpc),
            admin: OwnedListener::new(admin),
        };
        servers.spawn_rpc(runtime, &context, &connections, rpc_door);
        servers.spawn_admin(runtime, context, connections, admin_door);
        info!(parts.log, "listening"; "rpc" => %rpc_address, "admin" => %admin_address);
        Ok(servers)
    }

    /// Where clients connect.
    #[must_use]
    pub fn rpc_address(&self) -> SocketAddr {
        self.addresses.0
    }

    /// Where operators connect.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.addresses.1
    }

    fn spawn_rpc(
        &self,
        runtime: &Handle,
        context: &Arc<Context>,
        connections: &Arc<Connections>,
        door: Door,
    ) {
        let log = context.parts.log.clone();
        let last_of_peers = context.parts.peers.as_ref().map(|peers| peers.refusal.clone());
        let refused = Refusals::new(
            Arc::clone(&context.refusals),
            last_of_peers.unwrap_or_default(),
            log.clone(),
        );
        let (http2, incoming) = side(runtime);
        let (http1, incoming_http1) = side(runtime);
        let incoming = Incoming {
            http2: incoming,
            http1: incoming_http1,
        };
        runtime.spawn(serve(Arc::clone(context), incoming, self.finished.clone()));
        // One end for both.
        let http1 = Side {
            kill: http2.kill.clone(),
            ..http1
        };
        let clients = Clients { http2, http1 };
        let peers = context.parts.peers.clone().map(|serving| {
            let (calls, calls_incoming) = side(&serving.runtime);
            let (appends, appends_incoming) = side(&serving.runtime);
            let kill = calls.kill.clone();
            let appends = Side {
                kill: kill.clone(),
                ..appends
            };
            let incoming = peers::Incoming {
                calls: calls_incoming,
                appends: appends_incoming,
            };
            serving.runtime.clone().spawn(peers::serve(
                serving,
                Arc::clone(context),
                incoming,
                kill,
                log.clone(),
            ));
            PeerSides { calls, appends }
        });
        let (kill, kill_peers) = (
            clients.http2.kill.clone(),
            peers.as_ref().map(|peers| peers.calls.kill.clone()),
        );
        let draining = self.draining.clone();
        let entrance = Entrance::new(
            clients,
            Arc::clone(connections),
            peers,
            (context.parts.tls.clone(), refused),
            draining,
            log.clone(),
        );
        runtime.spawn(accept_loop(door, entrance, self.parting.clone(), log.clone()));

        let (draining, finished, parting) =
            (self.draining.clone(), self.finished.clone(), self.parting.clone());
        let drain_timeout = context.options.drain_timeout;
        runtime.spawn(async move {
            draining.cancelled().await;
            if tokio::time::timeout(drain_timeout, finished.cancelled())
                .await
                .is_err()
            {
                warn!(log, "closing connections that did not end in time"; "drain_timeout" => ?drain_timeout);
                kill.cancel();
            }
            // Peers last, since what clients wait for is committed with their help; and at once, since what they have open
            // here ends by their wish alone.
            parting.cancelled().await;
            if let Some(kill_peers) = kill_peers {
                kill_peers.cancel();
            }
        });
    }

    fn spawn_admin(
        &self,
        runtime: &Handle,
        context: Arc<Context>,
        connections: Arc<Connections>,
        door: Door,
    ) {
        let closing = self.closing.clone();
        let log = context.parts.log.clone();
        let options = context.options.clone();
        let router = admin::router(context, connections);
        runtime.spawn(admin::serve(router, AdminDoor::new(door, log), options, closing));
    }
}

impl Servers for RunningServers {
    /// Turns clients away, says NOT_SERVING, ends consumers that follow, answers what producers have sent, and waits for the
    /// calls in flight, up to `drain_timeout`; then closes what is left of clients', and the admin server.
    fn drain(&self) -> LocalBoxFuture<'static, ()> {
        let servers = self.clone();
        Box::pin(async move {
            servers.draining.cancel();
            servers.finished.cancelled().await;
            servers.closing.cancel();
            servers.admin.close();
        })
    }

    fn close(&self) {
        self.draining.cancel();
        self.closing.cancel();
        self.parting.cancel();
        self.rpc.close();
        self.admin.close();
    }
}

/// The side of the entrance of a server on `runtime`, and its other end.
fn side(runtime: &Handle) -> (Side, mpsc::Receiver<std::io::Result<Connection>>) {
    let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
    let kill = CancellationToken::new();
    let runtime = runtime.clone();
    (
        Side {
            accepted,
            kill,
            runtime,
        },
        incoming,
    )
}

fn address_of(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, BindError> {
    listener.local_addr().map_err(|source| BindError::Io {
        address: asked,
        purpose: "any",
        source,
    })
}

/// The connections of clients, as they come.
struct Incoming {
    http2: mpsc::Receiver<std::io::Result<Connection>>,
    http1: mpsc::Receiver<std::io::Result<Connection>>,
}

/// Serves until the context drains and every connection has ended.
async fn serve(context: Arc<Context>, incoming: Incoming, finished: CancellationToken) {
    // Whatever ends this task, who waits for it must hear of it.
    let _finished = finished.drop_guard();
    let reporter = HealthReporter::new();
    health::report(&reporter, ServingStatus::NotServing).await;
    tokio::spawn(health::follow(
        reporter.clone(),
        context.parts.readiness.clone(),
        context.draining.clone(),
    ));
    let routes = match routes(&context, reporter) {
        Ok(routes) => routes,
        Err(error) => {
            warn!(context.parts.log, "cannot serve reflection"; "error" => %error);
            return;
        }
    };
    let authorization = AuthorizationLayer::new(
        context.parts.authorization.as_ref(),
        &context.audit,
        &context.parts.log,
    );
    let budget = ReceiveBudget::new(&context.options);
    let http = Arc::new(Http::new(
        Arc::clone(&context),
        authorization.routes(),
        budget.clone(),
    ));
    let service = ServiceBuilder::new()
        .layer(ForkLayer::new(Arc::clone(&http)))
        // The first of all: nothing of a call that is denied is read. What the fork sends to the routes passes the same gate there.
        .layer(authorization)
        .layer(ReceiveLayer::new(budget))
        .service(routes.prepare());
    tokio::join!(
        http2::serve(
            service,
            &context.options,
            incoming.http2,
            context.draining.clone()
        ),
        conversation::serve(http, incoming.http1),
    );
}

/// Every service on the rpc port.
fn routes(
    context: &Arc<Context>,
    reporter: HealthReporter,
) -> Result<Routes, tonic_reflection::server::Error> {
    // Only what comes in is limited: what was stored under a larger limit stays readable when the limit is lowered. Responses
    // are kept small by `consume::portion`, but a single record goes out whole.
    let bytes_max = context.options.message_bytes_max;
    let small = LogServer::new(LogV1::new(Arc::clone(context)))
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(usize::MAX);
    let full = LogServiceServer::new(AnnalsV1::new(Arc::clone(context)))
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(usize::MAX);
    let cluster = ClusterServiceServer::new(ClusterV1::new(Arc::clone(context)));
    let cursors = CursorServiceServer::new(CursorsV1::new(Arc::clone(context)));
    let health = HealthService::from_health_reporter(reporter);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::new(small)
        .add_service(full)
        .add_service(cluster)
        .add_service(cursors)
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}
