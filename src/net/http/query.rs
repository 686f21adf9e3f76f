//! The parameters of a request: strict, so that one which is misspelt is not one which is passed over.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::{
    encoded::{NotEncoded, decoded},
    record::Encoding,
    routes::Route,
};
use crate::{
    net::{echo::beginning, status::Refusal},
    proto::raw::annals::v1::{ReadLevel, start::Position},
    types::Offset,
};

/// The most that a read waits: proxies give up after a minute.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// The one parameter that may be any bytes.
const KEY: &str = "key";

/// The parameters of a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    texts: Vec<(String, String)>,
    key: Option<Bytes>,
}

impl Query {
    /// Of a request for that route.
    ///
    /// Errors: `Invalid` for a name that the route does not know, or that is there twice, for what is no percent-encoding, and for a
    /// value that is no text, where it has to be.
    pub fn parse(query: Option<&str>, route: &Route) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        let mut at = 0;
        for pair in query.unwrap_or_default().split('&') {
            let begins = at;
            at += pair.len() + 1;
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value_begins = begins + name.len() + 1;
            let name = String::from_utf8_lossy(&read_encoded(name, begins)?).into_owned();
            let value = read_encoded(value, value_begins)?;
            parsed.take(name, value, route)?;
        }
        Ok(parsed)
    }

    fn take(&mut self, name: String, value: Vec<u8>, route: &Route) -> Result<(), Refusal> {
        if !route.parameters.contains(&name.as_str()) {
            let takes = match route.parameters {
                [] => "none".to_owned(),
                parameters => parameters.join(", "),
            };
            return Err(Refusal::invalid(format!(
                "{:?} is no parameter of {}; it takes {takes}",
                beginning(&name),
                route.method.path
            )));
        }
        if self.text(&name).is_some() || (name == KEY && self.key.is_some()) {
            return Err(Refusal::invalid(format!("the parameter {name:?} is there twice")));
        }
        if name == KEY {
            self.key = Some(value.into());
            return Ok(());
        }
        match String::from_utf8(value) {
            Ok(text) => self.texts.push((name, text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                return Err(Refusal::invalid(format!(
                    "the parameter {name} is not UTF-8 at its byte {at}, counted from 0: write text in UTF-8, and then percent-encoded"
                )));
            }
        }
        Ok(())
    }

    /// The value of a parameter that is text, as all are but the key.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let pair = self.texts.iter().find(|(known, _)| known == name)?;
        Some(&pair.1)
    }

    /// The key of a record, byte by byte as it was written.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// The same of a number.
    ///
    /// Errors: `Invalid` where it is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.read(name, "a whole number", |text| text.parse().ok())
    }

    /// The name of the log.
    #[must_use]
    pub fn log(&self) -> &str {
        self.text("log").unwrap_or_default()
    }

    /// Where a read begins: by `offset` or `timestamp_ms`, of which one may be there.
    ///
    /// Errors: `Invalid`.
    pub fn position(&self) -> Result<Option<Position>, Refusal> {
        let expected = "an offset, earliest, latest, or -N for the last N records";
        let by_offset = self.read("offset", expected, position)?;
        let by_time = self.number("timestamp_ms")?.map(Position::TimestampMs);
        match (by_offset, by_time) {
            (Some(_), Some(_)) => Err(Refusal::invalid(
                "the parameters offset and timestamp_ms both say where to begin; leave one out",
            )),
            (position, None) | (None, position) => Ok(position),
        }
    }

    /// How fresh a read must be; `usual` where it is left open.
    ///
    /// Errors: `Invalid`.
    pub fn level(&self, usual: ReadLevel) -> Result<ReadLevel, Refusal> {
        let level = |text: &str| match text {
            "linearizable" => Some(ReadLevel::Linearizable),
            "lease" => Some(ReadLevel::Lease),
            "local" => Some(ReadLevel::Local),
            _ => None,
        };
        Ok(self
            .read("level", "linearizable, lease or local", level)?
            .unwrap_or(usual))
    }

    /// What must be readable before the read begins.
    ///
    /// Errors: `Invalid`.
    pub fn min_offset(&self) -> Result<Offset, Refusal> {
        Ok(Offset(self.number("min_offset")?.unwrap_or_default()))
    }

    /// How bytes are shown.
    ///
    /// Errors: `Invalid`.
    pub fn encoding(&self) -> Result<Encoding, Refusal> {
        let encoding = |text: &str| match text {
            "base64" => Some(Encoding::Base64),
            "text" => Some(Encoding::Text),
            _ => None,
        };
        Ok(self
            .read("encoding", "base64 or text", encoding)?
            .unwrap_or(Encoding::Base64))
    }

    /// How long a read waits at the tail; `None`: it does not.
    ///
    /// Errors: `Invalid`, also for more than [`WAIT_MAX`].
    pub fn wait(&self) -> Result<Option<Duration>, Refusal> {
        let wait = self.read("wait", "a time such as 500ms or 5s", |text| {
            humantime::parse_duration(text).ok()
        })?;
        match wait {
            Some(wait) if wait > WAIT_MAX => Err(Refusal::invalid(format!(
                "the parameter wait is {wait:?}, and at most {WAIT_MAX:?}; ask again when it has passed, or follow by /v1/tail"
            ))),
            wait => Ok(wait.filter(|wait| !wait.is_zero())),
        }
    }

    /// Whether something is asked for.
    ///
    /// Errors: `Invalid`.
    pub fn flag(&self, name: &str) -> Result<bool, Refusal> {
        let flag = self.read(name, "true or false", |text| match text {
            "true" | "" => Some(true),
            "false" => Some(false),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }

    fn read<T>(
        &self,
        name: &str,
        expected: impl fmt::Display,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Refusal::invalid(format!(
                "the parameter {name} is {:?}, and should be {expected}",
                beginning(text)
            ))),
        }
    }
}

