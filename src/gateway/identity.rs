//! Whom a session is counted for: the first rung of a ladder that answers.
//!
//! The route's ladder names the device; an embedded authority has ladders of its own for the account
//! and the groups.

pub(super) mod caller;
pub(super) mod token_proof;
pub(super) mod watch;

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, header};

use super::query;
use crate::authority::Authority;
use crate::config::{AccountSource, IdentitySource, TokenSource};
use crate::edge::{AddressKey, Peer};
use crate::secret::{Fingerprint, Secret};
use crate::token::{self, TokenClaims, known_print};

/// Longest identity that is believed; longer ones are no identities.
const LONGEST: usize = 256;

/// Players come back within seconds after a kill.
const MIN_KILL_MEMORY: Duration = Duration::from_secs(30);

/// A content token that says so may be good for years.
const MAX_KILL_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// What the ladder may look at.
pub(super) struct IdentityEvidence<'a> {
    pub(super) claims: Option<&'a TokenClaims>,
    pub(super) headers: &'a HeaderMap,
    pub(super) peer: &'a Peer,
    pub(super) query: Option<&'a str>,
    /// What follows the route's path.
    pub(super) rest: &'a str,
}

/// The device and the name of the rung that told.
pub(super) fn device(ladder: &[IdentitySource], evidence: &IdentityEvidence<'_>) -> Option<(String, &'static str)> {
    ladder.iter().find_map(|rung| Some((answer(rung, evidence)?, name(rung))))
}

/// For whom and as what the authority counts a session.
#[derive(Clone, Debug, Default)]
pub(super) struct SessionAccount {
    pub(super) account: Option<String>,
    /// Nothing but the device named the account, though the authority looks for more.
    pub(super) by_device: bool,
    pub(super) content_group: Option<String>,
    pub(super) device_group: Option<String>,
    /// Whether nobody can write himself into an account of others: its token was verified, all are one household, or
    /// the connection's own address told.
    pub(super) is_proven: bool,
    /// As [`crate::sessions::Card::network`].
    pub(super) network: Fingerprint,
}

impl SessionAccount {
    pub(super) fn read(authority: Option<&Authority>, evidence: &IdentityEvidence<'_>, device: Option<&str>) -> Self {
        let network = network(evidence.peer.address);
        let Some(counter) = authority.and_then(Authority::counter) else {
            // Told only, and not counted by us.
            let claim = |path| evidence.claims.and_then(|claims| claims.text(path));
            let account = claim("device.accountId").or_else(|| claim("accountId")).map(kept_name);
            return Self { account, network, ..Self::default() };
        };
        let config = counter.config();
        let first = |ladder: &[IdentitySource]| ladder.iter().find_map(|rung| answer(rung, evidence));
        let (mut by_device, mut is_proven) = (false, false);
        Self {
            account: config.account.iter().find_map(|rung| match rung {
                AccountSource::Device => {
                    by_device = config.account.len() > 1;
                    is_proven = false;
                    device.map(str::to_owned)
                }
                AccountSource::Fixed(name) => {
                    is_proven = config.account.len() == 1;
                    Some(name.clone())
                }
                AccountSource::Request(rung) => {
                    is_proven = match rung {
                        IdentitySource::TokenClaim(_) => config.token_keys.is_some(),
                        IdentitySource::Peer => true,
                        IdentitySource::Cookie(_)
                        | IdentitySource::Header(_)
                        | IdentitySource::Mtls
                        | IdentitySource::PathSegment
                        | IdentitySource::Query(_) => false,
                    };
                    answer(rung, evidence)
                }
            }),
            by_device,
            content_group: first(&config.content_groups.source),
            device_group: first(&config.device_groups.source),
            is_proven,
            network,
        }
    }
}

/// An IPv6 viewer has a whole network of addresses (RFC 6177): its first 64 bits are what it cannot choose.
pub(super) fn network(address: IpAddr) -> Fingerprint {
    match address.to_canonical() {
        IpAddr::V4(address) => Fingerprint::of(&address.octets()),
        IpAddr::V6(address) => Fingerprint::of(&address.octets()[..8]),
    }
}

fn answer(rung: &IdentitySource, evidence: &IdentityEvidence<'_>) -> Option<String> {
    ask(rung, evidence).filter(|answer| is_name(answer))
}

/// A name as it is kept and shown, where nothing decides by it. One that is longer than [`LONGEST`] is cut, and ends with
/// the fingerprint of the whole: two long names stay two.
pub(super) fn kept_name(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let print = format!("…{:016x}", Fingerprint::of(name.as_bytes()).0);
    let end = name.floor_char_boundary(LONGEST - print.len());
    format!("{}{print}", name.get(..end).unwrap_or_default())
}

