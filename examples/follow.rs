//! Following: each record as it comes, and going on where one was, after a crash too.
//!
//! `cargo run --example follow -- 127.0.0.1:8400 /tmp/position`, with `annals dev` in another terminal, and `echo hello | annals produce` in a
//! third one. End it with Ctrl-C, produce more, and start it again. A number behind that ends it after so many records.

use std::{
    error::Error,
    fs::{self, File},
    io::Write,
    path::Path,
};

use annals::client::{Client, Position};

/// Where to go on: the offset behind the last record that was dealt with.
fn load(path: &Path) -> Result<Position, Box<dyn Error>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Position::Offset(text.trim().parse()?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Position::Earliest),
        Err(error) => Err(error.into()),
    }
}

/// Saves it as a whole: a crash in the middle leaves the old one.
fn save(path: &Path, next: u64) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    writeln!(file, "{next}")?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8400".to_owned());
    let position = args.next().unwrap_or_else(|| "position".to_owned());
    let count = args.next().map_or(Ok(0), |count| count.parse())?;
    let position = Path::new(&position);

    let client = Client::builder().address(address).connect().await?;
    let mut consumer = client
        .consumer()
        .from(load(position)?)
        .follow()
        // No limit where it is 0.
        .count(count)
        // A lost node is no end: the consumer goes on at another one, behind the last record that it gave.
        .on_interruption(|interruption| eprintln!("note: {interruption}"))
        .build();
    while let Some(record) = consumer.next().await {
        let record = record?;
        println!("{}: {}", record.offset, String::from_utf8_lossy(record.value()));
        // Behind the work: a record that was being dealt with in a crash is dealt with again, and none is left out. Who cannot have one
        // dealt with twice saves the offset together with what was done, in one transaction.
        save(position, record.offset.get() + 1)?;
    }
    Ok(())
}
