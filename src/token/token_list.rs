//! Finds the content token among several tokens in a text, and identifies each token.
//!
//! Players send comma lists, and any caller can put its own token beside a good one. So no choice among them may
//! serve the author of the list. If two could be the content token, it is unknown which one the head-end or the
//! license server takes, and the call is refused ([`TokenListing::is_ambiguous`]).

use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::{TokenClaims, reading};
use crate::secret::Fingerprint;

/// Tokens in a list. With more of them it cannot be told which counts; real lists have three.
const MAX_LISTED: usize = 32;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The tokens that may stand beside the content token in a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenListing {
    /// Only the device's JWT. Other tokens of the app cannot be told from forged ones.
    Alone,
    /// Key tokens and any others that name no content; the content token always does.
    NamingContent,
}

impl TokenListing {
    /// True if several tokens of the list could be the content token, or if there are too many.
    pub fn is_ambiguous(self, text: &str) -> bool {
        let Some(reading) = reading::find(text) else { return self.reads_as_ambiguous(text) };
        let known = match self {
            Self::Alone => &reading.ambiguous_alone,
            Self::NamingContent => &reading.ambiguous_naming_content,
        };
        *known.get_or_init(|| self.reads_as_ambiguous(text))
    }

    fn reads_as_ambiguous(self, text: &str) -> bool {
        let Some((first, claims)) = content_token(text) else { return pieces(text).nth(MAX_LISTED).is_some() };
        let rank = match self {
            Self::Alone => Rank::Plain,
            Self::NamingContent => Rank::of(&claims),
        };
        let first = print_of(first);
        let rivals = readable(text).filter(|(_, claims)| Rank::of(claims) >= rank && !claims.is_of_device());
        let has_rival = rivals.map(|(token, _)| print_of(token)).any(|print| print != first);
        has_rival || pieces(text).nth(MAX_LISTED).is_some()
    }
}

/// Likelihood that a JWT is the content token.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    OfDevice,
    Plain,
    NamesContent,
}

impl Rank {
    fn of(claims: &TokenClaims) -> Self {
        if claims.is_of_device() {
            Self::OfDevice
        } else if claims.claim("contentRights.0").is_some() {
            Self::NamesContent
        } else {
            Self::Plain
        }
    }
}

/// See [`TokenClaims::peek`]. Also returns the JWT's text.
pub(super) fn content_token(text: &str) -> Option<(&str, TokenClaims)> {
    match reading::find(text) {
        Some(reading) => reading.content_token(text),
        None => read_content_token(text),
    }
}

pub(super) fn read_content_token(text: &str) -> Option<(&str, TokenClaims)> {
    let mut found: Option<(&str, TokenClaims)> = None;
    for (token, claims) in readable(text) {
        if found.as_ref().is_none_or(|(_, before)| Rank::of(&claims) > Rank::of(before)) {
            found = Some((token, claims));
        }
    }
    found
}

/// The JWTs of the list, except a device's.
pub(super) fn rivals(text: &str) -> impl Iterator<Item = &str> {
    readable(text).filter(|(_, claims)| !claims.is_of_device()).map(|(token, _)| token)
}

/// Identifies a content token in any spelling and context (empty list entries, encrypted tokens that prove nothing).
///
/// A JWT is identified by its decoded text, because decoders accept base64 in many spellings (unused bits, the other
/// alphabet, junk between the digits, text behind the padding), and another spelling is still the same token. Of an
/// ECDSA signature only the first half counts, because everybody can make a second valid one with another second
/// half. A forged signature makes another token: it proves nothing, and its sender must not pass for the holder of
/// the good one.
pub fn known_print(text: &str) -> Fingerprint {
    match reading::find(text) {
        Some(reading) => *reading.known_print.get_or_init(|| read_known_print(text)),
        None => read_known_print(text),
    }
}

fn read_known_print(text: &str) -> Fingerprint {
    if let Some((jwt, _)) = content_token(text) {
        return print_of(jwt);
    }
    let mut opaque = listed(text).filter(|token| !token.is_empty() && !is_encrypted(token));
    match (opaque.next(), opaque.next()) {
        (Some(only), None) => print_of(only),
        (_, _) => Fingerprint::of(text.trim().as_bytes()),
    }
}

/// Identifies the other tokens of a list. The server may take one of them that was killed.
pub fn other_prints(text: &str) -> Arc<[Fingerprint]> {
    match reading::find(text) {
        Some(reading) => Arc::clone(reading.other_prints.get_or_init(|| read_other_prints(text))),
        None => read_other_prints(text),
    }
}

fn read_other_prints(text: &str) -> Arc<[Fingerprint]> {
    let known = known_print(text);
    pieces(text).take(MAX_LISTED).map(print_of).filter(|print| *print != known).collect()
}

/// True if any token of the list asks for a session; an unreadable one does. Any caller can add a token that wants
/// none, and the head-end or license server may take either. A device's token does not count.
pub fn asks_for_session(text: &str) -> bool {
    match reading::find(text) {
        Some(reading) => *reading.asks_for_session.get_or_init(|| reads_as_asking(text)),
        None => reads_as_asking(text),
    }
}

