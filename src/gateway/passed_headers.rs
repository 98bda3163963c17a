//! Picks the headers of a player's call that go on to the server behind its route: an allow-list for each kind of call.
//!
//! A route may name more; `config/headers.rs` says which it can never name. A repeated header counts by its first line.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    RANGE, USER_AGENT, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cmcd;

/// Headers that go on with every call.
static ALWAYS: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, USER_AGENT, VIA];
/// A license server may need them to understand the body.
static OF_LICENSES: [HeaderName; 3] = [AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("soapaction")];
static OF_AUTHORIZATIONS: [HeaderName; 1] = [CONTENT_TYPE];
/// They identify the caller, so they go only to servers that the operator has named, not to a slate's, which the
/// authority names.
static OF_NAMED_ORIGINS: [HeaderName; 1] = [AUTHORIZATION];
/// They ask for a part, or for changes only, of a document that is not edited.
static OF_SEGMENTS: [HeaderName; 4] = [IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE];

/// A request for media, as far as its headers depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaHeaders {
    /// The reply may come in an encoding that the player takes: it is not read here.
    pub(super) encoded: bool,
    /// The whole document is asked for.
    pub(super) plain: bool,
    pub(super) slate: bool,
}

/// Headers for a license server.
pub(super) fn for_license(listed: &[HeaderName], strip_cmcd: bool, from: &HeaderMap) -> HeaderMap {
    passed(&[&OF_LICENSES, listed], strip_cmcd, from)
}

/// Headers for an authorization service; `needed` are those that every call to the authority carries.
pub(super) fn for_authorization(
    needed: &[HeaderName],
    listed: &[HeaderName],
    strip_cmcd: bool,
    from: &HeaderMap,
) -> HeaderMap {
    passed(&[&OF_AUTHORIZATIONS, needed, listed], strip_cmcd, from)
}

/// Headers for the server of media.
pub(super) fn for_media(media: MediaHeaders, listed: &[HeaderName], strip_cmcd: bool, from: &HeaderMap) -> HeaderMap {
    let of_cmcd = cmcd::HEADERS.map(HeaderName::from_static);
    let named: [&[HeaderName]; 2] = if media.slate { [&[], &[]] } else { [&OF_NAMED_ORIGINS, listed] };
    let parts: &[HeaderName] = if media.plain { &[] } else { &OF_SEGMENTS };
    let mut headers = passed(&[named[0], named[1], parts, &of_cmcd], strip_cmcd, from);
    if media.encoded {
        headers.remove(ACCEPT_ENCODING);
        headers.extend(from.get(ACCEPT_ENCODING).map(|value| (ACCEPT_ENCODING, value.clone())));
    }
    headers
}

fn passed(lists: &[&[HeaderName]], strip_cmcd: bool, from: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for name in ALWAYS.iter().chain(lists.iter().copied().flatten()) {
        if let Some(value) = from.get(name).filter(|_| !(strip_cmcd && cmcd::is_header(name))) {
            headers.insert(name, value.clone());
        }
    }
    // Without the header a server may choose any encoding (RFC 9110, 12.5.3), which might be unreadable here.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `e` is ours, in place of the player's.
    #[test]
    fn only_listed_headers_go_on_with_each_kind_of_call() {
        const MANIFEST: MediaHeaders = MediaHeaders { encoded: false, plain: true, slate: false };
        const SEGMENT: MediaHeaders = MediaHeaders { encoded: true, plain: false, slate: false };
        const SLATE: MediaHeaders = MediaHeaders { encoded: false, plain: true, slate: true };
        let table = [
            // license, authorization, manifest, segment, slate
            ("accept", "11111"),
            ("accept-encoding", "eee1e"),
            ("accept-language", "11111"),
            ("authorization", "10110"),
            ("cmcd-session", "00111"),
            ("content-encoding", "00000"),
            ("content-type", "11000"),
            ("cookie", "00000"),
            ("forwarded", "00000"),
            ("if-none-match", "00010"),
            ("origin", "00000"),
            ("range", "00010"),
            ("referer", "00000"),
            ("soapaction", "10000"),
            ("user-agent", "11111"),
            ("via", "11111"),
            ("x-api-key", "01000"),
            ("x-forwarded-for", "00000"),
            ("x-listed", "11110"),
        ];
        let line = |(name, _): &(&'static str, _)| (HeaderName::from_static(name), HeaderValue::from_static("1"));
        let mut from: HeaderMap = table.iter().map(line).collect();
        from.append("x-listed", HeaderValue::from_static("2"));
        let listed = ["accept", "x-listed"].map(HeaderName::from_static);
        let needed = [HeaderName::from_static("x-api-key")];
        for strip_cmcd in [false, true] {
            let media = |kind| for_media(kind, &listed, strip_cmcd, &from);
            let kinds = [
                for_license(&listed, strip_cmcd, &from),
                for_authorization(&needed, &listed, strip_cmcd, &from),
                media(MANIFEST),
                media(SEGMENT),
                media(SLATE),
            ];
            for (name, expected) in table {
                let mark = |headers: &HeaderMap| match headers.get_all(name).iter().collect::<Vec<_>>()[..] {
                    [] => '0',
                    [value] if value == "1" => '1',
                    _ => 'e',
                };
                let expected = if strip_cmcd && name.starts_with("cmcd") { "00000" } else { expected };
                assert_eq!(kinds.iter().map(mark).collect::<String>(), expected, "{name}, {strip_cmcd}");
            }
        }
    }
}
