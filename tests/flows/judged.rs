//! Tests that the judged message is the sent one: nothing around a message lets the license server read another message
//! than the proxy did.

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::drm;
use crate::player::{CLEARKEY, Player, widevine_new};
use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good};

/// The house has one place, which is taken.
async fn full_house(server: &Upstream, limits: &str) -> Stage {
    let stage = house(server).limits(limits).start().await;
    let first = member(&stage, "tv-a").post(widevine_new("first")).await;
    assert!(first.is_good(), "{}", first.text());
    stage
}

fn house(server: &Upstream) -> Script {
    let authority = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"cookie:house\"]";
    let route = "authority = \"home\"\nsession-control = \"always\"\n";
    Stage::script().authority(authority).upstream("/license", &format!("{}?of=us", server.url()), route)
}

/// A device of the house.
fn member(stage: &Stage, device: &str) -> Player {
    stage.stranger().with("x-device-id", device).with("cookie", "house=1")
}

async fn license_server() -> Upstream {
    Upstream::answering(|_| good("application/octet-stream", &b"\x08\x02license"[..])).await
}

#[tokio::test]
async fn a_body_that_the_server_would_read_in_another_way_is_refused() {
    let server = license_server().await;
    let stage = full_house(&server, "").await;
    let tv = member(&stage, "tv-b");
    for (encoding, error) in [
        ("gzip", "content_encoding"),
        ("GZIP", "content_encoding"),
        ("identity, gzip", "content_encoding"),
        ("br", "content_encoding"),
        ("x-unknown", "content_encoding"),
        // Sent as it is, and judged as it is.
        ("identity", "limit_reached"),
        ("", "limit_reached"),
        ("Identity,", "limit_reached"),
    ] {
        let refused = tv.post(widevine_new("video")).header("content-encoding", encoding).await;
        let status = if error == "limit_reached" { 403 } else { 415 };
        assert_eq!(refused.error(), (status, error.to_owned()), "{encoding}");
    }
    let refused = tv.post(widevine_new("video")).header("content-encoding", "gzip").await;
    assert_eq!(refused.header("accept-encoding"), "identity");
    let utf_7 = tv.post("<a/>").header("content-type", "text/xml; charset=utf-7").await;
    assert_eq!(utf_7.error(), (415, "charset".to_owned()));
    assert_eq!(server.seen().len(), 1, "the license server saw none of it");
    stage.end().await;
}

#[tokio::test]
async fn a_challenge_of_any_size_is_judged_as_a_small_one() {
    let server = license_server().await;
    let stage = full_house(&server, "body-max = \"1MiB\"").await;
    let tv = member(&stage, "tv-b");
    for length in [0, 60_000, 70_000, 900_000] {
        // A field that no server knows is one that every server skips.
        let body = [widevine_new("video"), drm::l(99, vec![0; length])].concat();
        assert_eq!(tv.post(body).await.error(), (403, "limit_reached".to_owned()), "{length}");
    }
    assert_eq!(server.seen().len(), 1);
    stage.end().await;
}

#[tokio::test]
async fn the_server_gets_exactly_what_was_judged() {
    let server = license_server().await;
    let route = "authority = \"head-end\"\n[route.body]\nplayer = \"json:challenge\"\nserver = \"raw\"";
    let stage = Stage::script().upstream("/license", &server.url(), route).start().await;
    let tv = stage.player("tv", "news").await;
    // Parsers differ on which of two equal fields counts, so the judged one is sent.
    let offline = drm::widevine_new_of(&drm::widevine_content(&drm::widevine_pssh(b"c", &[drm::KID]), 2, drm::RID));
    let body =
        format!("{{\"challenge\":\"{}\",\"challenge\":\"{}\"}}", drm::b64(widevine_new("video")), drm::b64(&offline));
    assert!(tv.post(body).await.is_good());
    assert_eq!(server.only().body, Bytes::from(widevine_new("video")));
    assert_eq!(stage.each("state").await, ["live"]);
    let refused = tv.post(json!({"other": 1}).to_string()).await;
    assert_eq!(refused.error(), (403, "license_server_request_wrapping".to_owned()));
    assert_eq!((server.seen().len(), stage.headend.count("setup").await), (1, 1));
    stage.end().await;
}

