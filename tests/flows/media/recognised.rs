//! Tests that manifests are recognised even if path, type, encoding and character set are wrong or missing.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::Method;
use tokio::io::AsyncWriteExt;

use super::origin::{Asked, Origin, get, read};
use super::{HLS, begin, fetch, folder, live, route};
use crate::stage::Stage;
use crate::web::Reply;

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/vod/7.m4s\n";
const MPD: &str = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><MPD><Period id=\"\u{e9}\"><BaseURL>/vod/v/</BaseURL></Period></MPD>";

async fn answer(asked: &mut Asked, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len());
    asked.stream.write_all(head.as_bytes()).await.unwrap();
    // The proxy may have hung up after refusing a false length.
    let _gone = asked.stream.write_all(body).await;
}

/// Asks below a playback's own path while the origin answers so, once.
async fn fetched(stage: &Stage, origin: &Origin, path: &str, headers: &str, body: &[u8]) -> Reply {
    let (reply, ()) = tokio::join!(fetch(stage, "tv", path), async {
        answer(&mut origin.next().await, headers, body).await;
    });
    reply
}

/// The playlist, and one that goes on for 64 MiB, by a common encoder; the crates that are here only decode.
const BROTLI_PLAYLIST: &str = "8b1a80234558544d33550a234558542d582d5441524745544455524154494f4e3a340a23455854494e463a342c0a\
                               2f766f642f372e6d34730a03";
const BROTLI_BOMB: &str = "cbffff3ff81d09368ed2170737e54851552960e54c1355fc16088cbdffd333fcffff835f02200e8b0074effff8ffff07\
                           bf04401c1600e8defff1ffff0f7e0980382c00d0bdffe3ffff1ffc1200715800a07bffc7ffff3ff82500e2b00040f7\
                           fe8fffff7ff04b00c4610180eefd1fffffffe0970088c30200ddfbbf3800c02f0110060400";

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Without the header of zlib.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_manifest_is_recognised_by_its_content_with_any_path_and_type() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "when-killed = \"end\"").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path);
    let (playlist, mpd) =
        (PLAYLIST.as_bytes(), "<MPD type=\"dynamic\"><Period><BaseURL>/vod/v/</BaseURL></Period></MPD>".as_bytes());
    let headless = playlist.strip_prefix(b"#EXTM3U\n").unwrap();
    let marked = ["\u{feff}".as_bytes(), playlist].concat();
    for (name, kind, body) in [
        ("index.txt", "text/plain", playlist),
        ("index", "application/octet-stream", playlist),
        ("playlist.php?x=1", "", playlist),
        ("index.m3u8", "video/mp2t", playlist),
        ("wrong.mpd", "application/dash+xml", playlist),
        ("manifest.ts", "text/plain", playlist),
        ("headless", "text/plain", headless),
        ("marked", "text/html", &marked[..]),
        ("manifest(format=mpd-time-csf)", "text/xml", mpd),
        ("main.m3u8", "text/xml", mpd),
        ("vod", "", mpd),
        // Path and type agree, and both lie.
        ("seg.ts", "video/mp2t", playlist),
        ("7.m4s", "video/mp4", mpd),
        ("init.mp4", "audio/mp4", &marked[..]),
        ("sub.vtt", "text/vtt", headless),
        ("poster.jpg", "image/jpeg", playlist),
    ] {
        let headers = if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
        let reply = fetched(&stage, &origin, &format!("{own}/{name}"), &headers, body).await;
        let expected = String::from_utf8(body.to_vec()).unwrap().replace("/vod/", &format!("{own}/"));
        assert_eq!((reply.status.as_u16(), reply.text()), (200, expected), "{name}");
        assert_eq!(reply.header("cache-control"), "no-store", "{name}");
    }
    // Each was requested once, and a possible manifest again without an encoding.
    assert_eq!(origin.lines().len(), 17, "{:?}", origin.lines());
    let may_be = origin.heads().into_iter().filter(|head| {
        let named = [".ts", ".m4s", ".mp4", ".vtt", ".jpg"];
        !named.iter().any(|end| head.contains(&format!("{end} HTTP")))
    });
    let may_be: Vec<_> = may_be.collect();
    assert!(!may_be.is_empty() && may_be.iter().all(|head| head.to_lowercase().contains("accept-encoding: identity")));
    // A kill holds for what no path tells as well: it ends, or is refused.
    let id = stage.only_session("live").await["id"].as_str().unwrap().to_owned();
    stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await;
    let reply = fetched(&stage, &origin, &format!("{own}/index.txt"), "", playlist).await;
    assert!(reply.text().ends_with("7.m4s\n#EXT-X-ENDLIST\n"), "{}", reply.text());
    assert_eq!(fetch(&stage, "tv", &format!("{own}/vod")).await.error(), (403, "session_killed".to_owned()));
    stage.end().await;
}

