//! A progress bar for those who watch, and nothing for those who do not.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock;

/// What is done within this needs no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// How much of the input is acknowledged. Drawn on standard error, when that is a terminal and it takes long.
#[derive(Debug)]
pub(super) struct Progress {
    started: Option<Instant>,
    bytes_total: Option<u64>,
    bytes: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of an input of `bytes_total`, when that is known.
    pub(super) fn of_input(bytes_total: Option<u64>) -> Self {
        let started = stderr().is_terminal().then(clock::now);
        Self {
            started,
            bytes_total,
            bytes: 0,
            bar: None,
        }
    }

    /// Never drawn.
    pub(super) fn hidden() -> Self {
        Self {
            started: None,
            bytes_total: None,
            bytes: 0,
            bar: None,
        }
    }

    /// So many bytes more are acknowledged.
    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        let Some(started) = self.started else {
            return;
        };
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes);
        } else if clock::now() - started >= SHOWN_AFTER {
            self.bar = Some(self.drawn());
        }
    }

    fn drawn(&self) -> ProgressBar {
        let template = match self.bytes_total {
            Some(_) => "{bar:40} {percent:>3} %  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
            None => "{spinner} {bytes}  {bytes_per_sec}",
        };
        let bar = ProgressBar::with_draw_target(self.bytes_total, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are well-formed"));
        bar.set_position(self.bytes);
        bar
    }
}

impl Drop for Progress {
    /// Takes the bar away, so that what follows on the terminal stands on a line of its own.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
