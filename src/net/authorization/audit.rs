//! The audit trail: a line for each denial and for each administrative act, allowed ones too.
//!
//! They are lines of the node's log that have `audit = true`, so that a collector can tell them from all others. Who is denied again
//! and again gets some lines a second and a count of the rest, so that nobody can flood the log by asking.

use std::{
    collections::HashMap,
    mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use slog::{Level, Logger, info, warn};

use crate::{
    acl::{Rule, Wanted, Who},
    certs::Fingerprint,
};

/// Lines about denials of one subject within [`WINDOW`]: enough to see what somebody tries.
const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Subjects that are counted apart within a window; all others are counted together.
const SUBJECTS_MAX: usize = 256;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was let in.
    Allowed,
    /// It was not.
    Denied,
    /// It was let in, and would not be if the policy were enforced.
    WouldBeDenied,
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::WouldBeDenied];

    /// As a label.
    fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::WouldBeDenied => "would_be_denied",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::WouldBeDenied => "would be denied",
        }
    }
}

/// What a line says.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) who: Who<'a>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) from: Option<SocketAddr>,
    /// What was asked for; `None` of a method that is not there.
    pub(super) wanted: Option<Wanted>,
    pub(super) verdict: Verdict,
    /// The line of the policy that decided.
    pub(super) rule: Option<&'a Rule>,
    pub(super) method: &'a str,
}

/// How many calls are in the audit trail since the gateway's start.
#[derive(Debug, Default)]
pub struct AuditCounts {
    by_verdict: [AtomicU64; Verdict::ALL.len()],
    suppressed: AtomicU64,
}

impl AuditCounts {
    /// Each verdict, in a word, and how often it came.
    pub fn by_verdict(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |verdict: Verdict| self.by_verdict[verdict as usize].load(Ordering::Relaxed);
        Verdict::ALL
            .into_iter()
            .map(move |verdict| (verdict.word(), count(verdict)))
    }

    /// Denials that have no line of their own.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    fn count(&self, verdict: Verdict) {
        self.by_verdict[verdict as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes the lines.
#[derive(Debug)]
pub(super) struct Audit {
    log: Logger,
    counts: Arc<AuditCounts>,
    window: Mutex<Window>,
}

/// Denials of about a second.
#[derive(Debug, Default)]
struct Window {
    open: bool,
    told: HashMap<String, Told>,
    /// Denials of subjects that found no place.
    others: u64,
}

#[derive(Debug, Default)]
struct Told {
    lines: u32,
    suppressed: u64,
}

impl Audit {
    pub(super) fn new(counts: Arc<AuditCounts>, log: Logger) -> Arc<Self> {
        Arc::new(Self {
            log,
            counts,
            window: Mutex::default(),
        })
    }

    /// Writes a line, whatever else was written.
    pub(super) fn told(&self, line: &Line<'_>) {
        self.counts.count(line.verdict);
        self.write(line);
    }

    /// Writes a line about a denial, or counts it. In a runtime of tokio: the counts are told when the window ends.
    pub(super) fn denied(self: &Arc<Self>, line: &Line<'_>) {
        self.counts.count(line.verdict);
        if self.count(line.who.as_str()) {
            self.write(line);
        } else {
            self.counts.suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether there is room for one more line about that subject.
    fn count(self: &Arc<Self>, subject: &str) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if !mem::replace(&mut window.open, true) {
            let audit = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(WINDOW).await;
                audit.close();
            });
        }
        if !window.told.contains_key(subject) && window.told.len() >= SUBJECTS_MAX {
            window.others += 1;
            return false;
        }
        let told = window.told.entry(subject.to_owned()).or_default();
        let has_room = told.lines < LINES_MAX;
        if has_room {
            told.lines += 1;
        } else {
            told.suppressed += 1;
        }
        has_room
    }

    /// Tells what was only counted.
    fn close(&self) {
        let window = {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            mem::take(&mut *window)
        };
        for (subject, told) in window.told.iter().filter(|(_, told)| told.suppressed > 0) {
            warn!(self.log, "audit"; "audit" => true, "who" => subject, "suppressed" => told.suppressed);
        }
        if window.others > 0 {
            warn!(self.log, "audit"; "audit" => true, "who" => "others", "suppressed" => window.others);
        }
    }

    fn write(&self, line: &Line<'_>) {
        let nothing = || "-".to_owned();
        let who = line.who.to_string();
        let fingerprint = line
            .fingerprint
            .map_or_else(nothing, |fingerprint| fingerprint.to_string());
        let from = line.from.map_or_else(nothing, |from| from.to_string());
        let wanted = line.wanted.as_ref();
        let object = wanted.map_or("-".into(), Wanted::object);
        let action = wanted.map_or("-", |wanted| wanted.action().as_str());
        let rule = line
            .rule
            .map_or_else(nothing, |rule| format!("{}: {}", rule.line, rule.text));
        let verdict = line.verdict.as_str();
        let level = match line.verdict {
            Verdict::Allowed => Level::Info,
            Verdict::Denied | Verdict::WouldBeDenied => Level::Warning,
        };
        let pairs = slog::o!("audit" => true, "who" => who, "fingerprint" => fingerprint, "from" => from,
            "object" => object, "action" => action, "verdict" => verdict, "rule" => rule, "method" => line.method.to_owned());
        match level {
            Level::Info => info!(self.log, "audit"; pairs),
            _ => warn!(self.log, "audit"; pairs),
        }
    }
}
