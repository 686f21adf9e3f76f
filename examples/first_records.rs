//! First records: append some, and read them again.
//!
//! With `annals dev` in one terminal, in another one: `cargo run --example first_records`. Where the node is elsewhere, its address comes
//! behind it: `cargo run --example first_records -- 127.0.0.1:8400`.

use annals::client::{Client, Error, Record};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8400".to_owned());
    // One node is enough: the client hears of the others from it, and sends to whoever leads.
    let client = Client::builder().address(address).connect().await?;

    // Together: all or none, at consecutive offsets. They are on the disks of a majority when this is answered, and stored once,
    // whatever had to be tried again on the way.
    let offsets = client.append(["hello", "world"]).await?;
    println!("appended at {}..{}", offsets.start, offsets.end);

    // For many a producer is faster: it does not wait for one to send the next.
    let producer = client.producer().build();
    let mut tickets = Vec::new();
    for number in 1..=3 {
        tickets.push(
            producer
                .send(Record::new(format!("number {number}")).key("numbers"))
                .await?,
        );
    }
    // A ticket tells the record's offset, once it is durable.
    for ticket in tickets {
        println!("acknowledged at {}", ticket.await?);
    }

    // Reads go to any node. Without `follow` the consumer ends at what was the end of the log when it began.
    let mut consumer = client.consumer().from(offsets.start).build();
    while let Some(record) = consumer.next().await {
        let record = record?;
        println!("{}: {}", record.offset, String::from_utf8_lossy(record.value()));
    }
    Ok(())
}