#[tokio::test]
async fn no_spelling_of_a_dot_segment_leaves_a_route_of_any_kind() {
    let server = license_server().await;
    let tables = format!(
        "[[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"head-end\"\nauthorize-url = \"{0}\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{0}\"\n",
        server.url()
    );
    let stage = Stage::script().upstream("/license", &server.url(), "").tables(&tables).start().await;
    for route in ["/license", "/authorize", "/media", "/license/living-room"] {
        for rest in [
            "/../../internal/admin",
            "/%2e%2e/internal/admin",
            "/.%2E/x",
            "/%252e%252e/x",
            "/..%2fx",
            "/..\\x",
            "/..%5cx",
            "/..;/x",
            "/./x",
            "/..",
            "/%e0%80%ae%e0%80%ae/x",
            "/%25c0%25ae%25c0%25ae/x",
            "/%%32%65%%32%65/x",
            "/..%25%32%66x",
            "/%ef%bc%8e%ef%bc%8e/x",
            "/%uff0e%uff0e/x",
            "/../~stop",
            "/%2e%2e/~report",
            "/../~events",
        ] {
            for method in [Method::GET, Method::POST] {
                let body = if method == Method::GET { "" } else { CLEARKEY };
                let call = stage.stranger().at(route).post(body).method(method.clone()).below(rest);
                assert_eq!(call.await.error(), (400, "dot_segment".to_owned()), "{method} {route}{rest}");
            }
        }
    }
    assert!(server.seen().is_empty());
    stage.end().await;
}

/// Gives a license whatever it is asked.
async fn generous() -> Upstream {
    let license = std::fs::read("tests/vectors/drm/wv_license.bin").unwrap();
    Upstream::answering(move |_| good("application/octet-stream", license.clone())).await
}

#[tokio::test]
async fn a_route_that_demands_sessions_gives_no_license_without_one() {
    let server = generous().await;
    let route = "authority = \"head-end\"\nsession-control = \"always\"";
    let stage = Stage::script().upstream("/license", &server.url(), route).start().await;
    let tv = stage.player("tv", "news").await;
    let nameless = tv.clone().without("nv-authorizations");
    let rows = [
        (tv.post("what nobody knows"), "message_unrecognised"),
        (tv.post(vec![0xfe; 3_000]), "message_unrecognised"),
        (nameless.post(widevine_new("video")), "token_missing"),
        (tv.post(&[8, 4][..]), "license_without_session"),
        (tv.post("").method(Method::GET), "license_without_session"),
        (tv.post(""), "license_without_session"),
        (tv.post(drm::clearkey_request(&[drm::KID], None)), "license_without_session"),
    ];
    for (call, error) in rows {
        assert_eq!(call.await.error(), (403, error.to_owned()));
    }
    assert_eq!(stage.headend.count("setup").await, 0);
    assert!(tv.license("video").await.is_good());
    stage.end().await;
}

/// The license may be in any wrapping, and the call may seem to ask for anything.
#[tokio::test]
async fn no_license_comes_without_a_session_in_any_encoding_or_wrapping() {
    let license = std::fs::read("tests/vectors/drm/wv_license.bin").unwrap();
    let gzip = |plain: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        encoder.finish().unwrap()
    };
    let keys = drm::clearkey_license(drm::KID, &[7; 16]);
    let rows = [
        ("gzip", gzip(&license)),
        ("gzip, gzip", gzip(&gzip(&license))),
        ("gzip", gzip(json!({"license": drm::b64(&license)}).to_string().as_bytes())),
        // The encoding may hold anything.
        ("unheard-of", license.clone()),
        ("gzip", license.clone()),
        ("", [b"GLS/1.0 0 OK\r\nX: 1\r\n\r\n", &license[..]].concat()),
        ("", format!("{{\"x\":{{\"y\":1}},\"z\":{keys}}}").into_bytes()),
        ("", format!("[{keys}]").into_bytes()),
    ];
    let acknowledge = drm::playready_acknowledge("T");
    for (encoding, body) in rows {
        let shown = format!("{encoding} {:?}", Bytes::copy_from_slice(&body[..body.len().min(40)]));
        let server = Upstream::answering(move |_| {
            let reply = http::Response::builder().header("content-encoding", encoding);
            reply.body(body.clone().into()).unwrap()
        })
        .await;
        let stage = house(&server).start().await;
        let tv = member(&stage, "tv");
        let calls = [tv.post("").method(Method::GET), tv.post(&[8, 4][..]), tv.post(acknowledge.clone()), tv.post("")];
        for call in calls {
            let reply = call.await;
            assert!(!reply.is_good() && reply.text().contains("license_without_session"), "{shown}: {}", reply.text());
        }
        assert!(server.seen().iter().all(|asked| asked.header("accept-encoding") == "identity"));
        let served = tv.post(widevine_new("video")).await;
        assert!(served.is_good(), "{shown}: with a session it comes as it is");
        stage.end().await;
    }
}