/// A kill would not stop a player that follows its URIs past sidebeat.
#[tokio::test]
async fn a_manifest_named_like_a_segment_is_edited_in_ranges_and_encodings_too() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "strict = true").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path);
    let expected = PLAYLIST.replace("/vod/", &format!("{own}/"));
    let zipped = gzip(PLAYLIST.as_bytes());
    let segment = format!("{own}/seg.ts");
    for (headers, body) in [
        ("content-encoding: gzip\r\n", zipped.clone()),
        ("content-encoding: gzip, gzip\r\n", gzip(&zipped)),
        ("content-encoding: identity, gzip\r\n", zipped.clone()),
    ] {
        let headers = format!("content-type: video/mp2t\r\n{headers}");
        let reply = fetched(&stage, &origin, &segment, &headers, &body).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, expected.clone()), "{headers}");
    }
    // A body that sidebeat cannot read may be readable for a player.
    let mut late = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
    late.extend([b'x'; 70 * 1024]);
    late.push(0);
    late.extend_from_slice(&zipped[10..]);
    for (encoding, body) in [("dcz", zipped), ("gzip", late)] {
        let headers = format!("content-type: video/mp2t\r\ncontent-encoding: {encoding}\r\n");
        let reply = fetched(&stage, &origin, &segment, &headers, &body).await;
        assert_eq!(reply.error(), (403, "media_unknown".to_owned()), "{encoding}");
    }
    // A part from its beginning shows what it is, and cannot be edited: the whole is asked for.
    let ((head, mut player), ()) = tokio::join!(
        get(stage.proxy, &segment, "x-device-id: tv\r\nrange: bytes=0-\r\n"),
        async {
            let mut asked = origin.next().await;
            let length = PLAYLIST.len();
            let part = format!(
                "HTTP/1.1 206 Partial Content\r\ncontent-type: video/mp2t\r\ncontent-range: bytes 0-{}/{length}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{PLAYLIST}",
                length - 1
            );
            asked.stream.write_all(part.as_bytes()).await.unwrap();
            let mut asked = origin.next().await;
            assert!(!asked.head.to_lowercase().contains("range:"), "{}", asked.head);
            answer(&mut asked, "content-type: video/mp2t\r\n", PLAYLIST.as_bytes()).await;
        }
    );
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(read(&mut player, expected.len()).await, expected.as_bytes());
    stage.end().await;
}

