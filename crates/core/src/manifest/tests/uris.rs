//! Tests of every tag, element and attribute with a URI.

use super::{OWN, SITE, bind, edited, plan};
use crate::manifest::{AbsoluteUri, DEFAULT_MAX_MANIFEST_BYTES, EditPlan, ManifestFormat, Purpose, read};

/// Marks a URI with its purpose.
pub(super) fn marked(to: &AbsoluteUri<'_>, purpose: Purpose) -> Option<String> {
    let mark = match purpose {
        Purpose::Assets => "~a",
        Purpose::Part => "~x",
        Purpose::Steering => "~g",
        Purpose::Beside | Purpose::Data | Purpose::Manifest | Purpose::Segment => "~h",
    };
    bind(to, purpose).filter(|_| !to.authority.contains("foreign")).map(|uri| uri.replacen("~h", mark, 1))
}

#[test]
fn every_tag_with_a_uri_keeps_to_the_route() {
    let (rooted, site) = (OWN.to_owned(), format!("{SITE}{OWN}"));
    for (line, mark, own) in [
        ("#EXT-X-PREFETCH:URI", "~h", &rooted),
        ("#EXT-X-MEDIA:TYPE=VIDEO,URI=\"URI\"", "~h", &rooted),
        ("#EXT-X-I-FRAME-STREAM-INF:URI=\"URI\"", "~h", &rooted),
        ("#EXT-X-IMAGE-STREAM-INF:URI=\"URI\"", "~h", &rooted),
        ("#EXT-X-RENDITION-REPORT:URI=\"URI\"", "~h", &rooted),
        ("#EXT-X-KEY:METHOD=AES-128,URI=\"URI\"", "~h", &rooted),
        ("#EXT-X-SESSION-DATA:DATA-ID=\"a\",URI=\"URI\"", "~h", &rooted),
        ("#EXT-X-OF-SOMEBODY:A=1,URI=\"URI\"", "~h", &rooted),
        ("#EXT-X-DATERANGE:ID=\"1\",X-ASSET-LIST=\"URI\"", "~a", &site),
        ("#EXT-X-DATERANGE:ID=\"1\",X-ASSET-URI=\"URI\"", "~h", &site),
    ] {
        let text = format!("#EXTM3U\n{line}\n");
        for (uri, path) in [("https://cdn.example/x/y?z=1", "/x/y?z=1"), ("/x/y", "/x/y")] {
            let bound = text
                .replace("URI\"", &format!("{own}{mark}/cdn.examples{path}\""))
                .replace("H:URI", &format!("H:{own}{mark}/cdn.examples{path}"));
            let input = text.replace("URI\"", &format!("{uri}\"")).replace("H:URI", &format!("H:{uri}"));
            assert_eq!(edited(ManifestFormat::Hls, &input, &EditPlan { bind: &marked, ..plan() }), bound);
        }
        let foreign = text.replace("URI\"", "https://foreign.test/x\"").replace("H:URI", "H:https://foreign.test/x");
        let plan = EditPlan { bind: &marked, ..plan() };
        assert_eq!(
            read(ManifestFormat::Hls, foreign.as_bytes(), &plan, DEFAULT_MAX_MANIFEST_BYTES).unwrap().left,
            1,
            "{line}"
        );
    }
    // A list is edited even where it would stay on the route by itself.
    let list = edited(
        ManifestFormat::Hls,
        "#EXTM3U\n#EXT-X-DATERANGE:X-ASSET-LIST=\"l\"\n",
        &EditPlan { bind: &marked, ..plan() },
    );
    assert_eq!(list, format!("#EXTM3U\n#EXT-X-DATERANGE:X-ASSET-LIST=\"{site}~a/cdn.examples/vod/show/l\"\n"));
}

#[test]
fn variables_of_the_query_are_filled_in_before_a_uri_is_bound() {
    let text = |uri: &str| format!("#EXTM3U\n#EXT-X-DEFINE:QUERYPARAM=\"q\"\n#EXT-X-DEFINE:QUERYPARAM=\"t\"\n{uri}\n");
    for (uri, bound) in [
        ("{$q}/1.ts?t={$t}", format!("{OWN}~h/other.examples/1.ts?t=1/2")),
        ("1.ts?t={$t}", "1.ts?t={$t}".to_owned()),
        ("{$unknown}/1.ts", "{$unknown}/1.ts".to_owned()),
    ] {
        assert_eq!(edited(ManifestFormat::Hls, &text(uri), &plan()), text(&bound));
    }
}

