//! Recognises a denial that a license server sends with a success status.
//!
//! An unknown body counts as a denial only if it can be no license. Servers deny in JSON, in HTML and in plain words,
//! which hold no long value. A license of any system is binary, or base64, hex or numbers in a text: FairPlay's
//! `<ckc>…</ckc>` or bare base64, Widevine's base64 or JSON, PlayReady's XML, ClearKey's JSON. The gateway calls this
//! for replies that are no known message.

use super::configured_wrapping::base64_decode;
use super::message::DrmSystem;
use super::utf16;

/// Every known license is longer in any encoding; names of errors and traces are shorter.
const LICENSE_CHARS_MIN: usize = 64;
/// A ClearKey license may be a single key.
const KEY_BYTES: usize = 16;
/// A list of so many numbers may be the bytes of a license.
const NUMBERS_MIN: usize = 100;

/// True if `body`, the reply to a license request of this system, can be no license.
pub fn is_no_license(asked: DrmSystem, body: &[u8]) -> bool {
    let wide = utf16::transcode(body);
    let text = wide.as_deref().map_or(body, str::as_bytes);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
    match text.first() {
        None => true,
        Some(b'<') if is_html(text) => true,
        Some(b'<' | b'{' | b'[') => !may_hold_a_license(asked, text),
        Some(_) => are_words(text) && !may_hold_a_license(asked, text),
    }
}

/// True for words of a person, in any charset. A binary message has control characters, and few letters.
fn are_words(text: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let beyond_ascii = text.iter().filter(|byte| !byte.is_ascii()).count();
    let is_prose = std::str::from_utf8(text).is_ok() || beyond_ascii * 4 < text.len();
    is_prose && !text.iter().any(is_control)
}

fn is_html(text: &[u8]) -> bool {
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    begins(b"<!doctype html") || begins(b"<html")
}

fn may_hold_a_license(asked: DrmSystem, text: &[u8]) -> bool {
    // Scripts escape slashes, and forms escape more.
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/_=\\-%".contains(&byte);
    let mut runs = text.split(|byte| !is_digit(*byte));
    let is_key = |run: &[u8]| {
        let is_hex = run.len() == 2 * KEY_BYTES && run.iter().all(u8::is_ascii_hexdigit);
        asked == DrmSystem::ClearKey && (is_hex || base64_decode(run).is_some_and(|key| key.len() == KEY_BYTES))
    };
    let is_number = |run: &&[u8]| run.len() <= 3 && run.iter().all(u8::is_ascii_hexdigit);
    let spaced = runs.clone().filter(|run| !run.is_empty() && is_number(run)).count();
    let numbers = text.iter().filter(|byte| **byte == b',').count().max(spaced);
    numbers >= NUMBERS_MIN || runs.any(|run| run.len() >= LICENSE_CHARS_MIN || is_key(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_differs_from_a_possible_license() {
        use DrmSystem::{ClearKey, FairPlay, PlayReady, Widevine};

        let base64 = "AbCd+/".repeat(20);
        let numbers = format!("[{}1]", "1,".repeat(200));
        let map = r#"{"0123456789abcdef0123456789abcdef":"000102030405060708090a0b0c0d0e0f"}"#;
        for (system, body, no) in [
            (Widevine, "", true),
            (Widevine, " \r\n", true),
            (ClearKey, r#"{"keys":[]}"#, true),
            (ClearKey, "\u{feff}{}", true),
            (
                Widevine,
                r#"{"status":"ERROR","errorCode":4000,"message":"The account may not watch this content."}"#,
                true,
            ),
            (Widevine, r#"{"error":"denied","trace":"0123456789abcdef0123456789abcdef"}"#, true),
            (Widevine, "<!DOCTYPE HTML><p>Log in", true),
            (FairPlay, "<html><img src=data:image/png;base64,", true),
            (PlayReady, "<error><code>7</code></error>", true),
            (ClearKey, map, false),
            (ClearKey, r#"{"x":{"key":"AAECAwQFBgcICQoLDA0ODw"}}"#, false),
            (ClearKey, r#"{"error":"x","trace":"0cbe9b6a-7a3e-4a6e-9d68-3d3a5c2d2f11"}"#, true),
            (Widevine, &format!(r#"{{"license":"{base64}"}}"#), false),
            (Widevine, &format!(r#"{{"license":"{}"}}"#, base64.replace('/', "\\/")), false),
            (FairPlay, &format!("<x>{base64}</x>"), false),
            (FairPlay, &numbers, false),
            (FairPlay, &format!("<ckc>{base64}</ckc>"), false),
            (FairPlay, &base64, false),
            (FairPlay, &format!("ckc={}", base64.replace('/', "%2F").replace('+', "%2B")), false),
            (Widevine, &format!("license: {base64}\n"), false),
            (Widevine, &"08 02 12 ".repeat(40), false),
            (
                Widevine,
                &base64.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line) + "\r\n").collect::<String>(),
                false,
            ),
            (ClearKey, "000102030405060708090a0b0c0d0e0f", false),
            (ClearKey, "AAECAwQFBgcICQoLDA0ODw", false),
            (Widevine, "0cbe9b6a7a3e4a6e9d683d3a5c2d2f11", true),
            (Widevine, "This account may not watch this content.", true),
            (FairPlay, "Access denied\n", true),
            (PlayReady, "ERROR 4000: no entitlement (trace 0cbe9b6a-7a3e-4a6e-9d68-3d3a5c2d2f11)", true),
            (FairPlay, "Zugriff verweigert für dieses Gerät", true),
            (Widevine, "この契約では視聴できません", true),
            (FairPlay, "ok", true),
            (FairPlay, "\u{1}what nobody knows", false),
        ] {
            assert_eq!(is_no_license(system, body.as_bytes()), no, "{system:?} {body}");
        }
        assert!(is_no_license(Widevine, b"\xff\xfe{\0}\0"));
        assert!(!is_no_license(FairPlay, b"\0\0\0\x01"));
        assert!(is_no_license(FairPlay, b"Acc\xe8s refus\xe9 \xe0 ce contenu"), "in Latin 1");
        let noise: Vec<u8> = (0..60).map(|n| 0x80 | n).collect();
        assert!(!is_no_license(FairPlay, &noise), "no charset is known in which these are words");
    }
}
