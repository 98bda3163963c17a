//! Every tag, element and attribute that carries a URI.

use super::{OWN, SITE, bind, edited, plan};
use crate::manifest::{Absolute, Format, LARGEST, Plan, Purpose, read};

/// Where a URI leads, with what it is for.
pub(super) fn marked(to: &Absolute<'_>, purpose: Purpose) -> Option<String> {
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
            assert_eq!(edited(Format::Hls, &input, &Plan { bind: &marked, ..plan() }), bound);
        }
        let foreign = text.replace("URI\"", "https://foreign.test/x\"").replace("H:URI", "H:https://foreign.test/x");
        let plan = Plan { bind: &marked, ..plan() };
        assert_eq!(read(Format::Hls, foreign.as_bytes(), &plan, LARGEST).unwrap().left, 1, "{line}");
    }
    // A list is edited even where it would bind by itself.
    let list = edited(Format::Hls, "#EXTM3U\n#EXT-X-DATERANGE:X-ASSET-LIST=\"l\"\n", &Plan { bind: &marked, ..plan() });
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
        assert_eq!(edited(Format::Hls, &text(uri), &plan()), text(&bound));
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
            assert_eq!(edited(Format::Dash, &input, &Plan { bind: &marked, ..plan() }), bound);
        }
    }
    // A part is edited even where it would bind by itself, and a property of another kind is no URI.
    let part = edited(Format::Dash, "<MPD><Period xlink:href=\"p.xml\"/></MPD>", &Plan { bind: &marked, ..plan() });
    assert_eq!(part, format!("<MPD><Period xlink:href=\"{site}~x/cdn.examples/vod/show/p.xml\"/></MPD>"));
    let other = "<MPD><SupplementalProperty schemeIdUri=\"urn:x:y\" value=\"/x\"/><Period/></MPD>";
    assert_eq!(edited(Format::Dash, other, &plan()), other);
}

/// What only reports or tells the time leads nowhere; but a path would be asked of us, and is.
#[test]
fn what_stands_beside_the_media_keeps_its_server() {
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
            let plan = Plan { bind: &marked, ..plan() };
            let edited = edited(Format::Dash, &text(uri), &plan);
            assert_eq!(edited, text(&becomes));
            assert_eq!(read(Format::Dash, text(uri).as_bytes(), &plan, LARGEST).unwrap().left, 1, "but for the base");
        }
    }
    let clocks = "<MPD><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/a https://t.example/b /c\"/></MPD>";
    let bound = clocks.replace("/a ", &format!("{} ", at("/a"))).replace(" /c", &format!(" {}", at("/c")));
    assert_eq!(edited(Format::Dash, clocks, &plan()), bound);
    for untouched in [
        "<MPD><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:ntp:2014\" value=\"/a\"/></MPD>",
        "<MPD><EventStream schemeIdUri=\"urn:x:y\"><Event messageData=\"/a\">/b</Event></EventStream></MPD>",
    ] {
        assert_eq!(edited(Format::Dash, untouched, &plan()), untouched);
    }
    let updates = "<MPD><InbandEventStream schemeIdUri=\"urn:mpeg:dash:event:2012\" value=\"3\"/></MPD>";
    assert_eq!(read(Format::Dash, updates.as_bytes(), &plan(), LARGEST).unwrap().left, 1, "segments bring MPDs");
}

/// It is put into the MPD that refers to it: relative URIs begin where they do there.
#[test]
fn a_part_of_an_mpd_is_edited_as_one() {
    let plan = Plan { all: true, bind: &marked, part: true, ..plan() };
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
        assert_eq!(edited(Format::Dash, text, &plan), expected);
        let facts = read(Format::Dash, text.as_bytes(), &plan, LARGEST).unwrap().facts;
        assert_eq!((facts.live, facts.reload, facts.tail), (None, None, None), "of the whole it says nothing");
    }
    assert!(read(Format::Dash, b"{}", &plan, LARGEST).is_err());
    assert!(read(Format::Dash, b"<Period>", &plan, LARGEST).is_err());
}
