//! Finds the content of a FairPlay message: the message shows none, but the names beside it in its wrapping do.
//!
//! `nested_messages` calls this with the JSON or the form that the message was found in.

use std::borrow::Cow;

use super::configured_wrapping::base64_decode;
use super::form;
use super::json::{JsonScanner, JsonToken};
use super::message::DrmMessage;
use crate::secret::Fingerprint;

/// The names beside a FairPlay message. The first of each kind counts.
#[derive(Default)]
pub(super) struct FairPlayHints {
    asset: Option<Fingerprint>,
    /// Decoded ids; several when the body carries several messages.
    key_ids: Vec<Vec<u8>>,
    uri: Option<Fingerprint>,
}

impl FairPlayHints {
    pub(super) fn of(text: &[u8]) -> Self {
        if matches!(text, [b'{' | b'[', ..]) { Self::of_json(text) } else { Self::of_form(text) }
    }

    fn of_json(body: &[u8]) -> Self {
        let mut hints = Self::default();
        let mut scanner = JsonScanner::new(body);
        // The name is unescaped once, because a long name may stand before many values.
        let mut name = Cow::Borrowed(&[][..]);
        while let Ok(Some(token)) = scanner.next() {
            match token {
                JsonToken::Key(key) => name = key.unescape(),
                JsonToken::String(text) => hints.add(&name, &text.unescape()),
                JsonToken::Close | JsonToken::Open(_) | JsonToken::Scalar => {}
            }
        }
        hints
    }

    fn of_form(body: &[u8]) -> Self {
        let mut hints = Self::default();
        form::pairs(body).for_each(|(name, value)| hints.add(name, &value));
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

    pub(super) fn tell(self, message: &mut DrmMessage) {
        self.key_ids.iter().for_each(|id| message.key_ids.insert(id));
        let shown = self.uri.or(self.asset).or_else(|| message.key_ids.fingerprint());
        message.content_id = message.content_id.or(shown);
    }
}
