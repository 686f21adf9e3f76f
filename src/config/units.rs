//! Sizes and lengths of time as people write them: a whole number and its unit, as in `64MiB` and `5s`.

use std::{fmt, str::FromStr, time::Duration};

/// Units of size, smallest first; between two of the same worth Display takes the earlier one.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Units of time, in milliseconds: the log's timestamps are no finer.
const TIMES: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 24 * 3_600_000),
];

/// A number of bytes. Written with a unit (`64MiB`, `1KB`); what `Display` prints reads back as the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1024 bytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many times 1024 KiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many times 1024 MiB.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; the largest one on a machine that cannot count so far.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write_with_unit(self.0, SIZES))
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        read_with_unit(text, SIZES).map(Self)
    }
}

/// Reads a length of time such as `500ms`, `5s`, `10m`, `12h` or `7d`.
///
/// Errors: the text is not a whole number directly followed by one of those units.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    read_with_unit(text, TIMES).map(Duration::from_millis)
}

/// Writes a length of time so that `parse_duration` reads the same one back. What is finer than a millisecond,
/// the finest unit that can be written, is left off.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    write_with_unit(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), TIMES)
}

/// A text is not a whole number with a known unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not begin with a digit.
    #[error("it does not begin with a whole number")]
    NoNumber,
    /// The number has a fraction.
    #[error("it is not a whole number")]
    Fraction,
    /// Nothing follows the number.
    #[error("it has no unit")]
    NoUnit {
        /// The number.
        number: String,
        /// The units there are.
        units: Vec<&'static str>,
    },
    /// What follows the number is no unit.
    #[error("`{unit}` is not a unit")]
    UnknownUnit {
        /// The number.
        number: String,
        /// What follows it.
        unit: String,
        /// The units there are.
        units: Vec<&'static str>,
    },
    /// It does not fit 64 bits.
    #[error("it is too large")]
    TooLarge,
}

impl UnitError {
    /// What to write instead, where that can be told.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NoNumber | Self::TooLarge => None,
            Self::Fraction => Some("write a whole number of a smaller unit".to_owned()),
            Self::NoUnit { units, .. } => Some(format!("add one of the units {}", units.join(", "))),
            Self::UnknownUnit { number, unit, units } => {
                let meant = unit.trim().to_lowercase();
                match units.iter().find(|known| known.to_lowercase() == meant) {
                    Some(known) => Some(format!("did you mean `{number}{known}`?")),
                    None => Some(format!("the units are {}", units.join(", "))),
                }
            }
        }
    }
}

fn read_with_unit(text: &str, units: &[(&'static str, u64)]) -> Result<u64, UnitError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let names = || units.iter().map(|(name, _)| *name).collect();
    if number.is_empty() {
        return Err(UnitError::NoNumber);
    }
    if unit.starts_with(['.', ',']) {
        return Err(UnitError::Fraction);
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit {
            number: number.to_owned(),
            units: names(),
        });
    }
    let Some((_, worth)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownUnit {
            number: number.to_owned(),
            unit: unit.to_owned(),
            units: names(),
        });
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*worth))
        .ok_or(UnitError::TooLarge)
}

/// With the unit that gives the smallest whole number.
fn write_with_unit(amount: u64, units: &[(&'static str, u64)]) -> String {
    let exact = units.iter().filter(|(_, worth)| amount.is_multiple_of(*worth));
    let (unit, worth) = match amount {
        0 => units.first(),
        _ => exact.max_by_key(|(_, worth)| *worth),
    }
    .expect("the first unit is worth 1, which divides everything");
    format!("{}{unit}", amount / worth)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0B", 0),
            ("17B", 17),
            ("1KB", 1_000),
            ("1KiB", 1_024),
            ("64MiB", 67_108_864),
            ("3MB", 3_000_000),
            ("2GiB", 2_147_483_648),
            ("1TiB", 1_099_511_627_776),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize::from_bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn sizes_are_printed_with_the_largest_unit_that_is_exact() {
        for text in ["0B", "1B", "1000KiB", "1MB", "64MiB", "1GiB", "5TB", "1025B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!(ByteSize::kib(1024).to_string(), "1MiB");
    }

    #[test]
    fn durations_are_read_and_printed_with_their_unit() {
        for (text, millis) in [
            ("0ms", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("10m", 600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_duration(Duration::from_secs(36 * 3600)), "36h");
    }

    #[test]
    fn each_malformed_quantity_is_refused_for_its_own_reason() {
        let refused = |text: &str| text.parse::<ByteSize>().unwrap_err();
        assert_eq!(refused(""), UnitError::NoNumber);
        assert_eq!(refused("MiB"), UnitError::NoNumber);
        assert_eq!(refused("-1MiB"), UnitError::NoNumber);
        assert_eq!(refused("1.5GiB"), UnitError::Fraction);
        assert_eq!(refused("99999999TiB"), UnitError::TooLarge);
        assert!(matches!(refused("64"), UnitError::NoUnit { .. }));
        assert!(matches!(refused("64 MiB"), UnitError::UnknownUnit { .. }));
    }

    #[test]
    fn the_remedy_names_the_unit_that_was_meant() {
        let remedy = |text: &str| text.parse::<ByteSize>().unwrap_err().remedy().unwrap();
        assert_eq!(remedy("64mib"), "did you mean `64MiB`?");
        assert_eq!(remedy("64 MiB"), "did you mean `64MiB`?");
        assert_eq!(
            remedy("64apples"),
            "the units are B, KB, KiB, MB, MiB, GB, GiB, TB, TiB"
        );
        assert_eq!(
            parse_duration("5").unwrap_err().remedy().unwrap(),
            "add one of the units ms, s, m, h, d"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_the_same_amount(amount in any::<u64>()) {
            prop_assert_eq!(ByteSize::from_bytes(amount).to_string().parse(), Ok(ByteSize::from_bytes(amount)));
            let duration = Duration::from_millis(amount);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
