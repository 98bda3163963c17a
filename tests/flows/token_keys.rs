//! Tests content tokens that must be proven: a forged one has no effect, and keys can change.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Response};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData};
use serde_json::{Value, json};
use sidebeat::clock::Clock;
use tempfile::TempDir;

use crate::drm;
use crate::media::{self, Origin};
use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};
use crate::upstream::{LICENSE, Upstream, good, status};
use crate::web::Reply;

/// An issuer of signed tokens.
struct Issuer {
    algorithm: Algorithm,
    key: KeyPair,
    kid: Option<&'static str>,
}

impl Issuer {
    fn ec(kid: Option<&'static str>) -> Self {
        Self { algorithm: Algorithm::ES256, key: KeyPair::generate().unwrap(), kid }
    }

    fn rsa() -> Self {
        Self { algorithm: Algorithm::RS256, key: KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(), kid: None }
    }

    fn sign(&self, claims: &Value) -> String {
        let pem = self.key.serialize_pem();
        let key = match self.algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        let header = Header { kid: self.kid.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, claims, &key.unwrap()).unwrap()
    }

    /// A token of the account, for a device that plays something.
    fn token(&self, account: &str, device: &str) -> String {
        self.sign(&claims(account, device))
    }

    fn jwk(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let point = self.key.der_bytes();
        let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid})
    }
}

fn claims(account: &str, device: &str) -> Value {
    let exp = Clock.wall().as_secs() + 3600;
    json!({"device": {"accountId": account, "deviceId": device}, "exp": exp, "jti": device})
}

const HOME: &str = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"token-claim:device.accountId\"]\n\
    on-limit = \"end-oldest\"\n";
const ROUTE: &str = "authority = \"home\"\ndevice = [\"token-claim:device.deviceId\", \"header:x-device-id\"]";

/// A license server that accepts every token.
async fn license_server() -> Upstream {
    Upstream::answering(|_| good("application/json", LICENSE)).await
}

fn script(server: &Upstream, keys: &str) -> Script {
    script_with(server, keys, ROUTE)
}

fn script_with(server: &Upstream, keys: &str, route: &str) -> Script {
    let authority = format!("{HOME}[authority.token-keys]\n{keys}");
    Stage::script().authority(&authority).upstream("/license", &server.url(), route)
}

fn player(stage: &Stage, token: &str) -> Player {
    stage.stranger().with("nv-authorizations", token)
}

