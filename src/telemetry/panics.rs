//! A panic is a line of the log like any other, so that whoever reads the log finds it.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, PanicHookInfo},
    thread,
};

use slog::{Logger, OwnedKV, crit, o};

use super::sink::{Sink, Target};

/// From now on panics are written through `sink`, in place of the standard library's own message. They are written at
/// once and not queued, since the process may be about to end.
pub(super) fn install(sink: &Sink) {
    let logger = Logger::root(sink.clone(), OwnedKV(Target));
    let standard = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // A panic in the sink itself must not wait for the sink.
        if Sink::is_writing() {
            standard(info);
        } else {
            report(&logger, info);
        }
    }));
}

fn report(logger: &Logger, info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let values = o!("thread" => thread.name().unwrap_or("unnamed").to_owned(), "at" => place);
    let logger = logger.new(values);
    let message = text_of(info).unwrap_or("a value that is not text");
    // Captured only when RUST_BACKTRACE asks for it, as in the standard message.
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => crit!(logger, "panic: {message}"; "backtrace" => backtrace.to_string()),
        _ => crit!(logger, "panic: {message}"),
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
        let logger = Logger::root(Sink::json(memory.clone()), OwnedKV(Target));
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match thread::current().name() {
            Some("doomed") => report(&logger, info),
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
}
