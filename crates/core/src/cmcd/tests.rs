//! Tests of each transport with lines that real players sent, with nonsense, and round trips.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

const HLS_V1: &str = r#"bl=10000,br=300,cid="c1",d=2000,dl=10000,mtp=7400,nor="..%2Fhls%2Fs7.m4s",ot=av,rtp=1500,sf=h,sid="sess-hls",st=v,tb=300"#;
const HLS_V2: &str = r#"bl=(10000),br=(300),cid="c1",d=2000,dl=10000,lb=(300),mtp=(11300),nor=("../hls/s9.m4s"),ot=av,pb=(300),rtp=1500,sf=h,sid="sess-hls",sn=10,st=v,sta=p,tb=(300),tpb=(300),v=2"#;
const HLS_PAUSE: &str =
    r#"bl=(12000),br=(300),cid="c1",e=ps,mtp=(11300),sf=h,sid="sess-hls",sn=7,st=v,sta=a,ts=1795285947744,v=2"#;
const DASH_V2: &str = r#"bl=(5900;v),br=(204;v),cid="c1",d=2000,ot=v,sf=d,sid="sess-dash",sn=9,st=v,sta=p,v=2"#;

fn hls() -> CmcdReport {
    CmcdReport {
        cid: Some("c1".into()),
        format: Some(CmcdFormat::Hls),
        live: Some(false),
        sid: Some("sess-hls".into()),
        ..CmcdReport::default()
    }
}

fn hls_event(event: CmcdEvent, sequence: u64, state: CmcdState, time_ms: u64) -> CmcdReport {
    CmcdReport {
        buffer_ms: Some(12_000),
        event: Some(event),
        sequence: Some(sequence),
        state: Some(state),
        time_ms: Some(time_ms),
        version: 2,
        ..hls()
    }
}

fn dash() -> CmcdReport {
    CmcdReport { format: Some(CmcdFormat::Dash), sid: Some("sess-dash".into()), version: 2, ..hls() }
}

fn shaka() -> CmcdReport {
    CmcdReport { format: Some(CmcdFormat::Dash), sid: Some("sess-shaka".into()), version: 2, ..hls() }
}