/// Whether a text can be somebody's name.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)
}

fn ask(rung: &IdentitySource, evidence: &IdentityEvidence<'_>) -> Option<String> {
    match rung {
        IdentitySource::Cookie(name) => cookie(evidence.headers, name),
        IdentitySource::Header(name) => Some(evidence.headers.get(name)?.to_str().ok()?.trim().to_owned()),
        IdentitySource::Mtls => evidence.peer.certificate.clone(),
        IdentitySource::PathSegment => evidence.rest.strip_prefix('/')?.split('/').next().map(str::to_owned),
        // What it cannot choose, as wherever addresses count.
        IdentitySource::Peer => Some(AddressKey::of(evidence.peer.address).to_string()),
        IdentitySource::Query(name) => query::value(evidence.query, name).map(|value| value.into_owned()),
        IdentitySource::TokenClaim(path) => evidence.claims?.text(path),
    }
}

/// What [`name`] may say.
pub(super) const RUNGS: [&str; 7] = ["cookie", "header", "mtls", "path-segment", "peer", "query", "token-claim"];

pub(super) fn name(rung: &IdentitySource) -> &'static str {
    match rung {
        IdentitySource::Cookie(_) => "cookie",
        IdentitySource::Header(_) => "header",
        IdentitySource::Mtls => "mtls",
        IdentitySource::PathSegment => "path-segment",
        IdentitySource::Peer => "peer",
        IdentitySource::Query(_) => "query",
        IdentitySource::TokenClaim(_) => "token-claim",
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"').to_owned())
    })
}

/// The content token, from the first place of the route that has one.
pub(super) fn content_token(
    sources: &[TokenSource],
    headers: &HeaderMap,
    query: Option<&str>,
    custom_data: Option<&Secret>,
) -> Option<Secret> {
    sources.iter().find_map(|source| match source {
        TokenSource::CustomData => custom_data.filter(|data| holds_token(data.expose())).cloned(),
        TokenSource::Header(name) => {
            let value = headers.get(name)?.to_str().ok()?.trim();
            Some(without_scheme(value)).filter(|text| holds_token(text)).map(Secret::new)
        }
        TokenSource::Query(name) => query::value(query, name).filter(|text| holds_token(text)).map(Secret::new),
    })
}

/// Separators, quotes and blanks alone are no token: a killed device could else put a comma where it sends none.
fn holds_token(text: &str) -> bool {
    text.split(',').any(|part| without_scheme(part.trim()).chars().any(char::is_alphanumeric))
}

/// Whether a token beside the one that counts asks for a session, or cannot be read: in its list, in another place of
/// the route, or in custom data, which the license server gets wherever the route looks.
pub(super) fn asks_beside(
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

/// Authorities take tokens bare, and one that also comes by the query is the same token.
fn without_scheme(value: &str) -> &str {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
        None if value.eq_ignore_ascii_case("bearer") => "",
        Some(_) | None => value,
    }
}

/// The token by which a playback is known. A device authentication token opens sessions too, but
/// stands for no playback.
pub(super) fn of_playback(token: Option<&Secret>, claims: Option<&TokenClaims>) -> Option<Fingerprint> {
    let of_device = claims.is_some_and(TokenClaims::is_of_device);
    token.filter(|_| !of_device).map(|token| known_print(token.expose()))
}

