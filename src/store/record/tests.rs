//! Records as bytes: what comes back, and what they take.

use std::time::Duration;

use super::*;
use crate::secret::Fingerprint;
use crate::session::{EndReason, EvidenceRecord, NamesRecord, Reason, UnconfirmedRecord};

/// All that a record can say of a session, as it says it.
pub(in crate::store) const FULL: &str = r#"{"c":{"ac":"a","au":"head-end","c":"c","content_group":"cg","d":"d","device_group":"dg","di":"s",
"kill_memory":60000000005,"o":1700000000000000007,"r":"/license","ru":"header","t":"content token"},"d":18446744073709551615,
"p":{"b":1700000000000000001,"i":18446744073709551614,"l":[[13,null],[14,1700000000000000002]],
"n":{"b":true,"c":11,"cs":[11,12],"k":[13,14],"ts":[15],"l":17,"m":[18],"sh":[19],"t":16},
"s":{"c":[1700000000000000006,12,13],"e":40000000000,"p":{"f":30000000000,"c":1700000000000000005,
"s":1700000000000000007,"lp":true,"pl":true,"rs":{"at":1700000000000000008,"gaps":[30000000000,31000000000],
"playhead":[1700000000000000009,5000000006],"playing":"Plays"},"st":"Live","ms":true,"u":"Asked"},"g":3,
"h":{"g":1700000000000000004,"d":true,"i":30000000000,"l":90000000001,"t":"session token"},"o":true,"r":true,
"sc":[[1700000000000000010,"LiveEventEnd"]],"d":4294967295,"s":{"l":{"b":1700000000000000011}},
"u":{"r":1700000000000000012,"s":1700000000000000003,"p":true}}},"t":{"b":7,"e":[[1700000000000000009,
{"Opened":{"interval":{"secs":30,"nanos":0}}}],[1700000001000000000,"Resumed"]]}}"#;

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
    let tokens = [record.context.token.as_ref(), record.playback.session.grant.as_ref().map(|grant| &grant.token)];
    format!("{record:?} {:?}", tokens.map(|token| token.map(Secret::expose)))
}

#[test]
fn every_field_of_a_record_is_read() {
    let record = decode(FULL.as_bytes());
    assert_eq!(record.device, u64::MAX);
    let SessionContextRecord { account, authority, kill_memory, device_source, opened, route, token, .. } =
        &*record.context;
    assert_eq!(
        (account.as_deref(), &**authority, &**route, device_source.name()),
        (Some("a"), "head-end", "/license", "header")
    );
    assert_eq!(kill_memory.map(Duration::from), Some(Duration::new(60, 5)));
    assert_eq!(Duration::from(*opened), Duration::from_nanos(1_700_000_000_000_000_007));
    assert_eq!(token.as_ref().map(Secret::expose), Some("content token"));
    let PlaybackRecord { id, leases, names, session, .. } = &record.playback;
    assert_eq!(names.contents, [Fingerprint::new(11), Fingerprint::new(12)]);
    assert_eq!((RecordKey::Session(*id), names.token), (KEY, Some(Fingerprint::new(16))));
    assert_eq!((names.key_sessions.len(), leases.len(), names.later_tokens.len()), (2, 2, 1));
    let grant = session.grant.as_ref().unwrap();
    assert_eq!((Duration::from(grant.interval), grant.token.expose()), (Duration::from_secs(30), "session token"));
    assert_eq!(grant.lifetime.map(Duration::from), Some(Duration::new(90, 1)));
    assert_eq!(session.every.map(Duration::from), Some(Duration::from_secs(40)));
    assert_eq!(Duration::from(session.confirmation.took), Duration::from_nanos(12));
    assert!(session.unconfirmed.spent && session.opening && session.renewals);
    assert_eq!(session.evidence.again.map(Duration::from), Some(Duration::from_secs(30)));
    let reports = session.evidence.reports.as_ref().unwrap();
    assert_eq!(reports.gaps.map(Duration::from), [30, 31].map(Duration::from_secs));
    assert_eq!((session.schedule.len(), session.seed, session.generation), (1, u32::MAX, 3));
    assert_eq!(record.timeline.beats, 7);
    assert_eq!(Duration::from(record.timeline.entries[0].0), Duration::from_nanos(1_700_000_000_000_000_009));
    assert_eq!(record.timeline.entries[1].1, SessionEvent::Resumed);
}

#[test]
fn a_written_record_is_read_again() {
    let full = decode(FULL.as_bytes());
    let mut bare = full.clone();
    bare.playback = serde_json::from_str(
        r#"{"b":1,"i":2,"s":{"c":[2,0,0],"g":1,"p":{"c":1,"s":3},"d":3,"s":{"Killed":{"by":{"code":403,"error_code":null,"message":"no"},"since":3,"until":4}}}}"#,
    )
    .unwrap();
    bare.timeline = TimelineRecord::default();
    let context = SessionContextRecord {
        account: None,
        authorization: None,
        content: None,
        content_group: None,
        device_group: None,
        kill_memory: None,
        token: None,
        ..(*full.context).clone()
    };
    bare.context = Arc::new(context);
    let mut told = full.clone();
    told.playback.session.evidence.again = Some(Duration::from_secs(30).into());
    told.timeline.entries = [
        SessionEvent::Closed(EndReason::Orphaned),
        SessionEvent::Killed(Reason::new(403, Some(3002), "\"no\"\n").into()),
    ]
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
    let mut record = decode(FULL.as_bytes());
    let token = || Secret::new("t".repeat(700));
    record.context = Arc::new(SessionContextRecord {
        account: Some("account-00000001".to_owned()),
        content: Some("urn:example:content:0001".to_owned()),
        content_group: None,
        device: "8c0f5ac2-55e1-4f3f-9e0f-1f7b2b0c9d11".to_owned(),
        device_group: None,
        kill_memory: None,
        token: Some(token()),
        ..(*record.context).clone()
    });
    let big = Fingerprint::new(u64::MAX);
    let playback = &mut record.playback;
    playback.names =
        NamesRecord { content: Some(big), key_sessions: vec![big], token: Some(big), ..NamesRecord::default() };
    playback.leases = Vec::new();
    record.timeline.entries.truncate(1);
    let session = &mut playback.session;
    (session.every, session.opening, session.renewals) = (None, false, false);
    session.unconfirmed = UnconfirmedRecord::default();
    let EvidenceRecord { last_call, last_sign, .. } = session.evidence;
    session.evidence = EvidenceRecord { last_call, last_sign, ..EvidenceRecord::default() };
    session.confirmation.slept = RecordedSpan::default();
    session.schedule.clear();
    if let Some(grant) = &mut session.grant {
        (grant.good_until, grant.in_doubt, grant.token) = (None, false, token());
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
    assert_eq!((names.join(" ").as_str(), crate::store::journal::JOURNAL_FORMAT_VERSION), (KNOWN, 6));
}

#[test]
fn a_reason_without_a_reply_is_written_with_code_zero() {
    let reason = Reason::without_reply("no way");
    let written = serde_json::to_value(&reason).unwrap();
    assert_eq!(written["code"], 0);
    assert_eq!(serde_json::from_value::<Reason>(written).unwrap(), reason);
}
