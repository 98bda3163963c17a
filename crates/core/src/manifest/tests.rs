//! Tests of every manifest format: the edits, their bounds, and properties of random manifests.

mod bases;
mod tables;
mod uris;

use bytes::Bytes;
use proptest::prelude::*;

use super::uri::UriReach;
use super::*;

const OWN: &str = "/media/~p/0123/";
const SITE: &str = "http://proxy.test";

fn bind(to: &AbsoluteUri<'_>, purpose: Purpose) -> Option<String> {
    let scheme = if to.tls { "s" } else { "" };
    (purpose != Purpose::Data || to.authority != "keys.example")
        .then(|| format!("{OWN}~h/{}{scheme}{}", to.authority, to.path))
}

fn plan() -> EditPlan<'static> {
    EditPlan {
        all: false,
        base: UriBase { authority: "cdn.example", path: "/vod/show/main", root: "/vod/", tls: true },
        bind: &bind,
        cmcd: None,
        end: None,
        imports: &[],
        license: None,
        own: OWN,
        part: false,
        playheads: true,
        query: Some("q=https%3A%2F%2Fother.example&t=1%2F2"),
        site: Some(SITE),
        strict: false,
    }
}

fn edited(format: ManifestFormat, text: &str, plan: &EditPlan<'_>) -> String {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let found = read(format, &bytes, plan, DEFAULT_MAX_MANIFEST_BYTES).unwrap();
    String::from_utf8(apply(&bytes, &found.edits).unwrap().to_vec()).unwrap()
}

const LIVE: &str = "#EXTM3U\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-MEDIA-SEQUENCE:7\r\n\
    #EXT-X-DISCONTINUITY-SEQUENCE:2\r\n#EXT-X-KEY:METHOD=AES-128,URI=\"https://keys.example/k\",IV=0x1\r\n\
    #EXT-X-MAP:URI=\"/init.mp4\"\r\n#EXTINF:4,\r\nhttps://cdn.example/vod/show/7.m4s?x=\"1\"\r\n\
    #EXT-X-DISCONTINUITY\r\n#EXTINF:3.5,\r\n//other.example/8.m4s\r\n\
    #EXT-X-PART:DURATION=1,URI=\"../../9.1.m4s\"\r\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.2.m4s\"\r\n\
    #EXT-X-RENDITION-REPORT:URI=\"/a/live.m3u8\",LAST-MSN=8\r\n";

