//! Tests manifests and segments through the proxy: how they are bound to a playback, and what ends its stream.

mod bounds;
mod documents;
mod origin;
mod recognised;
mod slate;
mod tied;

use http::Method;
use tokio::io::AsyncWriteExt;

pub(crate) use self::origin::Origin;
use self::origin::{Asked, Pages, get, read, rest};
use crate::stage::{Script, Stage};
use crate::web::Reply;

pub(crate) const HLS: &str = "application/vnd.apple.mpegurl";
const DASH: &str = "application/dash+xml";
const MIB: usize = 1 << 20;

/// A media route to that origin, with sessions of the embedded authority. Each device is a household of its own.
pub(crate) fn route(origin: &Origin, lines: &str) -> Script {
    Stage::script().tables(&format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"device\"]\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{}/vod\"\nauthority = \"home\"\n{lines}\n",
        origin.url()
    ))
}

pub(crate) async fn fetch(stage: &Stage, device: &str, path: &str) -> Reply {
    let mut tv = stage.stranger().with("x-device-id", device);
    tv.path = path.to_owned();
    tv.post("").method(Method::GET).await
}

/// Asks for a manifest as a player does; gives the path that it was sent to, and what it got there.
pub(crate) async fn begin(stage: &Stage, device: &str, path: &str) -> (String, Reply) {
    let sent = fetch(stage, device, path).await;
    assert_eq!(sent.status, 302, "{}", sent.text());
    assert_eq!(sent.header("cache-control"), "no-store");
    let path = sent.header("location").to_owned();
    let reply = fetch(stage, device, &path).await;
    (path, reply)
}

/// The folder of a playback's manifest.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

fn live() -> Pages {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\n7.m4s\n#EXTINF:4,\n8.m4s\n";
    vec![("/vod/live.m3u8", HLS, text.to_owned())]
}

pub(crate) async fn answer(asked: &mut Asked, length: usize, first: usize) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: {length}\r\n\r\n");
    asked.stream.write_all(head.as_bytes()).await.unwrap();
    asked.stream.write_all(&vec![b'x'; first]).await.unwrap();
}

#[tokio::test]
async fn a_manifest_is_bound_to_its_playback() {
    let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/main.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\n/vod/w.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=3\nhttps://elsewhere.example/x.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=4\n\
        http://b.cdn.example/y.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=5\n../../z.m3u8\n";
    let origin = Origin::with(vec![("/vod/a/main.m3u8", HLS, text.to_owned())]).await;
    let stage = route(&origin, "hosts = [\"*.cdn.example\"]").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/a/main.m3u8?device=tv&x=1&CMCD=sid%3D%22a%22").await;
    assert!(path.ends_with("/a/main.m3u8?x=1"), "{path}");
    let own = path.split("/a/main").next().unwrap();
    let expected = text
        .replace("/vod/w.m3u8", &format!("{own}/w.m3u8"))
        .replace("http://b.cdn.example/y", &format!("{own}/~h/p/b.cdn.example/y"))
        .replace("../../z", &format!("{own}/~h/p/{}/z", origin.address));
    assert_eq!(reply.text(), expected);
    assert_eq!((reply.header("cache-control"), reply.header("etag")), ("no-store", ""));
    assert_eq!(origin.lines(), ["GET /vod/a/main.m3u8?x=1 HTTP/1.1"]);
    assert_eq!(stage.only_session("live").await["content"], "/a/main.m3u8");
    assert_eq!(stage.metric("manifests_unfit_total", &["fault=\"left\""]).await, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn a_manifest_names_the_license_url_and_the_reports_to_send() {
    let text = "<MPD><Period><AdaptationSet><ContentProtection><dashif:Laurl>https://lic.example/</dashif:Laurl>\
        </ContentProtection></AdaptationSet></Period></MPD>";
    let origin = Origin::with(vec![("/vod/main.mpd", DASH, text.to_owned())]).await;
    let media = route(&origin, "inject-cmcd = true\nlicense-route = \"/license\"");
    let stage = media.upstream("/license", &origin.url(), "authority = \"home\"").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/main.mpd").await;
    let id = path.split('/').nth(2).unwrap();
    let text = reply.text();
    assert!(text.contains(&format!("<dashif:Laurl>http://proxy.test/license/{id}</dashif:Laurl>")), "{text}");
    assert!(text.contains("<CMCDParameters "), "{text}");
    assert!(!text.contains(&format!("sessionID=\"{id}")), "the id is nobody's to report");
    stage.end().await;
}

#[tokio::test]
async fn segments_may_bypass_the_proxy() {
    let mpd = "<MPD><Period><BaseURL>v/</BaseURL></Period></MPD>";
    let pages = [live(), vec![("/vod/main.mpd", DASH, mpd.to_owned())]].concat();
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "segments = \"direct\"").start().await;
    let (_, reply) = begin(&stage, "tv", "/media/live.m3u8").await;
    assert!(reply.text().contains(&format!("\n{}/vod/7.m4s\n", origin.url())), "{}", reply.text());
    let (_, reply) = begin(&stage, "tv", "/media/main.mpd").await;
    assert_eq!(reply.text(), mpd.replace("v/<", &format!("{}/vod/v/<", origin.url())));
    stage.end().await;
}

#[tokio::test]
async fn a_segment_is_passed_on_while_it_comes() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let segment = format!("{}/7.m4s", folder(&path));
    let asking = get(stage.proxy, &segment, "x-device-id: tv\r\n");
    let answering = async {
        let mut asked = origin.next().await;
        answer(&mut asked, 64 * MIB, 1000).await;
        asked
    };
    let ((head, mut player), mut asked) = tokio::join!(asking, answering);
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 67108864"), "{head}");
    // The first bytes are here, and the last are not even sent.
    assert_eq!(read(&mut player, 1000).await, vec![b'x'; 1000]);
    let sending = async {
        for _ in 0..63 {
            asked.stream.write_all(&vec![b'y'; MIB]).await.unwrap();
        }
        asked.stream.write_all(&vec![b'z'; MIB - 1000]).await.unwrap();
    };
    let (whole, ()) = tokio::join!(read(&mut player, 64 * MIB - 1000), sending);
    assert_eq!((whole[0], whole[whole.len() - 1]), (b'y', b'z'));
    stage.end().await;
}

