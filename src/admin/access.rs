//! Decides who may use the admin listener.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::config;
use crate::edge::only_value;
use crate::secret::Secret;

pub(super) struct AdminGate {
    /// True if other machines can reach the listener.
    exposed: bool,
    origins: Vec<String>,
    /// True to accept only requests to a loopback name. This refuses a page that rebinds its own name to our address.
    loopback: bool,
    token: Option<Secret>,
}

impl AdminGate {
    pub(super) fn new(config: &config::AdminSettings) -> Self {
        let is_loopback = config.listen.map(|address| address.ip().to_canonical().is_loopback());
        Self {
            exposed: is_loopback == Some(false),
            loopback: is_loopback == Some(true),
            origins: config.origins.clone(),
            token: config.token.clone(),
        }
    }

    /// The gate for a new configuration of the same listener. A listener that others can reach is never left without
    /// a token: then the old one stays, which the second value tells.
    pub(super) fn renewed(&self, config: &config::AdminSettings) -> (Self, bool) {
        let keep = self.exposed && config.token.is_none();
        let token = if keep { self.token.clone() } else { config.token.clone() };
        (Self { exposed: self.exposed, loopback: self.loopback, origins: config.origins.clone(), token }, keep)
    }

    /// Checks a request; the error is the refusal's status and reason.
    pub(super) fn check(&self, headers: &HeaderMap, health: bool) -> Result<(), (StatusCode, &'static str)> {
        for name in [HOST, ORIGIN, AUTHORIZATION] {
            if only_value(headers, &name).is_err() {
                return Err((StatusCode::BAD_REQUEST, "Host, Origin and Authorization are given once"));
            }
        }
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if self.loopback && !text(HOST).is_some_and(is_loopback) {
            return Err((StatusCode::MISDIRECTED_REQUEST, "the Host header does not name this listener"));
        }
        let foreign =
            text(ORIGIN).is_some_and(|origin| self.allow_origin(headers) != Some(origin) && !own(origin, headers));
        if foreign {
            return Err((StatusCode::FORBIDDEN, "this origin is not in admin.origins"));
        }
        let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).map(Secret::new);
        match &self.token {
            Some(token) if !health && bearer.as_ref() != Some(token) => {
                Err((StatusCode::UNAUTHORIZED, "send the admin token as Authorization: Bearer"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The request's origin if it is on the list.
    pub(super) fn allow_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let origin = headers.get(ORIGIN)?.to_str().ok()?;
        self.origins.iter().any(|allowed| allowed == origin).then_some(origin)
    }
}

/// True for our own page on our own port.
fn own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    origin.strip_prefix("http://").is_some_and(|authority| Some(authority) == host)
}

fn is_loopback(host: &str) -> bool {
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(n, _)| n);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_callers_with_a_good_host_and_origin_come_in() {
        let config = config::AdminSettings {
            listen: Some("127.0.0.1:9180".parse().unwrap()),
            origins: vec!["https://board.example".into()],
            token: None,
        };
        let gate = AdminGate::new(&config);
        let own = (HOST, "127.0.0.1:9180");
        let rows: &[(&[(HeaderName, &'static str)], u16)] = &[
            (std::slice::from_ref(&own), 200),
            (&[(HOST, "localhost:9180")], 200),
            (&[(HOST, "[::1]:9180")], 200),
            (&[(HOST, "rebound.example:9180")], 421),
            (&[], 421),
            (&[own.clone(), (ORIGIN, "http://127.0.0.1:9180")], 200),
            (&[own.clone(), (ORIGIN, "https://board.example")], 200),
            (&[own.clone(), (ORIGIN, "https://evil.example")], 403),
            (&[own.clone(), (ORIGIN, "null")], 403),
        ];
        for (pairs, status) in rows {
            let checked = gate.check(&headers(pairs), false).map_or_else(|(status, _)| status.as_u16(), |()| 200);
            assert_eq!(checked, *status, "{pairs:?}");
        }
    }

    #[test]
    fn a_header_that_two_parsers_could_read_differently_is_refused() {
        let config = config::AdminSettings {
            listen: Some("127.0.0.1:9180".parse().unwrap()),
            origins: Vec::new(),
            token: Some(Secret::new("s3cret")),
        };
        let gate = AdminGate::new(&config);
        let good = [(HOST, "127.0.0.1:9180"), (ORIGIN, "http://127.0.0.1:9180"), (AUTHORIZATION, "Bearer s3cret")];
        assert!(gate.check(&headers(&good), false).is_ok());
        for (name, value) in good.clone() {
            for second in [value, "evil.example", ""] {
                for health in [false, true] {
                    let mut twice = headers(&good);
                    twice.append(&name, HeaderValue::from_static(second));
                    let status = gate.check(&twice, health).unwrap_err().0;
                    assert_eq!(status, StatusCode::BAD_REQUEST, "{name}: {second:?}");
                }
            }
        }
    }

    /// The configuration takes it for loopback, too, and asks for no token.
    #[test]
    fn a_mapped_loopback_address_is_guarded_like_any_other() {
        let listen = Some("[::ffff:127.0.0.1]:9180".parse().unwrap());
        let gate = AdminGate::new(&config::AdminSettings { listen, origins: Vec::new(), token: None });
        assert!(gate.check(&headers(&[(HOST, "rebound.example:9180")]), false).is_err());
        assert!(gate.check(&headers(&[(HOST, "[::ffff:127.0.0.1]:9180")]), false).is_ok());
    }

    #[test]
    fn the_token_guards_all_but_health() {
        let config = config::AdminSettings { listen: None, origins: Vec::new(), token: Some(Secret::new("s3cret")) };
        let gate = AdminGate::new(&config);
        assert!(gate.check(&headers(&[]), true).is_ok());
        assert!(gate.check(&headers(&[]), false).is_err());
        assert!(gate.check(&headers(&[(AUTHORIZATION, "Bearer wrong")]), false).is_err());
        assert!(gate.check(&headers(&[(AUTHORIZATION, "Bearer s3cret")]), false).is_ok());
    }

    #[test]
    fn a_listener_that_others_reach_is_never_left_without_a_token() {
        let at = |listen: &str, token: Option<&str>| config::AdminSettings {
            listen: Some(listen.parse().unwrap()),
            origins: Vec::new(),
            token: token.map(Secret::new),
        };
        let (exposed, loopback) = ("192.0.2.1:9180", "127.0.0.1:9180");
        for (before, after, kept, guarded) in [
            // A token is not asked for at a loopback address; the listener is still at the other one.
            (at(exposed, Some("old")), at(loopback, None), true, true),
            (at(exposed, Some("old")), at(exposed, Some("new")), false, true),
            (at(loopback, Some("old")), at(loopback, None), false, false),
        ] {
            let (gate, token_kept) = AdminGate::new(&before).renewed(&after);
            let open = gate.check(&headers(&[(HOST, "127.0.0.1:9180")]), false).is_ok();
            assert_eq!((token_kept, open), (kept, !guarded), "{before:?} {after:?}");
            assert!(
                gate.check(&headers(&[(HOST, "127.0.0.1:9180"), (AUTHORIZATION, "Bearer wrong")]), false).is_err()
                    == guarded
            );
        }
    }
}
