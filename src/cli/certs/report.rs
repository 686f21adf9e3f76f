//! What was made, for people and for programs.

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;

use crate::{certs::Certificate, types::TimestampMs};

use super::super::output::{Format, write_json};

/// A day in milliseconds.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// A certificate that was made, and where it is.
#[derive(Debug, Serialize)]
pub(super) struct Saved {
    name: String,
    identity: String,
    dns: Vec<String>,
    ip: Vec<std::net::IpAddr>,
    not_before: String,
    not_after: String,
    certificate: String,
    key: String,
    /// Its authority expires before it would.
    shortened: bool,
}

impl Saved {
    /// `shortened` when it is valid for less than was asked for.
    pub(super) fn new(
        name: &str,
        made: &Certificate,
        (certificate, key): (&Path, &Path),
        shortened: bool,
    ) -> Self {
        Self {
            name: name.to_owned(),
            identity: made
                .identity
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            dns: made.dns.clone(),
            ip: made.ips.clone(),
            not_before: time(made.not_before),
            not_after: time(made.not_after),
            certificate: certificate.display().to_string(),
            key: key.display().to_string(),
            shortened,
        }
    }
}

/// All that was made by one command, and what comes next.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) certificates: Vec<Saved>,
    pub(super) next: Vec<String>,
}

impl Report {
    /// Prints it.
    pub(super) fn write(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        if format == Format::Json {
            return write_json(out, self);
        }
        for saved in &self.certificates {
            let width = saved.certificate.chars().count();
            let until = date(&saved.not_after);
            let why = if saved.shortened {
                ", when its authority expires"
            } else {
                ""
            };
            let Saved {
                certificate,
                key,
                identity,
                ..
            } = saved;
            writeln!(out, "saved  {certificate}  {identity}, valid until {until}{why}")?;
            writeln!(out, "saved  {key:width$}  its private key")?;
        }
        for next in &self.next {
            writeln!(out, "next: {next}")?;
        }
        Ok(())
    }
}

/// A time as programs read it. The last second that can be written so stands for all that come later.
pub(super) fn time(at: TimestampMs) -> String {
    const LAST_SECOND: u64 = 253_402_300_799;
    let seconds = (at.0 / 1000).min(LAST_SECOND);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Of a time, the day.
pub(super) fn date(time: &str) -> &str {
    time.split('T').next().unwrap_or_default()
}

/// Whole days until then; less than nothing when it is over.
pub(super) fn days_left(until: TimestampMs, now: TimestampMs) -> i64 {
    let days = |ms: u64| i64::try_from(ms / DAY_MS).unwrap_or(i64::MAX);
    match until.0.checked_sub(now.0) {
        Some(left) => days(left),
        None => -1 - days(now.0 - until.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_can_be_written() {
        assert_eq!(time(TimestampMs(0)), "1970-01-01T00:00:00Z");
        assert_eq!(time(TimestampMs(u64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(date(&time(TimestampMs(1_795_157_460_000))), "2026-11-20");
    }

    #[test]
    fn a_day_is_left_when_it_is_whole() {
        let left = |until, now| days_left(TimestampMs(until), TimestampMs(now));
        assert_eq!(left(DAY_MS, 0), 1);
        assert_eq!(left(DAY_MS - 1, 0), 0);
        assert_eq!(left(0, 0), 0);
        assert_eq!(left(0, 1), -1);
        assert_eq!(left(0, DAY_MS), -2);
    }
}
