//! `[authority.token-keys]`: each file that cannot serve as a key says so at its line, with what to give instead.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{KeyPair, PKCS_RSA_SHA256};

use super::{LEAST, NAGRA, faults, read_with};
use crate::config::{AuthorityKind, Config, TokenKeySettings};

const EMBEDDED: &str = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\n";

/// Its keys stand from line 5 on.
fn read(folder: &Path, lines: &str) -> Result<Config, crate::config::ConfigFaults> {
    read_with(&format!("{EMBEDDED}[authority.token-keys]\n{lines}\n{LEAST}"), folder, &[])
}

fn keys(folder: &Path, lines: &str) -> TokenKeySettings {
    let config = read(folder, lines).unwrap_or_else(|faults| panic!("{lines}: {faults}"));
    match &config.authorities[0].kind {
        AuthorityKind::Embedded(embedded) => embedded.token_keys.clone().unwrap(),
        other => panic!("another kind: {other:?}"),
    }
}

#[test]
fn keys_come_from_files_and_from_a_url_alone_or_together() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef\r\n").unwrap();
    fs::write(folder.path().join("key.pem"), key.public_key_pem()).unwrap();
    let jwk =
        r#"{"keys":[{"kty":"oct","kid":"1","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0i"}]}"#;
    fs::write(folder.path().join("jwks.json"), jwk).unwrap();
    let files = "secret-file = \"secret\"\npublic-key-file = \"key.pem\"\njwks-file = \"jwks.json\"\n";
    for (lines, own, url) in [
        ("secret-file = \"secret\"", 1, false),
        ("public-key-file = \"key.pem\"", 1, false),
        ("jwks-file = \"jwks.json\"", 1, false),
        ("jwks-url = \"https://id.example/keys\"", 0, true),
        ("jwks-url = \"http://127.0.0.1:9/keys\"", 0, true),
        ("jwks-url = \"http://[::1]:9/keys\"", 0, true),
        (files, 3, false),
        (&format!("{files}jwks-url = \"https://id.example/keys\"\nca = \"ca.pem\"\nrefresh = \"30s\""), 3, true),
    ] {
        let keys = keys(folder.path(), lines);
        assert_eq!((keys.own.len(), keys.url.is_some()), (own, url), "{lines}");
    }
    let set =
        keys(folder.path(), "secret-file = \"secret\"\nleeway = \"0s\"\nissuer = \"i\"\naudience = [\"a\", \"b\"]");
    assert_eq!((set.rules.leeway, set.rules.issuer.as_deref()), (Duration::ZERO, Some("i")));
    assert_eq!(set.rules.audiences, ["a", "b"]);
    let url = keys(folder.path(), "jwks-url = \"https://id.example/keys\"");
    assert_eq!((url.rules.leeway, url.url.unwrap().refresh), (Duration::from_secs(30), Duration::from_hours(1)));
}

