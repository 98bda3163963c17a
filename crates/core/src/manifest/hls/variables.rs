//! Substitutes the variables of a playlist (draft-pantos-hls-rfc8216bis, section 4.3), within bounds. The HLS parser
//! calls it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::super::{MAX_EXPANDED_URI_BYTES, UnfitManifest};

/// Value of a `QUERYPARAM`: percent-decoded, from the URI of the playlist.
pub(super) fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let decoded = |text: &'a str| percent_decode_str(text).decode_utf8().ok();
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.filter_map(|(key, value)| Some((decoded(key)?, value))).find(|(key, _)| *key == name)?;
    decoded(value)
}

/// True if the text refers to a variable.
pub(in super::super) fn has_variable(text: &str) -> bool {
    let mut references = text.split("{$").skip(1).filter_map(|rest| rest.split_once('}'));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    references.any(|(name, _)| !name.is_empty() && name.bytes().all(plain))
}

/// Substitutes the known variables; others stay. The result is bounded, because a large variable may occur in a
/// thousand URIs.
pub(super) fn substituted<'a>(variables: &[(&str, Cow<'_, str>)], uri: &'a str) -> Result<Cow<'a, str>, UnfitManifest> {
    if variables.is_empty() || !uri.contains("{$") {
        return Ok(Cow::Borrowed(uri));
    }
    let mut whole = String::with_capacity(uri.len().min(MAX_EXPANDED_URI_BYTES));
    let mut left = uri;
    while let Some((before, rest)) = left.split_once('{') {
        if whole.len() > MAX_EXPANDED_URI_BYTES {
            return Err(UnfitManifest::Grows);
        }
        whole.push_str(before);
        left = rest;
        let Some(rest) = rest.strip_prefix('$') else {
            whole.push('{');
            continue;
        };
        let Some((name, after)) = rest.split_once('}') else {
            whole.push('{');
            break;
        };
        match variables.iter().find(|(known, _)| *known == name) {
            // A longer value is refused before it is copied.
            Some((_, value)) if value.len() > MAX_EXPANDED_URI_BYTES => return Err(UnfitManifest::Grows),
            Some((_, value)) => whole.push_str(value),
            None => whole.extend(["{$", name, "}"]),
        }
        left = after;
    }
    whole.push_str(left);
    if whole.len() > MAX_EXPANDED_URI_BYTES { Err(UnfitManifest::Grows) } else { Ok(Cow::Owned(whole)) }
}
