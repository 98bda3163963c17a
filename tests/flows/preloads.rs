//! Tests a device that fetches the next title's license while it plays: which playback ends, and when.

use http::Method;
use serde_json::json;

use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};
use crate::upstream::{LICENSE, Upstream, good};

/// A film whose player renews, and the next title's license.
async fn film_and_preload(script: Script) -> (Stage, Player, Player) {
    let stage = script.start().await;
    let (film, next) = (stage.player("tv", "film").await, stage.player("tv", "next").await);
    assert!(film.license("film").await.is_good());
    assert!(film.renew("film").await.is_good());
    assert!(next.license("next").await.is_good());
    (stage, film, next)
}

pub(crate) async fn plays(player: &Player) {
    let report = player.post("").below("/~report?CMCD=sta%3Dp").method(Method::GET);
    assert_eq!(report.await.status, 204);
}

/// Media3 does this some 50 s ahead.
#[tokio::test]
async fn a_preload_does_not_end_the_film() {
    let (stage, film, next) = film_and_preload(Stage::widevine()).await;
    assert_eq!(stage.headend.open().await, ["tv film", "tv next"]);
    for _ in 0..3 {
        assert!(film.renew("film").await.is_good());
    }
    assert_eq!(stage.headend.count("teardown").await, 0);
    // The film is over, and the next one plays.
    plays(&next).await;
    stage.eventually("one session", async || stage.headend.open().await == ["tv next"]).await;
    assert!(next.renew("next").await.is_good());
    assert_eq!(film.renew("film").await.error(), (403, "session_ended".to_owned()));
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("teardown").await), (2, 1));
    stage.end().await;
}

#[tokio::test]
async fn a_garbage_token_with_a_victims_device_ends_none_of_its_sessions() {
    for limit in [1, 2] {
        let stage = Stage::widevine().settings(|settings| settings.limit = limit).start().await;
        let victim = stage.player("tv", "film").await;
        assert!(victim.license("film").await.is_good());
        let good = stage.headend.token("account=ann&device=tv&content=news").await;
        let forged = format!("{}AAAA", &good[..good.len() - 4]);
        for token in [forged.as_str(), "garbage"] {
            for key_session in ["one", "two", "three"] {
                assert!(!stage.player_with("tv", token).license(key_session).await.is_good());
            }
        }
        assert!(victim.renew("film").await.is_good());
        assert_eq!(stage.headend.count("teardown").await, 0, "limit {limit}");
        assert_eq!(stage.headend.open().await, ["tv film"]);
        stage.end().await;
    }
}

#[tokio::test]
async fn a_limit_of_one_is_not_tripped_by_one_viewer_who_preloads() {
    let script = Stage::widevine().settings(|settings| settings.limit = 1);
    let (stage, film, next) = film_and_preload(script).await;
    assert_eq!(stage.headend.open().await, ["tv next"]);
    // The film takes its place back. The preload's renewals have it for a moment each, and neither is refused.
    for _ in 0..3 {
        assert!(film.renew("film").await.is_good());
        assert_eq!(stage.headend.open().await, ["tv film"]);
        assert!(next.renew("next").await.is_good());
    }
    assert!(film.renew("film").await.is_good());
    let before = stage.headend.count("setup").await;
    plays(&next).await;
    stage.eventually("the next title", async || stage.headend.open().await == ["tv next"]).await;
    assert!(next.renew("next").await.is_good());
    assert_eq!(film.renew("film").await.error(), (403, "session_ended".to_owned()));
    // The one that is refused, and the one behind the film's close.
    assert_eq!(stage.headend.count("setup").await, before + 2);
    assert_eq!(stage.headend.books().await["counters"]["peak"], json!(1));
    assert_eq!(stage.sessions().await.len(), 2, "each came back under its own id");
    stage.end().await;
}

#[tokio::test]
async fn a_zap_there_and_back_at_a_limit_of_one_continues_the_running_playback() {
    let stage = Stage::widevine().settings(|settings| settings.limit = 1).start().await;
    let (news, film) = (stage.player("tv", "news").await, stage.player("tv", "film").await);
    for (round, channel) in [&news, &film, &news].into_iter().enumerate() {
        assert!(channel.license(&format!("{round}")).await.is_good(), "{round}");
    }
    assert_eq!(stage.headend.open().await, ["tv news"]);
    plays(&news).await;
    for _ in 0..3 {
        assert!(news.renew("2").await.is_good());
    }
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("teardown").await), (5, 2));
    stage.end().await;
}

/// A household with two places: one device preloads, and another begins.
#[tokio::test]
async fn a_preload_never_costs_another_device_its_place() {
    let (stage, film, next) = film_and_preload(Stage::widevine()).await;
    let pad = stage.player("pad", "news").await;
    assert!(pad.license("news").await.is_good());
    assert_eq!(stage.headend.open().await, ["pad news", "tv film"]);
    assert!(film.renew("film").await.is_good());
    plays(&next).await;
    stage.eventually("the next title", async || stage.headend.open().await == ["pad news", "tv next"]).await;
    assert!(pad.renew("news").await.is_good());
    stage.end().await;
}

#[tokio::test]
async fn a_declined_license_costs_no_other_its_session() {
    let stage = Stage::widevine().settings(|settings| settings.limit = 1).start().await;
    let film = stage.player("tv", "film").await;
    assert!(film.license("film").await.is_good());
    stage.headend.fault("license-widevine", json!({"status": 403}), 1).await;
    assert!(!stage.player("tv", "next").await.license("next").await.is_good());
    assert!(film.renew("film").await.is_good());
    stage.eventually("the film", async || stage.headend.open().await == ["tv film"]).await;
    stage.end().await;
}

/// An embedded authority verifies no token, and counts a device's preload with what it plays.
#[tokio::test]
async fn an_embedded_limit_of_one_has_room_for_a_preload_and_none_for_another_device() {
    let server = Upstream::answering(|_| good("application/json", LICENSE)).await;
    let home =
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = 1\naccount = [\"fixed:house\"]";
    let script = Stage::script().authority(home).upstream("/license", &server.url(), "authority = \"home\"");
    let stage = script.start().await;
    let (film, next) = (stage.player("tv", "film").await, stage.player("tv", "next").await);
    assert!(film.post(CLEARKEY).await.is_good() && next.post(CLEARKEY).await.is_good());
    assert_eq!(stage.each("state").await, ["live", "live"]);
    let pad = stage.player("pad", "news").await;
    assert_eq!(pad.post(CLEARKEY).await.error(), (403, "limit_reached".to_owned()));
    assert_eq!(stage.each("state").await[..2], ["live", "live"]);
    plays(&next).await;
    stage
        .eventually("one session", async || {
            let states = stage.each("state").await;
            states.iter().filter(|state| *state == "live").count() == 1
        })
        .await;
    stage.finish().await;
}