#[test]
fn every_element_with_a_uri_keeps_to_the_route() {
    let site = format!("{SITE}{OWN}");
    let remote = ["https://b.example/x/y", "/x/y"];
    for (element, mark, own) in [
        ("<ImportedMPD earliestResolutionTimeOffset=\"9\">URI</ImportedMPD>", "~h", &site),
        (
            "<EventStream schemeIdUri=\"urn:mpeg:dash:event:alternativeMPD:insert:2025\"><Event><InsertPresentation url=\"URI\"/></Event></EventStream>",
            "~h",
            &site,
        ),
        ("<ReplacePresentation url=\"URI\"/>", "~h", &site),
        ("<SupplementalProperty schemeIdUri=\"urn:mpeg:dash:mpd-chaining:2016\" value=\"URI\"/>", "~h", &site),
        ("<EssentialProperty value=\"URI\" schemeIdUri=\"urn:mpeg:dash:fallback:2016\"/>", "~h", &site),
        ("<AdaptationSet xlink:href=\"URI\"/>", "~x", &site),
        ("<EventStream xlink:href=\"URI\"/>", "~x", &site),
        ("<InitializationSet initialization=\"URI\"/>", "~h", &OWN.to_owned()),
        ("<EssentialProperty schemeIdUri=\"urn:dvb:dash:fontdownload:2014\" dvb:url=\"URI\"/>", "~h", &OWN.to_owned()),
    ] {
        for uri in remote {
            let text = format!("<MPD><Period>{element}</Period></MPD>");
            let host = if uri.starts_with('/') { "cdn" } else { "b" };
            let bound = text.replace("URI\"", &format!("{own}{mark}/{host}.examples/x/y\""));
            let bound = bound.replace(">URI<", &format!(">{own}{mark}/{host}.examples/x/y<"));
            let input = text.replace("URI\"", &format!("{uri}\"")).replace(">URI<", &format!(">{uri}<"));
            assert_eq!(edited(ManifestFormat::Dash, &input, &EditPlan { bind: &marked, ..plan() }), bound);
        }
    }
    // A part is edited even where it would stay on the route by itself, and a property of another kind is no URI.
    let part = edited(
        ManifestFormat::Dash,
        "<MPD><Period xlink:href=\"p.xml\"/></MPD>",
        &EditPlan { bind: &marked, ..plan() },
    );
    assert_eq!(part, format!("<MPD><Period xlink:href=\"{site}~x/cdn.examples/vod/show/p.xml\"/></MPD>"));
    let other = "<MPD><SupplementalProperty schemeIdUri=\"urn:x:y\" value=\"/x\"/><Period/></MPD>";
    assert_eq!(edited(ManifestFormat::Dash, other, &plan()), other);
}

