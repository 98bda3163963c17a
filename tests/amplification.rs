//! Tests that no input makes work or output grow faster than its size: every parser gets its worst case at the full
//! allowed size, and at a quarter of it.
//!
//! The tests count work and do not time it: allocated bytes, bytes held at once, and the parser's own counts. If work
//! grows with the square of the input, four times the input needs sixteen times the work.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail them")]

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use sidebeat::config::FieldNames;
use sidebeat::drm::{self, Direction, DrmSystem};
use sidebeat::ids::PlaybackId;
use sidebeat::manifest::{
    self, AbsoluteUri, CmcdRequest, DashSlate, EditPlan, MAX_EXTRA_OUTPUT_BYTES, ManifestFormat, PlaylistTail, Purpose,
    UnfitManifest, UriBase,
};
use sidebeat::registrations::{self, AuthorizationBlock, RewriteTargets};
use sidebeat::{cmcd, token};

#[path = "support/cost.rs"]
mod cost;

use self::cost::{Allowance, filled, measure};

const MANIFEST_BYTES: usize = manifest::DEFAULT_MAX_MANIFEST_BYTES;
/// Bodies of license calls and of reports.
const BODY_BYTES: usize = 64 * 1024;
/// Heads of requests, and so their queries, headers and cookies.
const HEAD_BYTES: usize = 32 * 1024;
/// The most that `server.limits.body-max` may be set to.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Replies of license servers.
const LICENSE_REPLY_BYTES: usize = 1024 * 1024;
/// Replies of authorization services.
const AUTHORIZATION_BYTES: usize = 256 * 1024;

/// Gives an input of at most so many bytes.
type Make = Box<dyn Fn(usize) -> Vec<u8>>;

const OWN: &str = "/media/~p/0123456789abcdef0123456789abcdef/";
const SITE: Option<&str> = Some("https://proxy.example:8443");

fn assert_linear(name: &str, size: usize, make: impl Fn(usize) -> Vec<u8>, parse: impl Fn(&[u8]) -> usize) {
    let allowance = Allowance { fixed: 256 * 1024, output: MAX_EXTRA_OUTPUT_BYTES };
    cost::assert_linear(name, size, allowance, make, parse);
}

fn bind(to: &AbsoluteUri<'_>, _: Purpose) -> Option<String> {
    (to.authority != "foreign").then(|| format!("{OWN}~h/s/{}{}", to.authority, to.path))
}

/// Size of the edited manifest; zero if it is refused.
fn edit(format: ManifestFormat, bytes: &[u8], path: &str) -> usize {
    let cmcd = CmcdRequest { content: "0123456789abcdef", session: "0123456789abcdef" };
    // If segments do not pass through, relative URIs are bound as well.
    let all = path.len() > 100;
    let end = all.then_some(u64::MAX);
    let base = UriBase { authority: "cdn.example", path, root: "/vod/", tls: true };
    let license = Some("https://drm.example/license/~p/0123456789abcdef0123456789abcdef");
    let plan = EditPlan {
        all,
        base,
        bind: &bind,
        cmcd: Some(&cmcd),
        end,
        imports: &[],
        license,
        own: OWN,
        part: false,
        playheads: true,
        query: None,
        site: SITE,
        strict: false,
    };
    let Ok(found) = manifest::read(format, bytes, &plan, MANIFEST_BYTES) else { return 0 };
    assert!(found.expansion.resolved <= bytes.len() * 16 + 4 * 1024 * 1024);
    manifest::apply(&Bytes::copy_from_slice(bytes), &found.edits).unwrap().len()
}

fn long_path() -> String {
    format!("/vod/{}/main", "x".repeat(8000))
}

fn unfit(format: ManifestFormat, text: &str) -> Option<UnfitManifest> {
    let base = UriBase { authority: "cdn.example", path: "/vod/main", root: "/vod/", tls: true };
    let plan = EditPlan {
        all: false,
        base,
        bind: &bind,
        cmcd: None,
        end: None,
        imports: &[],
        license: None,
        own: OWN,
        part: false,
        playheads: true,
        query: None,
        site: SITE,
        strict: false,
    };
    manifest::read(format, text.as_bytes(), &plan, MANIFEST_BYTES).err()
}

