//! The promises that the code rests on, each with an id that code, tests and documents share.

use std::fmt;

/// A promise of DESIGN section 11; `docs/invariants.md` says where each one is kept and tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the ids are written LOG-1, STO-3 in prose")]
pub enum Invariant {
    /// Offsets are gapless.
    LOG_1,
    /// Acknowledged implies persisted on a majority's disks.
    LOG_2,
    /// The high watermark never falls on a node.
    LOG_3,
    /// No read at or above the high watermark.
    LOG_4,
    /// There is one active segment.
    STO_1,
    /// Sealed bytes never change.
    STO_2,
    /// Nothing is written after a failed sync.
    STO_3,
    /// Recovery keeps every synced frame and no partial one.
    STO_4,
    /// Term and vote are durable before a reply, and never taken back.
    RFT_1,
    /// A term has one leader.
    RFT_2,
    /// Logs agree below the high watermark.
    RFT_3,
    /// Each `Reply` is answered once.
    ACT_1,
    /// No queue grows above its limit.
    ACT_2,
    /// No call is made without an allow.
    SEC_1,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").replace('_', "-"))
    }
}

/// Stops the component, in every build, when a promise does not hold: going on would break it for users too.
///
/// `check!(LOG_3, next >= current, "high watermark would fall from {current} to {next}")`
#[macro_export]
macro_rules! check {
    ($invariant:ident, $holds:expr, $($context:tt)+) => {
        if !$holds {
            panic!("{} broken: {}", $crate::invariant::Invariant::$invariant, format_args!($($context)+));
        }
    };
}
