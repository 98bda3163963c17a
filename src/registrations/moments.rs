//! Reads times as authorization services write them: ISO 8601, or seconds or milliseconds since the epoch.

use std::time::Duration;

use serde_json::Value;

/// A number from here on is in milliseconds; in seconds it would be the year 33658.
const MIN_MILLISECONDS_VALUE: f64 = 1e12;

/// Larger values are no times (the year 9999).
const MAX_EPOCH_SECONDS: f64 = 253_402_300_800.0;

/// Time since the epoch; `None` if the value is no time, or before the epoch.
pub(super) fn moment(value: &Value) -> Option<Duration> {
    match value {
        Value::Number(number) => since_epoch(number.as_f64()?),
        Value::String(text) => text.parse().ok().and_then(since_epoch).or_else(|| iso(text)),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => None,
    }
}

fn since_epoch(number: f64) -> Option<Duration> {
    let seconds = if number >= MIN_MILLISECONDS_VALUE { number / 1000.0 } else { number };
    (0.0..MAX_EPOCH_SECONDS)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
        .filter(|moment| !moment.is_zero())
}

/// Reads `2026-01-01T19:00:00Z`, with or without fraction and offset; UTC without an offset.
fn iso(text: &str) -> Option<Duration> {
    let (date, time) = text.trim().split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, offset) = time.split_at_checked(at)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.splitn(3, ':').map(digits);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().unwrap_or(Some(0))?);
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour <= 24
        && minute < 60
        && second <= 60;
    if !fits {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - shift(offset)?;
    let fraction: f64 = format!("0.{}", fraction.get(..9).unwrap_or(fraction)).parse().ok()?;
    since_epoch_of(seconds, fraction)
}

fn since_epoch_of(seconds: i64, fraction: f64) -> Option<Duration> {
    Some(Duration::from_secs(u64::try_from(seconds).ok()?) + Duration::try_from_secs_f64(fraction).ok()?)
}

/// Offset in seconds east of UTC.
fn shift(offset: &str) -> Option<i64> {
    let (sign, rest) = match offset.as_bytes().first() {
        None | Some(b'Z' | b'z') => return Some(0),
        Some(b'-') => (-1, offset.get(1..)?),
        Some(_) => (1, offset.get(1..)?),
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None => rest.split_at_checked(2)?,
    };
    let minutes = if minutes.is_empty() { 0 } else { digits(minutes)? };
    Some(sign * (digits(hours)? * 3600 + minutes * 60))
}

fn digits(text: &str) -> Option<i64> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin with March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn moments_are_read_in_every_form() {
        for (value, milliseconds) in [
            (json!("2026-01-01T19:00:00Z"), Some(1_767_294_000_000_u64)),
            (json!("2026-01-01T19:00:00.250Z"), Some(1_767_294_000_250)),
            (json!("2026-01-01T19:00Z"), Some(1_767_294_000_000)),
            (json!("2026-01-01T20:00:00+01:00"), Some(1_767_294_000_000)),
            (json!("2026-01-01T14:00:00-0500"), Some(1_767_294_000_000)),
            (json!("2026-01-01T19:00:00"), Some(1_767_294_000_000)),
            (json!("2024-02-29T00:00:00Z"), Some(1_709_164_800_000)),
            (json!(1_767_294_000), Some(1_767_294_000_000)),
            (json!(1_767_294_000_000_u64), Some(1_767_294_000_000)),
            (json!("1767294000"), Some(1_767_294_000_000)),
            (json!("1767294000000"), Some(1_767_294_000_000)),
            (json!(0), None),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("tomorrow"), None),
            (json!("2026-13-01T00:00:00Z"), None),
            (json!("1969-12-31T23:59:59Z"), None),
            (json!(null), None),
            (json!(""), None),
            (json!("NaN"), None),
        ] {
            let found = moment(&value).map(|moment| moment.as_millis());
            assert_eq!(found, milliseconds.map(u128::from), "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "[0-9TZ:+. -]{0,30}|.{0,30}") {
            let _any = moment(&json!(text));
        }
    }
}