#[tokio::test]
async fn a_player_that_does_not_read_holds_its_server_back() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let segment = format!("{}/7.m4s", folder(&path));
    let asking = get(stage.proxy, &segment, "x-device-id: tv\r\n");
    let ((_, player), mut asked) = tokio::join!(asking, async {
        let mut asked = origin.next().await;
        answer(&mut asked, 256 * MIB, 1).await;
        asked
    });
    // The buffers of kernels and of sidebeat hold far less than the whole.
    let mut sent = 0;
    let chunk = vec![b'x'; MIB];
    while let Ok(written) = tokio::time::timeout(std::time::Duration::from_secs(1), asked.stream.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < 64 * MIB, "the proxy takes in what nobody reads");
    }
    // A player that hangs up ends the transfer.
    drop(player);
    let gone = async { while asked.stream.write_all(&chunk).await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone)
        .await
        .expect("the transfer goes on without a player");
    stage.end().await;
}

#[tokio::test]
async fn a_segment_that_breaks_off_is_not_taken_for_whole() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let segment = format!("{}/7.m4s", folder(&path));
    let asking = get(stage.proxy, &segment, "x-device-id: tv\r\n");
    let ((_, mut player), asked) = tokio::join!(asking, async {
        let mut asked = origin.next().await;
        answer(&mut asked, MIB, 1000).await;
        asked
    });
    drop(asked);
    assert_eq!(rest(&mut player).await, 1000);
    stage.end().await;
}

#[tokio::test]
async fn a_request_to_a_failing_origin_may_be_repeated() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    for name in ["7.m4s", "gone.m3u8"] {
        let path = format!("{}/{name}", folder(&path));
        // The origin hangs up without a reply.
        let (reply, ()) = tokio::join!(fetch(&stage, "tv", &path), async { drop(origin.next().await) });
        assert_eq!(reply.error(), (502, "origin_unavailable".to_owned()), "{path}");
    }
    stage.only_session("live").await;
    stage.end().await;
}