/// A URI for reports or time keeps its server; but a path would be requested from sidebeat, and is edited.
#[test]
fn a_uri_beside_the_media_keeps_its_server() {
    let at = |path: &str| format!("{SITE}{OWN}~h/cdn.examples{path}");
    for element in [
        "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"URI\"/>",
        "<Metrics metrics=\"m\"><Reporting schemeIdUri=\"urn:dvb:dash:reporting:2014\" dvb:reportingUrl=\"URI\"/></Metrics>",
        "<EventStream schemeIdUri=\"urn:mpeg:dash:event:callback:2015\" value=\"1\"><Event messageData=\"URI\"/></EventStream>",
        "<EventStream schemeIdUri=\"urn:mpeg:dash:event:callback:2015\" value=\"1\"><Event>URI</Event></EventStream>",
        "<sand:Channel schemeIdUri=\"urn:mpeg:dash:sand:channel:http:2016\" endpoint=\"URI\"/>",
        "<ContentProtection><dashif:authzurl>URI</dashif:authzurl></ContentProtection>",
        "<ContentProtection><dashif:Certurl certType=\"a\">URI</dashif:Certurl></ContentProtection>",
        "<ProgramInformation moreInformationURL=\"URI\"/>",
    ] {
        let text = |uri: &str| {
            let element = element.replace("URI\"", &format!("{uri}\"")).replace(">URI<", &format!(">{uri}<"));
            format!("<MPD><BaseURL>https://foreign.test/</BaseURL>{element}<Period/></MPD>")
        };
        for (uri, becomes) in [
            ("https://foreign.test/a?b=1&amp;c", "https://foreign.test/a?b=1&amp;c".to_owned()),
            ("https://cdn.example/a", "https://cdn.example/a".to_owned()),
            ("/a?b=1&amp;c", at("/a?b=1&amp;c")),
            ("a", "a".to_owned()),
        ] {
            let plan = EditPlan { bind: &marked, ..plan() };
            let edited = edited(ManifestFormat::Dash, &text(uri), &plan);
            assert_eq!(edited, text(&becomes));
            assert_eq!(
                read(ManifestFormat::Dash, text(uri).as_bytes(), &plan, DEFAULT_MAX_MANIFEST_BYTES).unwrap().left,
                1,
                "but for the base"
            );
        }
    }
    let clocks = "<MPD><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/a https://t.example/b /c\"/></MPD>";
    let bound = clocks.replace("/a ", &format!("{} ", at("/a"))).replace(" /c", &format!(" {}", at("/c")));
    assert_eq!(edited(ManifestFormat::Dash, clocks, &plan()), bound);
    for untouched in [
        "<MPD><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:ntp:2014\" value=\"/a\"/></MPD>",
        "<MPD><EventStream schemeIdUri=\"urn:x:y\"><Event messageData=\"/a\">/b</Event></EventStream></MPD>",
    ] {
        assert_eq!(edited(ManifestFormat::Dash, untouched, &plan()), untouched);
    }
    let updates = "<MPD><InbandEventStream schemeIdUri=\"urn:mpeg:dash:event:2012\" value=\"3\"/></MPD>";
    assert_eq!(
        read(ManifestFormat::Dash, updates.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap().left,
        1,
        "segments bring MPDs"
    );
}

/// The player inserts the part into the MPD that refers to it, so relative URIs have the base of that place.
#[test]
fn a_part_of_an_mpd_is_edited_as_one() {
    let plan = EditPlan { all: true, bind: &marked, part: true, ..plan() };
    let site = format!("{SITE}{OWN}");
    for (text, expected) in [
        (
            "<Period><BaseURL>/a/</BaseURL></Period>",
            format!("<Period><BaseURL>{site}~h/cdn.examples/a/</BaseURL></Period>"),
        ),
        (
            "<?xml version=\"1.0\"?><Period id=\"1\"/><Period xlink:href=\"/n\"/>",
            format!("<?xml version=\"1.0\"?><Period id=\"1\"/><Period xlink:href=\"{site}~x/cdn.examples/n\"/>"),
        ),
        (
            "<AdaptationSet><SegmentTemplate media=\"v/1.m4s\" index=\"https://b.example/i\"/></AdaptationSet>",
            format!(
                "<AdaptationSet><SegmentTemplate media=\"v/1.m4s\" index=\"{site}~h/b.examples/i\"/></AdaptationSet>"
            ),
        ),
    ] {
        assert_eq!(edited(ManifestFormat::Dash, text, &plan), expected);
        let facts = read(ManifestFormat::Dash, text.as_bytes(), &plan, DEFAULT_MAX_MANIFEST_BYTES).unwrap().facts;
        assert_eq!((facts.live, facts.reload, facts.tail), (None, None, None), "of the whole it says nothing");
    }
    assert!(read(ManifestFormat::Dash, b"{}", &plan, DEFAULT_MAX_MANIFEST_BYTES).is_err());
    assert!(read(ManifestFormat::Dash, b"<Period>", &plan, DEFAULT_MAX_MANIFEST_BYTES).is_err());
}

/// The spelling of the URI does not matter.
#[test]
fn the_url_of_an_event_is_bound_in_character_data_and_in_base64() {
    let at = |path: &str| format!("{SITE}{OWN}~h/cdn.examples{path}");
    let text = |scheme: &str, event: &str| {
        format!(
            "<MPD><Period><EventStream schemeIdUri=\"urn:mpeg:dash:event:{scheme}\">{event}</EventStream></Period></MPD>"
        )
    };
    let base64 = |uri: &str| {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, uri);
        format!("<Event contentEncoding=\"base64\">{encoded}</Event>")
    };
    let plain = |uri: &str| format!("<Event>{uri}</Event>");
    let elsewhere = |uri: &str| plain(&format!("<![CDATA[{uri}]]>"));
    for (scheme, event, becomes, left) in [
        ("callback:2015", plain("<![CDATA[/a?b=1&c=2]]>"), plain(&at("/a?b=1&amp;c=2")), 0),
        ("callback:2015", elsewhere("https://foreign.test/a"), elsewhere("https://foreign.test/a"), 0),
        ("callback:2015", base64("/a?b=1&c=2"), base64(&at("/a?b=1&c=2")), 0),
        ("callback:2015", base64("https://foreign.test/a"), base64("https://foreign.test/a"), 0),
        ("callback:2015", plain("<x>/a</x>"), plain("<x>/a</x>"), 1),
        ("callback:2015", base64("/a").replace("L2E=", "L2E"), base64("/a").replace("L2E=", "L2E"), 1),
        ("insertion:2022", plain("\n /ad.mpd#period=1 "), plain(&format!("\n {} ", at("/ad.mpd#period=1"))), 0),
        ("insertion:2022", base64("/ad.mpd"), base64(&at("/ad.mpd")), 0),
        ("insertion:2022", plain("https://foreign.test/ad.mpd"), plain("https://foreign.test/ad.mpd"), 1),
        ("insertion:2022", plain("<MPD/>"), plain("<MPD/>"), 1),
    ] {
        let plan = EditPlan { bind: &marked, ..plan() };
        let input = text(scheme, &event);
        assert_eq!(edited(ManifestFormat::Dash, &input, &plan), text(scheme, &becomes), "{event}");
        assert_eq!(
            read(ManifestFormat::Dash, input.as_bytes(), &plan, DEFAULT_MAX_MANIFEST_BYTES).unwrap().left,
            left,
            "{event}"
        );
    }
    let drm = "<MPD><ContentProtection><x:Authzurl xmlns:x=\"urn:dashif\"><![CDATA[/a]]></x:Authzurl></ContentProtection></MPD>";
    assert_eq!(edited(ManifestFormat::Dash, drm, &plan()), drm.replace("<![CDATA[/a]]>", &at("/a")));
}

