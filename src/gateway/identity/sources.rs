//! Identity sources: the parts of a call that may name a device, an account or a group. The first source that
//! answers counts.
//!
//! A route's sources name the device; an embedded authority has sources of its own for the account and the groups.

use http::{HeaderMap, header};

use crate::authority::Authority;
use crate::config::{DeviceSource, IdentitySource};
use crate::edge::{AddressKey, Peer};
use crate::gateway::query;
use crate::secret::Fingerprint;
use crate::sessions::DeviceKey;
use crate::token::TokenClaims;

/// A longer name counts as none.
pub(in crate::gateway) const MAX_IDENTITY_BYTES: usize = 256;

/// The parts of a call that identity sources read.
pub(in crate::gateway) struct IdentityEvidence<'a> {
    pub(in crate::gateway) claims: Option<&'a TokenClaims>,
    pub(in crate::gateway) headers: &'a HeaderMap,
    pub(in crate::gateway) peer: &'a Peer,
    pub(in crate::gateway) query: Option<&'a str>,
    /// The path behind the route's path.
    pub(in crate::gateway) rest: &'a str,
}

/// A device, and the identity source that named it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::gateway) struct DeviceIdentity {
    pub(in crate::gateway) name: String,
    pub(in crate::gateway) source: DeviceSource,
}

impl DeviceIdentity {
    pub(in crate::gateway) fn key(&self, authority: &Authority) -> DeviceKey {
        DeviceKey::new(&authority.name, self.source, &self.name)
    }
}

/// The device, by the first of these sources that answers.
pub(in crate::gateway) fn device(
    sources: &[IdentitySource],
    evidence: &IdentityEvidence<'_>,
) -> Option<DeviceIdentity> {
    sources.iter().find_map(|source| Some(DeviceIdentity { name: answer(source, evidence)?, source: source.kind() }))
}

pub(super) fn answer(source: &IdentitySource, evidence: &IdentityEvidence<'_>) -> Option<String> {
    ask(source, evidence).filter(|answer| is_name(answer))
}

/// A name as it is kept and shown, where nothing is decided by it. A name longer than [`MAX_IDENTITY_BYTES`] is
/// cut and ends with the fingerprint of the whole, so that two long names stay two.
pub(in crate::gateway) fn kept_name(name: String) -> String {
    if name.len() <= MAX_IDENTITY_BYTES {
        return name;
    }
    let print = format!("…{:016x}", Fingerprint::of(name.as_bytes()).get());
    let end = name.floor_char_boundary(MAX_IDENTITY_BYTES - print.len());
    format!("{}{print}", name.get(..end).unwrap_or_default())
}

/// True if a text can be a name.
pub(in crate::gateway) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_IDENTITY_BYTES && !text.chars().any(char::is_control)
}

fn ask(source: &IdentitySource, evidence: &IdentityEvidence<'_>) -> Option<String> {
    match source {
        IdentitySource::Cookie(name) => cookie(evidence.headers, name),
        IdentitySource::Header(name) => Some(evidence.headers.get(name)?.to_str().ok()?.trim().to_owned()),
        IdentitySource::Mtls => evidence.peer.certificate.clone(),
        IdentitySource::PathSegment => evidence.rest.strip_prefix('/')?.split('/').next().map(str::to_owned),
        // The part of the address that the caller cannot choose.
        IdentitySource::Peer => Some(AddressKey::of(evidence.peer.address).to_string()),
        IdentitySource::Query(name) => query::value(evidence.query, name).map(|value| value.into_owned()),
        IdentitySource::TokenClaim(path) => evidence.claims?.text(path),
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::tests::cost;

    fn peer() -> Peer {
        let address = "192.0.2.7".parse().unwrap();
        let (limits, guards) = Default::default();
        Peer { address, limits, certificate: None, proxy: None, guards, tls: false }
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
        let (fits, too_long) = ("a".repeat(MAX_IDENTITY_BYTES), "a".repeat(MAX_IDENTITY_BYTES + 1));
        let order = [
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
            assert_eq!(
                device(&order, &evidence),
                Some(DeviceIdentity { name: answer.0.to_owned(), source: answer.1.to_owned().into() })
            );
        }
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
            assert_eq!(
                device(&[IdentitySource::Peer], &evidence),
                Some(DeviceIdentity { name: name.to_owned(), source: DeviceSource::Peer }),
                "{address}"
            );
            assert_eq!(answer(&IdentitySource::Peer, &evidence).as_deref(), Some(name), "{address}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_stays_another_than_the_next() {
        let long = |end: &str| format!("{}{end}", "é".repeat(20_000));
        let (one, other) = (kept_name(long("1")), kept_name(long("2")));
        assert!(one.len() <= MAX_IDENTITY_BYTES && other.len() <= MAX_IDENTITY_BYTES && one != other, "{one} {other}");
        assert_eq!(
            kept_name("é".repeat(MAX_IDENTITY_BYTES / 2)),
            "é".repeat(MAX_IDENTITY_BYTES / 2),
            "one that fits stays as it is"
        );
    }

    #[test]
    fn evidence_costs_no_more_than_its_size() {
        const HEAD_BYTES: usize = 32 * 1024;
        let order = [
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
                device(&order, &evidence).map_or(0, |device| device.name.len())
            };
            let make = |size| cost::filled("", |_| part.to_owned(), "", size);
            cost::assert_linear(name, HEAD_BYTES, cost::SHORT, make, find);
        }
    }
}
