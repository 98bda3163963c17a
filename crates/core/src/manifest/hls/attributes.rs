//! Reads attribute lists (RFC 8216, section 4.2) leniently: nothing is refused. The HLS readers call it.

use std::borrow::Cow;

/// Names with values, without quotes. Like in lenient parsers, single quotes and spaces around the equal sign are
/// accepted.
pub(super) fn attributes(list: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut left = list;
    std::iter::from_fn(move || {
        let (name, rest) = left.split_once('=')?;
        let rest = rest.trim_ascii_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => {
                let (value, rest) = rest.split_once('"').unwrap_or((rest, ""));
                (value, rest.split_once(',').map_or("", |(_, rest)| rest))
            }
            None => single_quoted(rest).unwrap_or_else(|| rest.split_once(',').unwrap_or((rest, ""))),
        };
        left = rest;
        Some((name.trim().trim_start_matches(',').trim_start(), value))
    })
}

/// The value and the text behind its comma, if single quotes surround the value.
fn single_quoted(text: &str) -> Option<(&str, &str)> {
    let (value, rest) = text.strip_prefix('\'')?.split_once('\'')?;
    let rest = rest.trim_ascii_start();
    if rest.is_empty() { Some((value, "")) } else { rest.strip_prefix(',').map(|rest| (value, rest)) }
}

/// Escapes a URI to stand between quotes on one line.
pub(in super::super) fn quoted(uri: &str) -> Cow<'_, str> {
    if uri.bytes().any(|byte| matches!(byte, b'"' | b'\n' | b'\r' | b' ')) {
        return Cow::Owned(uri.replace('"', "%22").replace(['\n', '\r'], "").replace(' ', "%20"));
    }
    Cow::Borrowed(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_commas_and_equal_signs() {
        let list = "METHOD=AES-128,URI=\"https://a/?b=1,c\", IV=0x1,NAME=\"open";
        let found: Vec<_> = attributes(list).collect();
        let expected = [("METHOD", "AES-128"), ("URI", "https://a/?b=1,c"), ("IV", "0x1"), ("NAME", "open")];
        assert_eq!(found, expected);
        let list = "URI = \"a,b\" ,IV =0x1, A='c,d', B='e'f,C= g";
        let found: Vec<_> = attributes(list).collect();
        assert_eq!(found, [("URI", "a,b"), ("IV", "0x1"), ("A", "c,d"), ("B", "'e'f"), ("C", "g")]);
    }
}
