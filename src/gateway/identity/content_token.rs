//! Finds a call's content token, the playback that it stands for, and how long its kill is remembered; and proves it.
//!
//! Where the authority has keys, a token counts only if one of them signed it; a call with any other token is
//! refused first of all. A token that opened a session was proven then, and stays good for that session, because
//! its key may be gone when the player renews or stops. Without keys, claims are hints that the authority or the
//! license server proves.

use std::time::Duration;

use http::HeaderMap;

use super::sources::DeviceIdentity;
use crate::authority::Authority;
use crate::config::TokenSource;
use crate::gateway::route::GatewayRoute;
use crate::gateway::{Gateway, query};
use crate::secret::{Fingerprint, Secret};
use crate::token::{self, TokenClaims, TokenFault, known_print};

/// Players come back within seconds after a kill.
const KILL_MEMORY_MIN: Duration = Duration::from_secs(30);

/// A content token may be valid for years.
const KILL_MEMORY_MAX: Duration = Duration::from_secs(24 * 3600);

/// The content token, from the first place of the route that has one.
pub(in crate::gateway) fn content_token(
    sources: &[TokenSource],
    headers: &HeaderMap,
    query: Option<&str>,
    custom_data: Option<&Secret>,
) -> Option<Secret> {
    sources.iter().find_map(|source| match source {
        TokenSource::CustomData => custom_data.filter(|data| holds_token(data.expose())).cloned(),
        TokenSource::Header(name) => {
            let value = headers.get(name)?.to_str().ok()?.trim();
            Some(without_scheme(value)).filter(|text| holds_token(text)).map(token::secret)
        }
        TokenSource::Query(name) => {
            query::value(query, name).filter(|text| holds_token(text)).map(|text| token::secret(&text))
        }
    })
}

/// Separators, quotes and blanks alone are no token. Otherwise a killed device could send a comma in place of none.
fn holds_token(text: &str) -> bool {
    text.split(',').any(|part| without_scheme(part.trim()).chars().any(char::is_alphanumeric))
}

/// True if a token beside the one that counts asks for a session or cannot be read. It may stand in the same
/// list, in another place of the route, or in custom data, which the license server always gets.
pub(in crate::gateway) fn asks_beside(
    sources: &[TokenSource],
    headers: &HeaderMap,
    query: Option<&str>,
    custom_data: Option<&Secret>,
) -> bool {
    let of = |source| content_token(std::slice::from_ref(source), headers, query, custom_data);
    let may_read = |data: &&Secret| token::shows_encrypted(data.expose()) || TokenClaims::peek(data.expose()).is_some();
    let texts = sources.iter().filter_map(of).chain(custom_data.filter(may_read).cloned());
    texts.into_iter().any(|text| token::asks_for_session(text.expose()))
}

/// Strips `Bearer`: authorities take bare tokens, and the same token may come by the query.
fn without_scheme(value: &str) -> &str {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        None if value.eq_ignore_ascii_case("bearer") => "",
        Some(_) | None => value,
    }
}

/// The token by which a playback is known; `None` for a device authentication token, which opens sessions for any
/// playback.
pub(in crate::gateway) fn of_playback(token: Option<&Secret>, claims: Option<&TokenClaims>) -> Option<Fingerprint> {
    let of_device = claims.is_some_and(TokenClaims::is_of_device);
    token.filter(|_| !of_device).map(|token| known_print(token.expose()))
}

/// A kill is remembered for as long as its content token can be used; `None` if the token does not say. `time` is
/// the authority's.
pub(in crate::gateway) fn kill_memory(
    token: Option<Fingerprint>,
    claims: Option<&TokenClaims>,
    time: Duration,
) -> Option<Duration> {
    let remaining = match token {
        Some(_) => claims?.remaining(time),
        // Without a token the device's playbacks look alike, so the authority is asked again soon.
        None => Some(KILL_MEMORY_MIN),
    };
    remaining.map(|remaining| remaining.clamp(KILL_MEMORY_MIN, KILL_MEMORY_MAX))
}

impl Gateway {
    /// Proves the token of a call and returns its claims. Fetches unknown keys if the authority publishes any.
    /// `device` tells which device the call would belong to if the claims were true.
    ///
    /// # Errors
    /// The token proves nothing.
    pub(in crate::gateway) async fn prove(
        &self,
        route: &GatewayRoute,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<DeviceIdentity>,
    ) -> Result<Option<TokenClaims>, TokenFault> {
        let Some(token) = token else { return Ok(None) };
        let wall = self.clock.wall();
        token::forget_expired(wall);
        let Some(authority) = route.authority.as_deref() else { return Ok(TokenClaims::peek(token.expose())) };
        let claims = |wall| authority.claims(token.expose(), wall);
        let fault = match claims(wall) {
            Err(fault) => fault,
            proven => return proven,
        };
        if let Some(claims) = self.proven_before(authority, token, device) {
            return Ok(Some(claims));
        }
        if !fault.wants_keys() {
            return Err(fault);
        }
        // The license server needs the rest of the call's time.
        authority.fetch_token_keys(self.clock, route.limits.call / 3).await;
        claims(self.clock.wall())
    }