#[test]
fn elements_of_another_namespace_are_not_edited() {
    let dash = "urn:mpeg:dash:schema:mpd:2011";
    for (root, base, own) in [
        (format!("MPD xmlns=\"{dash}\""), "x:BaseURL xmlns:x=\"urn:mine\"", false),
        (format!("MPD xmlns=\"{dash}\" xmlns:x=\"urn:mine\""), "x:BaseURL", false),
        (format!("MPD xmlns=\"{dash}\""), "BaseURL xmlns=\"urn:mine\"", false),
        ("MPD".to_owned(), "x:BaseURL xmlns:x=\"urn:mine\"", false),
        ("MPD".to_owned(), "BaseURL", true),
        ("MPD".to_owned(), "x:BaseURL", true),
        ("MPD xmlns=\"urn:3GPP:ns:PSS:AdaptiveHTTPStreamingMPD:2009\"".to_owned(), "BaseURL", true),
        (format!("MPD xmlns=\"{dash}\""), "BaseURL xmlns=\"\"", true),
        (format!("x:MPD xmlns:x=\"{dash}\" xmlns=\"urn:mine\""), "x:BaseURL", true),
        (format!("x:MPD xmlns:x=\"{dash}\" xmlns=\"urn:mine\""), "BaseURL", false),
        (format!("MPD xmlns=\"{dash}\""), "d:BaseURL xmlns:d=\"URN:mpeg:DASH:schema:MPD:2011\"", true),
    ] {
        let end = |tag: &str| tag.split(' ').next().unwrap().to_owned();
        let text = |uri: &str, media: &str| {
            let template = format!("<SegmentTemplate media=\"{media}\"/>");
            format!("<{root}><Period><{base}>{uri}</{}>{template}</Period></{}>", end(base), end(&root))
        };
        let rooted = format!("{OWN}~h/b.examples/x/");
        let expected = if own { text(&rooted, "v/$Number$") } else { text("https://b.example/x/", "v/$Number$") };
        assert_eq!(
            edited(ManifestFormat::Dash, &text("https://b.example/x/", "v/$Number$"), &plan()),
            expected,
            "{root} {base}"
        );
    }
    // A declaration holds for its own element.
    let text = "<MPD><Period><x:E xmlns:x=\"urn:mine\"/><a:E xmlns=\"urn:mine\" xmlns:a=\"urn:a\"><Location>/x</Location>\
                </a:E></Period><Location>/y</Location></MPD>";
    let bound = text.replace("/y", &format!("{SITE}{OWN}~h/cdn.examples/y"));
    assert_eq!(edited(ManifestFormat::Dash, text, &plan()), bound);
}