#[test]
fn a_live_playlist_keeps_to_the_route() {
    let expected = LIVE
        .replace("\"/init.mp4\"", "\"/media/~p/0123/~h/cdn.examples/init.mp4\"")
        .replace(
            "https://cdn.example/vod/show/7.m4s?x=\"1\"",
            "/media/~p/0123/~h/cdn.examples/vod/show/7.m4s?x=%221%22",
        )
        .replace("//other.example/8", "/media/~p/0123/~h/other.examples/8")
        .replace("\"../../9.1", "\"/media/~p/0123/~h/cdn.examples/9.1")
        .replace("\"/a/live", "\"/media/~p/0123/~h/cdn.examples/a/live");
    assert_eq!(edited(ManifestFormat::Hls, LIVE, &plan()), expected);
    let found = read(ManifestFormat::Hls, LIVE.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap();
    assert_eq!(found.left, 1, "the key stays where it is");
    assert_eq!(found.facts.live, Some(true));
    assert_eq!(found.facts.tail, Some(PlaylistTail { discontinuity: 3, next: 9, target_s: 4 }));
    let ended = edited(ManifestFormat::Hls, LIVE, &EditPlan { end: Some(9), ..plan() });
    let (kept, _) = expected.split_once("#EXT-X-PART:").unwrap();
    assert_eq!(ended, format!("{kept}#EXT-X-ENDLIST\n"), "what comes after the last segment is no part of it");
    let ended = edited(ManifestFormat::Hls, LIVE, &EditPlan { end: Some(8), ..plan() });
    let (kept, _) = expected.split_once("#EXT-X-DISCONTINUITY\r").unwrap();
    assert_eq!(ended, format!("{kept}#EXT-X-ENDLIST\n"));
    for end in [1, 7] {
        let plan = EditPlan { end: Some(end), ..plan() };
        assert_eq!(
            read(ManifestFormat::Hls, LIVE.as_bytes(), &plan, DEFAULT_MAX_MANIFEST_BYTES),
            Err(UnfitManifest::Moved),
            "its window has moved on"
        );
    }
}

#[test]
fn steering_keeps_to_the_route_or_is_removed() {
    let none = |_: &AbsoluteUri<'_>, _: Purpose| None;
    let hls =
        "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"URI\",PATHWAY-ID=\"a\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
    let dash = "<MPD><ContentSteering defaultServiceLocation=\"a\">URI</ContentSteering><Period/></MPD>";
    for (uri, bound) in [
        ("https://steer.example/s?a=1", "/media/~p/0123/~h/steer.examples/s?a=1"),
        ("s.json", "/media/~p/0123/~h/cdn.examples/vod/show/s.json"),
    ] {
        let (hls, dash) = (hls.replace("URI=\"URI", &format!("URI=\"{uri}")), dash.replace("URI", uri));
        assert_eq!(edited(ManifestFormat::Hls, &hls, &plan()), hls.replace(uri, bound));
        assert_eq!(edited(ManifestFormat::Dash, &dash, &plan()), dash.replace(uri, &format!("{SITE}{bound}")));
        let nowhere = EditPlan { bind: &none, ..plan() };
        let without = edited(ManifestFormat::Hls, &hls, &nowhere);
        assert_eq!(without, "#EXTM3U\n#\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n");
        assert_eq!(edited(ManifestFormat::Dash, &dash, &nowhere), "<MPD><Period/></MPD>");
        assert_eq!(read(ManifestFormat::Hls, hls.as_bytes(), &nowhere, DEFAULT_MAX_MANIFEST_BYTES).unwrap().left, 0);
    }
    // A list inside the manifest itself does not pass through sidebeat, and a player may choose it.
    let only = |to: &AbsoluteUri<'_>, purpose: Purpose| bind(to, purpose).filter(|_| to.authority == "steer.example");
    for uri in ["data:application/json,{}", "https://steer.example/s\",SERVER-URI=\"https://elsewhere.example/s"] {
        let hls = hls.replace("URI=\"URI", &format!("URI=\"{uri}"));
        let without = edited(ManifestFormat::Hls, &hls, &EditPlan { bind: &only, ..plan() });
        assert_eq!(without, "#EXTM3U\n#\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n");
    }
    assert_eq!(edited(ManifestFormat::Dash, &dash.replace("URI", "data:,{}"), &plan()), "<MPD><Period/></MPD>");
}

#[test]
fn a_multivariant_playlist_keeps_to_the_route() {
    let text = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"host\",VALUE=\"https://other.example\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"https://x\",URI=\"{$host}/a.m3u8\"\n\
        #EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"skd://id\"\n\
        #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"/i.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
    let expected = text
        .replace("{$host}/a", "/media/~p/0123/~h/other.examples/a")
        .replace("\"/i", "\"/media/~p/0123/~h/cdn.examples/i");
    assert_eq!(edited(ManifestFormat::Hls, text, &plan()), expected);
    let found = read(ManifestFormat::Hls, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap();
    assert_eq!((found.facts.live, found.facts.audio), (None, vec!["/a.m3u8".to_owned()]));
    let all = edited(ManifestFormat::Hls, text, &EditPlan { all: true, ..plan() });
    assert!(all.contains("\n/media/~p/0123/~h/cdn.examples/vod/show/v.m3u8\n"), "{all}");
}

#[test]
fn a_title_tells_when_its_segments_begin() {
    let text = "#EXTM3U\n#EXTINF:2.0,\n#EXT-X-BYTERANGE:10@5\nv.mp4\n#EXTINF:2.5,\n#EXT-X-BYTERANGE:10\nv.mp4\n\
        #EXTINF:2,\n../x/3.ts?t=1\n#EXT-X-ENDLIST";
    let facts = read(ManifestFormat::Hls, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap().facts;
    let starts = [("/vod/show/v.mp4", 5), ("/vod/show/v.mp4", 15), ("/vod/x/3.ts", 0), ("/vod/show/v.mp4", 6)];
    let starts = starts.map(|(path, first)| facts.playheads.start(path, first));
    assert_eq!(starts, [Some(0), Some(2000), Some(4500), None]);
    assert_eq!(facts.playheads.end(), Some(6500));
    assert_eq!(facts.live, Some(false));
}

#[test]
fn a_timeline_tells_when_its_segments_begin() {
    let text = r#"<MPD type="static" mediaPresentationDuration="PT1M"><Period duration="PT20S">
        <AdaptationSet><SegmentTemplate media="$RepresentationID$/$Number$.m4s" startNumber="5" timescale="10"
         presentationTimeOffset="100"><SegmentTimeline><S t="100" d="20" r="2"/><S d="30" r="-1"/><S t="250" d="10"/>
        </SegmentTimeline></SegmentTemplate></AdaptationSet></Period><Period><AdaptationSet>
         <SegmentTemplate media="$RepresentationID$/$Number$.m4s" startNumber="15" duration="4"/>
        </AdaptationSet></Period></MPD>"#;
    let playheads =
        read(ManifestFormat::Dash, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap().facts.playheads;
    let starts =
        [4, 5, 7, 8, 9, 11, 12, 14, 15, 16].map(|number| playheads.start(&format!("/vod/show/v/{number}.m4s"), 0));
    let expected =
        [None, Some(0), Some(4000), Some(6000), Some(9000), Some(15_000), None, None, Some(20_000), Some(24_000)];
    assert_eq!(starts, expected);
    assert_eq!(playheads.end(), Some(60_000));
}

const MPD: &str = r#"<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" xmlns:x="http://www.w3.org/1999/xlink" type="static">
 <BaseURL serviceLocation="a">https://other.example/a/?b=1&amp;c</BaseURL>
 <Location><![CDATA[https://cdn.example/vod/show/main?x]]></Location>
 <UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="https://time.example/now"/>
 <Period id='0' start="PT10S" x:href="/remote.xml">
  <BaseURL>v/</BaseURL>
  <AdaptationSet>
   <ContentProtection schemeIdUri="urn:uuid:edef8ba9"><dashif:Laurl>https://lic.example/wv</dashif:Laurl></ContentProtection>
   <ContentProtection schemeIdUri="urn:uuid:9a04f079"><ms:laurl licenseUrl="https://lic.example/pr"/></ContentProtection>
   <SegmentTemplate media='/s/$Number$.m4s' initialization="../../../i.mp4" startNumber="1" duration="4"/>
   <Representation id="1"><SegmentList><Initialization sourceURL="HTTPS://cdn.example/i"/>
    <SegmentURL media="1.m4s" index="//cdn.example/x"/></SegmentList></Representation>
  </AdaptationSet>
 </Period>
</MPD>"#;

#[test]
fn an_mpd_keeps_to_the_route() {
    let expected = MPD
        .replace("https://other.example/a/", "/media/~p/0123/~h/other.examples/a/")
        .replace(
            "<![CDATA[https://cdn.example/vod/show/main?x]]>",
            "http://proxy.test/media/~p/0123/~h/cdn.examples/vod/show/main?x",
        )
        .replace("\"/remote", "\"http://proxy.test/media/~p/0123/~h/other.examples/remote")
        .replace("'/s/$", "'/media/~p/0123/~h/other.examples/s/$")
        .replace("\"../../../i", "\"/media/~p/0123/~h/other.examples/i")
        .replace("\"HTTPS://cdn.example/i", "\"/media/~p/0123/~h/cdn.examples/i")
        .replace("\"//cdn.example/x", "\"/media/~p/0123/~h/cdn.examples/x");
    assert_eq!(edited(ManifestFormat::Dash, MPD, &plan()), expected);
    let licensed = edited(ManifestFormat::Dash, MPD, &EditPlan { license: Some("https://us/l?a&b"), ..plan() });
    let expected = expected
        .replace("https://lic.example/wv", "https://us/l?a&amp;b")
        .replace("https://lic.example/pr", "https://us/l?a&amp;b");
    assert_eq!(licensed, expected);
    let facts = read(ManifestFormat::Dash, MPD.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap().facts;
    assert_eq!((facts.live, facts.playheads.start("/s/3.m4s", 0)), (Some(false), Some(18_000)));
}

#[test]
fn reports_are_requested_once_and_where_players_read_the_request() {
    let cmcd = CmcdRequest { content: "a&b", session: "s" };
    let plan = EditPlan { cmcd: Some(&cmcd), ..plan() };
    let wanted = "<ClientDataReporting><CMCDParameters schemeIdUri=\"urn:mpeg:dash:cta-5004:2023\" version=\"1\" \
        mode=\"query\" sessionID=\"s\" contentID=\"a&amp;b\" keys=\"sid cid br d ot bl pr sf st nor su bs mtp\" \
        includeInRequests=\"segment mpd\"/></ClientDataReporting>";
    for (text, expected) in [
        (
            "<MPD><Period/><Period/></MPD>",
            "<MPD><ServiceDescription id=\"0\">{}</ServiceDescription><Period/><Period/></MPD>",
        ),
        (
            "<MPD><ServiceDescription id=\"0\"/><Period/></MPD>",
            "<MPD><ServiceDescription id=\"0\">{}</ServiceDescription><Period/></MPD>",
        ),
        (
            "<MPD><ServiceDescription id='1'><Latency/></ServiceDescription><Period/></MPD>",
            "<MPD><ServiceDescription id='1'><Latency/>{}</ServiceDescription><Period/></MPD>",
        ),
        (
            "<MPD><ServiceDescription><ClientDataReporting><CMCDParameters version=\"2\"/></ClientDataReporting>\
             </ServiceDescription><Period/></MPD>",
            "<MPD><ServiceDescription><ClientDataReporting><CMCDParameters version=\"2\"/></ClientDataReporting>\
             </ServiceDescription><Period/></MPD>",
        ),
    ] {
        assert_eq!(edited(ManifestFormat::Dash, text, &plan), expected.replace("{}", wanted));
        let twice = edited(ManifestFormat::Dash, &edited(ManifestFormat::Dash, text, &plan), &plan);
        assert_eq!(twice, expected.replace("{}", wanted));
    }
    let prefixed = edited(ManifestFormat::Dash, "<d:MPD><d:Period/></d:MPD>", &plan);
    assert!(prefixed.starts_with("<d:MPD><d:ServiceDescription id=\"0\"><d:ClientDataReporting>"), "{prefixed}");
}

#[test]
fn a_broken_foreign_or_excessive_manifest_is_refused_with_its_reason() {
    let deep = format!("<MPD>{}", "<a>".repeat(40));
    let many = format!("#EXTM3U\n{}", "\n".repeat(MAX_MANIFEST_PARTS));
    let rows: [(ManifestFormat, &[u8], UnfitManifest); 10] = [
        (ManifestFormat::Hls, b"<html>", UnfitManifest::Foreign),
        (ManifestFormat::Hls, b"", UnfitManifest::Foreign),
        (ManifestFormat::Hls, b"#EXTM3U\n\xff", UnfitManifest::Broken),
        (ManifestFormat::Dash, b"{}", UnfitManifest::Foreign),
        (ManifestFormat::Dash, b"<MPD><Period></MPD>", UnfitManifest::Broken),
        (ManifestFormat::Dash, b"<!DOCTYPE x [<!ENTITY a 'b'>]><MPD><Period/></MPD>", UnfitManifest::Broken),
        (ManifestFormat::Dash, b"<!DOCTYPE MPD><MPD><Period/></MPD>", UnfitManifest::Broken),
        (ManifestFormat::Dash, b"<x>MPD</x>", UnfitManifest::Foreign),
        (ManifestFormat::Dash, deep.as_bytes(), UnfitManifest::Deep),
        (ManifestFormat::Hls, many.as_bytes(), UnfitManifest::Many),
    ];
    for (format, bytes, unfit) in rows {
        assert_eq!(read(format, bytes, &plan(), DEFAULT_MAX_MANIFEST_BYTES), Err(unfit), "{}", unfit.name());
    }
    assert!(
        read(ManifestFormat::Dash, b"<MPD><Period/></MPD>", &plan(), DEFAULT_MAX_MANIFEST_BYTES).is_ok(),
        "without a DOCTYPE it is one"
    );
    let text = b"#EXTM3U\n";
    assert_eq!(read(ManifestFormat::Hls, text, &plan(), text.len() - 1), Err(UnfitManifest::Large));
    assert!(read(ManifestFormat::Hls, text, &plan(), text.len()).is_ok(), "as large as it may be");
}

/// The result for a folder holds for its base and its variables alone.
#[test]
fn folders_with_the_same_text_are_kept_apart() {
    let text = "<MPD><Period><BaseURL>https://other.example/a/</BaseURL><AdaptationSet><SegmentList>\
        <SegmentURL media=\"../1\"/></SegmentList></AdaptationSet></Period><Period><SegmentList>\
        <SegmentURL media=\"../1\"/></SegmentList></Period></MPD>";
    let all = edited(ManifestFormat::Dash, text, &EditPlan { all: true, ..plan() });
    let bound: Vec<_> = all.split("media=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(bound, ["/media/~p/0123/~h/other.examples/1", "/media/~p/0123/~h/cdn.examples/vod/1"]);
    let text = "#EXTM3U\n{$h}/1.ts\n#EXT-X-DEFINE:NAME=\"h\",VALUE=\"//other.example\"\n{$h}/1.ts\n";
    let once = edited(ManifestFormat::Hls, text, &plan());
    assert!(once.ends_with("\n/media/~p/0123/~h/other.examples/1.ts\n") && once.contains("\n{$h}/1.ts\n"), "{once}");
    // The folder of both lines reads the same; with the variable the second one leads out of the route.
    let text = "#EXTM3U\nv{$up}/1.ts\n#EXT-X-DEFINE:NAME=\"up\",VALUE=\"/../../../..\"\nv{$up}/1.ts\n";
    let once = edited(ManifestFormat::Hls, text, &plan());
    assert!(once.ends_with("\n/media/~p/0123/~h/cdn.examples/1.ts\n") && once.contains("\nv{$up}/1.ts\n#"), "{once}");
}

/// The variable beyond the limit could lead out of the route from the middle of a URI.
#[test]
fn a_playlist_with_more_variables_than_are_followed_is_refused() {
    let playlist = |count: usize| {
        let define = |at| format!("#EXT-X-DEFINE:NAME=\"v{at}\",VALUE=\"/../../../..\"\n");
        let defined: String = (1..=count).map(define).collect();
        format!("#EXTM3U\n{defined}v{{$v{count}}}/1.ts\n")
    };
    let once = edited(ManifestFormat::Hls, &playlist(64), &plan());
    assert!(once.ends_with("\n/media/~p/0123/~h/cdn.examples/1.ts\n"), "{once}");
    assert_eq!(
        read(ManifestFormat::Hls, playlist(65).as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES),
        Err(UnfitManifest::Many)
    );
}

/// The playlist names other playlists, and a kill of a live stream does not end it.
#[test]
fn a_multivariant_playlist_is_neither_live_nor_ended_and_leads_to_manifests() {
    let asked = std::cell::RefCell::new(Vec::new());
    let bind = |to: &AbsoluteUri<'_>, purpose: Purpose| {
        asked.borrow_mut().push(purpose);
        bind(to, purpose)
    };
    for text in [
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/v.m3u8\n",
        "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",URI=\"/v.m3u8\"\n",
    ] {
        asked.borrow_mut().clear();
        let found = read(
            ManifestFormat::Hls,
            text.as_bytes(),
            &EditPlan { bind: &bind, end: Some(3), ..plan() },
            DEFAULT_MAX_MANIFEST_BYTES,
        )
        .unwrap();
        assert_eq!((found.facts.live, found.facts.tail), (None, None), "{text}");
        assert_eq!(*asked.borrow(), [Purpose::Manifest], "{text}");
        assert_eq!(found.edits.len(), 1, "{text}");
    }
}

/// A live playlist may break off in its last line.
#[test]
fn an_end_stands_on_a_line_of_its_own() {
    let head = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\n7.ts";
    let ended =
        |rest: &str, end| edited(ManifestFormat::Hls, &format!("{head}{rest}"), &EditPlan { end: Some(end), ..plan() });
    for (rest, end, expected) in [
        ("", 8, "\n#EXT-X-ENDLIST\n"),
        ("\n", 8, "\n#EXT-X-ENDLIST\n"),
        ("\r\n", 8, "\r\n#EXT-X-ENDLIST\n"),
        ("\r", 8, "\r\n#EXT-X-ENDLIST\n"),
        ("\n#EXTINF:4,\n8.ts", 8, "\n#EXT-X-ENDLIST\n"),
        ("\r#EXTINF:4,\r8.ts\r", 8, "\r\n#EXT-X-ENDLIST\n"),
        ("\n#EXTINF:4,\n8.ts", 9, "\n#EXTINF:4,\n8.ts\n#EXT-X-ENDLIST\n"),
    ] {
        assert_eq!(ended(rest, end), format!("{head}{expected}"), "{rest:?} {end}");
    }
}

#[test]
fn a_document_type_is_refused_wherever_it_stands() {
    for text in [
        "<!DOCTYPE MPD><MPD></MPD>",
        "<!DOCTYPE MPD [<!ENTITY a \"b\">]><MPD><Period>&a;</Period></MPD>",
        "<?xml version=\"1.0\"?><!-- x --><!DOCTYPE MPD SYSTEM \"https://other.example/x.dtd\"><MPD></MPD>",
        "<MPD><!DOCTYPE MPD></MPD>",
    ] {
        assert_eq!(
            read(ManifestFormat::Dash, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES),
            Err(UnfitManifest::Broken),
            "{text}"
        );
    }
    assert!(read(ManifestFormat::Dash, b"<MPD></MPD>", &plan(), DEFAULT_MAX_MANIFEST_BYTES).is_ok());
}

/// A URI of the route's server may not lead above its root; another server is reachable whole.
#[test]
fn a_base_on_another_server_has_no_root_but_its_own() {
    let text = |base: &str| format!("<MPD><BaseURL>{base}</BaseURL><SegmentURL media=\"../../x/1.m4s\"/></MPD>");
    let media = |base: &str| {
        let text = edited(ManifestFormat::Dash, &text(base), &plan());
        text.split("media=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    for (base, bound) in [
        ("//other.example/vod/a/", "../../x/1.m4s"),
        ("http://cdn.example/vod/a/", "../../x/1.m4s"),
        ("https://cdn.example:444/vod/a/", "../../x/1.m4s"),
        ("https://cdn.example/vod/a/", "/media/~p/0123/~h/cdn.examples/x/1.m4s"),
        ("https://CDN.example/vod/a/", "/media/~p/0123/~h/CDN.examples/x/1.m4s"),
        ("../", "/media/~p/0123/~h/cdn.examples/x/1.m4s"),
        ("a/", "../../x/1.m4s"),
        ("https://cdn.example/vod/a/b/", "../../x/1.m4s"),
    ] {
        assert_eq!(media(base), bound, "{base}");
    }
}

/// A step upward is no file name in any spelling, even in a known folder.
#[test]
fn a_step_upward_is_never_taken_for_a_name() {
    for up in ["..", "%2e%2e", "%2E%2e", ".%2e", "%2e.", "..?x", "%2e%2e?x=1", "%2E%2E#f"] {
        let text = edited(ManifestFormat::Hls, &format!("#EXTM3U\n../1.ts\n../{up}\n"), &plan());
        let query = up.find('?').map_or("", |at| &up[at..]);
        assert_eq!(text, format!("#EXTM3U\n../1.ts\n{OWN}~h/cdn.examples/{query}\n"), "{up}");
    }
    for name in ["a..", "a%2e%2e", "1..ts"] {
        let text = format!("#EXTM3U\n../1.ts\n../{name}\n");
        assert_eq!(edited(ManifestFormat::Hls, &text, &plan()), text, "{name}");
    }
}

/// Players skip text before a manifest, and take each of CR, LF and CRLF for the end of a line.
#[test]
fn a_manifest_is_recognised_with_any_beginning_and_any_line_ends() {
    let (head, bound) = ("\n \t#EXTM3U\n", "/media/~p/0123/~h/other.examples/1.ts");
    assert_eq!(
        edited(ManifestFormat::Hls, &format!("{head}//other.example/1.ts\n"), &plan()),
        format!("{head}{bound}\n")
    );
    let text = "#EXTM3U\r#EXTINF:4,\r//other.example/1.ts\r#EXT-X-MAP:URI=\"//other.example/1.ts\"\r";
    assert_eq!(edited(ManifestFormat::Hls, text, &plan()), text.replace("//other.example/1.ts", bound));
    let text = format!("<!--{}--><MPD><BaseURL>//other.example/1.ts</BaseURL></MPD>", "x".repeat(5000));
    assert_eq!(edited(ManifestFormat::Dash, &text, &plan()), text.replace("//other.example/1.ts", bound));
}

/// Its bytes come before everything, so every edit is behind them.
#[test]
fn a_byte_order_mark_shifts_every_edit() {
    let bound = "/media/~p/0123/~h/other.examples/1.ts";
    for (format, text) in [
        (ManifestFormat::Hls, "\u{feff}#EXTM3U\n//other.example/1.ts\n/x/../y\n//other.example/1.ts\n"),
        (ManifestFormat::Dash, "\u{feff}<MPD><BaseURL>//other.example/1.ts</BaseURL></MPD>"),
    ] {
        let expected =
            text.replace("//other.example/1.ts", bound).replace("/x/../y", "/media/~p/0123/~h/cdn.examples/y");
        assert_eq!(edited(format, text, &plan()), expected);
    }
}

/// A player resolves dots before it asks: they must not climb out of the given path.
#[test]
fn dots_in_absolute_uris_are_worked_out() {
    for (uri, bound) in [
        ("/vod/show/../../x/1.ts", "~h/cdn.examples/x/1.ts"),
        ("https://cdn.example/vod/a/%2e%2e/%2E./1.ts?../x", "~h/cdn.examples/1.ts?../x"),
        ("//other.example/../../1.ts", "~h/other.examples/1.ts"),
        ("//other.example/a/./b/..", "~h/other.examples/a/"),
        ("//other.example/a/%2e/b/%2E", "~h/other.examples/a/b/"),
        ("//other.example/a/b/%2e%2e", "~h/other.examples/a/"),
        ("//other.example/a//b.ts", "~h/other.examples/a//b.ts"),
    ] {
        let text = edited(ManifestFormat::Hls, &format!("#EXTM3U\n{uri}\n"), &plan());
        assert_eq!(text, format!("#EXTM3U\n{OWN}{bound}\n"), "{uri}");
    }
}

/// A set's attributes hold for its representations, each of which may have another base.
#[test]
fn a_template_that_is_inherited_binds_to_the_base_of_its_heir() {
    let text = "<MPD><Period><AdaptationSet><SegmentTemplate media=\"$Number$.m4s\" initialization=\"i/1.mp4\"/>\
        <Representation><BaseURL>a/</BaseURL></Representation><Representation><BaseURL>b/</BaseURL></Representation>\
        </AdaptationSet><AdaptationSet><SegmentTemplate media=\"x.m4s\"/></AdaptationSet></Period></MPD>";
    let all = edited(ManifestFormat::Dash, text, &EditPlan { all: true, ..plan() });
    let at = "/media/~p/0123/~h/cdn.examples/vod/show/";
    let expected = text.replace(">a/", &format!(">{at}a/")).replace(">b/", &format!(">{at}b/"));
    assert_eq!(all, expected.replace("x.m4s", &format!("{at}x.m4s")));
}

/// A list of segments has the base of its own set, and not that of a representation at the same depth elsewhere.
#[test]
fn a_list_that_is_inherited_binds_to_the_base_of_its_heir() {
    let text = "<MPD><Period><AdaptationSet><SegmentList><Initialization sourceURL=\"i.mp4\"/>\
        <SegmentURL media=\"1.m4s\"/></SegmentList><Representation><BaseURL>a/</BaseURL></Representation>\
        </AdaptationSet><AdaptationSet><SegmentList><SegmentURL media=\"2.m4s\"/></SegmentList></AdaptationSet>\
        </Period></MPD>";
    let all = edited(ManifestFormat::Dash, text, &EditPlan { all: true, ..plan() });
    let at = "/media/~p/0123/~h/cdn.examples/vod/show/";
    let expected = text.replace(">a/", &format!(">{at}a/")).replace("2.m4s", &format!("{at}2.m4s"));
    assert_eq!(all, expected);
}

/// A bound URI that no base changes stays bound, for an inner element with any base.
#[test]
fn a_template_that_is_inherited_and_not_relative_stays_bound() {
    for (uri, bound) in [("/s/1.m4s", "cdn.examples/s/1.m4s"), ("https://b.example/s", "b.examples/s")] {
        let text = |uri: &str, heir: &str| {
            format!(
                "<MPD><Period><AdaptationSet><SegmentTemplate media=\"{uri}\"/><Representation><BaseURL>{heir}\
                 </BaseURL></Representation></AdaptationSet></Period></MPD>"
            )
        };
        for all in [false, true] {
            let edited = edited(ManifestFormat::Dash, &text(uri, "https://c.example/"), &EditPlan { all, ..plan() });
            assert_eq!(edited, text(&format!("{OWN}~h/{bound}"), &format!("{OWN}~h/c.examples/")), "{uri}");
        }
    }
}

/// An attribute of the same name in another format is no URI.
#[test]
fn only_links_and_license_elements_have_their_attributes_edited() {
    let text = |period: &str, license: &str| {
        format!(
            "<MPD><Period href=\"/r.xml\" {period} xlink:actuate=\"onLoad\"><dashif:Laurl {license}/>\
             <x:Note x:a=\"b\" licenseUrl=\"https://lic.example/note\"/></Period></MPD>"
        )
    };
    let plan = EditPlan { license: Some("https://us/l"), ..plan() };
    let edited = edited(
        ManifestFormat::Dash,
        &text("xlink:href=\"/remote.xml\"", "licenseUrl=\"https://lic.example/wv\""),
        &plan,
    );
    let remote = format!("xlink:href=\"{SITE}{OWN}~h/cdn.examples/remote.xml\"");
    assert_eq!(edited, text(&remote, "licenseUrl=\"https://us/l\""));
}

/// A media playlist imports variables of the multivariant one.
#[test]
fn a_uri_with_an_imported_variable_leads_where_the_value_does() {
    let marked = &uris::marked;
    let main = |value: &str| {
        format!("#EXTM3U\n#EXT-X-DEFINE:NAME=\"h\",VALUE=\"{value}\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n")
    };
    for (value, uri, bound) in [
        ("https://other.example", "{$h}/1.ts?a={$h}", "~h/other.examples/1.ts?a=https://other.example"),
        ("/p", "{$h}/1.ts", "~h/cdn.examples/p/1.ts"),
        ("https:", "{$h}//other.example/1.ts", "~h/other.examples/1.ts"),
        ("tt", "h{$h}p://other.example/1.ts", "~h/other.example/1.ts"),
        ("../..", "{$h}/1.ts", "~h/cdn.examples/1.ts"),
    ] {
        let read = read(ManifestFormat::Hls, main(value).as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap();
        assert!(read.edits.is_empty(), "{value}: it may stand in a query, too");
        let imports = read.facts.variables;
        assert_eq!(imports, [("h".to_owned(), value.to_owned())]);
        let plan = EditPlan { bind: marked, imports: &imports, ..plan() };
        let media = |uri: &str| format!("#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"h\"\n#EXTINF:4,\n{uri}\n");
        assert_eq!(edited(ManifestFormat::Hls, &media(uri), &plan), media(&format!("{OWN}{bound}")), "{value}");
        let media = |uri: &str| {
            format!("#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"h\"\n#EXT-X-DATERANGE:ID=\"1\",X-ASSET-LIST=\"{uri}\"\n")
        };
        let bound = format!("{SITE}{OWN}{}", bound.replacen("~h", "~a", 1));
        assert_eq!(edited(ManifestFormat::Hls, &media(uri), &plan), media(&bound), "{value}");
    }
    // A value longer than any URI is useless.
    let long = main(&"x".repeat(MAX_EXPANDED_URI_BYTES + 1));
    assert!(
        read(ManifestFormat::Hls, long.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES)
            .unwrap()
            .facts
            .variables
            .is_empty()
    );
}

/// Its server gets the defined value, and other servers learn nothing of the playback.
#[test]
fn a_variable_in_a_query_keeps_its_value() {
    let text = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"r\",VALUE=\"https://cdn.example/vod/\"\n#EXTINF:4,\n1.ts?r={$r}\n\
        #EXTINF:4,\nhttps://foreign.test/px.ts?r={$r}\n#EXTINF:4,\nhttps://b.example/2.ts?r={$r}\n";
    let edited = edited(ManifestFormat::Hls, text, &EditPlan { bind: &uris::marked, ..plan() });
    assert_eq!(edited, text.replace("https://b.example/", &format!("{OWN}~h/b.examples/")));
}

#[test]
fn a_uri_that_begins_with_an_unknown_variable_is_counted_or_refused() {
    for (line, left) in [
        ("#EXTINF:4,\n{$h}/1.ts", 1),
        ("#EXTINF:4,\nx{$h}/1.ts", 1),
        ("#EXTINF:4,\n1.ts?x={$h}", 0),
        ("#EXTINF:4,\n1{$}.ts", 0),
        ("#EXT-X-DATERANGE:ID=\"1\",X-ASSET-LIST=\"{$h}/l\"", 1),
        ("#EXT-X-KEY:METHOD=AES-128,URI=\"{$h}/k\"", 1),
        ("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://{$h}\"", 0),
    ] {
        let text = format!("#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"h\"\n{line}\n");
        let found = read(ManifestFormat::Hls, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap();
        assert_eq!((found.left, found.edits.len()), (left, 0), "{line}");
        assert_eq!(found.facts.elsewhere, left == 1 && line.contains(".ts"), "{line}");
        let strict = read(
            ManifestFormat::Hls,
            text.as_bytes(),
            &EditPlan { strict: true, ..plan() },
            DEFAULT_MAX_MANIFEST_BYTES,
        );
        assert_eq!(strict.err(), (left == 1).then_some(UnfitManifest::Variable), "{line}");
    }
    // Steering with an unknown variable would lead anywhere.
    let text = "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"{$h}/s\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
    let without = "#EXTM3U\n#\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
    assert_eq!(edited(ManifestFormat::Hls, text, &EditPlan { strict: true, ..plan() }), without);
}

/// A dollar sign of a path is doubled in a template (ISO/IEC 23009-1 section 5.3.9.4.4).
#[test]
fn a_dollar_sign_of_a_path_is_doubled_in_a_template() {
    let plan = EditPlan { all: true, base: UriBase { path: "/vod/a$b/main", ..plan().base }, ..plan() };
    let text = "<MPD><Period><SegmentTemplate media=\"v/$Number$$$.m4s\" initialization=\"../i\"/><SegmentList>\
        <SegmentURL media=\"1\"/></SegmentList></Period></MPD>";
    let bound = text
        .replace("v/$", "/media/~p/0123/~h/cdn.examples/vod/a$$b/v/$")
        .replace("\"../i", "\"/media/~p/0123/~h/cdn.examples/vod/i")
        .replace("\"1", "\"/media/~p/0123/~h/cdn.examples/vod/a$b/1");
    assert_eq!(edited(ManifestFormat::Dash, text, &plan), bound);
}

/// Segments that a player has already are omitted from its playlist, and still counted.
#[test]
fn a_playlist_that_skips_segments_ends_where_the_whole_one_does() {
    let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-SKIP:SKIPPED-SEGMENTS=20\n#EXTINF:4,\n30.ts\n";
    let tail = read(ManifestFormat::Hls, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap().facts.tail;
    assert_eq!(tail.map(|tail| tail.next), Some(31));
}

/// A patch cannot be edited, and a list from another server leads elsewhere. A player without them asks sidebeat for
/// the MPD and the list.
#[test]
fn sources_of_unedited_updates_are_removed() {
    let text = "<MPD><PatchLocation ttl=\"9\">https://cdn.example/vod/p</PatchLocation><ContentSteering a=\"1\" \
        proxyServerURL=\"https://x/\" b=\"2\">//s/l</ContentSteering><Period/></MPD>";
    let expected = "<MPD><ContentSteering a=\"1\"  b=\"2\">http://proxy.test/media/~p/0123/~h/ss/l</ContentSteering><Period/></MPD>";
    assert_eq!(edited(ManifestFormat::Dash, text, &plan()), expected);
}

#[test]
fn a_format_is_recognised_by_path_and_by_type() {
    for (path, format) in [
        ("/a/b.m3u8", Some(ManifestFormat::Hls)),
        ("/a/b.MPD", Some(ManifestFormat::Dash)),
        ("/a.mpd/1.m4s", None),
        ("/a", None),
    ] {
        assert_eq!(ManifestFormat::of_path(path), format, "{path}");
    }
    assert_eq!(ManifestFormat::of_media_type("Application/DASH+xml; charset=utf-8"), Some(ManifestFormat::Dash));
    assert_eq!(ManifestFormat::of_media_type("video/mp4"), None);
}

fn uri() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,4}\\.m4s",
        "(\\.\\./){1,4}[a-z]{1,3}\\.ts",
        "/[a-z]{1,3}/[a-z]{1,3}\\.ts(\\?[a-z=]{1,4})?",
        "(https?:)?//[a-z]{1,3}\\.example/[a-z$%&]{0,6}",
        "(skd|data|urn):[a-z]{1,5}",
    ]
}

fn playlist() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        uri(),
        uri().prop_map(|uri| format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{uri}\",IV=0x1")),
        uri().prop_map(|uri| format!("#EXT-X-MAP:URI=\"{uri}\"")),
        uri().prop_map(|uri| format!("#EXT-X-STREAM-INF:BANDWIDTH=1\n{uri}")),
        uri().prop_map(|uri| format!("#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"{uri}\",URI=\"{uri}\"")),
        "#[A-Z:=,\"]{0,12}",
        Just(String::new()),
    ];
    prop::collection::vec(line, 0..20).prop_map(|lines| format!("#EXTM3U\n{}", lines.join("\n")))
}

fn mpd() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        uri().prop_map(|uri| format!("<BaseURL>{}</BaseURL>", quick_xml::escape::escape(&uri))),
        uri().prop_map(|uri| format!("<Location> {} </Location>", quick_xml::escape::escape(&uri))),
        uri().prop_map(|uri| format!("<SegmentTemplate media='{0}' index=\"{0}\"/>", quick_xml::escape::escape(&uri))),
        uri().prop_map(|uri| format!("<SegmentURL media=\"{}\"></SegmentURL>", quick_xml::escape::escape(&uri))),
        Just("<ServiceDescription/><!-- x -->".to_owned()),
    ];
    (prop::collection::vec(part.clone(), 0..5), prop::collection::vec(part, 0..8))
        .prop_map(|(outer, inner)| format!("<MPD>{}<Period>{}</Period></MPD>", outer.concat(), inner.concat()))
}

/// Files, most of them in few folders, and names that only look like files.
fn file() -> impl Strategy<Value = String> {
    let folder = prop::sample::select(vec![
        "",
        "v/",
        "../",
        "../../../",
        "/",
        "/vod/",
        "//",
        "//b.example/",
        "https://",
        "https:/",
        "https://cdn.example",
        "https://cdn.example/",
        "https://cdn.example/vod/",
        "https://b.example/v/../",
        "HTTP://b.example/v v/",
        "./",
        "%2e./",
        "skd://",
        "data:",
        "b\\c/",
        "/media/~p/0123/",
        "/media/~p/0123",
        "{$h}/",
        "x?/",
        "x#/",
        "https://b.example/&amp;/",
    ]);
    let name = prop_oneof!["[a-c]\\.m4s", "[a-c.%2e?#/&;=:$(){}' \\\\-]{0,4}", "[a-c]\\?[a-c&=/?:#\\\\'{$]{0,4}"];
    (folder, name).prop_map(|(folder, name)| format!("{folder}{name}"))
}

/// The result for a URI that is read alone.
fn alone(uri: &str, plan: &EditPlan<'_>, write: fn(&str) -> String) -> Option<String> {
    let absolute = match plan.base.reach(uri) {
        UriReach::Escapes(absolute) => absolute,
        UriReach::Stays if plan.all => plan.base.resolve(uri),
        UriReach::Nowhere | UriReach::Stays => return None,
    };
    let bound = (plan.bind)(&absolute, Purpose::Segment).filter(|_| !uri.starts_with(plan.own))?;
    (bound != uri).then(|| write(&bound))
}

/// Finds the URIs of the text that leave the route, by another walk than the one under test.
fn escaping(text: &str) -> Option<&str> {
    let own = |at: usize| text[..at].rfind(['"', '\'', '>', '\n']).map_or("", |begin| &text[begin + 1..at]);
    text.match_indices("//")
        .find(|(at, _)| own(*at).is_empty() || own(*at).starts_with("http"))
        .map(|(at, _)| &text[at..])
}

fn bind_all(to: &AbsoluteUri<'_>, _: Purpose) -> Option<String> {
    Some(format!("{OWN}~h{}", to.path.replace("//", "/")))
}

fn numbers(count: usize) -> impl Strategy<Value = Vec<&'static str>> {
    const NUMBERS: [&str; 15] = [
        "0",
        "1",
        "2",
        "0.0005",
        "4294967295",
        "9223372036854775807",
        "18446744073709549568",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "-9223372036854775808",
        "1e19",
        "1e308",
        "NaN",
        "inf",
    ];
    prop::collection::vec(prop::sample::select(NUMBERS.to_vec()), count)
}

proptest! {
    #[test]
    fn an_edited_manifest_needs_no_edit(text in playlist(), xml in mpd()) {
        let cmcd = CmcdRequest { content: "c", session: "s" };
        let plan = EditPlan { all: true, bind: &bind_all, cmcd: Some(&cmcd), license: Some("/l"), ..plan() };
        for (format, text) in [(ManifestFormat::Hls, text), (ManifestFormat::Dash, xml)] {
            let once = edited(format, &text, &plan);
            prop_assert_eq!(edited(format, &once, &plan), once);
        }
    }

    /// An origin may write any number: no sum or product of them may panic.
    #[test]
    fn no_number_of_a_playlist_is_too_large(of in numbers(10), ended in any::<bool>(), elapsed in any::<u64>()) {
        let [a, b, c, d, e, f, g, h, i, j] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|at: usize| of[at]);
        let end = if ended { "#EXT-X-ENDLIST\n" } else { "" };
        let text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:{a}\n#EXT-X-MEDIA-SEQUENCE:{b}\n#EXT-X-DISCONTINUITY-SEQUENCE:{c}\n\
             #EXT-X-SKIP:SKIPPED-SEGMENTS={d}\n#EXT-X-DISCONTINUITY\n#EXTINF:{e},\n#EXT-X-BYTERANGE:{f}@{g}\na.m4s\n\
             #EXTINF:{h},\n#EXT-X-BYTERANGE:{i}\n#EXT-X-DISCONTINUITY\nb.m4s\n#EXTINF:{j},\nc.m4s\n{end}"
        );
        let found = match read(ManifestFormat::Hls, text.as_bytes(), &EditPlan { end: of[0].parse().ok(), ..plan() }, DEFAULT_MAX_MANIFEST_BYTES) {
            Ok(found) => found,
            Err(unfit) => {
                prop_assert_eq!(unfit, UnfitManifest::Moved);
                return Ok(());
            }
        };
        found.facts.playheads.start("/vod/show/a.m4s", u64::MAX);
        prop_assert!(found.facts.reload.is_none_or(|reload| reload <= Duration::from_secs(86_400)));
        for tail in [found.facts.tail, Some(PlaylistTail { discontinuity: u64::MAX, next: u64::MAX, target_s: u64::MAX })] {
            hls_slate(&text, &tail.unwrap_or_default(), Duration::from_millis(elapsed));
            hls_slate(&text, &tail.unwrap_or_default(), Duration::MAX);
        }
    }

    #[test]
    fn no_number_of_an_mpd_is_too_large(of in numbers(12), live in any::<bool>(), since in any::<u32>()) {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(|at: usize| of[at]);
        let kind = if live { "dynamic" } else { "static" };
        let text = format!(
            "<MPD type=\"{kind}\" availabilityStartTime=\"1970-01-01T{a}:00:00Z\" mediaPresentationDuration=\"PT{b}S\" \
             minimumUpdatePeriod=\"PT{c}S\"><Period start=\"PT{d}S\" duration=\"PT{e}S\"><AdaptationSet>\
             <SegmentTemplate media=\"n$Number$.m4s\" duration=\"{g}\" timescale=\"{h}\" startNumber=\"{i}\" \
             presentationTimeOffset=\"{j}\"/><SegmentTemplate media=\"t$Time$.m4s\" timescale=\"{h}\"><SegmentTimeline>\
             <S t=\"{i}\" d=\"{g}\" r=\"{k}\"/><S d=\"{j}\" r=\"{l}\"/></SegmentTimeline></SegmentTemplate>\
             </AdaptationSet></Period><Period duration=\"P{l}DT{f}H\"><AdaptationSet/></Period></MPD>"
        );
        let found = read(ManifestFormat::Dash, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap();
        for name in of.iter().flat_map(|number| [format!("n{number}"), format!("t{number}")]) {
            found.facts.playheads.start(&format!("/vod/show/{name}.m4s"), u64::MAX);
        }
        let programme = "<MPD type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\"></MPD>";
        let (now, since) = (Duration::from_secs(u64::from(u32::MAX) * 2), Duration::from_secs(u64::from(since)));
        for programme in [programme, &text] {
            dash_slate(&text, &DashSlate { now, programme, since });
        }
    }

    /// The result of a URI does not depend on the other folders that were read before.
    #[test]
    fn a_uri_is_bound_the_same_way_alone_and_among_others(
        files in prop::collection::vec(file(), 0..40), all in any::<bool>(), variable in any::<bool>(),
    ) {
        let bind = |to: &AbsoluteUri<'_>, purpose: Purpose| bind(to, purpose).filter(|_| to.authority != "b.example");
        let plan = EditPlan { all, bind: &bind, ..plan() };
        let line = |uri: &String| !uri.starts_with('#') && uri.trim() == uri && !uri.is_empty();
        let files: Vec<_> = files.into_iter().filter(line).collect();
        let define = if variable { "#EXT-X-DEFINE:NAME=\"h\",VALUE=\"https://c.example\"\n" } else { "" };
        let expected = files.iter().map(|uri| {
            let plain = if variable { uri.replace("{$h}", "https://c.example") } else { uri.clone() };
            if hls::variables::has_variable(plain.split('?').next().unwrap()) {
                return uri.clone();
            }
            alone(&plain, &plan, |bound| hls::attributes::quoted(bound).into_owned()).unwrap_or_else(|| uri.clone())
        });
        let half = files.len() / 2;
        let expected: Vec<_> = expected.collect();
        let playlist = |files: &[String]| format!("#EXTM3U\n{define}{}", files.join("\n"));
        prop_assert_eq!(edited(ManifestFormat::Hls, &playlist(&files), &plan), playlist(&expected));
        let escape = |uri: &str| quick_xml::escape::escape(uri).into_owned();
        let segments = |files: &[String]| files.iter().map(|uri| format!("<SegmentURL media=\"{uri}\"/>")).collect::<String>();
        let mpd = |files: &[String]| {
            let (first, second) = files.split_at(half);
            format!("<MPD><Period>{}</Period><Period>{}</Period></MPD>", segments(first), segments(second))
        };
        let bound: Vec<_> = files.iter().map(|uri| alone(uri, &plan, escape).unwrap_or_else(|| escape(uri))).collect();
        let files: Vec<_> = files.iter().map(|uri| escape(uri)).collect();
        prop_assert_eq!(edited(ManifestFormat::Dash, &mpd(&files), &plan), mpd(&bound));
    }

    #[test]
    fn no_absolute_uri_is_left(text in playlist(), xml in mpd()) {
        let plan = EditPlan { bind: &bind_all, ..plan() };
        let once = edited(ManifestFormat::Hls, &text, &plan);
        let without_names: String = once.lines().map(|line| line.split("NAME=").next().unwrap().to_owned() + "\n").collect();
        prop_assert_eq!(escaping(&without_names), None);
        let once = edited(ManifestFormat::Dash, &xml, &plan).replace(&format!("{SITE}{OWN}"), OWN);
        prop_assert_eq!(escaping(&once), None);
    }

    #[test]
    fn bytes_outside_the_edits_stay(text in playlist(), xml in mpd()) {
        for (format, text) in [(ManifestFormat::Hls, text), (ManifestFormat::Dash, xml)] {
            let bytes = Bytes::from(text.clone());
            let found = read(format, &bytes, &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap();
            let (mut from, mut after) = (0, &apply(&bytes, &found.edits).unwrap()[..]);
            for edit in &found.edits {
                let kept = &text.as_bytes()[from..edit.at.start];
                prop_assert!(after.starts_with(kept));
                after = &after[kept.len()..];
                prop_assert!(after.starts_with(edit.with.as_bytes()));
                after = &after[edit.with.len()..];
                from = edit.at.end;
            }
            prop_assert_eq!(after, &text.as_bytes()[from..]);
        }
    }

    #[test]
    fn no_bytes_make_the_manifest_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(#EXTM3U\\n|<MPD>)[#A-Za-z:=\"'<>/!\\[\\]{}$ \n&;.-]{0,200}") {
        let cmcd = CmcdRequest { content: "c", session: "s" };
        let plan = EditPlan { cmcd: Some(&cmcd), end: Some(3), license: Some("l"), ..plan() };
        for bytes in [[b"#EXTM3U".to_vec(), bytes.clone()].concat(), [b"<MPD".to_vec(), bytes].concat(), text.into_bytes()] {
            for format in [ManifestFormat::Dash, ManifestFormat::Hls] {
                let whole = Bytes::from(bytes.clone());
                if let Ok(found) = read(format, &whole, &plan, DEFAULT_MAX_MANIFEST_BYTES) {
                    apply(&whole, &found.edits).unwrap();
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            let _ = hls_slate(&text, &PlaylistTail::default(), std::time::Duration::from_secs(5));
            let at = DashSlate { now: std::time::Duration::from_secs(9), programme: &text, since: std::time::Duration::ZERO };
            let _ = dash_slate(&text, &at);
        }
    }
}

/// The limit is twice the size, and the bytes that short URIs need beyond it; a small manifest cannot become large.
#[test]
fn an_edited_manifest_exceeds_twice_its_size_by_a_bounded_amount() {
    const KIB: usize = 1024;
    let variable = |value: usize, lines: usize| {
        let value = format!("https://cdn.example/{}", "v".repeat(value));
        format!("#EXTM3U\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{value}\"\n{}", "{$a}\n".repeat(lines))
    };
    let mut refused = 0;
    for value in [1, 40, 250, 400, 1000, 4000, 8000] {
        for lines in [1, 10, 50, 100, 200, 1000, 10_000, 100_000] {
            let text = variable(value, lines);
            let growth = lines * (OWN.len() + "~h/cdn.examples/".len() + value - "{$a}".len());
            let allowed = text.len() + (64 * KIB + 256 * (lines + 1)).min(2 * KIB * KIB);
            match read(ManifestFormat::Hls, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES) {
                Ok(found) => {
                    let whole = apply(&Bytes::from(text.clone()), &found.edits).unwrap().len();
                    assert!(whole <= text.len() + allowed, "{value} {lines}: {whole} of {}", text.len());
                }
                Err(why) => {
                    refused += 1;
                    // The definition of the variable is bound as well.
                    assert!(
                        why == UnfitManifest::Grows && growth + 100 > allowed.min(16 * text.len()),
                        "{value} {lines}: {growth}, {allowed}"
                    );
                }
            }
        }
    }
    assert!(refused > 10, "{refused}");
    let small = variable(500, 80);
    assert!(small.len() < KIB && edited(ManifestFormat::Hls, &small, &plan()).len() < 45 * KIB);
    // A window of a day, of two seconds each, whose segments stand elsewhere at the origin.
    let day: String = (0..43_200).map(|number| format!("#EXTINF:2,\n/v/{number}.ts\n")).collect();
    assert!(
        read(ManifestFormat::Hls, format!("#EXTM3U\n{day}").as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).is_ok()
    );
}

/// Many networks put a token of some hundred characters there.
#[test]
fn short_names_in_a_long_folder_may_grow_by_scheme_host_and_path() {
    let direct = |to: &AbsoluteUri<'_>, _: Purpose| Some(format!("https://{}{}", to.authority, to.path));
    let hls: String = (0..1800).map(|number| format!("#EXTINF:4,\nseg-{number:010}.ts\n")).collect();
    let dash: String = (0..1800).map(|number| format!("<SegmentURL media=\"seg-{number:010}.ts\"/>")).collect();
    let dash = format!("<MPD><Period><AdaptationSet><Representation><SegmentList>{dash}</SegmentList>");
    let texts = [
        (ManifestFormat::Hls, format!("#EXTM3U\n{hls}")),
        (ManifestFormat::Dash, format!("{dash}</Representation></AdaptationSet></Period></MPD>")),
    ];
    for (folder, fits) in [(10, true), (300, true), (600, true), (1000, true), (2000, false)] {
        let folder = format!("/vod/{}/", "t".repeat(folder));
        let path = format!("{folder}main");
        let base = UriBase { path: &path, ..plan().base };
        for (bind, before) in [
            (&direct as &dyn Fn(&AbsoluteUri<'_>, Purpose) -> Option<String>, "https://cdn.example"),
            (&bind, "/media/~p/0123/~h/cdn.examples"),
        ] {
            let plan = EditPlan { all: true, base, bind, ..plan() };
            for (format, text) in &texts {
                let case = format!("{format:?} {before} {}", folder.len());
                if fits {
                    let whole = edited(*format, text, &plan);
                    assert_eq!(whole.matches(&format!("{before}{folder}seg-")).count(), 1800, "{case}");
                } else {
                    // The total is bounded for any folder.
                    let refused = read(*format, text.as_bytes(), &plan, DEFAULT_MAX_MANIFEST_BYTES);
                    assert_eq!(refused.err(), Some(UnfitManifest::Grows), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_live_manifest_has_a_reload_time_if_that_is_certain() {
    let hls = |tags: &str| format!("#EXTM3U\n{tags}#EXTINF:4,\n7.m4s\n");
    let dash = |attributes: &str, within: &str| format!("<MPD {attributes}>{within}<Period/></MPD>");
    let update = "type=\"dynamic\" minimumUpdatePeriod=\"PT1M30S\"";
    let rows = [
        (ManifestFormat::Hls, hls("#EXT-X-TARGETDURATION:6\n"), Some(6)),
        (
            ManifestFormat::Hls,
            hls("#EXT-X-TARGETDURATION:6\n#EXT-X-KEY:METHOD=AES-128,URI=\"https://keys.example/k\"\n"),
            Some(6),
        ),
        (ManifestFormat::Hls, hls("#EXT-X-STREAM-INF:BANDWIDTH=1\nhttps://ELSEWHERE/v.m3u8\n"), None),
        (ManifestFormat::Hls, hls(""), None),
        (ManifestFormat::Hls, hls("#EXT-X-TARGETDURATION:6\n#EXT-X-ENDLIST\n"), None),
        (ManifestFormat::Dash, dash(update, ""), Some(90)),
        (ManifestFormat::Dash, dash("type=\"dynamic\"", ""), None),
        (ManifestFormat::Dash, dash("type=\"dynamic\" minimumUpdatePeriod=\"PT0S\"", ""), None),
        (ManifestFormat::Dash, dash(&update.replace("dynamic", "static"), ""), None),
        (ManifestFormat::Dash, dash(update, "<Location>https://cdn.example/vod/x</Location>"), Some(90)),
        (ManifestFormat::Dash, dash(update, "<Location>https://ELSEWHERE/x</Location>"), None),
    ];
    for (format, text, reload) in rows {
        let text = text.replace("ELSEWHERE", "unlisted.test");
        let listed = |to: &AbsoluteUri<'_>, purpose| bind(to, purpose).filter(|_| to.authority != "unlisted.test");
        let facts = read(format, text.as_bytes(), &EditPlan { bind: &listed, ..plan() }, DEFAULT_MAX_MANIFEST_BYTES)
            .unwrap()
            .facts;
        assert_eq!(facts.reload, reload.map(std::time::Duration::from_secs), "{text}");
        assert_eq!(facts.elsewhere, text.contains("unlisted"), "{text}");
    }
}
