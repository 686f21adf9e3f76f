//! What libraries log, through `tracing` (tonic, hyper, h2) or `log` (actix, mio), arrives in our logger.

use std::fmt;

use slog::{BorrowedKV, Drain, KV, Key, Logger, Record, Serializer, o};
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt},
};

use super::logging::StartError;
use crate::config::LogLevel;

/// Libraries that log every frame and every connection; only their warnings are worth a line.
const NOISY: [&str; 5] = ["openraft", "h2", "hyper", "mio", "tower"];

/// Libraries whose lines say in many words what we say in one: to them a peer that is down is an error at every probe, and a
/// packet that they cannot read is one too, so that anybody could fill a disk. Heard only by those who look for details.
const TALKATIVE: [&str; 6] = [
    "memberlist_core",
    "memberlist_net",
    "openraft::core::heartbeat",
    "openraft::core::raft_core",
    "openraft::engine::handler::replication_handler",
    "openraft::replication",
];

/// An error of openraft's that is none: where it says so, a stream of appends met a node whose consensus ends, which is what each node does
/// at the end of its process. What ended by a fault says another reason, and stays an error.
const ORDINARY: (&str, &str) = (
    "openraft::raft::stream_append",
    "stream_append: RaftCore stopped: raft stopped",
);

/// Sends both facades of this process to `logger`, for good.
///
/// Errors: one of them already has another receiver.
pub(super) fn install(logger: &Logger, level: LogLevel) -> Result<(), StartError> {
    tracing::subscriber::set_global_default(subscriber(logger, level)).map_err(StartError::Tracing)?;
    // It stays in force until the process ends: resetting it would make a late line panic.
    slog_scope::set_global_logger(without_noise(logger)).cancel_reset();
    slog_stdlog::init_with_level(log_level(level)).map_err(StartError::Log)
}

fn subscriber(logger: &Logger, level: LogLevel) -> impl tracing::Subscriber + Send + Sync {
    let level = tracing_level(level);
    let noisy = NOISY.map(|target| (target, level.min(tracing::Level::WARN)));
    let of_talkative = match level {
        tracing::Level::DEBUG | tracing::Level::TRACE => LevelFilter::from_level(level),
        _ => LevelFilter::OFF,
    };
    let filter = Targets::new()
        .with_default(level)
        .with_targets(noisy)
        .with_targets(TALKATIVE.map(|target| (target, of_talkative)));
    tracing_subscriber::registry().with(ToSlog(logger.clone()).with_filter(filter))
}

/// The same without the lesser lines of noisy libraries; `log` has no filter by target of its own.
fn without_noise(logger: &Logger) -> Logger {
    let is_wanted = |record: &Record<'_>| {
        record.level().is_at_least(slog::Level::Warning)
            || !NOISY.iter().any(|target| record.tag().starts_with(target))
    };
    Logger::root(slog::Filter::new(logger.clone(), is_wanted).ignore_res(), o!())
}

fn tracing_level(level: LogLevel) -> tracing::Level {
    match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    }
}

fn log_level(level: LogLevel) -> log::Level {
    match level {
        LogLevel::Error => log::Level::Error,
        LogLevel::Warn => log::Level::Warn,
        LogLevel::Info => log::Level::Info,
        LogLevel::Debug => log::Level::Debug,
        LogLevel::Trace => log::Level::Trace,
    }
}

/// Turns each event of `tracing` into a line; spans are left out.
struct ToSlog(Logger);

impl<S: tracing::Subscriber> Layer<S> for ToSlog {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR => slog::Level::Error,
            tracing::Level::WARN => slog::Level::Warning,
            tracing::Level::INFO => slog::Level::Info,
            tracing::Level::DEBUG => slog::Level::Debug,
            tracing::Level::TRACE => slog::Level::Trace,
        };
        if !self.0.is_enabled(level) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let is_ordinary = (metadata.target(), fields.message.as_str()) == ORDINARY;
        let level = if is_ordinary { slog::Level::Debug } else { level };
        let location = slog::RecordLocation {
            file: metadata.file().unwrap_or_default(),
            line: metadata.line().unwrap_or_default(),
            column: 0,
            function: "",
            module: metadata.module_path().unwrap_or_default(),
        };
        let about = slog::RecordStatic {
            location: &location,
            tag: metadata.target(),
            level,
        };
        let message = std::mem::take(&mut fields.message);
        self.0.log(&Record::new(
            &about,
            &format_args!("{message}"),
            BorrowedKV(&fields),
        ));
    }
}

