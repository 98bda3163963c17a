//! Sends the fresh request to the origin, and picks the headers of its reply that reach the player.
//!
//! An origin can redirect without end: each redirect is passed on to the player, which comes back for the next, so the
//! playback remembers where it was sent.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, LINK,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::paths::MediaTarget;
use super::replies::is_segment;
use super::{MediaCall, cookies};
use crate::cmcd;
use crate::config::{self, RetriedCalls};
use crate::edge::{AddressResource, AddressShare};
use crate::gateway::passed_headers::{self, MediaHeaders};
use crate::gateway::query;
use crate::secret::Fingerprint;
use crate::upstream::{CallHold, Streamed, UpstreamCall, UpstreamFault};

const BLOCKING_RELOAD: &str = "_HLS_msn";
/// Assumed target duration of a playlist that this process has not seen yet.
const UNKNOWN_TARGET_DURATION: Duration = Duration::from_secs(6);
/// Upper bound, because the origin writes the target duration.
const MAX_BLOCKING_RELOAD: Duration = Duration::from_secs(60);

/// The origin could not be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum OriginFailure {
    Fault(UpstreamFault),
    /// The path or query cannot be passed on.
    Unspeakable,
}

impl OriginFailure {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.name(),
            Self::Unspeakable => "path",
        }
    }
}

impl MediaCall<'_> {
    /// Sends the request. With `plain` it asks for the whole document unencoded, else as the player asked.
    pub(super) async fn fetch(&self, target: &MediaTarget, plain: bool) -> Result<Streamed, OriginFailure> {
        let (stall_timeout, _long_poll) = self.long_poll(self.stall_timeout(&target.path));
        let until = self.gateway.clock.now() + stall_timeout;
        let call = UpstreamCall {
            body: bytes::Bytes::new(),
            deadline: until,
            endpoint: &target.endpoint,
            headers: self.headers(target, plain),
            method: self.request.method.clone(),
            path_and_query: self.path(target).ok_or(OriginFailure::Unspeakable)?,
            reply_max: 0,
        };
        let config::RetrySettings { gateway_errors, unreachable } = self.route.config.retry;
        let gateway_errors = gateway_errors == RetriedCalls::All;
        let begins = |why: &UpstreamFault| self.route.reach.tell_loss(&self.route.path, &target.endpoint, why);
        let hold = CallHold { attempt: stall_timeout, begins: Some(&begins), gateway_errors, unreachable, until };
        let held = self.gateway.pool.stream_held(&call, self.media.stall.max(stall_timeout), hold).await;
        self.route.reach.tell(&self.gateway.telemetry, &self.route.path, &target.endpoint, &held);
        let mut streamed = held.outcome.map_err(OriginFailure::Fault)?;
        cookies::rewrite(&mut streamed.headers, &self.map(None), target, self.is_secure());
        Ok(streamed)
    }

    /// Time that the origin has to answer. It answers a blocking reload (RFC 8216bis section 6.2.5.2) once there
    /// is something new, and a hinted part (section 6.2.6) once that exists: up to three target durations.
    pub(super) fn stall_timeout(&self, path: &str) -> Duration {
        let reloads = self.request.uri.query().is_some_and(|query| query::has(query, BLOCKING_RELOAD));
        let blocks = reloads || self.playback.learned().is_hinted(path);
        let target = || self.playback.learned().target_duration(path).unwrap_or(UNKNOWN_TARGET_DURATION);
        let blocked = if blocks { target().saturating_mul(3).min(MAX_BLOCKING_RELOAD) } else { Duration::ZERO };
        self.route.config.timeout.max(blocked)
    }

    /// Counts a waiting request like a listener of events, because it holds its connection as long. Beyond that
    /// limit it waits no longer than any other request.
    fn long_poll(&self, stall_timeout: Duration) -> (Duration, Option<AddressShare>) {
        let usual = self.route.config.timeout;
        if stall_timeout <= usual {
            return (stall_timeout, None);
        }
        let share = self.peer.limits.take(self.peer.address, AddressResource::EventListeners, 1);
        (if share.is_some() { stall_timeout } else { usual }, share)
    }

    /// True if the player came over TLS, to us or to a proxy in front of us.
    fn is_secure(&self) -> bool {
        self.gateway.base(self.peer, self.request).is_some_and(|base| base.starts_with("https:"))
    }

    fn path(&self, target: &MediaTarget) -> Option<PathAndQuery> {
        match self.onward_query() {
            Some(query) => format!("{}?{query}", target.path).parse().ok(),
            None => target.path.parse().ok(),
        }
    }

    /// The request's query without reports. Below a playback's own path the id says everything, so a parameter
    /// that elsewhere names a device or token belongs to the server here.
    fn onward_query(&self) -> Option<Cow<'_, str>> {
        let query = self.request.uri.query()?;
        let taken_off = self.route.config.strip_cmcd && query::has(query, cmcd::PARAMETER);
        if taken_off { query::without(Some(query), &[cmcd::PARAMETER]).map(Cow::Owned) } else { Some(query.into()) }
    }

    /// The player's own query, without the parameters that are for us alone.
    pub(super) fn own_query(&self) -> Option<String> {
        let names = crate::gateway::onward_target::our_names(self.route, self.authority.map(|authority| &**authority));
        query::without(self.request.uri.query(), &names)
    }

    fn headers(&self, target: &MediaTarget, plain: bool) -> HeaderMap {
        // An unencoded reply is easier to read if it turns out to be a manifest.
        let media = MediaHeaders { encoded: !plain && is_segment(&target.path), plain, slate: target.slate };
        let config = &self.route.config;
        passed_headers::for_media(media, &config.headers, config.strip_cmcd, &self.request.headers)
    }
}