#[test]
fn a_playlist_costs_no_more_than_its_size() {
    let lines = |part: fn(usize) -> String| -> Make { Box::new(move |size| filled("#EXTM3U\n", part, "", size)) };
    let long_variable: Make = Box::new(|size| {
        let value = "v".repeat(size / 4);
        filled(
            &format!("#EXTM3U\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{value}\"\n"),
            |_| "{$a}".repeat(1000) + "\n",
            "",
            size,
        )
    });
    let short_variable: Make = Box::new(|size| {
        let value = "v".repeat(8000);
        filled(
            &format!("#EXTM3U\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"/{value}\"\n"),
            |index| format!("{{$a}}/%{index}\n"),
            "",
            size,
        )
    });
    let many_variables: Make = Box::new(|size| {
        let part = |index| format!("#EXT-X-DEFINE:NAME=\"{index}\",VALUE=\"https://other.example/{index}\"\n");
        filled("#EXTM3U\n", part, "", size)
    });
    let references: Make = Box::new(|size| {
        let names: String =
            (0..64).map(|index| format!("#EXT-X-DEFINE:NAME=\"name{index:02}\",VALUE=\"\"\n")).collect();
        filled(&format!("#EXTM3U\n{names}"), |_| "x{$name63}{$name64}".repeat(99) + "\n", "", size)
    });
    let one_line: Make =
        Box::new(|size| filled("#EXTM3U\n#EXT-X-DATERANGE:", |_| "X-ASSET-URI=\"/a\",".to_owned(), "\n", size));
    let steering: Make = Box::new(|size| {
        filled(
            "#EXTM3U\n#EXT-X-CONTENT-STEERING:",
            |_| "SERVER-URI=\"/a\",".to_owned(),
            "SERVER-URI=\"data:,\"\n",
            size,
        )
    });
    let cases: Vec<(&str, Make)> = vec![
        ("a variable of a megabyte", long_variable),
        ("a variable of 8 KB in every line", short_variable),
        ("thousands of variables", many_variables),
        ("references to the last of 64 variables", references),
        ("one line of URIs", one_line),
        ("one line of steering lists", steering),
        ("short absolute URIs", lines(|_| "/\n".to_owned())),
        ("short relative URIs", lines(|_| "a\n".to_owned())),
        ("lines that CR ends", lines(|_| "/\r".to_owned())),
        ("numbers that do not grow", lines(|_| "#EXT-X-MEDIA-SEQUENCE:18446744073709551615\r/a\r".to_owned())),
        ("names that are no plain ones", lines(|index| format!("%{index}\n"))),
        ("folders that differ", lines(|index| format!("/{index}/{}/a\n", index * 7))),
        ("steps upward", lines(|_| "../".repeat(3000) + "a\n")),
        ("audio renditions", lines(|index| format!("#EXT-X-MEDIA:TYPE=AUDIO,URI=\"/{index}.m3u8\"\n"))),
        ("quotes to be escaped", lines(|_| "//a/\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\n".to_owned())),
        ("open attributes", lines(|_| "#EXT-X-KEY:URI=\"a=\"=\"=,=\"=\"\n".to_owned())),
        ("segments of a title", lines(|index| format!("#EXTINF:4,\n#EXT-X-BYTERANGE:{index}\nv.mp4\n"))),
    ];
    for (name, make) in cases {
        for path in ["/vod/show/main".to_owned(), long_path()] {
            assert_linear(name, MANIFEST_BYTES, &make, |bytes| edit(ManifestFormat::Hls, bytes, &path));
        }
    }
}

#[test]
fn a_variable_that_would_fill_the_memory_is_refused() {
    let value = "v".repeat(1024 * 1024);
    let text = format!("#EXTM3U\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{value}\"\n#EXTINF:4,\n{}\n", "{$a}".repeat(1000));
    let cost =
        measure(text.as_bytes(), |_| usize::from(unfit(ManifestFormat::Hls, &text) == Some(UnfitManifest::Grows)));
    assert_eq!(cost.output, 1);
    assert!(cost.allocated < 4 * 1024 * 1024, "{cost:?}");
    // A result of at most the size of a URL is filled in as usual.
    let fits = text.replace(&value, &"v".repeat(7000)).replace(&"{$a}".repeat(1000), "https://other.example/{$a}.ts");
    assert_eq!(unfit(ManifestFormat::Hls, &fits), None);
}

