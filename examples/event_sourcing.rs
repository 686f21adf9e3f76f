//! Event sourcing: what happened is stored, and what is now follows from it.
//!
//! Two cashiers decide on what they know of an account, and the second one knows too little by then. `expected_offset` shows it: an event is
//! appended only where it was decided, right behind what the decision was made from. So no lock is held while somebody thinks, and
//! the account is never overdrawn.
//!
//! `cargo run --example event_sourcing`, with `annals dev` in another terminal; it opens an account of its own.

use annals::client::{Client, Error, Offset, Reason, Record, Stored};

/// The account, as the events up to an offset make it.
#[derive(Clone, Debug)]
struct Account {
    /// Its name: the key of its events, since others may have theirs in the log.
    name: String,
    balance: i64,
    /// The first offset that was not looked at: where the next event must land, if nothing is to come between.
    next: Offset,
}

impl Account {
    /// An account of which nothing is known.
    fn new(name: &str, from: Offset) -> Self {
        Self {
            name: name.to_owned(),
            balance: 0,
            next: from,
        }
    }

    /// What an event changes. Nothing is decided here: it has happened.
    fn apply(&mut self, event: &Stored) {
        self.next = (event.offset.get() + 1).into();
        if event.record.key == self.name.as_bytes() {
            let change: i64 = String::from_utf8_lossy(event.value()).parse().unwrap_or(0);
            self.balance += change;
        }
    }

    /// Brings it up to date.
    async fn catch_up(&mut self, client: &Client) -> Result<(), Error> {
        let mut events = client.consumer().from(self.next).build();
        while let Some(event) = events.next().await {
            self.apply(&event?);
        }
        Ok(())
    }
}

/// Takes money out, if there is enough; whether there was.
async fn withdraw(client: &Client, who: &str, account: &mut Account, amount: i64) -> Result<bool, Error> {
    loop {
        if account.balance < amount {
            println!("{who}: {amount} is more than {}", account.balance);
            return Ok(false);
        }
        let event = Record::new(format!("-{amount}")).key(account.name.clone());
        match client.append([event]).expected_offset(account.next).await {
            Ok(_) => {
                account.catch_up(client).await?;
                println!("{who}: took {amount}, {} is left", account.balance);
                return Ok(true);
            }
            // Somebody was faster. What is right now, only what happened since can tell.
            Err(error) if error.reason() == Some(Reason::ConditionFailed) => {
                println!("{who}: something happened meanwhile");
                account.catch_up(client).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8400".to_owned());
    let client = Client::builder().address(address).connect().await?;

    // The first event of the account, whose offset makes a name that no other account has.
    let opened = client.append(["account opened"]).await?;
    let name = format!("account-{}", opened.start);
    client.append([Record::new("100").key(name.clone())]).await?;

    // Both know of the same 100.
    let mut first = Account::new(&name, opened.start);
    first.catch_up(&client).await?;
    let mut second = first.clone();

    withdraw(&client, "first cashier", &mut first, 80).await?;
    withdraw(&client, "second cashier", &mut second, 80).await?;
    withdraw(&client, "second cashier", &mut second, 20).await?;

    // Whoever comes later has it from the events alone.
    let mut audited = Account::new(&name, opened.start);
    audited.catch_up(&client).await?;
    println!("by the events: {}", audited.balance);
    Ok(())
}