/// Stores put words there that name no encoding, and players look past them.
#[tokio::test]
async fn media_with_a_meaningless_content_encoding_pass_on_a_strict_route() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "strict = true").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path);
    for encoding in
        ["aws-chunked", "none", "binary", "utf-8", "aes128", "none, none, none, none", "identity, AWS-Chunked"]
    {
        let headers = format!("content-encoding: {encoding}\r\n");
        let media = [
            ("7.m4s", &b"\0\0\0\x08moof"[..]),
            ("7.ts", &[0x47; 400]),
            ("audio", b"ID3\x04"),
            ("sub.vtt", b"WEBVTT\n"),
            // A segment encrypted as a whole with AES-128, and its key.
            ("8.ts", b"\xa7\x1f\x03\x9c\x55\xe0\x12\x8b"),
            ("8.m4s", b"\x1f"),
            ("keys", b"\xa70123456789abcde"),
        ];
        for (name, body) in media {
            let reply = fetched(&stage, &origin, &format!("{own}/{name}"), &headers, body).await;
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, body), "{encoding} {name}");
        }
        let reply = fetched(&stage, &origin, &format!("{own}/page"), &headers, b"<html></html>").await;
        assert_eq!(reply.error(), (403, "media_unknown".to_owned()), "{encoding}");
        // Nor is a manifest hidden by them.
        for name in ["7.m4s", "main.m3u8"] {
            refuses(&stage, &origin, &format!("{own}/{name}"), (encoding, PLAYLIST.as_bytes()), "encoding").await;
        }
    }
    // An encoded body, or one with an unknown start, may still be a manifest.
    for (encoding, body) in [
        ("dcz", &b"\x5e\x2a\x4d\x18"[..]),
        ("dcz", b"\x5e\x2a\x4d\x18\x20\0\0\0"),
        ("compress", b"\x1f\x9d\x90\x23"),
        ("none, X-Compress", b"\x1f\x9d\x90\x23"),
        ("br, aws-chunked", &[0x47; 400]),
        ("none, none, none, none, dcz", b"\x5e\x2a\x4d\x18"),
        ("br, br, br, br", &[0x47; 400]),
    ] {
        let headers = format!("content-type: video/mp2t\r\ncontent-encoding: {encoding}\r\n");
        let reply = fetched(&stage, &origin, &format!("{own}/7.ts"), &headers, body).await;
        assert_eq!(reply.error(), (403, "media_unknown".to_owned()), "{encoding}");
    }
    // Its first bytes may come one by one.
    let segment = format!("{own}/7.m4s");
    let ((head, mut player), ()) = tokio::join!(get(stage.proxy, &segment, "x-device-id: tv\r\n"), async {
        let mut asked = origin.next().await;
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: none\r\ncontent-length: 8\r\n\r\n";
        asked.stream.write_all(head.as_bytes()).await.unwrap();
        for byte in b"\0\0\0\x08moof" {
            asked.stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(read(&mut player, 8).await, b"\0\0\0\x08moof");
    stage.end().await;
}

/// The first byte of a chunk suffices, and more may be late.
#[tokio::test]
async fn a_segment_is_passed_on_with_its_first_chunk() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    for first in [&b"G"[..], b"\0\0\0\x18ftyp", b"\0\0", b"\xff\xf1", b"\xa7", b"WEBVTT", b"#!", b"#\n\xa7", b"<\xa7 "]
    {
        let segment = format!("{}/7.ts", folder(&path));
        let ((head, mut player), asked) = tokio::join!(get(stage.proxy, &segment, "x-device-id: tv\r\n"), async {
            let mut asked = origin.next().await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: video/mp2t\r\ncontent-length: 1000\r\n\r\n";
            asked.stream.write_all(head.as_bytes()).await.unwrap();
            asked.stream.write_all(first).await.unwrap();
            if matches!(first, b"#!") {
                // The line might be a comment before the first tag.
                asked.stream.write_all(b"\n\xa7").await.unwrap();
            }
            asked
        });
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 1000"), "{head}");
        assert_eq!(read(&mut player, first.len()).await, first);
        drop(asked);
    }
    // A part that does not begin the file shows nothing.
    let segment = format!("{}/7.ts", folder(&path));
    let ((head, mut player), ()) =
        tokio::join!(get(stage.proxy, &segment, "x-device-id: tv\r\nrange: bytes=7-\r\n"), async {
            let mut asked = origin.next().await;
            let part =
                "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 7-14/15\r\ncontent-length: 8\r\n\r\n#EXTM3U\n";
            asked.stream.write_all(part.as_bytes()).await.unwrap();
        });
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!(read(&mut player, 8).await, b"#EXTM3U\n");
    stage.end().await;
}

#[tokio::test]
async fn a_manifest_is_read_in_its_encoding_and_its_characters() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path);
    let latin: Vec<u8> = MPD.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let wide: Vec<u8> = format!("\u{feff}{MPD}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mpd = MPD.replace("ISO-8859-1", "UTF-8").replace("/vod/", &format!("{own}/"));
    let playlist = PLAYLIST.replace("/vod/", &format!("{own}/"));
    let utf8 = "application/dash+xml; charset=utf-8";
    for (name, headers, body, expected, kind) in [
        ("a.m3u8", "content-encoding: gzip\r\n", gzip(PLAYLIST.as_bytes()), &playlist, ""),
        ("a", "content-encoding: gzip\r\n", gzip(PLAYLIST.as_bytes()), &playlist, ""),
        ("b.m3u8", "content-encoding: Identity\r\n", PLAYLIST.into(), &playlist, ""),
        ("c.m3u8", "content-encoding: \r\n", PLAYLIST.into(), &playlist, ""),
        ("a.mpd", "content-type: application/dash+xml\r\n", latin.clone(), &mpd, utf8),
        ("b.mpd", "content-type: application/dash+xml; charset=utf-16\r\n", wide.clone(), &mpd, utf8),
        ("c", "", wide, &mpd, ""),
        ("d.mpd", "content-type: application/dash+xml\r\ncontent-encoding: gzip\r\n", gzip(&latin), &mpd, utf8),
    ] {
        let reply = fetched(&stage, &origin, &format!("{own}/{name}"), headers, &body).await;
        assert_eq!((reply.status.as_u16(), &reply.text()), (200, expected), "{name} {headers}");
        assert!(!reply.headers.contains_key("content-encoding"), "{name}");
        if !kind.is_empty() {
            assert_eq!(reply.header("content-type"), kind, "{name}");
        }
    }
    stage.end().await;
}

