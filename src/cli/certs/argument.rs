//! Arguments of `annals certs`: nothing from outside becomes part of a path but a narrow name.

use std::{net::IpAddr, time::Duration};

use crate::{
    certs::{DnsName, HostError, Name, NameError},
    config::parse_duration,
};

use super::super::argument::ArgumentError;

/// The name that the files of the authority have.
pub(in crate::cli) const AUTHORITY: &str = "ca";

/// The least time that a certificate is worth making for.
const VALID_FOR_MIN: Duration = Duration::from_secs(60);
/// A hundred years: whoever wants one for ever has one for longer than anything it is used with.
const VALID_FOR_MAX: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// A text that is not the value its argument takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum CertsArgumentError {
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("the files of the certificate authority have that name; write another")]
    AuthoritysName,
    #[error("{0}")]
    Time(#[from] ArgumentError),
    #[error("write a time from 1m to 36500d")]
    Validity,
    #[error("write an IPv4 or IPv6 address, as in 10.0.0.10; names are given with --dns")]
    NoAddress,
    #[error("nobody connects to the address that stands for all; write the node's own")]
    Unspecified,
}

/// A host that a node is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Host {
    /// By a name.
    Dns(DnsName),
    /// At an address.
    Ip(IpAddr),
}

impl Host {
    /// The name, if it is one.
    pub(in crate::cli) fn dns(&self) -> Option<DnsName> {
        match self {
            Self::Dns(name) => Some(name.clone()),
            Self::Ip(_) => None,
        }
    }

    /// The address, if it is one.
    pub(in crate::cli) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Dns(_) => None,
            Self::Ip(ip) => Some(*ip),
        }
    }
}

/// A DNS name or an address.
pub(in crate::cli) fn parse_host(text: &str) -> Result<Host, CertsArgumentError> {
    if text.parse::<IpAddr>().is_ok() {
        return parse_ip(text).map(Host::Ip);
    }
    Ok(Host::Dns(text.parse()?))
}

/// The name of a node or a client, which its files are named for.
pub(in crate::cli) fn parse_holder(text: &str) -> Result<Name, CertsArgumentError> {
    let name: Name = text.parse()?;
    if text.eq_ignore_ascii_case(AUTHORITY) {
        return Err(CertsArgumentError::AuthoritysName);
    }
    Ok(name)
}

/// How long a certificate is valid.
pub(super) fn parse_validity(text: &str) -> Result<Duration, CertsArgumentError> {
    let time = parse_within(text)?;
    if (VALID_FOR_MIN..=VALID_FOR_MAX).contains(&time) {
        Ok(time)
    } else {
        Err(CertsArgumentError::Validity)
    }
}

/// How soon.
pub(super) fn parse_within(text: &str) -> Result<Duration, ArgumentError> {
    parse_duration(text).map_err(|error| ArgumentError::Unit { error })
}

/// Where a node is reached.
pub(super) fn parse_ip(text: &str) -> Result<IpAddr, CertsArgumentError> {
    let ip: IpAddr = text.parse().map_err(|_| CertsArgumentError::NoAddress)?;
    if ip.is_unspecified() {
        return Err(CertsArgumentError::Unspecified);
    }
    Ok(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_path_or_that_of_the_authority() {
        for name in ["../x", "/etc/x", "a/b", "", "..", "a\0b", "-a", ".hidden"] {
            assert_eq!(
                parse_holder(name),
                Err(CertsArgumentError::Name(NameError)),
                "{name}"
            );
        }
        for name in ["ca", "CA"] {
            assert_eq!(parse_holder(name), Err(CertsArgumentError::AuthoritysName));
        }
        assert_eq!(parse_holder("node-0").unwrap().as_str(), "node-0");
    }

    #[test]
    fn validities_have_bounds() {
        for wrong in ["0d", "59s", "36501d"] {
            assert_eq!(
                parse_validity(wrong),
                Err(CertsArgumentError::Validity),
                "{wrong}"
            );
        }
        for right in ["1m", "90d", "36500d"] {
            assert!(parse_validity(right).is_ok(), "{right}");
        }
        assert_eq!(parse_within("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let ip = parse_host("10.0.0.1").unwrap();
        assert!(ip.ip().is_some() && ip.dns().is_none());
        let name = parse_host("Log-0.example.com").unwrap();
        assert_eq!(name.dns().unwrap().as_str(), "log-0.example.com");
        assert_eq!(name.ip(), None);
        for wrong in ["", "a b", "10.0.0", "10.0.0.1:8400"] {
            assert_eq!(
                parse_host(wrong),
                Err(CertsArgumentError::Host(HostError::NotDns)),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_address_is_one_that_somebody_connects_to() {
        assert!(parse_ip("10.0.0.1").is_ok() && parse_ip("fd00::1").is_ok());
        assert_eq!(parse_ip("node-0"), Err(CertsArgumentError::NoAddress));
        for all in ["0.0.0.0", "::"] {
            assert_eq!(parse_ip(all), Err(CertsArgumentError::Unspecified));
            assert_eq!(parse_host(all), Err(CertsArgumentError::Unspecified));
        }
    }
}