fn file(folder: &TempDir, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

fn pem_of(folder: &TempDir, issuer: &Issuer) -> String {
    format!("public-key-file = \"{}\"", file(folder, "key.pem", &issuer.key.public_key_pem()))
}

fn is_refused(reply: &Reply, error: &str) -> bool {
    reply.error() == (403, error.to_owned())
}

/// A server that publishes keys, which the test changes.
struct KeyServer {
    answer: Arc<Mutex<Response<Bytes>>>,
    asked: Arc<AtomicUsize>,
    upstream: Upstream,
}

impl KeyServer {
    async fn with(issuers: &[&Issuer]) -> Self {
        let (answer, asked) = (Arc::new(Mutex::new(key_set(issuers))), Arc::new(AtomicUsize::new(0)));
        let (told, counted) = (answer.clone(), asked.clone());
        let upstream = Upstream::answering(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let told = told.lock().unwrap();
            let mut reply = Response::new(told.body().clone());
            *reply.status_mut() = told.status();
            reply
        });
        Self { answer, asked, upstream: upstream.await }
    }

    fn publish(&self, issuers: &[&Issuer]) {
        self.answers(key_set(issuers));
    }

    fn answers(&self, answer: Response<Bytes>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn lines(&self) -> String {
        format!("jwks-url = \"{}\"", self.upstream.url())
    }
}

fn key_set(issuers: &[&Issuer]) -> Response<Bytes> {
    let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    good("application/json", json!({ "keys": keys }).to_string())
}

/// Every token here names the account and the device of the running playback; the license server would accept all.
#[tokio::test]
async fn a_token_that_no_key_signed_is_refused_and_ends_no_session() {
    let (folder, server, issuer) = (tempfile::tempdir().unwrap(), license_server().await, Issuer::rsa());
    let stage = script(&server, &pem_of(&folder, &issuer)).start().await;
    let token = issuer.token("ann", "tv");
    let tv = player(&stage, &token);
    assert!(tv.post(CLEARKEY).await.is_good());
    let session = stage.only_session("live").await["id"].clone();
    let served = server.seen().len();

    let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT") };
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let hmac = |secret: &[u8]| {
        let secret = EncodingKey::from_secret(secret).unwrap();
        encode(&Header::new(Algorithm::HS256), &claims("ann", "tv"), &secret).unwrap()
    };
    let public = issuer.key.public_key_pem();
    let mut early = claims("ann", "tv");
    early["nbf"] = (Clock.wall().as_secs() + 120).into();
    let mut timeless = claims("ann", "tv");
    timeless["exp"] = "never".into();
    let forged = [
        ("alg none", format!("{}.{payload}.", part(&json!({"alg": "none"})))),
        ("no signature", format!("{head}.{payload}.")),
        ("another's signature", format!("{head}.{}.{signature}", part(&claims("ann", "phone")))),
        ("another key", Issuer::rsa().token("ann", "tv")),
        ("another kind of key", Issuer::ec(None).token("ann", "tv")),
        ("the public key as a secret", hmac(public.as_bytes())),
        ("the public key as a secret, in DER", hmac(&issuer.key.subject_public_key_info())),
        ("no token at all", "opaque".to_owned()),
        ("no time", issuer.sign(&timeless)),
    ];
    for (what, token) in &forged {
        for device in ["tv", "phone"] {
            let thief = player(&stage, token).with("x-device-id", device);
            let reply = thief.post(CLEARKEY).await;
            assert!(is_refused(&reply, "token_unverified"), "{what}: {}", reply.text());
            assert!(reply.json()["message"].as_str().unwrap().contains("content token"), "{what}");
            assert!(is_refused(&thief.license("video").await, "token_unverified"), "{what}");
            // Neither a stop nor a report of its own ends what it names.
            for sign in ["/~stop", "/~report?CMCD=e%3Dps%2Csta%3Dq"] {
                assert_eq!(thief.post("").below(sign).await.status, 204, "{what}");
                assert_eq!(stage.only_session("live").await["id"], session, "{what}");
            }
            let heard = thief.post("").below("/~events").method(Method::GET).await;
            assert!(is_refused(&heard, "whose_events"), "{what}");
        }
    }
    assert!(is_refused(&player(&stage, &issuer.sign(&early)).post(CLEARKEY).await, "token_early"));
    let nameless = stage.stranger().with("x-device-id", "phone").post(CLEARKEY).await;
    assert!(is_refused(&nameless, "token_missing"), "no token is no way around a bad one");

    assert_eq!(server.seen().len(), served, "nothing was asked for them");
    assert_eq!(stage.metric("slots_ended_total", &[]).await, 0.0);
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.only_session("live").await["id"], session);
    // The next one of the account, by a good token, takes the place.
    assert!(player(&stage, &issuer.token("ann", "phone")).post(CLEARKEY).await.is_good());
    assert_eq!(tv.post(CLEARKEY).await.error().1, "session_killed");
    stage.end().await;
}

