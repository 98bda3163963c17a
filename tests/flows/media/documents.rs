//! Tests documents beside a manifest: the reference decides how each is edited.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::origin::Origin;
use super::{DASH, HLS, answer, begin, fetch, folder, route};

const JSON: &str = "application/json";

/// A path without its host, which a player asks for.
fn path_of(url: &str) -> String {
    format!("/{}", url.splitn(4, '/').nth(3).unwrap())
}

#[tokio::test]
async fn an_asset_list_leads_through_the_route_or_is_counted() {
    let list = |own: &str| {
        json!({
            "ASSETS": [
                {"URI": format!("{own}/ads/a.m3u8?x=1"), "DURATION": 15.0},
                {"URI": "https://elsewhere.example/b.m3u8", "DURATION": 15.0},
            ],
            "SKIP-CONTROL": {"OFFSET": 5},
            "X-TRACKING": [{"url": "https://ads.example/beacon?x=1"}, {"url": "/vod/seen"}],
        })
    };
    let main = "#EXTM3U\n#EXT-X-DATERANGE:ID=\"1\",X-ASSET-LIST=\"ads/list?y=2\"\n#EXTINF:4,\n7.m4s\n";
    let pages = vec![
        ("/vod/live.m3u8", HLS, main.to_owned()),
        // Its path need not show its kind.
        ("/vod/ads/list", "text/plain", list("/vod").to_string()),
        ("/vod/odd", JSON, "[]".to_owned()),
    ];
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "strict = true").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/live.m3u8").await;
    let url = format!("http://proxy.test{}/~a/p/{}/vod/ads/list?y=2", folder(&path), origin.address);
    assert_eq!(reply.text(), main.replace("ads/list?y=2", &url));
    let reply = fetch(&stage, "tv", &format!("{}&_HLS_primary_id=1", path_of(&url))).await;
    assert_eq!(reply.json(), list(&format!("http://proxy.test{}", folder(&path))));
    assert_eq!(origin.lines().last().unwrap(), "GET /vod/ads/list?y=2&_HLS_primary_id=1 HTTP/1.1");
    assert_eq!(stage.metric("manifests_unfit_total", &["fault=\"left\""]).await, 1.0);
    let odd = path_of(&url).replace("ads/list?y=2", "odd");
    assert_eq!(fetch(&stage, "tv", &odd).await.error(), (403, "manifest_unfit".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_part_of_an_mpd_leads_through_the_route() {
    let main = "<MPD type=\"dynamic\"><Period xlink:href=\"ORIGIN/vod/parts/first.xml\"/></MPD>";
    let part = "<Period id=\"1\"><BaseURL>ORIGIN/vod/v/</BaseURL><AdaptationSet xlink:href=\"/vod/set\"/></Period>";
    let set = "<AdaptationSet><SegmentTemplate media=\"/vod/$Number$.m4s\" initialization=\"i.mp4\"/></AdaptationSet>";
    let origin = Origin::with(vec![
        ("/vod/main.mpd", DASH, main.replace("ORIGIN", "")),
        ("/vod/parts/first.xml", "text/xml", part.replace("ORIGIN", "")),
        ("/vod/set", "", set.to_owned()),
    ])
    .await;
    let stage = route(&origin, "strict = true").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/main.mpd").await;
    let own = format!("http://proxy.test{}", folder(&path));
    let at = |path: &str| format!("{own}/~x/p/{}{path}", origin.address);
    assert_eq!(reply.text(), main.replace("ORIGIN/vod/parts/first.xml", &at("/vod/parts/first.xml")));
    let reply = fetch(&stage, "tv", &path_of(&at("/vod/parts/first.xml"))).await;
    let expected = part.replace("ORIGIN/vod", &own).replace("/vod/set", &at("/vod/set"));
    assert_eq!(reply.text(), expected);
    let reply = fetch(&stage, "tv", &path_of(&at("/vod/set"))).await;
    assert_eq!(reply.text(), set.replace("/vod/$", &format!("{own}/$")));
    // A period is known as one by its root, too.
    let reply = fetch(&stage, "tv", &format!("{}/parts/first.xml", folder(&path))).await;
    assert_eq!(reply.text(), expected);
    stage.end().await;
}

/// The elements carry no URI. The player puts their values into the query of its own URLs, and the origin gets it.
#[tokio::test]
async fn a_query_that_the_player_copies_from_its_mpd_reaches_the_origin_with_every_segment() {
    const INFO: &str = "xmlns:up=\"urn:mpeg:dash:schema:urlparam:2016\" schemeIdUri=\"urn:mpeg:dash:urlparam:2016\"";
    let set = format!(
        "<EssentialProperty {INFO}><up:ExtUrlQueryInfo queryTemplate=\"$querypart$\" useMPDUrlQuery=\"true\" \
         queryString=\"a=https://b.example/c\" includeInRequests=\"segment mpd\" sameOriginOnly=\"true\"/>\
         <up:ExtHttpHeaderInfo headerParamSource=\"segment\" queryTemplate=\"$header:X-Sig$\"/></EssentialProperty>\
         <SupplementalProperty schemeIdUri=\"urn:mpeg:dash:urlparam:2014\"><up:UrlQueryInfo useMPDUrlQuery=\"true\"/>\
         </SupplementalProperty><AssetIdentifier schemeIdUri=\"urn:org:dashif:asset-id:2013\" \
         value=\"https://assets.example/1\"/>"
    );
    let main = format!("<MPD><Period>{set}<BaseURL>/vod/v/</BaseURL></Period></MPD>");
    let origin = Origin::with(vec![("/vod/main.mpd", DASH, main.clone())]).await;
    let stage = route(&origin, "").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/main.mpd?device=tv&sig=%2Fx%3D&t=1,2&CMCD=sid%3D%22a%22").await;
    assert_eq!(reply.text(), main.replace("/vod/v/", &format!("{}/v/", folder(&path))), "but for its base it stays");
    // The player adds the query of the MPD's URL.
    let (own, query) = path.split_once('?').unwrap();
    assert_eq!(query, "sig=%2Fx%3D&t=1,2");
    assert_eq!(origin.lines(), [format!("GET /vod/main.mpd?{query} HTTP/1.1")]);
    let segment = format!("{}/v/1.m4s?{query}", folder(own));
    let (reply, asked) = tokio::join!(fetch(&stage, "tv", &segment), async {
        let mut asked = origin.next().await;
        answer(&mut asked, 2, 2).await;
        asked.head
    });
    assert!(reply.is_good(), "{}", reply.text());
    assert_eq!(asked.lines().next().unwrap(), format!("GET /vod/v/1.m4s?{query} HTTP/1.1"));
    stage.end().await;
}

/// They are between a service and its app, like the beacons of an asset list; what is the player's own is bound beside them.
#[tokio::test]
async fn an_interstitials_message_to_an_app_stays_unchanged() {
    let range = "#EXT-X-DATERANGE:ID=\"1\",X-AD-CLICK=\"https://ads.example/c\",X-ASSET-URI=\"/vod/ad.m3u8\",\
                 X-TRACKING-URI=\"/beacon\",X-COM-EXAMPLE-URI=\"//ads.example/x\"\n";
    let main = format!("#EXTM3U\n{range}#EXTINF:4,\n7.m4s\n");
    let origin = Origin::with(vec![("/vod/live.m3u8", HLS, main.clone())]).await;
    let stage = route(&origin, "").start().await;
    let (path, reply) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = format!("http://proxy.test{}/ad.m3u8", folder(&path));
    assert_eq!(reply.text(), main.replace("/vod/ad.m3u8", &own));
    assert_eq!(stage.metric("manifests_unfit_total", &["fault=\"left\""]).await, 0.0);
    stage.end().await;
}

/// The reference identifies an asset list, also one that has moved.
#[tokio::test]
async fn a_document_that_has_moved_is_edited_where_it_is() {
    let list = |own: &str| json!({"ASSETS": [{"URI": format!("{own}/a.m3u8"), "DURATION": 15.0}]}).to_string();
    let clones = r#"{"VERSION":1,"PATHWAY-CLONES":[{"ID":"c"}]}"#.to_owned();
    let set = "<AdaptationSet><SegmentTemplate media=\"/vod/$Number$.m4s\"/></AdaptationSet>".to_owned();
    let origin = Origin::with(vec![
        ("/vod/live.m3u8", HLS, "#EXTM3U\n#EXTINF:4,\n7.m4s\n".to_owned()),
        ("/vod/a2", JSON, list("/vod")),
        ("/vod/g2", JSON, clones),
        ("/vod/x2", "", set.clone()),
    ])
    .await;
    let stage = route(&origin, "strict = true").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path).to_owned();
    let absolute = format!("http://proxy.test{own}");
    for (mark, edited) in [
        ("a", list(&absolute)),
        ("g", r#"{"VERSION":1}"#.to_owned()),
        ("x", set.replace("/vod/", &format!("{absolute}/"))),
    ] {
        let at = format!("{own}/~{mark}/p/{}/vod/{mark}", origin.address);
        for status in ["302 Found", "307 Temporary Redirect"] {
            let (moved, ()) = tokio::join!(fetch(&stage, "tv", &at), async {
                let mut asked = origin.next().await;
                let reply = format!("HTTP/1.1 {status}\r\nlocation: /vod/{mark}2?x=1\r\ncontent-length: 0\r\n\r\n");
                asked.stream.write_all(reply.as_bytes()).await.unwrap();
            });
            assert_eq!(moved.header("location"), format!("{at}2?x=1"), "{status}");
            assert_eq!(fetch(&stage, "tv", moved.header("location")).await.text(), edited, "{mark}");
        }
    }
    stage.end().await;
}

/// The multivariant playlist says what its own playlists may import.
#[tokio::test]
async fn imported_variables_keep_to_the_route() {
    let main = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"p\",VALUE=\"/vod/alt\"\n#EXT-X-DEFINE:QUERYPARAM=\"q\"\n\
                #EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
    let media = "#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"p\"\n#EXT-X-DEFINE:IMPORT=\"q\"\n#EXT-X-DATERANGE:ID=\"1\",\
                 X-ASSET-LIST=\"{$p}/l\"\n#EXTINF:4,\n{$p}/1.m4s\n#EXTINF:4,\n{$q}/2.m4s?q={$q}\n";
    let pages = vec![("/vod/main.m3u8", HLS, main.to_owned()), ("/vod/v.m3u8", HLS, media.to_owned())];
    let origin = Origin::with(pages).await;
    let stage = route(&origin, "strict = true").start().await;
    let (path, reply) = begin(&stage, "tv", &format!("/media/main.m3u8?q={}/vod/b", origin.url())).await;
    assert_eq!(reply.text(), main);
    let own = folder(path.split('?').next().unwrap()).to_owned();
    let reply = fetch(&stage, "tv", &format!("{own}/v.m3u8")).await;
    let expected = media
        .replace("\"{$p}/l", &format!("\"http://proxy.test{own}/~a/p/{}/vod/alt/l", origin.address))
        .replace("\n{$p}/", &format!("\n{own}/alt/"))
        .replace("\n{$q}/2.m4s?q={$q}", &format!("\n{own}/b/2.m4s?q={}/vod/b", origin.url()));
    assert_eq!(reply.text(), expected);
    // Without the multivariant playlist it is unknown where they lead.
    let (_, alone) = begin(&stage, "other", "/media/v.m3u8").await;
    assert_eq!(alone.error(), (403, "manifest_unfit".to_owned()));
    assert_eq!(stage.metric("manifests_unfit_total", &["fault=\"variable\""]).await, 1.0);
    stage.end().await;
}

/// Folders of users begin like sidebeat's own marks.
#[tokio::test]
async fn a_folder_that_begins_with_a_tilde_is_the_origins() {
    let text = "#EXTM3U\n#EXTINF:4,\n7.m4s\n".to_owned();
    let origin =
        Origin::with(vec![("/vod/~smith/main.m3u8", HLS, text.clone()), ("/vod/~s/main.m3u8", HLS, text)]).await;
    let stage = route(&origin, "").start().await;
    for (device, user) in [("tv", "~smith"), ("other", "~s"), ("third", "~c"), ("fourth", "~h/x")] {
        let (path, _) = begin(&stage, device, "/media/~smith/main.m3u8").await;
        let own = path.split("/~smith/").next().unwrap();
        let at = format!("{own}/{user}/7.m4s");
        let (reply, asked) = tokio::join!(fetch(&stage, device, &at), async {
            let mut asked = origin.next().await;
            answer(&mut asked, 2, 2).await;
            asked.head
        });
        assert!(reply.is_good(), "{}", reply.text());
        assert_eq!(asked.lines().next().unwrap(), format!("GET /vod/{user}/7.m4s HTTP/1.1"));
    }
    let (_, reply) = begin(&stage, "fifth", "/media/~s/main.m3u8").await;
    assert!(reply.is_good(), "{}", reply.text());
    for ours in ["/media/~h/p/cdn.example/main.m3u8", "/media/~c/main.m3u8"] {
        assert_eq!(fetch(&stage, "tv", ours).await.error(), (404, "playback_missing".to_owned()), "{ours}");
    }
    stage.end().await;
}
