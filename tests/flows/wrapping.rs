//! Tests wrapped bodies, translated if a route says so and untouched otherwise, and the URL parameters beside them.

use serde_json::json;

use crate::drm;
use crate::player::{CLEARKEY, widevine_new, widevine_renewal};
use crate::stage::Stage;
use crate::upstream::{Upstream, good};

fn body(lines: &str) -> String {
    format!("authority = \"head-end\"\n[route.body]\n{lines}")
}

#[tokio::test]
async fn a_player_that_speaks_json_meets_a_server_that_speaks_raw() {
    let server = Upstream::answering(|_| good("application/octet-stream", &b"\x08\x02license"[..])).await;
    let lines = body("player = \"json:challenge\"\nserver = \"raw\"\nplayer-reply = \"json:license\"");
    let stage = Stage::script().upstream("/license", &server.url(), &lines).start().await;
    let tv = stage.player("tv", "news").await.with("content-type", "application/json");

    let wrapped = json!({"challenge": drm::b64(widevine_new("video")), "other": 1}).to_string();
    let license = tv.post(wrapped).await;
    assert_eq!(license.json(), json!({"license": drm::b64(b"\x08\x02license")}));
    assert_eq!(license.header("content-type"), "application/json");
    let seen = server.only();
    assert_eq!((seen.body.to_vec(), seen.header("content-type")), (widevine_new("video"), "application/octet-stream"));
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_speaks_raw_meets_a_server_that_speaks_json() {
    // This head-end answers JSON with an array, whose first element counts.
    let lines = "[route.body]\nplayer = \"raw\"\nserver = \"json:challenge\"\nplayer-reply = \"raw\"\nserver-reply = \"json:license\"";
    let stage = Stage::script().route("/license", "widevine", lines).start().await;
    let tv = stage.player("tv", "news").await;
    let license = tv.license("video").await;
    assert_eq!((license.header("content-type"), &license.body[..2]), ("application/octet-stream", &[8, 2][..]));
    // The license was looked into through its wrapping, so that the player's renewals carry the session.
    assert_eq!(stage.only_session("live").await["paced_by"], "renewals");
    assert_eq!(&tv.renew("video").await.body[..2], [8, 2]);
    stage.end().await;
}

/// The reply is no license that could be wrapped, whatever it is.
#[tokio::test]
async fn a_reply_that_declines_is_not_translated() {
    let server = Upstream::answering(|_| crate::upstream::status(402)).await;
    let lines = body("server-reply = \"json:license\"\nplayer-reply = \"raw\"");
    let stage = Stage::script().upstream("/license", &server.url(), &lines).start().await;
    let declined = stage.player("tv", "news").await.license("video").await;
    assert_eq!((declined.status.as_u16(), declined.text()), (402, "{\"errorCode\":4000}".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_renewal_in_json_comes_back_in_json() {
    let lines = "[route.body]\nplayer = \"json:challenge\"\nserver = \"raw\"\nplayer-reply = \"json:license\"";
    let stage = Stage::script().route("/license", "widevine", lines).start().await;
    let tv = stage.player("tv", "news").await.with("content-type", "application/json");
    let wrapped = |message: Vec<u8>| json!({"challenge": drm::b64(message)}).to_string();
    assert!(tv.post(wrapped(widevine_new("video"))).await.json()["license"].is_string());
    let renewed = tv.post(wrapped(widevine_renewal("video"))).await;
    assert!(renewed.json()["license"].as_str().unwrap().starts_with("CAI"), "{}", renewed.text());
    assert_eq!(stage.headend.story().await, ["setup", "license-widevine", "renewal"]);
    stage.end().await;
}

/// The authority wants the bare message.
#[tokio::test]
async fn a_renewal_in_a_wrapping_that_the_route_does_not_name_goes_to_the_license_server() {
    let server = Upstream::answering(|_| good("application/octet-stream", crate::upstream::OPAQUE)).await;
    let lines = "authority = \"head-end\"\nenforcement = \"renewal\"";
    let stage = Stage::script().upstream("/license", &server.url(), lines).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    let wrapped = drm::b64(widevine_renewal("video"));
    assert!(tv.post(wrapped.clone()).await.is_good());
    assert_eq!((server.seen()[1].body.clone(), stage.headend.count("renewal").await), (wrapped.into(), 0));
    stage.end().await;
}

#[tokio::test]
async fn a_form_goes_up_raw_and_the_ckc_comes_down_in_base64() {
    let lines = "[route.body]\nplayer = \"form:spc\"\nserver = \"raw\"\nplayer-reply = \"base64\"";
    let stage = Stage::script().route("/license", "fairplay", lines).start().await;
    let tv = stage.player("tv", "news").await.with("content-type", "application/x-www-form-urlencoded");
    let license = tv.post(format!("assetId=a1&spc={}", drm::b64(drm::fairplay_spc("pl")))).await;
    assert_eq!(license.header("content-type"), "text/plain");
    assert!(license.text().starts_with("AAAAAQAAAA"), "{}", license.text());
    stage.end().await;
}

#[tokio::test]
async fn every_wrapping_passes_unchanged_without_a_translation() {
    let server = Upstream::answering(|asked| good("application/json", asked.body.clone())).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    let message = drm::b64(widevine_new("video"));
    let bodies = [
        json!({"rawLicenseRequestBase64": message}).to_string(),
        format!("{{ \"payload\" : \"{}\" }}\n", message.replace('/', "\\/")),
        format!("{message}\r\n"),
        json!({"challenge": [message]}).to_string(),
    ];
    for (number, body) in bodies.iter().enumerate() {
        let reply = tv.post(body.clone()).header("content-type", "application/json").await;
        assert_eq!((reply.text(), &server.seen()[number].body), (body.clone(), &body.clone().into()));
    }
    // All of them were recognised.
    assert_eq!((stage.headend.count("setup").await, stage.metric("unrecognised_total", &[]).await), (1, 0.0));
    stage.end().await;
}

#[tokio::test]
async fn every_wrapped_challenge_opens_a_session_and_is_sent_on_byte_for_byte() {
    let server = Upstream::answering(|asked| good("application/x-any", asked.body.clone())).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    for (number, (name, body)) in drm::wrapped_vectors().into_iter().enumerate() {
        let tv = stage.player_of(&format!("viewer-{number}"), &format!("tv-{number}"), name).await;
        let content_type =
            if name.contains("multipart") { "multipart/form-data; boundary=frontier" } else { "text/plain" };
        let reply = tv.post(body.clone()).header("content-type", content_type).await;
        assert!(reply.is_good(), "{name}: {}", reply.text());
        assert!(reply.body == body && server.seen()[number].body == body, "{name} was changed");
        assert_eq!(stage.headend.count("setup").await, number + 1, "{name}");
    }
    assert_eq!(stage.metric("unrecognised_total", &[]).await, 0.0);
    stage.end().await;
}

#[tokio::test]
async fn a_challenge_in_the_query_opens_a_session() {
    let server = Upstream::answering(|_| good("a/b", "{}")).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let tv = stage.player("tv", "news").await;
    let query = format!("?a=1&challenge={}", drm::b64u(widevine_new("video")));
    assert!(tv.post("").method(http::Method::GET).below(&query).await.is_good());
    assert_eq!(server.only().target, format!("/acquire{query}"));
    assert_eq!(stage.headend.count("setup").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn a_body_that_is_not_wrapped_as_the_route_says_is_refused_with_the_reason() {
    let stage =
        Stage::script().route("/license", "widevine", "[route.body]\nplayer = \"json:challenge\"\nserver = \"raw\"");
    let stage = stage.start().await;
    let tv = stage.player("tv", "news").await;
    let refused = tv.license("video").await;
    assert_eq!(refused.error(), (403, "license_server_request_wrapping".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_token_in_the_query_opens_the_session_and_goes_no_further() {
    // hls.js and native players set no headers.
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
    let token = stage.headend.token("account=ann&device=tv&content=news").await;
    let query = format!("?a=%2f+1&token={token}&device=tv&b");
    assert!(stage.stranger().post(CLEARKEY).below(&query).await.is_good());
    let seen = server.only();
    assert_eq!(seen.target, "/acquire?a=%2f+1&b");
    let (content, session) = seen.header("nv-authorizations").split_once(',').unwrap();
    assert!(content == token && session.split('.').count() == 3);
    assert_eq!(stage.each("device").await, ["tv"]);
    stage.end().await;
}

#[tokio::test]
async fn cmcd_passes_and_is_never_a_key() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let lines = "authority = \"head-end\"\nheaders = [\"cmcd-session\"]";
    let stage = Stage::script().upstream("/license", &server.url(), lines).start().await;
    let tv = stage.player("tv", "news").await;
    let queries = ["?CMCD=ot%3Dk%2Csf%3Dd%2Csid%3D%22a%22%2Cst%3Dv", "?CMCD=sid%3D%22b%22"];
    for (number, query) in queries.iter().enumerate() {
        assert!(tv.post(CLEARKEY).below(query).header("cmcd-session", "sid=\"a\"").await.is_good());
        let seen = &server.seen()[number];
        assert_eq!((seen.target.clone(), seen.header("cmcd-session")), (format!("/acquire{query}"), "sid=\"a\""));
    }
    assert_eq!(stage.headend.count("setup").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn cmcd_is_read_and_not_passed_on_if_the_route_strips_it() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let lines = "authority = \"head-end\"\nheaders = [\"cmcd-session\"]\ncmcd = \"strip\"";
    let authorize = format!(
        "[[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"head-end\"\ncmcd = \"strip\"\n\
         headers = [\"cmcd-session\"]\nauthorize-url = \"{}\"\n",
        server.url()
    );
    let stage = Stage::script().authority(&authorize).upstream("/license", &server.url(), lines).start().await;
    let tv = stage.player("tv", "news").await;
    let call = tv.post(CLEARKEY).below("?a=1&CMCD=sid%3D%22a%22%2Csta%3Da%2Cv%3D2");
    assert!(call.header("cmcd-session", "sid=\"a\"").await.is_good());
    assert_eq!(stage.only_session("live").await["player"], "paused");
    // A report in headers alone passes, too.
    assert!(tv.post(CLEARKEY).below("?a=1").header("cmcd-session", "sid=\"a\",sta=p,v=2").await.is_good());
    assert_eq!(stage.only_session("live").await["player"], "plays");
    let app = stage.stranger().at("/authorize").with("x-device-id", "tv");
    assert!(app.post("{}").below("?a=1&CMCD=sid%3D%22a%22").header("cmcd-session", "sid=\"a\"").await.is_good());
    for seen in server.seen() {
        assert_eq!((seen.target.as_str(), seen.header("cmcd-session")), ("/acquire?a=1", ""));
    }
    assert_eq!(server.seen().len(), 3);
    stage.end().await;
}

#[tokio::test]
async fn the_license_servers_own_query_comes_first() {
    let server = Upstream::answering(|_| good("application/json", "{}")).await;
    let url = format!("{}?key=1", server.url());
    let stage = Stage::script().upstream("/license", &url, "").start().await;
    assert!(stage.stranger().post(CLEARKEY).below("/more?a=2").await.is_good());
    assert_eq!(server.only().target, "/acquire/more?key=1&a=2");
    stage.end().await;
}
