//! Waiting for what a test depends on: for as long as it takes, but not for ever.

use std::{future::Future, time::Duration};

use tokio::time::{interval, timeout};

/// The end of all waiting: longer than anything takes in a test, on a machine that does much else.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// How often a condition is looked at that nobody tells the change of.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits for `answer`.
///
/// Panics: it does not come within [`DEADLINE`]; the message begins with `what`.
pub async fn in_time<F: Future>(what: &str, answer: F) -> F::Output {
    let in_time = timeout(DEADLINE, answer).await;
    in_time.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Waits until `holds`, which is asked again and again.
///
/// Panics: it does not hold within [`DEADLINE`]; the message begins with `what`.
pub async fn until<F>(what: &str, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let mut looks = interval(LOOK_EVERY);
    let held = async {
        loop {
            looks.tick().await;
            if holds().await {
                return;
            }
        }
    };
    in_time(what, held).await;
}
