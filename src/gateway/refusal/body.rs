//! Builds the exact bodies. Players parse them: `docs/players.md` gives a reason for every element and its order.

use http::StatusCode;
use serde_json::{Map, Value};

use super::{LicensePhase, RefusalBody};
use crate::edge::own_replies;
use crate::ids::Incident;

/// Widevine `SignedMessage` of type 3 with `LicenseError` 3, service unavailable. Devices would act on the other
/// codes, which concern the device's certificate.
pub(super) const WIDEVINE: [u8; 6] = [0x08, 0x03, 0x12, 0x02, 0x08, 0x03];

/// RFC 9457 problem details with the types of DASH-IF's guidelines on content protection, section 10.2; our
/// members are extensions. Keeps the head-end's own words, so that apps that look for `code` 404 and `errorCode`
/// 3002 find them. `status` is the reply's.
pub(super) fn problem(turned: &RefusalBody, phase: LicensePhase, status: StatusCode, incident: Incident) -> String {
    let mut members = said(turned, phase, incident);
    // Firefox takes JSON without keys for an empty license and reports nothing. All players reject an empty list.
    members.insert("keys".to_owned(), Value::Array(Vec::new()));
    own_replies::problem(status, problem_type(&turned.error), members)
}

/// `None` if DASH-IF names no type for the error.
fn problem_type(error: &str) -> Option<(&'static str, &'static str)> {
    match error {
        "blackout" | "limit_reached" | "session_ended" | "session_killed" | "setup_rejected" => {
            Some(("https://dashif.org/drm-problems/not-authorized", "Not authorized"))
        }
        "token_expired" | "token_rejected" => Some((
            "https://dashif.org/drm-problems/insufficient-proof-of-authorization",
            "Insufficient proof of authorization",
        )),
        _ => None,
    }
}

/// A SOAP 1.1 fault. dash.js shows only the text between `[` and `]`, and throws on an empty or missing element.
/// 0x8004C604 is the service's own refusal; other codes start domain joins, individualization or endless retries.
/// PlayReady hands `CustomData` to the app.
pub(super) fn soap(turned: &RefusalBody, phase: LicensePhase, incident: Incident) -> String {
    let code = turned.error_code.map(|code| format!("{code} ")).unwrap_or_default();
    let message = escape(&format!("{code}{}: {}", turned.error, turned.message)).replace('[', "(").replace(']', ")");
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><soap:Fault>\
         <faultcode>soap:Server</faultcode><faultstring>{detail}</faultstring>\
         <detail><Exception><StatusCode>0x8004C604</StatusCode><Message>[{message}]</Message>\
         <CustomData>{custom}</CustomData></Exception></detail>\
         </soap:Fault></soap:Body></soap:Envelope>",
        detail = escape(turned.detail()),
        custom = escape(&Value::Object(said(turned, phase, incident)).to_string()),
    )
}

/// Members of every body that has room for them.
fn said(turned: &RefusalBody, phase: LicensePhase, incident: Incident) -> Map<String, Value> {
    let help = turned.help.as_ref();
    let help = help.into_iter().flat_map(|help| [("href", &help.href), ("hrefTitle", &help.href_title)]);
    let help = help.map(|(name, value)| (name, value.as_str().into()));
    let taken_by = turned.taken_by.iter().map(|device| ("takenBy", (&**device).into()));
    let said = [
        ("error", turned.error.as_str().into()),
        ("code", turned.code.into()),
        ("errorCode", turned.error_code.into()),
        ("message", turned.message.as_str().into()),
        ("detail", turned.detail().into()),
        ("event", turned.event.into()),
        ("phase", phase.name().into()),
        ("incident", incident.to_string().into()),
    ];
    said.into_iter().chain(help).chain(taken_by).map(|(name, value): (_, Value)| (name.to_owned(), value)).collect()
}

/// Escapes text for XML. The two noncharacters are forbidden in XML (XML 1.0, section 2.2); control characters
/// were removed from every reason before.
fn escape(text: &str) -> String {
    let text = text.replace(['\u{fffe}', '\u{ffff}'], "?");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
