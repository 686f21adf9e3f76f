//! Ranges of offsets, as Rust writes ranges.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use crate::types::Offset;

use super::position::Position;

/// Some offsets in a row: `..`, `17..`, `..100`, `17..100`, `17..=99`, of numbers or of [`Offset`]s. Where they begin with none, they
/// begin with the oldest readable record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    pub(super) from: Position,
    pub(super) until: Option<u64>,
}

impl From<RangeFull> for Offsets {
    fn from(_: RangeFull) -> Self {
        Self {
            from: Position::Earliest,
            until: None,
        }
    }
}

/// Behind it; the last of all offsets is never that of a record.
fn behind(last: u64) -> Option<u64> {
    Some(last.saturating_add(1))
}

macro_rules! offsets_from {
    ($number:ty, $get:expr) => {
        impl From<Range<$number>> for Offsets {
            fn from(range: Range<$number>) -> Self {
                Self {
                    from: Position::Offset($get(range.start)),
                    until: Some($get(range.end)),
                }
            }
        }

        impl From<RangeFrom<$number>> for Offsets {
            fn from(range: RangeFrom<$number>) -> Self {
                Self {
                    from: Position::Offset($get(range.start)),
                    until: None,
                }
            }
        }

        impl From<RangeTo<$number>> for Offsets {
            fn from(range: RangeTo<$number>) -> Self {
                Self {
                    from: Position::Earliest,
                    until: Some($get(range.end)),
                }
            }
        }

        impl From<RangeInclusive<$number>> for Offsets {
            fn from(range: RangeInclusive<$number>) -> Self {
                Self {
                    from: Position::Offset($get(*range.start())),
                    until: behind($get(*range.end())),
                }
            }
        }

        impl From<RangeToInclusive<$number>> for Offsets {
            fn from(range: RangeToInclusive<$number>) -> Self {
                Self {
                    from: Position::Earliest,
                    until: behind($get(range.end)),
                }
            }
        }
    };
}

offsets_from!(u64, |number: u64| number);
offsets_from!(Offset, Offset::get);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_all_kinds_begin_and_end_where_they_say() {
        let of = |offsets: Offsets| (offsets.from, offsets.until);
        assert_eq!(of((..).into()), (Position::Earliest, None));
        assert_eq!(of((3..5).into()), (Position::Offset(3), Some(5)));
        assert_eq!(of((Offset(3)..Offset(5)).into()), (Position::Offset(3), Some(5)));
        assert_eq!(of((3..).into()), (Position::Offset(3), None));
        assert_eq!(of((..5).into()), (Position::Earliest, Some(5)));
        assert_eq!(of((3..=5).into()), (Position::Offset(3), Some(6)));
        assert_eq!(of((..=u64::MAX).into()), (Position::Earliest, Some(u64::MAX)));
    }
}
