//! Content steering: the list by which a service tells players which of a manifest's servers to use (HLS, second
//! edition, section 7; ETSI TS 103 998 for DASH).
//!
//! Its order of pathways stays. Its clones do not: they name servers that no manifest named, and players would
//! go there past the route.

use serde_json::{Map, Value};

const CLONES: &str = "PATHWAY-CLONES";
const RELOAD: &str = "RELOAD-URI";

/// The list as a player gets it; `bind`: the player's URI for where it is fetched again. None: it is no list.
pub fn steered(list: &[u8], bind: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut list = object(list)?;
    list.remove(CLONES);
    // Without it the same list is fetched again.
    if let Some(uri) = list.remove(RELOAD).as_ref().and_then(Value::as_str).and_then(bind) {
        list.insert(RELOAD.to_owned(), uri.into());
    }
    Some(Value::Object(list).to_string())
}

/// Parsers look past the mark of UTF-8.
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
    fn a_list_leads_nowhere_else() {
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
