//! Tests players that report about themselves: sidebeat believes them while they report, and ends them when they stop.
//!
//! The head-end's beats, one a second, are the clock; no test waits for a time of its own.

use http::Method;
use serde_json::Value;

use crate::player::{CLEARKEY, Call, Player};
use crate::stage::{Script, Stage};

/// hls.js sends these: a report per interval, and a change of state.
const PLAYS: &str =
    "bl=(12000),br=(300),cid=\"c1\",e=t,mtp=(11300),sf=h,sid=\"sess-hls\",sn=6,st=v,sta=p,ts=1795285945901,v=2\n";
const PAUSES: &str =
    "bl=(12000),br=(300),cid=\"c1\",e=ps,mtp=(11300),sf=h,sid=\"sess-hls\",sn=7,st=v,sta=a,ts=1795285947744,v=2\n";
const PLAYS_ON: &str =
    "bl=(12000),br=(300),cid=\"c1\",e=ps,mtp=(11300),sf=h,sid=\"sess-hls\",sn=9,st=v,sta=p,ts=1795285951744,v=2\n";
const QUITS: &str = "cid=\"c1\",e=ps,sf=h,sid=\"sess-hls\",sn=10,st=v,sta=q,ts=1795285952744,v=2\n";
/// Before it knows anything else.
const STARTS: &str = "cid=\"c1\",e=t,sf=h,sid=\"sess-hls\",sn=0,ts=1795285940901,v=2\n";

fn a_beat_each_second() -> Script {
    Stage::clearkey().heartbeat(1.0)
}

/// A report by a page's event target: identity and token in the URL, and no extra header.
fn report(stage: &Stage, device: &str, token: &str, lines: impl Into<bytes::Bytes>) -> Call {
    let call = stage.stranger().post(lines).below(&format!("/~report?token={token}&device={device}"));
    call.header("content-type", "application/cmcd")
}

async fn tell(stage: &Stage, tv: &Player, lines: &str) {
    assert_eq!(report(stage, "tv", &tv.token, lines.to_owned()).await.status, 204, "{lines}");
}

/// A report in each of three rounds, one beat apart; returns the number of the last beat. Two would do,
/// if a busy machine could not bring them closer together than rounds can be.
async fn tell_rounds(stage: &Stage, tv: &Player, lines: &str) -> u64 {
    let mut last = 0;
    for round in 1..=3 {
        last = stage.headend.nth("heartbeat", round).await.seq;
        tell(stage, tv, lines).await;
    }
    last
}

/// How many beats came before the teardown and after the call of that number.
async fn beats_until_teardown(stage: &Stage, since: u64) -> usize {
    let teardown = stage.headend.next("teardown", since).await;
    assert_eq!(teardown.status, 204);
    let log = stage.headend.log().await.into_iter();
    log.filter(|seen| seen.endpoint == "heartbeat" && (since + 1..teardown.seq).contains(&seen.seq)).count()
}

async fn ended(stage: &Stage, reason: &str) -> f64 {
    stage.metric("sessions_ended_total", &[&format!("reason=\"{reason}\"")]).await
}