#[test]
fn an_mpd_costs_no_more_than_its_size() {
    let within = |head: String, part: fn(usize) -> String, tail: String| -> Make {
        Box::new(move |size| filled(&head, part, &tail, size))
    };
    let period = |part: fn(usize) -> String| within("<MPD><Period>".into(), part, "</Period></MPD>".into());
    let long_base = |part: fn(usize) -> String| {
        within(format!("<MPD><BaseURL>/{}/</BaseURL><Period>", "b".repeat(8000)), part, "</Period></MPD>".into())
    };
    let nested: String =
        (0..28).map(|index| format!("<a><BaseURL>{}/</BaseURL>", format!("{index}").repeat(120))).collect();
    let timeline = |head: &str| {
        let head = format!("<MPD><Period>{head}<SegmentTemplate media=\"$Time$.m4s\"><SegmentTimeline>");
        let tail = "</SegmentTimeline></SegmentTemplate></Period></MPD>".to_owned();
        within(head, |_| "<S d=\"1\" r=\"9999999999\"/>".to_owned(), tail)
    };
    let templates: Make = Box::new(|size| {
        let head = format!("<MPD><Period><BaseURL>/{}/</BaseURL>", "b".repeat(8000));
        let part = |index: usize| {
            let run = index.min(62);
            format!("<SegmentTemplate media=\"$Time$\"><S d=\"{run}\"/></SegmentTemplate>")
        };
        filled(&head, part, "</Period></MPD>", size)
    });
    let cases: Vec<(&str, Make)> = vec![
        ("a timeline", timeline("")),
        ("a timeline below a base", timeline("<BaseURL>https://other.example/</BaseURL>")),
        ("templates", period(|_| "<SegmentTemplate media=\"a\"/>".to_owned())),
        ("templates that close", period(|_| "<SegmentTemplate media=\"a\"></SegmentTemplate>".to_owned())),
        ("templates below a long base", long_base(|index| format!("<SegmentTemplate media=\"%{index}\"/>"))),
        ("templates that are told apart late", templates),
        ("segments below a long base", long_base(|index| format!("<SegmentURL media=\"%{index}\"/>"))),
        (
            "bases by representations",
            period(|index| {
                let mut bases = String::new();
                for base in 0..8 {
                    let _written = write!(bases, "<BaseURL>https://{base}.example/{index}/</BaseURL>");
                }
                format!("<Representation>{bases}<SegmentTemplate media=\"a\"/></Representation>")
            }),
        ),
        (
            "bases within bases",
            within(format!("<MPD>{nested}"), |_| "<SegmentURL media=\"a\"/>".to_owned(), "</a>".repeat(28) + "</MPD>"),
        ),
        (
            "bases that lead elsewhere behind templates",
            period(|_| {
                "<a><SegmentTemplate media=\"/a\"/><b><BaseURL>https://foreign/</BaseURL></b>\
                 <BaseURL>https://foreign/</BaseURL></a>"
                    .to_owned()
            }),
        ),
        (
            "a base that leads elsewhere behind all templates",
            within(
                "<MPD><Period>".into(),
                |_| "<SegmentTemplate media=\"/a\"/>".to_owned(),
                "<BaseURL>https://foreign/</BaseURL></Period></MPD>".into(),
            ),
        ),
        ("bases beside each other", period(|_| "<BaseURL>/</BaseURL>".to_owned())),
        ("patches behind edits", period(|_| "<BaseURL>/</BaseURL><PatchLocation>x</PatchLocation>".to_owned())),
        (
            "steering behind edits",
            period(|_| "<BaseURL>/</BaseURL><ContentSteering>data:,</ContentSteering>".to_owned()),
        ),
        ("clocks", period(|_| "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-\" value=\"/ / / / / /\"/>".to_owned())),
        (
            "properties",
            period(|_| "<EssentialProperty schemeIdUri=\"urn:mpeg:dash:fallback:\" value=\"/\"/>".to_owned()),
        ),
        ("events", period(|_| "<EventStream/><Event messageData=\"/\"/>".to_owned())),
        ("licenses", period(|_| "<Laurl>x</Laurl>".to_owned())),
        ("license attributes", period(|_| "<laurl licenseUrl=\"x\"/>".to_owned())),
        ("short absolute URIs", period(|_| "<SegmentURL media=\"/\"/>".to_owned())),
        ("remote periods", period(|_| "<a x:href=\"/\"/>".to_owned())),
        (
            "attributes of one element",
            within("<MPD><Period ".into(), |index| format!("a{index}=\"\" "), "/></MPD>".into()),
        ),
        (
            "one attribute over and over",
            within("<MPD><SegmentURL ".into(), |_| "media=\"/\" ".to_owned(), "/></MPD>".into()),
        ),
        ("entities", period(|_| "<BaseURL>&amp;&#x26;&lt;</BaseURL>".to_owned())),
        ("one long text", within("<MPD><BaseURL>".into(), |_| "&amp;".to_owned(), "</BaseURL></MPD>".into())),
        ("character data in a text", period(|_| "<BaseURL><![CDATA[/]]><!-- --><![CDATA[x]]></BaseURL>".to_owned())),
        ("comments", period(|_| "<!---->".to_owned())),
        (
            "texts within texts",
            within(
                "<MPD>".to_owned() + &"<BaseURL>".repeat(30),
                |_| "<b/>".to_owned(),
                "</BaseURL>".repeat(30) + "</MPD>",
            ),
        ),
        (
            "periods",
            within("<MPD>".into(), |_| "<Period start=\"PT1S\" duration=\"PT1S\"/>".to_owned(), "</MPD>".into()),
        ),
        ("service descriptions", within("<MPD>".into(), |_| "<ServiceDescription/>".to_owned(), "</MPD>".into())),
        ("depth that is too much", within("<MPD>".into(), |_| "<a>".to_owned(), "</MPD>".into())),
    ];
    for (name, make) in cases {
        for path in ["/vod/show/main".to_owned(), long_path()] {
            assert_linear(name, MANIFEST_BYTES, &make, |bytes| edit(ManifestFormat::Dash, bytes, &path));
        }
    }
}