/// The other valid ECDSA signature, which anybody can compute: `n - s` in place of `s`.
fn with_the_other_signature(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = false;
    for (digit, of_order) in signature[32..].iter_mut().zip(ORDER).rev() {
        let (less, below) = of_order.overflowing_sub(*digit);
        let (less, below_again) = less.overflowing_sub(borrow.into());
        (*digit, borrow) = (less, below || below_again);
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_killed_token_is_refused_in_every_spelling_that_its_key_verifies() {
    let (folder, server, issuer) = (tempfile::tempdir().unwrap(), license_server().await, Issuer::ec(None));
    let stage = script(&server, &pem_of(&folder, &issuer)).start().await;
    let token = issuer.token("ann", "tv");
    // Its key verifies this one too.
    assert!(player(&stage, &with_the_other_signature(&issuer.token("bob", "phone"))).post(CLEARKEY).await.is_good());
    assert!(player(&stage, &token).post(CLEARKEY).await.is_good());
    for id in stage.each("id").await {
        stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
    }
    let other = with_the_other_signature(&token);
    assert_ne!(other, token);
    for spelling in [&token, &other, &format!("{token},"), &format!("a.b.c.d.e,{token}"), &format!("{token},{token}")] {
        let reply = player(&stage, spelling).post(CLEARKEY).await;
        assert!(!reply.is_good(), "{spelling} plays, and {token} was killed");
        assert!(is_refused(&reply, "session_killed"), "{spelling}: {}", reply.text());
    }
    assert!(player(&stage, &issuer.token("ann", "another")).post(CLEARKEY).await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn an_expired_token_opens_nothing_and_its_running_playback_continues_and_can_stop() {
    let (folder, server, issuer) = (tempfile::tempdir().unwrap(), license_server().await, Issuer::ec(None));
    let keys = pem_of(&folder, &issuer) + "\nleeway = \"0s\"";
    let stage = script(&server, &keys).start().await;
    let mut short = claims("ann", "tv");
    short["exp"] = (Clock.wall().as_secs() + 2).into();
    let tv = player(&stage, &issuer.sign(&short));
    assert!(tv.post(CLEARKEY).await.is_good());
    // No device plays with this one; it expires at the same time.
    short["device"]["deviceId"] = "phone".into();
    short["device"]["accountId"] = "bob".into();
    let phone = issuer.sign(&short);
    stage
        .eventually("expired", async || {
            let reply = player(&stage, &phone).post(CLEARKEY).await;
            player(&stage, &phone).stop().await;
            !reply.is_good() && is_refused(&reply, "token_expired")
        })
        .await;
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(tv.stop().await.status, 204);
    stage.eventually("over", async || !stage.each("state").await.contains(&"live".to_owned())).await;
    assert!(is_refused(&tv.post(CLEARKEY).await, "token_expired"));
    stage.end().await;
}

#[tokio::test]
async fn replaced_keys_verify_the_next_tokens_and_playbacks_with_an_old_one_continue() {
    let (old, new) = (Issuer::ec(Some("1")), Issuer::ec(Some("2")));
    let (keys, server) = (KeyServer::with(&[&old]).await, license_server().await);
    let stage = script(&server, &keys.lines()).start().await;
    let tv = player(&stage, &old.token("ann", "tv"));
    assert!(tv.post(CLEARKEY).await.is_good());
    keys.publish(&[&new]);
    assert!(player(&stage, &new.token("bob", "phone")).post(CLEARKEY).await.is_good(), "the new key is looked for");
    assert_eq!(keys.asked(), 2);
    assert!(tv.post(CLEARKEY).await.is_good(), "its token was proven when its session began");
    let other = player(&stage, &old.token("cid", "pad")).post(CLEARKEY).await;
    assert!(is_refused(&other, "token_unverified"), "{}", other.text());
    assert_eq!(tv.stop().await.status, 204);
    stage.eventually("over", async || stage.each("state").await.iter().filter(|it| *it == "live").count() == 1).await;
    let again = tv.post(CLEARKEY).await;
    assert!(is_refused(&again, "token_unverified"), "what is over begins anew by a good token: {}", again.text());
    stage.end().await;
}

/// Its key may be gone by then, and no beacon can send the header by which the license call names its device.
#[tokio::test]
async fn a_beacon_with_the_token_that_began_a_session_is_believed_with_any_device_source() {
    let (old, new) = (Issuer::ec(Some("1")), Issuer::ec(Some("2")));
    let (keys, server) = (KeyServer::with(&[&old]).await, license_server().await);
    let by_header = "authority = \"home\"\ndevice = [\"header:x-device-id\", \"peer\"]";
    let stage = script_with(&server, &keys.lines(), by_header).start().await;
    let token = old.token("ann", "tv");
    let tv = player(&stage, &token).with("x-device-id", "living-room");
    assert!(tv.post(CLEARKEY).await.is_good());
    keys.publish(&[&new]);
    assert!(player(&stage, &new.token("bob", "phone")).post(CLEARKEY).await.is_good(), "the new key is looked for");
    let beacon = async |token: &str| {
        let beacon = stage.stranger().at(&tv.path).post("").below(&format!("/~stop?token={token}"));
        assert_eq!(beacon.await.status, 204);
    };
    beacon(&old.token("ann", "pad")).await;
    assert_eq!(stage.each("state").await, ["live", "live"], "a token that no key proves any more, and no session");
    beacon(&token).await;
    stage.eventually("over", async || stage.each("state").await.iter().filter(|it| *it == "live").count() == 1).await;
    stage.end().await;
}

#[tokio::test]
async fn unknown_keys_are_fetched_only_from_time_to_time() {
    let (ours, theirs) = (Issuer::ec(Some("1")), Issuer::ec(Some("2")));
    let (keys, server) = (KeyServer::with(&[&ours]).await, license_server().await);
    let stage = script(&server, &keys.lines()).start().await;
    assert!(player(&stage, &ours.token("ann", "tv")).post(CLEARKEY).await.is_good());
    for device in 0..30 {
        let reply = player(&stage, &theirs.token("ann", &device.to_string())).post(CLEARKEY).await;
        assert!(is_refused(&reply, "token_unverified"), "{}", reply.text());
    }
    // One fetch at the start, and one for the first token. A slow machine may take longer than the pause.
    assert!(keys.asked() <= 4, "{} times", keys.asked());
    // The name of a known key starts no fetch.
    let asked = keys.asked();
    let same = Issuer::ec(Some("1")).token("ann", "x");
    assert!(is_refused(&player(&stage, &same).post(CLEARKEY).await, "token_unverified"));
    assert_eq!(keys.asked(), asked);
    stage.end().await;
}

#[tokio::test]
async fn keys_stay_when_newer_ones_cannot_be_fetched() {
    let (ours, theirs) = (Issuer::ec(Some("1")), Issuer::ec(Some("2")));
    let private = {
        let mut jwk = theirs.jwk();
        jwk["d"] = "AAAA".into();
        good("application/json", json!({"keys": [jwk]}).to_string())
    };
    let many: Vec<_> = (0..33).map(|_| theirs.jwk()).collect();
    for answer in [
        status(500),
        status(302),
        good("text/html", "<html>"),
        good("application/json", "{\"keys\":[]}"),
        good("application/json", json!({"keys": many}).to_string()),
        good("application/json", format!("{{\"keys\":[{}],\"x\":\"{}\"}}", theirs.jwk(), "x".repeat(70_000))),
        private,
    ] {
        let (keys, server) = (KeyServer::with(&[&ours]).await, license_server().await);
        let stage = script(&server, &keys.lines()).start().await;
        let tv = player(&stage, &ours.token("ann", "tv"));
        assert!(tv.post(CLEARKEY).await.is_good());
        let shown = format!("{answer:?}");
        keys.answers(answer);
        // Without its key, the token cannot be called forged.
        let reply = player(&stage, &theirs.token("bob", "phone")).post(CLEARKEY).await;
        assert_eq!(reply.error(), (503, "token_keys_missing".to_owned()), "{shown}");
        assert_eq!(stage.metric("token_key_fetches_total", &["result=\"failed\""]).await, 1.0, "{shown}");
        assert!(player(&stage, &ours.token("cid", "pad")).post(CLEARKEY).await.is_good(), "{shown}");
        assert_eq!(stage.metric("token_keys", &[]).await, 1.0, "{shown}");
        stage.end().await;
    }
}

#[tokio::test]
async fn calls_are_refused_for_now_until_there_are_keys() {
    let issuer = Issuer::ec(Some("1"));
    let (keys, server) = (KeyServer::with(&[]).await, license_server().await);
    keys.answers(status(503));
    let stage = script(&server, &keys.lines()).start().await;
    let tv = player(&stage, &issuer.token("ann", "tv"));
    let reply = tv.post(CLEARKEY).await;
    assert_eq!(reply.error(), (503, "token_keys_missing".to_owned()));
    assert_eq!(reply.header("retry-after"), "1");
    // An unsigned token is forged, whatever keys may come.
    let unsigned = format!("{}.e30.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
    assert!(is_refused(&player(&stage, &unsigned).post(CLEARKEY).await, "token_unverified"));
    assert!(server.seen().is_empty() && stage.sessions().await.is_empty());
    keys.publish(&[&issuer]);
    stage.eventually("served", async || tv.post(CLEARKEY).await.is_good()).await;
    stage.end().await;
}

#[tokio::test]
async fn key_files_are_read_again_at_a_reload_and_one_that_is_none_changes_nothing() {
    let (folder, server) = (tempfile::tempdir().unwrap(), license_server().await);
    let (old, new) = (Issuer::rsa(), Issuer::ec(None));
    let lines = pem_of(&folder, &old);
    let stage = script(&server, &lines).start().await;
    let allowed = async |issuer: &Issuer, device: &str| {
        let reply = player(&stage, &issuer.token(device, device)).post(CLEARKEY).await;
        assert!(reply.is_good() || is_refused(&reply, "token_unverified"), "{}", reply.text());
        reply.is_good()
    };
    // A token of another second is another token.
    let tv = player(&stage, &old.token("tv", "tv"));
    assert!(tv.post(CLEARKEY).await.is_good() && !allowed(&new, "phone").await);
    let both = old.key.public_key_pem() + &new.key.public_key_pem();
    for (content, old_holds, new_holds) in [(both, true, true), (new.key.public_key_pem(), false, true)] {
        file(&folder, "key.pem", &content);
        stage.reload(&script(&server, &lines));
        assert_eq!((allowed(&old, "pad").await, allowed(&new, "box").await), (old_holds, new_holds));
        for device in ["pad", "box"] {
            for issuer in [&old, &new] {
                player(&stage, &issuer.token(device, device)).stop().await;
            }
        }
    }
    assert!(tv.post(CLEARKEY).await.is_good(), "what runs goes on");
    file(&folder, "key.pem", &new.key.serialize_pem());
    let text =
        format!("{HOME}[authority.token-keys]\n{lines}\n[[route]]\npath = \"/l\"\nlicense-server = \"https://h\"");
    assert!(!stage.reload_text(&text));
    assert!(allowed(&new, "car").await && !allowed(&old, "car2").await, "the last good ones hold");
    stage.end().await;
}

#[tokio::test]
async fn a_changed_key_url_keeps_none_of_the_earlier_keys() {
    let (one, two) = (Issuer::ec(Some("1")), Issuer::ec(Some("1")));
    let (here, there, server) =
        (KeyServer::with(&[&one]).await, KeyServer::with(&[&two]).await, license_server().await);
    let stage = script(&server, &here.lines()).start().await;
    assert!(player(&stage, &one.token("ann", "tv")).post(CLEARKEY).await.is_good());
    stage.reload(&script(&server, &format!("{}\nleeway = \"1s\"", here.lines())));
    assert!(player(&stage, &one.token("bob", "pad")).post(CLEARKEY).await.is_good());
    assert_eq!(here.asked(), 1, "the same URL has the same keys");
    stage.reload(&script(&server, &there.lines()));
    assert!(player(&stage, &two.token("cid", "phone")).post(CLEARKEY).await.is_good());
    assert!(is_refused(&player(&stage, &one.token("dan", "car")).post(CLEARKEY).await, "token_unverified"));
    stage.end().await;
}

#[tokio::test]
async fn a_key_server_that_cannot_be_trusted_gives_no_keys() {
    let (issuer, server) = (Issuer::ec(Some("1")), license_server().await);
    let folder = tempfile::tempdir().unwrap();
    let (address, ca) = serve_keys_over_tls(folder.path(), key_set(&[&issuer]).into_body()).await;
    let lines = format!("jwks-url = \"https://localhost:{}/\"", address.port());
    for (lines, outcome) in [(lines.clone(), 503), (format!("{lines}\nca = \"{}\"", ca.display()), 200)] {
        let stage = script(&server, &lines).start().await;
        let reply = player(&stage, &issuer.token("ann", "tv")).post(CLEARKEY).await;
        assert_eq!(reply.status, outcome, "{}", reply.text());
        stage.end().await;
    }
}

/// Answers every request with this body, until the runtime ends. Gives its CA's file too.
async fn serve_keys_over_tls(folder: &Path, body: Bytes) -> (std::net::SocketAddr, std::path::PathBuf) {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use sidebeat::edge::local_ca;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let request =
        local_ca::CertsRequest { directory: folder, names: &names, now: Clock.wall(), renew_authority: false };
    let written = local_ca::init(&request).unwrap();
    let chain = CertificateDer::pem_file_iter(&written.certificate).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&written.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, _deaths) = sidebeat::task::Tasks::new();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the server hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut asked = vec![0; 4096];
            let _head = stream.read(&mut asked).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _gone = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            let _gone = stream.shutdown().await;
        }
    });
    (address, written.authority)
}

#[tokio::test]
async fn no_session_control_setting_passes_a_call_without_a_verified_token() {
    let (folder, server, issuer) = (tempfile::tempdir().unwrap(), license_server().await, Issuer::ec(None));
    let keys = pem_of(&folder, &issuer);
    let authority = format!("{HOME}[authority.token-keys]\n{keys}");
    let route = format!("{ROUTE}\nsession-control = \"auto\"");
    let stage = Stage::script().authority(&authority).upstream("/license", &server.url(), &route).start().await;
    let reply = stage.stranger().with("x-device-id", "tv").post(CLEARKEY).await;
    assert!(is_refused(&reply, "token_missing"), "{}", reply.text());
    assert!(server.seen().is_empty());
    stage.end().await;
}

/// A license to keep has no session, and a device that is not named has none either; both need a token.
#[tokio::test]
async fn no_kind_of_license_comes_without_a_verified_token() {
    let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::ec(None));
    let license = std::fs::read("tests/vectors/drm/wv_license.bin").unwrap();
    let authority = format!("{HOME}[authority.token-keys]\n{}", pem_of(&folder, &issuer));
    let widevine = |kind| {
        let content = drm::widevine_content(&drm::widevine_pssh(b"c", &[drm::KID]), kind, drm::RID);
        Bytes::from(drm::widevine_new_of(&content))
    };
    let kept = CLEARKEY.replace("temporary", "persistent-license");
    let rows = [widevine(1), widevine(2), CLEARKEY.into(), kept.into(), "what nobody knows".into()];
    for control in ["always", "auto", "never"] {
        let license = license.clone();
        let server = Upstream::answering(move |_| good("application/octet-stream", license.clone())).await;
        let route = format!("{ROUTE}\nsession-control = \"{control}\"\nunrecognised = \"pass\"");
        let stage = Stage::script().authority(&authority).upstream("/license", &server.url(), &route).start().await;
        for body in &rows {
            for device in [Some("tv"), None] {
                let player = stage.stranger();
                let player = device.into_iter().fold(player, |player, device| player.with("x-device-id", device));
                let reply = player.post(body.clone()).await;
                assert!(is_refused(&reply, "token_missing"), "{control} {device:?} {body:?}: {}", reply.text());
                let forged = player.with("nv-authorizations", &Issuer::ec(None).token("ann", "tv"));
                assert!(is_refused(&forged.post(body.clone()).await, "token_unverified"), "{control} {body:?}");
            }
        }
        assert!(server.seen().is_empty(), "{control}");
        // A license in reply to what asks for none is kept back.
        for (body, method) in [(&[8, 4][..], Method::POST), (&[], Method::GET)] {
            let reply = stage.stranger().with("x-device-id", "tv").post(body).method(method).await;
            assert!(is_refused(&reply, "license_without_session"), "{control}: {}", reply.text());
        }
        assert!(player(&stage, &issuer.token("ann", "tv")).post(rows[1].clone()).await.is_good(), "{control}");
        stage.end().await;
    }
}

