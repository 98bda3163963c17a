//! Tests the reach of a playback's path.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::origin::{Asked, Origin, get};
use super::{DASH, HLS, answer, begin, fetch, folder, live, route};
use crate::stage::Stage;
use crate::web::Reply;

const JSON: &str = "application/json";

#[tokio::test]
async fn a_killed_live_playlist_may_end() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "when-killed = \"end\"").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
    stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
    let reply = fetch(&stage, "tv", &path).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, format!("{}#EXT-X-ENDLIST\n", live()[0].2)));
    assert_eq!(fetch(&stage, "tv", &format!("{}/8.m4s", folder(&path))).await.error(), (403, "session_killed".into()));
    // A playlist that it never had cannot end where it stopped.
    let other = fetch(&stage, "tv", &format!("{}/other.m3u8", folder(&path))).await;
    assert_eq!(other.error(), (403, "session_killed".into()));
    stage.end().await;
}

async fn answer_manifest(asked: &mut Asked, status: &str) {
    answer_text(asked, status, "#EXTM3U\n#EXTINF:4,\n/7.m4s\n").await;
}

async fn answer_text(asked: &mut Asked, status: &str, text: &str) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {HLS}\r\ncontent-length: {}\r\n\r\n", text.len());
    asked.stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
}

/// A server may hold a live playlist back until it has more to say.
#[tokio::test]
async fn a_manifest_requested_before_a_kill_does_not_come_after_it() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let next = format!("{}/next.m3u8", folder(&path));
    let (reply, ()) = tokio::join!(fetch(&stage, "tv", &next), async {
        let mut asked = origin.next().await;
        let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
        stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
        stage.only_session("killed").await;
        answer_manifest(&mut asked, "200 OK").await;
    });
    assert_eq!(reply.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

/// Kills the only session while this request is at the origin, which then answers with `text`.
async fn killed_meanwhile(stage: &Stage, origin: &Origin, (method, path): (Method, &str), text: &str) -> Reply {
    let tv = stage.stranger().with("x-device-id", "tv").at(path);
    let (reply, ()) = tokio::join!(tv.post("").method(method), async {
        let mut asked = origin.next().await;
        let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
        stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
        stage.only_session("killed").await;
        answer_text(&mut asked, "200 OK", text).await;
    });
    reply
}

/// Only a live playlist that the player knows can end; whatever else is on its way comes no more.
#[tokio::test]
async fn a_playlist_that_cannot_end_does_not_come_after_a_kill() {
    let main = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
    let title = "#EXTM3U\n#EXTINF:4,\n7.m4s\n#EXT-X-ENDLIST\n";
    for (method, name, text) in [
        (Method::GET, "main.m3u8", main),
        (Method::GET, "title.m3u8", title),
        (Method::GET, "next.m3u8", &live()[0].2),
        (Method::GET, "main.mpd", "<MPD><Period/></MPD>"),
        (Method::GET, "error.m3u8", "<html>no</html>"),
        (Method::GET, "~g/p/ORIGIN/list", "{\"VERSION\": 1}"),
        (Method::HEAD, "next.m3u8", ""),
    ] {
        let origin = Origin::with(live()).await;
        let stage = route(&origin, "when-killed = \"end\"").start().await;
        let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
        let path = format!("{}/{}", folder(&path), name.replace("ORIGIN", &origin.address.to_string()));
        let reply = killed_meanwhile(&stage, &origin, (method.clone(), &path), text).await;
        assert_eq!(reply.status, 403, "{method} {name}");
        if method == Method::GET {
            assert_eq!(reply.error(), (403, "session_killed".to_owned()), "{name}");
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn a_live_playlist_requested_before_a_kill_ends_at_a_known_segment() {
    let origin = Origin::with(vec![]).await;
    let stage = route(&origin, "when-killed = \"end\"").start().await;
    let text = &live()[0].2;
    let ((path, _), ()) = tokio::join!(begin(&stage, "tv", "/media/live.m3u8"), async {
        answer_text(&mut origin.next().await, "200 OK", text).await;
    });
    let later = format!("{text}#EXTINF:4,\n9.m4s\n");
    let reply = killed_meanwhile(&stage, &origin, (Method::GET, &path), &later).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, format!("{text}#EXT-X-ENDLIST\n")));
    stage.end().await;
}

#[tokio::test]
async fn a_manifest_is_edited_with_any_success_status() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    for name in ["next.m3u8", "next"] {
        let next = format!("{}/{name}", folder(&path));
        let answers = async {
            // A document whose path does not show its kind may be requested twice.
            loop {
                answer_manifest(&mut origin.next().await, "203 Non-Authoritative Information").await;
            }
        };
        let reply = tokio::select! {
            reply = fetch(&stage, "tv", &next) => reply,
            () = answers => unreachable!(),
        };
        assert!(reply.text().contains("\n/media/~") && !reply.text().contains("\n/7"), "{name}: {}", reply.text());
    }
    stage.end().await;
}

#[tokio::test]
async fn a_steering_list_leads_to_no_other_server() {
    let list = json!({
        "VERSION": 1, "RELOAD-URI": "again?t=1", "PATHWAY-PRIORITY": ["a"],
        "PATHWAY-CLONES": [{"BASE-ID": "a", "ID": "b", "URI-REPLACEMENT": {"HOST": "elsewhere.example"}}],
    });
    let main = |uri: &str| {
        format!("#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"{uri}\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n")
    };
    let origin = Origin::with(vec![
        ("/vod/main.m3u8", HLS, main("/steer/list?k=1")),
        ("/vod/out.m3u8", HLS, main("https://elsewhere.example/list")),
        ("/vod/odd.m3u8", HLS, main("odd")),
        ("/steer/list", JSON, list.to_string()),
        ("/vod/odd", JSON, "no list".to_owned()),
    ])
    .await;
    let stage = route(&origin, "").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/main.m3u8").await;
    let at = format!("{}/~g/p/{}/steer/", folder(&path), origin.address);
    assert_eq!(reply.text(), main(&format!("{at}list?k=1")));
    let reply = fetch(&stage, "tv", &format!("{at}list?k=1&_HLS_pathway=a")).await;
    let expected = json!({"VERSION": 1, "RELOAD-URI": format!("{at}again?t=1"), "PATHWAY-PRIORITY": ["a"]});
    assert_eq!(reply.json(), expected);
    assert_eq!(origin.lines().last().unwrap(), "GET /steer/list?k=1&_HLS_pathway=a HTTP/1.1");
    let (_, reply) = begin(&stage, "tv", "/media/out.m3u8").await;
    assert_eq!(reply.text(), "#EXTM3U\n#\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n");
    let (_, reply) = begin(&stage, "tv", "/media/odd.m3u8").await;
    let odd = reply.text().split('"').nth(1).unwrap().to_owned();
    assert_eq!(fetch(&stage, "tv", &odd).await.error(), (403, "manifest_unfit".into()), "{odd}");
    stage.end().await;
}

#[tokio::test]
async fn a_made_up_path_reaches_no_server() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "hosts = [\"*.cdn.example\", \"b.example:8080\"]").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let asked = origin.lines().len();
    let admin = stage.admin.to_string();
    let port = origin.address.port();
    for host in [
        admin.as_str(),
        "127.0.0.1",
        "localhost",
        "169.254.169.254",
        "[fe80::1]",
        "[::1]:80",
        "[::1].cdn.example",
        "cdn.example",
        "evilcdn.example",
        "x.cdn.example:22",
        "x.cdn.example.",
        "b.example",
        "169.254.169.254%23.cdn.example",
        "169.254.169.254%2f.cdn.example",
        "169.254.169.254:80@x.cdn.example",
        "169.254.169.254%3A80%40x.cdn.example",
        ".cdn.example",
        "",
        "%31%32%37.0.0.1",
        &format!("localhost:{port}"),
        &format!("2130706433:{port}"),
    ] {
        for mark in ["~h/p", "~h/s", "~s/p", "~g/p", "~g/s", "~x/s"] {
            let path = format!("{}/{mark}/{host}/metrics", folder(&path));
            let reply = fetch(&stage, "tv", &path).await;
            assert!(!reply.is_good(), "{path}: {}", reply.text());
            // `origin_unavailable` would reveal that an address was dialled or resolved.
            let error = reply.error().1;
            assert!(["blackout", "dot_segment", "media_path", "bad_request"].contains(&&*error), "{path}: {error}");
        }
    }
    assert_eq!(origin.lines().len(), asked, "nobody was asked");
    assert_eq!(stage.metric("upstream_faults_total", &["route=\"/media\""]).await, 0.0, "nobody was looked for");
    stage.end().await;
}

