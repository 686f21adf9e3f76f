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

/// Where to go on: the offset behind the last record that was dealt with. It is one of that cluster: in the log of another, as of an
/// `annals dev` that was started anew, other records have these offsets, or none has.
fn load(path: &Path, cluster: &str) -> Result<Position, Box<dyn Error>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Position::Earliest),
        Err(error) => return Err(error.into()),
    };
    match text.trim().split_once(' ') {
        Some((its_cluster, next)) if its_cluster == cluster => Ok(Position::Offset(next.parse()?)),
        _ => {
            let path = path.display();
            Err(
                format!("{path} has no position in the log of cluster {cluster}; to begin anew, delete it")
                    .into(),
            )
        }
    }
}

/// Saves it as a whole: a crash in the middle leaves the old one.
fn save(path: &Path, cluster: &str, next: u64) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    writeln!(file, "{cluster} {next}")?;
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
    let cluster = client.describe().await?.header.unwrap_or_default().cluster_id;
    let mut consumer = client
        .consumer()
        .from(load(position, &cluster)?)
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
        save(position, &cluster, record.offset.get() + 1)?;
    }
    Ok(())
}
