//! The connections that a server has taken, each with a task: no more come once it drains, and those that are open are let finish.

use std::io;

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::connection::Connection;

/// Has each connection that comes served by what `serve` makes for it, until `draining` is cancelled or no more can come, and then waits
/// for those that are open.
///
/// Cancel: nobody waits for them; they go on.
pub async fn each<F>(
    mut incoming: mpsc::Receiver<io::Result<Connection>>,
    draining: &CancellationToken,
    serve: impl Fn(Connection) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.cancelled() => break,
            accepted = incoming.recv() => accepted,
        };
        match accepted {
            Some(Ok(connection)) => drop(open.spawn(serve(connection))),
            // It was lost on its way here.
            Some(Err(_)) => {}
            None => break,
        }
    }
    // Who is still on the way here finds nobody.
    drop(incoming);
    open.close();
    open.wait().await;
}
