//! Numbers of JSON that keep all their 64 bits.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A whole number from 0 on, as a number or as text: many programs keep no more than 53 bits of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Numbers)
    }
}

struct Numbers;

impl Visitor<'_> for Numbers {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 to 18446744073709551615, or the same as text")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        let number = text.parse().map(Number);
        number.map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_64_bits_however_it_is_written() {
        for text in ["18446744073709551615", "\"18446744073709551615\""] {
            assert_eq!(serde_json::from_str::<Number>(text).unwrap(), Number(u64::MAX));
        }
        for text in [
            "-1",
            "1.5",
            "18446744073709551616",
            "\"\"",
            "\"x\"",
            "null",
            "1e3",
        ] {
            let error = serde_json::from_str::<Number>(text).unwrap_err();
            assert!(error.to_string().contains("a whole number"), "{text}: {error}");
        }
    }
}
