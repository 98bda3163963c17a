//! Tests blackouts: the stream switches to its slate, and the player only sees other pictures.

use http::Method;

use super::{DASH, HLS, begin, fetch, folder, live, route};
use crate::media::origin::{Origin, Pages, get};
use crate::stage::Stage;

const SLATE_HLS: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
const SLATE_MEDIA: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2.0,\n0.m4s\n\
    #EXTINF:2.0,\n1.m4s\n#EXT-X-ENDLIST\n";
const SLATE_DASH: &str = "<MPD type=\"static\" mediaPresentationDuration=\"PT4S\"><Period><AdaptationSet>\
    <SegmentTemplate media=\"$Number$.m4s\" duration=\"2\"/></AdaptationSet></Period></MPD>";

fn pages() -> Pages {
    let mut pages = live();
    pages.extend([
        ("/slate/main.m3u8", HLS, SLATE_HLS.to_owned()),
        ("/slate/v.m3u8", HLS, SLATE_MEDIA.to_owned()),
        ("/slate/main.mpd", DASH, SLATE_DASH.to_owned()),
        (
            "/vod/live.mpd",
            DASH,
            "<MPD type=\"dynamic\" availabilityStartTime=\"2026-01-01T00:00:00Z\"><Period/></MPD>".to_owned(),
        ),
    ]);
    pages
}

async fn black_out(stage: &Stage, origin: &Origin) {
    let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
    let slate = format!("{}/slate/main.m3u8", origin.url());
    let done = stage.ask(Method::POST, &format!("/v1/sessions/{id}/blackout?url={slate}")).await;
    assert!(done.is_good(), "{}", done.text());
}

#[tokio::test]
async fn a_live_playlist_goes_on_with_the_slate() {
    let origin = Origin::with(pages()).await;
    let stage = route(&origin, "").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/live.m3u8").await;
    assert!(reply.text().contains("\n8.m4s\n"));
    black_out(&stage, &origin).await;
    let reply = fetch(&stage, "tv", &path).await;
    // The slate's server must not learn the caller's identity.
    let (_, _player) = get(stage.proxy, &path, "x-device-id: tv\r\nauthorization: hush\r\n").await;
    let last = origin.heads().pop().unwrap().to_ascii_lowercase();
    assert!(last.contains("/slate/") && !last.contains("hush"), "{last}");
    let slate = format!("{}/~s/p/{}/slate", folder(&path), origin.address);
    let expected = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:9\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-DISCONTINUITY\n#EXT-X-KEY:METHOD=NONE\n\
         #EXT-X-MAP:URI=\"{slate}/init.mp4\"\n#EXTINF:2.0,\n{slate}/0.m4s\n#EXTINF:2.0,\n{slate}/1.m4s\n"
    );
    assert!(reply.text().starts_with(&expected), "{}\n{expected}", reply.text());
    assert_eq!(stage.metric("media_requests_total", &["outcome=\"slate\""]).await, 2.0);
    stage.end().await;
}

#[tokio::test]
async fn a_live_mpd_goes_on_with_the_slate() {
    let origin = Origin::with(pages()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.mpd").await;
    black_out(&stage, &origin).await;
    let text = fetch(&stage, "tv", &path).await.text();
    assert!(text.contains("availabilityStartTime=\"2026-01-01T00:00:00.000Z\""), "{text}");
    let slate = format!("{}/~s/p/{}/slate", folder(&path), origin.address);
    assert!(text.contains(&format!("media=\"{slate}/$Number$.m4s\"")), "{text}");
    // A new playback gets the programme, if the authority grants it.
    let (_, reply) = begin(&stage, "pad", "/media/live.mpd").await;
    assert!(reply.text().contains("<Period/>"));
    stage.end().await;
}

/// The text of a playlist, and its media sequence number.
async fn playlist(stage: &Stage, path: &str) -> (String, u64) {
    let text = fetch(stage, "tv", path).await.text();
    let number = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    let number = number.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    (text, number)
}

#[tokio::test]
async fn the_simulated_channel_is_played_and_blacked_out() {
    let script = Stage::script().tables(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{headend}\"\nauthority = \"home\"\n",
    );
    let stage = script.start().await;
    let (path, _) = begin(&stage, "tv", "/media/live/main.m3u8").await;
    let folder = folder(&path).to_owned();
    for track in ["v", "a"] {
        let (text, _) = playlist(&stage, &format!("{folder}/{track}.m3u8")).await;
        let segment = text.lines().last().unwrap();
        let segment = fetch(&stage, "tv", &format!("{folder}/{segment}")).await;
        assert_eq!((segment.status.as_u16(), segment.header("content-type")), (200, "video/mp4"));
    }
    let (before, number) = playlist(&stage, &format!("{folder}/a.m3u8")).await;
    let count = before.lines().filter(|line| line.ends_with(".m4s")).count() as u64;
    let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
    let slate = format!("http://{}/slate/main.m3u8", stage.headend.address);
    stage.ask(Method::POST, &format!("/v1/sessions/{id}/blackout?url={slate}")).await;
    let (text, after) = playlist(&stage, &format!("{folder}/a.m3u8")).await;
    assert_eq!(after, number + count, "{text}");
    // Sound for sound.
    let segment = text.lines().find(|line| line.ends_with(".m4s")).unwrap();
    assert!(segment.ends_with("/slate/a/0.m4s"), "{text}");
    assert_eq!(fetch(&stage, "tv", segment).await.status, 200);
    let mpd = begin(&stage, "pad", "/media/live/main.mpd").await.1.text();
    assert!(mpd.contains("type=\"dynamic\""), "{mpd}");
    stage.end().await;
}

/// A title's manifest is fetched once: its player learns of the blackout by its segments.
#[tokio::test]
async fn a_blacked_out_title_is_refused_as_blackout() {
    let mut pages = pages();
    let title = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n7.m4s\n#EXT-X-ENDLIST\n";
    pages.extend([("/vod/title.m3u8", HLS, title.to_owned()), ("/vod/7.m4s", "video/mp4", "x".to_owned())]);
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/title.m3u8").await;
    let segment = format!("{}/7.m4s", folder(&path));
    assert_eq!(fetch(&stage, "tv", &segment).await.status, 200);
    black_out(&stage, &origin).await;
    let elsewhere = format!("{}/~h/s/cdn.example/8.m4s", folder(&path));
    assert_eq!(fetch(&stage, "tv", &elsewhere).await.error(), (403, "blackout".into()));
    stage.eventually("refused", async || fetch(&stage, "tv", &segment).await.status != 200).await;
    assert_eq!(fetch(&stage, "tv", &segment).await.error(), (403, "blackout".into()));
    stage.end().await;
}
