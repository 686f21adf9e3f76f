//! A connection that breaks at a chosen byte.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Where a connection breaks.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// After so many bytes from client to server.
    Up(usize),
    /// After so many bytes from server to client.
    Down(usize),
}

/// Passes connections on to a server; each of the first ones breaks as its cut says, the others do not.
pub struct Proxy {
    addr: SocketAddr,
    cuts: Arc<Mutex<VecDeque<Cut>>>,
}

impl Proxy {
    pub fn new(server: SocketAddr, cuts: impl IntoIterator<Item = Cut>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let cuts = Arc::new(Mutex::new(cuts.into_iter().collect::<VecDeque<_>>()));
        let left = cuts.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let cut = left.lock().expect("no panic").pop_front();
                let server = TcpStream::connect(server).expect("the server listens");
                pass(client.expect("a client"), server, cut);
            }
        });
        Self { addr, cuts }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections are still to be broken, apart from the present one.
    pub fn cuts_left(&self) -> usize {
        self.cuts.lock().expect("no panic").len()
    }
}

fn pass(client: TcpStream, server: TcpStream, cut: Option<Cut>) {
    let (up, down) = match cut {
        Some(Cut::Up(bytes)) => (bytes, usize::MAX),
        Some(Cut::Down(bytes)) => (usize::MAX, bytes),
        None => (usize::MAX, usize::MAX),
    };
    let again = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    let (client_again, server_again) = (again(&client), again(&server));
    thread::spawn(move || copy(client, server, up));
    thread::spawn(move || copy(server_again, client_again, down));
}

/// Copies up to `bytes`, then ends both directions.
fn copy(mut from: TcpStream, mut to: TcpStream, mut bytes: usize) {
    let mut buffer = [0; 16 << 10];
    while bytes > 0 {
        let wanted = buffer.len().min(bytes);
        match from.read(&mut buffer[..wanted]) {
            Ok(read) if read > 0 && to.write_all(&buffer[..read]).is_ok() => bytes -= read,
            _ => break,
        }
    }
    // Either may be closed already.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
