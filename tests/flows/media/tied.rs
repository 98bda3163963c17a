//! Tests that media and the license call of a title are one playback, even if the license call does not name it.

use http::Method;

use super::{HLS, Origin, fetch, folder};
use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};
use crate::web::Reply;

/// A film and the title behind it, in segments.
async fn titles() -> Origin {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n0.m4s\n#EXTINF:4,\n1.m4s\n#EXT-X-ENDLIST\n";
    let manifest = |path| (path, HLS, text.to_owned());
    let segment = |path| (path, "video/mp4", "x".repeat(1000));
    let paths = ["/vod/film/0.m4s", "/vod/film/1.m4s", "/vod/next/0.m4s", "/vod/next/1.m4s"];
    let manifests = ["/vod/film/a.m3u8", "/vod/next/a.m3u8"].map(manifest);
    Origin::with(manifests.into_iter().chain(paths.map(segment)).collect()).await
}

/// Sessions of the head-end, which a license call opens.
fn script(origin: &Origin) -> Script {
    Stage::clearkey().tables(&format!(
        "[[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{}/vod\"\nauthority = \"head-end\"\n\
         license-route = \"/license\"\n",
        origin.url()
    ))
}

/// A player's requests for a title: its license by the plain path, as an app sets it.
struct Title {
    player: Player,
    /// Path of its manifest, after the redirect.
    path: String,
}

impl Title {
    async fn of(stage: &Stage, content: &str) -> Self {
        Self { player: stage.player("tv", content).await, path: String::new() }
    }

    /// `named`: its URL holds the content token.
    async fn manifest(&mut self, stage: &Stage, content: &str, named: bool) {
        let token = if named { format!("?token={}", self.player.token) } else { String::new() };
        let sent = fetch(stage, "tv", &format!("/media/{content}/a.m3u8{token}")).await;
        assert_eq!(sent.status, 302, "{}", sent.text());
        sent.header("location").clone_into(&mut self.path);
        assert!(self.reload(stage).await.is_good());
    }

    async fn reload(&self, stage: &Stage) -> Reply {
        fetch(stage, "tv", &self.path).await
    }

    async fn segment(&self, stage: &Stage, number: usize) -> Reply {
        fetch(stage, "tv", &format!("{}/{number}.m4s", folder(&self.path))).await
    }
}

/// Plays both in either order; the manifest's URL holds the content token.
async fn begun(stage: &Stage, content: &str, license_first: bool) -> Title {
    let mut title = Title::of(stage, content).await;
    if !license_first {
        title.manifest(stage, content, true).await;
    }
    assert!(title.player.post(CLEARKEY).await.is_good());
    if license_first {
        title.manifest(stage, content, true).await;
    }
    title
}

#[tokio::test]
async fn a_kill_stops_media_licensed_by_the_plain_path() {
    for (license_first, by_operator) in [(false, false), (false, true), (true, false), (true, true)] {
        let origin = titles().await;
        let stage = script(&origin).heartbeat(0.2).start().await;
        let film = begun(&stage, "film", license_first).await;
        assert!(film.segment(&stage, 0).await.is_good(), "license first: {license_first}");
        if by_operator {
            let id = stage.each("id").await.remove(0);
            assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
        } else {
            assert_eq!(stage.headend.kill_account("ann").await, 1);
            stage.only_session("killed").await;
        }
        for reply in [film.segment(&stage, 1).await, film.reload(&stage).await] {
            assert_eq!(
                reply.error(),
                (403, "session_killed".to_owned()),
                "license first: {license_first}, operator: {by_operator}"
            );
        }
        stage.end().await;
    }
}

