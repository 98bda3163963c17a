//! A length of time in records. Pure.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Nanoseconds, up to 584 years. Also reads journals of format 1, with seconds and nanoseconds apart.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
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

impl<'de> Deserialize<'de> for RecordedSpan {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct SpanForm;
        impl<'de> Visitor<'de> for SpanForm {
            type Value = RecordedSpan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nanoseconds")
            }

            fn visit_u64<E>(self, nanos: u64) -> Result<RecordedSpan, E> {
                Ok(RecordedSpan(nanos))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RecordedSpan, A::Error> {
                Duration::deserialize(MapAccessDeserializer::new(map)).map(RecordedSpan::from)
            }
        }
        from.deserialize_any(SpanForm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_is_read_in_both_forms() {
        let span = RecordedSpan::from(Duration::new(3, 7));
        assert_eq!(serde_json::to_string(&span).unwrap(), "3000000007");
        for text in ["3000000007", r#"{"secs":3,"nanos":7}"#] {
            assert_eq!(serde_json::from_str::<RecordedSpan>(text).unwrap(), span, "{text}");
        }
        for odd in ["-1", "1.5", "null", "\"3\"", "[3,7]", r#"{"secs":3}"#, "{}"] {
            assert!(serde_json::from_str::<RecordedSpan>(odd).is_err(), "{odd}");
        }
        let endless = RecordedSpan::from(Duration::MAX);
        assert_eq!(serde_json::from_str::<RecordedSpan>(&serde_json::to_string(&endless).unwrap()).unwrap(), endless);
    }
}
