//! Documents that stand beside a manifest: edited by how it refers to them.

use serde_json::json;

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
        // Where it stands need not say what it is.
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

/// The elements carry no URI. What the player makes of them is the query of its own URLs, and that goes on to the origin.
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
    // As a player does it: the query of the URL from which the MPD came.
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
async fn what_an_interstitial_says_to_an_app_stays_as_it_is() {
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
