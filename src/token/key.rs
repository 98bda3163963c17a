//! The keys for content tokens: a shared secret, public keys in PEM form, or a JWKS (RFC 7517).
//!
//! Each key verifies one algorithm only, so that no token chooses how it is verified: a public key never serves as an
//! HMAC secret. Everything is checked when it is read; each fault names the remedy.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

/// RFC 7518 section 3.2: the key must have at least the size of the hash output.
const MIN_SECRET_BYTES: usize = 32;
/// An issuer has two or three keys; some list ten.
const MAX_KEYS: usize = 32;

/// Source of a JWKS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JwksSource {
    /// The operator's own file, which may hold shared secrets.
    File,
    /// A URL, whose shared secrets are ignored, because a published secret is none.
    Url,
}

/// Reasons why something cannot serve as keys, with the remedy. Shows no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFault {
    #[error(
        "holds a certificate: give its public key alone (openssl x509 -in CERTIFICATE -pubkey -noout), in PEM form"
    )]
    Certificate,
    #[error("is empty: put the key into it")]
    Empty,
    #[error("holds a public key that cannot be used: it must be RSA of 2048 to 8192 bits, or of the curve P-256")]
    Kind,
    #[error("holds more than {MAX_KEYS} keys: leave the ones in it that sign content tokens")]
    Many,
    #[error("is no JWKS: it must be JSON as {{\"keys\": […]}} (RFC 7517)")]
    NoJwks,
    #[error("holds no public key in PEM form, which begins with -----BEGIN PUBLIC KEY-----")]
    NoPem,
    #[error("holds a PEM key, which is no shared secret: name it in public-key-file")]
    PemAsSecret,
    #[error(
        "holds a private key, which only the issuer of the tokens may have: give the public one (openssl pkey -in KEY \
         -pubout; of a JWKS, leave out \"d\", \"p\", \"q\" and their like), and have the issuer replace it if others \
         could read it"
    )]
    Private,
    #[error(
        "holds {0} bytes: a secret for HS256 needs at least {MIN_SECRET_BYTES}, or it can be guessed \
         (openssl rand -hex 32)"
    )]
    ShortSecret(usize),
    #[error("holds a key that is no PEM inside: copy the whole file, from its BEGIN line to its END line")]
    TornPem,
    #[error("holds no key for signatures with RS256, ES256{0}")]
    Unusable(&'static str),
}

#[derive(Clone)]
pub(super) struct TokenKey {
    pub(super) algorithm: Algorithm,
    /// Its `kid`. A key without one may have signed any token.
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
}

/// Keys of which any may have signed a token.
#[derive(Clone, Default)]
pub struct TokenKeySet(pub(super) Vec<TokenKey>);

impl TokenKeySet {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Joins two sets, up to the size of one.
    ///
    /// # Errors
    /// Together they have too many keys.
    pub fn and(mut self, Self(more): Self) -> Result<Self, KeyFault> {
        self.0.extend(more);
        if self.0.len() > MAX_KEYS { Err(KeyFault::Many) } else { Ok(self) }
    }

    /// A secret shared by issuer and verifier (HS256).
    ///
    /// # Errors
    /// The text is no secret, or can be guessed.
    pub fn of_secret(secret: &[u8]) -> Result<Self, KeyFault> {
        if secret.is_empty() {
            return Err(KeyFault::Empty);
        }
        // If a public key served as secret, everybody could sign.
        if secret.windows(11).any(|window| window == b"-----BEGIN ") {
            return Err(KeyFault::PemAsSecret);
        }
        let key = hmac_key(secret)?;
        Ok(Self(vec![TokenKey { algorithm: Algorithm::HS256, id: None, key }]))
    }

