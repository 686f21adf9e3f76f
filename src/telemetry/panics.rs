//! A panic is a line of the log like any other, so that whoever reads the log finds it.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io,
    panic::{self, PanicHookInfo},
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
};

use slog::{Logger, OwnedKV, crit, o};

use super::{
    patience::LAST_WORDS_WITHIN,
    sink::{Sink, Target},
};

/// Panics that may wait to be written: more than all actors together have in their budgets of restarts. When standard
/// error hangs, those beyond it are not told (ACT-2).
const WAITING_MAX: usize = 64;

/// From now on panics are written through `sink`, in place of the standard library's own message. They pass those lines
/// that are queued, and the thread that panicked waits until its own is written, since the process may be about to end:
/// but for a second at most, since whoever reads standard error may have stopped.
///
/// Errors: there is no thread to write them.
pub(super) fn install(sink: &Sink) -> io::Result<()> {
    let reports = writer(sink)?;
    let standard = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // A panic in the sink itself must not wait for the sink.
        if Sink::is_writing() {
            standard(info);
        } else {
            tell(&reports, report(info));
        }
    }));
    Ok(())
}

/// What is told of a panic.
struct Report {
    thread: String,
    place: String,
    message: String,
    backtrace: Option<String>,
}

/// A report, and who hears when it is written.
type Told = (Report, SyncSender<()>);

/// Starts the thread that writes panics. A thread that panics must not do it itself: it would wait for a standard error
/// that hangs, and for whoever holds the sink meanwhile.
fn writer(sink: &Sink) -> io::Result<SyncSender<Told>> {
    let logger = Logger::root(sink.clone(), OwnedKV(Target));
    let (sender, reports) = mpsc::sync_channel(WAITING_MAX);
    thread::Builder::new()
        .name("panic-writer".to_owned())
        .spawn(move || write_all(&logger, &reports))?;
    Ok(sender)
}

fn write_all(logger: &Logger, reports: &Receiver<Told>) {
    for (report, written) in reports {
        let values = o!("thread" => report.thread, "at" => report.place);
        let (logger, message) = (logger.new(values), report.message);
        match report.backtrace {
            Some(backtrace) => crit!(logger, "panic: {message}"; "backtrace" => backtrace),
            None => crit!(logger, "panic: {message}"),
        }
        // Whoever panicked may not have waited so long.
        written.try_send(()).ok();
    }
}

fn report(info: &PanicHookInfo<'_>) -> Report {
    // Captured only when RUST_BACKTRACE asks for it, as in the standard message.
    let backtrace = Backtrace::capture();
    Report {
        thread: thread::current().name().unwrap_or("unnamed").to_owned(),
        place: info.location().map(ToString::to_string).unwrap_or_default(),
        message: text_of(info).unwrap_or("a value that is not text").to_owned(),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    }
}

/// Has it written, and waits for that, within limits: one that is not written in time is written when standard error
/// takes lines again.
fn tell(reports: &SyncSender<Told>, report: Report) {
    let (written, is_written) = mpsc::sync_channel(1);
    if reports.try_send((report, written)).is_ok() {
        is_written.recv_timeout(LAST_WORDS_WITHIN).ok();
    }
}

/// `panic!` with arguments carries a `String`, without them a `&str`.
fn text_of<'a>(info: &'a PanicHookInfo<'_>) -> Option<&'a str> {
    let payload = info.payload();
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sink::memory::Memory;

    #[test]
    fn a_panic_is_one_line_that_names_thread_place_and_message() {
        let memory = Memory::default();
        let reports = writer(&Sink::json(memory.clone())).unwrap();
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match thread::current().name() {
            Some("doomed") => tell(&reports, report(info)),
            _ => before(info),
        }));
        let doomed = thread::Builder::new().name("doomed".to_owned());
        doomed
            .spawn(|| panic!("segment {} is gone", 7))
            .unwrap()
            .join()
            .unwrap_err();
        let lines = memory.lines();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "CRITICAL");
        assert_eq!(lines[0]["msg"], "panic: segment 7 is gone");
        assert_eq!(lines[0]["thread"], "doomed");
        assert!(
            lines[0]["at"].as_str().unwrap().contains("panics.rs:"),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn a_panic_is_no_hang_when_nobody_reads_the_log() {
        /// Waits at each write until the other end is gone.
        struct Stuck(Receiver<()>, SyncSender<()>);
        impl io::Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1.try_send(()).ok();
                self.0.recv().ok();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = mpsc::channel();
        let (sticks, is_stuck) = mpsc::sync_channel(1);
        let sink = Sink::json(Stuck(stuck, sticks));
        let reports = writer(&sink).unwrap();
        // The writer of lines holds the sink, as it does when a pipe is full.
        let logger = Logger::root(sink, OwnedKV(Target));
        let holds = thread::spawn(move || crit!(logger, "a line that nobody reads"));
        is_stuck.recv().unwrap();

        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            for _ in 0..2 {
                let report = Report {
                    thread: "doomed".to_owned(),
                    place: "here".to_owned(),
                    message: "nobody hears it".to_owned(),
                    backtrace: None,
                };
                tell(&reports, report);
            }
            sender.send(()).unwrap();
        });
        let limit = 30 * LAST_WORDS_WITHIN;
        assert_eq!(ended.recv_timeout(limit), Ok(()), "a panic hangs");
        drop(release);
        holds.join().unwrap();
    }
}
