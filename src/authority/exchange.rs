//! One exchange with an authority: the request as it goes out, and the reply as it came back.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::config::Endpoint;
use crate::session::AskKind;

#[derive(Debug)]
pub(super) struct AuthorityRequest<'a> {
    pub(super) body: Bytes,
    pub(super) endpoint: &'a Endpoint,
    pub(super) headers: HeaderMap,
    pub(super) method: Method,
    /// In place of the endpoint's own path and query.
    pub(super) path: Option<String>,
}

#[derive(Debug)]
pub(super) struct AuthorityReply<'a> {
    pub(super) body: &'a [u8],
    pub(super) headers: &'a HeaderMap,
    pub(super) kind: AskKind,
    pub(super) status: StatusCode,
    /// Since the epoch, in the authority's time: its tokens are judged by that.
    pub(super) time: Duration,
}

/// No `Retry-After` asks for a call sooner than this.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The moment that a header names, since the epoch.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    parse_date(headers.get(name)?.to_str().ok()?)
}

fn parse_date(text: &str) -> Option<Duration> {
    httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()
}

/// When the reply was made, by its sender's clock (`Date`).
pub(super) fn sent_at(headers: &HeaderMap) -> Option<Duration> {
    date(headers, &DATE)
}

impl AuthorityReply<'_> {
    /// For how long the service wants to be left alone: `Retry-After` in seconds, or as a date (RFC 9110, section
    /// 10.2.3), which is one of its own time.
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
            let mut headers = HeaderMap::new();
            headers.extend(after.map(|after| (RETRY_AFTER, after.parse().unwrap())));
            headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
            let time = sent_at(&headers).unwrap_or(Duration::from_secs(60));
            let (kind, status) = (AskKind::Beat, StatusCode::SERVICE_UNAVAILABLE);
            let told = AuthorityReply { body: b"", headers: &headers, kind, status, time }.retry_after();
            assert_eq!(told.map(|after| after.as_secs()), expected, "{after:?}");
        }
    }
}
