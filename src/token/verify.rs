//! Verifies a content token: signed by a known key, meant for us, and already valid.
//!
//! An expired token is no fault here: a running playback goes on with it, and the gateway refuses to open a session
//! with it. Pure: the time is an argument.

use std::collections::HashSet;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde_json::Value;

use super::key::TokenKey;
use super::{TokenClaims, TokenKeySet, token_list};

/// Other tokens of a list that are tried.
const MAX_RIVALS: usize = 4;
/// Keys that are tried for a token that names none. Each takes up to 0.1 ms.
const MAX_KEYS_TRIED: usize = 8;

/// Requirements besides the signature.
#[derive(Clone, Debug, Default)]
pub struct TokenRules {
    /// Audiences of which `aud` must name one; not checked if empty.
    pub audiences: Vec<String>,
    /// Required `iss`.
    pub issuer: Option<String>,
    /// Allowed difference between clocks.
    pub leeway: Duration,
}

/// Reasons why a token proves nothing. Shows nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenFault {
    #[error("the content token is signed with an algorithm that none of the keys is for")]
    Algorithm,
    #[error("the call brings several content tokens, and nobody can say which of them counts")]
    Ambiguous,
    #[error("the content token is not valid yet: compare the clocks of its issuer and of this machine")]
    Early,
    #[error("the content token is from another issuer, or for another audience")]
    Elsewhere,
    #[error("the content token is no JWT, or a broken one")]
    Malformed,
    #[error("there are no keys yet that could verify the content token: its key set could not be fetched")]
    NoKeys,
    #[error("the signature of the content token does not fit")]
    Signature,
    #[error("the content token is signed by a key that is not known")]
    UnknownKey,
    #[error("the content token does not say which of many keys signed it")]
    Unnamed,
    #[error("the content token is not signed, or not in a way that is accepted here (RS256, ES256, HS256)")]
    Unsigned,
}

impl TokenFault {
    /// True if newer keys could verify it.
    pub fn wants_keys(self) -> bool {
        match self {
            Self::NoKeys | Self::UnknownKey => true,
            Self::Algorithm
            | Self::Ambiguous
            | Self::Early
            | Self::Elsewhere
            | Self::Malformed
            | Self::Signature
            | Self::Unnamed
            | Self::Unsigned => false,
        }
    }
}

impl TokenRules {
    /// The claims of the token, if one of the keys signed it and it is meant for us. `wall` is the time since the
    /// epoch.
    ///
    /// # Errors
    /// The token proves nothing.
    pub fn verify(&self, keys: &[&TokenKeySet], token: &str, wall: Duration) -> Result<TokenClaims, TokenFault> {
        let (jwt, claims) = token_list::content_token(token).ok_or(TokenFault::Malformed)?;
        self.verify_one(keys, jwt)?;
        // A forged token proves nothing, wherever it stands. Of two good ones it is unknown which counts.
        let known = token_list::known_print(jwt);
        let mut rivals = token_list::rivals(token).filter(|rival| token_list::known_print(rival) != known);
        let is_good = |rival: &str| self.verify_one(keys, rival).is_ok();
        if rivals.by_ref().take(MAX_RIVALS).any(is_good) || rivals.next().is_some() {
            return Err(TokenFault::Ambiguous);
        }
        let time = |name: &str| match claims.claim(name) {
            None => Ok(None),
            Some(Value::Number(_)) => claims.seconds(name).map(Some).ok_or(TokenFault::Malformed),
            Some(_) => Err(TokenFault::Malformed),
        };
        // A token with an unreadable expiry would never expire.
        time("exp")?;
        if time("nbf")?.is_some_and(|from| from > wall.saturating_add(self.leeway)) {
            return Err(TokenFault::Early);
        }
        Ok(claims)
    }

    fn verify_one(&self, keys: &[&TokenKeySet], jwt: &str) -> Result<(), TokenFault> {
        // Also refuses "none" and unknown algorithms.
        let header = decode_header(jwt).map_err(|_| TokenFault::Unsigned)?;
        self.verify_signature(keys, jwt, &header)
    }

    fn verify_signature(&self, keys: &[&TokenKeySet], jwt: &str, header: &Header) -> Result<(), TokenFault> {
        let all = || keys.iter().flat_map(|TokenKeySet(keys)| keys);
        if all().next().is_none() {
            return Err(TokenFault::NoKeys);
        }
        let named = |key: &&TokenKey| match (&key.id, &header.kid) {
            (Some(id), Some(named)) => id == named,
            (None, _) | (Some(_), None) => true,
        };
        let fitting: Vec<_> = all().filter(|key| key.algorithm == header.alg).filter(named).collect();
        match fitting.len() {
            // The key decides the algorithm, never the token.
            0 if header.kid.is_none() || all().any(|key| key.id == header.kid) => return Err(TokenFault::Algorithm),
            0 => return Err(TokenFault::UnknownKey),
            many if many > MAX_KEYS_TRIED => return Err(TokenFault::Unnamed),
            _ => {}
        }
        let validation = self.validation(header);
        for key in &fitting {
            match decode::<Value>(jwt, &key.key, &validation).map_err(jsonwebtoken::errors::Error::into_kind) {
                Ok(_) => return Ok(()),
                Err(ErrorKind::InvalidSignature) => {}
                Err(ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer | ErrorKind::MissingRequiredClaim(_)) => {
                    return Err(TokenFault::Elsewhere);
                }
                Err(_) => return Err(TokenFault::Malformed),
            }
        }
        // A key of another name may have come since the last fetch, but not this very one.
        let is_named = fitting.iter().any(|key| key.id.is_some() && key.id == header.kid);
        Err(if is_named { TokenFault::Signature } else { TokenFault::UnknownKey })
    }

    /// The library must not judge times, because the time is an argument here.
    fn validation(&self, header: &Header) -> Validation {
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.required_spec_claims = HashSet::new();
        validation.validate_aud = !self.audiences.is_empty();
        if validation.validate_aud {
            validation.set_audience(&self.audiences);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }
}

#[cfg(test)]
mod tests;
