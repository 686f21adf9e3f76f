//! How long a request may take: what the client says in `grpc-timeout`, else the server's own limit.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Extensions, HeaderMap};
use tokio::time::{Instant, Sleep};
use tonic::Request;

/// Clients end a call at their deadline with a bare CANCELLED or DEADLINE_EXCEEDED. We answer this much earlier, so that the
/// client learns what is known instead: its clock runs since it sent the request, and the answer has to get there, so this
/// is a round trip across a continent, or the pause that a busy machine makes.
const MARGIN: Duration = Duration::from_millis(100);

/// When the head of a request came: its client's time runs from then on, and its message may take a while. In its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Arrived(pub Instant);

/// What the client allows, when it says so.
///
/// A header that is not well-formed counts as absent, as the transport treats it too.
#[must_use]
pub fn client_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
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

/// When a unary request must be answered that is handled now.
#[must_use]
pub fn of_request<T>(request: &Request<T>, request_timeout: Duration) -> Instant {
    match client_timeout(request.metadata().as_ref()) {
        Some(timeout) => arrived(request.extensions()) + early(timeout),
        None => Instant::now() + request_timeout,
    }
}

/// When a stream must end; `None` when the client set no limit.
#[must_use]
pub fn of_stream<T>(request: &Request<T>) -> Option<Instant> {
    let timeout = client_timeout(request.metadata().as_ref())?;
    Some(arrived(request.extensions()) + timeout)
}

fn arrived(extensions: &Extensions) -> Instant {
    extensions
        .get()
        .map_or_else(Instant::now, |Arrived(instant)| *instant)
}

/// How long the message of a unary request may take, of which the client allows that much in all.
#[must_use]
pub fn of_message(headers: &HeaderMap, within: Duration) -> Duration {
    client_timeout(headers).map_or(within, |timeout| early(timeout).min(within))
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

    fn with_timeout(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-timeout"),
            http::HeaderValue::from_static(value),
        )])
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
        assert_eq!(client_timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn a_client_s_time_runs_from_when_its_request_came() {
        let arrived = Instant::now() - Duration::from_secs(2);
        let mut request = Request::new(());
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(with_timeout("5S"));
        request.extensions_mut().insert(Arrived(arrived));
        let seconds = Duration::from_secs;
        assert_eq!(of_request(&request, seconds(30)), arrived + early(seconds(5)));
        assert_eq!(of_stream(&request), Some(arrived + seconds(5)));
        assert_eq!(of_message(&with_timeout("5S"), seconds(30)), early(seconds(5)));
        assert_eq!(of_message(&with_timeout("5S"), seconds(1)), seconds(1));
    }

    #[test]
    fn the_answer_comes_before_the_transport_gives_up() {
        assert_eq!(early(Duration::from_secs(1)), Duration::from_millis(900));
        assert_eq!(early(Duration::from_millis(10)), Duration::from_millis(8));
    }
}
