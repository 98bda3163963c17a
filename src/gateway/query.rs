//! Reads the query of a URL without changing the rest that is passed on.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Longest value that is read. A content token is below 4 KiB.
const MAX_QUERY_VALUE_BYTES: usize = 16 * 1024;

/// The first value of this name, percent-decoded. A `+` stays a `+`, because tokens hold no spaces.
pub(super) fn value<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let (_, value) = pairs(query?).find(|(key, value)| is(key, name) && value.len() <= MAX_QUERY_VALUE_BYTES)?;
    percent_decode_str(value).decode_utf8().ok().filter(|value| !value.is_empty())
}

/// True if the query has a parameter of this name, with or without a value.
pub(super) fn has(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| is(pair.split('=').next().unwrap_or_default(), name))
}

/// The query without these names, otherwise unchanged; `None` if nothing is left.
pub(super) fn without(query: Option<&str>, names: &[&str]) -> Option<String> {
    let query = query?;
    let mut kept = String::with_capacity(query.len());
    for pair in query.split('&') {
        let name = pair.split('=').next().unwrap_or_default();
        if names.iter().any(|dropped| is(name, dropped)) {
            continue;
        }
        kept.push_str(pair);
        kept.push('&');
    }
    kept.pop();
    Some(kept).filter(|query| !query.is_empty())
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|pair| pair.split_once('='))
}

fn is(key: &str, name: &str) -> bool {
    percent_decode_str(key).eq(name.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::cost;

    #[test]
    fn values_are_decoded_and_others_left_alone() {
        let query = Some("a=1&token=e%2Ef%2Dg+h&%74oken=second&b&CMCD=sid%3D%22x%22");
        assert_eq!(value(query, "token").as_deref(), Some("e.f-g+h"));
        assert_eq!(value(query, "b"), None);
        assert_eq!(without(query, &["token"]).as_deref(), Some("a=1&b&CMCD=sid%3D%22x%22"));
        assert_eq!(without(Some("token=x"), &["token"]), None);
        assert_eq!(without(None, &["token"]), None);
    }

    /// Also of a form, such as the refusal page's.
    #[test]
    fn a_query_costs_no_more_than_its_size() {
        const QUERY_BYTES: usize = 64 * 1024;
        for (name, head, part) in [
            ("parameters", "", "a=b&"),
            ("names", "", "&"),
            ("escaped names", "", "%6bey=1&"),
            ("one escaped name", "", "%6b"),
            ("an escaped value", "key=", "%61"),
            ("values that are too long", "", "key"),
        ] {
            let read = |bytes: &[u8]| {
                let query = Some(std::str::from_utf8(bytes).unwrap());
                let read = ["key", "slot", "token"].map(|name| value(query, name).map_or(0, |value| value.len()));
                read.iter().sum::<usize>() + without(query, &["key", "token"]).map_or(0, |left| left.len())
            };
            let make = |size| cost::filled(head, |_| part.to_owned(), "", size);
            cost::assert_linear(name, QUERY_BYTES, cost::SHORT, make, read);
        }
    }
}
