//! Tests of the form of a bound URI: what its format requires, and the bases above it.

use proptest::prelude::*;

use super::super::uri::UriBase;
use super::{OWN, SITE, bind, edited, plan};
use crate::manifest::{AbsoluteUri, DEFAULT_MAX_MANIFEST_BYTES, EditPlan, ManifestFormat, Purpose, read};

/// The player's URI for a URI of its own server and of another one.
fn ours(path: &str) -> String {
    format!("{SITE}{OWN}~h/{path}")
}

fn listed(to: &AbsoluteUri<'_>, purpose: Purpose) -> Option<String> {
    bind(to, purpose).filter(|_| !to.authority.contains("foreign"))
}

#[test]
fn a_uri_that_must_be_absolute_is_absolute() {
    let line = |uri: &str| format!("#EXTM3U\n#EXT-X-DATERANGE:ID=\"1\",X-ASSET-URI=\"{uri}\"\n");
    for (uri, bound) in [
        ("http://cdn.example/b/m.m3u8", ours("cdn.example/b/m.m3u8")),
        ("/b/m.m3u8?x=1", ours("cdn.examples/b/m.m3u8?x=1")),
        ("b/m.m3u8", "b/m.m3u8".to_owned()),
    ] {
        assert_eq!(edited(ManifestFormat::Hls, &line(uri), &plan()), line(&bound));
        assert_eq!(edited(ManifestFormat::Hls, &line(&bound), &plan()), line(&bound), "it is in place");
    }
    let remote = |uri: &str| format!("<MPD><Period xlink:href=\"{uri}\"/></MPD>");
    for uri in ["http://cdn.example/x/first.xml", "//cdn.example/x/first.xml", "/x/first.xml"] {
        let scheme = if uri.starts_with("http:") { "" } else { "s" };
        assert_eq!(
            edited(ManifestFormat::Dash, &remote(uri), &plan()),
            remote(&ours(&format!("cdn.example{scheme}/x/first.xml")))
        );
    }
    let text = "<MPD><Location>/x/main.mpd</Location><Period/></MPD>";
    let bound = format!("<MPD><Location>{}</Location><Period/></MPD>", ours("cdn.examples/x/main.mpd"));
    assert_eq!(edited(ManifestFormat::Dash, text, &plan()), bound);
    // Without the player's host, no absolute URI can be written.
    let nameless = edited(ManifestFormat::Hls, &line("/b/m.m3u8"), &EditPlan { site: None, ..plan() });
    assert_eq!(nameless, line("/media/~p/0123/~h/cdn.examples/b/m.m3u8"));
}

/// The URIs of a line are edited in the order of the line, not of the table of tags.
#[test]
fn the_uris_of_a_line_are_bound_in_any_order() {
    let both = |first: &str, second: &str| format!("#EXTM3U\n#EXT-X-DATERANGE:ID=\"1\",{first},X-A=\"b\",{second}\n");
    let (uri, list) = (("X-ASSET-URI=\"/a\"", "/a"), ("X-ASSET-LIST=\"/b\"", "/b"));
    let bound = |(attribute, path): (&str, &str)| attribute.replace(path, &ours(&format!("cdn.examples{path}")));
    for (first, second) in [(uri, list), (list, uri)] {
        let text = edited(ManifestFormat::Hls, &both(first.0, second.0), &plan());
        assert_eq!(text, both(&bound(first), &bound(second)));
    }
    // An element that receives the report parameters may have URIs of its own.
    let cmcd = crate::manifest::CmcdRequest { content: "c", session: "s" };
    let text = "<MPD><ServiceDescription xlink:href=\"/r.xml\"/><Period/></MPD>";
    let text = edited(ManifestFormat::Dash, text, &EditPlan { cmcd: Some(&cmcd), ..plan() });
    let head = format!("<MPD><ServiceDescription xlink:href=\"{}\"><Client", ours("cdn.examples/r.xml"));
    assert!(text.starts_with(&head) && text.ends_with("</ServiceDescription><Period/></MPD>"), "{text}");
}

