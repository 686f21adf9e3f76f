//! Which host a request is for, and whether that is this node.
//!
//! A page can have its own name lead to 127.0.0.1 once it is in a browser (DNS rebinding). What it asks there is of its own origin then,
//! so that the browser says no `Origin`, and lets it read the answers. The name is what is left to know it by: where nothing is encrypted
//! and only this machine can connect, nobody has a reason to say another than those here. Where others can connect, who is to say by
//! which names they do? A certificate, where there is one, and a browser has none of a client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Uri, Version, header::HOST, uri::Authority};

use super::echo::beginning;

/// The hosts that a listener answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// All.
    Any,
    /// Addresses, whatever is on this machine by its name, and those names.
    Here(Vec<String>),
}

/// Why a request is not taken, for its host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostProblem {
    /// It does not say one (RFC 9112, 3.2).
    #[error(
        "the request does not say which host it is for: it needs a header host, once, such as \"host: localhost:8400\""
    )]
    Missing,
    /// It says more than one.
    #[error("the request has more than one header host; it needs one")]
    Several,
    /// It says something else.
    #[error(
        "the host {found:?} is none: it should be a name or an address, and perhaps a port, such as localhost:8400"
    )]
    Malformed {
        /// What it says.
        found: String,
    },
    /// This node is not that host.
    #[error(
        "this node does not answer as {host:?}: any page in a browser could lead a name of its own here, so without TLS, on loopback, \
         only addresses, localhost and the name in cluster.advertise_rpc are taken; ask by one of these, or set that one, or have the \
         proxy in between send \"host: localhost\""
    )]
    Other {
        /// The host.
        host: String,
    },
}

impl Hosts {
    /// Of a listener that is bound to `bound`, where others are told to connect to `advertised`.
    #[must_use]
    pub fn of(bound: IpAddr, is_encrypted: bool, advertised: Option<&str>) -> Self {
        if is_encrypted || !bound.to_canonical().is_loopback() {
            return Self::Any;
        }
        let advertised = advertised.and_then(|address| address.parse::<Authority>().ok());
        Self::Here(
            advertised
                .iter()
                .map(|authority| bare(authority.host()))
                .collect(),
        )
    }

    /// Checks a request before anything else of it is looked at.
    ///
    /// Errors: what is wrong with its host.
    pub fn check(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), HostProblem> {
        let Some(authority) = authority_of(version, uri, headers)? else {
            return Ok(());
        };
        match self {
            Self::Any => Ok(()),
            Self::Here(names) if is_here(&bare(authority.host()), names) => Ok(()),
            Self::Here(_) => Err(HostProblem::Other {
                host: beginning(authority.host()).to_owned(),
            }),
        }
    }
}