#[tokio::test]
async fn range_and_conditional_requests_are_passed_on_as_sent() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let segment = format!("{}/7.m4s?a=1&CMCD=bl%3D100%2Csta%3Da", folder(&path));
    let headers = "x-device-id: tv\r\nrange: bytes=0-1\r\nif-none-match: \"y\"\r\naccept-encoding: br\r\n\
        cmcd-request: bl=100\r\ncookie: a=b\r\n";
    let ((head, mut player), asked) = tokio::join!(get(stage.proxy, &segment, headers), async {
        let mut asked = origin.next().await;
        let reply = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1/9\r\ncontent-length: 2\r\n\
            etag: \"y\"\r\nalt-svc: h3\r\n\r\nxy";
        asked.stream.write_all(reply.as_bytes()).await.unwrap();
        asked.head.to_lowercase()
    });
    assert!(head.starts_with("HTTP/1.1 206") && head.contains("content-range: bytes 0-1/9"), "{head}");
    assert!(head.contains("etag") && !head.contains("alt-svc"), "{head}");
    assert_eq!(read(&mut player, 2).await, b"xy");
    assert!(asked.starts_with("get /vod/7.m4s?a=1 http/1.1"), "{asked}");
    for wanted in ["range: bytes=0-1", "if-none-match: \"y\"", "accept-encoding: br"] {
        assert!(asked.contains(wanted), "{asked}");
    }
    assert!(!asked.contains("cmcd") && !asked.contains("cookie") && !asked.contains("x-device-id"), "{asked}");
    // Its report is known nevertheless.
    assert_eq!(stage.only_session("live").await["player"], "paused");
    stage.end().await;
}

#[tokio::test]
async fn a_kill_cuts_the_segment_in_transit() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let segment = format!("{}/7.m4s", folder(&path));
    let ((_, mut player), _asked) = tokio::join!(get(stage.proxy, &segment, "x-device-id: tv\r\n"), async {
        let mut asked = origin.next().await;
        answer(&mut asked, MIB, 1000).await;
        asked
    });
    read(&mut player, 1000).await;
    let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
    stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
    assert_eq!(rest(&mut player).await, 0);
    stage.eventually("measured", async || stage.metric("kill_effective_seconds_count", &[]).await == 1.0).await;
    for path in [&path, &segment] {
        let reply = fetch(&stage, "tv", path).await;
        assert_eq!(reply.error(), (403, "session_killed".to_owned()), "{path}");
    }
    assert_eq!(stage.metric("kill_effective_seconds_count", &[]).await, 1.0);
    // A killed playback does not come back by itself; a new content token begins a new one.
    assert_eq!(fetch(&stage, "tv", "/media/live.m3u8").await.error(), (403, "session_killed".to_owned()));
    let (_, reply) = begin(&stage, "tv", "/media/live.m3u8?token=another").await;
    assert!(reply.is_good());
    stage.end().await;
}

