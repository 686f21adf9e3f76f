//! A port that stays a node's own while the node is away.

use std::{io, net::SocketAddr};

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that the system gives to nobody who asks for any, for as long as this lives. Whoever asks for this one may listen
/// there, again and again; in between, connections are refused as at a port that nobody has.
///
/// Without it, who comes back to its port after a while may find somebody else there: a test beside it, as like as not.
#[derive(Debug)]
pub(super) struct HeldPort {
    /// Bound, and never made to listen.
    _socket: TcpSocket,
    address: SocketAddr,
}

impl HeldPort {
    /// One that is free.
    ///
    /// Errors: there is none, or there are too many open files.
    pub(super) fn any() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // As every listener has it: without it on either side, the port would be taken for the node too.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        Ok(Self {
            _socket: socket,
            address,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn whoever_asks_for_it_listens_there_again_and_again_and_nobody_is_there_between() {
        let held = HeldPort::any().unwrap();
        for _ in 0..2 {
            let refused = TcpStream::connect(held.address()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(held.address()).unwrap();
            let (_client, _server) = (
                TcpStream::connect(held.address()).unwrap(),
                listener.accept().unwrap(),
            );
        }
    }

    /// The story: a node was to come back where it had been, and a test beside it listened there.
    #[test]
    fn whoever_asks_for_any_port_gets_another() {
        let held = HeldPort::any().unwrap();
        // Bound as it is, but by somebody who would not share it: where one is possible the other is not.
        let taken = TcpSocket::new_v4().unwrap().bind(held.address()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