    /// Like [`Self::prove`], without waiting for keys.
    pub(in crate::gateway) fn prove_at_once(
        &self,
        authority: Option<&Authority>,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<DeviceIdentity>,
    ) -> Result<Option<TokenClaims>, TokenFault> {
        let Some(token) = token else { return Ok(None) };
        let Some(authority) = authority else { return Ok(TokenClaims::peek(token.expose())) };
        let proven = authority.claims(token.expose(), self.clock.wall());
        proven.or_else(|fault| self.proven_before(authority, token, device).map(Some).ok_or(fault))
    }

    /// Like [`Self::prove_at_once`], for a control call: it concerns the playback of its token, whichever device
    /// it names. `None` if the call is not to be heard.
    pub(in crate::gateway) fn prove_control_call(
        &self,
        authority: &Authority,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<DeviceIdentity>,
    ) -> Option<Option<TokenClaims>> {
        let proven = self.prove_at_once(Some(authority), token, device);
        proven.ok().or_else(|| {
            let token = token?;
            let claims = TokenClaims::peek(token.expose())?;
            let print = of_playback(Some(token), Some(&claims))?;
            self.sessions.device_of_token(&authority.name, None, print).map(|_| Some(claims))
        })
    }

    fn proven_before(
        &self,
        authority: &Authority,
        token: &Secret,
        device: impl Fn(&TokenClaims) -> Option<DeviceIdentity>,
    ) -> Option<TokenClaims> {
        let claims = TokenClaims::peek(token.expose())?;
        let key = device(&claims)?.key(authority);
        let token = of_playback(Some(token), Some(&claims))?;
        self.sessions.plays_with(key, token).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn claims(text: &str) -> Option<TokenClaims> {
        TokenClaims::peek(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(text)))
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_content_token_comes_from_the_first_place_that_has_one_and_without_its_scheme() {
        let sources = [TokenSource::Header("authorization".parse().unwrap()), TokenSource::Query("token".into())];
        for (line, query, token) in [
            ("Bearer t", None, Some("t")),
            ("bearer   t", None, Some("t")),
            ("Basic t", None, Some("Basic t")),
            ("t", Some("token=q"), Some("t")),
            ("", Some("token=q"), Some("q")),
            ("Bearer ", Some("token=q"), Some("q")),
            ("", None, None),
            (", ,", Some("token=%20"), None),
            ("\"\"", Some("token=,"), None),
            ("Bearer , bearer", Some("token=%09"), None),
            (", t", None, Some(", t")),
        ] {
            let found = content_token(&sources, &headers(&[("authorization", line)]), query, None);
            assert_eq!(found.as_ref().map(Secret::expose), token, "{line:?} {query:?}");
        }
    }

    #[test]
    fn a_token_of_a_device_stands_for_no_playback() {
        let token = Secret::new("t");
        for (text, stands) in [(r#"{"typ":"DevAuthN"}"#, false), (r#"{"typ":"ContentAuthZ"}"#, true), ("{}", true)] {
            assert_eq!(of_playback(Some(&token), claims(text).as_ref()).is_some(), stands, "{text}");
        }
        assert_eq!(of_playback(None, None), None);
    }

    #[test]
    fn a_kill_is_remembered_as_long_as_its_token_could_be_used_within_bounds() {
        let now = Duration::from_secs(1_800_000_000);
        let token = Some(Fingerprint::new(1));
        for (left, remembered) in
            [(-100_i64, 30), (5, 30), (600, 600), (86_400, 86_400), (86_401, 86_400), (1 << 31, 86_400)]
        {
            let claims = format!("{{\"exp\":{}}}", 1_800_000_000 + left);
            let claims = TokenClaims::peek(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims)));
            assert!(claims.is_some());
            assert_eq!(kill_memory(token, claims.as_ref(), now), Some(Duration::from_secs(remembered)), "{left}");
        }
        assert_eq!(kill_memory(token, None, now), None);
        assert_eq!(kill_memory(None, None, now), Some(Duration::from_secs(30)));
    }

    /// Apps write there what they like.
    #[test]
    fn custom_data_that_is_no_token_asks_for_no_session() {
        let jwt = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        for (data, asks) in [
            ("what-an-app-says".to_owned(), false),
            ("a.b.c.d.e".to_owned(), false),
            (jwt("{}"), false),
            (jwt(r#"{"sessionControl":{}}"#), true),
            (format!("{}.a2V5.aXY.Y2lwaGVydGV4dA.dGFn", URL_SAFE_NO_PAD.encode(r#"{"alg":"dir"}"#)), true),
        ] {
            let custom = Secret::new(data.clone());
            assert_eq!(asks_beside(&[], &HeaderMap::new(), None, Some(&custom)), asks, "{data}");
        }
    }
}
