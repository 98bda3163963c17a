//! Tests that registrations of authorized playbacks survive a restart.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use sidebeat::clock::Clock;

use crate::eventually;
use crate::home::Home;
use crate::process::{CLEARKEY, Proxy};

/// The authorization for the app of this user and device.
async fn authorize(proxy: &Proxy, user: &str, device: &str) -> Value {
    let body = json!({"deviceId": device, "contentId": "game", "contentTypeId": "live"}).to_string();
    let headers = [("x-authorization", user), ("x-device-id", device), ("content-type", "application/json")];
    let reply = proxy.ask(Method::POST, "/authorize", &headers, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["data"].clone()
}

/// Path of a URL that leads through this route.
fn path(url: &Value, route: &str) -> String {
    let url = url.as_str().unwrap();
    url[url.find(route).unwrap_or_else(|| panic!("{url} does not lead through us"))..].to_owned()
}

async fn get(proxy: &Proxy, path: &str) -> String {
    let reply = proxy.ask(Method::GET, path, &[], "").await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.text()
}

/// The first URI of the playlist at `path`, resolved like its player does.
fn first(path: &str, playlist: &str) -> String {
    let uri = playlist.lines().find(|line| !line.starts_with('#') && !line.is_empty()).unwrap();
    if uri.starts_with('/') { uri.to_owned() } else { format!("{}/{uri}", path.rsplit_once('/').unwrap().0) }
}

/// Follows the content URL to the media playlist, and gives that one's path.
async fn begin(proxy: &Proxy, authorization: &Value) -> String {
    let sent = proxy.ask(Method::GET, &path(&authorization["contentUrl"], "/media/~"), &[], "").await;
    let main = sent.headers["location"].to_str().unwrap().to_owned();
    first(&main, &get(proxy, &main).await)
}

/// The holders of places, as `account device`.
async fn places(home: &Home) -> Vec<String> {
    let books = home.headend.books().await;
    let name = |row: &Value| format!("{} {}", row["account"].as_str().unwrap(), row["device"].as_str().unwrap());
    let mut places: Vec<_> = books["open"].as_array().unwrap().iter().map(name).collect();
    places.sort();
    places
}

#[tokio::test]
async fn an_authorized_playback_beats_streams_and_closes_after_a_crash() {
    let home = Home::firstlight().await;
    let mut proxy = home.proxy();
    // The phone is authorized, and has not begun.
    let phone = authorize(&proxy, "bob", "phone").await;
    let tv = authorize(&proxy, "ann", "tv").await;
    let playlist = begin(&proxy, &tv).await;
    assert_eq!(places(&home).await, ["ann tv"]);
    let beaten = home.headend.next("fl-heartbeat", home.headend.now().await).await;
    assert!(beaten.status < 300);
    proxy.kill();

    let since = home.headend.now().await;
    let proxy = home.proxy();
    assert!(home.headend.next("fl-heartbeat", since).await.status < 300, "it is beaten");
    let segment = first(&playlist, &get(&proxy, &playlist).await);
    get(&proxy, &segment).await;
    let license = path(&tv["licenseUrl"], "/license/~");
    let reply = proxy.ask(Method::POST, &license, &[], CLEARKEY).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // The stop has its URL and its own headers, and frees only ann's place.
    proxy.ask(Method::POST, &format!("{license}/~stop"), &[], "").await;
    assert!(home.headend.next("stream-delete", since).await.status < 300);
    eventually("given back", async || places(&home).await.is_empty()).await;

    // A playback authorized before the restart begins after it, with the token of its authorization.
    begin(&proxy, &phone).await;
    assert_eq!(places(&home).await, ["bob phone"]);
    let license = path(&phone["licenseUrl"], "/license/~");
    assert_eq!(proxy.ask(Method::POST, &license, &[], CLEARKEY).await.status, 200);
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert!(places(&home).await.is_empty());
}

/// The calls follow each other so closely that the journal gathers them.
#[tokio::test]
async fn a_registration_is_known_after_a_crash_right_behind_its_reply() {
    let home = Home::firstlight().await;
    for _ in 0..3 {
        let mut proxy = home.proxy();
        let mut licenses = Vec::new();
        for device in 0..8 {
            let authorization = authorize(&proxy, &format!("user-{device}"), "phone").await;
            licenses.push(path(&authorization["licenseUrl"], "/license/~"));
        }
        proxy.kill();
        let proxy = home.proxy();
        for license in licenses {
            let reply = proxy.ask(Method::POST, &license, &[], CLEARKEY).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        assert_eq!(proxy.terminate().await.code(), Some(0));
    }
}

#[tokio::test]
async fn the_path_that_a_player_is_sent_to_is_known_after_a_crash_right_behind_the_redirect() {
    let home = Home::firstlight().await;
    for _ in 0..3 {
        let mut proxy = home.proxy();
        let mut paths = Vec::new();
        for _ in 0..8 {
            let sent = proxy.ask(Method::GET, "/media/main.m3u8", &[], "").await;
            paths.push(sent.headers["location"].to_str().unwrap().to_owned());
        }
        proxy.kill();
        let proxy = home.proxy();
        for path in paths {
            // An unknown playback begins anew, by another redirect.
            get(&proxy, &path).await;
        }
    }
}

#[tokio::test]
async fn an_authorize_route_and_what_it_registered_survive_a_hangup() {
    let home = Home::firstlight().await;
    let proxy = home.proxy();
    let [before, begun] = [authorize(&proxy, "bob", "phone").await, authorize(&proxy, "ann", "tv").await];
    let playlist = begin(&proxy, &begun).await;
    for _ in 0..2 {
        proxy.hang_up();
        get(&proxy, &playlist).await;
    }
    let after = authorize(&proxy, "cid", "tablet").await;
    for authorization in [&before, &begun, &after] {
        begin(&proxy, authorization).await;
        let license = path(&authorization["licenseUrl"], "/license/~");
        assert_eq!(proxy.ask(Method::POST, &license, &[], CLEARKEY).await.status, 200);
    }
    assert_eq!(places(&home).await, ["ann tv", "bob phone", "cid tablet"]);
    let since = home.headend.now().await;
    assert!(home.headend.next("fl-heartbeat", since).await.status < 300);
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert!(places(&home).await.is_empty());
}

/// Its player has the manifests of the title, and continues with a segment.
#[tokio::test]
async fn a_blackout_by_a_beat_outlives_a_crash_for_media_and_license() {
    for slate in [false, true] {
        let home = Home::firstlight().await;
        let base = format!("http://{}", home.headend.address);
        let url = slate.then(|| format!("{base}/slate/main.m3u8"));
        let settings = json!({"content_url": format!("{base}/vod/main.m3u8"), "blackout_url": url});
        home.headend.settings(json!({ "firstlight": settings })).await;
        let mut proxy = home.proxy();
        let tv = authorize(&proxy, "ann", "tv").await;
        let playlist = begin(&proxy, &tv).await;
        let segment = first(&playlist, &get(&proxy, &playlist).await);
        get(&proxy, &segment).await;
        home.headend.settings(json!({ "firstlight": { "blackout": ["game"] } })).await;
        eventually("killed", async || proxy.sessions().await[0]["state"] == "killed").await;
        // The end is written before it is reported.
        eventually("given back", async || places(&home).await.is_empty()).await;
        proxy.kill();
        let proxy = home.proxy();
        let license = path(&tv["licenseUrl"], "/license/~");
        let own = playlist.split("/~h/").next().unwrap();
        let elsewhere = format!("{own}/~h/s/cdn.example/1.m4s");
        let mut asked = vec![(Method::POST, &license, CLEARKEY), (Method::GET, &elsewhere, "")];
        if slate {
            let text = get(&proxy, &playlist).await;
            assert!(text.contains("/~s/p/"), "{text}");
            get(&proxy, &first(&playlist, &text)).await;
        } else {
            asked.extend([(Method::GET, &playlist, ""), (Method::GET, &segment, "")]);
        }
        for (method, path, body) in asked {
            let reply = proxy.ask(method, path, &[], body).await;
            assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (403, &json!("blackout")), "{path}");
        }
        assert_eq!(proxy.terminate().await.code(), Some(0));
    }
}

#[tokio::test]
async fn the_position_of_a_player_outlives_the_process() {
    let home = Home::firstlight().await.bookmarked().await;
    let proxy = home.proxy();
    let film = json!({"deviceId": "tv", "contentId": "film", "contentTypeId": "vod"}).to_string();
    let headers = [("x-authorization", "ann"), ("x-device-id", "tv"), ("content-type", "application/json")];
    let film = proxy.ask(Method::POST, "/authorize", &headers, &film).await.json()["data"].clone();
    begin(&proxy, &film).await;
    let license = path(&film["licenseUrl"], "/license/~");
    // Only the place differs each time, and no beat comes in between.
    for place in [10_000, 754_000] {
        let report = format!("{license}/~report?CMCD=e%3Dps%2Cpt%3D{place}%2Csta%3Da%2Cv%3D2");
        assert_eq!(proxy.ask(Method::GET, &report, &[], "").await.status, 204);
    }
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert_eq!(places(&home).await, ["ann tv"]);
    let proxy = home.proxy();
    let since = home.headend.now().await;
    proxy.ask(Method::POST, &format!("{license}/~stop"), &[], "").await;
    assert!(home.headend.next("stream-delete", since).await.status < 300);
    assert_eq!(home.headend.books().await["firstlight"]["bookmarks"], json!({"ann film": 754_000}));
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

/// A crash writes nothing: what is known of the place was written before, every five seconds at most.
#[tokio::test]
async fn the_position_of_a_player_is_at_most_seconds_old_after_a_crash() {
    const WORTH_A_WRITE: Duration = Duration::from_secs(5);
    const BETWEEN_REPORTS: Duration = Duration::from_millis(500);
    let home = Home::firstlight().await.bookmarked().await;
    let mut proxy = home.proxy();
    let film = json!({"deviceId": "tv", "contentId": "film", "contentTypeId": "vod"}).to_string();
    let headers = [("x-authorization", "ann"), ("x-device-id", "tv"), ("content-type", "application/json")];
    let film = proxy.ask(Method::POST, "/authorize", &headers, &film).await.json()["data"].clone();
    begin(&proxy, &film).await;
    let license = path(&film["licenseUrl"], "/license/~");
    let (began, mut told) = (Clock.now(), Vec::new());
    while Clock.now() < began + WORTH_A_WRITE + WORTH_A_WRITE / 2 {
        let place = 10_000 * (told.len() as u64 + 1);
        let report = format!("{license}/~report?CMCD=e%3Dps%2Cpt%3D{place}%2Csta%3Da%2Cv%3D2");
        assert_eq!(proxy.ask(Method::GET, &report, &[], "").await.status, 204);
        told.push((Clock.now(), place));
        tokio::time::sleep(BETWEEN_REPORTS).await;
    }
    // The position of a second before is on disk.
    let oldest = Clock.now() - WORTH_A_WRITE - Duration::from_secs(1);
    proxy.kill();
    let known = told.iter().rev().find(|(at, _)| *at <= oldest).unwrap().1;
    let proxy = home.proxy();
    let since = home.headend.now().await;
    proxy.ask(Method::POST, &format!("{license}/~stop"), &[], "").await;
    assert!(home.headend.next("stream-delete", since).await.status < 300);
    let bookmark = home.headend.books().await["firstlight"]["bookmarks"]["ann film"].as_u64().unwrap();
    assert!((known..=told.last().unwrap().1).contains(&bookmark), "{bookmark} of {told:?}");
    assert_eq!(proxy.terminate().await.code(), Some(0));
}