/// Refused as a manifest that is unfit for this reason, counted so, and nothing of it comes through.
async fn refuses(stage: &Stage, origin: &Origin, path: &str, (encoding, body): (&str, &[u8]), fault: &str) {
    let label = format!("fault=\"{fault}\"");
    let before = stage.metric("manifests_unfit_total", &[&label]).await;
    let reply = fetched(stage, origin, path, &format!("content-encoding: {encoding}\r\n"), body).await;
    assert_eq!(reply.error(), (403, "manifest_unfit".to_owned()), "{encoding} {path} {fault}");
    assert_eq!(stage.metric("manifests_unfit_total", &[&label]).await, before + 1.0, "{encoding} {path} {fault}");
}

#[tokio::test]
async fn a_manifest_that_lies_about_its_encoding_or_its_size_is_refused_and_counted() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "manifest-max = \"64KiB\"").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path);
    let large = [b"#EXTM3U\n".to_vec(), vec![b'#'; 64 * 1024 * 1024]].concat();
    let bomb = gzip(&large);
    let cut = gzip(PLAYLIST.as_bytes());
    for (encoding, bomb, whole) in [
        ("deflate", zlib(&large), zlib(PLAYLIST.as_bytes())),
        ("deflate", raw(&large), raw(PLAYLIST.as_bytes())),
        ("br", unhex(BROTLI_BOMB), unhex(BROTLI_PLAYLIST)),
        ("zstd", zstd(&large), zstd(PLAYLIST.as_bytes())),
    ] {
        // Said in the head, and not true of the body: it is none, it breaks off, or it is another one's.
        let other = if encoding == "zstd" { gzip(PLAYLIST.as_bytes()) } else { zstd(PLAYLIST.as_bytes()) };
        let half = whole[..whole.len() / 2].to_vec();
        for (body, fault) in [(bomb, "large"), (half, "encoding"), (other, "encoding"), (PLAYLIST.into(), "encoding")] {
            for name in ["main.m3u8", "main", "7.m4s"] {
                // A body that no player takes for a manifest is passed on unchanged.
                let is_in_clear = body == PLAYLIST.as_bytes();
                if name != "main.m3u8" && fault == "encoding" && !is_in_clear {
                    continue;
                }
                refuses(&stage, &origin, &format!("{own}/{name}"), (encoding, &body), fault).await;
            }
        }
        // A client that knows no encodings would read it.
        for encoding in [format!("{encoding}, xz"), format!("compress, {encoding}")] {
            refuses(&stage, &origin, &format!("{own}/main"), (&encoding, PLAYLIST.as_bytes()), "encoding").await;
        }
        let headers = format!("content-encoding: {encoding}\r\n");
        let reply = fetched(&stage, &origin, &format!("{own}/good.m3u8"), &headers, &whole).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (200, PLAYLIST.replace("/vod/", &format!("{own}/"))),
            "{encoding}"
        );
    }
    for (name, headers, body, fault) in [
        ("bomb.m3u8", "content-encoding: gzip\r\n", bomb.clone(), "large"),
        ("bomb", "content-encoding: gzip\r\n", bomb, "large"),
        ("plain.m3u8", "content-encoding: gzip\r\n", PLAYLIST.into(), "encoding"),
        ("cut.m3u8", "content-encoding: gzip\r\n", cut[..cut.len() - 12].to_vec(), "encoding"),
        ("unknown.m3u8", "content-encoding: aes128gcm\r\n", PLAYLIST.into(), "encoding"),
        ("often.m3u8", "content-encoding: gzip, gzip, gzip, gzip\r\n", PLAYLIST.into(), "encoding"),
        ("broken.m3u8", "", [PLAYLIST.as_bytes(), b"\xff\n"].concat(), "broken"),
        ("open.mpd", "", b"<MPD><Period><BaseURL>/vod/v/</BaseURL>".to_vec(), "broken"),
        ("root.m3u8", "", b"<MPD><Period></MPD></Period>".to_vec(), "broken"),
        ("entities.mpd", "", b"<!DOCTYPE MPD [<!ENTITY a \"b\">]><MPD>&a;</MPD>".to_vec(), "broken"),
    ] {
        let label = format!("fault=\"{fault}\"");
        let before = stage.metric("manifests_unfit_total", &[&label]).await;
        let reply = fetched(&stage, &origin, &format!("{own}/{name}"), headers, &body).await;
        assert_eq!(reply.error(), (403, "manifest_unfit".to_owned()), "{name}");
        assert_eq!(stage.metric("manifests_unfit_total", &[&label]).await, before + 1.0, "{name}");
    }
    stage.end().await;
}

