use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::json;

use super::*;

/// RFC 7517, appendix A.1.
fn rsa_jwk() -> Value {
    json!({
        "kty": "RSA", "kid": "2011-04-29", "alg": "RS256", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    })
}

fn ec_jwk() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": "1", "use": "sig",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
    })
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

#[test]
fn a_secret_that_can_be_guessed_or_is_another_kind_of_key_is_none() {
    let pem = KeyPair::generate().unwrap().public_key_pem();
    for (secret, fault) in [
        (&b""[..], Some(KeyFault::Empty)),
        (&[b'a'; 31], Some(KeyFault::ShortSecret(31))),
        (&[b'a'; 32], None),
        (&[0xFF; 64], None),
        (pem.as_bytes(), Some(KeyFault::PemAsSecret)),
    ] {
        assert_eq!(TokenKeySet::of_secret(secret).map(drop).err(), fault, "{} bytes", secret.len());
    }
}

#[test]
fn public_keys_in_pem_form_are_taken_and_everything_else_says_what_to_give() {
    let [ec, large, ed, rsa] = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256]
        .map(|kind| KeyPair::generate_for(kind).unwrap());
    let two = ec.public_key_pem() + "\r\n# the next one\r\n" + &rsa.public_key_pem();
    let algorithms: Vec<_> = TokenKeySet::of_pem(&two).unwrap().0.iter().map(|key| key.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::ES256, Algorithm::RS256]);
    let certificate = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap().cert.pem();
    let rows = [
        (" \n".to_owned(), KeyFault::Empty),
        ("secret".to_owned(), KeyFault::NoPem),
        (ec.serialize_pem(), KeyFault::Private),
        (rsa.serialize_pem(), KeyFault::Private),
        (ec.public_key_pem() + &ec.serialize_pem(), KeyFault::Private),
        (certificate, KeyFault::Certificate),
        (large.public_key_pem(), KeyFault::Kind),
        (ed.public_key_pem(), KeyFault::Kind),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned(), KeyFault::TornPem),
        (rsa.public_key_pem().lines().take(3).collect::<Vec<_>>().join("\n"), KeyFault::TornPem),
        (ec.public_key_pem().repeat(33), KeyFault::Many),
        (SHORT_RSA.to_owned(), KeyFault::Kind),
    ];
    for (text, fault) in rows {
        assert_eq!(TokenKeySet::of_pem(&text).map(drop), Err(fault), "{text}");
    }
}

/// `openssl genrsa 1024 | openssl rsa -pubout`
const SHORT_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDMAx6+SGtXikbWYMGQ0EhQcwrN
s1mC7B46CIWxzU4DsOb71mMMwQwNm61QlkumD+Vp21NC5aGCBa7mXI9khH/MHFeN
15eAisMkYLFHwkTkbdeacpaGJarUw2P6SlUAH/URV7B/1wHkeklw1vRcpqMQiksm
YNcKkP565KUP9vzeFQIDAQAB
-----END PUBLIC KEY-----
";

#[test]
fn a_key_set_gives_the_keys_that_sign_tokens() {
    let secret = |length: usize| {
        use base64::Engine;
        let k = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vec![7; length]);
        json!({"kty": "oct", "kid": "s", "k": k})
    };
    let file = |keys: &[Value]| TokenKeySet::of_jwks(&set(keys), JwksSource::File).map(|keys| keys.len());
    let url = |keys: &[Value]| TokenKeySet::of_jwks(&set(keys), JwksSource::Url).map(|keys| keys.len());
    let others = [
        with(rsa_jwk(), "use", json!("enc")),
        with(rsa_jwk(), "key_ops", json!(["encrypt"])),
        with(rsa_jwk(), "alg", json!("RS512")),
        with(rsa_jwk(), "alg", json!("RSA-OAEP")),
        with(rsa_jwk(), "alg", json!("none")),
        with(rsa_jwk(), "n", json!("AQAB")),
        with(rsa_jwk(), "n", json!("!")),
        with(ec_jwk(), "crv", json!("P-384")),
        with(ec_jwk(), "x", json!("AAAA")),
        with(ec_jwk(), "y", ec_jwk()["x"].clone()),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
        json!({}),
        json!(7),
    ];
    for other in &others {
        for source in [JwksSource::File, JwksSource::Url] {
            let alone = TokenKeySet::of_jwks(&set(std::slice::from_ref(other)), source).map(drop);
            assert!(matches!(alone, Err(KeyFault::Unusable(_))), "{other}: {alone:?}");
        }
        assert_eq!(url(&[other.clone(), rsa_jwk(), ec_jwk()]), Ok(2), "{other}");
    }
    assert_eq!(file(&[with(rsa_jwk(), "key_ops", json!(["verify"]))]), Ok(1));
    assert_eq!(file(&[secret(32), rsa_jwk()]), Ok(2));
    assert_eq!(file(&[secret(31), rsa_jwk()]), Err(KeyFault::ShortSecret(31)));
    assert_eq!(url(&[secret(32), rsa_jwk()]), Ok(1), "what a URL hands out is no secret");
    assert!(matches!(url(&[secret(32)]), Err(KeyFault::Unusable(_))));
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        assert_eq!(file(&[ec_jwk(), with(rsa_jwk(), name, json!("AQAB"))]), Err(KeyFault::Private), "{name}");
    }
    assert_eq!(url(&vec![ec_jwk(); 32]), Ok(32));
    assert_eq!(url(&vec![ec_jwk(); 33]), Err(KeyFault::Many));
    for (text, fault) in [
        ("", KeyFault::Empty),
        ("\n", KeyFault::Empty),
        ("<html>", KeyFault::NoJwks),
        ("[]", KeyFault::NoJwks),
        ("{\"keys\": {}}", KeyFault::NoJwks),
        (&ec_jwk().to_string(), KeyFault::NoJwks),
    ] {
        assert_eq!(TokenKeySet::of_jwks(text.as_bytes(), JwksSource::Url).map(drop), Err(fault), "{text}");
    }
}

#[test]
fn no_output_shows_a_key() {
    let keys = TokenKeySet::of_secret(&[b'h'; 32]).unwrap();
    assert_eq!(format!("{keys:?}"), "TokenKeySet(1)");
    assert!(keys.clone().and(keys).is_ok_and(|both| both.len() == 2));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd_for_a_key(text in "(-----BEGIN (PUBLIC|RSA PUBLIC) KEY-----\n?|\\{\"keys\":\\[|\\{|[a-zA-Z0-9+/=\":,]{0,20}|.){0,6}") {
        let _ = TokenKeySet::of_pem(&text);
        let _ = TokenKeySet::of_secret(text.as_bytes());
        let _ = TokenKeySet::of_jwks(text.as_bytes(), JwksSource::Url);
    }
}

#[test]
fn the_text_of_a_key_set_is_wiped() {
    let mut set = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, ["c2VjcmV0", 7, null]]});
    wipe(&mut set);
    assert_eq!(set, json!({"keys": [{"kty": "", "k": ""}, ["", 7, null]]}));
}
