//! What is at an address where no node was found that takes clients: asked only once a verb has failed there, for whoever gave a wrong
//! port.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use serde::Deserialize;

use crate::{client, clock};

use super::error::CliError;

/// Whoever answers at all does so much sooner, and whoever reads the error has waited already.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// The status of a node is far smaller.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Something that is no node, or not its port for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} {what}")]
pub struct Stranger {
    address: String,
    what: String,
    /// What to do instead.
    pub(super) hint: String,
}

/// What is to be told in the place of an error, where something else than a node is at one of the addresses.
///
/// Blocking: asks there, for half a second each.
pub(super) fn explained(error: CliError, addresses: &[String]) -> CliError {
    let found = doubt(&error).and_then(|doubt| addresses.iter().find_map(|address| look(address, doubt)));
    found.unwrap_or(error)
}

/// How an error lets the address look wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// The other side closed the connection.
    Closed,
    /// In some other way.
    Other,
}

/// Whether a wrong address could be behind it.
fn doubt(error: &CliError) -> Option<Doubt> {
    let CliError::Client(error) = error else {
        return None;
    };
    match error.kind() {
        client::ErrorKind::Lost { .. } => Some(Doubt::Closed),
        client::ErrorKind::CannotConnect { .. }
        | client::ErrorKind::NoNode { .. }
        | client::ErrorKind::NoAnswer { .. }
        | client::ErrorKind::Protocol(_)
        | client::ErrorKind::Stranger { .. }
        | client::ErrorKind::Tls { .. } => Some(Doubt::Other),
        // Every node says why.
        client::ErrorKind::Refused(refusal) if refusal.reason.is_empty() => Some(Doubt::Other),
        _ => None,
    }
}

/// What is to be told of what is there; `None`: a node is, nothing, or nobody knows what.
fn look(address: &str, doubt: Doubt) -> Option<CliError> {
    let answer = ask(address)?;
    // Of a call that came while the node closed the connection nothing more is left than that.
    if doubt == Doubt::Closed && memchr::memmem::find(&answer, WANTS_TLS).is_some() {
        return Some(client::Error::new(client::ErrorKind::WantsTls).into());
    }
    let (what, hint) = judge(&answer, doubt)?;
    Some(CliError::Stranger(Stranger {
        address: address.to_owned(),
        what,
        hint,
    }))
}

/// What a node says that wants TLS.
const WANTS_TLS: &[u8] = b"this node wants TLS";

/// What is answered to a question that the admin listener of a node understands, up to where it ends or takes too long; `None`: nobody is
/// there.
fn ask(address: &str) -> Option<Vec<u8>> {
    let deadline = clock::now() + ANSWERS_WITHIN;
    let left = || Some(deadline.saturating_duration_since(clock::now())).filter(|left| !left.is_zero());
    let mut socket = address
        .to_socket_addrs()
        .ok()?
        .find_map(|place| TcpStream::connect_timeout(&place, left()?).ok())?;
    socket.set_write_timeout(left()).ok()?;
    let question = format!("GET /status HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(question.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    while let Some(left) = left().filter(|_| answer.len() < ANSWER_BYTES_MAX) {
        socket.set_read_timeout(Some(left)).ok()?;
        match socket.read(&mut some) {
            Ok(read) if read > 0 => answer.extend_from_slice(&some[..read]),
            // Who greets, as by SSH, says no more until it is answered.
            Ok(_) | Err(_) => break,
        }
    }
    Some(answer)
}

/// What answers so, and what to do; `None`: a node that takes clients does, or nobody knows who.
fn judge(answer: &[u8], doubt: Doubt) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(answer);
    if answer.is_empty() {
        // A node that hangs closes nothing.
        return (doubt == Doubt::Closed).then(|| {
            let what = "closes connections without a word, as the port of gossip does (listen.gossip), and a node that has too many of them";
            let hint = "is it the port for clients, listen.rpc of the node's configuration? its log tells whom it turns away";
            (what.to_owned(), hint.to_owned())
        });
    }
    if text.starts_with("HTTP/1.") {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        return of_http(head, body);
    }
    if matches!(answer, [0x15 | 0x16, 3, ..]) {
        return Some((
            format!("{NO_PORT}: it speaks TLS, and is no node"),
            GIVE_RPC.to_owned(),
        ));
    }
    let greeting = text.lines().next().unwrap_or_default().trim();
    let is_text = greeting
        .chars()
        .all(|c| !c.is_control() && c != char::REPLACEMENT_CHARACTER);
    let shown: String = greeting.chars().take(60).collect();
    (is_text && !shown.is_empty()).then(|| (format!("{NO_PORT}: it says {shown:?}"), GIVE_RPC.to_owned()))
}

