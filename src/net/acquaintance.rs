//! Whether a peer is the node whose id it claims (SEC-1): where there is TLS, its certificate has a name, and so has the id.
//!
//! What a member is called the membership in the log says, and of all others gossip: a node that was wiped comes back with a new
//! id under its old name, and a node that is behind is called by a leader that it has not read of yet. Who is known to neither may greet,
//! since a link may be opened before gossip has come, and nothing else.

use http::Request;
use tonic::body::Body;

use super::cluster::ClusterPort;
use crate::{
    certs::{Caller, Holder},
    types::NodeId,
};

/// What a caller is to this node, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Acquaintance {
    /// Neither the membership nor gossip knows its id.
    Stranger,
    /// It is no member as far as this node has read, and is called as gossip says: about to join, or removed, or new to this node.
    Known,
    /// It is a member.
    Member,
}

impl Acquaintance {
    /// What a caller must be for the method of that path; for one that is not there, the most.
    ///
    /// What a leader or a candidate does is answered to those who are known: the membership of a node that is behind does not have them.
    /// So is a stream of appends, which is no method (`appends.rs`), and the question how this node is, by which one that was removed learns that it was.
    pub(super) fn asked_by(path: &str) -> Self {
        match path.strip_prefix("/annals.v1.PeerService/") {
            Some("Greet") => Self::Stranger,
            Some("Append" | "Vote" | "TransferLeader" | "InstallSnapshot" | "Describe") => Self::Known,
            _ => Self::Member,
        }
    }

    /// What the node `from` is, as which somebody calls who has that certificate.
    ///
    /// Errors: the node is called otherwise than the certificate says.
    pub(super) fn of(caller: &Caller, from: NodeId, cluster: Option<&ClusterPort>) -> Result<Self, Impostor> {
        let by_log = cluster.and_then(|cluster| cluster.board.name_of(from));
        let known = by_log.map(|name| (Self::Member, name)).or_else(|| {
            let name = cluster.and_then(|cluster| cluster.directory.name_of(from));
            name.map(|name| (Self::Known, name))
        });
        let Some((acquaintance, name)) = known else {
            return Ok(Self::Stranger);
        };
        if is_certified(caller, &name) {
            return Ok(acquaintance);
        }
        Err(Impostor {
            from,
            name,
            subject: caller.subject().to_owned(),
        })
    }
}

fn is_certified(caller: &Caller, name: &str) -> bool {
    // Of which cluster it is, the handshake has looked at.
    let holder = caller.identity().map(|identity| &identity.holder);
    matches!(holder, Some(Holder::Node(certified)) if certified.as_str() == name)
}

/// Somebody calls as a node, and has the certificate of another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {from}, as which the caller poses, is called {name}, and the certificate is that of {subject}")]
pub(super) struct Impostor {
    from: NodeId,
    name: String,
    subject: String,
}

/// What the method asks of its caller: an extension of every request, since the gate behind sees no path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked(pub(super) Acquaintance);

/// Puts it there.
pub(super) fn with_asked(mut request: Request<Body>) -> Request<Body> {
    let asked = Asked(Acquaintance::asked_by(request.uri().path()));
    request.extensions_mut().insert(asked);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The methods that are in the book, in its order.
    fn methods() -> impl Iterator<Item = &'static str> {
        let book = include_str!("../../proto/annals/v1/peer.proto");
        let rest = book.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
        rest.filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
    }

    #[test]
    fn only_a_member_may_ask_for_what_is_in_the_log_and_a_stranger_only_greet() {
        let asking = |wanted: Acquaintance| {
            let asks =
                |name: &&str| Acquaintance::asked_by(&format!("/annals.v1.PeerService/{name}")) == wanted;
            methods().filter(asks).collect::<Vec<_>>()
        };
        assert_eq!(asking(Acquaintance::Stranger), ["Greet"]);
        assert_eq!(
            asking(Acquaintance::Member),
            [
                "ReadSegment",
                "ListSegments",
                "ReadEntries",
                "ReadIndex",
                "Propose",
                "ChangeCursor",
                "Leave"
            ]
        );
        for path in [
            "",
            "/annals.v1.PeerService/Other",
            "/log.v1.Log/Greet",
            "/annals.v1.PeerService/Greet/",
        ] {
            assert_eq!(Acquaintance::asked_by(path), Acquaintance::Member, "{path}");
        }
    }
}