fn reads_as_asking(text: &str) -> bool {
    pieces(text).any(|token| match TokenClaims::read(token) {
        Some(claims) => !claims.is_of_device() && claims.wants_session(),
        None => true,
    })
}

/// True if a text, which need not hold tokens, contains an encrypted token.
pub fn shows_encrypted(text: &str) -> bool {
    let is_header = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).is_ok_and(|value| value.is_object());
    pieces(text).filter(|token| is_encrypted(token)).any(|token| token.split('.').next().is_some_and(is_header))
}

fn print_of(token: &str) -> Fingerprint {
    let is_json = |part: &[u8]| serde_json::from_slice::<Value>(part).is_ok_and(|value| value.is_object());
    match decoded_parts(token) {
        Some([header, payload, signature]) if is_json(&header) || is_json(&payload) => {
            Fingerprint::of_parts(&[b"jwt", &header, &payload, firm_part(&signature)])
        }
        Some(_) | None => Fingerprint::of(token.as_bytes()),
    }
}

/// The part of a signature that cannot be changed without the key.
fn firm_part(signature: &[u8]) -> &[u8] {
    /// Lengths for the curves P-256, P-384 and P-521 (RFC 7518, section 3.4).
    const ECDSA_SIGNATURE_BYTES: [usize; 3] = [64, 96, 132];
    let is_ecdsa = ECDSA_SIGNATURE_BYTES.contains(&signature.len());
    let end = if is_ecdsa { signature.len() / 2 } else { signature.len() };
    signature.get(..end).unwrap_or(signature)
}

/// Header, payload and signature of a compact JWS (RFC 7515, section 3.1), as the most lenient decoder reads them.
pub(super) fn decoded_parts(token: &str) -> Option<[Vec<u8>; 3]> {
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then(|| [header, payload, signature].map(decoded))
}

/// Decodes either alphabet up to the padding, and skips other characters.
fn decoded(text: &str) -> Vec<u8> {
    let standard = text.bytes().take_while(|byte| *byte != b'=').filter_map(|byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' => Some(byte),
        _ => byte.is_ascii_alphanumeric().then_some(byte),
    });
    let mut digits: Vec<u8> = standard.collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    LENIENT.decode(digits).unwrap_or_default()
}

fn readable(text: &str) -> impl Iterator<Item = (&str, TokenClaims)> {
    listed(text).filter_map(|token| Some((token, TokenClaims::read(token)?)))
}

/// Entries that look like tokens; JSON and prose have commas, too.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let is_token = |token: &str| token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte));
    listed(text).filter(move |token| !token.is_empty() && is_token(token))
}

/// All entries, without `Bearer`.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).map(|token| token.strip_prefix("Bearer ").unwrap_or(token))
}