/// A URI with the default port of its scheme names the same server.
#[tokio::test]
async fn the_port_of_a_scheme_may_be_written_or_not() {
    let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://cdn.test:80/a.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\n\
                https://cdn.test:443/b.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=3\nhttp://port.test/c.m3u8\n\
                #EXT-X-STREAM-INF:BANDWIDTH=4\nhttp://cdn.test:443/d.m3u8\n";
    let origin = Origin::with(vec![("/vod/main.m3u8", HLS, text.to_owned())]).await;
    let stage = route(&origin, "hosts = [\"cdn.test\", \"port.test:80\"]").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/main.m3u8").await;
    let own = folder(&path);
    let expected = text
        .replace("http://cdn.test:80/", &format!("{own}/~h/p/cdn.test/"))
        .replace("https://cdn.test:443/", &format!("{own}/~h/s/cdn.test/"))
        .replace("http://port.test/", &format!("{own}/~h/p/port.test/"));
    assert_eq!(reply.text(), expected);
    assert_eq!(stage.metric("manifests_unfit_total", &["fault=\"left\""]).await, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn a_registered_urls_query_stays_whole_and_the_players_own_follows() {
    let text = live()[0].2.clone();
    let origin = Origin::with(vec![("/other/live.m3u8", HLS, text)]).await;
    let stage = route(&origin, "").start().await;
    let order = json!({
        "authority": "home", "device": "tv", "license-route": "/license", "media-route": "/media",
        "authorization": {"contentId": "c", "heartbeatFlag": true, "heartbeatToken": "t",
            "contentUrl": format!("{}/other/live.m3u8?token=cdn&device=x&sig=%2f", origin.url())},
    });
    let reply = stage.tell(Method::POST, "/v1/playbacks", &order).await;
    let reply = reply.json();
    let url = reply["authorization"]["contentUrl"].as_str().unwrap_or_else(|| panic!("{reply}"));
    let path = format!("{}?a=1&CMCD=sid%3D%22s%22&token=ours", &url[url.find("/media/~").unwrap()..]);
    let (path, reply) = begin(&stage, "tv", &path).await;
    assert!(reply.is_good(), "{}", reply.text());
    assert!(path.ends_with("/other/live.m3u8?token=cdn&device=x&sig=%2f&a=1"), "{path}");
    assert_eq!(origin.lines(), ["GET /other/live.m3u8?token=cdn&device=x&sig=%2f&a=1 HTTP/1.1"]);
    stage.end().await;
}

/// Six of some three thousand public manifests name segments so: the parameters are the server's own.
#[tokio::test]
async fn the_query_below_a_playbacks_own_path_is_its_servers() {
    let queries = ["token=abc", "device=pc", "a&&device=&token=%2f+%20", "", "x=1&CMCDx=2"];
    let segments: String = queries.iter().map(|query| format!("#EXTINF:4,\n7.m4s?{query}\n")).collect();
    let main = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8?device=pc&token=x\n".to_owned();
    let origin =
        Origin::with(vec![("/vod/main.m3u8", HLS, main), ("/vod/v.m3u8", HLS, format!("#EXTM3U\n{segments}"))]).await;
    let stage = route(&origin, "device = [\"query:device\", \"peer\"]").start().await;
    // Without a playback the player's own query is sidebeat's, and is removed.
    let sent = fetch(&stage, "", "/media/main.m3u8?device=tv&token=mine&x=1").await;
    let path = sent.header("location").to_owned();
    assert!(path.ends_with("/main.m3u8?x=1"), "{path}");
    assert!(fetch(&stage, "", &path).await.is_good());
    let playlist = fetch(&stage, "", &format!("{}/v.m3u8?device=pc&token=x", folder(&path))).await;
    assert!(playlist.is_good(), "{}", playlist.text());
    assert_eq!(origin.lines().last().unwrap(), "GET /vod/v.m3u8?device=pc&token=x HTTP/1.1");
    for query in queries {
        let segment = format!("{}/7.m4s?{query}", folder(&path));
        let (reply, asked) = tokio::join!(fetch(&stage, "", &segment), async {
            let mut asked = origin.next().await;
            answer(&mut asked, 2, 2).await;
            asked.head
        });
        assert!(reply.is_good(), "{query}: {}", reply.text());
        assert_eq!(asked.lines().next().unwrap(), format!("GET /vod/7.m4s?{query} HTTP/1.1"));
    }
    assert_eq!(stage.each("device").await, ["tv"]);
    stage.end().await;
}

/// Its query names no device, and reaches the server once the playback has begun anew.
#[tokio::test]
async fn a_path_that_is_forgotten_keeps_the_query_of_its_server() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "device = [\"query:device\", \"header:x-device-id\"]").start().await;
    let unknown = format!("/media/~{}/live.m3u8?device=pc&token=a", "0".repeat(32));
    let (path, reply) = begin(&stage, "tv", &unknown).await;
    assert!(reply.is_good() && path.ends_with("/live.m3u8?device=pc&token=a"), "{path}");
    assert_eq!(origin.lines(), ["GET /vod/live.m3u8?device=pc&token=a HTTP/1.1"]);
    assert_eq!(stage.each("device").await, ["tv"]);
    stage.end().await;
}

