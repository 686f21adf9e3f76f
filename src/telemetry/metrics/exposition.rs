//! The text format of Prometheus, version 0.0.4.

use std::{fmt, time::Duration};

use super::Metric;

/// A value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number of things.
    Whole(u64),
    /// Seconds; less than none of what is over.
    Seconds(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        // No machine here has more than 64 bits.
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<Duration> for Value {
    fn from(value: Duration) -> Self {
        Self::Seconds(value.as_secs_f64())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Seconds(seconds) => seconds.fmt(f),
        }
    }
}

/// A text for Prometheus, made metric by metric; each is given once.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// The type of the text, for HTTP.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Of no metric yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A metric with one sample.
    pub fn one(&mut self, metric: &Metric<0>, value: impl Into<Value>) {
        self.each(metric, [([], value)]);
    }

    /// A metric with a sample for each of these; nothing is written of one that has none. No two may have the same labels.
    pub fn each<const N: usize, V: Into<Value>>(
        &mut self,
        metric: &Metric<N>,
        samples: impl IntoIterator<Item = ([String; N], V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let (name, kind) = (metric.name, metric.kind.as_str());
        self.push(format_args!(
            "# HELP {name} {}\n# TYPE {name} {kind}\n",
            metric.help
        ));
        for (values, value) in samples {
            self.text.push_str(name);
            for (number, (label, value)) in metric.labels.iter().zip(&values).enumerate() {
                let before = if number == 0 { '{' } else { ',' };
                self.push(format_args!("{before}{label}=\"{}\"", Escaped(value)));
            }
            let after = if N == 0 { "" } else { "}" };
            self.push(format_args!("{after} {}\n", value.into()));
        }
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        fmt::Write::write_fmt(&mut self.text, text).expect("writing to a string does not fail");
    }
}

/// The value of a label. It may come from outside, as names in certificates do.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                // It means nothing to Prometheus, and much to a terminal.
                c if c.is_control() => f.write_str("?")?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Kind;

    const PLAIN: Metric<0> = Metric {
        name: "a_total",
        kind: Kind::Counter,
        labels: [],
        help: "Number of a.",
    };
    const LABELLED: Metric<2> = Metric {
        name: "b_seconds",
        kind: Kind::Gauge,
        labels: ["peer", "id"],
        help: "Age of b.",
    };

    #[test]
    fn each_metric_is_written_once_with_its_samples_behind_it() {
        let mut text = Exposition::new();
        text.one(&PLAIN, u64::MAX);
        text.each(
            &LABELLED,
            [
                (["x".to_owned(), "1".to_owned()], Value::Seconds(-1.5)),
                (
                    ["y\"\\\n\u{7}}".to_owned(), "2".to_owned()],
                    Duration::from_millis(20).into(),
                ),
            ],
        );
        let wanted = concat!(
            "# HELP a_total Number of a.\n# TYPE a_total counter\na_total 18446744073709551615\n",
            "# HELP b_seconds Age of b.\n# TYPE b_seconds gauge\n",
            "b_seconds{peer=\"x\",id=\"1\"} -1.5\n",
            "b_seconds{peer=\"y\\\"\\\\\\n?}\",id=\"2\"} 0.02\n",
        );
        assert_eq!(text.finish(), wanted);
    }

    #[test]
    fn a_metric_without_samples_is_not_written() {
        let mut text = Exposition::new();
        text.each(&LABELLED, Vec::<([String; 2], u64)>::new());
        assert_eq!(text.finish(), "");
    }
}
