//! Recognises the SOAP messages of PlayReady's license protocol.
//!
//! The children of the body name the operations; the SOAPAction header is often missing or wrong, and is ignored. Of
//! several operations the one about a license counts, in any place, because a server may look for that alone. Reading a
//! challenge ends at its encrypted part, once the nonce is known. The facts are from Microsoft's public PlayReady
//! documentation. `recognise` and `nested_messages` call [`read`] with UTF-8 text.

use memchr::memmem;
use quick_xml::events::BytesStart;

use super::configured_wrapping::base64_decode;
use super::message::{Direction, DrmMessage, DrmSystem, MessageKind, Validity};
use super::playready_words::{SoapTag, is_about_a_license, license_kind, operation};
use super::xml::{XmlLeaf, XmlNode, XmlWalk, resolve};
use super::xmr;
use crate::secret::{Fingerprint, Secret};

const NAMESPACE: &[u8] = b"schemas.microsoft.com/DRM/2007/03";
/// The largest nonce or transaction id; real ones have 16 and 36 bytes.
const ID_MAX: usize = 64;
/// The upper half of every StatusCode of the PlayReady server: it tells a fault without the
/// namespace from other SOAP faults.
const STATUS_FACILITY: u32 = 0x8004;

pub(super) fn read(direction: Direction, text: &str) -> Option<DrmMessage> {
    let named = memmem::find(text.as_bytes(), NAMESPACE).is_some();
    if !named && direction == Direction::Request {
        return None;
    }
    let message = SoapScan::new(direction).run(text)?;
    let fault =
        message.kind == MessageKind::Error && message.error_code.is_some_and(|code| code >> 16 == STATUS_FACILITY);
    (named || fault).then_some(message)
}

/// An identifier that must appear once: two of them are ambiguous, and count as none.
#[derive(Clone, Copy, Eq, PartialEq)]
enum UniqueId {
    Many,
    None,
    One(Fingerprint),
}

struct SoapScan<'a> {
    /// True if the body ends as it should; checked once.
    closed: Option<bool>,
    custom: Option<String>,
    direction: Direction,
    leaf: XmlLeaf<'a>,
    message: Option<DrmMessage>,
    nonce: UniqueId,
    path: Vec<SoapTag>,
}

impl<'a> SoapScan<'a> {
    fn new(direction: Direction) -> Self {
        let (leaf, path) = (XmlLeaf::default(), Vec::with_capacity(16));
        Self { closed: None, custom: None, direction, leaf, message: None, nonce: UniqueId::None, path }
    }

    fn run(mut self, text: &'a str) -> Option<DrmMessage> {
        let mut walk = XmlWalk::of(text);
        while let Some(node) = walk.next().ok()? {
            match node {
                XmlNode::Close => self.close(),
                XmlNode::Data(data) => self.spoil(Some(&data)),
                XmlNode::Open(start) => {
                    self.open(&start)?;
                    if self.is_told(text) {
                        break;
                    }
                }
                XmlNode::Reference(reference) => {
                    let mut utf8 = [0; 4];
                    self.spoil(resolve(&reference).map(|c| &*c.encode_utf8(&mut utf8)));
                }
                XmlNode::Text(text) => {
                    self.append(&text);
                    self.leaf.add(text);
                }
            }
        }
        self.finish()
    }

    /// `None` if this can no longer be a PlayReady message.
    fn open(&mut self, start: &BytesStart<'_>) -> Option<()> {
        let name = start.local_name().into_inner();
        let tag = SoapTag::of(name);
        match (self.path.as_slice(), tag) {
            ([], SoapTag::Envelope) => {}
            ([], _) => return None,
            ([SoapTag::Envelope, SoapTag::Body], _) => {
                if let Some(kind) = operation(self.direction, name) {
                    self.operation(kind)?;
                }
            }
            ([.., SoapTag::La], SoapTag::CustomData) => self.custom = Some(String::new()),
            ([.., SoapTag::CustomData], _) => self.custom = None,
            (path, SoapTag::Kid) if path.contains(&SoapTag::WrmHeader) => self.key_id_attribute(start),
            _ => {}
        }
        if is_about_a_license(self.direction, name) {
            let kind = license_kind(self.direction);
            self.message.get_or_insert_with(|| DrmMessage::new(DrmSystem::PlayReady, kind)).kind = kind;
        }
        self.leaf = XmlLeaf::Empty;
        self.path.push(tag);
        Some(())
    }

