//! Durations (`"250ms"`, `"30s"`, `"10m"`, `"24h"`) and sizes (`"512B"`, `"64KiB"`, `"1MiB"`).
//!
//! An amount is a whole number with one unit. A bare number is refused, because it could be seconds or milliseconds.

use std::time::Duration;

/// A year. Longer times make no difference, and deadlines computed from this cannot overflow.
pub(super) const MAX_DURATION: Duration = Duration::from_hours(8760);

const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 3] = [("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// # Errors
/// Says what to write instead.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let number = match split(text, &DURATION_UNITS) {
        AmountParts::Bare => {
            return Err(format!("has no unit: write \"{text}ms\", \"{text}s\", \"{text}m\" or \"{text}h\""));
        }
        AmountParts::Good(milliseconds) => milliseconds.map(Duration::from_millis),
        AmountParts::Odd => return Err("must be a whole number with ms, s, m or h, such as \"30s\"".to_owned()),
    };
    number
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or_else(|| format!("must be at most {}", show_duration(MAX_DURATION)))
}

/// # Errors
/// Says what to write instead.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let number = match split(text, &SIZE_UNITS) {
        AmountParts::Bare => return Err(format!("has no unit: write \"{text}B\", \"{text}KiB\" or \"{text}MiB\"")),
        AmountParts::Good(bytes) => bytes.and_then(|bytes| usize::try_from(bytes).ok()),
        AmountParts::Odd => return Err("must be a whole number with B, KiB or MiB, such as \"64KiB\"".to_owned()),
    };
    number.ok_or_else(|| "is too large".to_owned())
}

/// Shows a duration in the largest unit that needs no fraction; [`duration`] reads it back.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// Shows a size in the largest unit that needs no fraction; [`size`] reads it back.
pub(super) fn show_size(bytes: usize) -> String {
    show(u64::try_from(bytes).unwrap_or(u64::MAX), &SIZE_UNITS)
}

enum AmountParts {
    /// A number without a unit.
    Bare,
    /// The amount in the smallest unit; `None` if it does not fit.
    Good(Option<u64>),
    Odd,
}

fn split(text: &str, units: &[(&str, u64)]) -> AmountParts {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return AmountParts::Odd;
    }
    if unit.is_empty() {
        return AmountParts::Bare;
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else { return AmountParts::Odd };
    AmountParts::Good(number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)))
}

/// `units` go from the largest to the smallest, whose factor is 1.
fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor));
    match whole.or(units.last()) {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, milliseconds) in
            [("250ms", 250), ("30s", 30_000), ("10m", 600_000), ("24h", 86_400_000), ("0s", 0), ("007s", 7000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1_048_576), ("0B", 0)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn faults_say_what_to_write() {
        let odd = "must be a whole number with ms, s, m or h, such as \"30s\"";
        for (text, what) in [
            ("30", "has no unit: write \"30ms\", \"30s\", \"30m\" or \"30h\""),
            ("", odd),
            ("s", odd),
            ("1.5s", odd),
            ("-1s", odd),
            ("30 s", odd),
            ("30S", odd),
            ("1d", odd),
            ("٣s", odd),
            ("8761h", "must be at most 8760h"),
            ("99999999999999999999s", "must be at most 8760h"),
            ("18446744073709551615h", "must be at most 8760h"),
        ] {
            assert_eq!(duration(text), Err(what.to_owned()), "{text}");
        }
        let odd = "must be a whole number with B, KiB or MiB, such as \"64KiB\"";
        for (text, what) in [
            ("64", "has no unit: write \"64B\", \"64KiB\" or \"64MiB\""),
            ("64KB", odd),
            ("64k", odd),
            ("", odd),
            ("99999999999999999999B", "is too large"),
        ] {
            assert_eq!(size(text), Err(what.to_owned()), "{text}");
        }
    }

    #[test]
    fn zero_is_shown_with_a_unit() {
        assert_eq!(show_duration(Duration::ZERO), "0ms");
        assert_eq!(show_size(0), "0B");
    }

    proptest! {
        #[test]
        fn a_shown_amount_reads_back(milliseconds in 0..=31_536_000_000_u64, bytes in 0..=usize::MAX) {
            let time = Duration::from_millis(milliseconds);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn a_bare_number_is_never_taken(number in any::<u64>()) {
            prop_assert!(duration(&number.to_string()).is_err());
            prop_assert!(size(&number.to_string()).is_err());
        }

        #[test]
        fn no_text_is_too_odd(text in ".*", number in "[0-9]{0,30}", unit in "(ms|s|m|h|B|KiB|MiB|.)") {
            for text in [text, format!("{number}{unit}")] {
                prop_assert!(duration(&text).is_ok_and(|time| time <= MAX_DURATION) || duration(&text).is_err());
                let _ = size(&text);
            }
        }
    }
}
