//! Tests the owner of a session: the first identity source that answers, as the admin API shows it.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use sidebeat::clock::Clock;
use sidebeat::edge::local_ca;

use crate::player::{CLEARKEY, Call};
use crate::stage::Stage;
use crate::upstream::{Upstream, good};
use crate::web;

/// All identity sources except the client certificate, which needs TLS.
const LADDER: &str =
    r#"device = ["header:x-device-id", "query:device", "cookie:box", "token-claim:device.deviceId", "peer"]"#;

/// Without what a content token says of the device.
const LAST_RESORT: &str = r#"device = ["header:x-device-id", "query:device", "peer"]"#;

#[tokio::test]
async fn the_first_identity_source_that_answers_names_the_device() {
    let license = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let route = format!("authority = \"head-end\"\n{LADDER}");
    let stage = Stage::script().upstream("/license", &license.url(), &route).start().await;
    let token = stage.headend.token("account=ann&device=tv&content=news").await;
    let call = || stage.stranger().post(CLEARKEY).header("nv-authorizations", &token);
    let opaque = || stage.stranger().post(CLEARKEY);
    let rows: [(Call, &str, &str); 7] = [
        (call().header("x-device-id", "tv-1").below("?device=tv-2"), "header", "tv-1"),
        (call().header("x-device-id", "  ").below("?device=tv%2D2").header("cookie", "box=tv-3"), "query", "tv-2"),
        (call().header("cookie", "a=b; box=\"tv-3\"; c=d"), "cookie", "tv-3"),
        (call().header("x-device-id", &"x".repeat(257)), "token-claim", "tv"),
        (call().header("cookie", "boxes=tv-3"), "token-claim", "tv"),
        (call().below("?device="), "token-claim", "tv"),
        (opaque().header("x-device-id", "").header("nv-authorizations", "opaque"), "peer", "127.0.0.1"),
    ];
    for (call, source, device) in rows {
        // The head-end may refuse the unreadable token; the test only needs the owner of the session.
        let reply = call.await;
        stage.eventually("closing", async || stage.each("device").await.contains(&device.to_owned())).await;
        let sessions = stage.sessions().await;
        let session = sessions.iter().find(|session| session["device"] == device).unwrap();
        assert_eq!(session["device_by"], source, "{device}: {}", reply.text());
    }
    stage.end().await;
}

#[tokio::test]
async fn a_device_parameter_in_the_url_is_not_passed_on() {
    let license = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let route = "authority = \"head-end\"\ndevice = [\"path-segment\", \"query:box\"]";
    let stage = Stage::script().upstream("/license", &license.url(), route).start().await;
    let token = stage.headend.token("account=ann&device=tv&content=news").await;
    let player = stage.stranger().with("nv-authorizations", &token);
    assert!(player.post(CLEARKEY).below("/living-room/v2/keys?a=1&box=x&b=%20").await.is_good());
    assert_eq!(license.only().target, "/acquire/v2/keys?a=1&b=%20");
    assert_eq!(
        (stage.each("device").await, stage.each("device_by").await),
        (vec!["living-room".into()], vec!["path-segment".into()])
    );

    // Without a segment the next source is asked, and nothing of the path is taken away.
    assert!(player.post(CLEARKEY).below("?box=kitchen").await.is_good());
    assert_eq!(license.seen()[1].target, "/acquire");
    assert!(stage.each("device").await.contains(&"kitchen".to_owned()));
    // A stop call finds the device behind the segment as well.
    assert_eq!(player.post("").below("/living-room/~stop").await.status, 204);
    stage.headend.next("teardown", 0).await;
    stage.end().await;
}

#[tokio::test]
async fn a_call_without_any_identity_source_passes_uncounted() {
    let license = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let route = "authority = \"head-end\"\ndevice = [\"header:x-device-id\"]";
    let stage = Stage::script().upstream("/license", &license.url(), route).start().await;
    let token = stage.headend.token("account=ann&device=tv&content=news").await;
    assert!(stage.stranger().post(CLEARKEY).header("nv-authorizations", &token).await.is_good());
    assert_eq!(license.only().header("nv-authorizations"), token);
    assert!(stage.headend.story().await.is_empty());
    stage.end().await;
}