    /// `None` for two operations of which none is about a license: it is unknown which one the server takes.
    fn operation(&mut self, kind: MessageKind) -> Option<()> {
        match &self.message {
            None => self.message = Some(DrmMessage::new(DrmSystem::PlayReady, kind)),
            Some(message) if message.kind == kind => {}
            Some(message) => {
                let license = license_kind(self.direction);
                (message.kind == license || kind == license).then_some(())?;
            }
        }
        Some(())
    }

    /// Versions 4.1 and later of the header have the key id as an attribute.
    fn key_id_attribute(&mut self, start: &BytesStart<'_>) {
        let mut attributes = start.attributes();
        let value = attributes.with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == "VALUE");
        if let Some(value) = value {
            self.key_id(&value.value);
        }
    }

    fn close(&mut self) {
        let text = self.leaf.take();
        if let (Some(text), [.., parent, tag]) = (text, self.path.as_slice()) {
            self.tell(*parent, *tag, &text);
        }
        self.path.pop();
    }

    /// Handles a complete element that holds nothing but text.
    fn tell(&mut self, parent: SoapTag, tag: SoapTag, text: &str) {
        match (parent, tag) {
            (SoapTag::La | SoapTag::LicenseResponse, SoapTag::LicenseNonce) => {
                self.nonce = match (self.nonce, nonce(text)) {
                    (UniqueId::None, Some(id)) => UniqueId::One(id),
                    _ => UniqueId::Many,
                }
            }
            (SoapTag::Licenses, SoapTag::License) => self.license(text),
            (_, SoapTag::Kid) if self.path.contains(&SoapTag::WrmHeader) => self.key_id(text),
            (_, SoapTag::StatusCode) => {
                self.change(|message| message.error_code = message.error_code.or_else(|| status(text)));
            }
            (_, SoapTag::TransactionId) => {
                let id = Some(text).filter(|id| !id.is_empty() && id.len() <= ID_MAX);
                let id = id.map(|id| Fingerprint::of(id.as_bytes()));
                self.change(|message| message.transaction_id = message.transaction_id.or(id));
            }
            _ => {}
        }
    }

    fn key_id(&mut self, text: &str) {
        let id = base64_decode(text.as_bytes()).and_then(|id| <[u8; 16]>::try_from(id).ok());
        if let Some(id) = id {
            self.change(|message| message.key_ids.insert(&xmr::swap(id)));
        }
    }

    fn license(&mut self, text: &str) {
        let Some(license) = base64_decode(text.as_bytes()) else { return };
        self.change(|message| {
            let validity = xmr::read(&license, &mut message.key_ids);
            message.validity = sooner(message.validity, validity);
            message.validity_last = later(message.validity_last, validity);
        });
    }

    fn change(&mut self, change: impl FnOnce(&mut DrmMessage)) {
        if let Some(message) = &mut self.message {
            change(message);
        }
    }

    /// Adds text that may belong to CustomData, but keeps an identifier from being one plain piece.
    fn spoil(&mut self, text: Option<&str>) {
        self.leaf = XmlLeaf::Mixed;
        match text {
            Some(text) => self.append(text),
            None => self.custom = None,
        }
    }

    fn append(&mut self, text: &str) {
        if let (Some(SoapTag::CustomData), Some(custom)) = (self.path.last(), &mut self.custom) {
            custom.push_str(text);
        }
    }

    /// True if the rest need not be read: no fact follows the start of EncryptedData. The end of the body is checked,
    /// because a truncated body must not pass.
    fn is_told(&mut self, text: &str) -> bool {
        self.path.last() == Some(&SoapTag::EncryptedData)
            && self.message.as_ref().is_some_and(|message| message.kind == MessageKind::LicenseRequest)
            && self.nonce != UniqueId::None
            && *self.closed.get_or_insert_with(|| is_closed(text))
    }

    fn finish(self) -> Option<DrmMessage> {
        let mut message = self.message?;
        if let UniqueId::One(id) = self.nonce {
            message.request_id = Some(id);
        }
        let custom = self.custom.as_deref().map(str::trim).filter(|custom| !custom.is_empty());
        message.custom_data = custom.map(Secret::new);
        message.content_id = message.key_ids.fingerprint();
        Some(message)
    }
}

fn nonce(text: &str) -> Option<Fingerprint> {
    let nonce = base64_decode(text.as_bytes()).filter(|nonce| !nonce.is_empty() && nonce.len() <= ID_MAX)?;
    Some(Fingerprint::of(&nonce))
}

