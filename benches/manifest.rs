//! Measures the cost of editing a manifest of 200 KiB, and of giving up on the worst ones.

#[path = "cpu.rs"]
mod cpu;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use sidebeat::manifest::{
    AbsoluteUri, CmcdRequest, DEFAULT_MAX_MANIFEST_BYTES, EditPlan, ManifestFormat, Purpose, UriBase, apply, read,
};

use self::cpu::Cpu;

const SIZE: usize = 200 * 1024;

fn bind(to: &AbsoluteUri<'_>, _: Purpose) -> Option<String> {
    Some(format!("/media/~00112233445566778899aabbccddeeff/~h/s/{}{}", to.authority, to.path))
}

fn filled(head: &str, part: impl Fn(usize) -> String, foot: &str) -> Bytes {
    let mut text = head.to_owned();
    for index in 0.. {
        if text.len() + foot.len() >= SIZE {
            break;
        }
        text.push_str(&part(index));
    }
    (text + foot).into()
}

fn edit(format: ManifestFormat, text: &Bytes) -> usize {
    let cmcd = CmcdRequest { content: "c", session: "s" };
    let plan = EditPlan {
        all: false,
        base: UriBase { authority: "cdn.example", path: "/vod/main", root: "/vod/", tls: true },
        bind: &bind,
        cmcd: Some(&cmcd),
        end: None,
        imports: &[],
        license: Some("/license"),
        own: "/media/~00112233445566778899aabbccddeeff/",
        part: false,
        playheads: true,
        query: None,
        site: Some("http://127.0.0.1:8080"),
        strict: false,
    };
    read(format, text, &plan, DEFAULT_MAX_MANIFEST_BYTES)
        .map_or(0, |found| apply(text, &found.edits).map_or(0, |text| text.len()))
}

fn manifests(criterion: &mut Criterion<Cpu>) {
    let segment = |uri: &str| format!("#EXTINF:4.000,\n{uri}\n");
    let xml = |part: &str| format!("<Period><AdaptationSet><SegmentList>{part}");
    let close = "</SegmentList></AdaptationSet></Period></MPD>";
    let rows = [
        (
            "hls relative",
            ManifestFormat::Hls,
            filled("#EXTM3U\n", |n| segment(&format!("v/segment-{n}.m4s")), "#EXT-X-ENDLIST\n"),
        ),
        (
            "hls absolute",
            ManifestFormat::Hls,
            filled("#EXTM3U\n", |n| segment(&format!("https://cdn.example/v/{n}.m4s")), ""),
        ),
        (
            "hls absolute, signed",
            ManifestFormat::Hls,
            filled("#EXTM3U\n", |n| segment(&format!("https://cdn.example/v/{n}.m4s?e=1795285947&h=a{n}f")), ""),
        ),
        (
            "hls absolute, a folder each",
            ManifestFormat::Hls,
            filled("#EXTM3U\n", |n| segment(&format!("https://cdn.example/v/{n}/1.m4s")), ""),
        ),
        (
            "dash timeline",
            ManifestFormat::Dash,
            filled(&format!("<MPD>{}", xml("")), |n| format!("<S t=\"{n}\" d=\"48000\"/>"), close),
        ),
        (
            "dash absolute",
            ManifestFormat::Dash,
            filled(
                &format!("<MPD>{}", xml("")),
                |n| format!("<SegmentURL media=\"https://cdn.example/v/{n}.m4s\"/>"),
                close,
            ),
        ),
    ];
    let mut group = criterion.benchmark_group("manifest of 200 KiB");
    for (name, format, text) in &rows {
        assert!(edit(*format, text) >= SIZE - 64, "{name}");
        group.bench_function(*name, |bencher| bencher.iter(|| edit(*format, black_box(text))));
    }
    group.finish();
}

/// Made to make each walk as long as it can be.
fn hostile(criterion: &mut Criterion<Cpu>) {
    let quotes = Bytes::from(format!("#EXTM3U\n#EXT-X-KEY:{}", "URI=\"".repeat(SIZE / 5)));
    let attributes = Bytes::from(format!("<MPD {}/>", "a=\"\" ".repeat(SIZE / 5)));
    let variables = format!("{}{}", "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{$a}\"\n".repeat(64), "{$a}".repeat(SIZE / 4));
    let variables = Bytes::from(format!("#EXTM3U\n{variables}"));
    let steps = Bytes::from(format!("#EXTM3U\n{}", "../".repeat(SIZE / 3)));
    let mut group = criterion.benchmark_group("hostile manifest of 200 KiB");
    let rows = [("quotes", quotes), ("attributes", attributes), ("variables", variables), ("steps", steps)];
    for (name, text) in &rows {
        let format = if text.starts_with(b"<") { ManifestFormat::Dash } else { ManifestFormat::Hls };
        group.bench_function(*name, |bencher| bencher.iter(|| edit(format, black_box(text))));
    }
    group.finish();
}

criterion_group!(name = benches; config = Cpu::criterion(); targets = manifests, hostile);
criterion_main!(benches);
