//! Where a node is reached: the names and addresses that its certificate vouches for.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The most bytes of a DNS name (RFC 1035, without the root's dot).
const DNS_BYTES_MAX: usize = 253;
/// The most bytes between two dots of one.
const LABEL_BYTES_MAX: usize = 63;

/// A DNS name as a certificate has it: labels of letters, digits, `-` and `_`; the first may be `*`, which stands for one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text names no host that a certificate could be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It is an address, which TLS looks for elsewhere in a certificate.
    #[error("it is an address; give it with --ip")]
    Address,
    /// It is none of the names that DNS has.
    #[error(
        "write a DNS name such as node-0.example.com, or *.example.com for all directly below example.com"
    )]
    NotDns,
}

impl FromStr for DnsName {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text.parse::<IpAddr>().is_ok() {
            return Err(HostError::Address);
        }
        let is_label = |label: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(is_plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let below = text.strip_prefix("*.");
        // `*.com` would be too much to vouch for; and all digits at the end would be read as an address.
        let wide = below.is_some_and(|rest| !rest.contains('.'));
        let last = text.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = below.unwrap_or(text).split('.').all(is_label);
        if text.len() > DNS_BYTES_MAX || wide || numeric || !well_formed {
            return Err(HostError::NotDns);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Where a node is reached, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    dns: Vec<DnsName>,
    ips: Vec<IpAddr>,
}

impl Hosts {
    /// These, without what is there twice.
    #[must_use]
    pub fn new(dns: impl IntoIterator<Item = DnsName>, ips: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut hosts = Self::default();
        for name in dns {
            if !hosts.dns.contains(&name) {
                hosts.dns.push(name);
            }
        }
        for ip in ips {
            if !hosts.ips.contains(&ip) {
                hosts.ips.push(ip);
            }
        }
        hosts
    }

    /// These, and this machine as seen from itself: whoever works on it reaches the node without more.
    #[must_use]
    pub fn with_loopback(self) -> Self {
        let dns = self.dns.into_iter().chain([DnsName("localhost".to_owned())]);
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self::new(dns, self.ips.into_iter().chain(loopback))
    }

    /// The names.
    #[must_use]
    pub fn dns(&self) -> &[DnsName] {
        &self.dns
    }

    /// The addresses.
    #[must_use]
    pub fn ips(&self) -> &[IpAddr] {
        &self.ips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_are_told_from_what_is_none() {
        let label = "a".repeat(63);
        for name in ["localhost", "node-0.example.com", "*.example.com", "_x.a", &label] {
            assert!(name.parse::<DnsName>().is_ok(), "{name}");
        }
        assert_eq!(
            "Node-0.Example".parse::<DnsName>().unwrap().as_str(),
            "node-0.example"
        );
        let (label, long) = ("a".repeat(64), format!("{}com", "a.".repeat(126)));
        for name in [
            "", ".", "a.", ".a", "a..b", "*", "*.com", "a.*.com", "-a", "a-", "a b", "a/b", "a:1", "ä",
            "a\0", "1.2.3", &label, &long,
        ] {
            assert_eq!(name.parse::<DnsName>(), Err(HostError::NotDns), "{name}");
        }
        for address in ["10.0.0.1", "::1"] {
            assert_eq!(address.parse::<DnsName>(), Err(HostError::Address));
        }
    }

    #[test]
    fn loopback_is_there_once() {
        let hosts = Hosts::new(["localhost".parse().unwrap()], ["::1".parse().unwrap()]).with_loopback();
        assert_eq!(hosts.dns().len(), 1);
        assert_eq!(hosts.ips().len(), 2);
    }
}
