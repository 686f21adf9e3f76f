//! The admin listener: plain HTTP for those who run the node. Loopback by default, since it asks nobody who he is.

use std::{fmt::Write, sync::Arc};

use axum::{
    Json, Router,
    extract::{self, RawQuery, State},
    http::{HeaderName, Request, StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{body::Incoming, service::service_fn};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    Options,
    authorization::Authorization,
    cluster,
    connections::Connections,
    context::Context,
    hosts::{HostProblem, Hosts},
    http::conversation,
    listener::AdminDoor,
    metrics::{self, DiskLooks},
    vitals::{Check, Readiness},
};
use crate::{
    actors::{membership::GossipKeysStatus, supervision::PartStatus},
    certs::Certificate,
    clock,
    telemetry::metrics::Exposition,
    tls::NodeTls,
};

const ROUTES: &str = "/livez    200 while the process answers
/readyz   200 while reads and writes are served; /readyz?verbose names each check
/startupz 200 once the log has been opened
/status   the node, its log and its actors, as JSON
/metrics  the same in numbers, for Prometheus
";

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3600 * 1000;

#[derive(Clone, Debug)]
struct Admin {
    context: Arc<Context>,
    connections: Arc<Connections>,
    disk_looks: DiskLooks,
}

/// The routes.
pub fn router(context: Arc<Context>, connections: Arc<Connections>) -> Router {
    let options = &context.options;
    let hosts = Hosts::of(
        options.admin_address.ip(),
        false,
        options.rpc_address_advertised.as_deref(),
    );
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                format!("there is nothing here; there is\n{ROUTES}"),
            )
        })
        .with_state(Admin {
            context,
            connections,
            disk_looks: DiskLooks::new(),
        })
        .layer(from_fn_with_state(Arc::new(hosts), for_this_host))
}

/// Serves who comes by `door` until `closing`, within the bounds of clients of HTTP/1.1: whoever holds a place here without a word, or
/// with half a one, keeps a probe out, and a node whose probes are not answered is restarted.
pub async fn serve(router: Router, mut door: AdminDoor, options: Options, closing: CancellationToken) {
    loop {
        let connection = tokio::select! {
            connection = door.accept() => connection,
            () = closing.cancelled() => return,
        };
        let (router, options, closing) = (router.clone(), options.clone(), closing.clone());
        let service = service_fn(move |request: Request<Incoming>| Box::pin(router.clone().oneshot(request)));
        tokio::spawn(async move { conversation::answer(service, connection, &options, closing).await });
    }
}

/// Lets requests through that are for this node, and not for a name by which some page has led its reader's browser here.
async fn for_this_host(State(hosts): State<Arc<Hosts>>, request: extract::Request, next: Next) -> Response {
    match hosts.check(request.version(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let code = match problem {
                HostProblem::Other { .. } => StatusCode::MISDIRECTED_REQUEST,
                HostProblem::Missing | HostProblem::Several | HostProblem::Malformed { .. } => {
                    StatusCode::BAD_REQUEST
                }
            };
            (code, format!("{problem}\n")).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> ([(HeaderName, &'static str); 1], String) {
    let text = metrics::text(&admin.context, &admin.connections, &admin.disk_looks).await;
    ([(CONTENT_TYPE, Exposition::CONTENT_TYPE)], text)
}

async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let checks = checks(&admin.context);
    let verbose = query.is_some_and(|query| {
        query
            .split('&')
            .any(|name| name.split('=').next() == Some("verbose"))
    });
    let code = if checks.iter().all(|check| check.problem.is_none()) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, describe(&checks, verbose))
}

async fn startupz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    match &*admin.context.parts.readiness.borrow() {
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "the log is being opened\n"),
        // One that waits for others has started: to start it again would not help.
        Readiness::NoCluster { .. }
        | Readiness::Removed { .. }
        | Readiness::Ready
        | Readiness::NoLeader
        | Readiness::CatchingUp
        | Readiness::Failsafe { .. } => (StatusCode::OK, "ok\n"),
    }
}

async fn status(State(admin): State<Admin>) -> Json<Value> {
    let Admin {
        context, connections, ..
    } = admin;
    let parts = &context.parts;
    let leadership = parts.leadership.borrow().clone();
    let readiness = parts.readiness.borrow().clone();
    let failsafe = match &readiness {
        Readiness::Failsafe { cause } => Some(cause),
        Readiness::Starting
        | Readiness::NoCluster { .. }
        | Readiness::Removed { .. }
        | Readiness::NoLeader
        | Readiness::CatchingUp
        | Readiness::Ready => None,
    };
    let checks = checks(&context);
    // Ids use all 64 bits, of which JSON's numbers keep 53.
    Json(json!({
        "node": {
            "id": parts.identity.node_id.to_string(),
            "name": parts.identity.node_name,
            "cluster_id": context.cluster_id_text(),
            "rpc_address": context.rpc_address,
            "version": env!("CARGO_PKG_VERSION"),
        },
        "readiness": readiness_name(&readiness, &checks),
        "failsafe": failsafe,
        "leadership": {
            "term": leadership.term.get(),
            "leader": leadership.leader.map(|leader| leader.to_string()),
            "is_this_node": leadership.leader == Some(parts.identity.node_id),
        },
        "cluster": cluster::status(&context),
        "log": {
            "earliest": parts.read_path.view().earliest().get(),
            "high_watermark": parts.read_path.high_watermark().get(),
            "tail": parts.vitals.tail().get(),
        },
        "gateway": {
            "connections": connections.open(),
            "connections_refused": connections.refused(),
            "admission_bytes_free": context.admission.free_bytes(),
            "admission_bytes_max": context.admission.bytes_max(),
        },
        "tls": parts.tls.as_ref().map(tls),
        "acl": parts.authorization.as_ref().map(acl),
        "gossip": parts.vitals.gossip_keys().as_ref().map(gossip),
        "checks": checks.iter().map(|check| json!({
            "name": check.name,
            "problem": check.problem,
            "remark": check.remark,
        })).collect::<Vec<_>>(),
        "supervision": parts.vitals.supervision().await.iter().map(part).collect::<Vec<_>>(),
    }))
}

/// Who this node is by its certificate, whom it believes, and for how long.
fn tls(tls: &NodeTls) -> Value {
    let now = clock::wall();
    let certificate = |certificate: &Certificate| {
        json!({
            "subject": certificate.subject,
            "identity": certificate.identity.as_ref().map(ToString::to_string),
            "fingerprint": certificate.fingerprint().to_string(),
            "not_after_ms": certificate.not_after.0,
            "days_left": certificate.not_after.0.saturating_sub(now.0) / DAY_MS,
        })
    };
    let status = tls.status();
    json!({
        "certificate": certificate(&status.certificate),
        "authorities": status.authorities.iter().map(certificate).collect::<Vec<_>>(),
        "connections": status.connections,
        "reloads": status.reloads,
        "reload_failures": status.failures,
        "reload_problem": status.problem,
    })
}

/// How the policy is kept to, and how it stands.
fn acl(authorization: &Authorization) -> Value {
    let status = authorization.acl.status();
    json!({
        "mode": if authorization.shadow { "shadow" } else { "enforce" },
        "rules": status.rules,
        "reloads": status.reloads,
        "reload_failures": status.failures,
    })
}

/// How the keys of gossip stand: no keys, where it is not encrypted.
fn gossip(status: &GossipKeysStatus) -> Value {
    json!({
        "keys": status.keys,
        "reloads": status.reloads,
        "reload_failures": status.failures,
        "reload_problem": status.problem,
    })
}

/// The same word as `/readyz`: a node is ready when every check holds.
fn readiness_name(readiness: &Readiness, checks: &[Check]) -> &'static str {
    match readiness {
        Readiness::Starting => "starting",
        Readiness::NoCluster { .. } => "no cluster",
        Readiness::Removed { .. } => "removed",
        Readiness::NoLeader => "no leader",
        Readiness::CatchingUp => "catching up",
        Readiness::Ready if checks.iter().any(|check| check.problem.is_some()) => "not ready",
        Readiness::Ready => "ready",
        Readiness::Failsafe { .. } => "failsafe",
    }
}

