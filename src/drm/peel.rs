//! Takes JSON and forms off a message that an app wrapped, by trying their values.
//!
//! Names that players are known to use come first, then whatever decodes. For FairPlay, which
//! shows nothing itself, the names beside the message tell what content it is for.

use super::form;
use super::json::{Scanner, Text, Token};
use super::message::{Message, System};
use super::recognise::{NODES_MAX, Search};
use super::wrap::base64_decode;
use crate::secret::Fingerprint;

/// Where players and servers put the message.
const KNOWN: [&str; 16] = [
    "rawLicenseRequestBase64",
    "rawLicenseRequest",
    "rawLicense",
    "rawLicenseBase64",
    "licenseChallenge",
    "challenge",
    "payload",
    "message",
    "license",
    "spc",
    "ckc",
    "CkcMessage",
    "License",
    "signedRequest",
    "dataBase64",
    "body",
];
/// A name that means nothing makes short words worth no try.
const SHORTEST_UNKNOWN: usize = 4;
const PAIRS_MAX: usize = 32;

impl Search {
    pub(super) fn peel_json(&mut self, body: &[u8]) -> Option<Message> {
        let known = |key: Text<'_>| KNOWN.iter().any(|name| key.is(name));
        let mut found = self
            .peel_strings(body, 1, known)
            .or_else(|| self.peel_strings(body, SHORTEST_UNKNOWN, |key| !known(key)))?;
        found.wrapped = true;
        if found.system == System::FairPlay {
            Hints::of_json(body).tell(&mut found);
        }
        Some(found)
    }

    /// Strings at any depth, of `shortest` or more bytes, whose nearest key before them is `wanted`.
    fn peel_strings(&mut self, body: &[u8], shortest: usize, wanted: impl Fn(Text<'_>) -> bool) -> Option<Message> {
        let mut scanner = Scanner::new(body, NODES_MAX);
        let mut look = wanted(Text::default());
        while let Some(token) = scanner.next().ok()? {
            match token {
                Token::Key(key) => look = wanted(key),
                Token::String(text) if look => {
                    let value = text.unescape();
                    let found = if value.len() < shortest { None } else { self.peel_value(&value) };
                    if found.is_some() {
                        return found;
                    }
                }
                Token::Close | Token::Open(_) | Token::Scalar | Token::String(_) => {}
            }
        }
        None
    }

    pub(super) fn peel_form(&mut self, body: &[u8]) -> Option<Message> {
        let values = form::pairs(body).take(PAIRS_MAX);
        let mut found = values.into_iter().find_map(|(_, value)| self.peel_value(&value))?;
        found.wrapped = true;
        if found.system == System::FairPlay {
            Hints::of_form(body).tell(&mut found);
        }
        Some(found)
    }

    /// Base64, or else the message itself.
    fn peel_value(&mut self, value: &[u8]) -> Option<Message> {
        match base64_decode(value) {
            Some(inner) => self.descend(&inner),
            None => self.descend(value),
        }
    }
}

/// What stands beside a FairPlay message. The first of each kind counts.
#[derive(Default)]
struct Hints {
    asset: Option<Fingerprint>,
    /// Decoded; more than one when a reply or request carries several messages.
    key_ids: Vec<Vec<u8>>,
    uri: Option<Fingerprint>,
}

impl Hints {
    fn of_json(body: &[u8]) -> Self {
        let mut hints = Self::default();
        let mut scanner = Scanner::new(body, NODES_MAX);
        let mut name = Text::default();
        while let Ok(Some(token)) = scanner.next() {
            match token {
                Token::Key(key) => name = key,
                Token::String(text) => hints.add(&name.unescape(), &text.unescape()),
                Token::Close | Token::Open(_) | Token::Scalar => {}
            }
        }
        hints
    }

    fn of_form(body: &[u8]) -> Self {
        let mut hints = Self::default();
        form::pairs(body).take(PAIRS_MAX).for_each(|(name, value)| hints.add(name, &value));
        hints
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let print = Some(Fingerprint::of_parts(&[b"asset", value])).filter(|_| !value.is_empty());
        match name {
            b"assetId" | b"asset_id" => self.asset = self.asset.or(print),
            b"keyID" => self.key_ids.extend(base64_decode(value)),
            b"uri" => self.uri = self.uri.or(print),
            _ => {}
        }
    }

    fn tell(self, message: &mut Message) {
        self.key_ids.iter().for_each(|id| message.key_ids.insert(id));
        let shown = self.uri.or(self.asset).or_else(|| message.key_ids.fingerprint());
        message.content_id = message.content_id.or(shown);
    }
}
