//! What a producer knows to be safe.

use std::fmt;

/// The offsets that the acknowledged records took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Acknowledged {
    /// How many records.
    pub(super) records: u64,
    /// Of the first of them; absent when there is none.
    pub(super) first_offset: Option<u64>,
    /// The first offset after the last of them; absent when there is none.
    pub(super) next_offset: Option<u64>,
    /// Whether no record of another producer lies between them.
    pub(super) contiguous: bool,
}

impl Default for Acknowledged {
    fn default() -> Self {
        Self {
            records: 0,
            first_offset: None,
            next_offset: None,
            contiguous: true,
        }
    }
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(next)) = (self.first_offset, self.next_offset) else {
            return f.write_str("no records");
        };
        let noun = if self.records == 1 { "record" } else { "records" };
        write!(f, "{} {noun} at offsets {first}..{next}", self.records)?;
        if !self.contiguous {
            f.write_str(", with those of other producers between them")?;
        }
        Ok(())
    }
}

impl Acknowledged {
    /// Adds the records `[first, next)`.
    pub(super) fn add(&mut self, first: u64, next: u64) {
        self.contiguous &= self.next_offset.is_none_or(|before| before == first);
        self.records += next - first;
        self.first_offset = Some(self.first_offset.unwrap_or(first).min(first));
        self.next_offset = Some(self.next_offset.unwrap_or(next).max(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ranges: &[(u64, u64)]) -> String {
        let mut acknowledged = Acknowledged::default();
        for &(first, next) in ranges {
            acknowledged.add(first, next);
        }
        acknowledged.to_string()
    }

    #[test]
    fn ranges_are_told_as_one_and_gaps_are_not_hidden() {
        assert_eq!(text(&[]), "no records");
        assert_eq!(text(&[(4, 5)]), "1 record at offsets 4..5");
        assert_eq!(text(&[(4, 6), (6, 9)]), "5 records at offsets 4..9");
        let gap = "3 records at offsets 4..9, with those of other producers between them";
        assert_eq!(text(&[(4, 5), (7, 9)]), gap);
    }
}