/// An unknown body may be a manifest of a kind that leads past sidebeat.
#[tokio::test]
async fn a_body_that_is_neither_manifest_nor_segment_is_counted_and_refused_on_a_strict_route() {
    let rows: [(&str, &str, &[u8], bool); 12] = [
        ("7.m4s", "", b"\xa7encrypted", true),
        ("frag", "", b"\0\0\0\x08moof", true),
        ("frag(1)", "application/octet-stream", &[0x47; 400], true),
        ("audio", "", b"ID3\x04", true),
        ("sub", "", b"WEBVTT\n", true),
        ("keys?id=1", "application/octet-stream", b"0123456789abcdef", true),
        ("picture", "video/mp4", b"?", true),
        ("list.json", "application/json", b"{\"next\":\"https://elsewhere.example\"}", false),
        ("page", "text/html", b"<html></html>", false),
        ("error.m3u8", "text/html", b"<html></html>", false),
        ("short", "", b"#EX", false),
        ("empty", "", b"", false),
    ];
    for strict in [false, true] {
        let origin = Origin::with(live()).await;
        let stage = route(&origin, &format!("strict = {strict}")).start().await;
        let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
        for (name, kind, body, known) in rows {
            let headers = if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
            let outcome = if strict { "outcome=\"refused\"" } else { "outcome=\"passed\"" };
            let labels = ["kind=\"other\"", outcome];
            let before = stage.metric("media_requests_total", &labels).await;
            let reply = fetched(&stage, &origin, &format!("{}/{name}", folder(&path)), &headers, body).await;
            if known || !strict {
                assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, body), "{name}");
            } else {
                assert_eq!(reply.error(), (403, "media_unknown".to_owned()), "{name}");
            }
            let counted = stage.metric("media_requests_total", &labels).await - before;
            assert_eq!(counted, if known { 0.0 } else { 1.0 }, "{name}");
        }
        stage.end().await;
    }
}

