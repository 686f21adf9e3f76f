//! Where a reader starts: `--from`.

use crate::client::Position;

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PositionError {
    #[error("write earliest, latest, an OFFSET, -N (the last N records) or @TIME")]
    Unknown,
    #[error(
        "write the time as @2026-11-20T06:51:00Z, with +02:00 in place of Z where that is meant, or as @SECONDS since 1970"
    )]
    Time,
}

/// A place in the log, as a person writes it.
pub(super) fn parse_position(text: &str) -> Result<Position, PositionError> {
    match text {
        "earliest" => return Ok(Position::Earliest),
        "latest" => return Ok(Position::Latest),
        _ => {}
    }
    if let Some(time) = text.strip_prefix('@') {
        return unix_ms(time)
            .or_else(|| rfc3339_ms(time))
            .map(Position::Time)
            .ok_or(PositionError::Time);
    }
    if let Some(count) = text.strip_prefix('-') {
        return digits(count).map(Position::FromEnd).ok_or(PositionError::Unknown);
    }
    digits(text).map(Position::Offset).ok_or(PositionError::Unknown)
}

/// `u64::from_str` takes a plus sign too, which here would only be a slip.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Seconds since 1970, with up to three decimals.
fn unix_ms(text: &str) -> Option<u64> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if decimals.is_empty() || decimals.len() > 3 {
        return None;
    }
    let ms = digits(decimals)? * 10_u64.pow(3 - u32::try_from(decimals.len()).ok()?);
    digits(seconds)?.checked_mul(1000)?.checked_add(ms)
}

/// A time as RFC 3339 writes it, in UTC or with an offset from it.
fn rfc3339_ms(text: &str) -> Option<u64> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return ms_since_1970(time, 0);
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead_ms = i64::try_from((hours * 60 + minutes) * 60_000).ok()?;
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    match zone.as_bytes()[0] {
        b'+' => ms_since_1970(time, ahead_ms),
        b'-' => ms_since_1970(time, -ahead_ms),
        _ => None,
    }
}

fn ms_since_1970(time: std::time::SystemTime, ahead_ms: i64) -> Option<u64> {
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis())
        .ok()?
        .checked_add_signed(-ahead_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_word_an_offset_a_time_or_a_distance_from_the_end() {
        let table = [
            ("earliest", Position::Earliest),
            ("latest", Position::Latest),
            ("0", Position::Offset(0)),
            ("18446744073709551615", Position::Offset(u64::MAX)),
            ("-10", Position::FromEnd(10)),
            ("-0", Position::FromEnd(0)),
            ("@0", Position::Time(0)),
            ("@1700000000", Position::Time(1_700_000_000_000)),
            ("@1700000000.5", Position::Time(1_700_000_000_500)),
            ("@1700000000.007", Position::Time(1_700_000_000_007)),
            ("@2023-11-14T22:13:20Z", Position::Time(1_700_000_000_000)),
            ("@2023-11-14T22:13:20.250Z", Position::Time(1_700_000_000_250)),
            ("@2023-11-15T00:13:20+02:00", Position::Time(1_700_000_000_000)),
            ("@2023-11-14T16:43:20-05:30", Position::Time(1_700_000_000_000)),
        ];
        for (text, wanted) in table {
            assert_eq!(parse_position(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_position_says_how_to_write_one() {
        let table = [
            ("", PositionError::Unknown),
            ("newest", PositionError::Unknown),
            ("+5", PositionError::Unknown),
            ("-", PositionError::Unknown),
            ("--5", PositionError::Unknown),
            ("1e3", PositionError::Unknown),
            ("18446744073709551616", PositionError::Unknown),
            ("@", PositionError::Time),
            ("@yesterday", PositionError::Time),
            ("@1700000000.", PositionError::Time),
            ("@1.2345", PositionError::Time),
            ("@2023-11-14", PositionError::Time),
            ("@2023-11-14T22:13:20", PositionError::Time),
            ("@2023-11-14T22:13:20+2:00", PositionError::Time),
            ("@2023-11-14T22:13:20*02:00", PositionError::Time),
            ("@2023-13-14T22:13:20Z", PositionError::Time),
            ("@1969-12-31T23:59:59Z", PositionError::Time),
            ("@1970-01-01T00:00:00+01:00", PositionError::Time),
            ("@ü2:00", PositionError::Time),
        ];
        for (text, wanted) in table {
            assert_eq!(parse_position(text), Err(wanted), "{text}");
        }
    }
}