#[tokio::test]
async fn certificates_come_in_an_encoding_that_is_read() {
    let certificate = std::fs::read("tests/vectors/drm/wv_service_cert.bin").unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &certificate).unwrap();
    let encoded = encoder.finish().unwrap();
    let server = Upstream::answering(move |_| {
        http::Response::builder().header("content-encoding", "gzip").body(encoded.clone().into()).unwrap()
    })
    .await;
    let stage = house(&server).start().await;
    for call in [member(&stage, "tv").post(&[8, 4][..]), member(&stage, "tv").post("").method(Method::GET)] {
        let reply = call.await;
        assert!(reply.is_good() && reply.header("content-encoding") == "gzip", "{}", reply.text());
    }
    stage.end().await;
}

/// Beyond that it may hold anything.
#[tokio::test]
async fn a_reply_is_decoded_up_to_the_size_of_the_largest_license() {
    const PLAIN_BYTES_MAX: usize = 256 * 1024;
    for (length, passes) in [(PLAIN_BYTES_MAX, true), (PLAIN_BYTES_MAX + 1, false)] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &vec![b'x'; length]).unwrap();
        let encoded = encoder.finish().unwrap();
        let server = Upstream::answering(move |_| {
            http::Response::builder().header("content-encoding", "gzip").body(encoded.clone().into()).unwrap()
        })
        .await;
        let stage = house(&server).start().await;
        let reply = member(&stage, "tv").post("").method(Method::GET).await;
        assert_eq!(reply.is_good(), passes, "{length}");
        stage.end().await;
    }
}

/// The player gets it as it came, so it is looked at as it came.
#[tokio::test]
async fn a_license_that_is_not_wrapped_as_the_route_says_is_one_all_the_same() {
    let license = std::fs::read("tests/vectors/drm/wv_license.bin").unwrap();
    let server = Upstream::answering(move |_| good("application/octet-stream", license.clone())).await;
    let wrapped = "authority = \"head-end\"\nsession-control = \"always\"\n\
        [route.body]\nserver-reply = \"json:license\"\nplayer-reply = \"json:license\"";
    let stage = Stage::script().upstream("/license", &server.url(), wrapped).start().await;
    let reply = stage.player("tv", "news").await.post(&[8, 4][..]).await;
    assert_eq!(reply.error(), (403, "license_without_session".to_owned()));
    stage.end().await;
}

/// A server may take any message of a container.
#[tokio::test]
async fn no_message_in_a_body_hides_a_license_request_beside_it() {
    let server = license_server().await;
    let stage = full_house(&server, "").await;
    let tv = member(&stage, "tv-b");
    let challenge = crate::player::playready(None, "n");
    let two = challenge.replacen("<AcquireLicense", "<AcknowledgeLicense/><AcquireLicense", 1);
    assert_ne!(two, challenge);
    let (release, asks) =
        (drm::clearkey_request(&[drm::KID], None), drm::clearkey_request(&[drm::KID], Some("temporary")));
    let rows = [
        two,
        format!("[{release},{asks}]"),
        format!("{{\"a\":{release},\"b\":{{\"c\":{{}}}},\"d\":{asks}}}"),
        release.replacen('{', &format!("{{\"x\":{asks},"), 1),
        CLEARKEY.replace("}", ",\"type\":\"persistent-license\"}"),
    ];
    for body in rows {
        let reply = tv.post(body.clone()).await;
        assert!(!reply.is_good() && reply.text().contains("limit_reached"), "{body}: {}", reply.text());
    }
    assert_eq!(server.seen().len(), 1);
    stage.end().await;
}

#[tokio::test]
async fn a_route_that_demands_sessions_passes_certificates() {
    let certificate = std::fs::read("tests/vectors/drm/wv_service_cert.bin").unwrap();
    let server = Upstream::answering(move |_| good("application/octet-stream", certificate.clone())).await;
    let route = "authority = \"head-end\"\nsession-control = \"always\"";
    let stage = Stage::script().upstream("/license", &server.url(), route).start().await;
    let tv = stage.player("tv", "news").await;
    for call in [tv.post(&[8, 4][..]), tv.post("CAQ="), tv.post("8,4"), tv.post("").method(Method::GET).below("/cert")]
    {
        assert!(call.await.is_good());
    }
    assert_eq!((server.seen().len(), stage.headend.count("setup").await), (4, 0));
    stage.end().await;
}

