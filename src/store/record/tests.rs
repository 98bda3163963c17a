//! Records as bytes: what comes back, what they take, and those of an older version.

use std::time::Duration;

use super::*;
use crate::secret::Fingerprint;
use crate::session::{EndReason, Reason};

/// All that format 1 could say of a session, as it said it.
pub(in crate::store) const OLD: &str = r#"{"card":{"account":"a","authority":"head-end","content":"c","content_group":"cg",
"device":"d","device_group":"dg","kill_memory":{"secs":60,"nanos":5},"opened":{"secs":1700000000,"nanos":7},"route":"/license",
"rung":"header","token":"content token"},"device":18446744073709551615,"playback":{"began":1700000000000000001,
"content":11,"contents":[11,12],"id":18446744073709551614,"key_sessions":[13,14],"leases":[[13,null],[14,1700000000000000002]],
"later_tokens":[15],"session":{"credit":1700000000000000003,"credit_spent":true,"every":{"secs":40,"nanos":0},"fetches":true,
"generation":3,"good_until":1700000000000000004,"grant":{"interval":{"secs":30,"nanos":0},"lifetime":{"secs":90,"nanos":1},
"token":"session token"},"last_call":1700000000000000005,"last_good":1700000000000000006,"last_sign":1700000000000000007,
"opening":true,"renewals":true,"reports":{"at":1700000000000000008,"gaps":[{"secs":30,"nanos":0},{"secs":31,"nanos":0}],
"playhead":[1700000000000000009,{"secs":5,"nanos":6}],"playing":"Plays"},"schedule":[[1700000000000000010,"LiveEventEnd"]],
"seed":4294967295,"state":{"Live":{"beat":1700000000000000011}},"stream":"Live","took":{"secs":0,"nanos":12}},"token":16},
"timeline":{"beats":7,"entries":[[{"secs":1700000000,"nanos":9},{"Opened":{"interval":{"secs":30,"nanos":0}}}],
[{"secs":1700000001,"nanos":0},"Resumed"]]}}"#;

const KEY: RecordKey = RecordKey::Session(SessionId(18_446_744_073_709_551_614));

fn decode(bytes: &[u8]) -> SessionRecord {
    match StoredRecord::decode(&KEY, bytes).unwrap() {
        StoredRecord::Session(record) => *record,
        StoredRecord::Registration(_) | StoredRecord::Slot(_) => panic!(),
    }
}

fn encode(record: &SessionRecord) -> Vec<u8> {
    StoredRecord::Session(Box::new(record.clone())).encode().unwrap()
}

/// Everything of it, secrets as well.
fn shown(record: &SessionRecord) -> String {
    let tokens = [record.card.token.as_ref(), record.playback.session.grant.as_ref().map(|grant| &grant.token)];
    format!("{record:?} {:?}", tokens.map(|token| token.map(Secret::expose)))
}

#[test]
fn a_record_of_the_version_before_is_read_whole() {
    let record = decode(OLD.as_bytes());
    assert_eq!(record.device, u64::MAX);
    let SessionContextRecord { account, authority, kill_memory, device_source, opened, route, token, .. } =
        &*record.card;
    assert_eq!(
        (account.as_deref(), &**authority, &**route, device_source.name()),
        (Some("a"), "head-end", "/license", "header")
    );
    assert_eq!(kill_memory.map(Duration::from), Some(Duration::new(60, 5)));
    assert_eq!(Duration::from(*opened), Duration::new(1_700_000_000, 7));
    assert_eq!(token.as_ref().map(Secret::expose), Some("content token"));
    let PlaybackRecord { contents, id, key_sessions, leases, later_tokens, session, token, .. } = &record.playback;
    assert_eq!((*contents).clone(), [Fingerprint(11), Fingerprint(12)]);
    assert_eq!((RecordKey::Session(*id), *token), (KEY, Some(Fingerprint(16))));
    assert_eq!((key_sessions.len(), leases.len(), later_tokens.len()), (2, 2, 1));
    let grant = session.grant.as_ref().unwrap();
    assert_eq!((Duration::from(grant.interval), grant.token.expose()), (Duration::from_secs(30), "session token"));
    assert_eq!(grant.lifetime.map(Duration::from), Some(Duration::new(90, 1)));
    assert_eq!(session.every.map(Duration::from), Some(Duration::from_secs(40)));
    assert_eq!(Duration::from(session.took), Duration::from_nanos(12));
    assert!(session.credit_spent && session.opening && session.renewals);
    assert_eq!(session.again, Some(RecordedSpan::default()));
    let reports = session.reports.as_ref().unwrap();
    assert_eq!(reports.gaps.map(Duration::from), [30, 31].map(Duration::from_secs));
    assert_eq!((session.schedule.len(), session.seed, session.generation), (1, u32::MAX, 3));
    assert_eq!(record.timeline.beats, 7);
    assert_eq!(Duration::from(record.timeline.entries[0].0), Duration::new(1_700_000_000, 9));
    assert_eq!(record.timeline.entries[1].1, SessionEvent::Resumed);
}