/// The host that a request is for; `None` where it need not say: nothing that speaks HTTP/1.0 is a browser.
fn authority_of(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, HostProblem> {
    let mut values = headers.get_all(HOST).iter();
    let value = match (values.next(), values.next()) {
        (_, Some(_)) => return Err(HostProblem::Several),
        (value, None) => value,
    };
    let said = value.map(|value| read(value.as_bytes())).transpose()?;
    match (said, uri.authority()) {
        // What the target says goes before it (RFC 9112, 3.2.2), but a request of HTTP/1.1 must have it all the same.
        (None, _) if version == Version::HTTP_11 => Err(HostProblem::Missing),
        (_, Some(target)) => read(target.as_str().as_bytes()).map(Some),
        (None, None) if version == Version::HTTP_2 => Err(HostProblem::Missing),
        (said, None) => Ok(said),
    }
}

fn read(text: &[u8]) -> Result<Authority, HostProblem> {
    let authority = Authority::try_from(text).ok();
    let is_plain = |authority: &Authority| {
        let (text, host) = (authority.as_str(), authority.host());
        // Neither a user's name, which is for programs that show addresses, nor a port that is none.
        let port = text.strip_prefix(host).and_then(|port| match port {
            "" | ":" => Some(0),
            port => port.strip_prefix(':')?.parse::<u16>().ok(),
        });
        !host.is_empty() && port.is_some()
    };
    authority.filter(is_plain).ok_or_else(|| HostProblem::Malformed {
        found: beginning(&String::from_utf8_lossy(text)).to_owned(),
    })
}

/// Without what does not matter: the same name can be written in capitals, and with a dot at its end.
fn bare(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

fn is_here(host: &str, names: &[String]) -> bool {
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = match in_brackets {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    };
    // No name server is asked for these (RFC 6761, 6.3).
    let is_local = host == "localhost" || host.ends_with(".localhost");
    is_address || is_local || names.iter().any(|name| name == host)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn here() -> Hosts {
        Hosts::of(LOOPBACK, false, Some("Node-0.Example:8400"))
    }

    fn checked(hosts: &Hosts, version: Version, target: &str, said: &[&[u8]]) -> Result<(), HostProblem> {
        let mut headers = HeaderMap::new();
        for host in said {
            headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        hosts.check(version, &target.parse().unwrap(), &headers)
    }

    fn said(hosts: &Hosts, host: &str) -> Result<(), HostProblem> {
        checked(hosts, Version::HTTP_11, "/", &[host.as_bytes()])
    }

    #[test]
    fn on_loopback_and_without_tls_no_name_is_taken_that_could_be_anybodys() {
        for host in [
            "127.0.0.1:8400",
            "10.0.0.1",
            "[::1]:8400",
            "[::ffff:127.0.0.1]",
            "localhost:8400",
            "LocalHost.",
            "localhost:",
            "annals.localhost",
            "node-0.example:1",
            "NODE-0.example.",
        ] {
            assert_eq!(said(&here(), host), Ok(()), "{host}");
        }
        for host in [
            "evil.example:8400",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "node-0",
            "1.2.3",
            "[::1].evil.example",
        ] {
            let refused = said(&here(), host);
            let is_refused = matches!(
                refused,
                Err(HostProblem::Other { .. } | HostProblem::Malformed { .. })
            );
            assert!(is_refused, "{host}: {refused:?}");
        }
    }

    #[test]
    fn where_others_can_connect_or_a_certificate_says_who_is_there_any_name_is_taken() {
        let others = [
            Hosts::of(LOOPBACK, true, None),
            Hosts::of(IpAddr::V4(Ipv4Addr::UNSPECIFIED), false, None),
            Hosts::of(IpAddr::V6(Ipv6Addr::UNSPECIFIED), false, None),
            Hosts::of("10.0.0.1".parse().unwrap(), false, None),
        ];
        for hosts in others {
            assert_eq!(said(&hosts, "evil.example"), Ok(()), "{hosts:?}");
            assert_eq!(
                checked(&hosts, Version::HTTP_11, "/", &[]),
                Err(HostProblem::Missing)
            );
        }
        for bound in ["127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            let hosts = Hosts::of(bound.parse().unwrap(), false, None);
            assert!(said(&hosts, "evil.example").is_err(), "{bound}");
        }
    }

    #[test]
    fn a_request_says_its_host_once_and_a_target_that_has_one_goes_before() {
        let one = |version, target, said: &[&[u8]]| checked(&here(), version, target, said);
        let other = |host: &str| {
            Err(HostProblem::Other {
                host: host.to_owned(),
            })
        };
        let local: &[u8] = b"localhost";
        let target = "http://evil.example/";
        assert_eq!(one(Version::HTTP_11, "/", &[]), Err(HostProblem::Missing));
        assert_eq!(
            one(Version::HTTP_11, "http://localhost/", &[]),
            Err(HostProblem::Missing)
        );
        assert_eq!(
            one(Version::HTTP_11, "/", &[local, local]),
            Err(HostProblem::Several)
        );
        assert_eq!(one(Version::HTTP_11, target, &[local]), other("evil.example"));
        assert_eq!(
            one(Version::HTTP_11, "http://localhost/", &[b"evil.example"]),
            Ok(())
        );
        assert_eq!(one(Version::HTTP_10, "/", &[]), Ok(()));
        assert_eq!(
            one(Version::HTTP_10, "/", &[b"evil.example"]),
            other("evil.example")
        );
        assert_eq!(one(Version::HTTP_2, "/", &[]), Err(HostProblem::Missing));
        assert_eq!(one(Version::HTTP_2, "/", &[local]), Ok(()));
        assert_eq!(one(Version::HTTP_2, target, &[]), other("evil.example"));
    }

    #[test]
    fn what_is_no_host_is_refused_and_said_back_in_short() {
        for host in [
            "",
            ":80",
            "user@localhost",
            "localhost:port",
            "localhost:99999",
            "a b",
            "a/b",
            "\u{e9}",
        ] {
            let refused = said(&here(), host);
            assert!(
                matches!(refused, Err(HostProblem::Malformed { .. })),
                "{host}: {refused:?}"
            );
        }
        let long = said(&here(), &"x".repeat(10_000)).unwrap_err().to_string();
        assert!(long.len() < 600, "{long}");
    }
}
