//! Tests the memory of kills: by the content token on every device, and by the device for calls without a token.

use http::Method;
use serde_json::json;

use crate::media::{self, Origin};
use crate::player::{CLEARKEY, Player};
use crate::stage::Stage;
use crate::upstream::{LICENSE, Upstream, good};

const KILLED: &str = "session_killed";
const DOWNLOAD: &[u8] = br#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"persistent-license"}"#;

async fn kill_all(stage: &Stage) {
    for id in stage.each("id").await {
        assert_eq!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.json()["done"], "killed");
    }
}

/// Every call of the player is refused, with or without its token.
async fn is_refused_everything(player: &Player) {
    let calls = [
        player.license("video"),
        player.license("another title"),
        player.renew("video"),
        player.renew("another title"),
        player.release("another title"),
        player.post(&[8, 4][..]),
        player.post(DOWNLOAD),
        player.post("nobody knows this"),
        player.post("").method(Method::GET),
        player.license("below").below("/v2/keys"),
    ];
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.error(), (403, KILLED.to_owned()), "call {number}");
    }
}

#[tokio::test]
async fn a_killed_token_is_refused_to_every_device_on_every_path_of_its_authority() {
    let stage = Stage::widevine().route("/free", "widevine", "session-control = \"never\"").authority("").start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    stage.headend.kill_account("ann").await;
    assert_eq!(tv.renew("video").await.error(), (403, KILLED.to_owned()));
    let calls = stage.headend.log().await.len();

    for device in ["phone", "tv"] {
        let player = tv.clone().with("x-device-id", device);
        is_refused_everything(&player).await;
        is_refused_everything(&player.at("/free")).await;
    }
    // The token may come in any place.
    let query = tv.clone().without("nv-authorizations").with("x-device-id", "phone");
    let license = query.license("video").below(&format!("?token={}", tv.token));
    assert_eq!(license.await.error(), (403, KILLED.to_owned()));
    // The token may stand anywhere in the list that head-ends read.
    for list in [format!("{},a.b.c.d.e", tv.token), format!("a.b.c.d.e,{}", tv.token), format!(",{},", tv.token)] {
        let player = tv.clone().with("x-device-id", "phone").with("nv-authorizations", &list);
        assert_eq!(player.license("video").await.error(), (403, KILLED.to_owned()), "{list}");
    }
    assert_eq!(stage.headend.log().await.len(), calls, "no call of it went on");
    assert!(stage.player("phone", "news").await.license("video").await.is_good(), "a token of its own plays");
    stage.end().await;
}

#[tokio::test]
async fn a_killed_device_is_refused_without_a_token_and_plays_by_a_new_one() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    kill_all(&stage).await;
    stage.headend.next("teardown", 0).await;
    let calls = stage.headend.log().await.len();
    is_refused_everything(&tv.clone().without("nv-authorizations")).await;
    // The token may stand anywhere in the list that head-ends read.
    for list in [format!("{},a.b.c.d.e", tv.token), format!("a.b.c.d.e,{}", tv.token), format!(",{},", tv.token)] {
        let player = tv.clone().with("x-device-id", "phone").with("nv-authorizations", &list);
        assert_eq!(player.license("video").await.error(), (403, KILLED.to_owned()), "{list}");
    }
    assert_eq!(stage.headend.log().await.len(), calls, "no call of it went on");
    let again = stage.player("tv", "film").await;
    assert!(again.license("film").await.is_good() && again.renew("film").await.is_good());
    assert!(again.clone().without("nv-authorizations").renew("film").await.is_good(), "it is known by its key session");
    stage.end().await;
}

async fn household() -> (Upstream, Stage) {
    let server = Upstream::answering(|_| good("application/json", LICENSE)).await;
    let authority = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = 4";
    let route = "authority = \"home\"\nsession-control = \"always\"";
    let stage = Stage::script().authority(authority).upstream("/license", &server.url(), route).start().await;
    (server, stage)
}

#[tokio::test]
async fn a_device_without_tokens_stays_killed_for_every_key_until_it_is_forgiven() {
    let (server, stage) = household().await;
    let (tv, phone) = (stage.stranger().with("x-device-id", "tv"), stage.stranger().with("x-device-id", "phone"));
    assert!(tv.post(CLEARKEY).await.is_good());
    let id = stage.each("id").await.remove(0);
    kill_all(&stage).await;
    let asks = |kid: [u8; 16]| tv.post(crate::drm::clearkey_request(&[kid], Some("temporary")));
    for call in [asks(crate::drm::KID), asks(crate::drm::KID2), tv.license("x"), tv.post("nobody knows this")] {
        assert_eq!(call.await.error(), (403, KILLED.to_owned()));
    }
    for no_token in [",", ", ,", "\"\"", "Bearer", " "] {
        let call = asks(crate::drm::KID).header("nv-authorizations", no_token);
        assert_eq!(call.await.error(), (403, KILLED.to_owned()), "{no_token:?}");
    }
    for no_token in ["", "%20", ",", "%09"] {
        let call = asks(crate::drm::KID).below(&format!("?token={no_token}"));
        assert_eq!(call.await.error(), (403, KILLED.to_owned()), "{no_token:?}");
    }
    assert_eq!(server.seen().len(), 1);
    assert!(phone.post(CLEARKEY).await.is_good(), "another device is none of it");

    let forgive = async || stage.ask(Method::POST, &format!("/v1/sessions/{id}/forgive")).await;
    assert_eq!(forgive().await.json(), json!({"id": id, "done": "forgiven"}));
    assert!(asks(crate::drm::KID2).await.is_good());
    assert_eq!(forgive().await.status, 404, "nothing is left of it");
    let live = stage.each("id").await.remove(0);
    let told = stage.ask(Method::POST, &format!("/v1/sessions/{live}/forgive")).await;
    assert_eq!((told.status.as_u16(), told.json()["error"].as_str()), (409, Some("conflict")));
    stage.end().await;
}

#[tokio::test]
async fn a_killed_device_begins_nothing_anew_on_a_media_route() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n7.m4s\n#EXT-X-ENDLIST\n";
    let pages = ["/vod/a.m3u8", "/vod/b.m3u8"].map(|path| (path, media::HLS, text.to_owned()));
    let origin = Origin::with(pages.into()).await;
    let stage = media::route(&origin, "").start().await;
    let (own, reply) = media::begin(&stage, "tv", "/media/a.m3u8").await;
    assert!(reply.is_good());
    let id = stage.each("id").await.remove(0);
    kill_all(&stage).await;
    for path in [&*own, "/media/a.m3u8", "/media/b.m3u8"] {
        let refused = media::fetch(&stage, "tv", path).await;
        assert_eq!(refused.error(), (403, KILLED.to_owned()), "{path}");
    }
    // A content token that the player had with it is remembered everywhere, too.
    let (_, other) = media::begin(&stage, "phone", "/media/b.m3u8?token=opaque").await;
    assert!(other.is_good());
    kill_all(&stage).await;
    for (device, path) in [("tablet", "/media/b.m3u8?token=opaque"), ("phone", "/media/b.m3u8")] {
        assert_eq!(media::fetch(&stage, device, path).await.error(), (403, KILLED.to_owned()), "{device}");
    }
    assert!(media::begin(&stage, "phone", "/media/b.m3u8?token=another").await.1.is_good());
    assert!(media::begin(&stage, "tablet", "/media/b.m3u8").await.1.is_good());

    assert_eq!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/forgive")).await.json()["done"], "forgiven");
    assert!(media::begin(&stage, "tv", "/media/b.m3u8").await.1.is_good());
    stage.end().await;
}