/// A player switches to the second base when the first one fails, and reaches another server by it.
#[test]
fn a_relative_uri_below_alternatives_follows_the_one_that_its_player_chooses() {
    let all = EditPlan { all: true, ..plan() };
    let (one, other) = ("<BaseURL>https://a.example/</BaseURL>", "<BaseURL>https://b.example/</BaseURL>");
    let bound = |host: &str| format!("<BaseURL>/media/~p/0123/~h/{host}.examples/</BaseURL>");
    let both = bound("a") + &bound("b");
    let template = "<SegmentTemplate media=\"v/$Number$\" initialization=\"i\"/>";
    for (rest, expected) in [
        (format!("<Period>{template}</Period>"), format!("<Period>{template}</Period>")),
        (
            format!("<Period><BaseURL>p/</BaseURL>{template}</Period>"),
            format!("<Period><BaseURL>p/</BaseURL>{template}</Period>"),
        ),
        // An absolute base within them is bound itself.
        (format!("<Period>{one}{template}</Period>"), format!("<Period>{}{template}</Period>", bound("a"))),
    ] {
        let edited = edited(ManifestFormat::Dash, &format!("<MPD>{one}{other}{rest}</MPD>"), &all);
        assert_eq!(edited, format!("<MPD>{both}{expected}</MPD>"), "{rest}");
    }
    // A template before its bases is edited as well.
    let text = format!("<MPD><Period>{template}{one}{other}</Period></MPD>");
    assert_eq!(edited(ManifestFormat::Dash, &text, &all), format!("<MPD><Period>{template}{both}</Period></MPD>"));
    // Below one base the URI is bound, for players that do not follow the redirect.
    let text = format!("<MPD>{one}<Period>{template}</Period></MPD>");
    assert!(edited(ManifestFormat::Dash, &text, &all).contains("media=\"/media/~p/0123/~h/a.examples/v/$Number$\""));
}

#[test]
fn no_bound_uri_is_rooted_below_a_foreign_base() {
    let foreign = "<BaseURL>https://foreign.test/f/</BaseURL>";
    let own = "<BaseURL>https://b.example/o/</BaseURL>";
    let (rooted, absolute) = ("/media/~p/0123/~h/b.examples", ours("b.examples"));
    let bound = format!("<BaseURL>{rooted}/o/</BaseURL>");
    for (text, expected, left) in [
        // A bound base below a foreign one.
        (
            format!("{foreign}<Period>{own}<SegmentTemplate media=\"/s/$Number$\"/></Period>"),
            format!(
                "{foreign}<Period><BaseURL>{absolute}/o/</BaseURL><SegmentTemplate media=\"{rooted}/s/$Number$\"/></Period>"
            ),
            1,
        ),
        // Absolute and rooted templates below a foreign base.
        (
            format!("{foreign}<Period><SegmentTemplate media=\"https://b.example/s\" index=\"i\"/></Period>"),
            format!("{foreign}<Period><SegmentTemplate media=\"{absolute}/s\" index=\"i\"/></Period>"),
            1,
        ),
        (
            format!("{foreign}<Period><SegmentTemplate media=\"/s\"/></Period>"),
            format!("{foreign}<Period><SegmentTemplate media=\"/s\"/></Period>"),
            2,
        ),
        // Alternatives: with any of them, an absolute URI leads to sidebeat.
        (
            format!("{own}{foreign}<Period><SegmentTemplate media=\"/s\"/></Period>"),
            format!("{bound}{foreign}<Period><SegmentTemplate media=\"{absolute}/s\"/></Period>"),
            1,
        ),
        (
            format!("{foreign}{own}<Period><SegmentTemplate media=\"/s\" index=\"i\"/></Period>"),
            format!("{foreign}{bound}<Period><SegmentTemplate media=\"{absolute}/s\" index=\"i\"/></Period>"),
            1,
        ),
        // Beside each other, not within each other.
        (
            format!("{own}<BaseURL>/z/</BaseURL><Period/>"),
            format!("{bound}<BaseURL>/media/~p/0123/~h/cdn.examples/z/</BaseURL><Period/>"),
            0,
        ),
        // A set's URIs, below the base of one of its representations.
        (
            format!(
                "<Period><AdaptationSet><SegmentTemplate media=\"https://b.example/s\"/><Representation>{foreign}\
                 </Representation></AdaptationSet></Period>"
            ),
            format!(
                "<Period><AdaptationSet><SegmentTemplate media=\"{absolute}/s\"/><Representation>{foreign}\
                 </Representation></AdaptationSet></Period>"
            ),
            1,
        ),
        // Within an element, in any order.
        (
            format!("<Period><SegmentTemplate media=\"https://b.example/s\"/>{foreign}</Period>"),
            format!("<Period><SegmentTemplate media=\"{absolute}/s\"/>{foreign}</Period>"),
            1,
        ),
        // An absolute, bound base ends the effect of a foreign one around it; so does the end of the element.
        (
            format!("<Period>{foreign}</Period><Period><SegmentTemplate media=\"https://b.example/s\"/></Period>"),
            format!("<Period>{foreign}</Period><Period><SegmentTemplate media=\"{rooted}/s\"/></Period>"),
            1,
        ),
    ] {
        let (text, expected) = (format!("<MPD>{text}</MPD>"), format!("<MPD>{expected}</MPD>"));
        let plan = EditPlan { bind: &listed, ..plan() };
        assert_eq!(edited(ManifestFormat::Dash, &text, &plan), expected, "{text}");
        assert_eq!(edited(ManifestFormat::Dash, &expected, &plan), expected, "edited twice: {text}");
        assert_eq!(
            read(ManifestFormat::Dash, text.as_bytes(), &plan, DEFAULT_MAX_MANIFEST_BYTES).unwrap().left,
            left,
            "{text}"
        );
    }
}

