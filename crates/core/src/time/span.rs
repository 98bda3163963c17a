//! A length of time in records. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds, up to 584 years.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RecordedSpan(pub(super) u64);

impl From<Duration> for RecordedSpan {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<RecordedSpan> for Duration {
    fn from(span: RecordedSpan) -> Self {
        Self::from_nanos(span.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number() {
        let span = RecordedSpan::from(Duration::new(3, 7));
        assert_eq!(serde_json::to_string(&span).unwrap(), "3000000007");
        assert_eq!(serde_json::from_str::<RecordedSpan>("3000000007").unwrap(), span);
        for odd in ["-1", "1.5", "null", "\"3\"", "[3,7]", r#"{"secs":3,"nanos":7}"#, "{}"] {
            assert!(serde_json::from_str::<RecordedSpan>(odd).is_err(), "{odd}");
        }
        let endless = RecordedSpan::from(Duration::MAX);
        assert_eq!(serde_json::from_str::<RecordedSpan>(&serde_json::to_string(&endless).unwrap()).unwrap(), endless);
    }
}
