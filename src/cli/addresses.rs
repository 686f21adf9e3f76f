//! The addresses of `--addr`: nodes of one cluster, tried in turn.

use std::{fmt, str::FromStr};

use super::{connect::Address, credentials::Credentials};

/// One address at least, and which of them is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    all: Vec<Address>,
    at: usize,
    /// Where a node said that the leader is: tried once, before the next one of the list.
    hint: Option<Address>,
    /// How all of them are spoken to; `None`: without TLS.
    tls: Option<Credentials>,
}

impl FromStr for Addresses {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = text.split(',').map(|one| one.trim().parse());
        Ok(Self {
            all: all.collect::<Result<_, _>>()?,
            at: 0,
            hint: None,
            tls: None,
        })
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.all.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

impl Addresses {
    /// The same, all of them spoken to in that way.
    pub(super) fn secured(self, tls: Option<Credentials>) -> Self {
        let all = self.all.into_iter();
        Self {
            all: all.map(|address| address.secured(tls.clone())).collect(),
            hint: self.hint.map(|address| address.secured(tls.clone())),
            tls,
            ..self
        }
    }

    /// The one to try now.
    pub(super) fn current(&self) -> &Address {
        self.hint.as_ref().unwrap_or(&self.all[self.at])
    }

    /// From now on the next one.
    pub(super) fn turn(&mut self) {
        if self.hint.take().is_none() {
            self.at = (self.at + 1) % self.all.len();
        }
    }

    /// This one next, wherever it comes from; one that is no address is ignored.
    pub(super) fn prefer(&mut self, address: &str) {
        let address = address.parse::<Address>();
        self.hint = address.ok().map(|address| address.secured(self.tls.clone()));
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Addresses {
        text.parse().expect("they are addresses")
    }

    #[test]
    fn several_are_tried_in_turn() {
        let mut addresses = addresses("a:1, b,c:3");
        assert_eq!(addresses.to_string(), "a:1,b:8400,c:3");
        let tried: Vec<_> = (0..4)
            .map(|_| {
                let current = addresses.current().to_string();
                addresses.turn();
                current
            })
            .collect();
        assert_eq!(tried, ["a:1", "b:8400", "c:3", "a:1"]);
        assert!("a:1,,b:2".parse::<Addresses>().is_err());
    }

    #[test]
    fn a_hint_goes_first_and_once() {
        let mut addresses = addresses("a:1,b:2");
        addresses.prefer("leader:9");
        assert_eq!(addresses.current().to_string(), "leader:9");
        addresses.turn();
        assert_eq!(addresses.current().to_string(), "a:1");
        addresses.prefer("");
        assert_eq!(addresses.current().to_string(), "a:1");
    }
}
