//! How long a request may take: what the client says in `grpc-timeout`, else the server's own limit.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};
use tonic::metadata::MetadataMap;

/// Clients end a call at their deadline with a bare CANCELLED or DEADLINE_EXCEEDED. We answer this much earlier, so that the
/// client learns what is known instead: its clock runs since it sent the request, and the answer has to get there, so this
/// is a round trip across a continent, or the pause that a busy machine makes.
const MARGIN: Duration = Duration::from_millis(100);

/// What the client allows, when it says so.
///
/// A header that is not well-formed counts as absent, as the transport treats it too.
#[must_use]
pub fn client_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let unit_at = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    // The protocol allows eight digits.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// When a unary request that came now must be answered.
#[must_use]
pub fn of_request(metadata: &MetadataMap, request_timeout: Duration) -> Instant {
    Instant::now() + client_timeout(metadata).map_or(request_timeout, early)
}

/// When a stream that began now must end; `None` when the client set no limit.
#[must_use]
pub fn of_stream(metadata: &MetadataMap) -> Option<Instant> {
    client_timeout(metadata).map(|timeout| Instant::now() + timeout)
}

/// Waits until `deadline` with a timer that may stand earlier: where deadlines rise one after the other, the timer is moved
/// once in a while and not for each of them.
pub fn poll_until(timer: &mut Pin<Box<Sleep>>, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        ready!(timer.as_mut().poll(cx));
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        timer.as_mut().reset(deadline);
    }
}

/// A fifth earlier at most: a deadline of a few milliseconds must not vanish.
fn early(timeout: Duration) -> Duration {
    timeout - MARGIN.min(timeout / 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_timeout(value: &'static str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", tonic::metadata::MetadataValue::from_static(value));
        metadata
    }

    #[test]
    fn every_unit_of_the_protocol_is_understood() {
        let cases = [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("7n", Duration::from_nanos(7)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ];
        for (text, expected) in cases {
            assert_eq!(client_timeout(&with_timeout(text)), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_header_that_is_not_well_formed_counts_as_absent() {
        for text in ["", "S", "5", "5x", "+5S", "-5S", "123456789S", "5 S"] {
            assert_eq!(client_timeout(&with_timeout(text)), None, "{text:?}");
        }
        assert_eq!(client_timeout(&MetadataMap::new()), None);
    }

    #[test]
    fn the_answer_comes_before_the_transport_gives_up() {
        assert_eq!(early(Duration::from_secs(1)), Duration::from_millis(900));
        assert_eq!(early(Duration::from_millis(10)), Duration::from_millis(8));
    }
}
