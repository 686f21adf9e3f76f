//! A last word to one who is not let in, and who would not understand TLS's.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// For how long it is waited that the other side hears it.
const WITHIN: Duration = Duration::from_secs(1);
/// The most that is read from it meanwhile.
const BYTES_MAX: u64 = 64 << 10;

/// Says `words`, and lets the connection go once the other side has heard them, or a second is over.
///
/// Cancel: safe; they may not have been said.
pub(super) async fn say(mut stream: TcpStream, words: &[u8]) {
    let farewell = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        // What arrives at a closed connection would take back what was sent on it.
        tokio::io::copy(&mut stream.take(BYTES_MAX), &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection is over.
    drop::<Result<io::Result<u64>, _>>(timeout(WITHIN, farewell).await);
}