/// Encrypted segments look like nothing; their manifest says what they are.
#[tokio::test]
async fn a_segment_named_by_a_manifest_is_accepted_on_a_strict_route() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nseg7\n#EXTINF:4,\nb/8.x7?a=1.html\n";
    let origin = Origin::with(vec![("/vod/live.m3u8", HLS, text.to_owned())]).await;
    let stage = route(&origin, "strict = true").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path);
    for name in ["seg7", "seg8", "b/9.X7"] {
        let reply = fetched(&stage, &origin, &format!("{own}/{name}"), "", b"\xa7\x1f\x03\x9c\x55\xe0\x12\x8b").await;
        assert_eq!(reply.status.as_u16(), 200, "{name}");
        let reply = fetched(&stage, &origin, &format!("{own}/{name}"), "", b"#EXTM3U\n#EXTINF:4,\n/vod/1.ts\n").await;
        assert_eq!(
            reply.text(),
            format!("#EXTM3U\n#EXTINF:4,\n{own}/1.ts\n"),
            "{name}: a manifest is one all the same"
        );
    }
    for name in ["7.html", "b/9.x8"] {
        let reply = fetched(&stage, &origin, &format!("{own}/{name}"), "", b"\xa7\x1f\x03\x9c\x55\xe0\x12\x8b").await;
        assert_eq!(reply.error(), (403, "media_unknown".to_owned()), "{name}");
    }
    stage.end().await;
}

/// A player that can decode it may find a manifest.
#[tokio::test]
async fn an_undecodable_manifest_is_counted_and_a_decodable_one_is_edited() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let at = format!("{}/7.ts", folder(&path));
    let frames = [&b"\x50\x2a\x4d\x18\x04\0\0\0skip"[..], &zstd(PLAYLIST.as_bytes())].concat();
    let reply = fetched(&stage, &origin, &at, "content-encoding: zstd\r\n", &frames).await;
    assert_eq!(reply.text(), PLAYLIST.replace("/vod/", &format!("{}/", folder(&path))));
    for (encoding, body) in [("zstd", &frames[..14]), ("dcz", b"\x5e\x2a\x4d\x18\0\0\0\0")] {
        let before = stage.metric("manifests_unfit_total", &["fault=\"encoding\""]).await;
        let reply = fetched(&stage, &origin, &at, &format!("content-encoding: {encoding}\r\n"), body).await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, body), "{encoding}");
        assert_eq!(stage.metric("manifests_unfit_total", &["fault=\"encoding\""]).await, before + 1.0, "{encoding}");
    }
    stage.end().await;
}

/// Such fields describe the server's body, and so do the addresses in its head.
#[tokio::test]
async fn fields_about_the_unedited_body_are_removed() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path);
    let digests = ["content-digest", "repr-digest", "digest", "content-md5", "x-amz-checksum-sha256"];
    let headers: String = digests.iter().map(|name| format!("{name}: a=:b:\r\n")).collect();
    let headers = format!("{headers}content-location: /vod/x\r\nlink: </vod/x>; rel=preload\r\nx-other: 1\r\n");
    let reply = fetched(&stage, &origin, &format!("{own}/b.m3u8"), &headers, PLAYLIST.as_bytes()).await;
    for name in digests.iter().chain(&["content-location", "link"]) {
        assert_eq!(reply.header(name), "", "{name}");
    }
    assert_eq!(reply.header("x-other"), "1");
    let reply = fetched(&stage, &origin, &format!("{own}/7.m4s"), &headers, b"\0\0\0\x08moof").await;
    assert_eq!((reply.header("content-location"), reply.header("link")), ("", ""));
    assert_eq!(reply.header("content-digest"), "a=:b:", "a segment is as it came");
    stage.end().await;
}

#[tokio::test]
async fn a_head_reply_equals_that_of_a_get() {
    let origin = Origin::with(live()).await;
    let stage = route(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = folder(&path);
    for at in [format!("{own}/~a/p/{}/vod/list", origin.address), format!("{own}/b.m3u8")] {
        let mut tv = stage.stranger().with("x-device-id", "tv");
        tv.path = at.clone();
        let call = tv.post("");
        let (reply, ()) = tokio::join!(call.method(http::Method::HEAD), async {
            let mut asked = origin.next().await;
            assert!(asked.head.starts_with("HEAD "), "{}", asked.head);
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\n";
            asked.stream.write_all(head.as_bytes()).await.unwrap();
        });
        assert_eq!((reply.status.as_u16(), reply.header("content-encoding")), (200, ""), "{at}");
    }
    stage.end().await;
}
