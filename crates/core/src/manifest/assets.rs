//! Rewrites asset lists of HLS interstitials (draft-pantos-hls-rfc8216bis, `X-ASSET-LIST`): the playlists that a player
//! inserts. The media route calls it.

use serde_json::Value;

use super::steering::object;

/// Returns the list with each URI replaced by that of `bind`; `None` if it is no list.
pub fn asset_list(list: &[u8], mut bind: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let mut list = object(list)?;
    for asset in list.get_mut("ASSETS")?.as_array_mut()? {
        let Some(uri) = asset.get_mut("URI") else { continue };
        if let Some(bound) = uri.as_str().and_then(&mut bind) {
            *uri = bound.into();
        }
    }
    Some(Value::Object(list).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_asset_of_a_list_is_bound_and_the_rest_stays() {
        let list =
            r#"{"ASSETS":[{"URI":"a","DURATION":1.5,"X":[]},{"URI":"elsewhere"},{}],"SKIP-CONTROL":{"OFFSET":1}}"#;
        let bind = |uri: &str| (uri == "a").then(|| format!("https://ours/{uri}"));
        let found: Value = serde_json::from_str(&asset_list(list.as_bytes(), bind).unwrap()).unwrap();
        let expected: Value = serde_json::from_str(&list.replace("\"a\"", "\"https://ours/a\"")).unwrap();
        assert_eq!(found, expected);
        let marked = format!("\u{feff}{list}");
        let found: Value = serde_json::from_str(&asset_list(marked.as_bytes(), bind).unwrap()).unwrap();
        assert_eq!(found, expected);
        for list in ["[]", "{}", "{\"ASSETS\":{}}", "<MPD/>", ""] {
            assert_eq!(asset_list(list.as_bytes(), bind), None, "{list}");
        }
    }
}
