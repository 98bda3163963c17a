//! Removes hop-by-hop headers, which concern one connection and must not go further.
//!
//! Owns the list (RFC 9110, 7.6.1) and the rule that every name in a `Connection` header goes too. Used for requests
//! and replies, also by the edge for players.

use std::collections::HashSet;

use http::header::{CONNECTION, HOST, HeaderMap, HeaderName};

/// `Host` always stays, even if `Connection` names it.
pub fn strip(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    let listed: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in listed {
        headers.remove(name);
    }
}

/// The names in all `Connection` headers, each once. The usual `keep-alive` and `close` name no header, so nothing is
/// allocated for them.
pub(super) fn named_by_connection(headers: &HeaderMap) -> HashSet<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    names
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| name != HOST)
        .collect()
}

pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "connection" | "http2-settings" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade")
        || name.starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::cost;

    fn map(rows: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn all_connection_headers_are_honoured() {
        let mut headers = map(&[
            ("connection", "X-One , close"),
            ("connection", "x-two,,x-three"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("x-three", "3 again"),
            ("x-four", "4"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "basic"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("content-encoding", "br"),
            ("content-type", "text/plain"),
        ]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("x-four", "4"), ("content-encoding", "br"), ("content-type", "text/plain")]));
    }

    #[test]
    fn headers_without_hop_by_hop_ones_are_left_alone() {
        let mut headers = map(&[("a", "1"), ("a", "2"), ("b", "3")]);
        let before = headers.clone();
        strip(&mut headers);
        assert_eq!(headers, before);
    }

    proptest! {
        #[test]
        fn no_hop_by_hop_header_survives(values in prop::collection::vec("[ -~\u{80}-\u{ff}]{0,40}", 0..4)) {
            let mut headers = map(&[("x-end", "1"), ("upgrade", "x")]);
            for value in &values {
                if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                    headers.append(CONNECTION, value);
                }
            }
            let named = named_by_connection(&headers);
            strip(&mut headers);
            prop_assert!(!headers.keys().any(is_hop_by_hop));
            prop_assert!(named.iter().all(|name| !headers.contains_key(name)));
        }
    }

    #[test]
    fn the_largest_head_costs_no_more_than_its_size() {
        const HEAD_BYTES: usize = 32 * 1024;
        for (name, part) in [("names", ""), ("one name", "a,"), ("commas", ","), ("close", "close,")] {
            let strip = |bytes: &[u8]| {
                let mut headers = HeaderMap::new();
                for (number, line) in bytes.chunks(HEAD_BYTES / 250).enumerate() {
                    let name =
                        if number % 2 == 0 { CONNECTION } else { HeaderName::try_from(format!("x{number}")).unwrap() };
                    headers.append(name, http::HeaderValue::from_bytes(line).unwrap());
                }
                super::strip(&mut headers);
                headers.len()
            };
            let more = |number| if part.is_empty() { format!("x{number},") } else { part.to_owned() };
            cost::assert_linear(name, HEAD_BYTES, cost::SHORT, |size| cost::filled("", more, "", size), strip);
        }
    }
}