/// A kill is remembered for as long as its content token could be used again; none where the token does not say.
/// `time` is the authority's.
pub(super) fn kill_memory(
    token: Option<Fingerprint>,
    claims: Option<&TokenClaims>,
    time: Duration,
) -> Option<Duration> {
    let remaining = match token {
        Some(_) => claims?.remaining(time),
        // Nothing tells one playback of the device from the next: before long the authority is asked again.
        None => Some(MIN_KILL_MEMORY),
    };
    remaining.map(|remaining| remaining.clamp(MIN_KILL_MEMORY, MAX_KILL_MEMORY))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::tests::cost;

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

    fn peer() -> Peer {
        let address = "192.0.2.7".parse().unwrap();
        let (limits, ties) = Default::default();
        Peer { address, limits, certificate: None, proxy: None, ties, tls: false }
    }

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
    fn a_ladder_believes_the_first_answer_that_can_be_a_name() {
        let (fits, too_long) = ("a".repeat(LONGEST), "a".repeat(LONGEST + 1));
        let ladder = [
            IdentitySource::Header("x-id".parse().unwrap()),
            IdentitySource::Cookie("id".into()),
            IdentitySource::Query("id".into()),
            IdentitySource::TokenClaim("device.deviceId".into()),
            IdentitySource::PathSegment,
            IdentitySource::Peer,
        ];
        let cookies = [("cookie", "a=1; other=id"), ("cookie", "b=2; id=\"tv\"; id=late")];
        let claims = claims(r#"{"device":{"deviceId":"box"}}"#);
        for (lines, query, claims, rest, answer) in [
            (&[("x-id", " tv ")][..], None, None, "", ("tv", "header")),
            (&[("x-id", fits.as_str())], None, None, "", (fits.as_str(), "header")),
            (&[("x-id", too_long.as_str())], Some("id=q"), None, "", ("q", "query")),
            (&[("x-id", "")], Some("id=q"), None, "", ("q", "query")),
            (&[("x-id", "a\tb")], Some("id=q"), None, "", ("q", "query")),
            (&cookies, Some("id=q"), None, "", ("tv", "cookie")),
            (&[], Some("id="), claims.as_ref(), "", ("box", "token-claim")),
            (&[], None, None, "/seg/more", ("seg", "path-segment")),
            (&[], None, None, "/", ("192.0.2.7", "peer")),
        ] {
            let evidence = IdentityEvidence { claims, headers: &headers(lines), peer: &peer(), query, rest };
            assert_eq!(device(&ladder, &evidence), Some((answer.0.to_owned(), answer.1)));
        }
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
    fn where_nothing_is_counted_here_the_tokens_own_account_is_told() {
        for (text, account) in [
            (r#"{"device":{"accountId":"a"},"accountId":"b"}"#, Some("a")),
            (r#"{"accountId":"b"}"#, Some("b")),
            ("{}", None),
        ] {
            let claims = claims(text);
            let (headers, peer) = (HeaderMap::new(), peer());
            let evidence =
                IdentityEvidence { claims: claims.as_ref(), headers: &headers, peer: &peer, query: None, rest: "" };
            let counted = SessionAccount::read(None, &evidence, Some("tv"));
            assert_eq!((counted.account.as_deref(), counted.by_device), (account, false));
        }
    }

    #[test]
    fn an_ipv6_viewer_is_its_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
    }

    /// In a name of a device, of an account and of groups alike.
    #[test]
    fn an_ipv6_viewer_is_named_by_its_network_wherever_its_address_names_it() {
        for (address, name) in [
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7", "192.0.2.7"),
        ] {
            let (headers, peer) = (HeaderMap::new(), Peer { address: address.parse().unwrap(), ..peer() });
            let evidence = IdentityEvidence { claims: None, headers: &headers, peer: &peer, query: None, rest: "" };
            assert_eq!(device(&[IdentitySource::Peer], &evidence), Some((name.to_owned(), "peer")), "{address}");
            assert_eq!(answer(&IdentitySource::Peer, &evidence).as_deref(), Some(name), "{address}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_stays_another_than_the_next() {
        let long = |end: &str| format!("{}{end}", "é".repeat(20_000));
        let (one, other) = (kept_name(long("1")), kept_name(long("2")));
        assert!(one.len() <= LONGEST && other.len() <= LONGEST && one != other, "{one} {other}");
        assert_eq!(kept_name("é".repeat(LONGEST / 2)), "é".repeat(LONGEST / 2), "one that fits stays as it is");
    }

    #[test]
    fn a_kill_is_remembered_as_long_as_its_token_could_be_used_within_bounds() {
        let now = Duration::from_secs(1_800_000_000);
        let token = Some(Fingerprint(1));
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

    #[test]
    fn evidence_costs_no_more_than_its_size() {
        const HEAD_BYTES: usize = 32 * 1024;
        let ladder = [
            IdentitySource::Cookie("box".to_owned()),
            IdentitySource::Header(http::HeaderName::from_static("x-device-id")),
            IdentitySource::Query("device".to_owned()),
            IdentitySource::PathSegment,
            IdentitySource::Peer,
        ];
        for (name, part) in [
            ("cookies", "a=b;"),
            ("cookies of no value", ";"),
            ("cookies of our name", "box=;"),
            ("quotes", "box=\"\";"),
            ("spaces", " "),
            ("one long name", "a"),
        ] {
            let find = |bytes: &[u8]| {
                let mut headers = HeaderMap::new();
                for line in cost::lines(bytes) {
                    headers.append(header::COOKIE, http::HeaderValue::from_bytes(line).unwrap());
                }
                headers.insert("x-device-id", http::HeaderValue::from_bytes(bytes).unwrap());
                let query = std::str::from_utf8(bytes).unwrap();
                let evidence = IdentityEvidence {
                    claims: None,
                    headers: &headers,
                    peer: &peer(),
                    query: Some(query),
                    rest: query,
                };
                device(&ladder, &evidence).map_or(0, |(device, _)| device.len())
            };
            let make = |size| cost::filled("", |_| part.to_owned(), "", size);
            cost::assert_linear(name, HEAD_BYTES, cost::SHORT, make, find);
        }
    }
}