    /// Public keys in PEM form, all that the text holds.
    ///
    /// # Errors
    /// A key cannot be used, or there is none.
    pub fn of_pem(text: &str) -> Result<Self, KeyFault> {
        if text.trim().is_empty() {
            return Err(KeyFault::Empty);
        }
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyFault::Private);
        }
        if text.contains("-----BEGIN CERTIFICATE-----") {
            return Err(KeyFault::Certificate);
        }
        let blocks: Vec<_> = text.match_indices("-----BEGIN ").filter_map(|(at, _)| text.get(at..)).collect();
        match blocks.len() {
            0 => return Err(KeyFault::NoPem),
            count if count > MAX_KEYS => return Err(KeyFault::Many),
            _ => {}
        }
        blocks.into_iter().map(public_key).collect::<Result<_, _>>().map(Self)
    }

    /// A key set. Keys for other purposes or algorithms are left out.
    ///
    /// # Errors
    /// The text is no key set, has too many keys, a private key, or no usable key.
    pub fn of_jwks(json: &[u8], source: JwksSource) -> Result<Self, KeyFault> {
        if json.trim_ascii().is_empty() {
            return Err(KeyFault::Empty);
        }
        let set = WipedJson(serde_json::from_slice(json).map_err(|_| KeyFault::NoJwks)?);
        let keys = set.0.get("keys").and_then(Value::as_array).ok_or(KeyFault::NoJwks)?;
        if keys.len() > MAX_KEYS {
            return Err(KeyFault::Many);
        }
        if keys.iter().any(is_private) {
            return Err(KeyFault::Private);
        }
        let mut usable = Vec::new();
        for key in keys {
            // An unreadable key is of an unknown kind.
            let Ok(mut jwk) = Jwk::deserialize(key) else { continue };
            let secret = match &mut jwk.algorithm {
                AlgorithmParameters::OctetKey(octets) => Some(Zeroizing::new(std::mem::take(&mut octets.value))),
                _ => None,
            };
            usable.extend(of_jwk(&jwk, secret, source)?);
        }
        if usable.is_empty() {
            return Err(KeyFault::Unusable(match source {
                JwksSource::File => " or HS256",
                JwksSource::Url => "",
            }));
        }
        Ok(Self(usable))
    }
}

impl std::fmt::Debug for TokenKeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKeySet({})", self.0.len())
    }
}

/// JSON that may hold a secret; all of its texts are wiped when dropped.
struct WipedJson(Value);

impl Drop for WipedJson {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::String(text) => text.zeroize(),
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

/// True for a key with private parts (RFC 7518 sections 6.2.2 and 6.3.2).
fn is_private(jwk: &Value) -> bool {
    ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|name| jwk.get(name).is_some())
}

/// Reads a key; `None` if it does not sign tokens in a known way. `secret` holds the bytes of a shared secret in
/// base64url, taken out of it.
fn of_jwk(jwk: &Jwk, secret: Option<Zeroizing<String>>, source: JwksSource) -> Result<Option<TokenKey>, KeyFault> {
    let common = &jwk.common;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKey(_) if source == JwksSource::File => Algorithm::HS256,
        _ => return Ok(None),
    };
    let other_use = common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature);
    let verifies = |operations: &Vec<KeyOperations>| {
        operations.contains(&KeyOperations::Verify) || operations.contains(&KeyOperations::Sign)
    };
    let other_operation = common.key_operations.as_ref().is_some_and(|operations| !verifies(operations));
    let other_algorithm = common.key_algorithm.is_some_and(|wanted| wanted != KeyAlgorithm::from(algorithm));
    if other_use || other_operation || other_algorithm {
        return Ok(None);
    }
    let key = match secret {
        Some(secret) => match URL_SAFE_NO_PAD.decode(secret.as_bytes()).map(Zeroizing::new) {
            Ok(secret) => hmac_key(&secret)?,
            Err(_) => return Ok(None),
        },
        None => match DecodingKey::from_jwk(jwk) {
            Ok(key) => key,
            Err(_) => return Ok(None),
        },
    };
    let id = common.key_id.clone();
    // A key that is too small or broken does not spoil the others.
    Ok(is_sound(algorithm, &key).then_some(TokenKey { algorithm, id, key }))
}

fn hmac_key(secret: &[u8]) -> Result<DecodingKey, KeyFault> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(KeyFault::ShortSecret(secret.len()));
    }
    DecodingKey::from_secret(secret).map_err(|_| KeyFault::Empty)
}

/// The key in the first block of the text.
fn public_key(text: &str) -> Result<TokenKey, KeyFault> {
    let pem = text.as_bytes();
    let (algorithm, key) = match (DecodingKey::from_rsa_pem(pem), DecodingKey::from_ec_pem(pem)) {
        (Ok(key), _) => (Algorithm::RS256, key),
        (Err(_), Ok(key)) => (Algorithm::ES256, key),
        (Err(_), Err(_)) if DecodingKey::from_ed_pem(pem).is_ok() => return Err(KeyFault::Kind),
        (Err(_), Err(_)) => return Err(KeyFault::TornPem),
    };
    if is_sound(algorithm, &key) { Ok(TokenKey { algorithm, id: None, key }) } else { Err(KeyFault::Kind) }
}

/// True if the key can verify signatures: its size, its curve, and its numbers are valid.
fn is_sound(algorithm: Algorithm, key: &DecodingKey) -> bool {
    const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
    match (algorithm, key.kind()) {
        (Algorithm::HS256, _) => true,
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok()
        }
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
            let modulus_bytes = aws_lc_rs::rsa::PublicKey::from_der(der).map(|key| key.modulus_len());
            modulus_bytes.is_ok_and(|bytes| RSA_BYTES.contains(&bytes))
        }
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let significant = n.iter().skip_while(|byte| **byte == 0).count();
            RSA_BYTES.contains(&significant)
                && RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
