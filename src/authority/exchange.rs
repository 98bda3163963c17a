//! An exchange with an authority: the request as it goes out, and the reply as it came back.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{DATE, EXPIRES, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::config::EndpointUrl;
use crate::session::AskKind;

#[derive(Debug)]
pub(super) struct AuthorityRequest<'a> {
    pub(super) body: Bytes,
    pub(super) endpoint: &'a EndpointUrl,
    pub(super) headers: HeaderMap,
    pub(super) method: Method,
    /// Replaces the endpoint's own path and query.
    pub(super) path: Option<String>,
}

#[derive(Debug)]
pub(super) struct AuthorityReply<'a> {
    pub(super) body: &'a [u8],
    pub(super) headers: &'a HeaderMap,
    pub(super) kind: AskKind,
    pub(super) status: StatusCode,
    /// The authority's time since the epoch, by which its tokens are judged.
    pub(super) time: Duration,
}

/// Ids of sessions are shorter in practice.
const MAX_ID_BYTES: usize = 512;

/// An earlier `Retry-After` counts as this.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The moment that a header names, since the epoch.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    parse_date(headers.get(name)?.to_str().ok()?)
}

fn parse_date(text: &str) -> Option<Duration> {
    httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()
}

/// The time at which the sender made the reply (`Date`).
pub(super) fn sent_at(headers: &HeaderMap) -> Option<Duration> {
    date(headers, &DATE)
}

impl AuthorityReply<'_> {
    /// Validity of a grant: from the reply's own time to its `Expires`.
    #[cfg_attr(not(test), expect(dead_code, reason = "no authority of today says its interval so; the example does"))]
    pub(super) fn expires_in(&self) -> Option<Duration> {
        let left = date(self.headers, &EXPIRES)?.checked_sub(self.time)?;
        Some(left).filter(|left| !left.is_zero())
    }

    /// The id of a created session: the last segment of `Location`, which may be a URL, a path or the bare id. `None`
    /// if it could not stand in the path of the next call.
    #[cfg_attr(not(test), expect(dead_code, reason = "no authority of today says its session so; the example does"))]
    pub(super) fn location(&self) -> Option<&str> {
        let id = self.headers.get(LOCATION)?.to_str().ok()?.rsplit('/').next()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_id = id.len() <= MAX_ID_BYTES && id.bytes().all(is_plain) && id.bytes().any(|byte| byte != b'.');
        Some(id).filter(|_| is_id)
    }

    /// The pause that the service asks for: `Retry-After` in seconds, or as a date in its own time (RFC 9110, section
    /// 10.2.3).
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let after = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let seconds = after.parse().ok().map(Duration::from_secs);
        let until = || Some(parse_date(after)?.saturating_sub(self.time));
        seconds.or_else(until).map(|after| after.max(MIN_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn reply(headers: &HeaderMap) -> AuthorityReply<'_> {
        let time = sent_at(headers).unwrap_or(Duration::from_secs(60));
        AuthorityReply { body: b"", headers, kind: AskKind::Beat, status: StatusCode::SERVICE_UNAVAILABLE, time }
    }

    #[test]
    fn an_interval_is_the_time_from_the_reply_to_its_expiry() {
        let date = (DATE, "Sun, 22 Nov 2026 00:00:10 GMT");
        for (lines, expected) in [
            (vec![date.clone(), (EXPIRES, "Sun, 22 Nov 2026 00:01:10 GMT")], Some(60)),
            // Without a date of its own, the reply is of the time that is known of the authority.
            (vec![(EXPIRES, "Thu, 01 Jan 1970 00:01:30 GMT")], Some(30)),
            (vec![date.clone(), (EXPIRES, "Sun, 22 Nov 2026 00:00:10 GMT")], None),
            (vec![date.clone(), (EXPIRES, "Sun, 22 Nov 2020 00:00:10 GMT")], None),
            (vec![date.clone(), (EXPIRES, "0")], None),
            (vec![date], None),
        ] {
            let headers = headers(&lines);
            assert_eq!(reply(&headers).expires_in().map(|left| left.as_secs()), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_location_names_a_session_as_an_id_a_path_or_a_url() {
        let long = "a".repeat(MAX_ID_BYTES + 1);
        for (location, expected) in [
            ("4f-2.a_~", Some("4f-2.a_~")),
            ("/v2/sessions/4f", Some("4f")),
            ("https://host/v2/sessions/4f", Some("4f")),
            ("", None),
            ("/v2/sessions/", None),
            ("/v2/sessions/..", None),
            ("/v2/sessions/4f?a=1", None),
            ("4f%2e", None),
            (&long, None),
        ] {
            assert_eq!(reply(&headers(&[(LOCATION, location)])).location(), expected, "{location}");
        }
        assert_eq!(reply(&HeaderMap::new()).location(), None);
    }

    #[test]
    fn a_service_says_when_to_come_back_in_seconds_or_by_date() {
        for (after, date, expected) in [
            (Some("5"), None, Some(5)),
            (Some(" 0 "), None, Some(1)),
            (Some("Sun, 22 Nov 2026 00:00:30 GMT"), Some("Sun, 22 Nov 2026 00:00:10 GMT"), Some(20)),
            (Some("Thu, 01 Jan 1970 00:01:30 GMT"), None, Some(30)),
            (Some("Sun, 22 Nov 2020 00:00:30 GMT"), Some("Sun, 22 Nov 2026 00:00:10 GMT"), Some(1)),
            (Some("-5"), None, None),
            (Some("soon"), None, None),
            (None, None, None),
        ] {
            let after = after.map(|after| (RETRY_AFTER, after));
            let lines: Vec<_> = after.into_iter().chain(date.map(|date| (DATE, date))).collect();
            let told = reply(&headers(&lines)).retry_after();
            assert_eq!(told.map(|after| after.as_secs()), expected, "{lines:?}");
        }
    }
}
