//! `grpc.health.v1.Health`: what load balancers ask.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::vitals::Readiness;

/// The services that have a health of their own. The empty name is the server as a whole.
const SERVICES: [&str; 5] = [
    "",
    "log.v1.Log",
    "annals.v1.LogService",
    "annals.v1.CursorService",
    "annals.v1.ClusterService",
];

fn status_of(readiness: &Readiness) -> ServingStatus {
    match readiness {
        Readiness::Ready => ServingStatus::Serving,
        Readiness::Starting
        | Readiness::NoCluster { .. }
        | Readiness::Removed { .. }
        | Readiness::NoLeader
        | Readiness::CatchingUp
        | Readiness::Failsafe { .. } => ServingStatus::NotServing,
    }
}

/// Reports `readiness` until the gateway drains; then says NOT_SERVING and ends the watchers' streams, which would
/// otherwise hold their connections open.
pub async fn follow(
    mut reporter: HealthReporter,
    mut readiness: watch::Receiver<Readiness>,
    draining: CancellationToken,
) {
    loop {
        let status = status_of(&readiness.borrow_and_update());
        report(&reporter, status).await;
        tokio::select! {
            () = draining.cancelled() => break,
            changed = readiness.changed() => if changed.is_err() {
                break;
            },
        }
    }
    report(&reporter, ServingStatus::NotServing).await;
    draining.cancelled().await;
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}

/// Sets the status of every service.
pub async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
