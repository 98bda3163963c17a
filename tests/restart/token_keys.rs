//! Tests tokens that were proven before a restart, with keys that were replaced during it.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::json;

use crate::home::Home;

fn token(key: &KeyPair, device: &str) -> String {
    let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
    encode(&Header::new(Algorithm::ES256), &json!({"jti": device, "device": {"deviceId": device}}), &key).unwrap()
}

#[tokio::test]
async fn a_playback_whose_key_is_gone_continues_after_a_crash_and_no_other_begins_with_it() {
    let home = Home::new(30.0, "keep", true).await;
    let file = home.folder.path().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let limit = "sessions-per-account = 1";
    let keys = "sessions-per-account = 2\n[authority.token-keys]\npublic-key-file = \"key.pem\"";
    std::fs::write(&file, config.replace(limit, keys)).unwrap();
    let [old, new] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let publish = |key: &KeyPair| std::fs::write(home.folder.path().join("key.pem"), key.public_key_pem()).unwrap();
    publish(&old);
    let mut proxy = home.proxy();
    let tv = token(&old, "tv");
    let status = async |proxy: &crate::process::Proxy, device: &str, token: &str| {
        home.license(proxy, device, token).await.map(|reply| reply.status.as_u16())
    };
    assert_eq!(status(&proxy, "tv", &tv).await, Some(200));
    proxy.kill();
    publish(&new);
    proxy = home.proxy();
    assert_eq!(status(&proxy, "tv", &tv).await, Some(200), "its session was written down with its token");
    assert_eq!(status(&proxy, "phone", &token(&old, "phone")).await, Some(403));
    assert_eq!(status(&proxy, "phone", &tv).await, Some(403), "the token of one device is none of another's");
    assert_eq!(status(&proxy, "phone", &token(&new, "phone")).await, Some(200));
    assert_eq!(proxy.sessions().await.len(), 2);
    assert_eq!(proxy.terminate().await.code(), Some(0));
}