#[tokio::test]
async fn a_segment_requested_before_a_kill_does_not_come_after_it() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let segment = format!("{}/7.m4s", folder(&path));
    let (reply, _asked) = tokio::join!(fetch(&stage, "tv", &segment), async {
        let mut asked = origin.next().await;
        let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
        stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
        stage.only_session("killed").await;
        answer(&mut asked, MIB, 1000).await;
        asked
    });
    assert_eq!(reply.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_zap_ends_the_stream_before() {
    let mut pages = live();
    pages.push(("/vod/other.m3u8", HLS, pages[0].2.clone()));
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "").start().await;
    let (first, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let (second, _) = begin(&stage, "tv", "/media/other.m3u8").await;
    // It may be a preload until its player reports that it plays.
    assert!(fetch(&stage, "tv", &first).await.is_good() && fetch(&stage, "tv", &second).await.is_good());
    assert!(fetch(&stage, "tv", &format!("{second}?CMCD=sta%3Dp")).await.is_good());
    assert_eq!(fetch(&stage, "tv", &first).await.error(), (403, "session_ended".to_owned()));
    // Another device has a place of its own.
    let (other, reply) = begin(&stage, "pad", "/media/live.m3u8").await;
    assert!(reply.is_good());
    assert_eq!(fetch(&stage, "tv", &other).await.error(), (403, "foreign_playback".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_path_without_a_playback_begins_one_or_is_refused() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let unknown = format!("/media/~{}", "0".repeat(32));
    let (path, reply) = begin(&stage, "tv", &format!("{unknown}/live.m3u8")).await;
    assert!(reply.is_good() && !path.starts_with(&unknown), "{path}");
    for (path, told) in [
        (format!("{unknown}/7.m4s"), (404, "playback_missing")),
        ("/media/7.m4s".to_owned(), (404, "playback_missing")),
        (format!("{}/../secret.m3u8", folder(&path)), (400, "dot_segment")),
        (format!("{}/%2e%2E/secret.ts", folder(&path)), (400, "dot_segment")),
        (format!("{}/~h/p/169.254.169.254/x", folder(&path)), (404, "media_path")),
    ] {
        assert_eq!(fetch(&stage, "tv", &path).await.error(), (told.0, told.1.to_owned()), "{path}");
    }
    stage.end().await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_edited_is_refused() {
    let large = format!("#EXTM3U\n{}", "#\n".repeat(1000));
    let pages = vec![
        ("/vod/large.m3u8", HLS, large),
        ("/vod/broken.mpd", DASH, "<MPD><Period></MPD>".to_owned()),
        ("/vod/error.m3u8", "text/html", "<html>no</html>".to_owned()),
    ];
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "manifest-max = \"1KiB\"").start().await;
    for (path, fault) in [("/media/large.m3u8", "large"), ("/media/broken.mpd", "broken")] {
        let (_, reply) = begin(&stage, "tv", path).await;
        assert_eq!(reply.error(), (403, "manifest_unfit".to_owned()), "{path}");
        assert_eq!(stage.metric("manifests_unfit_total", &[&format!("fault=\"{fault}\"")]).await, 1.0);
    }
    let (_, reply) = begin(&stage, "tv", "/media/error.m3u8").await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "<html>no</html>"));
    stage.end().await;
}

#[tokio::test]
async fn a_redirect_of_the_origin_stays_on_the_route() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let (host, own) = (origin.address.to_string(), folder(&path).to_owned());
    for (location, expected) in [
        ("/cdn/7.m4s?sig=1".to_owned(), Some(format!("{own}/~h/p/{host}/cdn/7.m4s?sig=1"))),
        ("b/7.m4s".to_owned(), Some(format!("{own}/b/7.m4s"))),
        ("../vod/b/7.m4s?sig=1".to_owned(), Some(format!("{own}/b/7.m4s?sig=1"))),
        ("../cdn/7.m4s".to_owned(), Some(format!("{own}/~h/p/{host}/cdn/7.m4s"))),
        ("?sig=1#t=3".to_owned(), Some(format!("{own}/7.m4s?sig=1"))),
        (format!("//{host}/vod/8.m4s"), Some(format!("{own}/8.m4s"))),
        ("https://elsewhere.example/7.m4s".to_owned(), None),
        ("//elsewhere.example/7.m4s".to_owned(), None),
    ] {
        let segment = format!("{}/7.m4s", folder(&path));
        let ((head, _player), ()) = tokio::join!(get(stage.proxy, &segment, "x-device-id: tv\r\n"), async {
            let mut asked = origin.next().await;
            let reply = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            asked.stream.write_all(reply.as_bytes()).await.unwrap();
        });
        match expected {
            Some(path) => assert!(head.contains(&format!("location: {path}\r\n")), "{location}: {head}"),
            None => assert!(head.starts_with("HTTP/1.1 403") && !head.contains("elsewhere"), "{head}"),
        }
    }
    stage.end().await;
}

