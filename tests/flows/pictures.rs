//! Tests a device that shows several pictures, at authorities that count devices.

use http::Method;
use serde_json::{Value, json};

use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good};

const PICTURES: [&str; 4] = ["one", "two", "three", "four"];

fn counting_devices() -> Script {
    Stage::widevine().authority("unit = \"device\"").settings(|settings| settings.counts_devices = true)
}

/// Four pictures of one device, each with its license.
async fn four(stage: &Stage) -> [Player; 4] {
    let mut players = Vec::new();
    for picture in PICTURES {
        let player = stage.player("tv", picture).await;
        assert!(player.license(picture).await.is_good(), "{picture}");
        players.push(player);
    }
    players.try_into().unwrap_or_else(|_| panic!("four"))
}

async fn stop(player: &Player) {
    assert_eq!(player.post("").below("/~stop").await.status, 204);
}

/// The one session, with its playbacks.
async fn shown(stage: &Stage) -> Value {
    let id = stage.each("id").await.remove(0);
    stage.ask(Method::GET, &format!("/v1/sessions/{id}")).await.json()
}

#[tokio::test]
async fn four_pictures_of_one_device_are_one_session_at_the_head_end() {
    let stage = counting_devices().settings(|settings| settings.limit = 1).start().await;
    let players = four(&stage).await;
    assert_eq!((stage.headend.count("setup").await, stage.headend.open().await.len()), (1, 1));
    for (player, picture) in players.iter().zip(PICTURES) {
        assert!(player.renew(picture).await.is_good(), "{picture}");
    }
    let session = shown(&stage).await;
    let playbacks = session["playbacks"].as_array().unwrap();
    let contents: Vec<_> = playbacks.iter().map(|playback| playback["content"].as_str().unwrap()).collect();
    assert_eq!(contents, PICTURES);
    assert!(playbacks.iter().all(|playback| playback["eme"].as_array().is_some_and(|eme| eme.len() == 1)));
    assert_eq!(stage.each("state").await, ["live"], "one session is listed");
    assert_eq!(stage.metric("sessions", &["state=\"live\""]).await, 1.0);
    // A session is found by the id of any of its playbacks.
    let by_playback = playbacks[2]["id"].as_str().unwrap();
    let found = stage.ask(Method::GET, &format!("/v1/sessions/{by_playback}")).await.json();
    assert_eq!(found["id"], session["id"]);
    for player in players.iter().take(3) {
        stop(player).await;
    }
    assert!(players[3].renew("four").await.is_good());
    assert_eq!(players[0].renew("one").await.error(), (403, "session_ended".to_owned()));
    assert_eq!(stage.headend.count("teardown").await, 0);
    stop(&players[3]).await;
    stage.eventually("given back", async || stage.headend.open().await.is_empty()).await;
    assert_eq!((stage.headend.count("setup").await, stage.headend.count("teardown").await), (1, 1));
    stage.end().await;
}

/// At a head-end with one place, the other device gets its turn when the last picture closes, and not before.
#[tokio::test]
async fn another_device_gets_the_place_when_the_last_picture_closes() {
    let stage = counting_devices().settings(|settings| settings.limit = 1).start().await;
    let players = four(&stage).await;
    let pad = stage.player("pad", "news").await;
    for player in &players {
        assert_eq!(pad.license("news").await.error(), (403, "limit_reached".to_owned()));
        stop(player).await;
        // A refusal is remembered for a moment, so this is another call.
        stage.headend.open().await;
    }
    let pad = stage.player("pad", "film").await;
    assert!(pad.license("film").await.is_good());
    assert_eq!(stage.headend.open().await, ["pad film"]);
    stage.end().await;
}

#[tokio::test]
async fn a_killed_device_is_refused_in_every_picture() {
    let stage = counting_devices().start().await;
    let players = four(&stage).await;
    stop(&players[3]).await;
    stage.headend.kill_account("ann").await;
    assert_eq!(players[0].renew("one").await.error(), (403, "session_killed".to_owned()));
    for (player, picture) in players.iter().zip(PICTURES).take(3) {
        assert_eq!(player.renew(picture).await.error(), (403, "session_killed".to_owned()), "{picture}");
        assert_eq!(player.license("again").await.error(), (403, "session_killed".to_owned()), "{picture}");
    }
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"killed\""]).await, 1.0);
    // As after any kill, a new content token begins another playback.
    assert!(stage.player("tv", "five").await.license("five").await.is_good());
    assert_eq!(stage.headend.count("setup").await, 2);
    stage.end().await;
}