/// A player that is read below another server's base would tell that server the playback's id.
#[tokio::test]
async fn absolute_uris_have_the_host_of_the_players_request() {
    let text = |asset: &str| format!("#EXTM3U\n#EXT-X-DATERANGE:ID=\"1\",X-ASSET-URI=\"{asset}\"\n#EXTINF:4,\n7.m4s\n");
    let mpd = |base: &str| {
        format!("<MPD><BaseURL>https://elsewhere.example/</BaseURL><Period><BaseURL>{base}</BaseURL></Period></MPD>")
    };
    let pages = vec![
        ("/vod/live.m3u8", HLS, text("/vod/ad.m3u8")),
        ("/vod/main.mpd", "application/dash+xml", mpd("https://b.cdn.example/v/")),
    ];
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "hosts = [\"*.cdn.example\"]").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/live.m3u8").await;
    assert_eq!(reply.text(), text(&format!("http://proxy.test{}/ad.m3u8", folder(&path))));
    let (path, reply) = begin(&stage, "tv", "/media/main.mpd").await;
    assert_eq!(reply.text(), mpd(&format!("http://proxy.test{}/~h/s/b.cdn.example/v/", folder(&path))));
    stage.end().await;
}

/// The origin answers when there is a segment more, and that takes longer than any other answer may.
#[tokio::test]
async fn a_blocking_reload_waits_for_three_target_durations() {
    let text = live()[0].2.replace("TARGETDURATION:4", "TARGETDURATION:1");
    let origin = Origin::with(vec![("/vod/live.m3u8", HLS, text)]).await;
    let stage = route(&origin, "timeout = \"200ms\"").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let late = Duration::from_millis(900);
    let blocked = format!("{}/next.m3u8", folder(&path));
    let next = format!("{blocked}?_HLS_msn=9&_HLS_part=1");
    let (reply, ()) = tokio::join!(fetch(&stage, "tv", &next), async {
        let mut asked = origin.next().await;
        tokio::time::sleep(late).await;
        answer_manifest(&mut asked, "200 OK").await;
    });
    assert!(reply.is_good(), "{}", reply.text());
    // Any other one is given up in time; and so is one that comes too late even so.
    for (query, most) in [("", late), ("?_HLS_msn=10", Duration::from_secs(15))] {
        let path = format!("{blocked}{query}");
        let both = async { tokio::join!(fetch(&stage, "tv", &path), origin.next()) };
        let (reply, _held) = tokio::time::timeout(most, both).await.unwrap_or_else(|_| panic!("never: {query}"));
        assert_eq!(reply.error(), (502, "origin_unavailable".to_owned()), "{query}");
    }
    stage.end().await;
}

