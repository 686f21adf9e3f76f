//! Who a certificate says its holder is: a URI among its names, such as `annals://orders/node/node-0`.

use std::{fmt, str::FromStr};

use crate::types::is_name;

/// What the URI of an identity begins with.
const SCHEME: &str = "annals://";

/// The name of a cluster, a node or a client: 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit, so that
/// it can stand in a file name and in a URI without being quoted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

/// A text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write 1 to 63 letters, digits, `-`, `_` or `.`, the first a letter or digit")]
pub struct NameError;

/// Whose a certificate is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The certificate authority of a cluster: it signs the others.
    Authority,
    /// A node: it serves clients and peers, and calls peers.
    Node(Name),
    /// A client: it calls nodes, and may serve nobody.
    Client(Name),
}

impl Holder {
    /// What kind of holder it is, as the URI has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Authority => "ca",
            Self::Node(_) => "node",
            Self::Client(_) => "client",
        }
    }

    /// Its name; an authority has none but its cluster's.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Authority => None,
            Self::Node(name) | Self::Client(name) => Some(name),
        }
    }
}

/// Who somebody is: of which cluster, and who there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Which cluster's.
    pub cluster: Name,
    /// Who there.
    pub holder: Holder,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.cluster, self.holder.kind())?;
        self.holder.name().map_or(Ok(()), |name| write!(f, "/{name}"))
    }
}

impl Identity {
    /// Whether a URI claims to be an identity of this program, a right one or not.
    #[must_use]
    pub fn is_claimed_by(uri: &str) -> bool {
        uri.get(..SCHEME.len())
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// The identity that a URI is, if it is one: letter by letter, nothing quoted, nothing behind it.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix(SCHEME)?.split('/');
        let cluster = parts.next()?.parse().ok()?;
        let kind = parts.next()?;
        let name = parts.next().map(str::parse).transpose().ok()?;
        let holder = match (kind, name) {
            ("ca", None) => Holder::Authority,
            ("node", Some(name)) => Holder::Node(name),
            ("client", Some(name)) => Holder::Client(name),
            _ => return None,
        };
        parts.next().is_none().then_some(Self { cluster, holder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_it_is_written() {
        for uri in [
            "annals://orders/ca",
            "annals://orders/node/node-0",
            "annals://o.r_d-ers/client/7",
        ] {
            assert_eq!(Identity::from_uri(uri).unwrap().to_string(), uri);
        }
    }

    #[test]
    fn what_only_looks_like_an_identity_is_none() {
        for uri in [
            "",
            "annals://",
            "annals://orders",
            "annals://orders/",
            "annals://orders/node",
            "annals://orders/node/",
            "annals://orders/node/a/b",
            "annals://orders/node/a/",
            "annals://orders/ca/a",
            "annals://orders/peer/a",
            "annals://orders/Node/a",
            "Annals://orders/node/a",
            "annals://orders/node/%61",
            "annals://orders/node/a?b",
            "annals:///node/a",
            "annals://user@orders/node/a",
            "annals://orders/node/../client/a",
            "spiffe://orders/node/a",
            "annals://orders/node/a\0",
        ] {
            assert_eq!(Identity::from_uri(uri), None, "{uri}");
        }
    }

    #[test]
    fn names_are_narrow() {
        let long = "n".repeat(63);
        for name in ["a", "node-0", "N_1.example", long.as_str()] {
            assert!(name.parse::<Name>().is_ok(), "{name}");
        }
        let longer = "n".repeat(64);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "-a",
            ".a",
            "a b",
            "a\0",
            "a\n",
            "ä",
            longer.as_str(),
        ] {
            assert_eq!(name.parse::<Name>(), Err(NameError), "{name}");
        }
    }
}
