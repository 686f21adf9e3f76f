//! The start and the end of logging.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use slog::{BorrowedKV, Drain, LevelFilter, Logger, Never, OwnedKV, OwnedKVList, Record};
use slog_async::{AsyncCore, AsyncGuard};

use super::{
    bridge, panics,
    patience::{LAST_WORDS_WITHIN, done_within},
    sink::{Sink, Target},
};
use crate::{
    config::{LogFormat, LogLevel},
    error::Disposition,
};

/// Lines that may wait for the writer. Nothing is logged per record, so even a storm of errors fits; when standard
/// error hangs, lines beyond it are dropped and counted (ACT-2).
const QUEUED_LINES_MAX: usize = 4096;

/// The running log. When it is dropped, what is queued is written; later lines are lost, and so is what nobody reads
/// within a second.
pub struct Logging {
    /// What everything logs to; cheap to clone.
    pub logger: Logger,
    /// Writes the queued lines when it is dropped; there until then.
    guard: Option<AsyncGuard>,
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            // It waits for the writer, which may be stuck; nobody is left to be told that lines are lost then.
            done_within(LAST_WORDS_WITHIN, guard, drop);
        }
    }
}

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `tracing` already has a receiver in this process.
    #[error("logging was started twice in this process: {0}")]
    Tracing(#[source] tracing::subscriber::SetGlobalDefaultError),
    /// `log` already has a receiver in this process.
    #[error("logging was started twice in this process: {0}")]
    Log(#[source] log::SetLoggerError),
    /// The system gave no thread.
    #[error("cannot start a thread to log with")]
    Thread(#[source] io::Error),
}

impl StartError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Tracing(_) | Self::Log(_) | Self::Thread(_) => Disposition::Escalate,
        }
    }
}

/// Starts logging to standard error: ours, that of the libraries, and panics. Once in a process.
///
/// Lines are queued and written by a thread of their own, so that a slow terminal or pipe holds nobody up.
///
/// Errors: it was started before, or there is no thread for it.
pub fn start(level: LogLevel, format: LogFormat) -> Result<Logging, StartError> {
    let sink = Sink::standard_error(format);
    let (logger, guard) = queued(sink.clone(), level);
    bridge::install(&logger, level)?;
    panics::install(&sink).map_err(StartError::Thread)?;
    Ok(Logging {
        logger,
        guard: Some(guard),
    })
}

fn queued(sink: Sink, level: LogLevel) -> (Logger, AsyncGuard) {
    let (queue, guard) = AsyncCore::custom(sink)
        .chan_size(QUEUED_LINES_MAX)
        .thread_name("log-writer".to_owned())
        .build_with_guard();
    let drain = LevelFilter::new(
        Queue {
            queue,
            lost: AtomicUsize::new(0),
        },
        slog_level(level),
    )
    .ignore_res();
    (Logger::root(drain, OwnedKV(Target)), guard)
}

/// The queue to the writer: when it is full, lines are dropped, and their number is the next thing that is said.
///
/// `slog_async::Async` does the same but counts most of the dropped lines twice (2.8.0, `push_dropped`).
struct Queue {
    queue: AsyncCore,
    lost: AtomicUsize,
}

impl Drain for Queue {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format_args!("log lines were lost, since they were not read fast enough");
            let count = slog::kv!("count" => lost);
            let report = slog::record!(slog::Level::Error, "", &text, BorrowedKV(&count));
            if self.queue.log(&report, values).is_err() {
                self.lost.fetch_add(lost + 1, Ordering::Relaxed);
                return Ok(());
            }
        }
        if self.queue.log(record, values).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn slog_level(level: LogLevel) -> slog::Level {
    match level {
        LogLevel::Error => slog::Level::Error,
        LogLevel::Warn => slog::Level::Warning,
        LogLevel::Info => slog::Level::Info,
        LogLevel::Debug => slog::Level::Debug,
        LogLevel::Trace => slog::Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::mpsc,
    };

    use super::*;
    use crate::telemetry::sink::memory::Memory;

    #[test]
    fn what_is_queued_is_written_when_logging_ends() {
        let memory = Memory::default();
        let (logger, guard) = queued(Sink::json(memory.clone()), LogLevel::Info);
        for number in 0..1000 {
            slog::info!(logger, "line"; "number" => number);
        }
        slog::debug!(logger, "below the level");
        drop(guard);
        let lines = memory.lines();
        assert_eq!(lines.len(), 1000);
        assert_eq!(lines[999]["number"], 999);
    }

    #[test]
    fn a_line_after_the_end_is_lost_without_a_panic() {
        let memory = Memory::default();
        let (logger, guard) = queued(Sink::json(memory.clone()), LogLevel::Info);
        drop(guard);
        slog::info!(logger, "too late");
        assert!(memory.lines().is_empty());
    }

    #[test]
    fn a_writer_that_hangs_does_not_keep_logging_from_its_end() {
        /// Waits at each write until the other end is gone.
        struct Stuck(mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.recv().ok();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = mpsc::channel();
        let (logger, guard) = queued(Sink::json(Stuck(stuck)), LogLevel::Info);
        // More than the queue holds: even the word that it is over finds no room.
        for _ in 0..2 * QUEUED_LINES_MAX {
            slog::info!(logger, "line");
        }
        drop(Logging {
            logger,
            guard: Some(guard),
        });
        drop(release);
    }

    #[test]
    fn a_writer_that_hangs_holds_nobody_up_and_the_lost_lines_are_counted() {
        /// Waits at each write until the other end is gone.
        struct Stuck(mpsc::Receiver<()>, Memory);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.recv().ok();
                self.1.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = mpsc::channel();
        let memory = Memory::default();
        let (logger, guard) = queued(Sink::json(Stuck(stuck, memory.clone())), LogLevel::Info);
        let sent = 3 * QUEUED_LINES_MAX;
        for _ in 0..sent {
            slog::info!(logger, "line");
        }
        let before = memory.lines().len();
        assert_eq!(before, 0);
        drop(release);
        // The loss is reported with the next line that finds room; that there will be room is what is waited for.
        let deadline = crate::clock::now() + std::time::Duration::from_secs(30);
        while memory.lines().len() < QUEUED_LINES_MAX / 2 && crate::clock::now() < deadline {
            std::thread::yield_now();
        }
        slog::info!(logger, "the last line");
        drop(guard);
        let lines = memory.lines();
        let lost: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
        let kept = lines.iter().filter(|line| line["msg"] == "line").count();
        assert_eq!(kept + usize::try_from(lost).unwrap(), sent);
        assert_eq!(lines.last().unwrap()["msg"], "the last line");
    }
}
