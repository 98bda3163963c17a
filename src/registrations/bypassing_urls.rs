//! Tells whether a reply of an authorization service that would pass untouched could lead a player past us.
//!
//! The block stands at the top of the reply or in its `data`. Apps parse leniently, so they may also read fields
//! elsewhere, or text that is no JSON to us. Such a reply passes only if nothing in it can be a stream's URL or a
//! blackout.

use serde_json::Value;

use super::AuthorizationFields;
use crate::config::FieldNames;

/// Fields that must be exchanged or refused here.
const FIELDS: [&str; 3] = ["blackoutAction", "contentUrl", "licenseUrl"];
/// Marks of a stream's URL, without escapes and in lower case.
const MARKS: [&str; 6] = ["://", "%3a%2f%2f", ".m3u8", ".mpd", ".ism", ".isml"];

/// The reason why the reply must not be passed on; `None` if it may.
pub fn unread(reply: Option<&Value>, body: &[u8], names: &FieldNames) -> Option<&'static str> {
    const NO_JSON: &str = "a reply that is no JSON, with what may be a URL in it";
    const ELSEWHERE: &str = "a reply that has an authorization neither at its top nor in its data";
    match reply {
        None => may_hold_a_url(body, names).then_some(NO_JSON),
        Some(reply) => is_elsewhere(reply, names).then_some(ELSEWHERE),
    }
}

fn may_hold_a_url(body: &[u8], names: &FieldNames) -> bool {
    // Removes escapes of slashes, and every second byte of UTF-16.
    let text: Vec<u8> = body.iter().copied().filter(|byte| !matches!(byte, b'\\' | 0)).collect();
    let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let has = |word: &str| text.contains(&word.to_ascii_lowercase());
    MARKS.into_iter().chain(FIELDS.map(|field| names.of(field))).any(has)
        || text.contains("u003a")
        || text.contains("u002f")
}

/// True if a field stands only where it is not looked for.
fn is_elsewhere(reply: &Value, names: &FieldNames) -> bool {
    let fields = AuthorizationFields::of(reply, names);
    let is_said = |field: &&str| fields.as_ref().is_some_and(|fields| fields.get(field).is_some());
    let unsaid: Vec<_> = FIELDS.into_iter().filter(|field| !is_said(field)).map(|field| names.of(field)).collect();
    // Configured paths exchange URLs in further places, but a blackout is only looked for in these two.
    let is_read = unsaid.len() < FIELDS.len();
    let missed: Vec<_> =
        if is_read { unsaid.into_iter().filter(|name| *name == names.of(FIELDS[0])).collect() } else { unsaid };
    holds(reply, &missed)
}

fn holds(value: &Value, fields: &[&str]) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| holds(item, fields)),
        Value::Object(object) => {
            let named = |(name, value): (&String, &Value)| fields.contains(&name.as_str()) && !value.is_null();
            object.iter().any(named) || object.values().any(|value| holds(value, fields))
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reply_that_is_no_json_passes_only_without_anything_that_may_be_a_url() {
        for (body, passes) in [
            ("", true),
            ("no json at all", true),
            ("{\"cut\":", true),
            ("<p>Not now. Try again/later.", true),
            ("{\"contentUrl\":\"x\",}", false),
            ("{\"u\":\"https://cdn/a\",}", false),
            ("{\"u\":\"https:\\/\\/cdn\\/a\",}", false),
            ("{\"u\":\"HTTPS\\u003A\\u002f/cdn\",}", false),
            ("u=https%3A%2F%2Fcdn%2Fa", false),
            ("live/a.M3U8", false),
        ] {
            assert_eq!(unread(None, body.as_bytes(), &FieldNames::default()).is_none(), passes, "{body}");
        }
        let wide: Vec<u8> = "{\"u\":\"https://cdn/a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(unread(None, &wide, &FieldNames::default()).is_some());
    }

    #[test]
    fn an_authorization_elsewhere_than_at_the_top_or_in_data_does_not_pass() {
        let block = json!({"contentUrl": "https://cdn/a", "blackoutAction": "DENY"});
        for (reply, passes) in [
            (block.clone(), true),
            (json!({ "data": block }), true),
            (json!({"licenseUrl": "x", "related": [{"contentUrl": "https://cdn/b"}]}), true),
            (json!({"error": {"url": "https://help"}}), true),
            (json!({"result": {"blackoutAction": null}}), true),
            (json!([1, 2]), true),
            (json!([block]), false),
            (json!({ "result": block }), false),
            (json!({ "data": [block] }), false),
            (json!({"data": {"item": {"licenseUrl": "https://drm"}}}), false),
            (json!({"contentUrl": "https://cdn/a", "rights": {"blackoutAction": "DENY"}}), false),
        ] {
            assert_eq!(unread(Some(&reply), b"", &FieldNames::default()).is_none(), passes, "{reply}");
        }
    }
}