/// What a name or a value stands for, which begins there in the query.
fn read_encoded(text: &str, begins: usize) -> Result<Vec<u8>, Refusal> {
    decoded(text).map_err(|NotEncoded { at }| {
        let at = begins + at;
        Refusal::invalid(format!(
            "the query has a % at its byte {at}, counted from 0, that two hexadecimal digits do not follow: a percent sign itself is %25"
        ))
    })
}

fn position(text: &str) -> Option<Position> {
    match text {
        "earliest" => Some(Position::Earliest(true)),
        "latest" => Some(Position::Latest(true)),
        _ => match text.strip_prefix('-') {
            Some(count) => count.parse().ok().map(Position::FromEnd),
            None => text.parse().ok().map(Position::Offset),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::http::routes::{Ask, ROUTES};

    fn of(ask: Ask, query: &str) -> Result<Query, Refusal> {
        let route = ROUTES.iter().find(|route| route.ask == ask).unwrap();
        Query::parse(Some(query), route)
    }

    fn read(query: &str) -> Query {
        of(Ask::Consume, query).unwrap()
    }

    #[test]
    fn a_parameter_that_is_not_known_or_there_twice_is_refused_by_its_name() {
        for (query, named) in [
            (
                "ofset=3",
                "\"ofset\" is no parameter of GET /v1/records; it takes log, offset,",
            ),
            ("offset=3&count=1&offset=3", "\"offset\" is there twice"),
        ] {
            let refusal = of(Ask::Consume, query).unwrap_err().to_string();
            assert!(refusal.contains(named), "{refusal}");
        }
        let refusal = of(Ask::ProduceRecord, "offset=3").unwrap_err().to_string();
        assert!(refusal.ends_with("it takes none"), "{refusal}");
    }

    /// The story: `?key=%FF` was stored as U+FFFD, as was whatever else is no text.
    #[test]
    fn a_key_is_the_bytes_that_were_written_and_all_else_is_text_or_refused_with_its_place() {
        let produce = |query: &str| of(Ask::Produce, query);
        for (query, key) in [
            ("key=%FF%00+%2b", Some(&b"\xff\0 +"[..])),
            ("key=%C3%A9", Some("é".as_bytes())),
            ("timestamp_ms=1&key", Some(b"")),
            ("&timestamp_ms=1&", None),
        ] {
            let read = produce(query).unwrap();
            assert_eq!(read.key().map(|key| &key[..]), key, "{query}");
        }
        assert!(produce("k%65y=a&key=b").is_err(), "it is there twice");
        for (query, named) in [
            ("key=a&log=ab%FFc", "the parameter log is not UTF-8 at its byte 2"),
            ("key=a&l%FF=a", "\"l\u{fffd}\" is no parameter"),
            ("log=a&key=100%", "a % at its byte 13,"),
            ("log=a&key%=1", "a % at its byte 9,"),
        ] {
            let refusal = produce(query).unwrap_err().to_string();
            assert!(refusal.contains(named), "{query}: {refusal}");
        }
    }

    #[test]
    fn what_is_said_back_of_a_parameter_is_not_long() {
        let long = "x".repeat(10_000);
        let refusals = [
            of(Ask::Consume, &format!("{long}=1")).unwrap_err(),
            read(&format!("offset={long}")).position().unwrap_err(),
        ];
        for refusal in refusals {
            assert!(refusal.to_string().len() < 300, "{refusal}");
        }
    }

    #[test]
    fn a_place_is_written_as_for_the_program() {
        let cases = [
            ("", None),
            ("offset=7", Some(Position::Offset(7))),
            ("offset=earliest", Some(Position::Earliest(true))),
            ("offset=latest", Some(Position::Latest(true))),
            ("offset=-7", Some(Position::FromEnd(7))),
            ("timestamp_ms=7", Some(Position::TimestampMs(7))),
        ];
        for (query, position) in cases {
            assert_eq!(read(query).position().unwrap(), position, "{query}");
        }
        for query in [
            "offset=",
            "offset=x",
            "offset=--1",
            "offset=-",
            "timestamp_ms=-1",
            "offset=1&timestamp_ms=1",
        ] {
            assert!(read(query).position().is_err(), "{query}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_what_would() {
        let query = read("count=many&level=strong&encoding=hex&wait=5&min_offset=18446744073709551616");
        let refusals = [
            query.number("count").unwrap_err(),
            query.level(ReadLevel::Local).unwrap_err(),
            query.encoding().unwrap_err(),
            query.wait().unwrap_err(),
            query.min_offset().unwrap_err(),
        ];
        let expected = [
            "whole number",
            "linearizable, lease or local",
            "base64 or text",
            "500ms or 5s",
            "whole number",
        ];
        for (refusal, expected) in refusals.iter().zip(expected) {
            assert!(refusal.to_string().contains(expected), "{refusal}");
        }
        assert!(read("wait=61s").wait().unwrap_err().to_string().contains("60s"));
        assert_eq!(read("wait=60s").wait().unwrap(), Some(WAIT_MAX));
        assert_eq!(read("wait=0s").wait().unwrap(), None);
    }
}
