//! The addresses of `--addr`: nodes of one cluster, tried in turn.

use std::{fmt, str::FromStr};

use crate::client::{Address, AddressError};

/// One address at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses(Vec<Address>);

impl FromStr for Addresses {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = text.split(',').map(|one| one.trim().parse());
        Ok(Self(all.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

impl Addresses {
    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Address> + '_ {
        self.0.iter().cloned()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_stand_in_one_text() {
        let addresses: Addresses = "a:1, b,c:3".parse().expect("they are addresses");
        assert_eq!(
            (addresses.to_string().as_str(), addresses.count()),
            ("a:1,b:8400,c:3", 3)
        );
        assert!("a:1,,b:2".parse::<Addresses>().is_err());
    }
}
