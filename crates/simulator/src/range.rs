//! Byte ranges as in RFC 9110 section 14; several ranges in one request are answered whole.

/// The bytes `first` to `last` of a whole, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ByteSpan {
    pub(super) first: u64,
    pub(super) last: u64,
}

#[derive(Debug, Eq, PartialEq)]
pub(super) enum RangeWanted {
    Nothing,
    Part(ByteSpan),
    Whole,
}

/// The part that a `Range` header wants of so many bytes. An unreadable header counts as none.
pub(super) fn wanted(range: Option<&str>, length: u64) -> RangeWanted {
    let Some(spec) = range.and_then(|range| range.strip_prefix("bytes=")) else { return RangeWanted::Whole };
    let Some((first, last)) = spec.trim().split_once('-').filter(|(_, last)| !last.contains(',')) else {
        return RangeWanted::Whole;
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let (first, last) = match (first.is_empty(), last.is_empty()) {
        (true, _) => match number(last) {
            Some(suffix) => (length.saturating_sub(suffix), if suffix == 0 { None } else { length.checked_sub(1) }),
            None => return RangeWanted::Whole,
        },
        (false, true) => match number(first) {
            Some(first) => (first, length.checked_sub(1)),
            None => return RangeWanted::Whole,
        },
        (false, false) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, length.checked_sub(1).map(|end| end.min(last))),
            (_, _) => return RangeWanted::Whole,
        },
    };
    match last {
        Some(last) if first <= last => RangeWanted::Part(ByteSpan { first, last }),
        Some(_) | None => RangeWanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_mean_what_the_rfc_says() {
        let part = |first, last| RangeWanted::Part(ByteSpan { first, last });
        for (range, length, expected) in [
            (None, 10, RangeWanted::Whole),
            (Some("bytes=0-3"), 10, part(0, 3)),
            (Some("bytes=2-"), 10, part(2, 9)),
            (Some("bytes=-3"), 10, part(7, 9)),
            (Some("bytes=-30"), 10, part(0, 9)),
            (Some("bytes=5-99"), 10, part(5, 9)),
            (Some("bytes=10-"), 10, RangeWanted::Nothing),
            (Some("bytes=-0"), 10, RangeWanted::Nothing),
            (Some("bytes=0-"), 0, RangeWanted::Nothing),
            (Some("bytes=3-2"), 10, RangeWanted::Whole),
            (Some("bytes=0-1,3-4"), 10, RangeWanted::Whole),
            (Some("bytes=a-b"), 10, RangeWanted::Whole),
            (Some("items=0-1"), 10, RangeWanted::Whole),
        ] {
            assert_eq!(wanted(range, length), expected, "{range:?} of {length}");
        }
    }
}