#[test]
fn bases_that_add_up_to_no_url_are_refused() {
    let nested: String = (0..20).map(|_| format!("<a><BaseURL>{}/</BaseURL>", "b".repeat(1000))).collect();
    assert_eq!(
        unfit(ManifestFormat::Dash, &format!("<MPD>{nested}{}</MPD>", "</a>".repeat(20))),
        Some(UnfitManifest::Grows)
    );
    let long = "b".repeat(20_000);
    for text in [
        format!("<MPD><BaseURL>https://other.example/{long}</BaseURL></MPD>"),
        format!("<MPD><SegmentURL media=\"https://other.example/{long}\"/></MPD>"),
        format!("<MPD><Laurl>https://other.example/{long}</Laurl></MPD>"),
    ] {
        assert_eq!(
            unfit(ManifestFormat::Dash, &text),
            Some(UnfitManifest::Grows),
            "it would lead past the route unread"
        );
    }
    assert_eq!(unfit(ManifestFormat::Dash, &format!("<MPD><Initialization sourceURL=\"data:,{long}\"/></MPD>")), None);
}

#[test]
fn decoding_and_sniffing_a_manifest_cost_no_more_than_its_size() {
    let utf8 = |bytes: &[u8]| {
        let text = manifest::utf8(Bytes::copy_from_slice(bytes), Some("windows-1252"));
        text.map_or(0, |text| text.bytes.len() / 2)
    };
    assert_linear("characters of three bytes", MANIFEST_BYTES, |size| vec![0x80; size], utf8);
    let wide = |size: usize| [&b"\xff\xfe"[..], &b"\x00\x4e".repeat(size / 2 - 1)].concat();
    assert_linear("UTF-16", MANIFEST_BYTES, wide, utf8);
    let sniff = |bytes: &[u8]| usize::from(manifest::sniff(bytes, true) == manifest::SniffedBody::More);
    assert_linear("comments", MANIFEST_BYTES, |size| filled("", |_| "<!---->".to_owned(), "", size), sniff);
    assert_linear("a document type", MANIFEST_BYTES, |size| filled("<!DOCTYPE [", |_| "]".to_owned(), "", size), sniff);
}

/// A few bytes may stand for gigabytes: however they are put together, what is held is bounded.
#[test]
fn an_encoded_manifest_costs_no_more_than_it_may_be_large() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, &vec![b'#'; 256 * 1024 * 1024]).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(
        &vec![b'#'; 64 * 1024 * 1024][..],
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    // An empty member of gzip, over and over.
    let members = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(MANIFEST_BYTES / 20);
    // An empty metablock of Brotli that holds a byte which is skipped, over and over.
    let blocks = [&[0x0c][..], &[0x0c, 0, 0].repeat(MANIFEST_BYTES / 3)].concat();
    for (name, body) in [("gzip", gzip), ("zstd", zstd), ("gzip", members), ("br", blocks)] {
        let body = Bytes::from(body);
        let cost = measure(&[], |_| manifest::decoded(&[name], body.clone(), MANIFEST_BYTES).map_or(0, |it| it.len()));
        assert_eq!(cost.output, 0, "{name}");
        assert!(cost.peak <= 20 * 1024 * 1024 && cost.allocated <= 64 * 1024 * 1024, "{name}: {cost:?}");
    }
}

#[test]
fn slates_and_asset_lists_cost_no_more_than_their_size() {
    let at = |slate: &[u8]| {
        let text = String::from_utf8_lossy(slate);
        let programme = "<MPD type=\"dynamic\" availabilityStartTime=\"2026-01-01T00:00:00Z\"><Period/></MPD>";
        let (now, since) = (Duration::from_secs(1_767_230_000), Duration::from_secs(1_767_229_000));
        let mpd = manifest::dash_slate(&text, &DashSlate { now, programme, since }).unwrap_or_default();
        let playlist =
            manifest::hls_slate(&text, &PlaylistTail::default(), Duration::from_secs(1_000_000)).unwrap_or_default();
        mpd.len().max(playlist.len())
    };
    let mpd = |size| {
        let head = "<MPD mediaPresentationDuration=\"PT8S\"><Period>";
        filled(head, |_| "<AdaptationSet/>".to_owned(), "</Period></MPD>", size)
    };
    assert_linear("a slate's MPD", MANIFEST_BYTES, mpd, at);
    let keys = |size| filled("#EXTM3U\n", |_| "#EXT-X-KEY:METHOD=NONE\n".to_owned(), "#EXTINF:1,\na.ts\n", size);
    assert_linear("a slate's keys", MANIFEST_BYTES, keys, at);
    let lines = |size| filled("#EXTM3U\n", |_| "#EXTINF:1,\n".to_owned(), "a.ts\n", size);
    assert_linear("a slate's segment", MANIFEST_BYTES, lines, at);
    let list = |size| filled("{\"TTL\":1,\"PATHWAY-PRIORITY\":[", |index| format!("\"{index:032}\","), "\"a\"]}", size);
    let steered = |bytes: &[u8]| manifest::steered(bytes, |_| None).map_or(0, |list| list.len());
    assert_linear("a steering list", MANIFEST_BYTES / 64, list, steered);
    let assets = |size| filled("{\"ASSETS\":[", |_| "{\"URI\":\"a\"},".to_owned(), "{}]}", size);
    let listed = |bytes: &[u8]| manifest::asset_list(bytes, |_| None).map_or(0, |list| list.len());
    assert_linear("an asset list", MANIFEST_BYTES / 64, assets, listed);
}

