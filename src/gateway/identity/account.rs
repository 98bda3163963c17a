//! Names the account and the groups that the authority counts a session for.

use std::net::IpAddr;

use super::sources::{IdentityEvidence, answer, kept_name};
use crate::authority::Authority;
use crate::config::{AccountSource, IdentitySource};
use crate::secret::Fingerprint;

/// The account and groups that the authority counts a session for.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct SessionAccount {
    pub(in crate::gateway) account: Option<String>,
    /// Only the device named the account, though the authority looks for more.
    pub(in crate::gateway) by_device: bool,
    pub(in crate::gateway) content_group: Option<String>,
    pub(in crate::gateway) device_group: Option<String>,
    /// No caller can put itself into another's account: its token was verified, all callers are one household, or
    /// the connection's own address named the account.
    pub(in crate::gateway) is_proven: bool,
    /// See [`crate::sessions::SessionContext::network`].
    pub(in crate::gateway) network: Fingerprint,
}

impl SessionAccount {
    pub(in crate::gateway) fn read(
        authority: Option<&Authority>,
        evidence: &IdentityEvidence<'_>,
        device: Option<&str>,
    ) -> Self {
        let network = network(evidence.peer.address);
        let Some(counter) = authority.and_then(Authority::counter) else {
            // Passed on only; sidebeat does not count it.
            let claim = |path| evidence.claims.and_then(|claims| claims.text(path));
            let account = claim("device.accountId").or_else(|| claim("accountId")).map(kept_name);
            return Self { account, network, ..Self::default() };
        };
        let config = counter.config();
        let first = |sources: &[IdentitySource]| sources.iter().find_map(|source| answer(source, evidence));
        let (mut by_device, mut is_proven) = (false, false);
        Self {
            account: config.account.iter().find_map(|source| match source {
                AccountSource::Device => {
                    by_device = config.account.len() > 1;
                    is_proven = false;
                    device.map(str::to_owned)
                }
                AccountSource::Fixed(name) => {
                    is_proven = config.account.len() == 1;
                    Some(name.clone())
                }
                AccountSource::Request(source) => {
                    is_proven = match source {
                        IdentitySource::TokenClaim(_) => config.token_keys.is_some(),
                        IdentitySource::Peer => true,
                        IdentitySource::Cookie(_)
                        | IdentitySource::Header(_)
                        | IdentitySource::Mtls
                        | IdentitySource::PathSegment
                        | IdentitySource::Query(_) => false,
                    };
                    answer(source, evidence)
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

/// An IPv6 viewer has a whole network of addresses (RFC 6177) and cannot choose its first 64 bits.
pub(in crate::gateway) fn network(address: IpAddr) -> Fingerprint {
    match address.to_canonical() {
        IpAddr::V4(address) => Fingerprint::of(&address.octets()),
        IpAddr::V6(address) => Fingerprint::of(&address.octets()[..8]),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use http::HeaderMap;

    use super::*;
    use crate::edge::Peer;
    use crate::token::TokenClaims;

    fn peer() -> Peer {
        let address = "192.0.2.7".parse().unwrap();
        let (limits, guards) = Default::default();
        Peer { address, limits, certificate: None, proxy: None, guards, tls: false }
    }

    fn claims(text: &str) -> Option<TokenClaims> {
        TokenClaims::peek(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(text)))
    }

    #[test]
    fn a_token_names_the_account_where_nothing_is_counted_here() {
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
}
