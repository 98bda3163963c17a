//! FairPlay: takes an SPC and returns a reply of a CKC's shape, in the form of the request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::answer::{OCTETS, ServiceAnswer, ServiceRefusal};
use super::call::HeadendCall;
use super::filler::fill;
use super::license::{CHALLENGE, is_json};

pub(super) fn answer(call: &HeadendCall) -> Result<ServiceAnswer, ServiceRefusal> {
    let ckc = ckc();
    if is_json(call) {
        let body: Value = serde_json::from_slice(&call.body).map_err(|_not_json| CHALLENGE)?;
        let spc = body.get("spc").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        check(&spc.ok_or(CHALLENGE)?)?;
        return Ok(ServiceAnswer::json(&json!({ "ckc": STANDARD.encode(ckc) })).about("new"));
    }
    if let Some(spc) = form(&call.body) {
        check(&spc)?;
        let text = format!("<ckc>{}</ckc>", STANDARD.encode(ckc));
        return Ok(ServiceAnswer::raw("text/plain; charset=utf-8", text).about("new"));
    }
    check(&call.body)?;
    Ok(ServiceAnswer::raw(OCTETS, ckc).about("new"))
}

/// The `spc` of a form body. A literal `+` stays one, because many players do not encode it.
fn form(body: &[u8]) -> Option<Vec<u8>> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split('&').find_map(|pair| pair.strip_prefix("spc="))?;
    let text = percent_decode_str(value).decode_utf8().ok()?;
    STANDARD.decode(text.as_bytes()).ok()
}

/// Checks an SPC. Version 1 has 176 bytes and a payload whose length stands at 172; later versions must only be long
/// enough.
fn check(spc: &[u8]) -> Result<(), ServiceRefusal> {
    let number = |at: usize| {
        let bytes = spc.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    };
    let good = match (number(0), number(172)) {
        (Some(1), Some(payload)) => payload > 0 && payload % 16 == 0 && spc.len() as u64 == 176 + u64::from(payload),
        (Some(2..=9), Some(_)) => spc.len() > 256,
        (_, _) => false,
    };
    if good { Ok(()) } else { Err(CHALLENGE) }
}

fn ckc() -> Vec<u8> {
    let head = [1u32.to_be_bytes(), 0u32.to_be_bytes()].concat();
    [head, fill(16, "iv"), 512u32.to_be_bytes().to_vec(), fill(512, "ckc")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spc() -> Vec<u8> {
        let head = [1u32.to_be_bytes(), 0u32.to_be_bytes()].concat();
        [head, fill(164, "head"), 32u32.to_be_bytes().to_vec(), fill(32, "pl")].concat()
    }

    #[test]
    fn the_length_must_fit() {
        assert_eq!(check(&spc()), Ok(()));
        assert_eq!(check(&spc()[..207]), Err(CHALLENGE));
        assert_eq!(check(b"hello"), Err(CHALLENGE));
    }

    #[test]
    fn a_form_keeps_its_plus_signs() {
        let text = STANDARD.encode([0xfb, 0xef, 0xbe]);
        assert!(text.contains('+'));
        assert_eq!(form(format!("assetId=a&spc={text}").as_bytes()), Some(vec![0xfb, 0xef, 0xbe]));
        assert_eq!(form(b"spc=%2B%2B%2B%2B"), Some(vec![0xfb, 0xef, 0xbe]));
        assert_eq!(form(&spc()), None);
    }

    #[test]
    fn the_reply_has_the_shape_of_a_ckc() {
        assert_eq!(ckc().len(), 28 + 512);
    }
}