/// An event's fields, each in its own type.
#[derive(Default)]
struct Fields {
    message: String,
    values: Vec<(&'static str, Box<dyn slog::Value>)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: impl slog::Value + 'static) {
        self.values.push((field.name(), Box::new(value)));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.push(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.push(field, value.to_owned()),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value);
    }
}

impl KV for Fields {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        self.values
            .iter()
            .try_for_each(|(name, value)| value.serialize(record, Key::from(*name), serializer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sink::{Sink, Target, memory::Memory};

    fn in_memory() -> (Logger, Memory) {
        let memory = Memory::default();
        (
            Logger::root(Sink::json(memory.clone()), slog::OwnedKV(Target)),
            memory,
        )
    }

    #[test]
    fn an_event_of_tracing_becomes_a_line_with_its_target_and_typed_fields() {
        let (logger, memory) = in_memory();
        tracing::subscriber::with_default(subscriber(&logger, LogLevel::Info), || {
            tracing::warn!(target: "tonic::transport", peer = "127.0.0.1", tries = 3, ok = false, "lost {}", "it");
        });
        let lines = memory.lines();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["msg"], "lost it");
        assert_eq!(lines[0]["level"], "WARNING");
        assert_eq!(lines[0]["target"], "tonic::transport");
        assert_eq!(lines[0]["peer"], "127.0.0.1");
        assert_eq!(lines[0]["tries"], 3);
        assert_eq!(lines[0]["ok"], false);
    }

    #[test]
    fn events_below_the_level_and_lesser_lines_of_noisy_libraries_are_left_out() {
        let (logger, memory) = in_memory();
        tracing::subscriber::with_default(subscriber(&logger, LogLevel::Debug), || {
            tracing::trace!(target: "tonic", "below the level");
            tracing::debug!(target: "tonic", "kept 1");
            tracing::info!(target: "h2::codec", "a frame");
            tracing::warn!(target: "hyper::proto", "kept 2");
        });
        tracing::subscriber::with_default(subscriber(&logger, LogLevel::Error), || {
            tracing::warn!(target: "h2::codec", "noisy and below the level");
        });
        let messages: Vec<_> = memory.lines().iter().map(|line| line["msg"].clone()).collect();
        assert_eq!(messages, ["kept 1", "kept 2"]);
    }

    #[test]
    fn talkative_libraries_are_heard_only_by_those_who_look_for_details() {
        for (level, heard) in [(LogLevel::Info, 0), (LogLevel::Debug, 2)] {
            let (logger, memory) = in_memory();
            tracing::subscriber::with_default(subscriber(&logger, level), || {
                tracing::error!(target: "memberlist_core::state", "no ack");
                tracing::warn!(target: "openraft::engine::handler::replication_handler", "update progress error: ...");
            });
            assert_eq!(memory.lines().len(), heard, "{level:?}");
        }
    }

    /// The bug: each restart of a node alarmed operators by an error of openraft's, who looked for what was wrong.
    #[test]
    fn the_end_of_a_node_is_no_error_and_that_of_a_node_that_fails_is() {
        let (logger, memory) = in_memory();
        let stopped = openraft::errors::Fatal::<crate::consensus::types::TypeConfig>::Stopped;
        let failed = openraft::errors::Fatal::<crate::consensus::types::TypeConfig>::Panicked;
        tracing::subscriber::with_default(subscriber(&logger, LogLevel::Info), || {
            tracing::error!(target: "openraft::raft::stream_append", "stream_append: RaftCore stopped: {}", stopped);
            tracing::error!(target: "openraft::raft::stream_append", "stream_append: RaftCore stopped: {}", failed);
            tracing::error!(target: "openraft::raft", "stream_append: RaftCore stopped: {}", stopped);
        });
        let levels: Vec<_> = memory.lines().iter().map(|line| line["level"].clone()).collect();
        assert_eq!(levels, ["DEBUG", "ERROR", "ERROR"]);
    }

    #[test]
    fn a_line_of_the_log_crate_arrives_with_its_target() {
        // This thread's logger stands in for the process's, so that other tests are not disturbed.
        slog_stdlog::init_with_level(log::Level::Debug).ok();
        let (logger, memory) = in_memory();
        slog_scope::scope(&without_noise(&logger), || {
            log::info!(target: "actix_rt", "arbiter {} started", 1);
            log::debug!(target: "mio::poll", "registering");
            log::warn!(target: "mio::poll", "kept");
        });
        let lines = memory.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["msg"], "arbiter 1 started");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["target"], "actix_rt");
        assert_eq!(lines[1]["msg"], "kept");
    }
}
