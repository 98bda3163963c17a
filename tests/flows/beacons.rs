//! Tests beacons and reports of pages. They can set no header, so their content token identifies the playback.

use crate::events::Listener;
use crate::player::{CLEARKEY, Player};
use crate::stage::Stage;

/// A license call that names its device by a header which is none of the token's claims.
async fn in_the_living_room(stage: &Stage) -> Player {
    let tv = stage.player("tv", "news").await.with("x-device-id", "living-room");
    assert!(tv.post(CLEARKEY).await.is_good());
    tv
}

async fn beacon(stage: &Stage, below: &str) {
    report(stage, below, "").await;
}

/// Sends a report, in CMCD unless it is empty.
async fn report(stage: &Stage, below: &str, says: &str) {
    let body = if says.is_empty() { String::new() } else { format!("e=ps,{says},ts=1764460800000,v=2\n") };
    let beacon = stage.stranger().post(body).below(below).header("content-type", "text/plain;charset=UTF-8");
    assert_eq!(beacon.await.status, 204, "{below}");
}

#[tokio::test]
async fn a_beacon_with_the_token_alone_ends_its_session_with_any_device_source() {
    for (below, says) in
        [("/~stop?token=TOKEN", ""), ("/~stop?token=TOKEN&device=fridge", ""), ("/~report?token=TOKEN", "sta=q")]
    {
        let stage = Stage::clearkey().start().await;
        let name = async |token: &str| report(&stage, &below.replace("TOKEN", token), says).await;
        let tv = in_the_living_room(&stage).await;
        assert_eq!(stage.only_session("live").await["device"], "living-room");
        // A report without its token, or with another one, has no effect.
        let other = stage.player("pad", "film").await.token;
        beacon(&stage, "/~stop").await;
        name(&other).await;
        assert_eq!(stage.each("state").await, ["live"], "{below}");

        name(&tv.token).await;
        assert_eq!(stage.headend.next("teardown", 0).await.status, 204, "{below}");
        stage.eventually("closed", async || stage.each("state").await == ["closed"]).await;
        // The token is good for a new session, which the next beacon finds as well.
        assert!(tv.post(CLEARKEY).await.is_good());
        name(&tv.token).await;
        stage.eventually("closed", async || !stage.each("state").await.contains(&"live".to_owned())).await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_report_with_the_token_alone_is_a_sign_of_life_of_its_session() {
    let stage = Stage::clearkey().start().await;
    let tv = in_the_living_room(&stage).await;
    report(&stage, &format!("/~report?token={}", tv.token), "sta=p").await;
    stage.eventually("reported", async || stage.each("player").await == ["plays"]).await;
    assert_eq!(tv.stop().await.status, 204);
    stage.end().await;
}

#[tokio::test]
async fn a_token_by_which_several_devices_play_ends_none_of_them_unless_the_device_is_named() {
    let stage = Stage::clearkey().settings(|settings| settings.limit = 9).start().await;
    let tv = in_the_living_room(&stage).await;
    let kitchen = tv.clone().with("x-device-id", "kitchen");
    assert!(kitchen.post(CLEARKEY).await.is_good());

    beacon(&stage, &format!("/~stop?token={}", tv.token)).await;
    assert_eq!(stage.each("state").await, ["live", "live"]);
    beacon(&stage, &format!("/~stop?token={}&device=kitchen", tv.token)).await;
    stage.headend.next("teardown", 0).await;
    stage.eventually("one", async || stage.state_of("kitchen").await == "closed").await;
    assert_eq!(stage.state_of("living-room").await, "live");
    // Now it is the only one.
    beacon(&stage, &format!("/~stop?token={}", tv.token)).await;
    stage.eventually("both", async || stage.state_of("living-room").await == "closed").await;
    stage.end().await;
}

/// An `EventSource` can set no header either.
#[tokio::test]
async fn an_app_that_names_its_token_alone_hears_of_its_playback() {
    let stage = Stage::clearkey().heartbeat(0.2).settings(|settings| settings.limit = 9).start().await;
    let tv = stage.player("tv", "news").await.with("x-device-id", "living-room");
    let target = format!("/license/~events?token={}", tv.token);
    // The first listener begins before there is a session, the second when it plays.
    let mut early = Listener::at(stage.proxy, &target, "").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    early.until("session.opened").await;
    let mut late = Listener::at(stage.proxy, &target, "").await;
    let laptop = stage.player_of("bob", "laptop", "film").await;
    assert!(laptop.post(CLEARKEY).await.is_good());
    stage.headend.kill_account("bob").await;
    stage.headend.kill_account("ann").await;
    early.until("session.killed").await;
    late.until("session.killed").await;
    assert_eq!(early.names(), ["session.opened", "ssmheartbeaterror", "session.killed"]);
    assert_eq!(late.names(), ["ssmheartbeaterror", "session.killed"]);
    stage.end().await;
}
