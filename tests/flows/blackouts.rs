//! Tests blackouts from the start: the proxy passes no part of the title, with or without a slate, on any route.

use http::{Method, Response};
use serde_json::{Value, json};

use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};
use crate::upstream::{LICENSE, Upstream, good};

const SLATE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n0.ts\n#EXT-X-ENDLIST\n";

/// The app's authorization service, the license server and the origin: one server, which gives whatever is asked of it.
async fn server(authorization: Value) -> Upstream {
    Upstream::answering(move |asked| match asked.target.as_str() {
        "/authorize" => good("application/json", authorization.to_string()),
        target if target.ends_with(".m3u8") => good("application/vnd.apple.mpegurl", SLATE),
        target if target.ends_with(".ts") => good("video/mp2t", "segment"),
        _ => good("application/json", LICENSE),
    })
    .await
}

/// `lines`: where the authorize route sends players, and the authority's own.
fn script(server: &Upstream, kind: &str, lines: &str) -> Script {
    let (url, address) = (server.url(), server.address);
    Stage::script().upstream("/license", &url, "authority = \"far\"").tables(&format!(
        "[[authority]]\nname = \"far\"\n{kind}\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\nauthority = \"far\"\norigin = \"http://{address}/live\"\n\
         [[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"far\"\n\
         authorize-url = \"http://{address}/authorize\"\n{lines}\n"
    ))
}

const FIRSTLIGHT: &str = "kind = \"firstlight\"\nheartbeat-url = \"{headend}/DEMO/fl/\"";
const EMBEDDED: &str = "kind = \"embedded\"";

async fn authorize(stage: &Stage, device: Option<&str>) -> Value {
    let app = stage.stranger().at("/authorize");
    let app = device.map_or_else(|| app.clone(), |device| app.clone().with("x-device-id", device));
    let reply = app.post("{}").header("content-type", "application/json").await;
    assert!(reply.is_good(), "{}", reply.text());
    reply.json()
}

/// A player with this URL, at the stage's proxy.
fn at(stage: &Stage, url: &Value) -> Player {
    let url = url.as_str().unwrap();
    let path = url.strip_prefix("http://proxy.test").unwrap_or_else(|| panic!("{url} does not lead through us"));
    stage.stranger().at(path)
}

fn dark(change: &Value) -> Value {
    let mut authorization = json!({
        "heartbeatFlag": true, "heartbeatToken": "t", "contentId": "game", "blackoutAction": "DENY",
        "contentUrl": "https://cdn.example/live/main.m3u8", "licenseUrl": "https://drm.example/l",
    });
    authorization.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    authorization
}

async fn is_refused(stage: &Stage, authorization: &Value) {
    for name in ["contentUrl", "licenseUrl"] {
        let player = at(stage, &authorization[name]);
        for method in [Method::GET, Method::POST] {
            let body = if method == Method::POST { CLEARKEY } else { "" };
            let reply = player.post(body).method(method).await;
            assert_eq!(reply.error(), (403, "blackout".into()), "{name}: {authorization}");
        }
        assert!(!player.post("").method(Method::GET).below("/live/main.m3u8").await.is_good(), "nor what is below");
    }
}

#[tokio::test]
async fn a_blackout_without_a_slate_to_show_refuses_media_and_license() {
    let slate = json!({"blackoutUrl": "https://cdn.example/slate.m3u8"});
    let both = "license-route = \"/license\"\nmedia-route = \"/media\"";
    for (kind, lines, change) in [
        (FIRSTLIGHT, both, json!({})),
        (FIRSTLIGHT, both, json!({"blackoutUrl": "slate.m3u8", "blackoutAction": "ALLOW_WITH_UPGRADE"})),
        (FIRSTLIGHT, both, json!({"contentUrl": "live/main.m3u8", "licenseUrl": "skd://key"})),
        (EMBEDDED, both, json!({"blackoutAction": "UNTIL_TOMORROW"})),
        (FIRSTLIGHT, "license-route = \"/license\"", slate.clone()),
        (FIRSTLIGHT, "media-route = \"/media\"", json!({})),
        (EMBEDDED, "", slate),
    ] {
        let server = server(dark(&change)).await;
        let stage = script(&server, kind, lines).start().await;
        is_refused(&stage, &authorize(&stage, Some("tv")).await).await;
        assert_eq!(server.only().target, "/authorize", "nothing of it was asked for: {lines}");
        assert!(stage.sessions().await.is_empty());
        assert_eq!(stage.metric("authorizations_total", &["outcome=\"blackout\""]).await, 1.0);
        stage.end().await;
    }
}

