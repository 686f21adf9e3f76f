//! Requests of any route, by HTTP/1.1, with nothing in them.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    raw::Outcome,
    support::{certs::Pair, http::Talk},
};

/// How somebody comes.
pub enum Comes {
    /// Without TLS.
    Plain,
    /// With it, and a certificate, if with any.
    Encrypted(Option<Pair>),
}

/// What becomes of a request for that route.
pub async fn ask(address: SocketAddr, comes: &Comes, believes: &str, route: &str) -> Outcome {
    match comes {
        Comes::Plain => ask_over(Talk::with(address).await, route).await,
        Comes::Encrypted(own) => {
            let talk = Talk::encrypted(address, own.as_ref(), believes, &["http/1.1"]).await;
            match talk {
                Ok(talk) => ask_over(talk, route).await,
                Err(_) => Outcome::NotConnected,
            }
        }
    }
}

async fn ask_over<S: AsyncRead + AsyncWrite + Unpin>(mut talk: Talk<S>, route: &str) -> Outcome {
    let (verb, path) = route.split_once(' ').unwrap();
    talk.ask(verb, path, "", "").await;
    let Ok(head) = talk.try_head().await else {
        return Outcome::NotConnected;
    };
    // Those without TLS are told so by the entrance, in words.
    let is_of_the_routes = head.header("content-type") != Some("text/plain");
    match head.status {
        _ if !is_of_the_routes => Outcome::NotConnected,
        403 => {
            let answer = talk.body_of(head).await;
            assert_eq!(answer.reason(), "ACL_DENIED", "{}", answer.text());
            Outcome::Denied
        }
        _ => Outcome::LetIn,
    }
}