fn base_url() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["https://foreign.test/f/", "https://b.example/o/", "/r/", "v/", "../", "//foreign.test/"])
}

fn media() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["s", "/s", "https://b.example/s", "//foreign.test/s", "../../../../s"])
}

/// Bases and the template of one element.
type Level = (Vec<&'static str>, Option<&'static str>);

fn level() -> impl Strategy<Value = Level> {
    (prop::collection::vec(base_url(), 0..3), prop::option::of(media()))
}

fn element((bases, media): &Level, rest: &str, template_first: bool) -> String {
    let bases: String = bases.iter().map(|base| format!("<BaseURL>{base}</BaseURL>")).collect();
    let template = media.map(|media| format!("<SegmentTemplate media=\"{media}\"/>")).unwrap_or_default();
    if template_first { format!("{template}{bases}{rest}") } else { format!("{bases}{template}{rest}") }
}

/// Every URL that a player may request with these bases, one of each level, and this URI.
fn asked(levels: &[Vec<String>], uri: &str) -> Vec<String> {
    let mut bases = vec![("proxy.test".to_owned(), format!("{OWN}show/main"), false)];
    for level in levels.iter().filter(|level| !level.is_empty()) {
        bases = bases.iter().flat_map(|base| level.iter().map(|uri| resolve(base, uri))).collect();
    }
    bases.iter().map(|base| resolve(base, uri)).map(|(host, path, _)| format!("{host}{path}")).collect()
}

fn resolve((authority, path, tls): &(String, String, bool), uri: &str) -> (String, String, bool) {
    let to = UriBase { authority, path, root: "/", tls: *tls }.resolve_any(uri);
    (to.authority.to_string(), to.path, to.tls)
}

proptest! {
    /// With any of its bases, a player sends the id of its playback to sidebeat alone.
    #[test]
    fn no_other_server_learns_the_playback_id(
        levels in prop::collection::vec(level(), 4..=4), all in any::<bool>(), first in any::<bool>(),
    ) {
        let [mpd, period, set, representation] = &levels[..] else { unreachable!() };
        let inner = format!("<Representation>{}</Representation>", element(representation, "", first));
        let inner = format!("<AdaptationSet>{}</AdaptationSet>", element(set, &inner, first));
        let inner = format!("<Period>{}</Period>", element(period, &inner, first));
        let text = format!("<MPD>{}</MPD>", element(mpd, &inner, first));
        let edited = edited(ManifestFormat::Dash, &text, &EditPlan { all, bind: &listed, ..plan() });
        let values = |mark: &str, end: char| -> Vec<String> {
            edited.split(mark).skip(1).map(|rest| rest.split(end).next().unwrap().to_owned()).collect()
        };
        let (mut bases, media) = (values("<BaseURL>", '<').into_iter(), values("media=\"", '"'));
        // For all levels from the outermost; a template holds for all levels within its own.
        let bases: Vec<Vec<String>> = levels.iter().map(|(own, _)| bases.by_ref().take(own.len()).collect()).collect();
        let templates = levels.iter().enumerate().filter(|(_, (_, media))| media.is_some()).map(|(at, _)| at);
        for (at, media) in templates.zip(&media) {
            for depth in at..levels.len() {
                for url in asked(&bases[..=depth], media) {
                    prop_assert!(!url.contains(OWN) || url.starts_with("proxy.test"), "{url} by {edited} of {text}");
                }
            }
        }
    }
}