/// The content token of the second picture opens the next session when the first one's session is lost.
#[tokio::test]
async fn a_picture_that_the_license_server_declines_costs_the_others_nothing() {
    let stage = counting_devices().start().await;
    let film = stage.player("tv", "film").await;
    assert!(film.license("film").await.is_good());
    stage.headend.fault("license-widevine", json!({"status": 403}), 1).await;
    let next = stage.player("tv", "next").await;
    assert!(!next.license("next").await.is_good());
    assert!(film.renew("film").await.is_good());
    stop(&film).await;
    // A playback without a license ends half a minute later; a stop does not wait for that.
    stop(&next).await;
    stage.eventually("given back", async || stage.headend.open().await.is_empty()).await;
    stage.end().await;
}

/// Each device of the household takes one place for any number of pictures.
#[tokio::test]
async fn a_device_with_several_pictures_takes_one_place_of_its_household() {
    let license = r#"{"keys":[{"k":"AAECAwQFBgcICQoLDA0ODw","kid":"ABEiM0RVZneImaq7zN3u_w","kty":"oct"}]}"#;
    let server = Upstream::answering(move |_| good("application/json", license)).await;
    let home = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = 2\nunit = \"device\"";
    let script = Stage::script().authority(home).upstream("/license", &server.url(), "authority = \"home\"");
    let stage = script.start().await;
    let mut pictures = Vec::new();
    for picture in PICTURES {
        let player = stage.player("tv", picture).await;
        assert!(player.post(CLEARKEY).await.is_good(), "{picture}");
        pictures.push(player);
    }
    let (pad, phone) = (stage.player("pad", "news").await, stage.player("phone", "news").await);
    assert!(pad.post(CLEARKEY).await.is_good());
    assert_eq!(phone.post(CLEARKEY).await.error(), (403, "limit_reached".to_owned()));
    let slots = stage.ask(Method::GET, "/v1/authorities/home/slots").await.json();
    let devices: Vec<_> = slots["slots"].as_array().unwrap().iter().map(|slot| slot["device"].clone()).collect();
    assert_eq!(devices, ["tv", "pad"]);
    for player in &pictures {
        stop(player).await;
    }
    let phone = stage.player("phone", "film").await;
    assert!(phone.post(CLEARKEY).await.is_good());
    stage.finish().await;
}

/// The events that players and operators get.
#[tokio::test]
async fn playbacks_that_join_and_leave_are_reported_under_their_session() {
    let stage = counting_devices().start().await;
    let players = four(&stage).await;
    for player in &players {
        stop(player).await;
    }
    let session = stage.only_session("closed").await;
    let story: Vec<_> = session["timeline"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect();
    let count = |name: &str| story.iter().filter(|event| **event == name).count();
    assert_eq!((count("opened"), count("closed")), (1, 1));
    assert_eq!((count("playback joined"), count("playback left")), (4, 4));
    stage.end().await;
}

/// A reload changes what is counted: what plays goes on as it began.
#[tokio::test]
async fn a_reload_that_changes_the_unit_ends_nothing() {
    let stage = Stage::widevine().settings(|settings| settings.counts_devices = true).start().await;
    let film = stage.player("tv", "film").await;
    assert!(film.license("film").await.is_good());
    stage.reload(&counting_devices());
    let [one, two] = [stage.player("tv", "one").await, stage.player("tv", "two").await];
    assert!(one.license("one").await.is_good() && two.license("two").await.is_good());
    assert_eq!((stage.headend.open().await.len(), stage.headend.count("setup").await), (2, 2));
    stage.reload(&Stage::widevine());
    for (player, picture) in [(&film, "film"), (&one, "one"), (&two, "two")] {
        assert!(player.renew(picture).await.is_good(), "{picture}");
    }
    stop(&one).await;
    stop(&film).await;
    stage.eventually("the film", async || stage.headend.open().await.len() == 1).await;
    assert!(two.renew("two").await.is_good());
    stage.end().await;
}