fn recognise(content_type: Option<&'static str>) -> impl Fn(&[u8]) -> usize {
    move |body| {
        for direction in [Direction::Request, Direction::Reply] {
            let _known = drm::recognise(direction, content_type, None, body);
        }
        0
    }
}

#[test]
fn a_license_message_costs_no_more_than_its_size() {
    let soap = |inner: &str| {
        format!(
            "<soap:Envelope xmlns:soap=\"x\"><soap:Body><AcquireLicense xmlns=\"http://schemas.microsoft.com/DRM/2007/03/\
             protocols\"><challenge><Challenge><LA><LicenseNonce>AAAAAAAAAAAAAAAAAAAAAA==</LicenseNonce>{inner}"
        )
    };
    let text = |head: String, part: fn(usize) -> String, tail: &'static str| -> Make {
        Box::new(move |size| filled(&head, part, tail, size))
    };
    let bytes = |head: &'static [u8], part: &'static [u8]| -> Make {
        Box::new(move |size| [head, &part.repeat((size - head.len()) / part.len())].concat())
    };
    let base64_of = |inner: fn(usize) -> Vec<u8>, times: u32| -> Make {
        Box::new(move |size| {
            let mut body = inner(size / 4_usize.pow(times) * 3_usize.pow(times) - 64);
            for _ in 0..times {
                body = STANDARD.encode(body).into_bytes();
            }
            body
        })
    };
    let xmr = |size: usize| [&b"XMR\0"[..], &[0; 20], &[0, 2, 0, 1, 0, 0, 0, 8].repeat(size / 8)].concat();
    let cases: Vec<(&str, Make)> = vec![
        ("protobuf fields", bytes(b"\x08\x01", &[0x08, 0])),
        ("protobuf in protobuf", bytes(b"\x08\x01", &[0x12, 0x7f])),
        ("a long varint", bytes(b"\x08", &[0x80])),
        ("FairPlay blocks", bytes(&[0, 0, 0, 1], &[0])),
        ("UTF-16", bytes(b"\xff\xfe", b"<\0")),
        ("JSON containers", text("[".into(), |_| "[],".to_owned(), "[]]")),
        ("JSON depth", text(String::new(), |_| "[".to_owned(), "")),
        ("JSON escapes", text("{\"".into(), |_| "\\u0041".to_owned(), "\":\"AAAA\"}")),
        ("a name that is compared often", text("{\"kids\":[\"".into(), |_| "\\u004".to_owned(), "\"],\"a\":[\"b\"]}")),
        (
            "strings below one long name",
            Box::new(|size| {
                let name = "\\u0041".repeat(size / 12);
                filled(&format!("{{\"{name}\":["), |index| format!("\"AAAA{index:0100}\","), "\"\"]}", size)
            }),
        ),
        ("JSON strings that are base64", text("[".into(), |_| format!("\"{}\",", "AAAA".repeat(99)), "\"\"]")),
        ("open strings", text("{\"a\":\"".into(), |_| "\\\"".to_owned(), "")),
        ("forms", text("a=b".into(), |_| "&spc=AAAA".to_owned(), "")),
        ("form escapes", text("spc=".into(), |_| "%41".to_owned(), "")),
        ("XML elements", text(soap(""), |_| "<a/>".to_owned(), "")),
        ("XML depth", text(soap(""), |_| "<a>".to_owned(), "")),
        ("XML entities", text(soap("<CustomData>"), |_| "&amp;".to_owned(), "</CustomData>")),
        ("XML attributes", text(soap("<WRMHEADER><KID "), |index| format!("a{index}=\"\" "), "/>")),
        ("an end that is looked for", text(soap(""), |_| "<EncryptedData/>".to_owned(), "\0\0\0\0\0\0\0\0")),
        ("a comment", text(soap("<!--"), |_| "- ".to_owned(), "-->")),
        (
            "an end without a tag",
            Box::new(move |size| {
                let body = filled(&soap(""), |_| "<EncryptedData/>".to_owned(), "", size / 2);
                [body, vec![b'a'; size - size / 2 - 1], vec![b'>']].concat()
            }),
        ),
        ("base64 in base64", base64_of(|size| vec![b'A'; size], 2)),
        ("XMR objects", base64_of(xmr, 1)),
        (
            "a PlayReady envelope",
            text("<PlayReadyKeyMessage><LicenseAcquisition>".into(), |_| "<Challenge>".to_owned(), ""),
        ),
    ];
    for (name, make) in cases {
        for content_type in [None, Some("application/x-www-form-urlencoded"), Some("application/json")] {
            assert_linear(name, BODY_BYTES, &make, recognise(content_type));
        }
    }
}