/// Adapts the headers of a manifest that was edited for one playback.
pub(super) fn edited(headers: &mut HeaderMap) {
    for name in [ACCEPT_RANGES, CONTENT_LENGTH, ETAG, LAST_MODIFIED] {
        headers.remove(name);
    }
    take_off_digests(headers);
    unreferred(headers);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Removes digests, because they are of the bytes that the server sent (RFC 9530 and its predecessors).
fn take_off_digests(headers: &mut HeaderMap) {
    const DIGESTS: [&str; 5] = ["content-digest", "content-md5", "digest", "repr-digest", "x-goog-hash"];
    let is_digest = |name: &str| DIGESTS.contains(&name) || name.starts_with("x-amz-checksum-");
    let digests: Vec<HeaderName> = headers.keys().filter(|name| is_digest(name.as_str())).cloned().collect();
    for name in digests {
        headers.remove(name);
    }
}

/// Removes URIs that would lead past us and that no player needs. A redirect's `Location` stays.
pub(super) fn unreferred(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LOCATION);
    headers.remove(LINK);
}

/// Adapts the headers to a body without content encoding; `converted` if it was converted into UTF-8.
pub(super) fn decoded(headers: &mut HeaderMap, converted: bool) {
    headers.remove(CONTENT_ENCODING);
    let kind = media_type(headers).split(';').next().unwrap_or_default().trim();
    if converted && let Ok(kind) = HeaderValue::try_from(format!("{kind}; charset=utf-8")) {
        headers.insert(CONTENT_TYPE, kind);
    }
}

pub(super) fn charset(headers: &HeaderMap) -> Option<&str> {
    let mut parameters = media_type(headers).split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, charset) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.trim().trim_matches('"'))
}

pub(super) fn media_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Browsers follow twenty; content networks need two or three.
pub(super) const MAX_REDIRECTS: u8 = 10;
/// Players follow at once. A later request for the same path, as of a live player, follows no redirect.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(10);
/// Redirects of one playback that are remembered; a loop has few paths.
const MAX_UNDER_WAY: usize = 32;

/// Redirects that a playback's player was sent, oldest first.
#[derive(Default)]
pub(super) struct RedirectsUnderWay(ArrayVec<SentTo, MAX_UNDER_WAY>);

struct SentTo {
    at: Instant,
    /// Number of redirects in a row, including this one.
    count: u8,
    path: Fingerprint,
}

impl RedirectsUnderWay {
    /// Notes that the request for `asked` is redirected `to` another path (both with queries). Returns false if
    /// there were too many in a row.
    pub(super) fn send(&mut self, now: Instant, asked: &str, to: &str) -> bool {
        self.0.retain(|sent| now.saturating_duration_since(sent.at) < FOLLOWED_WITHIN);
        let (asked, to) = (Fingerprint::of(asked.as_bytes()), Fingerprint::of(to.as_bytes()));
        let before = self.0.iter().find(|sent| sent.path == asked).map_or(0, |sent| sent.count);
        // The count stays at one too many, so that a player that tries again at once is refused at once.
        let count = before.saturating_add(1).min(MAX_REDIRECTS + 1);
        self.0.retain(|sent| sent.path != to);
        if self.0.is_full() {
            self.0.remove(0);
        }
        self.0.push(SentTo { at: now, count, path: to });
        count <= MAX_REDIRECTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn redirects_in_a_row_are_counted_and_those_apart_are_not() {
        let begin = Clock.now();
        let after = |seconds: u64| begin + Duration::from_secs(seconds);
        // A circle of one, of two, and a way that never comes back.
        for places in [1, 2, 1000] {
            let mut sent = RedirectsUnderWay::default();
            let at = |hop: usize| format!("/{}", hop % places);
            let hops = (0..100).take_while(|hop| sent.send(begin, &at(*hop), &at(hop + 1))).count();
            assert_eq!(hops, usize::from(MAX_REDIRECTS), "{places}");
            assert!(!sent.send(after(9), &at(hops + 1), &at(hops + 2)), "who begins again at once");
            assert!(sent.send(after(30), &at(hops + 2), &at(hops + 3)), "who comes later");
        }
        // The same first step again and again is how a live playlist is asked for.
        let mut sent = RedirectsUnderWay::default();
        for poll in 0..100 {
            assert!(
                sent.send(after(poll / 2), "/live", "/node-7/live") && sent.send(after(poll / 2), "/a", "/node-7/a")
            );
        }
        // However many ways there are, what is remembered is bounded.
        for other in 0..1000 {
            assert!(sent.send(begin, &format!("/{other}"), &format!("/to/{other}")));
        }
        assert_eq!(sent.0.len(), MAX_UNDER_WAY);
    }
}