/// Lists that unmodified players sent, URL-decoded, with their facts.
fn captured() -> Vec<(&'static str, CmcdReport)> {
    let hls_segment = CmcdReport { duration_ms: Some(2000), object: Some(CmcdObject::Muxed), ..hls() };
    vec![
        (HLS_V1, CmcdReport { buffer_ms: Some(10_000), ..hls_segment.clone() }),
        (
            r#"bl=0,br=300,bs,cid="c1",d=2000,dl=0,mtp=12100,nor="..%2Fhls%2Fs31.m4s",ot=av,rtp=1500,sf=h,sid="sess-hls",st=v,su,tb=300"#,
            CmcdReport { buffer_ms: Some(0), startup: true, starved: true, ..hls_segment.clone() },
        ),
        (
            HLS_V2,
            CmcdReport {
                buffer_ms: Some(10_000),
                sequence: Some(10),
                state: Some(CmcdState::Playing),
                version: 2,
                ..hls_segment
            },
        ),
        (HLS_PAUSE, hls_event(CmcdEvent::PlayState, 7, CmcdState::Paused, 1_795_285_947_744)),
        (
            r#"bl=(12000),br=(300),cid="c1",e=t,mtp=(11300),sf=h,sid="sess-hls",sn=8,st=v,sta=a,ts=1795285949902,v=2"#,
            hls_event(CmcdEvent::Interval, 8, CmcdState::Paused, 1_795_285_949_902),
        ),
        (
            r#"bl=(12000),br=(300),cid="c1",e=ps,mtp=(12600),sf=h,sid="sess-hls",sn=12,st=v,sta=k,ts=1795285957746,v=2"#,
            hls_event(CmcdEvent::PlayState, 12, CmcdState::Seeking, 1_795_285_957_746),
        ),
        (
            r#"bl=(12000),br=(300),cid="c1",e=ps,mtp=(12600),sf=h,sid="sess-hls",sn=13,st=v,sta=r,ts=1795285957748,v=2"#,
            hls_event(CmcdEvent::PlayState, 13, CmcdState::Rebuffering, 1_795_285_957_748),
        ),
        (
            r#"cid="c1",e=t,sf=h,sid="sess-hls",sn=0,ts=1795285940901,v=2"#,
            CmcdReport {
                event: Some(CmcdEvent::Interval),
                live: None,
                sequence: Some(0),
                time_ms: Some(1_795_285_940_901),
                version: 2,
                ..hls()
            },
        ),
        (
            DASH_V2,
            CmcdReport {
                buffer_ms: Some(5900),
                duration_ms: Some(2000),
                object: Some(CmcdObject::Video),
                sequence: Some(9),
                state: Some(CmcdState::Playing),
                ..dash()
            },
        ),
        (
            r#"bl=(6100;v 8100;a),cid="c1",e=ps,sf=d,sid="sess-dash",sn=5,st=v,sta=a,ts=1795286053874,v=2"#,
            CmcdReport {
                buffer_ms: Some(6100),
                event: Some(CmcdEvent::PlayState),
                sequence: Some(5),
                state: Some(CmcdState::Paused),
                time_ms: Some(1_795_286_053_874),
                ..dash()
            },
        ),
        (
            r#"cid="c1",e=t,sf=d,sid="sess-dash",sn=6,st=v,sta=a,ts=1795286056027,v=2"#,
            CmcdReport {
                event: Some(CmcdEvent::Interval),
                sequence: Some(6),
                state: Some(CmcdState::Paused),
                time_ms: Some(1_795_286_056_027),
                ..dash()
            },
        ),
        (
            "e=ps,ts=1795285978914,v=2",
            CmcdReport {
                event: Some(CmcdEvent::PlayState),
                time_ms: Some(1_795_285_978_914),
                version: 2,
                ..CmcdReport::default()
            },
        ),
        (
            r#"bl=(5700;v),br=(204;v),cid="proxy-cid",d=2000,nor=("chunk-stream0-00005.m4s"),ot=v,sid="proxy-sid-2",sn=9,sta=p,v=2"#,
            CmcdReport {
                buffer_ms: Some(5700),
                cid: Some("proxy-cid".into()),
                duration_ms: Some(2000),
                object: Some(CmcdObject::Video),
                sequence: Some(9),
                sid: Some("proxy-sid-2".into()),
                state: Some(CmcdState::Playing),
                version: 2,
                ..CmcdReport::default()
            },
        ),
        (
            r#"cid="c1",e="ps",mtp=1500,sf=d,sid="sess-shaka",sn=4,sta="s",su,ts=1795286047667,v=2"#,
            CmcdReport {
                event: Some(CmcdEvent::PlayState),
                live: None,
                sequence: Some(4),
                startup: true,
                state: Some(CmcdState::Starting),
                time_ms: Some(1_795_286_047_667),
                ..shaka()
            },
        ),
        (
            r#"br=(268),cid="c1",e=t,sf=d,sid="sess-shaka",sn=3,st=v,ts=1795285987716,v=2"#,
            CmcdReport {
                event: Some(CmcdEvent::Interval),
                sequence: Some(3),
                time_ms: Some(1_795_285_987_716),
                ..shaka()
            },
        ),
    ]
}

fn encoded(list: &str) -> String {
    utf8_percent_encode(list, NON_ALPHANUMERIC).to_string()
}

/// Writes a list like a form encoder, which turns a space into a plus.
fn form_encoded(list: &str) -> String {
    encoded(list).replace("%20", "+")
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    pairs.iter().map(pair).collect()
}

fn from_line(line: &str) -> Option<CmcdReport> {
    from_body(line.as_bytes()).unwrap().pop()
}

#[test]
fn captured_lists_say_the_same_in_every_transport() {
    for (line, expected) in captured() {
        let expected = Some(expected);
        assert_eq!(from_query(&format!("CMCD={}", encoded(line))), expected, "{line}");
        assert_eq!(from_query(&format!("a=1&CMCD={}&b", form_encoded(line))), expected, "{line}");
        assert_eq!(from_line(&format!("{line}\n")), expected, "{line}");
        assert_eq!(from_headers(&headers(&[("cmcd-request", line)])), expected, "{line}");
    }
}

#[test]
fn headers_make_one_report_with_any_key_in_any_header() {
    let expected = CmcdReport {
        buffer_ms: Some(2000),
        duration_ms: Some(2000),
        object: Some(CmcdObject::Audio),
        sequence: Some(5),
        startup: true,
        ..shaka()
    };
    let values = [
        "br=64,d=2000,ot=a,tb=64",
        r#"cid="c1",sf=d,sid="sess-shaka",st=v,v=2"#,
        r#"bl=2000,dl=2000,nor=("../dash/chunk-stream1-00003.m4s"),sn=5,su"#,
        "rtp=300",
    ];
    let orders = [
        ["cmcd-object", "cmcd-session", "cmcd-request", "cmcd-status"],
        ["cmcd-status", "cmcd-request", "cmcd-object", "cmcd-session"],
        ["cmcd-session"; 4],
    ];
    for names in orders {
        let pairs = names.into_iter().zip(values);
        let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let map: HeaderMap = pairs.map(pair).collect();
        assert_eq!(from_headers(&map), Some(expected.clone()), "{names:?}");
    }
}