#[tokio::test]
async fn a_header_does_not_give_a_caller_the_address_of_another() {
    let stage = Stage::script().route("/license", "clearkey", LAST_RESORT).start().await;
    let tv = stage.player("127.0.0.1", "news").await;
    assert!(tv.clone().without("x-device-id").post(CLEARKEY).await.is_good());
    assert_eq!(stage.each("device_by").await, ["peer"]);
    // Were it the same device, its film would end the news.
    let thief = stage.player("127.0.0.1", "film").await;
    assert!(thief.post(CLEARKEY).await.is_good());
    assert_eq!(stage.each("device_by").await, ["peer", "header"]);
    assert_eq!(stage.each("state").await, ["live", "live"]);
    assert_eq!(thief.stop().await.status, 204);
    stage.headend.next("teardown", 0).await;
    // Its own address identifies it.
    assert_eq!(tv.without("x-device-id").stop().await.status, 204);
    stage.headend.next("teardown", 1).await;
    stage.end().await;
}

#[tokio::test]
async fn weak_identities_are_counted() {
    let license = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let route = format!("authority = \"head-end\"\n{LAST_RESORT}");
    let home = "authority = \"home\"\nsessions-per-device = 10";
    let tables = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"header:x-account\", \"device\"]\n";
    let script = Stage::script().tables(tables).upstream("/license", &license.url(), &route);
    let stage = script.upstream("/home", &license.url(), home).start().await;
    let weak = async |fault: &str| stage.metric("weak_identities_total", &[&format!("fault=\"{fault}\"")]).await;
    for (device, shared) in [("tv", 0.0), ("tv", 0.0), ("phone", 1.0)] {
        let token = stage.headend.token(&format!("account=ann&device={device}&content=news")).await;
        assert!(stage.stranger().post(CLEARKEY).header("nv-authorizations", &token).await.is_good());
        assert_eq!(weak("shared_peer").await, shared, "{device}");
    }
    // A call that names its device shares nothing.
    let token = stage.headend.token("account=ann&device=pad&content=news").await;
    stage.player_with("pad", &token).post(CLEARKEY).await;
    assert_eq!(weak("shared_peer").await, 1.0);
    let tv = stage.stranger().at("/home").with("x-device-id", "tv");
    assert!(tv.post(CLEARKEY).header("x-account", "ann").await.is_good());
    assert_eq!(weak("account_by_device").await, 0.0);
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(weak("account_by_device").await, 1.0);
    stage.end().await;
}

/// The README's own settings: a token with the license call, and the same token with the beacon.
#[tokio::test]
async fn a_token_names_its_device_to_the_license_call_and_to_the_beacon() {
    let stage = Stage::clearkey().start().await;
    let (tv, phone) = (stage.player("tv", "news").await, stage.player("phone", "film").await);
    for player in [&tv, &phone] {
        assert!(player.clone().without("x-device-id").post(CLEARKEY).await.is_good());
    }
    assert_eq!(stage.each("device_by").await, ["token-claim", "token-claim"]);
    assert_eq!(stage.each("state").await, ["live", "live"], "neither is the other's zap");
    // `navigator.sendBeacon` sends only the headers of browsers.
    let beacon = stage.stranger().post("").below(&format!("/~stop?token={}", tv.token));
    assert_eq!(beacon.header("content-type", "text/plain;charset=UTF-8").await.status, 204);
    stage.headend.next("teardown", 0).await;
    stage.eventually("closed", async || stage.each("state").await.contains(&"closed".to_owned())).await;
    let live: Vec<_> =
        stage.sessions().await.iter().filter(|row| row["state"] == "live").map(|row| row["device"].clone()).collect();
    assert_eq!(live, ["phone"]);
    stage.end().await;
}

/// `<img src="…/license/~stop">` in any page: an image knows no POST.
#[tokio::test]
async fn a_picture_in_a_page_stops_nothing_and_a_program_may_stop_by_get() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let get = |sign: &str| {
        stage.stranger().post("").method(http::Method::GET).below(&format!("/{sign}?device=tv&token={}", tv.token))
    };
    for (name, value) in [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-dest", "image"),
        ("origin", "https://tv.example"),
        ("referer", "https://tv.example/"),
        ("accept", "image/avif,image/webp,*/*;q=0.8"),
    ] {
        for sign in ["~stop", "~report"] {
            assert_eq!(get(sign).header(name, value).await.error(), (405, "method".to_owned()), "{sign} {name}");
        }
    }
    assert_eq!(stage.each("state").await, ["live"]);
    assert_eq!(get("~stop").header("accept", "*/*").await.status, 204);
    stage.headend.next("teardown", 0).await;
    stage.end().await;
}

