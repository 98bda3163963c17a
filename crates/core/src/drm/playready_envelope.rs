//! Reads PlayReadyKeyMessage: the envelope around a PlayReady challenge that the CDM hands to a page.
//!
//! Players take the challenge out of it, but a simple app may forward the whole. UTF-16 is transcoded before.
//! `recognise` calls [`Envelope::read`].

use memchr::memmem;

use super::configured_wrapping::base64_decode;
use super::message::{Direction, DrmMessage, DrmSystem, MessageKind};
use super::xml::{XmlLeaf, XmlNode, XmlWalk};

const ROOT: &str = "PlayReadyKeyMessage";

/// The content of an envelope.
pub(super) struct Envelope {
    /// A page may take any of them.
    pub(super) challenges: Vec<Vec<u8>>,
    secure_stop: bool,
}

impl Envelope {
    pub(super) fn read(text: &str) -> Option<Self> {
        memmem::find(text.as_bytes(), ROOT.as_bytes())?;
        let mut envelope = Self { challenges: Vec::new(), secure_stop: false };
        let mut leaf = XmlLeaf::default();
        let mut walk = XmlWalk::of(text);
        let (mut rooted, mut inside) = (false, false);
        while let Some(node) = walk.next().ok()? {
            match node {
                XmlNode::Close => {
                    let text = leaf.take().filter(|_| inside);
                    envelope.challenges.extend(text.and_then(|text| base64_decode(text.as_bytes())));
                    inside = false;
                }
                XmlNode::Data(_) | XmlNode::Reference(_) => leaf = XmlLeaf::Mixed,
                XmlNode::Open(start) if rooted => {
                    inside = start.local_name().into_inner() == "Challenge";
                    leaf = XmlLeaf::Empty;
                }
                XmlNode::Open(start) => {
                    rooted = start.local_name().into_inner() == ROOT;
                    let kind = start.attributes().with_checks(false).flatten().find(|a| a.key.as_ref() == "type");
                    envelope.secure_stop = kind.is_some_and(|kind| kind.value == "SecureStop");
                    rooted.then_some(())?;
                }
                XmlNode::Text(text) => leaf.add(text),
            }
        }
        Some(envelope)
    }

    /// The message that the envelope shows by itself, for a challenge that shows none: the form of a secure stop's
    /// challenge is not public.
    pub(super) fn alone(&self, direction: Direction) -> Option<DrmMessage> {
        let told = self.secure_stop && direction == Direction::Request;
        told.then(|| DrmMessage::new(DrmSystem::PlayReady, MessageKind::Release))
    }
}
