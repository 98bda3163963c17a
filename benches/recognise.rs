//! What it costs to recognise one message of each system.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sidebeat::drm::{Direction, recognise};

macro_rules! vector {
    ($name:literal) => {
        ($name, &include_bytes!(concat!("../tests/vectors/drm/", $name))[..])
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

criterion_group!(benches, requests);
criterion_main!(benches);
