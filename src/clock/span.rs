//! A length of time as it is written down. Pure.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// In nanoseconds, up to 584 years. Journals of format 1 say seconds and nanoseconds apart: these are read, too.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Span(pub(super) u64);

impl From<Duration> for Span {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nanoseconds")
            }

            fn visit_u64<E>(self, nanos: u64) -> Result<Span, E> {
                Ok(Span(nanos))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Span, A::Error> {
                Duration::deserialize(MapAccessDeserializer::new(map)).map(Span::from)
            }
        }
        from.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_is_read_in_both_forms() {
        let span = Span::from(Duration::new(3, 7));
        assert_eq!(serde_json::to_string(&span).unwrap(), "3000000007");
        for text in ["3000000007", r#"{"secs":3,"nanos":7}"#] {
            assert_eq!(serde_json::from_str::<Span>(text).unwrap(), span, "{text}");
        }
        for odd in ["-1", "1.5", "null", "\"3\"", "[3,7]", r#"{"secs":3}"#, "{}"] {
            assert!(serde_json::from_str::<Span>(odd).is_err(), "{odd}");
        }
        let endless = Span::from(Duration::MAX);
        assert_eq!(serde_json::from_str::<Span>(&serde_json::to_string(&endless).unwrap()).unwrap(), endless);
    }
}