/// Messages in all wrappings, in several orders.
fn wrapped_cases() -> Vec<(&'static str, Make)> {
    let text = |head: &'static str, part: fn(usize) -> String, tail: &'static str| -> Make {
        Box::new(move |size| filled(head, part, tail, size))
    };
    let repeated = |part: &'static str| -> Make { Box::new(move |size| part.repeat(size / part.len()).into_bytes()) };
    // Each wrapping takes the rest of the size, from the inside out.
    let nested: Make = Box::new(|size| {
        let mut body = vec![b'A'; size / 20];
        loop {
            let next = match body.first() {
                Some(b'"') => format!("%22{}", STANDARD.encode(&body)).into_bytes(),
                Some(b'%') => body.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
                _ => format!("\"data:;base64,{}\"", STANDARD.encode(&body)).into_bytes(),
            };
            if next.len() > size {
                body.resize(size, b' ');
                return body;
            }
            body = next;
        }
    });
    vec![
        ("parts", repeated("--a\r\n\r\n")),
        ("parts with heads", repeated("--a\r\ncontent-disposition: form-data; name=\"b\"\r\n\r\nAAAA\r\n")),
        ("one part", text("--a\r\n\r\n", |_| "\r\n--".to_owned(), "\r\n--a--")),
        ("heads", text("GLS/1.0 0 OK\r\n", |_| "X: 1\r\n".to_owned(), "\r\n")),
        ("hexadecimal digits", repeated("0a")),
        ("runs of hexadecimal digits", repeated("0a0b0c ")),
        ("hexadecimal digits of hexadecimal digits", repeated("3330")),
        ("numbers", repeated("34,")),
        ("signed numbers", repeated("-128,")),
        ("lists of numbers", repeated("[8,1],")),
        ("numbers of numbers", repeated("51,52,44,")),
        ("data URLs", repeated("data:;base64,AAAA ")),
        ("data URLs in data URLs", repeated("data:,data:,")),
        ("percent signs", repeated("%25")),
        ("percent-encoded marks", repeated("%22%3C%26")),
        ("percent signs of percent signs", repeated("%2525")),
        ("quotes", repeated("\"")),
        ("escaped quotes", repeated("\\\"")),
        ("quotes in quotes", repeated("\"\\\"a\\\"\"")),
        ("references", repeated("&amp;")),
        ("sections", repeated("<![CDATA[")),
        ("envelopes", repeated("<Envelope>")),
        ("buffers", repeated("{\"type\":\"Buffer\",\"data\":[8,1]},")),
        ("key ids", repeated("{\"kids\":")),
        ("short runs", repeated("AAAA ")),
        ("short runs of the other alphabet", repeated("A-_A.")),
        ("one long run", repeated("A")),
        ("wrappings in wrappings", nested),
    ]
}

#[test]
fn a_wrapped_message_costs_no_more_than_its_size() {
    for (name, make) in wrapped_cases() {
        for content_type in [None, Some("multipart/form-data; boundary=a")] {
            assert_linear(name, BODY_BYTES, &make, recognise(content_type));
        }
    }
}

/// The search looks at a fixed number of bytes, even if the limit on bodies is raised.
#[test]
fn a_body_of_the_largest_size_costs_no_more_than_its_size() {
    const SHAPES: [&str; 2] = ["numbers", "quotes"];
    for (name, make) in wrapped_cases().into_iter().filter(|(name, _)| SHAPES.contains(name)) {
        let body = make(MAX_BODY_BYTES);
        let cost = measure(&body, |body| {
            let _known = drm::recognise(Direction::Request, Some("multipart/form-data; boundary=a"), None, body);
            0
        });
        let input = u64::try_from(body.len()).unwrap();
        assert!(cost.allocated <= input * 8 && cost.peak <= input * 4, "{name}: {cost:?}");
    }
}