/// The registering service vouched for it, and its URL cannot be guessed.
#[tokio::test]
async fn a_registered_playback_needs_no_verified_token() {
    let (folder, server, issuer) = (tempfile::tempdir().unwrap(), license_server().await, Issuer::ec(None));
    let reply = json!({"contentId": "film", "contentUrl": server.url(), "licenseUrl": server.url()}).to_string();
    let service = Upstream::answering(move |_| good("application/json", reply.clone())).await;
    let authorize = format!(
        "[[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"home\"\nauthorize-url = \"{}\"\n\
         license-route = \"/license\"\n",
        service.url()
    );
    let route = format!("{ROUTE}\nsession-control = \"auto\"\nunrecognised = \"pass\"");
    let home = HOME.replace("accountId\"]", "accountId\", \"device\"]");
    let authority = format!("{home}[authority.token-keys]\n{}", pem_of(&folder, &issuer));
    let script = Stage::script().authority(&authority).upstream("/license", &server.url(), &route);
    let stage = script.tables(&authorize).start().await;
    let app = stage.stranger().at("/authorize").with("x-device-id", "tv");
    let authorization = app.post("{}").await.json();
    let url = authorization["licenseUrl"].as_str().unwrap();
    let tv = stage.stranger().at(&url[url.find("/license/~").unwrap()..]);
    let kept = CLEARKEY.replace("temporary", "persistent-license");
    for body in [CLEARKEY, &kept, "what nobody knows"] {
        let reply = tv.post(body.to_owned()).await;
        assert!(reply.is_good(), "{body}: {}", reply.text());
        let stranger = stage.stranger().with("x-device-id", "tv");
        assert!(is_refused(&stranger.post(body.to_owned()).await, "token_missing"), "{body}");
    }
    assert_eq!(server.seen().len(), 3);
    stage.end().await;
}