/// What must hold for the node to be ready: the gateway's own checks, then the node's.
pub(super) fn checks(context: &Context) -> Vec<Check> {
    let readiness = context.parts.readiness.borrow().clone();
    let problem = readiness.problem();
    let (log, cluster, behind) = match readiness {
        Readiness::Removed { .. } | Readiness::NoCluster { .. } => (None, problem, None),
        Readiness::CatchingUp => (None, None, problem),
        Readiness::Ready | Readiness::NoLeader | Readiness::Starting | Readiness::Failsafe { .. } => {
            (problem, None, None)
        }
    };
    let leader = context.parts.leadership.borrow().leader;
    let no_leader = leader.is_none().then(|| "no leader is known".to_owned());
    let gateway = context
        .draining
        .is_cancelled()
        .then(|| "the gateway is draining".to_owned());
    let mut checks = vec![
        Check {
            name: "log",
            problem: log,
            remark: missing_segments(context),
        },
        Check {
            name: "cluster",
            problem: cluster,
            remark: None,
        },
        Check {
            name: "leader",
            problem: no_leader.or(behind),
            remark: None,
        },
        Check {
            name: "gateway",
            problem: gateway,
            remark: None,
        },
    ];
    checks.extend(context.parts.vitals.checks());
    checks
}

/// Records that were acknowledged and are not here. What is here is served all the same.
fn missing_segments(context: &Context) -> Option<String> {
    let below = context.parts.read_path.view().missing_below()?;
    Some(format!(
        "it is damaged at its beginning: the segments with the entries below {below} are missing, and were not trimmed"
    ))
}

/// One line for each check: all of them, or those that do not hold.
fn describe(checks: &[Check], verbose: bool) -> String {
    let mut text = String::new();
    for check in checks {
        let written = match (&check.problem, &check.remark) {
            (None, Some(remark)) if verbose => writeln!(text, "[+] {} ok, but {remark}", check.name),
            (None, None) if verbose => writeln!(text, "[+] {} ok", check.name),
            (None, _) => Ok(()),
            (Some(problem), _) => writeln!(text, "[-] {} failed: {problem}", check.name),
        };
        written.expect("writing to a string does not fail");
    }
    if text.is_empty() { "ok\n".to_owned() } else { text }
}

fn part(status: &PartStatus) -> Value {
    json!({
        "part": status.part.to_string(),
        "state": status.state.to_string(),
        "generation": status.generation,
        "restarts": status.restarts,
        "last_exit": status.last_exit.as_ref().map(ToString::to_string),
        "since_ms": status.since.0,
        "dependants": status.dependants.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
