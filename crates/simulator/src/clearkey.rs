//! ClearKey, the only system whose licenses hold real keys (W3C Encrypted Media Extensions, section 9.1).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::answer::{ServiceAnswer, ServiceRefusal};
use super::call::HeadendCall;
use super::license::{CHALLENGE, NO_KEY};
use super::state::HeadendState;

pub(super) fn answer(state: &HeadendState, call: &HeadendCall) -> Result<ServiceAnswer, ServiceRefusal> {
    let request: Value = serde_json::from_slice(&call.body).map_err(|_not_json| CHALLENGE)?;
    let ids = request.get("kids").and_then(Value::as_array).ok_or(CHALLENGE)?;
    let Some(kind) = request.get("type") else {
        // A release is acknowledged by its own ids.
        return Ok(ServiceAnswer::json(&json!({ "kids": ids })).about("release"));
    };
    let keys: Vec<Value> = ids.iter().filter_map(|id| key(state, id.as_str()?)).collect();
    if keys.is_empty() {
        return Err(NO_KEY);
    }
    Ok(ServiceAnswer::json(&json!({"keys": keys, "type": kind})).about("new"))
}

fn key(state: &HeadendState, id: &str) -> Option<Value> {
    let id = decode(id)?;
    let found = state.clear_keys.iter().find(|known| known.id.as_slice() == id)?;
    Some(json!({"kty": "oct", "kid": URL_SAFE_NO_PAD.encode(found.id), "k": URL_SAFE_NO_PAD.encode(found.key)}))
}

/// Either alphabet, padded or not: old Android wrote the standard one.
fn decode(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT).decode(text.replace('+', "-").replace('/', "_")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_are_read() {
        for text in ["--__", "++//", "-w", "-w==", "+w=="] {
            assert!(decode(text).is_some(), "{text}");
        }
        assert_eq!(decode("!"), None);
    }
}