#[tokio::test]
async fn a_player_whose_reports_stop_is_torn_down() {
    let stage = a_beat_each_second().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let last = tell_rounds(&stage, &tv, PLAYS).await;
    assert_eq!(stage.only_session("live").await["player"], "plays");

    // Two rounds may be missed, half of one more is too much.
    assert!(beats_until_teardown(&stage, last).await >= 2);
    assert_eq!(ended(&stage, "silent").await, 1.0);
    let told = stage.only_session("closed").await;
    let last = told["timeline"].as_array().unwrap().last().unwrap();
    assert!(last["detail"].as_str().unwrap().contains("silent"), "{told:#}");
    // A player that was believed gone and is not may start again.
    assert!(tv.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.count("setup").await, 2);
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_reports_with_its_license_calls_alone_is_not_silent_between_them() {
    let stage = a_beat_each_second().start().await;
    let tv = stage.player("tv", "news").await;
    let query = "?CMCD=e%3Dt%2Csid%3D%22a%22%2Csta%3Dp%2Cts%3D1795285945901%2Cv%3D2";
    assert!(tv.post(CLEARKEY).below(query).await.is_good());
    for round in 1..=3 {
        stage.headend.nth("heartbeat", round).await;
        assert!(tv.post(CLEARKEY).below(query).await.is_good());
    }
    // It has its licenses and requests no more, for longer than a reporting player may be silent.
    stage.headend.nth("heartbeat", 9).await;
    assert_eq!(stage.only_session("live").await["player"], "plays");
    assert_eq!((ended(&stage, "silent").await, stage.headend.count("teardown").await), (0.0, 0));
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_reports_no_state_may_be_paused_and_keeps_its_session_longer() {
    let stage = a_beat_each_second().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    tell_rounds(&stage, &tv, STARTS).await;

    // Longer than the silence that ends a player that plays.
    stage.headend.nth("heartbeat", 8).await;
    assert_eq!(stage.only_session("live").await["player"], "reports");
    assert_eq!(stage.headend.count("teardown").await, 0);
    tv.stop().await;
    stage.end().await;
}

#[tokio::test]
async fn a_paused_player_keeps_its_session_longer() {
    let stage = a_beat_each_second().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    tell_rounds(&stage, &tv, PLAYS).await;
    tell(&stage, &tv, PAUSES).await;

    // Longer than the silence that ends a player that plays.
    let later = stage.headend.nth("heartbeat", 7).await;
    assert_eq!(stage.only_session("live").await["player"], "paused");
    assert_eq!(stage.headend.count("teardown").await, 0);
    tell(&stage, &tv, PLAYS_ON).await;
    assert!(beats_until_teardown(&stage, later.seq).await >= 2);
    assert_eq!(ended(&stage, "silent").await, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn a_change_of_state_before_the_first_round_is_no_round() {
    let stage = a_beat_each_second().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    stage.headend.nth("heartbeat", 1).await;
    tell(&stage, &tv, PLAYS_ON).await;
    stage.headend.nth("heartbeat", 2).await;
    tell(&stage, &tv, PLAYS).await;
    // A report each ten seconds is enough.
    stage.headend.nth("heartbeat", 6).await;
    assert_eq!(stage.only_session("live").await["player"], "plays");
    assert_eq!(stage.headend.count("teardown").await, 0);
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_reports_its_quit_is_over_at_once() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    // The lines of one body are read in their order.
    tell(&stage, &tv, &[PLAYS, QUITS].concat()).await;
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    assert_eq!(ended(&stage, "quit").await, 1.0);
    assert_eq!(stage.headend.story().await, ["setup", "license-clearkey", "teardown"]);
    stage.end().await;
}

#[tokio::test]
async fn reports_sent_as_a_query_count_too() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    // Shaka 5.1 quotes its tokens.
    let get = async |state: &str| {
        let list =
            format!("cid%3D%22c1%22%2Ce%3D%22ps%22%2Cmtp%3D1500%2Csf%3Dd%2Csn%3D4%2Csta%3D%22{state}%22%2Cv%3D2");
        let rest = format!("/~report?token={}&device=tv&CMCD={list}", tv.token);
        stage.stranger().post("").method(Method::GET).below(&rest).await.status
    };
    for (state, player) in [("s", "plays"), ("a", "paused"), ("e", "done")] {
        assert_eq!(get(state).await, 204);
        assert_eq!(stage.only_session("live").await["player"], player);
    }
    assert_eq!(get("q").await, 204);
    assert_eq!(stage.headend.next("teardown", 0).await.status, 204);
    stage.end().await;
}

#[tokio::test]
async fn a_report_of_another_caller_changes_nothing() {
    let stage = Stage::clearkey().start().await;
    let (tv, phone) = (stage.player("tv", "news").await, stage.player_of("bob", "phone", "film").await);
    assert!(tv.post(CLEARKEY).await.is_good() && phone.post(CLEARKEY).await.is_good());
    let unused = stage.headend.token("account=ann&device=tv&content=other").await;

    for (device, token) in
        [("fridge", "e30.e30.e30"), ("tv", "e30.e30.e30"), ("tv", "unknown"), ("tv", unused.as_str())]
    {
        let reply = report(&stage, device, token, QUITS).await;
        // The caller learns nothing from the reply.
        assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0), "{device}");
    }
    let rows = stage.sessions().await;
    let seen: Vec<_> = rows.iter().map(|row| (row["state"].as_str().unwrap(), &row["player"])).collect();
    assert_eq!(seen, [("live", &Value::Null); 2]);

    tell(&stage, &tv, QUITS).await;
    stage.headend.next("teardown", 0).await;
    assert_eq!(stage.headend.open().await, ["phone film"]);
    stage.end().await;
}

#[tokio::test]
async fn one_devices_token_says_nothing_about_another_device() {
    // A route that trusts what the app says before what the token says.
    let lines = "device = [\"query:device\", \"header:x-device-id\"]";
    let stage = Stage::script().route("/license", "clearkey", lines).start().await;
    let (tv, phone) = (stage.player("tv", "news").await, stage.player_of("bob", "phone", "film").await);
    assert!(tv.post(CLEARKEY).await.is_good() && phone.post(CLEARKEY).await.is_good());
    // The token is the proof: the playback is the phone's, though the television is named.
    assert_eq!(report(&stage, "tv", &phone.token, QUITS).await.status, 204);
    stage.eventually("over", async || stage.state_of("phone").await == "closed").await;
    assert_eq!(stage.state_of("tv").await, "live");
    // The playback is over, and the token names no other one.
    assert_eq!(report(&stage, "tv", &phone.token, QUITS).await.status, 204);
    assert_eq!(stage.state_of("tv").await, "live");
    stage.end().await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_does_no_harm() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let many_lines = QUITS.repeat(257);
    let unreadable: [&[u8]; 7] = [
        b"",
        b"\n\n\r\n",
        b"\xff\xfe\x00sta=q",
        b"((((((((,sta=q",
        b"e=ps,sta=\"q",
        b"{\"e\":\"ps\",\"sta\":\"q\"}",
        many_lines.as_bytes(),
    ];
    for body in unreadable {
        let reply = report(&stage, "tv", &tv.token, body.to_vec()).await;
        assert_eq!(reply.status, 204, "{:?}", String::from_utf8_lossy(body));
    }
    // No status here silences a player for good, as 410 would.
    let huge = report(&stage, "tv", &tv.token, [QUITS.as_bytes(), &[b'x'; 64 << 10]].concat()).await;
    assert_eq!(huge.error(), (413, "body_too_large".to_owned()));
    assert_eq!(stage.each("player").await, ["null"]);

    // The readable lines beside it still count.
    tell(&stage, &tv, &["sta=(((\n", PAUSES].concat()).await;
    assert_eq!(stage.only_session("live").await["player"], "paused");
    assert_eq!(stage.headend.count("teardown").await, 0);
    stage.end().await;
}

#[tokio::test]
async fn a_page_of_another_origin_may_report() {
    let stage = Stage::clearkey().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let from_page =
        |lines: &str| report(&stage, "tv", &tv.token, lines.to_owned()).header("origin", "https://tv.example");
    let preflight = from_page("").method(Method::OPTIONS).header("access-control-request-method", "POST");
    let preflight = preflight.header("access-control-request-headers", "content-type").await;
    assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-headers")), (204, "content-type"));
    assert!(preflight.header("access-control-allow-methods").contains("POST"));
    assert_eq!(stage.each("player").await, ["null"], "a preflight is no report");

    let reply = from_page(PLAYS).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (204, "https://tv.example"));
    assert_eq!(stage.only_session("live").await["player"], "plays");
    stage.end().await;
}