/// True for a compact JWE (RFC 7516, section 3.1).
fn is_encrypted(token: &str) -> bool {
    token.matches('.').count() == 4
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_recognised_in_any_surroundings() {
        let token = jwt(r#"{"exp":1700000060}"#);
        for text in [
            token.clone(),
            format!("{token}="),
            format!("{token},"),
            format!(" , {token} "),
            format!("a.b.c.d.e,{token}"),
            format!("{token},a.b.c.d.e"),
            format!("{token},{token}"),
            format!("{token},opaque"),
            format!("opaque,Bearer {token}"),
        ] {
            assert_eq!(known_print(&text), known_print(&token), "{text}");
        }
        for text in ["opaque", " opaque,", ",,opaque", "a.b.c.d.e,opaque", "opaque,1.2.3.4.5", "Bearer opaque"] {
            assert_eq!(known_print(text), known_print("opaque"), "{text}");
        }
        let of_device = jwt(r#"{"typ":"DevAuthN"}"#);
        assert_eq!(known_print(&format!("{of_device},{token}")), known_print(&token));
        assert_ne!(known_print(&of_device), known_print(&token));
        // Nobody knows which of them counts.
        assert_ne!(known_print("one,two"), known_print("one,three"));
        assert_ne!(known_print("a.b.c.d.e"), known_print("a.b.c.d.f"));
        assert_ne!(known_print("app.user.1"), known_print("app.user.2"), "three words are no JWT");
    }

    #[test]
    fn no_spelling_makes_another_token_of_one() {
        let signature = URL_SAFE_NO_PAD.encode([0xfb; 32]);
        let payload = URL_SAFE_NO_PAD.encode(r#"{"jti":"?>~?>~","exp":1700000060}"#);
        let known = known_print(&format!("e30.{payload}.{signature}"));
        let (start, last) = signature.split_at(42);
        assert_eq!(last, "s");
        for text in [
            // Its unused bits.
            format!("e30.{payload}.{start}t"),
            format!("e31.{payload}.{signature}"),
            format!("e30.{payload}.{}!{}", &signature[..9], &signature[9..]),
            format!("e30.{payload}.{signature}=="),
            format!("e30.{payload}.{signature}=more"),
            format!("e30.{payload}.{signature}\n"),
            format!("e30=.{payload}==.{signature}"),
            format!("e30.{payload}.{signature}").replace('-', "+").replace('_', "/"),
            format!("e3 0.{payload}.{signature}"),
        ] {
            assert_eq!(known_print(&text), known, "{text}");
        }
        let forged = format!("e30.{payload}.{}", URL_SAFE_NO_PAD.encode([0xfa; 32]));
        assert_ne!(known_print(&forged), known);
        assert_ne!(known_print(&format!("e30.{payload}.")), known);
        for claims in [r#"{"jti":"?>~?>~","exp":1700000061}"#, r#"{"jti":"?>~?>}","exp":1700000060}"#] {
            assert_ne!(known_print(&format!("e30.{}.{signature}", URL_SAFE_NO_PAD.encode(claims))), known, "{claims}");
        }
    }

    #[test]
    fn the_other_signature_of_an_ecdsa_token_makes_no_other_token_and_a_forged_one_does() {
        for half in [32, 48, 66] {
            let signature = |r: u8, s: u8| [vec![r; half], vec![s; half]].concat();
            let signed = |r, s| format!("e30.e30.{}", URL_SAFE_NO_PAD.encode(signature(r, s)));
            assert_eq!(known_print(&signed(1, 2)), known_print(&signed(1, 0xf3)));
            assert_ne!(known_print(&signed(1, 2)), known_print(&signed(4, 2)));
        }
        // Of any other kind it is the whole.
        let signed = |last: u8| format!("e30.e30.{}", URL_SAFE_NO_PAD.encode([[1; 31].as_slice(), &[last]].concat()));
        assert_ne!(known_print(&signed(1)), known_print(&signed(2)));
    }

    /// `alg`, `kid` and the like are signed too.
    #[test]
    fn another_header_makes_another_token() {
        let with = |header: &str| format!("{}.e30.x", URL_SAFE_NO_PAD.encode(header));
        assert_ne!(known_print(&with(r#"{"alg":"HS256"}"#)), known_print(&with(r#"{"alg":"none"}"#)));
    }

    #[test]
    fn no_list_hides_the_content_token_behind_another_one() {
        use TokenListing::{Alone, NamingContent};

        let good = jwt(r#"{"contentRights":[{"contentId":"c"}],"n":"good"}"#);
        let (own, device) = (jwt(r#"{"n":"own"}"#), jwt(r#"{"typ":"DevAuthN","n":"device"}"#));
        let (key, forged) = (jwt(r#"{"typ":"Kc","n":"key"}"#), jwt(r#"{"contentRights":[{}],"n":"forged"}"#));
        let long = format!("{good}{}", ",x".repeat(MAX_LISTED));
        for (listing, list, counts) in [
            (NamingContent, vec![&good], Some("good")),
            (NamingContent, vec![&key, &good], Some("good")),
            (NamingContent, vec![&good, &key], Some("good")),
            (NamingContent, vec![&own, &key, &good, &device], Some("good")),
            (NamingContent, vec![&good, &good], Some("good")),
            (NamingContent, vec![&forged, &good], None),
            (NamingContent, vec![&good, &forged], None),
            (NamingContent, vec![&own, &key], None),
            (NamingContent, vec![&device, &own], Some("own")),
            (NamingContent, vec![&device], Some("device")),
            (NamingContent, vec![&long], None),
            (Alone, vec![&good], Some("good")),
            (Alone, vec![&own], Some("own")),
            (Alone, vec![&device, &own], Some("own")),
            (Alone, vec![&own, &own], Some("own")),
            (Alone, vec![&key, &good], None),
            (Alone, vec![&forged, &own], None),
            (Alone, vec![&own, &forged], None),
            (Alone, vec![&own, &long], None),
        ] {
            let text = list.iter().map(|token| token.as_str()).collect::<Vec<_>>().join(",");
            let found = TokenClaims::peek(&text).and_then(|claims| claims.text("n"));
            assert_eq!(found.filter(|_| !listing.is_ambiguous(&text)).as_deref(), counts, "{listing:?} {text}");
        }
        assert!(!Alone.is_ambiguous(r#"{"custom":"data","of":["an","app"]}"#));
        assert!(Alone.is_ambiguous(&"x,".repeat(MAX_LISTED + 1)));
    }

    #[test]
    fn every_other_token_of_a_list_is_known() {
        let (one, two) = (jwt(r#"{"n":1}"#), jwt(r#"{"n":2,"contentRights":[{}]}"#));
        let others = |text: &str| other_prints(text).to_vec();
        assert_eq!(others(&format!("{one},opaque,{two}=,")), [known_print(&one), known_print("opaque")]);
        assert_eq!(others(&one), []);
        assert_eq!(others("one,two"), [known_print("one"), known_print("two")]);
        assert_eq!(others(r#"{"a":1,"b":2}"#), []);
    }
}