/// Neither the time of a whole license call nor that of a request ends it.
#[tokio::test]
async fn a_request_for_media_to_come_waits_longer_than_a_call_may_last() {
    let text =
        live()[0].2.replace("TARGETDURATION:4", "TARGETDURATION:1") + "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.0.m4s\"\n";
    let origin = Origin::with(vec![("/vod/live.m3u8", HLS, text)]).await;
    let stage = route(&origin, "timeout = \"100ms\"").limits("call = \"300ms\"").authority("timeout = \"100ms\"");
    let stage = stage.start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let late = Duration::from_millis(900);
    for name in ["next.m3u8?_HLS_msn=9", "9.0.m4s"] {
        let path = format!("{}/{name}", folder(&path));
        let (reply, ()) = tokio::join!(fetch(&stage, "tv", &path), async {
            let mut asked = origin.next().await;
            tokio::time::sleep(late).await;
            if name.contains("m3u8") {
                answer_manifest(&mut asked, "200 OK").await
            } else {
                answer(&mut asked, 2, 2).await
            }
        });
        assert!(reply.is_good(), "{name}: {}", reply.text());
    }
    stage.end().await;
}

/// A player asks for a part before it is there, and its server answers when it is.
#[tokio::test]
async fn a_part_that_a_playlist_hints_at_is_waited_for_as_a_blocking_reload_is() {
    let hints = "#EXT-X-DEFINE:NAME=\"n\",VALUE=\"9.2\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p/{$n}.m4s?k=1\"\n\
                 #EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"/vod/i.mp4\"\n#EXT-X-PREFETCH:10.ts\n";
    let text = live()[0].2.replace("TARGETDURATION:4", "TARGETDURATION:1") + hints;
    let origin = Origin::with(vec![("/vod/live.m3u8", HLS, text)]).await;
    let stage = route(&origin, "timeout = \"200ms\"").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let late = Duration::from_millis(900);
    for name in ["p/9.2.m4s?k=1", "i.mp4", "10.ts"] {
        let part = format!("{}/{name}", folder(&path));
        let (reply, ()) = tokio::join!(fetch(&stage, "tv", &part), async {
            let mut asked = origin.next().await;
            tokio::time::sleep(late).await;
            answer(&mut asked, 2, 2).await;
        });
        assert!(reply.is_good(), "{name}: {}", reply.text());
    }
    // Three target durations are enough for one that comes never, and any other part has the usual time.
    for (name, most) in [("9.m4s", late), ("10.ts", Duration::from_secs(15))] {
        let part = format!("{}/{name}", folder(&path));
        let both = async { tokio::join!(fetch(&stage, "tv", &part), origin.next()) };
        let (reply, _held) = tokio::time::timeout(most, both).await.unwrap_or_else(|_| panic!("never: {name}"));
        assert_eq!(reply.error(), (502, "origin_unavailable".to_owned()), "{name}");
    }
    stage.end().await;
}

