//! Checks that the page, the tables and the edits agree on each tag, element and attribute with a URI.

use std::collections::BTreeSet;

use super::super::dash::UriTextKind;
use super::super::dash::uri_table::{self as dash, UriKind};
use super::super::hls::uri_table as hls;
use super::uris::marked;
use super::{OWN, SITE, edited, plan};
use crate::manifest::{DEFAULT_MAX_MANIFEST_BYTES, EditPlan, ManifestFormat, Purpose, read};

const PAGE: &str = include_str!("../../../../../docs/media.md");

/// A place of a URI, and its treatment in the page's own words.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Row {
    becomes: String,
    /// Tag or element; empty for any.
    holder: String,
    /// Attribute; empty for a tag's value or an element's text.
    name: String,
    /// Start of `schemeIdUri`.
    scheme: String,
}

fn row(holder: &str, scheme: &str, name: &str, becomes: &str) -> Row {
    Row { becomes: becomes.into(), holder: holder.into(), name: name.into(), scheme: scheme.into() }
}

const BY_LICENSE_ROUTE: &str = "`license-route` if that is set, else stays";
const STEERED_HLS: &str = "marked, or the tag is removed";
const STEERED_DASH: &str = "marked, absolute, or the element is removed";

fn hls_rows() -> BTreeSet<Row> {
    let rows = hls::URI_ATTRIBUTES.iter().map(|entry| {
        let becomes = match (entry.usage.purpose, entry.usage.absolute) {
            (Purpose::Steering, _) => STEERED_HLS,
            (Purpose::Assets, true) => "marked, absolute",
            (_, true) => "bound, absolute",
            (_, false) => "bound",
        };
        row(entry.tag, "", entry.name, becomes)
    });
    rows.collect()
}

fn dash_rows() -> BTreeSet<Row> {
    let attributes = dash::URI_ATTRIBUTES.iter().map(|entry| {
        let becomes = match entry.kind {
            UriKind::Beside => "beside",
            UriKind::File | UriKind::Segment | UriKind::SegmentOfList | UriKind::Template => "bound",
            UriKind::License => BY_LICENSE_ROUTE,
            UriKind::Manifest => "bound, absolute",
            UriKind::Part => "marked, absolute",
            UriKind::Removed => "removed",
        };
        row(entry.element, entry.scheme, entry.name, becomes)
    });
    let texts = dash::URI_TEXTS.iter().map(|(element, text)| {
        let becomes = match text {
            UriTextKind::Base => "bound",
            UriTextKind::Beside => "beside",
            UriTextKind::License => BY_LICENSE_ROUTE,
            UriTextKind::Manifest => "bound, absolute",
            UriTextKind::Patch => "removed",
            UriTextKind::Steering => STEERED_DASH,
        };
        row(element, "", "", becomes)
    });
    attributes.chain(texts).collect()
}

/// Rows of the page that no table has, because they are no places of their own; `uris` tests them.
fn beside_the_tables() -> BTreeSet<Row> {
    BTreeSet::from([
        row("a line that is no tag", "", "", "bound"),
        row("any other tag", "", "URI", "bound"),
        row("#EXT-X-DEFINE", "", "VALUE", "stays"),
        row("#EXT-X-DEFINE", "", "QUERYPARAM", "stays"),
        row("#EXT-X-DEFINE", "", "IMPORT", "stays"),
        row("#EXT-X-DATERANGE", "", "any other `X-…`", "stays"),
        row("EventStream", "urn:mpeg:dash:event:callback:", "messageData", "beside"),
        row("EventStream", "urn:mpeg:dash:event:callback:", "Event", "beside"),
        row("EventStream", "urn:mpeg:dash:event:insertion:", "Event", "bound, absolute"),
        row("EventStream", "urn:mpeg:dash:event:2012", "value", "left (counted)"),
        row("InbandEventStream", "urn:mpeg:dash:event:2012", "value", "left (counted)"),
    ])
}

