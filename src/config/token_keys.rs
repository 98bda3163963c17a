//! `[authority.token-keys]`: the keys that sign the content tokens of an embedded authority.
//!
//! The files are read here, so that each fault is reported at the key that names the file.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::table_reader::TableReader;
use super::{AccountSource, EndpointUrl, IdentitySource};
use crate::token::{JwksSource, KeyFault, TokenKeySet, TokenRules};

#[derive(Clone, Debug)]
pub struct TokenKeySettings {
    /// Keys from files.
    pub own: TokenKeySet,
    pub rules: TokenRules,
    pub url: Option<JwksUrl>,
}

/// A key set that is fetched from a URL.
#[derive(Clone, Debug)]
pub struct JwksUrl {
    /// CA for the URL, in place of the public roots.
    pub ca: Option<PathBuf>,
    pub endpoint: EndpointUrl,
    /// Time between two fetches.
    pub refresh: Duration,
}

const REFRESH_RANGE: RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_hours(24);
const LEEWAY_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(5);

/// `account` are the authority's account sources.
pub(super) fn token_keys(authority: &TableReader<'_>, account: &[AccountSource]) -> Option<TokenKeySettings> {
    let table = authority.table("token-keys");
    let secret = table.file_content("secret-file", |secret| TokenKeySet::of_secret(secret.trim_ascii_end()));
    let pem = table.file_content("public-key-file", |pem| {
        let pem = std::str::from_utf8(pem).map_err(|_| KeyFault::NoPem)?;
        TokenKeySet::of_pem(pem)
    });
    let jwks = table.file_content("jwks-file", |json| TokenKeySet::of_jwks(json, JwksSource::File));
    let url = table.word("jwks-url", jwks_url);
    let refresh = table.duration("refresh", REFRESH_RANGE).unwrap_or(Duration::from_hours(1));
    let ca = table.file("ca");
    let rules = TokenRules {
        audiences: table.list("audience", "[\"player\"]", name).unwrap_or_default(),
        issuer: table.word("issuer", name),
        leeway: table.duration("leeway", LEEWAY_RANGE).unwrap_or(Duration::from_secs(30)),
    };
    for key in ["ca", "refresh"] {
        if table.has(key) && !table.has("jwks-url") {
            table.fault(key, "needs jwks-url, for which it is");
        }
    }
    if !["secret-file", "public-key-file", "jwks-file", "jwks-url"].iter().any(|key| table.has(key)) {
        if table.is_there() {
            let what = "names no key, so that no token would be verified: set secret-file, public-key-file, jwks-file \
                or jwks-url, or leave the table out";
            authority.fault("token-keys", what);
        }
        return None;
    }
    warn_of_unproven_accounts(authority, account);
    let own = [secret, pem, jwks].into_iter().flatten().try_fold(TokenKeySet::default(), TokenKeySet::and);
    let own = own.map_err(|fault| authority.fault("token-keys", fault.to_string())).unwrap_or_default();
    Some(TokenKeySettings { own, rules, url: url.map(|endpoint| JwksUrl { ca, endpoint, refresh }) })
}

/// Warns of account sources that any caller can write, because a token beside them proves no account.
fn warn_of_unproven_accounts(authority: &TableReader<'_>, account: &[AccountSource]) {
    let unproven = |source: &AccountSource| {
        matches!(
            source,
            AccountSource::Request(IdentitySource::Cookie(_) | IdentitySource::Header(_) | IdentitySource::Query(_))
                | AccountSource::Device
        )
    };
    if account.iter().any(unproven) {
        let what = "takes the account from what the caller writes, although tokens are verified: name \
            \"token-claim:PATH\", \"peer\" or \"fixed:NAME\" alone";
        authority.warn("account", what);
    }
}

fn jwks_url(text: &str) -> Result<EndpointUrl, &'static str> {
    let endpoint = EndpointUrl::parse(text)?;
    let is_here = match endpoint.host().parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => endpoint.host().eq_ignore_ascii_case("localhost"),
    };
    if endpoint.tls() || is_here {
        Ok(endpoint)
    } else {
        Err("must begin with https://: whoever can change the keys on their way can sign every token")
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}
