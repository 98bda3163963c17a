//! Measures the cost of reading a report, and of giving up on the worst texts.

#[path = "cpu.rs"]
mod cpu;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sidebeat::cmcd::{from_body, from_query};

use self::cpu::Cpu;

/// hls.js 1.7, version 2, an event body.
const EVENT: &[u8] =
    b"bl=(12000),br=(300),cid=\"c1\",e=ps,mtp=(11300),sf=h,sid=\"sess-hls\",sn=7,st=v,sta=a,ts=1795285947744,v=2\n";
/// dash.js 5.2, version 2, a segment request.
const QUERY: &str = "CMCD=bl%3D(5900%3Bv)%2Cbr%3D(204%3Bv)%2Ccid%3D%22c1%22%2Cd%3D2000%2Cot%3Dv%2Csf%3Dd%2Csid%3D%22sess-dash%22\
                     %2Csn%3D9%2Cst%3Dv%2Csta%3Dp%2Cv%3D2";

fn reports(criterion: &mut Criterion<Cpu>) {
    let mut group = criterion.benchmark_group("report");
    group.bench_function("hls.js event", |bencher| bencher.iter(|| from_body(black_box(EVENT))));
    group.bench_function("dash.js query", |bencher| bencher.iter(|| from_query(black_box(QUERY))));
    group.finish();
}

/// Lists as large as the bounds allow, each made to reach one of them.
fn hostile(criterion: &mut Criterion<Cpu>) {
    let escapes = format!("CMCD=sid=\"{}\"", "%5c%22".repeat(4090));
    let members = format!("bl=({})", "1;v=2;a=3 ".repeat(16));
    let lines = format!("{members},{members}\n").repeat(186);
    let mut group = criterion.benchmark_group("worst");
    group.bench_function("query", |bencher| bencher.iter(|| from_query(black_box(&escapes))));
    group.bench_function("body", |bencher| bencher.iter(|| from_body(black_box(lines.as_bytes()))));
    group.finish();
}

criterion_group!(name = benches; config = Cpu::criterion(); targets = reports, hostile);
criterion_main!(benches);
