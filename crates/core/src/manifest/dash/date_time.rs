//! Reads times as MPDs write them: `xs:duration` and `xs:dateTime`. The DASH readers call it.

use std::time::Duration;

/// Longest duration; no sum with it leaves the range of a clock.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads `PT1H2M3.5S`; `None` for months and years, which have no fixed length.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (days, time) = text.trim().strip_prefix('P')?.split_once('T').unwrap_or((text.trim().get(1..)?, ""));
    let mut seconds = parts(days, &[('D', 86_400.0)])?;
    seconds += parts(time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= MAX_DURATION)
}

fn parts(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut sum = 0.0;
    for (unit, seconds) in units {
        if let Some((number, rest)) = text.split_once(*unit) {
            sum += number.parse::<f64>().ok().filter(|number| *number >= 0.0)? * seconds;
            text = rest;
        }
    }
    text.is_empty().then_some(sum)
}

/// Reads `2026-01-01T19:00:00Z` since the epoch; without a zone it is UTC (ISO/IEC 23009-1).
pub(super) fn date_time(text: &str) -> Option<Duration> {
    let (date, time) = text.trim().split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at_checked(zone)?;
    let mut time = time.splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let seconds = (days(year, month, day)? * 86_400) as f64 + hour * 3600.0 + minute * 60.0 + second;
    Duration::try_from_secs_f64(seconds - offset(zone)?).ok()
}

fn offset(zone: &str) -> Option<f64> {
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, zone.trim_start_matches(['Z', '+'])),
    };
    if rest.is_empty() {
        return Some(0.0);
    }
    let (hours, minutes) = rest.split_once(':')?;
    Some(sign * (hours.parse::<f64>().ok()? * 3600.0 + minutes.parse::<f64>().ok()? * 60.0))
}

/// Days since 1970-01-01, by the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !((1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)) {
        return None;
    }
    // The year begins in March here, so that the leap day is its last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_dates_are_read() {
        for (text, seconds) in [
            ("PT12S", Some(12.0)),
            ("P1DT1H2M3.5S", Some(90_123.5)),
            ("PT0.5M", Some(30.0)),
            ("PT0S", Some(0.0)),
            ("P0DT0H3M0.000S", Some(180.0)),
            ("P1Y", None),
            ("PT-1S", None),
            ("PT18446744073709551615S", None),
            ("P1e300D", None),
            ("12", None),
            ("", None),
        ] {
            assert_eq!(duration(text).map(|time| time.as_secs_f64()), seconds, "{text}");
        }
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0.0)),
            ("2026-11-22T00:30:00Z", Some(1_795_307_400.0)),
            ("2026-11-22T01:30:00.250+01:00", Some(1_795_307_400.25)),
            ("2024-02-29T00:00:00", Some(1_709_164_800.0)),
            ("2026-13-01T00:00:00Z", None),
            ("x", None),
        ] {
            assert_eq!(date_time(text).map(|time| time.as_secs_f64()), seconds, "{text}");
        }
    }
}
