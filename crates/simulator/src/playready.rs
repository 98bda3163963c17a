//! PlayReady: takes a SOAP challenge, and returns a response with the same nonce and a lease in clear.
//!
//! The shapes are those of Microsoft's public documentation (`MicrosoftDocs/PlayReady`); keys and signatures are
//! filler.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::answer::{ServiceAnswer, ServiceRefusal};
use super::call::HeadendCall;
use super::filler::fill;
use super::license::CHALLENGE;
use super::state::{CallMoment, HeadendState};

const PROTOCOLS: &str = "http://schemas.microsoft.com/DRM/2007/03/protocols";
const SOAP_HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body>";
const SOAP_TAIL: &str = "</soap:Body></soap:Envelope>";

pub(super) fn answer(
    state: &HeadendState,
    at: CallMoment,
    call: &HeadendCall,
) -> Result<ServiceAnswer, ServiceRefusal> {
    let text = text(&call.body).filter(|text| text.contains(PROTOCOLS)).ok_or(CHALLENGE)?;
    if text.contains("<AcknowledgeLicense") {
        let body = format!("{SOAP_HEAD}<AcknowledgeLicenseResponse xmlns=\"{PROTOCOLS}\"/>{SOAP_TAIL}");
        return Ok(soap(body).about("acknowledge"));
    }
    let nonce = between(&text, "<LicenseNonce>", "</LicenseNonce>").ok_or(CHALLENGE)?;
    let key_id = key_id(&text).and_then(|id| STANDARD.decode(id).ok()).filter(|id| id.len() == 16);
    let xmr = xmr(&key_id.ok_or(CHALLENGE)?, at.wall, state.settings.lease);
    Ok(soap(response(nonce, &STANDARD.encode(xmr))).about("new"))
}

fn soap(body: String) -> ServiceAnswer {
    ServiceAnswer::raw("text/xml; charset=utf-8", body)
}

fn response(nonce: &str, license: &str) -> String {
    let id = STANDARD.encode(fill(32, "pr-rsp"));
    let signature = STANDARD.encode(fill(64, "pr-sig"));
    format!(
        "{SOAP_HEAD}<AcquireLicenseResponse xmlns=\"{PROTOCOLS}\"><AcquireLicenseResult>\
         <Response xmlns=\"{PROTOCOLS}/messages\"><LicenseResponse xmlns=\"{PROTOCOLS}\" Id=\"SignedData\">\
         <Version>1</Version><Licenses><License>{license}</License></Licenses>\
         <LicenseNonce>{nonce}</LicenseNonce><ResponseID>{id}</ResponseID></LicenseResponse>\
         <Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><SignatureValue>{signature}</SignatureValue>\
         </Signature></Response></AcquireLicenseResult></AcquireLicenseResponse>{SOAP_TAIL}"
    )
}

/// A license object that ends `lease` seconds after `wall`, or never if `lease` is 0.
fn xmr(key_id: &[u8], wall: u64, lease: u32) -> Vec<u8> {
    let issued = u32::try_from(wall).unwrap_or(u32::MAX);
    let end = if lease == 0 { u32::MAX } else { issued.saturating_add(lease) };
    let lease = object(1, 0x12, &[0u32.to_be_bytes(), end.to_be_bytes()].concat());
    let issue = object(0, 0x13, &issued.to_be_bytes());
    let key = object(1, 0x0a, &[key_id, &fill(32, "xmr-key")].concat());
    let policies = object(3, 0x02, &[lease, issue].concat());
    let keys = object(3, 0x09, &key);
    let signature = object(1, 0x0b, &fill(20, "xmr-sig"));
    let outer = object(3, 0x01, &[policies, keys, signature].concat());
    [b"XMR\0".as_slice(), &3u32.to_be_bytes(), &fill(16, "xmr-rid"), &outer].concat()
}

fn object(flags: u16, kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap_or(u32::MAX);
    [&flags.to_be_bytes()[..], &kind.to_be_bytes(), &length.to_be_bytes(), body].concat()
}

/// The key id: `<KID … VALUE="…">` from header version 4.1 on, `<KID>…</KID>` in 4.0.
fn key_id(text: &str) -> Option<&str> {
    between(text, "<KID>", "</KID>").or_else(|| between(text.split_once("<KID ")?.1, "VALUE=\"", "\""))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Reads UTF-8, or UTF-16LE as some modules write it.
fn text(body: &[u8]) -> Option<String> {
    if !body.starts_with(&[0xff, 0xfe]) && body.get(1) != Some(&0) {
        return std::str::from_utf8(body).ok().map(str::to_owned);
    }
    let units = body.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).collect::<Result<String, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_header_versions_show_their_key_id() {
        assert_eq!(key_id("<DATA><KID>abc==</KID></DATA>"), Some("abc=="));
        assert_eq!(key_id("<KIDS><KID ALGID=\"AESCBC\" VALUE=\"def==\"></KID></KIDS>"), Some("def=="));
        assert_eq!(key_id("<KID "), None);
    }

    #[test]
    fn the_lease_stands_in_the_license() {
        let xmr = xmr(&[7; 16], 1_700_000_000, 60);
        let outer_length = u32::from_be_bytes(xmr[28..32].try_into().unwrap());
        assert_eq!(xmr.len(), 24 + outer_length as usize);
        let at = xmr.windows(8).position(|window| window == [0, 1, 0, 0x12, 0, 0, 0, 16]).unwrap();
        assert_eq!(xmr[at + 8..at + 16], [0, 0, 0, 0, 0x65, 0x53, 0xf1, 0x3c]);
    }

    #[test]
    fn utf16_is_read() {
        let wide: Vec<u8> = "\u{feff}<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text(&wide).unwrap(), "\u{feff}<a/>");
        assert_eq!(text(b"<a/>").unwrap(), "<a/>");
        assert_eq!(text(b"\xff\xff"), None);
    }
}