/// Older formats said whether the player asks again soon enough.
#[test]
fn the_time_until_a_player_asks_again_is_read_in_every_version() {
    let read = |said: &str| {
        let text = OLD.replace("\"fetches\":true,", said);
        decode(text.as_bytes()).playback.session.again.map(Duration::from)
    };
    for (said, again) in [
        ("", None),
        ("\"fetches\":true,", Some(Duration::ZERO)),
        ("\"f\":true,", Some(Duration::ZERO)),
        ("\"f\":false,", None),
        ("\"f\":0,", Some(Duration::ZERO)),
        ("\"f\":30000000000,", Some(Duration::from_secs(30))),
    ] {
        assert_eq!(read(said), again, "{said}");
    }
}

#[test]
fn a_written_record_is_read_again() {
    let full = decode(OLD.as_bytes());
    let mut bare = full.clone();
    bare.playback = serde_json::from_str(
        r#"{"b":1,"i":2,"s":{"g":1,"lc":1,"lg":2,"ls":3,"sd":3,"s":{"Killed":{"by":{"code":403,"error_code":null,"message":"no"},"until":4}}}}"#,
    )
    .unwrap();
    bare.timeline = TimelineRecord::default();
    let card = SessionContextRecord {
        account: None,
        authorization: None,
        content: None,
        content_group: None,
        device_group: None,
        kill_memory: None,
        token: None,
        ..(*full.card).clone()
    };
    bare.card = Arc::new(card);
    let mut told = full.clone();
    told.playback.session.again = Some(Duration::from_secs(30).into());
    told.timeline.entries =
        [SessionEvent::Closed(EndReason::Orphaned), SessionEvent::Killed(Reason::new(403, Some(3002), "\"no\"\n"))]
            .map(|event| (Duration::from_nanos(u64::MAX).into(), event))
            .to_vec();
    for record in [full, bare, told] {
        let bytes = encode(&record);
        assert_eq!(shown(&decode(&bytes)), shown(&record));
    }
}

/// Pages have 4 KiB; of that each of two records may take 2,034 bytes. An ordinary session without reports.
#[test]
fn two_records_with_the_tokens_of_a_head_end_share_a_page() {
    let mut record = decode(OLD.as_bytes());
    let token = || Secret::new("t".repeat(700));
    record.card = Arc::new(SessionContextRecord {
        account: Some("account-00000001".to_owned()),
        content: Some("urn:example:content:0001".to_owned()),
        content_group: None,
        device: "8c0f5ac2-55e1-4f3f-9e0f-1f7b2b0c9d11".to_owned(),
        device_group: None,
        dialect: Some(DialectName::NagraSsm),
        kill_memory: None,
        token: Some(token()),
        ..(*record.card).clone()
    });
    let big = Fingerprint(u64::MAX);
    let playback = &mut record.playback;
    (playback.content, playback.token) = (Some(big), Some(big));
    playback.contents.clear();
    playback.later_tokens.clear();
    (playback.key_sessions, playback.leases) = (vec![big], Vec::new());
    record.timeline.entries.truncate(1);
    let session = &mut playback.session;
    (session.credit, session.credit_spent, session.opening) = (None, false, false);
    (session.every, session.renewals, session.again) = (None, false, None);
    (session.good_until, session.reports, session.stream) = (None, None, None);
    session.schedule.clear();
    if let Some(grant) = &mut session.grant {
        grant.token = token();
    }
    let size = encode(&record).len();
    assert!(size <= 2034, "{size}");
}

/// A version that does not know a name takes the whole file for damaged.
#[test]
fn a_new_name_of_an_ending_needs_a_new_format() {
    const KNOWN: &str = "Abandoned Drained Expired GaveWay LicenseExpired Longest Lost MediaSilent Orphaned Programme Quit Released \
                         RenewalsOverdue Silent Stopped Unused Zapped";
    let names = EndReason::ALL.map(|end| serde_json::to_value(end).unwrap().as_str().unwrap().to_owned());
    assert_eq!((names.join(" ").as_str(), crate::store::JOURNAL_FORMAT_VERSION), (KNOWN, 5));
}
