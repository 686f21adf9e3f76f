//! Where lines are written and in what form.

use std::{
    cell::Cell,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use slog::{Drain, FnValue, KV, Key, Never, OwnedKVList, PushFnValue, Record, Serializer, o};

use crate::{clock, config::LogFormat};

type Form = Box<dyn Drain<Ok = (), Err = io::Error> + Send>;

thread_local! {
    /// True while this thread writes a line.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as writing, until it is dropped: also when the line ends in a panic.
struct Writing;

impl Writing {
    fn begin() -> Self {
        WRITING.set(true);
        Self
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(false);
    }
}

/// The one writer of lines. The logging thread owns it in effect; a panic writes through it too, at once, because a
/// process that dies may never get to what is still queued.
#[derive(Clone)]
pub(super) struct Sink(Arc<Mutex<Form>>);

impl Sink {
    /// Standard error, in the form that suits it.
    pub(super) fn standard_error(format: LogFormat) -> Self {
        let for_people = match format {
            LogFormat::Auto => io::stderr().is_terminal(),
            LogFormat::Terminal => true,
            LogFormat::Json => false,
        };
        if for_people {
            Self::terminal()
        } else {
            Self::json(io::stderr())
        }
    }

    /// For people. Colours only on a terminal, and not when `NO_COLOR` is set.
    fn terminal() -> Self {
        let decorator = slog_term::TermDecorator::new().stderr().build();
        Self::new(slog_term::FullFormat::new(decorator).use_original_order().build())
    }

    /// One JSON object a line, each line in one write, so that lines of other processes do not get into it.
    pub(super) fn json(writer: impl Write + Send + 'static) -> Self {
        let json = slog_json::Json::new(io::BufWriter::new(writer))
            .set_flush(true)
            .add_key_value(o!(
                "ts" => FnValue(|_: &Record<'_>| now_as_text()),
                "level" => FnValue(|record: &Record<'_>| record.level().as_str()),
                "msg" => PushFnValue(|record: &Record<'_>, serializer| serializer.emit(record.msg())),
            ))
            .build();
        Self::new(json)
    }

    fn new(form: impl Drain<Ok = (), Err = io::Error> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(form))))
    }

    /// True while this thread is in the middle of a line, and would wait for itself if it began another.
    pub(super) fn is_writing() -> bool {
        WRITING.get()
    }
}

impl Drain for Sink {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        // A panic in the middle of a line leaves half a line behind, and the next one can still be written.
        let form = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _writing = Writing::begin();
        // A log that cannot be written has nowhere to say so, and is no reason to stop serving.
        form.log(record, values).ok();
        Ok(())
    }
}

/// RFC 3339, UTC, to the millisecond.
fn now_as_text() -> String {
    let now = UNIX_EPOCH + Duration::from_millis(clock::wall().0);
    humantime::format_rfc3339_millis(now).to_string()
}

/// Adds the library that a line comes from; our own lines have none.
#[derive(Clone)]
pub(super) struct Target;

impl KV for Target {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        match record.tag() {
            "" => Ok(()),
            tag => serializer.emit_str(Key::from("target"), tag),
        }
    }
}

#[cfg(test)]
pub(super) mod memory {
    //! A sink that tests can read.

    use super::*;

    /// What was written so far.
    #[derive(Clone, Default)]
    pub(in super::super) struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        /// Every line, parsed.
        pub(in super::super) fn lines(&self) -> Vec<serde_json::Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use slog::Logger;

    use super::{memory::Memory, *};

    #[test]
    fn a_json_line_has_time_level_message_and_values() {
        let memory = Memory::default();
        let logger = Logger::root(Sink::json(memory.clone()), slog::OwnedKV(Target));
        slog::warn!(logger, "disk is \"nearly\" full"; "free_bytes" => 17, "path" => "data");
        let lines = memory.lines();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "WARNING");
        assert_eq!(lines[0]["msg"], "disk is \"nearly\" full");
        assert_eq!(lines[0]["free_bytes"], 17);
        assert_eq!(lines[0]["path"], "data");
        assert_eq!(lines[0].get("target"), None);
        let ts = lines[0]["ts"].as_str().unwrap();
        assert!(
            ts.ends_with('Z') && ts.len() == "2026-01-01T00:00:00.000Z".len(),
            "{ts}"
        );
        let age = clock::wall().0.abs_diff(
            u64::try_from(
                humantime::parse_rfc3339(ts)
                    .unwrap()
                    .duration_since(UNIX_EPOCH)
                    .unwrap()
                    .as_millis(),
            )
            .unwrap(),
        );
        assert!(age < 60_000, "{ts} is {age} ms away");
    }

    #[test]
    fn a_writer_that_fails_does_not_stop_the_caller() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let logger = Logger::root(Sink::json(Broken), o!());
        slog::error!(logger, "nobody reads this");
        assert!(!Sink::is_writing());
    }

    #[test]
    fn after_a_panic_in_the_middle_of_a_line_the_next_one_is_written() {
        struct PanicsOnce(bool, Memory);
        impl Write for PanicsOnce {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                assert!(
                    std::mem::replace(&mut self.0, true),
                    "the first write fails on purpose"
                );
                self.1.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let memory = Memory::default();
        let logger = Logger::root(Sink::json(PanicsOnce(false, memory.clone())), o!());
        let first = std::panic::catch_unwind(|| slog::info!(logger, "first"));
        assert!(first.is_err());
        assert!(!Sink::is_writing());
        slog::info!(logger, "second");
        assert_eq!(memory.lines().last().unwrap()["msg"], "second");
    }
}
