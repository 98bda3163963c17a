//! Form bodies, read the way players write them.
//!
//! Unlike a browser's form, a literal `+` stays a `+`: base64 is often posted unescaped. Used when
//! peeling unknown bodies and for configured wrappings.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Names longer than this are not looked for.
const NAME_MAX: usize = 40;

/// Name as written, value with its percent-encoding taken away.
pub(super) fn pairs(body: &[u8]) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
    body.split(|byte| *byte == b'&').filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        Some((name, percent_decode(value.trim_ascii()).into()))
    })
}

/// The body begins like a form: a short plain name and an equals sign.
pub(super) fn is_likely(body: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let length = body.iter().take(NAME_MAX + 1).take_while(|byte| is_plain(byte)).count();
    (1..=NAME_MAX).contains(&length) && body.get(length) == Some(&b'=')
}

pub(super) fn is_content_type(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_stays_and_escapes_go() {
        let found: Vec<_> =
            pairs(b"spc=a+b/c==&assetId=x%2By&empty=&flag&=1").map(|(n, v)| (n, v.into_owned())).collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"spc", b"a+b/c=="), (b"assetId", b"x+y"), (b"empty", b""), (b"", b"1")];
        assert!(found.iter().map(|(n, v)| (*n, v.as_slice())).eq(expected));
    }

    #[test]
    fn a_form_is_known_by_its_first_name() {
        assert!(is_likely(b"spc=AAAA") && is_likely(b"a.b_c-d="));
        assert!(!is_likely(b"=x") && !is_likely(b"sp c=x") && !is_likely(b"AAAA") && !is_likely(&[b'a'; 41]));
        assert!(is_content_type("Application/X-WWW-Form-Urlencoded; charset=utf-8") && !is_content_type("text/plain"));
    }
}