#[test]
fn an_identifier_that_is_an_address_is_counted_and_its_fragment_stays() {
    for (id, left) in [("1", 0), ("video:1", 0), ("v/1", 0), ("/v", 1), ("https://b.example/v", 1), ("../../../v", 1)] {
        let text = format!(
            "<MPD><Period><SegmentTemplate media=\"$RepresentationID$/$Number$\"/><Representation id=\"{id}\"/></Period></MPD>"
        );
        assert_eq!(
            read(ManifestFormat::Dash, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap().left,
            left,
            "{id}"
        );
    }
    let text = |uri: &str| {
        format!(
            "<MPD><Period><SupplementalProperty schemeIdUri=\"urn:mpeg:dash:mpd-as-linking:2015\" value=\"{uri}\"/></Period></MPD>"
        )
    };
    let bound = format!("{SITE}{OWN}~h/cdn.examples/o.mpd#period=1&amp;as=2");
    assert_eq!(edited(ManifestFormat::Dash, &text("/o.mpd#period=1&amp;as=2"), &plan()), text(&bound));
}

/// A document inside a URI cannot be edited, and would lead anywhere.
#[test]
fn a_document_inside_a_uri_is_removed_or_counted() {
    let data = "data:application/vnd.apple.mpegurl;base64,I0VYVE0zVQ==";
    for (lines, becomes) in [
        (format!("#EXT-X-STREAM-INF:BANDWIDTH=1\n{data}"), "#\n#"),
        (format!("#EXT-X-MEDIA:TYPE=AUDIO,URI=\"{data}\""), "#"),
        ("#EXT-X-DATERANGE:ID=\"1\",X-ASSET-URI=\"/a\",X-ASSET-LIST=\" DATA:,x\"".to_owned(), "#"),
    ] {
        let text = |lines: &str| format!("#EXTM3U\n{lines}\n#EXT-X-STREAM-INF:BANDWIDTH=2\nv.m3u8\n");
        let found = read(ManifestFormat::Hls, text(&lines).as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap();
        assert_eq!((edited(ManifestFormat::Hls, &text(&lines), &plan()), found.left), (text(becomes), 0));
    }
    let part = "<MPD><Period xlink:href=\"data:,%3CPeriod/%3E\"/></MPD>";
    let none = "<MPD><Period xlink:href=\"urn:mpeg:dash:resolve-to-zero:2013\"/></MPD>";
    assert_eq!(edited(ManifestFormat::Dash, part, &plan()), none);
    for text in ["<MPD><Location>data:,x</Location></MPD>", "<MPD><InsertPresentation url=\"data:,x\"/></MPD>"] {
        let found = read(ManifestFormat::Dash, text.as_bytes(), &plan(), DEFAULT_MAX_MANIFEST_BYTES).unwrap();
        assert_eq!((found.edits.len(), found.left), (0, 1), "{text}");
    }
}

/// Some parsers accept values without double quotes, and skip spaces.
#[test]
fn a_uri_is_found_as_lenient_parsers_find_it() {
    for value in ["URI='URI'", "URI = \"URI\"", "URI =URI", "METHOD=AES-128, URI= 'URI' ,IV=0x1"] {
        let text = |uri: &str| {
            format!(
                "#EXTM3U\n#EXT-X-KEY:{}\n",
                value
                    .replace("URI'", &format!("{uri}'"))
                    .replace("URI\"", &format!("{uri}\""))
                    .replace("=URI", &format!("={uri}"))
            )
        };
        assert_eq!(
            edited(ManifestFormat::Hls, &text("/k"), &plan()),
            text(&format!("{OWN}~h/cdn.examples/k")),
            "{value}"
        );
    }
}