const NO_PORT: &str = "is no port for clients of a node";
const GIVE_RPC: &str = "give --addr the port for clients, listen.rpc of a node's configuration";

fn of_http(head: &str, body: &str) -> Option<(String, String)> {
    // A node says that there is no such route, or that it wants TLS.
    if body.contains("NO_SUCH_ROUTE") || memchr::memmem::find(body.as_bytes(), WANTS_TLS).is_some() {
        return None;
    }
    if let Some(node) = json_of(body)
        .and_then(|json| serde_json::from_str::<Status>(json).ok())
        .map(|status| status.node)
    {
        let what = format!(
            "{NO_PORT}: it is the admin listener of node {}, for probes (listen.admin)",
            node.name
        );
        return Some((
            what,
            format!("give --addr {}, where that node takes clients", node.rpc_address),
        ));
    }
    let server = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("server")
            .then(|| format!(" ({})", value.trim()))
    });
    let what = format!(
        "{NO_PORT}: it is a server of HTTP{}, and no node",
        server.unwrap_or_default()
    );
    Some((what, GIVE_RPC.to_owned()))
}

/// The object in a body, whether that came in chunks or not.
fn json_of(body: &str) -> Option<&str> {
    body.get(body.find('{')?..=body.rfind('}')?)
}

/// What the admin listener says of its node.
#[derive(Deserialize)]
struct Status {
    node: Node,
}

#[derive(Deserialize)]
struct Node {
    name: String,
    rpc_address: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_is_known_by_its_answer_and_a_node_is_left_alone() {
        let admin = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n\
            {\"node\":{\"id\":\"7\",\"name\":\"node-0\",\"rpc_address\":\"127.0.0.1:8400\"},\"failsafe\":null}";
        type Case<'a> = (&'a [u8], Option<(&'a str, &'a str)>);
        let table: [Case<'_>; 9] = [
            (
                admin.as_bytes(),
                Some(("admin listener of node node-0", "--addr 127.0.0.1:8400")),
            ),
            (
                b"HTTP/1.1 404 Not Found\r\nServer: nginx/1.25\r\n\r\n<html>",
                Some(("HTTP (nginx/1.25)", "listen.rpc")),
            ),
            (
                b"HTTP/1.0 200 OK\r\n\r\n{\"node\":7}",
                Some(("a server of HTTP, and no node", "listen.rpc")),
            ),
            (
                b"HTTP/1.1 404 Not Found\r\n\r\n{\"error\":{\"reason\":\"NO_SUCH_ROUTE\"}}",
                None,
            ),
            (
                b"HTTP/1.1 400 Bad Request\r\n\r\nthis node wants TLS: use https",
                None,
            ),
            (b"\x15\x03\x01\0\x02\x02\x46", Some(("speaks TLS", "listen.rpc"))),
            (
                b"SSH-2.0-OpenSSH_9.6\r\n",
                Some(("\"SSH-2.0-OpenSSH_9.6\"", "listen.rpc")),
            ),
            (b"", Some(("as the port of gossip does", "listen.rpc"))),
            (b"\0\0\x12\x04\0\0", None),
        ];
        for (answer, wanted) in table {
            let judged = judge(answer, Doubt::Closed);
            let fits = match (&judged, wanted) {
                (None, None) => true,
                (Some((what, hint)), Some((in_what, in_hint))) => {
                    what.contains(in_what) && hint.contains(in_hint)
                }
                _ => false,
            };
            assert!(fits, "{:?}: {judged:?}", String::from_utf8_lossy(answer));
        }
        assert_eq!(judge(b"", Doubt::Other), None, "it may be a node that hangs");
    }
}