/// Any reply of a license server, and the check for a denial in words.
#[test]
fn a_license_servers_reply_costs_no_more_than_its_size() {
    for (name, make) in wrapped_cases() {
        assert_linear(name, LICENSE_REPLY_BYTES / 4, &make, |body| {
            let _known = drm::recognise(Direction::Reply, None, None, body);
            [DrmSystem::ClearKey, DrmSystem::PlayReady]
                .map(|system| usize::from(drm::is_no_license(system, body)))
                .iter()
                .sum()
        });
    }
    let make = |size: usize| b"{\"a\":[34,34]},".repeat(size / 14);
    assert_linear("mixed", LICENSE_REPLY_BYTES, make, |body| {
        let _known = drm::recognise(Direction::Reply, None, None, body);
        0
    });
}

/// The texts are in the query, in the steps of the path and in the headers, which are read one by one.
#[test]
fn a_message_beside_the_body_costs_no_more_than_its_size() {
    let separators: [(&str, fn(&[u8]) -> Vec<&[u8]>); 4] = [
        ("one text", |bytes| vec![bytes]),
        ("steps of a path", |bytes| bytes.split(|byte| *byte == b'/').collect()),
        ("headers", |bytes| bytes.chunks(128).collect()),
        ("short texts", |bytes| bytes.chunks(4).collect()),
    ];
    for (kind, texts) in separators {
        let steps: Make = Box::new(|size| b"AAAA/".repeat(size / 5));
        for (name, make) in wrapped_cases().into_iter().chain([("short steps", steps)]) {
            let look = |bytes: &[u8]| {
                let texts = texts(bytes);
                let _known = drm::recognise_request(None, b"", texts.iter().copied());
                0
            };
            assert_linear(&format!("{name} as {kind}"), HEAD_BYTES, &make, look);
        }
    }
}

/// An authorization is read, led through the proxy, and passed on.
#[test]
fn an_authorization_costs_no_more_than_its_size() {
    let names = FieldNames::default();
    let (content_paths, license_paths) = (vec!["data.items.url".to_owned()], vec!["drm.url".to_owned()]);
    let targets = RewriteTargets {
        base: "https://proxy.example",
        content_paths: &content_paths,
        enforces_blackouts: true,
        license_paths: &license_paths,
        license_route: Some("/license"),
        media_route: Some("/media"),
        names: &names,
    };
    let id = PlaybackId::random();
    let read = |body: &[u8]| {
        let reply = serde_json::from_slice::<serde_json::Value>(body).ok();
        let _unread = registrations::unread(reply.as_ref(), body, &names);
        let Some(mut reply) = reply else { return 0 };
        let Some(block) = AuthorizationBlock::read(&reply, &names) else { return 0 };
        let _taken = targets.rewrite(&mut reply, &block, id);
        reply.to_string().len()
    };
    let text = |head: &'static str, part: fn(usize) -> String, tail: &'static str| -> Make {
        Box::new(move |size| filled(head, part, tail, size))
    };
    let cases: Vec<(&str, Make)> = vec![
        ("fields", text("{\"a\":0", |index| format!(",\"{index}\":0"), "}")),
        ("fields of the contract", text("{\"a\":0", |_| ",\"contentUrl\":\"https://c.example/\"".to_owned(), "}")),
        ("blackouts", text("{\"a\":0", |_| ",\"blackoutAction\":\"DENY\"".to_owned(), "}")),
        (
            "a blackout of many URLs",
            text(
                "{\"data\":{\"blackoutAction\":\"DENY\",\"contentUrl\":[\"a\"",
                |_| ",\"https://c.example/\"".to_owned(),
                "]}}",
            ),
        ),
        ("lists", text("{\"data\":[0", |_| ",[]".to_owned(), "]}")),
        ("depth", text("", |_| "{\"data\":".to_owned(), "")),
        ("a long URL", text("{\"data\":{\"contentUrl\":\"https://c.example/", |_| "a".to_owned(), "\"}}")),
        ("a long token", text("{\"data\":{\"heartbeatFlag\":true,\"heartbeatToken\":\"", |_| "a".to_owned(), "\"}}")),
        ("escapes", text("{\"data\":{\"contentUrl\":\"", |_| "\\u003a".to_owned(), "\"}}")),
        ("no JSON", text("<", |_| "\\/".to_owned(), "")),
        ("bytes of no character", Box::new(|size| vec![0xff; size])),
    ];
    for (name, make) in cases {
        assert_linear(name, AUTHORIZATION_BYTES, &make, read);
    }
}

#[test]
fn a_pssh_box_costs_no_more_than_its_size() {
    let body = |size: usize| {
        let ids = (size - 400) / 16;
        let count = u32::try_from(ids).unwrap().to_be_bytes();
        let inner = [b"pssh\x01\0\0\0", &[9; 16][..], &count, &vec![7; ids * 16], &[0; 4]].concat();
        let pssh = [&u32::try_from(inner.len() + 4).unwrap().to_be_bytes(), &inner[..]].concat();
        // A Widevine request with the boxes as its content.
        let field = |tag: u8, bytes: &[u8]| {
            let mut length = Vec::new();
            let mut left = bytes.len();
            while left >= 0x80 {
                length.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
                left >>= 7;
            }
            length.push(u8::try_from(left).unwrap());
            [&[tag][..], &length, bytes].concat()
        };
        let request = field(0x12, &field(0x1a, &field(0x12, &field(0x0a, &pssh))));
        let padding = vec![0; size.saturating_sub(request.len() + 16)];
        [b"\x08\x01", &field(0x12, &request)[..], &field(0x1a, &padding)].concat()
    };
    assert_linear("a box of ids", BODY_BYTES, body, recognise(None));
}

