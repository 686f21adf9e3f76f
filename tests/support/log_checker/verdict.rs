//! What the judge says.

use std::fmt;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Answered,
    OneValue,
    Identical,
    Kept,
    Committed,
    NoPhantom,
    FailedIsNotStored,
    StoredOnce,
    Gapless,
    Atomic,
    RealTimeOrder,
    ProducerOrder,
    Linearizable,
    NeverBackwards,
    BelowWatermark,
    WatermarkRises,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "every request is answered",
            Self::OneValue => "an offset has one record, for ever and on all nodes",
            Self::Identical => "all nodes hold the same records with the same terms, log indexes and times",
            Self::Kept => "what was acknowledged is there, unchanged",
            Self::Committed => "what was read is there, unchanged",
            Self::NoPhantom => "nothing is in the log that nobody sent",
            Self::FailedIsNotStored => "what definitely failed is not in the log",
            Self::StoredOnce => "a batch is stored once",
            Self::Gapless => "offsets have no gaps",
            Self::Atomic => "the records of a batch are stored all or none, one after the other",
            Self::RealTimeOrder => "what was sent after another was acknowledged comes behind it",
            Self::ProducerOrder => "a producer's batches are stored in the order it sent them",
            Self::Linearizable => "a linearizable read sees all that was acknowledged before it began",
            Self::NeverBackwards => "a linearizable read sees all that anybody saw before it began",
            Self::BelowWatermark => "what was read or acknowledged is below the high watermark told with it",
            Self::WatermarkRises => "the high watermark of a node does not fall while it lives",
        })
    }
}

/// Breaches are told of up to this many of one rule: the first ones say what went wrong.
const SHOWN: usize = 10;

/// One breach of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    /// The offset it is about, where there is one.
    pub(crate) offset: Option<u64>,
    /// What happened, with the requests involved.
    pub(crate) text: String,
}

/// What one rule found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    count: usize,
    first: Vec<Breach>,
}

impl Findings {
    /// One more.
    pub(super) fn add(&mut self, offset: Option<u64>, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.count <= SHOWN {
            let text = text();
            self.first.push(Breach { offset, text });
        }
    }
}

/// Which rules are broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Verdict(Vec<(Rule, Findings)>);

impl Verdict {
    pub(super) fn new(findings: impl Iterator<Item = (Rule, Findings)>) -> Self {
        Self(findings.filter(|(_, findings)| findings.count > 0).collect())
    }

    /// Nothing is wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules that are broken, in the order of [`Rule`].
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.0.iter().map(|(rule, _)| *rule).collect();
        rules.sort_unstable();
        rules
    }

    /// The first breaches of this rule.
    pub(crate) fn breaches(&self, rule: Rule) -> &[Breach] {
        let found = self.0.iter().find(|(broken, _)| *broken == rule);
        found.map_or(&[], |(_, findings)| &findings.first)
    }

    /// How often this rule is broken.
    pub(crate) fn count(&self, rule: Rule) -> usize {
        let found = self.0.iter().find(|(broken, _)| *broken == rule);
        found.map_or(0, |(_, findings)| findings.count)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, findings) in &self.0 {
            writeln!(f, "broken {} times: {rule} ({rule:?})", findings.count)?;
            for breach in &findings.first {
                writeln!(f, "  - {}", breach.text)?;
            }
            if findings.count > findings.first.len() {
                writeln!(f, "  - and so on")?;
            }
        }
        Ok(())
    }
}
