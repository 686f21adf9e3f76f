//! Offsets have no gaps (LOG-1): each read begins where it was told to and goes on by one.

use super::{Evidence, Findings};
use crate::support::log_checker::{
    Seen,
    text::{text_of_contents, text_of_read},
};

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for read in &evidence.history.reads {
        if let Err((expected, found)) = walk(read.from, &read.records) {
            findings.add(Some(expected), || {
                format!(
                    "offset {found} where {expected} was expected in {}",
                    text_of_read(read)
                )
            });
        }
    }
    for contents in &evidence.history.contents {
        match walk(contents.earliest, &contents.records) {
            Err((expected, found)) => findings.add(Some(expected), || {
                format!(
                    "offset {found} where {expected} was expected in {}",
                    text_of_contents(contents)
                )
            }),
            Ok(end) if end != contents.high_watermark => findings.add(Some(end), || {
                format!("the records end before {end} in {}", text_of_contents(contents))
            }),
            Ok(_) => (),
        }
    }
}

/// Where the records end, or the first that does not follow on the one before: the expected offset and its own.
fn walk(from: u64, records: &[Seen]) -> Result<u64, (u64, u64)> {
    let mut expected = from;
    for seen in records {
        if seen.offset != expected {
            return Err((expected, seen.offset));
        }
        expected += 1;
    }
    Ok(expected)
}