fn status(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    u32::from_str_radix(digits, 16).ok()
}

/// Of several licenses in one reply, the one that ends first speaks for all.
fn sooner(one: Option<Validity>, other: Option<Validity>) -> Option<Validity> {
    let end = |validity: &Validity| validity.end.unwrap_or(u64::MAX);
    [one, other].into_iter().flatten().min_by_key(end)
}

/// Of several licenses in one reply, the one that ends last, or never.
fn later(one: Option<Validity>, other: Option<Validity>) -> Option<Validity> {
    let end = |validity: &Validity| validity.end.unwrap_or(u64::MAX);
    [one, other].into_iter().flatten().max_by_key(end)
}

fn is_closed(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    let last = text.strip_suffix('>').and_then(|text| text.rsplit_once("</"));
    last.is_some_and(|(_, name)| name.trim_end().rsplit(':').next() == Some("Envelope"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_license_operation_counts_in_any_place() {
        const NAMES: &str = "xmlns=\"http://schemas.microsoft.com/DRM/2007/03/protocols\"";
        let license = "<AcquireLicense/>";
        let told_early = format!(
            "<AcknowledgeLicense><LA><LicenseNonce>AAAA</LicenseNonce><EncryptedData/></LA>\
            </AcknowledgeLicense>{license}"
        );
        let rows = [
            (license.to_owned(), Some(MessageKind::LicenseRequest)),
            ("<AcknowledgeLicense/>".to_owned(), Some(MessageKind::Acknowledge)),
            ("<AcknowledgeLicense/><AcknowledgeLicense/>".to_owned(), Some(MessageKind::Acknowledge)),
            (format!("<AcknowledgeLicense/>{license}"), Some(MessageKind::LicenseRequest)),
            (format!("{license}<AcknowledgeLicense/>"), Some(MessageKind::LicenseRequest)),
            ("<ProcessSecureStopData/><x:AcquireLicense/>".to_owned(), Some(MessageKind::LicenseRequest)),
            (format!("<AcknowledgeLicense><a>{license}</a></AcknowledgeLicense>"), Some(MessageKind::LicenseRequest)),
            (format!("<AcknowledgeLicense/></Body><Body>{license}"), Some(MessageKind::LicenseRequest)),
            (told_early, Some(MessageKind::LicenseRequest)),
            ("<AcknowledgeLicense/><LeaveDomain/>".to_owned(), None),
            (format!("<Unknown>{license}</Unknown>"), Some(MessageKind::LicenseRequest)),
            (format!("<Unknown/>{license}"), Some(MessageKind::LicenseRequest)),
            (format!("{license}<Unknown/>"), Some(MessageKind::LicenseRequest)),
            (format!("</Body><Body>{license}"), Some(MessageKind::LicenseRequest)),
            ("<Unknown/>".to_owned(), None),
        ];
        for (body, kind) in rows {
            let text = format!("<Envelope {NAMES}><Body>{body}</Body></Envelope>");
            let told = |direction, text: &str| read(direction, text).map(|message| message.kind);
            assert_eq!(told(Direction::Request, &text), kind, "{text}");
            if kind == Some(MessageKind::LicenseRequest) {
                let reply = text.replace("License/>", "LicenseResponse/>").replace("Data/>", "DataResponse/>");
                let reply = reply.replace("License>", "LicenseResponse>").replace("<EncryptedDataResponse/>", "");
                assert_eq!(told(Direction::Reply, &reply), Some(MessageKind::License), "{reply}");
            }
        }
    }

    /// The earliest end of several licenses in one reply ends something, and the last one ends all.
    #[test]
    fn the_last_end_of_several_licenses_counts_in_any_order() {
        let ends = |end: Option<u64>| Some(Validity { end, ..Validity::default() });
        let rows = [
            (ends(Some(10)), ends(Some(20)), ends(Some(20))),
            (ends(Some(20)), ends(Some(10)), ends(Some(20))),
            (ends(None), ends(Some(10)), ends(None)),
            (ends(Some(10)), ends(None), ends(None)),
            (None, ends(Some(10)), ends(Some(10))),
            (ends(Some(10)), None, ends(Some(10))),
            (None, None, None),
        ];
        for (one, other, last) in rows {
            assert_eq!(later(one, other), last, "{one:?} {other:?}");
        }
    }
}
