//! The exact bodies. Players parse them: every element and its order has a reason in
//! `docs/players.md`.

use serde_json::json;

use super::{Phase, Turned};
use crate::ids::Incident;

/// Widevine `SignedMessage` of type 3 with `LicenseError` 3, service unavailable. The other codes
/// speak about the device's certificate, and a device would act on them.
pub(super) const WIDEVINE: [u8; 6] = [0x08, 0x03, 0x12, 0x02, 0x08, 0x03];

/// Keeps the head-end's own words, so that apps that look for `code` 404 and `errorCode` 3002 find
/// them.
pub(super) fn json(turned: &Turned, phase: Phase, incident: Incident) -> String {
    json!({
        "error": turned.error,
        "code": turned.code,
        "errorCode": turned.error_code,
        "message": turned.message,
        "detail": turned.detail,
        "event": turned.event,
        "phase": phase.name(),
        "incident": incident.to_string(),
    })
    .to_string()
}

/// A SOAP 1.1 fault. dash.js shows only what stands between `[` and `]`, and throws on an empty or
/// missing element. 0x8004C604 is the service's own refusal; other codes start domain joins,
/// individualization or endless retries.
pub(super) fn soap(turned: &Turned) -> String {
    let code = turned.error_code.map(|code| format!("{code} ")).unwrap_or_default();
    let message = escape(&format!("{code}{}: {}", turned.error, turned.message));
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><soap:Fault>\
         <faultcode>soap:Server</faultcode><faultstring>{detail}</faultstring>\
         <detail><Exception><StatusCode>0x8004C604</StatusCode><Message>[{message}]</Message></Exception></detail>\
         </soap:Fault></soap:Body></soap:Envelope>",
        detail = escape(turned.detail),
    )
}

/// Brackets would end the part that dash.js shows. The two noncharacters may not stand in XML at all
/// (XML 1.0, section 2.2); control characters are gone from every reason by now.
fn escape(text: &str) -> String {
    let text = text.replace(['\u{fffe}', '\u{ffff}'], "?");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('[', "(").replace(']', ")")
}