/// A machine in front of sidebeat carries the calls of many households.
#[tokio::test]
async fn viewers_behind_a_trusted_proxy_differ_by_the_address_that_it_names() {
    let license = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let route = "authority = \"head-end\"\ndevice = [\"peer\"]\nheaders = [\"x-viewer: {viewer-address}\"]";
    let script = Stage::script().server("trusted-proxies = [\"127.0.0.1\"]");
    let stage = script.upstream("/license", &license.url(), route).start().await;
    let token = stage.headend.token("account=ann&device=tv&content=news").await;
    for address in ["203.0.113.9", "2001:db8::9"] {
        let call = stage.stranger().post(CLEARKEY).header("nv-authorizations", &token).header("x-viewer", "6.6.6.6");
        assert!(call.header("x-forwarded-for", &format!("6.6.6.6, {address}")).await.is_good());
        assert_eq!(license.seen().last().unwrap().header("x-viewer"), address);
    }
    let mut devices = stage.each("device").await;
    devices.sort();
    assert_eq!(devices, ["2001:db8::/64", "203.0.113.9"]);
    // The stop call of one is not the other's.
    let stop = stage.stranger().stop().header("nv-authorizations", &token);
    assert_eq!(stop.header("x-forwarded-for", "203.0.113.9").await.status, 204);
    stage.headend.next("teardown", 0).await;
    stage
        .eventually("ended", async || stage.each("state").await.iter().filter(|state| *state == "live").count() == 1)
        .await;
    stage.end().await;
}

#[tokio::test]
async fn a_stop_with_a_device_token_ends_what_the_device_plays() {
    let license = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let route = "authority = \"head-end\"";
    let stage = Stage::script().upstream("/license", &license.url(), route).start().await;
    let session = r#"{"heartBeat":30,"sessionToken":"opaque-session"}"#;
    stage.headend.fault("setup", json!({"status": 200, "body": session}), 1).await;
    stage.headend.fault("teardown", json!({"status": 204}), 1).await;
    // {"typ":"DevAuthN","sessionControl":{}}
    let tv = stage.player_with("tv", "e30.eyJ0eXAiOiJEZXZBdXRoTiIsInNlc3Npb25Db250cm9sIjp7fX0.sig");
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.each("state").await, ["live"]);
    assert_eq!(tv.stop().await.status, 204);
    assert_ne!(stage.each("state").await, ["live"]);
    stage.end().await;
}

#[tokio::test]
async fn a_client_certificate_names_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let devices = Devices::new(folder.path());
    let names = ["localhost".to_owned()];
    let request = local_ca::CertsRequest {
        directory: &folder.path().join("certs"),
        names: &names,
        now: Clock.wall(),
        renew_authority: false,
    };
    let authority = local_ca::init(&request).unwrap().authority;
    let stage = Stage::script()
        .secure(folder.path().to_owned())
        .server("[server.tls]\nclient-ca = \"devices.pem\"")
        .route("/license", "clearkey", "device = [\"mtls\", \"peer\"]")
        .start()
        .await;

    for (name, source) in [(Some("box-1"), "mtls"), (Some("box-2"), "mtls"), (None, "peer")] {
        let account = name.unwrap_or("nobody");
        let mut player = stage.player_of(account, account, "news").await.without("x-device-id");
        player.tls = Some(Arc::new(devices.client(&authority, name)));
        let license = player.post(CLEARKEY).await;
        assert!(license.is_good(), "{name:?}: {}", license.text());
        let sessions = stage.sessions().await;
        assert_eq!(
            sessions.iter().filter(|session| session["device_by"] == source && session["account"] == account).count(),
            1
        );
    }
    // A certificate each, and so a device each.
    let mut devices: Vec<_> = stage.sessions().await.iter().map(|session| session["device"].clone()).collect();
    devices.sort_by_key(|device| device.to_string());
    devices.dedup();
    assert_eq!((devices.len(), devices.contains(&json!("127.0.0.1"))), (3, true));
    stage.end().await;
}

/// A CA that signs certificates of devices.
struct Devices {
    certificate: CertificateParams,
    key: KeyPair,
}

impl Devices {
    fn new(folder: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::default();
        certificate.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        certificate.distinguished_name.push(DnType::CommonName, "devices");
        std::fs::write(folder.join("devices.pem"), certificate.self_signed(&key).unwrap().pem()).unwrap();
        Self { certificate, key }
    }

    /// A client that trusts the proxy's CA, with a certificate of that name if there is one.
    fn client(&self, authority: &Path, name: Option<&str>) -> ClientConfig {
        let builder = web::trust(authority);
        let Some(name) = name else { return builder.with_no_client_auth() };
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![format!("{name}.devices.test")]).unwrap();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = leaf.signed_by(&key, &Issuer::from_params(&self.certificate, &self.key)).unwrap();
        let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        builder.with_client_auth_cert(vec![leaf.der().clone()], private).unwrap()
    }
}