/// The player follows each redirect. They end because the playback remembers where its player was sent.
#[tokio::test]
async fn redirects_of_the_origin_that_do_not_end_are_refused_and_counted() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path).to_owned();
    // Redirects to itself, to and fro, and ever on; for a segment, for a manifest, and to another of the origin's
    // paths.
    for (places, name) in [(1, "a.m4s"), (2, "b.m4s"), (100, "c.m4s"), (2, "d.m3u8"), (3, "/cdn/e.m4s")] {
        let mut next = format!("{own}/{}", name.trim_start_matches('/'));
        let mut hops = 0;
        let refused = loop {
            let there = format!("{name}?{}", (hops + 1) % places);
            let (reply, ()) = tokio::join!(fetch(&stage, "tv", &next), async {
                let mut asked = origin.next().await;
                let reply = format!("HTTP/1.1 302 Found\r\nlocation: {there}\r\ncontent-length: 0\r\n\r\n");
                asked.stream.write_all(reply.as_bytes()).await.unwrap();
            });
            if reply.status != 302 {
                break reply;
            }
            hops += 1;
            assert!(hops <= 10, "{places} {name}: it goes on");
            next = reply.header("location").to_owned();
        };
        assert_eq!((refused.error(), hops), ((502, "origin_redirect_loop".to_owned()), 10), "{places} {name}");
        assert_eq!(refused.header("location"), "");
    }
    let labels = ["fault=\"redirect_loop\"", "route=\"/media\""];
    assert_eq!(stage.metric("upstream_faults_total", &labels).await, 5.0);
    // A segment that is redirected once, again and again, is no loop.
    let moved = format!("{own}/live/7.m4s");
    for _ in 0..12 {
        let (reply, ()) = tokio::join!(fetch(&stage, "tv", &moved), async {
            let mut asked = origin.next().await;
            let reply = "HTTP/1.1 307 Temporary Redirect\r\nlocation: ../node/7.m4s\r\ncontent-length: 0\r\n\r\n";
            asked.stream.write_all(reply.as_bytes()).await.unwrap();
        });
        assert_eq!(reply.header("location"), format!("{own}/node/7.m4s"));
    }
    stage.end().await;
}

/// A head at the limit is passed on whole; one field or one byte more is refused, for a manifest and a segment.
#[tokio::test]
async fn a_head_of_the_origin_is_taken_up_to_its_limits() {
    const MOST: usize = 32 * 1024;
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    for (name, text) in [("7.m4s", "ok"), ("main.m3u8", "#EXTM3U\n#EXTINF:4,\n7.m4s\n")] {
        let first = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", text.len());
        let fields = |count: usize| (1..count).map(|number| format!("x-{number}: b\r\n")).collect::<String>();
        let bytes = |whole: usize| format!("x: {}\r\n", "y".repeat(whole - first.len() - "x: \r\n\r\n".len()));
        for (more, fits) in [(fields(256), true), (fields(257), false), (bytes(MOST), true), (bytes(MOST + 1), false)] {
            let label = ["fault=\"too_large\"", "route=\"/media\""];
            let before = stage.metric("upstream_faults_total", &label).await;
            let at = format!("{}/{name}", folder(&path));
            let ((head, mut player), ()) = tokio::join!(get(stage.proxy, &at, "x-device-id: tv\r\n"), async {
                let mut asked = origin.next().await;
                asked.stream.write_all(format!("{first}{more}\r\n{text}").as_bytes()).await.unwrap();
            });
            let what = format!("{name}, {} bytes", more.len());
            if fits {
                assert!(head.starts_with("HTTP/1.1 200"), "{what}: {head}");
                assert!(more.lines().all(|line| head.contains(line)), "{what}: every field passes");
                assert_eq!(read(&mut player, text.len()).await, text.as_bytes(), "{what}");
            } else {
                assert!(
                    head.starts_with("HTTP/1.1 502") && !head.contains("x-1: b") && !head.contains("yyy"),
                    "{what}: {head}"
                );
            }
            let counted = stage.metric("upstream_faults_total", &label).await - before;
            assert_eq!(counted, f64::from(u8::from(!fits)), "{what}");
        }
    }
    stage.end().await;
}

#[tokio::test]
async fn a_doubtful_reply_of_the_origin_is_a_502() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let (many, long) = ("a: b\r\n".repeat(257), format!("a: {}\r\n", "b".repeat(40 * 1024)));
    for (lines, fault) in [
        ("content-length: 2, 3\r\n", "malformed"),
        ("content-length: 2\r\ntransfer-encoding: gzip, chunked\r\n", "malformed"),
        (many.as_str(), "too_large"),
        (long.as_str(), "too_large"),
    ] {
        let segment = format!("{}/7.m4s", folder(&path));
        let ((head, _player), ()) = tokio::join!(get(stage.proxy, &segment, "x-device-id: tv\r\n"), async {
            let mut asked = origin.next().await;
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n{lines}\r\nok");
            asked.stream.write_all(reply.as_bytes()).await.unwrap();
        });
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        let fault = format!("fault=\"{fault}\"");
        assert!(stage.metric("upstream_faults_total", &[&fault, "route=\"/media\""]).await >= 1.0, "{fault}");
    }
    stage.end().await;
}