#[test]
fn a_broken_header_does_not_spoil_the_others() {
    let mut map = headers(&[("cmcd-session", "sid=\"s\""), ("cmcd-status", "bs,cid=\"open")]);
    map.insert("cmcd-object", HeaderValue::from_bytes(b"cid=\"\xff\"").unwrap());
    assert_eq!(from_headers(&map), Some(CmcdReport { sid: Some("s".into()), ..CmcdReport::default() }));

    assert_eq!(from_headers(&headers(&[])), None);
    assert_eq!(from_headers(&headers(&[("cmcd-status", ""), ("accept", "sid=\"s\"")])), None);
    let long = format!("x=\"{}\"", "y".repeat(5000));
    assert_eq!(
        from_headers(&headers(&[("cmcd-session", &long), ("cmcd-status", "bs")])).map(|r| r.starved),
        Some(true)
    );
    assert_eq!(from_headers(&headers(&[("cmcd-session", &long), ("cmcd-status", &long)])), None);
}

#[test]
fn the_report_is_found_in_any_query() {
    let rows: [(&str, Option<&str>); 13] = [
        ("CMCD=sid%3D%22x%22", Some("x")),
        ("a=1&CMCD=sid%3D%22x%22", Some("x")),
        ("CMCD=sid%3D%22x%22&a=1", Some("x")),
        ("a=1&CMCD=sid=\"x\"&b=%2f&c", Some("x")),
        ("CMCD=sid=x&a&CMCD=sid=y", Some("y")),
        ("%43MCD=sid=x", Some("x")),
        ("CMCD=sid%3D%22a%252Fb%22", Some("a%2Fb")),
        ("CMCD", None),
        ("CMCD=&a", None),
        ("a=CMCD=sid=x", None),
        ("cmcd=sid=x&XCMCD=sid=x", None),
        ("a&&b", None),
        ("", None),
    ];
    for (query, sid) in rows {
        assert_eq!(from_query(query).and_then(|report| report.sid).as_deref(), sid, "{query}");
    }
}

#[test]
fn a_batch_keeps_its_good_lines() {
    let body = format!("\n{HLS_PAUSE}\r\nsid=\"open\n\n{DASH_V2}\n \t\n{HLS_PAUSE}");
    let mut body = body.into_bytes();
    body.extend_from_slice(b"\nsid=\"\xff\"\nsid=\"last\"");
    let batch = batch(&body).unwrap();
    let sids: Vec<_> = batch.reports.iter().filter_map(|report| report.sid.as_deref()).collect();
    assert_eq!(sids, ["sess-hls", "sess-dash", "sess-hls", "last"]);
    assert_eq!(batch.skipped, 2);
    assert_eq!(from_body(&body), Ok(batch.reports));
    assert_eq!(from_body(b""), Ok(Vec::new()));
}

#[test]
fn bodies_are_bounded() {
    let lines = |count: usize| "e=t\n".repeat(count);
    assert_eq!(from_body(lines(256).as_bytes()).map(|reports| reports.len()), Ok(256));
    assert_eq!(from_body(lines(257).as_bytes()), Err(Unreadable::TooManyLines));
    assert_eq!(from_body(&[b'\n'; 64 * 1024]), Ok(Vec::new()));
    assert_eq!(from_body(&[b'\n'; 64 * 1024 + 1]), Err(Unreadable::TooLarge));
    let long = format!("x=\"{}\"\ne=t", "y".repeat(9000));
    assert_eq!(batch(long.as_bytes()).map(|batch| (batch.reports.len(), batch.skipped)), Ok((1, 1)));
    assert_eq!(Unreadable::TooLarge.to_string(), "more than 65536 bytes");
}

