//! `annals::client` while three real processes are killed, stopped, frozen and cut off from each other: its users see pauses, and nothing
//! else.
//!
//! Part of `cargo test` for some seconds; `.ci/proof-client` has it run for minutes, and prints how long the pauses are.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../process/support/mod.rs"]
#[expect(dead_code, reason = "what other tests of processes need is there too")]
mod processes;

mod clients;
mod contents;
mod director;
mod doors;
mod faults;
mod nodes;
mod pauses;
mod pulse;

use std::time::Duration;

use director::Director;

/// For how long faults go on; without it, until the first two are over, which everybody who runs the tests can wait for.
const SECONDS_VARIABLE: &str = "PROOF_CLIENT_SECONDS";

/// Of a short run, so that a consumer leaves a node that is cut off within a second or two.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What decides about the faults; without it, chance does.
const SEED_VARIABLE: &str = "PROOF_CLIENT_SEED";

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_the_client_see_pauses_and_nothing_else_while_nodes_die_and_part() {
    let seed = number(SEED_VARIABLE).unwrap_or_else(rand::random);
    let seconds = number(SECONDS_VARIABLE);
    let look_every = seconds.is_none().then_some(LOOK_EVERY);
    println!("seed {seed}: {SEED_VARIABLE}={seed} has the same faults again");
    let mut director = Director::begin(seed, look_every).await;
    let how_long = Duration::from_secs(seconds.unwrap_or(0));
    director.play(how_long).await;
    director.finish().await;
}
