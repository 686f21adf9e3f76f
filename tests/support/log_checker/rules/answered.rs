//! Every request is answered, once (ACT-1); the recorder itself refuses a second answer.

use super::{Evidence, Findings};
use crate::support::log_checker::text::text_of_attempt;

pub(super) fn judge(evidence: &Evidence<'_>, findings: &mut Findings) {
    for attempt in &evidence.history.attempts {
        if attempt.answer.is_none() {
            findings.add(None, || text_of_attempt(attempt));
        }
    }
}
