//! Which calls fail, what they leave behind, and what was called.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use super::disk::{Random, SECTOR_BYTES};

/// What a call does to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// Opening a file that is new.
    Create,
    CreateDir,
    Write,
    SetLen,
    Sync,
    Rename,
    Remove,
    SyncDir,
    /// Reading bytes of a file. Changes nothing, hence not in the trace and not met by [`On::Any`].
    Read,
}

/// Which calls a fault counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// All that change the disk.
    Any,
    /// Those of one kind.
    Only(CallKind),
}

impl From<CallKind> for On {
    fn from(kind: CallKind) -> Self {
        Self::Only(kind)
    }
}

/// How much of a failing call happens all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Nothing.
    Nothing,
    /// Of a write the first bytes, never all of them; of other calls nothing.
    Prefix,
    /// Of a write any of the sectors; of other calls nothing.
    Mixture,
    /// All of it.
    Everything,
}

impl Leaves {
    /// The parts of a write of `length` bytes at `position` that happen.
    pub(super) fn of_write(self, position: usize, length: usize, random: &mut Random) -> Vec<Range<usize>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Everything => std::iter::once(0..length).collect(),
            Self::Prefix => std::iter::once(0..random.below(length.max(1))).collect(),
            Self::Mixture => {
                let mut parts = Vec::new();
                let mut start = 0;
                while start < length {
                    let to_boundary = SECTOR_BYTES - (position + start) % SECTOR_BYTES;
                    let end = length.min(start + to_boundary);
                    if random.coin() {
                        parts.push(start..end);
                    }
                    start = end;
                }
                parts
            }
        }
    }
}

/// A failure to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    on: On,
    /// How many calls it lets pass before it strikes.
    passes: u64,
    lasts: bool,
    cuts_power: bool,
    error: io::ErrorKind,
    leaves: Leaves,
    /// Neither counts nor meets calls on files with one of these in their names.
    spared: &'static [&'static str],
    /// Counts and meets no calls but those on files with this name.
    only_at: Option<&'static str>,
}

impl Fault {
    /// Fails the `nth` call (1: the next one) without effect.
    pub(crate) fn nth(on: impl Into<On>, nth: u64, error: io::ErrorKind) -> Self {
        let passes = nth.checked_sub(1).expect("calls are counted from 1");
        Self {
            on: on.into(),
            passes,
            lasts: false,
            cuts_power: false,
            error,
            leaves: Leaves::Nothing,
            spared: &[],
            only_at: None,
        }
    }

    /// But for files with one of `names` in their names, as if they lay on another disk.
    pub(crate) fn sparing(self, names: &'static [&'static str]) -> Self {
        Self {
            spared: names,
            ..self
        }
    }

    /// Only on the file `name`.
    pub(crate) fn at(self, name: &'static str) -> Self {
        Self {
            only_at: Some(name),
            ..self
        }
    }

    /// And all after it, as when the process is gone or the disk is.
    pub(crate) fn lasting(self) -> Self {
        Self { lasts: true, ..self }
    }

    /// And all calls after it, reads too, on whatever file: the power is gone until somebody clears the faults.
    pub(crate) fn cutting_power(self) -> Self {
        Self {
            cuts_power: true,
            ..self
        }
    }

    /// With an effect all the same.
    pub(crate) fn leaving(self, leaves: Leaves) -> Self {
        Self { leaves, ..self }
    }
}

/// A call, as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: CallKind,
    /// The file, as it was called when opened; of a rename the new name.
    pub(crate) path: PathBuf,
    /// Of a write; of `set_len` the new length.
    pub(crate) position: u64,
    /// Bytes of a write.
    pub(crate) length: u64,
    /// Whether an injected fault met it.
    pub(crate) failed: bool,
}

impl Call {
    pub(super) fn on(kind: CallKind, path: &Path) -> Self {
        Self::bytes(kind, path, 0, 0)
    }

    pub(super) fn bytes(kind: CallKind, path: &Path, position: u64, length: usize) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            position,
            length: length as u64,
            failed: false,
        }
    }
}

/// What is to become of a call.
#[derive(Debug)]
pub(super) enum Verdict {
    Go,
    Fail(io::Error, Leaves),
}

impl Verdict {
    pub(super) fn takes_effect(&self) -> bool {
        matches!(self, Self::Go | Self::Fail(_, Leaves::Everything))
    }

    pub(super) fn result(self) -> io::Result<()> {
        match self {
            Self::Go => Ok(()),
            Self::Fail(error, _) => Err(error),
        }
    }
}

/// The faults to come and the calls that were.
#[derive(Debug, Default)]
pub(super) struct Faults {
    to_come: Vec<Fault>,
    fired: u64,
    power_is_off: bool,
    trace: Vec<Call>,
}

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) {
        self.to_come.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.to_come.clear();
        self.power_is_off = false;
    }

    pub(super) fn fired(&self) -> u64 {
        self.fired
    }

    pub(super) fn trace(&self) -> &[Call] {
        &self.trace
    }

    pub(super) fn power_is_off(&self) -> bool {
        self.power_is_off
    }

    /// Decides about a call and notes it. Every fault counts it; the first one that is due meets it.
    pub(super) fn judge(&mut self, mut call: Call) -> Verdict {
        if self.power_is_off {
            return Verdict::Fail(
                io::Error::other("the simulated disk has no power"),
                Leaves::Nothing,
            );
        }
        let mut due: Option<Fault> = None;
        self.to_come.retain_mut(|fault| {
            let counts = match fault.on {
                On::Any => call.kind != CallKind::Read,
                On::Only(kind) => call.kind == kind,
            };
            let name = call.path.file_name().unwrap_or_default().to_string_lossy();
            let elsewhere = fault.only_at.is_some_and(|only| name != only);
            if !counts || elsewhere || fault.spared.iter().any(|spared| name.contains(spared)) {
                return true;
            }
            if fault.passes > 0 {
                fault.passes -= 1;
                return true;
            }
            due = due.or(Some(*fault));
            fault.lasts
        });
        call.failed = due.is_some();
        if call.kind != CallKind::Read {
            self.trace.push(call);
        }
        match due {
            None => Verdict::Go,
            Some(fault) => {
                self.fired += 1;
                self.power_is_off = fault.cuts_power;
                Verdict::Fail(
                    io::Error::new(fault.error, "a fault of the simulated disk"),
                    fault.leaves,
                )
            }
        }
    }
}
