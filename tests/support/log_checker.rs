//! Says whether what clients saw of a log is what a log promises.
//!
//! Clients note what they do in the [`Notes`] of a [`Recorder`]: each try to append with its answer, each read, each
//! high watermark they are told. At the end somebody reads all that each node has. [`History::judge`] then looks for
//! what must not be, one rule after the other. It knows nothing of how a log works, so it judges one node and a cluster
//! alike.
//!
//! A record is known by its content: whoever produces makes each one different from all others, and sends the same one
//! again only in a retry of the same batch.
//!
//! To add a rule: a file in `rules/` with a function that says what it found, a line in [`rules::RULES`], a [`Rule`]
//! with its sentence, and in `tests/actors/log_checker_test/` a history that breaks it and one that just does not.

mod clock;
mod evidence;
mod history;
mod offset_map;
mod recorder;
mod rules;
mod text;
mod verdict;

pub(crate) use clock::{Clock, Moment};
pub(crate) use history::{
    Answer, Attempt, Content, Contents, History, Level, Node, Origin, Read, Seen, Stamp, Summary, Watermark,
};
pub(crate) use recorder::{AttemptId, Notes, Recorder};
pub(crate) use verdict::{Breach, Rule, Verdict};

impl History {
    /// All that must not be.
    ///
    /// Panics: when the history itself is none, because a record was sent in two batches.
    pub(crate) fn judge(&self) -> Verdict {
        let evidence = evidence::Evidence::of(self);
        Verdict::new(rules::RULES.iter().map(|(rule, judge)| {
            let mut findings = verdict::Findings::default();
            judge(&evidence, &mut findings);
            (*rule, findings)
        }))
    }

    /// Panics, and says which promises are broken and how, when some are.
    pub(crate) fn assert_kept(&self) -> Summary {
        let (verdict, summary) = (self.judge(), self.summary());
        assert!(verdict.is_good(), "in {summary:?}\n{verdict}");
        summary
    }
}