#[tokio::test]
async fn a_blackout_of_an_unknown_device_is_refused_too() {
    let server = server(dark(&json!({"blackoutUrl": "https://cdn.example/slate.m3u8"}))).await;
    let lines = "license-route = \"/license\"\nmedia-route = \"/media\"\ndevice = [\"header:x-device-id\"]";
    let stage = script(&server, FIRSTLIGHT, lines).start().await;
    let authorization = authorize(&stage, None).await;
    assert_eq!(authorization["contentUrl"], "http://proxy.test/~blackout");
    is_refused(&stage, &authorization).await;
    stage.end().await;
}

#[tokio::test]
async fn a_registered_blackout_is_refused_after_the_admin_api_as_after_an_authorize_route() {
    let server = server(Value::Null).await;
    let stage = script(&server, EMBEDDED, "").server("public-url = \"http://proxy.test\"").start().await;
    let order = json!({
        "authority": "far", "device": "tv", "license-route": "/license", "media-route": "/media",
        "authorization": dark(&json!({})),
    });
    let told = stage.tell(Method::POST, "/v1/playbacks", &order).await.json();
    assert_eq!(told["registered"], true);
    is_refused(&stage, &told["authorization"]).await;
    assert_eq!(at(&stage, &told["license-url"]).post(CLEARKEY).await.error(), (403, "blackout".into()));
    assert!(server.seen().is_empty());
    stage.end().await;
}

#[tokio::test]
async fn a_blackout_from_the_start_shows_its_slate_and_nothing_else() {
    let server = Upstream::answering(|asked| match asked.target.as_str() {
        "/authorize" => {
            let slate = format!("http://{}/slate/main.m3u8", asked.header("host"));
            good("application/json", dark(&json!({"blackoutUrl": slate})).to_string())
        }
        "/slate/main.m3u8" => good("application/vnd.apple.mpegurl", SLATE),
        "/slate/0.ts" => good("video/mp2t", "slate"),
        _ => Response::builder().status(500).body("".into()).unwrap(),
    })
    .await;
    let lines = "license-route = \"/license\"\nmedia-route = \"/media\"";
    let stage = script(&server, FIRSTLIGHT, lines).start().await;
    let authorization = authorize(&stage, Some("tv")).await;
    let tv = at(&stage, &authorization["contentUrl"]);
    let get = async |path: &str| stage.stranger().at(path).post("").method(Method::GET).await;
    let main = get(&tv.path).await.header("location").to_owned();
    let playlist = get(&main).await;
    assert!(playlist.is_good(), "{main} {}", playlist.text());
    let folder = main.rsplit_once('/').unwrap().0;
    assert_eq!(get(&format!("{folder}/0.ts")).await.text(), "slate");
    let playback = tv.path.split("/~c/").next().unwrap();
    for path in ["/main.m3u8", "/main.mpd", "/1.ts", "/~h/p/cdn.example/live/main.m3u8"] {
        assert_eq!(get(&format!("{playback}{path}")).await.error(), (403, "blackout".into()), "{path}");
    }
    assert_eq!(at(&stage, &authorization["licenseUrl"]).post(CLEARKEY).await.error(), (403, "blackout".into()));
    assert_eq!(server.seen().len(), 3, "the authorization and the slate: {:?}", server.seen());
    stage.end().await;
}

#[tokio::test]
async fn a_blackout_that_is_only_reported_leaves_the_decision_to_the_app() {
    let server = server(dark(&json!({}))).await;
    let kind = format!("{FIRSTLIGHT}\nstop-player-on-stream-timeline-event = false");
    let lines = "license-route = \"/license\"\nmedia-route = \"/media\"";
    let stage = script(&server, &kind, lines).start().await;
    assert_eq!(authorize(&stage, Some("tv")).await, dark(&json!({})));
    stage.end().await;
}