/// Each hostile list yields as few facts as `expected`.
#[test]
fn hostile_lists_yield_few_facts() {
    let none = CmcdReport::default();
    let sid = |text: &str| CmcdReport { sid: Some(text.into()), ..CmcdReport::default() };
    let rows = [
        ("sid=\"\"", none.clone()),
        ("sid=", none.clone()),
        ("sid", none.clone()),
        ("sid=(\"x\")", none.clone()),
        ("sid=\"a\tb\"", none.clone()),
        ("sid=\"a\u{0}\"", none.clone()),
        ("sid=\"a\u{85}\"", none.clone()),
        ("sid=\"a\",sid=\"b\"", sid("b")),
        ("sid=\"a\",sid=\"\u{7f}\"", none.clone()),
        ("sid=4c1f0a2e-7d", sid("4c1f0a2e-7d")),
        (r#"sid="a\"b\\""#, sid(r#"a"b\"#)),
        ("sid=\"é\"", sid("é")),
        ("SID=\"a\",Sta=p", none.clone()),
        ("sta=x,ot=zz,sf=q,st=w", none.clone()),
        ("sta,e,ot,sf,st,v,pr,bl,d,sn,ts,pt", none.clone()),
        ("sta=(p),e=(ps),ot=(v)", none.clone()),
        ("v=0,bl=-1,d=-2000,sn=1.5e3,ts=x", none.clone()),
        ("v=257,sn=99999999999999999999,ts=1000000000000000", none.clone()),
        ("v=-2,pr=65,pt=NaN", none.clone()),
        ("pr=inf,bl=(inf 1e9)", none.clone()),
        ("bs=?0,su=0", none.clone()),
        ("bs,bs=?0", none.clone()),
        ("unknown,__proto__=1,br=(1)", none.clone()),
        ("e=new", CmcdReport { event: Some(CmcdEvent::Other), ..none.clone() }),
        ("pr=0,v=2", CmcdReport { rate: Some(0.0), version: 2, ..none.clone() }),
        ("pr=-1.5", CmcdReport { rate: Some(-1.5), ..none.clone() }),
        ("bg", CmcdReport { background: Some(true), ..none.clone() }),
        (
            "bg=?0,pt=1200,st=ll",
            CmcdReport { background: Some(false), playhead_ms: Some(1200), live: Some(true), ..none },
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(from_query(&format!("CMCD={}", encoded(text))), Some(expected), "{text:?}");
    }
}

#[test]
fn a_text_that_is_no_list_yields_no_report() {
    let many = vec!["a"; 65].join(",");
    let long = format!("sid=\"a\",x=\"{}\"", "y".repeat(8200));
    let texts = ["", ",", " ", "\"", "()", "sid=\"a", "sid=\"a\"\"", "{\"sid\":\"a\"}", "<sid>", &many, &long];
    for text in texts {
        assert_eq!(from_query(&format!("CMCD={}", encoded(text))), None, "{text:?}");
        assert_eq!(from_line(text), None, "{text:?}");
    }
    for query in ["CMCD=%ff", "CMCD=sid%3D%22%ff%22", "CMCD=%", "CMCD=%zz%3D1"] {
        assert_eq!(from_query(query), None, "{query}");
    }
    assert_eq!(from_query(&format!("CMCD=bs{}", "%20".repeat(8200))), None);
}

#[test]
fn names_are_bounded_in_characters() {
    for (key, most) in [("sid", 64), ("cid", 128)] {
        let read = |count: usize| {
            let report = from_line(&format!("{key}=\"{}\"", "é".repeat(count))).unwrap();
            report.sid.or(report.cid).map(|text| text.chars().count())
        };
        assert_eq!(read(most), Some(most));
        assert_eq!(read(most + 1), None);
    }
}

/// A style in which a player might write the same facts.
#[derive(Clone, Copy, Debug)]
struct Hand {
    backwards: bool,
    inner_lists: bool,
    quoted: bool,
}

fn written(report: &CmcdReport, hand: Hand) -> Vec<String> {
    let mut items = vec!["com.example-x=\"a,b\";p=1".to_owned(), format!("v={}", report.version)];
    let mut put = |key: &str, value: Option<String>| items.extend(value.map(|value| format!("{key}={value}")));
    let quoted = |text: &String| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
    let token = |text: &str| if hand.quoted { format!("\"{text}\"") } else { text.to_owned() };
    let buffer = |ms: u64| if hand.inner_lists { format!("({ms};v {};a)", ms + 100) } else { ms.to_string() };
    put("sid", report.sid.as_ref().map(quoted));
    put("cid", report.cid.as_ref().map(quoted));
    put("bl", report.buffer_ms.map(buffer));
    put("d", report.duration_ms.map(|ms| ms.to_string()));
    put("pr", report.rate.map(|rate| rate.to_string()));
    put("sn", report.sequence.map(|sequence| sequence.to_string()));
    put("ts", report.time_ms.map(|ms| ms.to_string()));
    put("bg", report.background.map(|truth| if truth { "?1" } else { "?0" }.to_owned()));
    put("st", report.live.map(|live| token(if live { "l" } else { "v" })));
    put("sta", STATES.iter().find(|(_, state)| Some(*state) == report.state).map(|(name, _)| token(name)));
    put("e", EVENTS.iter().find(|(_, event)| Some(*event) == report.event).map(|(name, _)| token(name)));
    items.extend(report.starved.then(|| "bs".to_owned()));
    if hand.backwards {
        items.reverse();
    }
    items
}

const STATES: [(&str, CmcdState); 3] = [("p", CmcdState::Playing), ("a", CmcdState::Paused), ("k", CmcdState::Seeking)];
const EVENTS: [(&str, CmcdEvent); 3] =
    [("ps", CmcdEvent::PlayState), ("t", CmcdEvent::Interval), ("rr", CmcdEvent::ResponseReceived)];

fn reports() -> impl Strategy<Value = CmcdReport> {
    let whole = || proptest::option::of(0..1_000_000_000_000_u64);
    let text =
        |most: usize| proptest::option::of(proptest::string::string_regex(&format!("\\PC{{1,{most}}}")).unwrap());
    let facts = (
        (text(64), text(128), whole(), whole(), whole(), whole()),
        proptest::option::of((-640..640_i32).prop_map(|tenths| f64::from(tenths) / 10.0)),
        proptest::option::of(proptest::sample::select(STATES.map(|(_, state)| state).to_vec())),
        proptest::option::of(proptest::sample::select(EVENTS.map(|(_, event)| event).to_vec())),
        (any::<Option<bool>>(), any::<Option<bool>>(), any::<bool>(), 1..=u8::MAX),
    );
    facts.prop_map(|((sid, cid, buffer_ms, duration_ms, sequence, time_ms), rate, state, event, rest)| {
        let (background, live, starved, version) = rest;
        CmcdReport {
            background,
            buffer_ms,
            cid,
            duration_ms,
            event,
            live,
            rate,
            sequence,
            sid,
            starved,
            state,
            time_ms,
            version,
            ..CmcdReport::default()
        }
    })
}

fn hands() -> impl Strategy<Value = Hand> {
    any::<[bool; 3]>().prop_map(|[backwards, inner_lists, quoted]| Hand { backwards, inner_lists, quoted })
}

proptest! {
    #[test]
    fn a_written_report_reads_back_equal(report in reports(), hand in hands(), shards in any::<[u8; 16]>()) {
        let items = written(&report, hand);
        let list = items.join(",");
        prop_assert_eq!(from_query(&format!("x=1&CMCD={}", encoded(&list))), Some(report.clone()));
        prop_assert_eq!(from_query(&format!("CMCD={}", form_encoded(&list))), Some(report.clone()));
        prop_assert_eq!(from_line(&list), Some(report.clone()));

        let mut map = HeaderMap::new();
        for (item, shard) in items.iter().zip(shards) {
            let name = HEADERS[usize::from(shard) % HEADERS.len()];
            map.append(name, HeaderValue::from_bytes(item.as_bytes()).unwrap());
        }
        prop_assert_eq!(from_headers(&map), Some(report));
    }

    #[test]
    fn no_text_is_too_odd(text in "([a-z]{1,3}|[=,;()\"\\\\ ?+%&.-]|[0-9]{1,20}|sid|CMCD|\\PC|\\n){0,80}", bytes in any::<Vec<u8>>()) {
        let query = format!("CMCD={text}");
        for report in [from_query(&text), from_query(&query), from_line(&text)].into_iter().flatten() {
            prop_assert!(report.sid.is_none_or(|sid| !sid.is_empty() && !sid.contains(char::is_control)));
            prop_assert!(report.rate.is_none_or(f64::is_finite));
            prop_assert!(report.buffer_ms.is_none_or(|ms| ms < 1_000_000_000_000_000));
        }
        let _ = from_body(&bytes);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut map = HeaderMap::new();
            map.insert(HEADERS[0], value);
            let _ = from_headers(&map);
        }
    }

    #[test]
    fn a_byte_too_many_forges_nothing(at in 0..=HLS_V2.len(), byte in any::<u8>()) {
        let mut line = HLS_V2.as_bytes().to_vec();
        line.insert(at, byte);
        let mut query = String::from("CMCD=");
        for byte in &line {
            write!(query, "%{byte:02x}").unwrap();
        }
        let reports = from_body(&line).unwrap();
        for report in reports.into_iter().chain(from_query(&query)) {
            prop_assert_eq!(report.event, None);
            prop_assert!(report.sid.is_none_or(|sid| sid.len() <= "sess-hls".len() + 1));
        }
    }
}