/// Without `Date`, a clock that reads the head of a reply fails.
#[tokio::test]
async fn a_page_may_read_what_the_origin_exposes() {
    const EXPOSING: &str = "access-control-expose-headers: Date, Age, CMSD-Dynamic\r\ncross-origin-resource-policy: \
                            same-site\r\ntiming-allow-origin: *\r\ncmsd-dynamic: \"cdn\";etp=9\r\nage: 3\r\n";
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let segment = format!("{}/7.m4s", folder(&path));
    let page = "x-device-id: tv\r\norigin: https://tv.example\r\n";
    let ((head, _player), ()) = tokio::join!(get(stage.proxy, &segment, page), async {
        let mut asked = origin.next().await;
        let reply = format!("HTTP/1.1 200 OK\r\n{EXPOSING}content-type: video/mp4\r\ncontent-length: 0\r\n\r\n");
        asked.stream.write_all(reply.as_bytes()).await.unwrap();
    });
    for line in [
        "access-control-expose-headers: x-ssm-error, x-sidebeat-incident, date, age, cmsd-dynamic\r\n",
        "access-control-allow-origin: https://tv.example\r\n",
        "cross-origin-resource-policy: cross-origin\r\n",
        "timing-allow-origin: *\r\n",
        "cmsd-dynamic: \"cdn\";etp=9\r\n",
        "age: 3\r\n",
        "\r\ndate: ",
    ] {
        assert!(head.contains(line), "{line:?} is missing in {head}");
    }
    stage.end().await;
}

#[tokio::test]
async fn a_live_player_that_fetches_nothing_more_is_gone() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "[route.endings]\nmedia-silence = \"300ms\"").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    stage.eventually("closed", async || stage.each("state").await == ["closed"]).await;
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"media-silent\""]).await, 1.0);
    // It was not: its next manifest begins anew, under the same path.
    let again = fetch(&stage, "tv", &path).await;
    assert!(again.is_good(), "{}", again.text());
    assert_eq!(live_sessions(&stage).await, 1);
    stage.end().await;
}

async fn live_sessions(stage: &Stage) -> usize {
    stage.each("state").await.iter().filter(|state| *state == "live").count()
}

/// A laptop that wakes goes on with a segment, and its player would take a refusal for the end.
#[tokio::test]
async fn a_segment_takes_back_an_end_that_was_only_presumed() {
    for ends in ["media-silence = \"300ms\"", "longest = \"300ms\"", "unused = \"300ms\"\nmedia-silence = \"off\""] {
        let origin = Origin::with(live()).await;
        let stage = route(&origin, &format!("[route.endings]\n{ends}")).start().await;
        let sent = fetch(&stage, "tv", "/media/live.m3u8").await;
        let path = sent.header("location").to_owned();
        if !ends.starts_with("unused") {
            assert!(fetch(&stage, "tv", &path).await.is_good());
        }
        let segment = format!("{}/7.m4s", folder(&path));
        // A used playback is no longer unused.
        for round in 1..=if ends.starts_with("unused") { 1 } else { 2 } {
            stage.eventually("closed", async || stage.each("state").await.iter().all(|state| state == "closed")).await;
            let ((head, _player), ()) = tokio::join!(get(stage.proxy, &segment, "x-device-id: tv\r\n"), async {
                let mut asked = origin.next().await;
                answer(&mut asked, 1, 1).await;
            });
            assert!(head.starts_with("HTTP/1.1 200"), "{ends}: {head}");
            let opened = stage.metric("session_events_total", &["event=\"opened\""]).await;
            assert_eq!(opened, f64::from(round + 1), "{ends}: begun anew once more");
        }
        stage.end().await;
    }
}

/// A playback that its viewer ended stays ended, and another's place is not taken.
#[tokio::test]
async fn a_segment_takes_back_neither_a_stop_nor_anothers_place() {
    let origin = Origin::with(live()).await;
    let stage = Stage::script().tables(&format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{}/vod\"\nauthority = \"home\"\n\
         [route.endings]\nmedia-silence = \"1s\"\n",
        origin.url()
    ));
    let stage = stage.start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let segment = format!("{}/7.m4s", folder(&path));
    stage.eventually("closed", async || stage.each("state").await == ["closed"]).await;
    let (other, _) = begin(&stage, "phone", "/media/live.m3u8").await;
    assert_eq!(fetch(&stage, "tv", &segment).await.error(), (403, "limit_reached".to_owned()));
    let mut phone = stage.stranger().with("x-device-id", "phone");
    phone.path = "/media/~stop".to_owned();
    assert_eq!(phone.post("").await.status, 204);
    let left = format!("{}/7.m4s", folder(&other));
    assert_eq!(fetch(&stage, "phone", &left).await.error(), (403, "session_ended".to_owned()));
    stage.end().await;
}