#[tokio::test]
async fn cookies_of_the_origin_are_for_the_playbacks_own_path() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "headers = [\"cookie\"]").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let (own, host) = (folder(&path), origin.address);
    let cookies = [
        ("a=1; Domain=.cdn.example; Path=/vod/show; Secure; HttpOnly", format!("a=1; Path={own}/show; HttpOnly")),
        ("b=2; Path=/vod/", format!("b=2; Path={own}/")),
        ("b=2; Path=/vod", format!("b=2; Path={own}/")),
        ("c=3; path=/; SameSite=None; Secure", format!("c=3; Path={own}/")),
        ("d=4; Path=/vodka/", format!("d=4; Path={own}/~h/p/{host}/vodka/")),
        ("e=5", "e=5".to_owned()),
    ];
    for (sent, expected) in cookies {
        for name in ["7.m4s", "next.m3u8"] {
            let segment = format!("{own}/{name}");
            let headers = "x-device-id: tv\r\ncookie: a=1\r\n";
            let ((head, _player), asked) = tokio::join!(get(stage.proxy, &segment, headers), async {
                let mut asked = origin.next().await;
                let head = format!("HTTP/1.1 200 OK\r\nset-cookie: {sent}\r\ncontent-length: 8\r\n\r\n#EXTM3U\n");
                asked.stream.write_all(head.as_bytes()).await.unwrap();
                asked.head.to_lowercase()
            });
            assert!(head.contains(&format!("set-cookie: {expected}\r\n")), "{expected}: {head}");
            assert!(asked.contains("\r\ncookie: a=1\r\n"), "{asked}");
        }
    }
    stage.end().await;
}

/// A title's player has the slate's playlist for good, and asks for its segments when the blackout is long forgotten.
#[tokio::test]
async fn the_remains_of_a_slate_are_refused_as_a_blackout() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    for host in [origin.address.to_string(), "slate.example".to_owned()] {
        for name in ["main.m3u8", "1.m4s"] {
            let reply = fetch(&stage, "tv", &format!("{}/~s/p/{host}/slate/{name}", folder(&path))).await;
            assert_eq!(reply.error(), (403, "blackout".to_owned()), "{host} {name}");
        }
    }
    stage.end().await;
}

/// Every relative URI of an MPD is bound where there is room: 24 bytes of each entry would become 70.
#[tokio::test]
async fn an_mpd_without_room_for_bound_uris_keeps_its_relative_ones() {
    let mpd = |entries: usize| {
        let list = "<SegmentURL media=\"1\"/>".repeat(entries);
        format!(
            "<MPD><Period><AdaptationSet><Representation><SegmentList>{list}</SegmentList></Representation></AdaptationSet></Period></MPD>"
        )
    };
    let (small, large) = (mpd(3), mpd(150_000));
    let pages = vec![("/vod/small.mpd", DASH, small), ("/vod/large.mpd", DASH, large.clone())];
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/small.mpd").await;
    assert_eq!(reply.text().matches(&format!("media=\"{}/1\"", folder(&path))).count(), 3);
    let (_, reply) = begin(&stage, "pad", "/media/large.mpd").await;
    assert!(reply.is_good() && reply.text() == large, "{}", reply.status);
    stage.end().await;
}
