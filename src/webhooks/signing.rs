//! Signs a delivery.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::secret::Secret;

/// `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body` (Standard Webhooks, "Signature
/// scheme"). A secret that begins with `whsec_` is Base64, as the specification writes it; any other
/// is taken as it stands.
pub(super) fn signature(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> String {
    let text = secret.expose();
    let decoded = text.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    let key = hmac::Key::new(hmac::HMAC_SHA256, decoded.as_deref().unwrap_or(text.as_bytes()));
    let mut context = hmac::Context::with_key(&key);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_specifications_example_is_signed_as_it_says() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_part_counts() {
        let of = |secret: &str, id, at, body: &[u8]| signature(&Secret::new(secret), id, at, body);
        let signed = of("s", "1", "2", b"3");
        for other in
            [of("t", "1", "2", b"3"), of("s", "2", "2", b"3"), of("s", "1", "3", b"3"), of("s", "1", "2", b"4")]
        {
            assert_ne!(signed, other);
        }
    }
}
