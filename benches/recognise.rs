//! Measures the cost of recognising a message of each system, and of giving up on the worst bodies.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sidebeat::drm::{Direction, recognise};

macro_rules! vector {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../tests/vectors/drm/", $name)).as_slice())
    };
}

const REQUESTS: [(&str, &[u8]); 5] = [
    vector!("wv_new_clientid.bin"),
    vector!("wv_renewal_untyped.bin"),
    vector!("pr_challenge_v40.xml"),
    vector!("fps_spc_v1.bin"),
    vector!("ck_request.json"),
];

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recognise");
    for (name, body) in REQUESTS {
        group.bench_function(name, |bencher| {
            bencher.iter(|| recognise(Direction::Request, None, None, black_box(body)));
        });
    }
    group.finish();
}

/// Bodies as large as the bounds allow, each made to reach one of them.
fn hostile(criterion: &mut Criterion) {
    let namespace = "http://schemas.microsoft.com/DRM/2007/03/protocols";
    let elements = format!("<Envelope xmlns=\"{namespace}\"><Body><AcquireLicense>{}", "<i>t</i>".repeat(8_000));
    let strings = format!("[{}\"\"]", format!("\"{}\",", "A".repeat(250)).repeat(250));
    let wide: Vec<u8> = format!("<{}", "é".repeat(32_000)).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut group = criterion.benchmark_group("give up");
    let kids = [b"}".repeat(32_000), b"\"kids\"".repeat(5_300)].concat();
    let sections = b"<![CDATA[:--a".repeat(5_000);
    let bodies = [
        ("xml", elements.into_bytes()),
        ("json", strings.into_bytes()),
        ("utf16", wide),
        ("kids", kids),
        ("sections", sections),
    ];
    for (name, body) in bodies {
        group.bench_function(name, |bencher| {
            bencher.iter(|| recognise(Direction::Request, None, None, black_box(&body)));
        });
    }
    group.finish();
}

criterion_group!(benches, requests, hostile);
criterion_main!(benches);