/// Only its first request brought a token: below a playback's own path there is none.
#[tokio::test]
async fn a_playback_that_begins_anew_is_counted_as_it_was() {
    let origin = Origin::with(live()).await;
    let lines = "content-token = [\"query:token\"]\n[route.endings]\nmedia-silence = \"300ms\"";
    for account in ["\"token-claim:sub\"", "\"token-claim:sub\", \"device\""] {
        let tables = format!(
            "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [{account}]\n\
             [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{}/vod\"\nauthority = \"home\"\n{lines}\n",
            origin.url()
        );
        let stage = Stage::script().tables(&tables).start().await;
        // {"sub":"ann"}
        let (path, _) = begin(&stage, "tv", "/media/live.m3u8?token=e30.eyJzdWIiOiJhbm4ifQ.x").await;
        for _ in 0..2 {
            stage.eventually("gone", async || stage.each("state").await.iter().all(|state| state == "closed")).await;
            let reply = fetch(&stage, "tv", &path).await;
            assert!(reply.is_good(), "{account}: {}", reply.text());
        }
        assert!(stage.each("account").await.iter().all(|account| account == "ann"), "{account}");
        stage.end().await;
    }
}

/// A player whose segments come straight from the origin is visible only by its manifest.
#[tokio::test]
async fn a_live_player_that_need_not_ask_again_is_not_gone() {
    let mpd = |update: &str| {
        format!("<MPD type=\"dynamic\"{update}><Period><SegmentTemplate media=\"$Number$.m4s\"/></Period></MPD>")
    };
    let often = " minimumUpdatePeriod=\"PT0.1S\"";
    let pages = vec![("/vod/often.mpd", DASH, mpd(often)), ("/vod/never.mpd", DASH, mpd(""))];
    let origin = Origin::with(pages).await;
    let lines = "segments = \"direct\"\n[route.endings]\nmedia-silence = \"300ms\"";
    let stage = route(&origin, lines).start().await;
    begin(&stage, "tv", "/media/never.mpd").await;
    begin(&stage, "phone", "/media/often.mpd").await;
    stage.eventually("one closed", async || stage.each("state").await.contains(&"closed".to_owned())).await;
    let rows = stage.sessions().await;
    let live: Vec<_> = rows.iter().filter(|row| row["state"] == "live").map(|row| &row["device"]).collect();
    assert_eq!(live, ["tv"]);
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"media-silent\""]).await, 1.0);
    stage.end().await;
}

/// The playlist that names the others does not say that it is live, but a report may.
#[tokio::test]
async fn a_live_player_whose_playlists_are_elsewhere_is_not_gone() {
    let main = |uri: &str| format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{uri}\n");
    let pages = vec![
        ("/vod/past.m3u8", HLS, main("https://elsewhere.example/v.m3u8")),
        ("/vod/through.m3u8", HLS, main("v.m3u8")),
    ];
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "[route.endings]\nmedia-silence = \"300ms\"").start().await;
    for (device, path) in [("tv", "/media/past.m3u8"), ("phone", "/media/through.m3u8")] {
        let sent = fetch(&stage, device, path).await;
        let told = format!("{}?CMCD=st%3Dl", sent.header("location"));
        assert!(fetch(&stage, device, &told).await.is_good(), "{device}");
    }
    stage.eventually("one closed", async || stage.each("state").await.contains(&"closed".to_owned())).await;
    let rows = stage.sessions().await;
    let live: Vec<_> = rows.iter().filter(|row| row["state"] == "live").map(|row| &row["device"]).collect();
    assert_eq!(live, ["tv"]);
    assert_eq!(stage.metric("sessions_ended_total", &["reason=\"media-silent\""]).await, 1.0);
    stage.end().await;
}
