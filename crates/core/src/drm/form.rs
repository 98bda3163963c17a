//! Reads form bodies the way players write them.
//!
//! Unlike in a browser's form, a literal `+` stays a `+`, because base64 is often posted unescaped. Called for
//! configured wrappings, and for the names beside a FairPlay message.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Yields each name as written, and each value percent-decoded.
pub(super) fn pairs(body: &[u8]) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
    body.split(|byte| *byte == b'&').filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        Some((name, percent_decode(value.trim_ascii()).into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_value_keeps_its_plus_and_loses_its_escapes() {
        let found: Vec<_> =
            pairs(b"spc=a+b/c==&assetId=x%2By&empty=&flag&=1").map(|(n, v)| (n, v.into_owned())).collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"spc", b"a+b/c=="), (b"assetId", b"x+y"), (b"empty", b""), (b"", b"1")];
        assert!(found.iter().map(|(n, v)| (*n, v.as_slice())).eq(expected));
    }
}