#[tokio::test]
async fn a_route_says_what_becomes_of_unrecognised_calls() {
    let home = "[[authority]]\nname = \"home\"\nkind = \"embedded\"";
    for (authority, lines, passes) in [
        ("head-end", "", true),
        ("head-end", "session-control = \"auto\"", true),
        ("head-end", "session-control = \"always\"", false),
        ("head-end", "session-control = \"always\"\nunrecognised = \"pass\"", true),
        ("head-end", "unrecognised = \"refuse\"", false),
        // An embedded authority demands sessions unless the route says otherwise.
        ("home", "", false),
        ("home", "session-control = \"always\"", false),
        ("home", "session-control = \"auto\"", true),
        ("home", "session-control = \"never\"", true),
        ("home", "unrecognised = \"pass\"", true),
    ] {
        let server = license_server().await;
        let route = format!("authority = \"{authority}\"\n{lines}");
        let stage = Stage::script().authority(home).upstream("/license", &server.url(), &route).start().await;
        let reply = stage.player("tv", "news").await.post("what nobody knows").await;
        assert_eq!(reply.is_good(), passes, "{authority} {lines}");
        let reason = "the body is no license message that is known";
        assert!(passes || reply.json()["message"] == reason, "{}", reply.text());
        assert_eq!(server.seen().len(), usize::from(passes), "{authority} {lines}");
        stage.end().await;
    }
}

/// The body, or the URL of a call without one, is wrapped beyond the search's depth.
#[tokio::test]
async fn a_body_wrapped_beyond_reading_never_passes_an_authority() {
    let tangled = (0..12).fold(CLEARKEY.to_owned(), |message, _| drm::b64u(message));
    let query = format!("?challenge={tangled}");
    for (lines, passes) in [
        ("authority = \"head-end\"", false),
        ("authority = \"head-end\"\nunrecognised = \"pass\"\nsession-control = \"never\"", false),
        ("", true),
    ] {
        let server = license_server().await;
        let stage = Stage::script().upstream("/license", &server.url(), lines).start().await;
        let tv = stage.player("tv", "news").await;
        for call in [tv.post(tangled.clone()), tv.post("").method(Method::GET).below(&query)] {
            let reply = call.await;
            if passes {
                assert!(reply.is_good(), "{lines}: {}", reply.text());
            } else {
                assert_eq!(reply.error(), (403, "message_unrecognised".to_owned()), "{lines}");
            }
        }
        assert_eq!(server.seen().len(), if passes { 2 } else { 0 }, "{lines}");
        stage.end().await;
    }
}

#[tokio::test]
async fn a_license_to_keep_opens_no_session() {
    let server = license_server().await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    // The same call with another license type opens a session.
    let content = |kind| drm::widevine_content(&drm::widevine_pssh(b"content-42", &[drm::KID]), kind, drm::RID);
    assert!(tv.post(drm::widevine_new_of(&content(2))).await.is_good());
    assert_eq!(stage.headend.count("setup").await, 0);
    assert!(tv.post(drm::widevine_new_of(&content(1))).await.is_good());
    assert_eq!(stage.headend.count("setup").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn a_call_without_a_session_leaves_its_reason_for_operators() {
    let server = Upstream::answering(|asked| {
        let mut reply = good("application/octet-stream", crate::upstream::OPAQUE);
        *reply.status_mut() = if asked.target.ends_with("?no") { 403 } else { 200 }.try_into().unwrap();
        reply
    })
    .await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.clone().without("nv-authorizations").post(CLEARKEY).await.is_good());
    assert!(tv.clone().with("x-device-id", "pc").post("what nobody knows").await.is_good());
    assert_eq!(tv.clone().with("x-device-id", "pc").post("what nobody knows").below("?no").await.status, 403);
    assert_eq!(tv.post(CLEARKEY).below("?no").await.status, 403);

    let calls = async |query: &str| {
        let list =
            stage.ask(Method::GET, &format!("/v1/calls{query}")).await.json()["calls"].as_array().unwrap().clone();
        list.iter()
            .map(|call| format!("{}: {}", call["outcome"].as_str().unwrap(), call["reason"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let no_token = "passed: no content token in header:nv-authorizations or query:token or custom-data";
    assert_eq!(calls("?device=tv").await, [no_token]);
    let unknown = "passed: the body is no license message that is known";
    assert_eq!(calls("?device=pc").await, [unknown, "declined: 127.0.0.1 answered 403"]);
    assert_eq!(calls("").await.len(), 3);
    // Events of a session are in its timeline.
    let session = stage.only_session("live").await;
    let entries = session["timeline"].as_array().unwrap().iter();
    let details: Vec<_> =
        entries.filter(|entry| entry["event"] == "license call").map(|entry| &entry["detail"]).collect();
    assert_eq!(details, [&json!("declined: 127.0.0.1 answered 403")]);
    stage.end().await;
}