#[test]
fn a_report_costs_no_more_than_its_size() {
    let query = |bytes: &[u8]| {
        let _report = cmcd::from_query(std::str::from_utf8(bytes).unwrap());
        0
    };
    assert_linear("parameters", HEAD_BYTES, |size| filled("a", |_| "&CMC%44=x".to_owned(), "", size), query);
    assert_linear("escapes", HEAD_BYTES * 3 / 4, |size| filled("CMCD=", |_| "%2C".to_owned(), "", size), query);
    assert_linear("spaces", HEAD_BYTES * 3 / 4, |size| filled("CMCD=", |_| "+".to_owned(), "", size), query);
    let batch = |bytes: &[u8]| {
        let _reports = cmcd::from_body(bytes);
        0
    };
    assert_linear("lines", BODY_BYTES, |size| filled("", |_| "\n".to_owned(), "", size), batch);
    let keys = |size| filled("", |_| format!("{}\n", "a=(1;v 2;v),".repeat(20)), "", size);
    assert_linear("keys", BODY_BYTES, keys, batch);
    assert_linear("quotes", BODY_BYTES, |size| filled("cid=\"", |_| "\\\"".to_owned(), "\"", size), batch);
    let headers = |bytes: &[u8]| {
        let mut headers = HeaderMap::new();
        for line in bytes.chunks(64) {
            headers.append("cmcd-object", HeaderValue::from_bytes(line).unwrap());
        }
        let _report = cmcd::from_headers(&headers);
        0
    };
    assert_linear("headers", HEAD_BYTES, |size| filled("", |_| "a=1,".to_owned(), "", size), headers);
}

#[test]
fn a_token_costs_no_more_than_its_size() {
    let peek = |bytes: &[u8]| {
        let _claims = token::TokenClaims::peek(std::str::from_utf8(bytes).unwrap());
        0
    };
    let jwt = |head: &'static str, part: &'static str, tail: &'static str| {
        move |size: usize| {
            let claims = filled(head, |_| part.to_owned(), tail, (size - 16) * 3 / 4);
            format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims)).into_bytes()
        }
    };
    const TOKEN_BYTES: usize = 16 * 1024;
    assert_linear("claims", TOKEN_BYTES, jwt("{\"a\":0", ",\"a\":0", "}"), peek);
    assert_linear("lists", TOKEN_BYTES, jwt("{\"a\":[0", ",0", "]}"), peek);
    assert_linear("lists in lists", TOKEN_BYTES, jwt("{\"a\":[0", ",[]", "]}"), peek);
    assert_linear("depth", TOKEN_BYTES, jwt("{\"a\":", "[", "}"), peek);
    let secret = token::TokenKeySet::of_secret(&[7; 32]).unwrap();
    let verify = |bytes: &[u8]| {
        let rules = token::TokenRules::default();
        let _claims = rules.verify(&[&secret], std::str::from_utf8(bytes).unwrap(), Duration::ZERO);
        0
    };
    let header = |size| {
        let header = filled("{\"alg\":\"HS256\"", |n| format!(",\"{n}\":0"), "}", (size - 16) * 3 / 4);
        format!("{}.e30.sig", URL_SAFE_NO_PAD.encode(header)).into_bytes()
    };
    assert_linear("headers", TOKEN_BYTES, header, verify);
    assert_linear("claims, verified", TOKEN_BYTES, jwt("{\"a\":0", ",\"a\":0", "}"), verify);
    assert_linear("commas", HEAD_BYTES, |size| filled("", |_| ",".to_owned(), "", size), peek);
    assert_linear("dots", HEAD_BYTES, |size| filled("", |_| ".".to_owned(), "", size), peek);
}

#[test]
fn a_key_set_costs_no_more_than_its_size() {
    const JWKS_BYTES: usize = 64 * 1024;
    let read = |bytes: &[u8]| {
        let _keys = token::TokenKeySet::of_jwks(bytes, token::JwksSource::Url);
        0
    };
    for (what, head, part, tail) in [
        ("keys", "{\"keys\":[{}", ",{}", "]}"),
        ("fields", "{\"keys\":[{\"a\":0", ",\"a\":0", "}]}"),
        ("depth", "{\"keys\":[", "[", ""),
    ] {
        assert_linear(what, JWKS_BYTES, |size| filled(head, |_| part.to_owned(), tail, size), read);
    }
}