/// The kill is of a session of which no media are known yet.
#[tokio::test]
async fn a_kill_before_the_first_segment_holds_for_media_of_the_same_token() {
    let origin = titles().await;
    let stage = script(&origin).heartbeat(0.2).start().await;
    let mut film = Title::of(&stage, "film").await;
    film.manifest(&stage, "film", true).await;
    assert!(film.player.post(CLEARKEY).await.is_good());
    assert_eq!(stage.headend.kill_account("ann").await, 1);
    stage.only_session("killed").await;
    assert_eq!(film.segment(&stage, 0).await.error(), (403, "session_killed".to_owned()));
    assert_eq!(film.reload(&stage).await.error(), (403, "session_killed".to_owned()));
    let first = fetch(&stage, "tv", &format!("/media/film/a.m3u8?token={}", film.player.token)).await;
    assert_eq!(first.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

/// A segment of the film is fetched with every beat. The next title only has its license.
#[tokio::test]
async fn a_film_licensed_by_the_plain_path_lives_by_its_segments() {
    for license_first in [false, true] {
        let origin = titles().await;
        let stage = script(&origin).heartbeat(0.5).authority("grace = \"1s\"").start().await;
        let film = begun(&stage, "film", license_first).await;
        assert!(film.segment(&stage, 0).await.is_good());
        let next = begun(&stage, "next", license_first).await;
        // Both playbacks are beaten.
        for beat in 1..=12 {
            stage.headend.nth("heartbeat", beat).await;
            assert!(film.segment(&stage, beat % 2).await.is_good(), "license first: {license_first}, beat {beat}");
        }
        assert!(stage.headend.open().await.contains(&"tv film".to_owned()), "license first: {license_first}");
        // The media of each are its own.
        assert!(next.reload(&stage).await.is_good());
        let rows = stage.sessions().await;
        let id = rows.iter().find(|row| row["content"] == "film").unwrap()["id"].as_str().unwrap();
        assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
        assert_eq!(
            film.segment(&stage, 1).await.error(),
            (403, "session_killed".to_owned()),
            "license first: {license_first}"
        );
        assert!(next.segment(&stage, 0).await.is_good(), "license first: {license_first}");
        stage.end().await;
    }
}

/// A caller that knows only the device's name can request a manifest, before or after the license: it could control the
/// film.
#[tokio::test]
async fn media_without_a_token_are_tied_to_no_license() {
    for license_first in [false, true] {
        let origin = titles().await;
        let stage = script(&origin).start().await;
        let (film, mut strange) = (Title::of(&stage, "film").await, Title::of(&stage, "film").await);
        if license_first {
            assert!(film.player.post(CLEARKEY).await.is_good());
        }
        strange.manifest(&stage, "film", false).await;
        if !license_first {
            assert!(film.player.post(CLEARKEY).await.is_good());
        }
        assert!(strange.segment(&stage, 0).await.is_good());
        let own = folder(&strange.path);
        stage.stranger().with("x-device-id", "tv").at(&format!("{own}/~stop")).post("").await;
        assert!(film.player.renew("film").await.is_good(), "the film plays on");
        stage.only_session("live").await;
        stage.end().await;
    }
}

/// A player that uses its first URL each time, or a caller that has one of several tokens.
#[tokio::test]
async fn reloads_of_a_first_manifest_evict_no_token() {
    let origin = titles().await;
    let stage = script(&origin).start().await;
    let mut film = begun(&stage, "film", false).await;
    let second = stage.player("tv", "film").await;
    assert!(second.post(CLEARKEY).await.is_good());
    for number in 0..12 {
        film.manifest(&stage, "film", true).await;
        assert!(film.segment(&stage, number % 2).await.is_good());
    }
    let id = stage.each("id").await.remove(0);
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
    assert_eq!(film.segment(&stage, 1).await.error(), (403, "session_killed".to_owned()));
    for player in [&film.player, &second] {
        assert_eq!(player.post(CLEARKEY).await.error(), (403, "session_killed".to_owned()));
    }
    stage.end().await;
}

/// A caller that knows only the device's name.
#[tokio::test]
async fn a_license_call_that_is_declined_takes_no_media() {
    let origin = titles().await;
    let stage = script(&origin).start().await;
    let mut film = Title::of(&stage, "film").await;
    film.manifest(&stage, "film", true).await;
    let forged = format!("{}AAAA", &film.player.token[..film.player.token.len() - 4]);
    assert!(!stage.player_with("tv", &forged).post(CLEARKEY).await.is_good());
    assert!(film.segment(&stage, 0).await.is_good());
    assert!(film.player.post(CLEARKEY).await.is_good());
    let row = stage.sessions().await.into_iter().find(|row| row["state"] == "live").unwrap();
    let id = row["id"].as_str().unwrap();
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
    assert_eq!(film.segment(&stage, 1).await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

/// An app fetches a fresh content token for every license call, and more of them than a playback keeps.
#[tokio::test]
async fn fresh_content_tokens_do_not_separate_a_film_from_its_media() {
    let origin = titles().await;
    let stage = script(&origin).start().await;
    let film = begun(&stage, "film", false).await;
    for number in 0..20 {
        let fresh = stage.player("tv", "film").await;
        assert!(fresh.post(CLEARKEY).await.is_good());
        assert!(film.segment(&stage, number % 2).await.is_good(), "{number}");
    }
    stage.only_session("live").await;
    let id = stage.each("id").await.remove(0);
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
    assert_eq!(film.segment(&stage, 1).await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}
