//! Edits content steering lists, by which a service tells players which of a manifest's servers to use (HLS, second
//! edition, section 7; ETSI TS 103 998 for DASH).
//!
//! The list keeps its order of pathways. Its clones are removed: they name servers that no manifest named, and would
//! lead players past the route. The media route calls [`steered`].

use serde_json::{Map, Value};

const CLONES: &str = "PATHWAY-CLONES";
const RELOAD: &str = "RELOAD-URI";

/// Returns the list for a player, or `None` if it is no list. `bind` returns the player's URI for the next fetch.
pub fn steered(list: &[u8], bind: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut list = object(list)?;
    list.remove(CLONES);
    // Without a reload URI the same list is fetched again.
    if let Some(uri) = list.remove(RELOAD).as_ref().and_then(Value::as_str).and_then(bind) {
        list.insert(RELOAD.to_owned(), uri.into());
    }
    Some(Value::Object(list).to_string())
}

/// Parses a JSON object behind an optional byte order mark, which parsers skip.
pub(super) fn object(json: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json)) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steered_list_leads_to_no_other_server() {
        let list = br#"{"VERSION":1,"TTL":300,"RELOAD-URI":"URI","PATHWAY-PRIORITY":["b","a"],
            "PATHWAY-CLONES":[{"BASE-ID":"a","ID":"c","URI-REPLACEMENT":{"HOST":"elsewhere.example"}}]}"#;
        let found = steered(list, |uri| Some(format!("/ours/{uri}"))).unwrap();
        let expected = r#"{"PATHWAY-PRIORITY":["b","a"],"RELOAD-URI":"/ours/URI","TTL":300,"VERSION":1}"#;
        assert_eq!(found, expected);
        assert_eq!(steered(list, |_| None).unwrap(), expected.replace("\"RELOAD-URI\":\"/ours/URI\",", ""));
        assert_eq!(steered(b"\xef\xbb\xbf{\"TTL\":1}", |_| None).unwrap(), "{\"TTL\":1}");
        for list in [&b"[]"[..], b"<MPD/>", b"", b"\xff"] {
            assert_eq!(steered(list, |_| None), None);
        }
    }
}
