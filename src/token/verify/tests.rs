use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, encode};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData};
use serde_json::json;

use super::*;
use crate::token::JwksSource;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn rsa() -> KeyPair {
    KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()
}

fn ec() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn pem(key: &KeyPair) -> TokenKeySet {
    TokenKeySet::of_pem(&key.public_key_pem()).unwrap()
}

/// The JWK of a P-256 key.
fn jwk(key: &KeyPair, kid: Option<&str>) -> Value {
    // An uncompressed point: 4, x, y.
    let point = key.der_bytes();
    let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
    let mut jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    if let Some(kid) = kid {
        jwk["kid"] = kid.into();
    }
    jwk
}

fn jwks(keys: &[Value]) -> TokenKeySet {
    TokenKeySet::of_jwks(json!({ "keys": keys }).to_string().as_bytes(), JwksSource::Url).unwrap()
}

fn signed(key: &KeyPair, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let pem = key.serialize_pem();
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
        _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
    };
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, &key.unwrap()).unwrap()
}

fn hmac(secret: &[u8], claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret).unwrap()).unwrap()
}

fn verify(keys: &TokenKeySet, token: &str) -> Result<String, TokenFault> {
    verify_by(&TokenRules::default(), keys, token)
}

fn verify_by(rules: &TokenRules, keys: &TokenKeySet, token: &str) -> Result<String, TokenFault> {
    rules.verify(&[keys], token, NOW).map(|claims| claims.text("accountId").unwrap_or_default())
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

#[test]
fn a_token_is_what_its_key_has_signed() {
    let (rsa, ec, claims) = (rsa(), ec(), json!({"accountId": "ann"}));
    let secret = TokenKeySet::of_secret(SECRET).unwrap();
    let rows = [
        (pem(&rsa), signed(&rsa, Algorithm::RS256, None, &claims)),
        (pem(&ec), signed(&ec, Algorithm::ES256, Some("any"), &claims)),
        (secret, hmac(SECRET, &claims)),
        (jwks(&[jwk(&ec, Some("k1"))]), signed(&ec, Algorithm::ES256, Some("k1"), &claims)),
        (jwks(&[jwk(&ec, None)]), signed(&ec, Algorithm::ES256, Some("k1"), &claims)),
        (jwks(&[jwk(&self::ec(), Some("k0")), jwk(&ec, Some("k1"))]), signed(&ec, Algorithm::ES256, None, &claims)),
    ];
    for (at, (keys, token)) in rows.iter().enumerate() {
        for text in [token.clone(), format!("Bearer {token}"), format!("a.b.c.d.e,{token}")] {
            assert_eq!(verify(keys, &text), Ok("ann".to_owned()), "{at}");
        }
        // Another account, the same signature.
        let [head, _, tag] = token.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT") };
        let forged = format!("{head}.{}.{tag}", part(&json!({"accountId": "bob"})));
        assert!(verify(keys, &forged).is_err(), "{at}");
        assert!(verify(keys, &format!("{head}.{}.", part(&claims))).is_err(), "{at}: no signature");
        assert!(verify(keys, &format!("{token}A")).is_err(), "{at}: a longer signature");
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_looked_at() {
    let (rsa, ec, claims) = (rsa(), ec(), json!({"accountId": "victim"}));
    let both = pem(&rsa).and(jwks(&[jwk(&ec, Some("k1"))])).unwrap();
    for alg in ["none", "None", "NONE", "", "HS999", "RS256 "] {
        let token = format!("{}.{}.", part(&json!({"alg": alg})), part(&claims));
        assert_eq!(verify(&both, &token), Err(TokenFault::Unsigned), "{alg}");
    }
    // The public key, in every form in which somebody may have it, as the secret of an HMAC.
    let text = rsa.public_key_pem();
    for secret in [text.as_bytes(), text.trim_end().as_bytes(), &rsa.subject_public_key_info(), rsa.der_bytes()] {
        let token = hmac(secret, &claims);
        for keys in [&pem(&rsa), &both] {
            assert_eq!(verify(keys, &token), Err(TokenFault::Algorithm));
        }
        // Nor by the name of a key that signs otherwise.
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims, &EncodingKey::from_secret(secret).unwrap()).unwrap();
        assert!(verify(&both, &token).is_err());
        assert_eq!(verify(&jwks(&[jwk(&ec, Some("k1"))]), &token), Err(TokenFault::Algorithm));
    }
    // Other algorithms of the same key.
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let token = signed(&rsa, algorithm, None, &claims);
        assert_eq!(verify(&pem(&rsa), &token), Err(TokenFault::Algorithm), "{algorithm:?}");
    }
    // A key that the token brings along (RFC 7515 section 4.1.3).
    let own = self::ec();
    let header =
        json!({"alg": "ES256", "jwk": jwk(&own, None), "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"});
    let message = format!("{}.{}", part(&header), part(&claims));
    let own_key = EncodingKey::from_ec_der(&own.serialize_der());
    let tag = jsonwebtoken::crypto::sign(message.as_bytes(), &own_key, Algorithm::ES256).unwrap();
    assert!(verify(&both, &format!("{message}.{tag}")).is_err());
    // What must be understood, and is not (section 4.1.11).
    let header = json!({"alg": "HS256", "crit": ["exp"], "exp": 1});
    let message = format!("{}.{}", part(&header), part(&claims));
    let secret = EncodingKey::from_secret(SECRET).unwrap();
    let tag = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
    let keys = TokenKeySet::of_secret(SECRET).unwrap();
    assert_eq!(verify(&keys, &format!("{message}.{tag}")), Err(TokenFault::Malformed));
}

#[test]
fn only_a_key_that_may_have_come_since_is_worth_a_look_for_newer_ones() {
    let (ours, theirs, claims) = (ec(), ec(), json!({}));
    let keys = jwks(&[jwk(&ours, Some("k1"))]);
    for (kid, fault) in
        [(Some("k1"), TokenFault::Signature), (Some("k2"), TokenFault::UnknownKey), (None, TokenFault::UnknownKey)]
    {
        let token = signed(&theirs, Algorithm::ES256, kid, &claims);
        assert_eq!(verify(&keys, &token), Err(fault), "{kid:?}");
        assert_eq!(fault.wants_keys(), kid != Some("k1"));
    }
    assert_eq!(verify(&TokenKeySet::default(), &hmac(SECRET, &claims)), Err(TokenFault::NoKeys));
    for token in ["", "opaque", "a.b", "a.b.c.d", "e30.e30", "e30.W10.e30"] {
        assert_eq!(verify(&keys, token), Err(TokenFault::Malformed), "{token}");
    }
    let many: Vec<_> = (0..9).map(|kid| jwk(&theirs, Some(&kid.to_string()))).collect();
    assert_eq!(verify(&jwks(&many), &signed(&ours, Algorithm::ES256, None, &claims)), Err(TokenFault::Unnamed));
    assert_eq!(verify(&jwks(&many), &signed(&theirs, Algorithm::ES256, Some("8"), &claims)), Ok(String::new()));
}

#[test]
fn a_token_counts_from_its_time_on_and_times_must_be_times() {
    let keys = TokenKeySet::of_secret(SECRET).unwrap();
    let rules = TokenRules { leeway: Duration::from_secs(30), ..TokenRules::default() };
    let at = |claims: Value| verify_by(&rules, &keys, &hmac(SECRET, &claims)).map(drop);
    let now = NOW.as_secs();
    for (claims, result) in [
        (json!({"nbf": now}), Ok(())),
        (json!({"nbf": now + 30}), Ok(())),
        (json!({"nbf": now + 31}), Err(TokenFault::Early)),
        (json!({"nbf": now as f64 + 30.5}), Err(TokenFault::Early)),
        (json!({"nbf": "soon"}), Err(TokenFault::Malformed)),
        (json!({"nbf": now.to_string()}), Err(TokenFault::Malformed)),
        (json!({"nbf": null}), Err(TokenFault::Malformed)),
        // That it has expired is the gateway's to judge, if it can be read.
        (json!({"exp": now - 1000}), Ok(())),
        (json!({"exp": now * 1000}), Err(TokenFault::Malformed)),
        (json!({"exp": -1}), Err(TokenFault::Malformed)),
        (json!({"exp": "never"}), Err(TokenFault::Malformed)),
        (json!({"exp": null}), Err(TokenFault::Malformed)),
        (json!({"exp": [now]}), Err(TokenFault::Malformed)),
        (json!({}), Ok(())),
    ] {
        assert_eq!(at(claims.clone()), result, "{claims}");
    }
}

#[test]
fn a_token_of_another_issuer_or_for_another_audience_is_refused() {
    let keys = TokenKeySet::of_secret(SECRET).unwrap();
    let rules = TokenRules {
        audiences: vec!["player".to_owned(), "tv".to_owned()],
        issuer: Some("https://id.example".to_owned()),
        leeway: Duration::ZERO,
    };
    let ours = json!({"iss": "https://id.example", "aud": "player"});
    let with = |name: &str, value: Value| {
        let mut claims = ours.clone();
        claims[name] = value;
        verify_by(&rules, &keys, &hmac(SECRET, &claims)).map(drop)
    };
    assert_eq!(with("iss", json!("https://id.example")), Ok(()));
    assert_eq!(with("aud", json!(["shop", "tv"])), Ok(()));
    for (name, value) in [
        ("iss", json!("https://id.example/")),
        ("iss", json!(null)),
        ("aud", json!("shop")),
        ("aud", json!([])),
        ("aud", json!(7)),
    ] {
        assert!(with(name, value.clone()).is_err(), "{name} {value}");
    }
    assert_eq!(verify_by(&rules, &keys, &hmac(SECRET, &json!({}))), Err(TokenFault::Elsewhere));
}

proptest::proptest! {
    #[test]
    fn no_token_is_too_odd(token in "[a-zA-Z0-9_.,= -]{0,80}") {
        proptest::prop_assert!(verify(&TokenKeySet::of_secret(SECRET).unwrap(), &token).is_err());
    }
}
