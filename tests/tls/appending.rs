//! Somebody who comes to append, by other code than the replicators'.

use std::{io, net::SocketAddr, sync::Arc};

use annals::{consensus::appends::parcel::Parcel, proto::peer};
use bytes::BytesMut;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Code, Status};

use crate::support::node::in_time;

/// What a peer says first that comes to append.
pub(crate) const APPENDER: &[u8] = &[2];

/// A connection for appends.
pub(crate) struct Appender {
    stream: TlsStream<TcpStream>,
    unread: BytesMut,
}

impl Appender {
    pub(crate) async fn connect(address: SocketAddr, config: ClientConfig) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(APPENDER).await?;
        let host = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(host, stream).await?;
        Ok(Self {
            stream,
            unread: BytesMut::new(),
        })
    }

    /// Greets, and begins a stream, which says whether that is let in; or the greeting is not.
    pub(crate) async fn asks_to_append(&mut self, hello: peer::AppendsHello) -> Result<(), Status> {
        self.say(&Parcel::Hello(hello)).await;
        match self.hear().await {
            Parcel::Welcome(_) => {}
            Parcel::Over { stream: 0, why } => return Err(status(why)),
            other => panic!("{other:?}"),
        }
        self.say(&Parcel::Begin { stream: 1 }).await;
        match self.hear().await {
            Parcel::Taken { stream: 1 } => Ok(()),
            Parcel::Over { stream: 1, why } => Err(status(why)),
            other => panic!("{other:?}"),
        }
    }

    /// A stream without a greeting: whether anything is answered.
    pub(crate) async fn is_heard_without_a_greeting(&mut self) -> bool {
        self.say(&Parcel::Begin { stream: 1 }).await;
        let mut heard = [0];
        in_time("an answer or the end", self.stream.read(&mut heard))
            .await
            .is_ok_and(|count| count > 0)
    }

    async fn say(&mut self, parcel: &Parcel) {
        let mut bytes = BytesMut::new();
        parcel.put(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn hear(&mut self) -> Parcel {
        loop {
            match Parcel::split(&mut self.unread, 1 << 20).unwrap() {
                Some(Parcel::Ping | Parcel::Pong) => {}
                Some(parcel) => return parcel,
                None => {
                    let read = in_time("a parcel", self.stream.read_buf(&mut self.unread)).await;
                    assert_ne!(read.unwrap(), 0, "the connection ended");
                }
            }
        }
    }
}

fn status(over: peer::StreamOver) -> Status {
    Status::new(Code::from_i32(over.code.try_into().unwrap()), over.message)
}
