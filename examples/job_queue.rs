//! A job queue: workers share a named cursor, and one goes on where another fell silent.
//!
//! The cursor is kept in the log. Whoever takes it gets its place, and from then on only their commits count. So a worker that is
//! taken for dead, and is only slow, does no harm: its next commit is refused. Each job is done at least once; one that was done and
//! not committed is done again.
//!
//! `cargo run --example job_queue`, with `annals dev` in another terminal.

use annals::client::{Client, Error, HeldCursor, Offset, Reason};

/// Does the job that the cursor is at, if there is one, and answers where the next one is. What is done is not committed yet.
async fn work(who: &str, client: &Client, cursor: &HeldCursor) -> Result<Option<Offset>, Error> {
    let next = cursor.offset().unwrap_or(Offset(0));
    let page = client.read_from(next).count(1).await?;
    let Some(job) = page.records.first() else {
        return Ok(None);
    };
    println!("{who} does {}", String::from_utf8_lossy(job.value()));
    Ok(Some(page.next_offset))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8400".to_owned());
    let client = Client::builder().address(address).connect().await?;

    let jobs = client.append(["job 1", "job 2", "job 3", "job 4"]).await?;
    // A queue of this run's own. One that lasts has a name that lasts.
    let queue = client.cursor(format!("jobs-{}", jobs.start));
    let mut first = queue.take().await?;
    first.commit(jobs.start).await?;

    if let Some(next) = work("worker 1", &client, &first).await? {
        first.commit(next).await?;
    }
    // The second job is done, and then the worker falls silent before it says so.
    let unsaid = work("worker 1", &client, &first).await?;
    println!("worker 1 falls silent");

    // Whoever finds out, and however it does: to take the cursor is all there is to it.
    let mut second = queue.take().await?;
    println!("worker 2 takes over");
    while let Some(next) = work("worker 2", &client, &second).await? {
        second.commit(next).await?;
    }

    // Worker 1 is back, and believes that the queue is still its own.
    match first.commit(unsaid.unwrap_or(jobs.start)).await {
        Err(error) if error.reason() == Some(Reason::Fenced) => {
            println!("worker 1 hears that it is not its queue any more")
        }
        other => other?,
    }
    println!("all jobs are done: {}", queue.get().await?.behind() == Some(0));
    Ok(())
}