/// All places in the page's two tables.
fn page_rows() -> BTreeSet<Row> {
    let part = |from: &str, to: &str| PAGE.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let lines = [part("\n## HLS\n", "\n## MPEG-DASH\n"), part("\n## MPEG-DASH\n", "\n## ")];
    let lines =
        lines.into_iter().flat_map(str::lines).filter(|line| line.starts_with("| ") && !line.starts_with("|---"));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| !cells[0].starts_with("tag") && !cells[0].starts_with("element")).flat_map(rows_of).collect()
}

fn rows_of(cells: Vec<&str>) -> Vec<Row> {
    let [holders, names, becomes, _why] = cells[..] else { panic!("no row of four: {cells:?}") };
    let coded = |cell: &'static str| cell.split('`').skip(1).step_by(2);
    let holders: &'static str = holders.to_owned().leak();
    let names: &'static str = names.to_owned().leak();
    let (schemes, tags): (Vec<_>, Vec<_>) = coded(holders).partition(|word| word.starts_with("urn:"));
    let tags = if tags.is_empty() { vec![if holders == "any" { "" } else { holders }] } else { tags };
    let schemes: Vec<_> = schemes.iter().map(|scheme| scheme.trim_end_matches('…')).collect();
    let schemes = if schemes.is_empty() { vec![""] } else { schemes };
    let mut attributes: Vec<_> = if names.starts_with("any other") { vec![names] } else { coded(names).collect() };
    // Values, and not names.
    attributes.retain(|name| name.parse::<u8>().is_err());
    if names.is_empty() || names == "its value" || (names.starts_with("text") && !names.starts_with("text of")) {
        attributes.push("");
    }
    let each = |(tag, scheme): (&&str, &str)| -> Vec<Row> {
        attributes.iter().map(|name| row(tag, scheme, name, becomes)).collect()
    };
    tags.iter().flat_map(|tag| schemes.iter().map(move |scheme| (tag, *scheme))).flat_map(each).collect()
}

#[test]
fn the_page_and_the_tables_name_the_same_places() {
    let tables: BTreeSet<Row> = hls_rows().into_iter().chain(dash_rows()).chain(beside_the_tables()).collect();
    let page = page_rows();
    assert_eq!(tables.difference(&page).collect::<Vec<_>>(), Vec::<&Row>::new(), "not on the page");
    assert_eq!(page.difference(&tables).collect::<Vec<_>>(), Vec::<&Row>::new(), "on the page alone");
}

/// The result for a URI: itself, another one, or nothing together with its tag or element.
enum Outcome {
    Gone,
    Is(String),
}

/// The outcome for the page's words. `None` if the URI does not lead there, and is counted.
fn outcome(becomes: &str, purpose: &str, uri: &str) -> Option<Outcome> {
    let foreign = uri.contains("foreign.test");
    let (host, path) = match uri.strip_prefix("https://") {
        Some(rest) => (rest.split('/').next()?, &rest[rest.find('/')?..]),
        None => ("cdn.example", uri),
    };
    let bound = |mark: &str| format!("{OWN}{mark}/{host}s{path}");
    Some(Outcome::Is(match becomes {
        "removed" => return Some(Outcome::Gone),
        STEERED_HLS | STEERED_DASH if foreign => return Some(Outcome::Gone),
        "beside" if uri.starts_with("https:") => uri.to_owned(),
        "beside" => format!("{SITE}{}", bound("~h")),
        BY_LICENSE_ROUTE => "https://proxy.test/license".to_owned(),
        _ if foreign => return None,
        "bound" => bound("~h"),
        "bound, absolute" => format!("{SITE}{}", bound("~h")),
        "marked, absolute" | STEERED_DASH => format!("{SITE}{}", bound(purpose)),
        STEERED_HLS => bound(purpose),
        other => panic!("no such word on the page: {other}"),
    }))
}

const URIS: [&str; 4] =
    ["https://b.example/x/y?z=1", "/x/y?z=1", "https://foreign.test/x/y", "https://cdn.example/x/y?z=1"];

fn treated(format: ManifestFormat, row: &Row, purpose: &str, text: impl Fn(&str) -> String, gone: &str) {
    let plan = EditPlan { bind: &marked, license: Some("https://proxy.test/license"), ..plan() };
    for uri in URIS {
        let (input, (expected, left)) = (
            text(uri),
            match outcome(&row.becomes, purpose, uri) {
                Some(Outcome::Gone) => (gone.to_owned(), 0),
                Some(Outcome::Is(becomes)) => (text(&becomes), 0),
                None => (text(uri), 1),
            },
        );
        assert_eq!(edited(format, &input, &plan), expected, "{row:?}: {uri}");
        assert_eq!(
            read(format, input.as_bytes(), &plan, DEFAULT_MAX_MANIFEST_BYTES).unwrap().left,
            left,
            "{row:?}: {uri}"
        );
    }
}

#[test]
fn each_tag_and_attribute_of_the_table_becomes_what_the_page_says() {
    for row in hls_rows() {
        let purpose = if row.name == "X-ASSET-LIST" { "~a" } else { "~g" };
        let value = |uri: &str| match &*row.name {
            "" => uri.to_owned(),
            name => format!("ID=\"1\",{name}=\"{uri}\",TYPE=AUDIO"),
        };
        let text = |uri: &str| format!("#EXTM3U\n{}:{}\n#EXTINF:4,\n1.ts\n", row.holder, value(uri));
        treated(ManifestFormat::Hls, &row, purpose, text, "#EXTM3U\n#\n#EXTINF:4,\n1.ts\n");
    }
}

#[test]
fn each_element_and_attribute_of_the_table_becomes_what_the_page_says() {
    for row in dash_rows() {
        let (element, name) = (if row.holder.is_empty() { "AdaptationSet" } else { &*row.holder }, &*row.name);
        let purpose = if name == "xlink:href" { "~x" } else { "~g" };
        let scheme = if row.scheme.is_empty() { String::new() } else { format!(" schemeIdUri=\"{}2014\"", row.scheme) };
        let whole = |element: &str| format!("<MPD><Period>{element}</Period></MPD>");
        let text = |uri: &str| {
            whole(&match name {
                "" => format!("<{element}>{uri}</{element}>"),
                _ => format!("<{element}{scheme} {name}=\"{uri}\"/>"),
            })
        };
        let gone = if name.is_empty() { String::new() } else { format!("<{element}{scheme} />") };
        treated(ManifestFormat::Dash, &row, purpose, text, &whole(&gone));
        // With another scheme it is no URI.
        if !row.scheme.is_empty() {
            let other = text("/x/y").replace(&row.scheme, "urn:example:");
            assert_eq!(edited(ManifestFormat::Dash, &other, &EditPlan { bind: &marked, ..plan() }), other, "{row:?}");
        }
    }
}

/// A key of a whole presentation is fetched before the first playlist of its variants.
#[test]
fn a_session_key_is_bound_and_a_text_that_is_no_address_stays() {
    let plan = EditPlan { bind: &marked, ..plan() };
    for tag in ["#EXT-X-SESSION-KEY", "#EXT-X-KEY"] {
        for (uri, becomes) in [
            ("http://b.example/k?x=1", format!("{OWN}~h/b.example/k?x=1")),
            ("HTTPS://b.example/k", format!("{OWN}~h/b.examples/k")),
            ("//b.example/k", format!("{OWN}~h/b.examples/k")),
            ("k", "k".to_owned()),
            ("skd://one", "skd://one".to_owned()),
            ("data:text/plain;base64,QQ==", "data:text/plain;base64,QQ==".to_owned()),
            ("urn:uuid:0", "urn:uuid:0".to_owned()),
        ] {
            let text = |uri: &str| format!("#EXTM3U\n{tag}:METHOD=SAMPLE-AES,URI=\"{uri}\",KEYFORMAT=\"identity\"\n");
            assert_eq!(edited(ManifestFormat::Hls, &text(uri), &plan), text(&becomes), "{tag}");
        }
    }
}