#[test]
fn a_file_that_is_no_key_says_at_its_line_what_to_give_instead() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    for (name, content) in [
        ("empty", "\n".to_owned()),
        ("short", "open-sesame\n".to_owned()),
        ("public.pem", key.public_key_pem()),
        ("private.pem", key.serialize_pem()),
        ("certificate.pem", rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap().cert.pem()),
        ("torn.pem", "-----BEGIN PUBLIC KEY-----\nMIIB\n".to_owned()),
        ("text", "hello".repeat(10)),
        ("private.json", r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b","d":"hush"}]}"#.to_owned()),
        ("none.json", r#"{"keys":[]}"#.to_owned()),
        ("large", "x".repeat(70_000)),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    fs::write(folder.path().join("binary"), b"\xff\xfe").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let private =
        "holds a private key, which only the issuer of the tokens may have: give the public one (openssl pkey";
    let rows = [
        ("secret-file", "none", "cannot be read: No such file"),
        ("secret-file", "folder", "cannot be read: Is a directory"),
        ("secret-file", "empty", "is empty: put the key into it"),
        ("secret-file", "short", "holds 11 bytes: a secret for HS256 needs at least 32, or it can be guessed (openssl"),
        ("secret-file", "public.pem", "holds a PEM key, which is no shared secret: name it in public-key-file"),
        ("secret-file", "private.pem", "holds a PEM key, which is no shared secret"),
        ("secret-file", "large", "is larger than 64 KiB"),
        ("public-key-file", "none", "cannot be read: No such file"),
        ("public-key-file", "empty", "is empty: put the key into it"),
        ("public-key-file", "private.pem", private),
        ("public-key-file", "certificate.pem", "holds a certificate: give its public key alone (openssl x509"),
        ("public-key-file", "torn.pem", "holds a key that is no PEM inside: copy the whole file"),
        ("public-key-file", "text", "holds no public key in PEM form, which begins with -----BEGIN PUBLIC KEY-----"),
        ("public-key-file", "binary", "holds no public key in PEM form"),
        ("jwks-file", "none", "cannot be read: No such file"),
        ("jwks-file", "empty", "is empty: put the key into it"),
        ("jwks-file", "text", "is no JWKS: it must be JSON as {\"keys\": […]} (RFC 7517)"),
        ("jwks-file", "public.pem", "is no JWKS"),
        ("jwks-file", "private.json", private),
        ("jwks-file", "none.json", "holds no key for signatures with RS256, ES256 or HS256"),
    ];
    for (name, file, what) in rows {
        let found = faults(read(folder.path(), &format!("{name} = \"{file}\"")));
        let expected = format!("line 5: authority[0].token-keys.{name}: {what}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{name} {file}: {found:?}");
        assert!(!found[0].contains("hush") && !found[0].contains("sesame"), "{found:?}");
    }
}

#[test]
fn settings_that_verify_nothing_or_trust_anybody_are_faults() {
    let rows: &[(&str, &[&str])] = &[
        (
            "",
            &["line 4: authority[0].token-keys: names no key, so that no token would be verified: set secret-file, \
               public-key-file, jwks-file or jwks-url, or leave the table out"],
        ),
        (
            "issuer = \"i\"\nrefresh = \"1m\"\nca = \"ca.pem\"",
            &[
                "line 4: authority[0].token-keys: names no key, so that no token would be verified: set secret-file, \
                 public-key-file, jwks-file or jwks-url, or leave the table out",
                "line 6: authority[0].token-keys.refresh: needs jwks-url, for which it is",
                "line 7: authority[0].token-keys.ca: needs jwks-url, for which it is",
            ],
        ),
        (
            "jwks-url = \"http://id.example/keys\"",
            &["line 5: authority[0].token-keys.jwks-url: must begin with https://: whoever can change the keys on \
               their way can sign every token"],
        ),
        (
            "jwks-url = \"id.example\"",
            &["line 5: authority[0].token-keys.jwks-url: must begin with http:// or https://"],
        ),
        (
            "jwks-url = \"https://id.example/keys\"\nrefresh = \"1s\"\nleeway = \"6m\"\nissuer = \"\"\naudience = \"a\"",
            &[
                "line 6: authority[0].token-keys.refresh: must be at least 30s",
                "line 7: authority[0].token-keys.leeway: must be at most 5m",
                "line 8: authority[0].token-keys.issuer: is empty",
                "line 9: authority[0].token-keys.audience: must be a list, such as [\"player\"]",
            ],
        ),
        (
            "secret = \"0123456789abcdef0123456789abcdef\"\njwks-url = \"https://h\"",
            &["line 5: authority[0].token-keys.secret: is not a known key"],
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(faults(read(Path::new(""), lines)), *expected, "{lines}");
    }
}

#[test]
fn keys_at_an_authority_that_verifies_no_tokens_are_a_fault() {
    let firstlight = "[[authority]]\nname = \"f\"\nkind = \"firstlight\"\nheartbeat-url = \"https://h/\"\n";
    for head in [format!("{NAGRA}url = \"https://h\"\n"), firstlight.to_owned()] {
        let text = format!("{head}[authority.token-keys]\njwks-url = \"https://id.example/keys\"\n{LEAST}");
        assert_eq!(
            faults(read_with(&text, Path::new(""), &[])),
            ["line 5: authority[0].token-keys: is not a known key; it belongs to kind = \"embedded\""]
        );
    }
}

#[test]
fn an_account_that_callers_write_is_warned_of_where_tokens_are_verified() {
    let warnings = |account: &str, keys: &str| {
        let text = format!("{EMBEDDED}account = [{account}]\n{keys}\n{LEAST}");
        read_with(&text, Path::new(""), &[]).unwrap().warnings.to_string()
    };
    let keys = "[authority.token-keys]\njwks-url = \"https://id.example/keys\"";
    for (account, warned) in [
        ("\"token-claim:sub\"", false),
        ("\"token-claim:sub\", \"fixed:home\"", false),
        ("\"peer\"", false),
        ("\"token-claim:sub\", \"header:x-account\"", true),
        ("\"query:account\"", true),
        ("\"cookie:account\", \"fixed:home\"", true),
    ] {
        let found = warnings(account, keys);
        assert_eq!(
            found.contains("line 4: authority[0].account: takes the account from what the caller writes"),
            warned,
            "{account}"
        );
        assert_eq!(warnings(account, ""), "", "{account}");
    }
}