/// A stranger may know a device's name, which gives no access to its session.
#[tokio::test]
async fn no_caller_has_a_license_by_the_device_of_another() {
    let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::ec(None));
    let license = std::fs::read("tests/vectors/drm/wv_license.bin").unwrap();
    let server = Upstream::answering(move |_| good("application/octet-stream", license.clone())).await;
    let by_header = "authority = \"home\"\ndevice = [\"header:x-device-id\"]";
    let stage = script_with(&server, &pem_of(&folder, &issuer), by_header).start().await;
    let tv = player(&stage, &issuer.token("ann", "tv")).with("x-device-id", "tv");
    assert!(tv.license("video").await.is_good());
    let stranger = tv.clone().without("nv-authorizations");
    for call in [stranger.license("other"), stranger.renew("other"), stranger.post(CLEARKEY)] {
        let reply = call.await;
        assert!(is_refused(&reply, "token_missing"), "{}", reply.text());
    }
    assert_eq!(server.seen().len(), 1);
    // The player that leaves out the token later is proven by its key session.
    assert!(stranger.renew("video").await.is_good());
    assert_eq!(tv.stop().await.status, 204);
    stage.end().await;
}

#[tokio::test]
async fn a_first_manifest_needs_a_token_that_a_key_signed() {
    let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::ec(None));
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n7.m4s\n#EXT-X-ENDLIST\n".to_owned();
    let origin = Origin::with(vec![("/vod/film.m3u8", media::HLS, text)]).await;
    let stage = Stage::script()
        .tables(&format!(
            "{HOME}[authority.token-keys]\n{}\n[[route]]\nkind = \"media\"\npath = \"/media\"\n\
             origin = \"{}/vod\"\n{ROUTE}\n",
            pem_of(&folder, &issuer),
            origin.url()
        ))
        .start()
        .await;
    let ask = async |token: Option<&str>, method: Method| {
        let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
        let mut tv = stage.stranger().with("x-device-id", "tv");
        tv.path = format!("/media/film.m3u8{query}");
        tv.post("").method(method).await
    };
    let forged = Issuer::ec(None).token("ann", "tv");
    for method in [Method::GET, Method::HEAD] {
        for (token, error) in [(None, "token_missing"), (Some(&*forged), "token_unverified")] {
            let reply = ask(token, method.clone()).await;
            assert_eq!((reply.status.as_u16(), reply.header("x-ssm-error")), (403, error), "{method}");
        }
    }
    assert!(stage.sessions().await.is_empty());
    let sent = ask(Some(&issuer.token("ann", "tv")), Method::GET).await;
    assert_eq!(sent.status, 302, "{}", sent.text());
    assert!(!sent.header("location").contains("token"), "the origin does not see it");
    let manifest = media::fetch(&stage, "tv", sent.header("location")).await;
    assert!(manifest.is_good(), "{}", manifest.text());
    let session = stage.only_session("live").await;
    assert_eq!((&session["account"], &session["device"]), (&json!("ann"), &json!("tv")));
    stage.end().await;
}
