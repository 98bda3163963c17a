//! Tests recognition with every synthetic DRM message, in every wrapper, cut anywhere and damaged anywhere, and with
//! hostile bodies.

#![allow(clippy::unwrap_used, reason = "the whole file is tests")]

#[path = "support/drm.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use sidebeat::drm::configured_wrapping::base64_decode;
use sidebeat::drm::{
    Direction, DrmMessage, DrmSystem, LicenseLease, MessageKind, UnrecognisedBody, Validity, recognise,
};
use sidebeat::secret::Fingerprint;
use support::*;

use Direction::{Reply, Request};

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/drm").join(name)).unwrap()
}

fn look(direction: Direction, body: &[u8]) -> Result<DrmMessage, UnrecognisedBody> {
    recognise(direction, None, None, body)
}

/// Name, direction, system, kind.
const EXPECTED: &[(&str, Direction, DrmSystem, MessageKind)] = &[
    ("ck_license.json", Reply, DrmSystem::ClearKey, MessageKind::License),
    ("ck_release.json", Request, DrmSystem::ClearKey, MessageKind::Release),
    ("ck_request.json", Request, DrmSystem::ClearKey, MessageKind::LicenseRequest),
    ("ck_request_std_alphabet.json", Request, DrmSystem::ClearKey, MessageKind::LicenseRequest),
    ("fps_ckc_v1.bin", Reply, DrmSystem::FairPlay, MessageKind::License),
    ("fps_release_plist.bin", Request, DrmSystem::FairPlay, MessageKind::Release),
    ("fps_spc_other.bin", Request, DrmSystem::FairPlay, MessageKind::LicenseRequest),
    ("fps_spc_v1.bin", Request, DrmSystem::FairPlay, MessageKind::LicenseRequest),
    ("pr_challenge_v40.xml", Request, DrmSystem::PlayReady, MessageKind::LicenseRequest),
    ("pr_challenge_v40_utf16le.bin", Request, DrmSystem::PlayReady, MessageKind::LicenseRequest),
    ("pr_challenge_v43.xml", Request, DrmSystem::PlayReady, MessageKind::LicenseRequest),
    ("pr_fault_session_limit.xml", Reply, DrmSystem::PlayReady, MessageKind::Error),
    ("pr_keymessage_utf16le.bin", Request, DrmSystem::PlayReady, MessageKind::LicenseRequest),
    ("pr_response_lease60.xml", Reply, DrmSystem::PlayReady, MessageKind::License),
    ("pr_response_unlimited.xml", Reply, DrmSystem::PlayReady, MessageKind::License),
    ("wv_error_expired.bin", Reply, DrmSystem::Widevine, MessageKind::Error),
    ("wv_error_invalid.bin", Reply, DrmSystem::Widevine, MessageKind::Error),
    ("wv_error_revoked.bin", Reply, DrmSystem::Widevine, MessageKind::Error),
    ("wv_error_unavailable.bin", Reply, DrmSystem::Widevine, MessageKind::Error),
    ("wv_license.bin", Reply, DrmSystem::Widevine, MessageKind::License),
    ("wv_license_released.bin", Reply, DrmSystem::Widevine, MessageKind::License),
    ("wv_license_renewed.bin", Reply, DrmSystem::Widevine, MessageKind::License),
    ("wv_new_clientid.bin", Request, DrmSystem::Widevine, MessageKind::LicenseRequest),
    ("wv_new_privacy.bin", Request, DrmSystem::Widevine, MessageKind::LicenseRequest),
    ("wv_provisioning_request.bin", Request, DrmSystem::Widevine, MessageKind::Provisioning),
    ("wv_release.bin", Request, DrmSystem::Widevine, MessageKind::Release),
    ("wv_renewal_typed.bin", Request, DrmSystem::Widevine, MessageKind::Renewal),
    ("wv_renewal_untyped.bin", Request, DrmSystem::Widevine, MessageKind::Renewal),
    ("wv_renewal_with_encid.bin", Request, DrmSystem::Widevine, MessageKind::Renewal),
    ("wv_service_cert.bin", Reply, DrmSystem::Widevine, MessageKind::Certificate),
    ("wv_service_cert_request.bin", Request, DrmSystem::Widevine, MessageKind::CertificateRequest),
];

fn other(direction: Direction) -> Direction {
    if direction == Reply { Request } else { Reply }
}

// === The files ===

#[test]
fn the_builders_rebuild_every_vector_file() {
    let rebuilt = vectors();
    for (name, bytes) in &rebuilt {
        assert!(*bytes == vector(name), "{name} differs from its recipe");
    }
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/drm")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap()).filter(|name| name != "README.md");
    assert_eq!(names.count(), rebuilt.len());
}

#[test]
fn every_vector_is_recognised_in_its_direction_only() {
    for &(name, direction, system, kind) in EXPECTED {
        let body = vector(name);
        let message = look(direction, &body).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((message.system, message.kind, message.wrapped), (system, kind, false), "{name}");
        let reversed = look(other(direction), &body).map(|message| message.kind);
        let expected = match name {
            // The release and its acknowledgement have one shape, and so has provisioning.
            "ck_release.json" => Ok(MessageKind::Acknowledge),
            "wv_provisioning_request.bin" => Ok(MessageKind::Provisioning),
            _ => Err(UnrecognisedBody::Unknown),
        };
        assert_eq!(reversed, expected, "{name} reversed");
    }
    assert_eq!(look(Reply, &vector("pr_xmr_lease60.bin")), Err(UnrecognisedBody::Unknown));
}

// === The facts ===

const CONTENT: &[&[u8]] = &[b"content id", b"content-42"];
const LEASE: LicenseLease = LicenseLease {
    can_renew: true,
    duration_s: 120,
    own_renewal_url: false,
    recovery_s: 60,
    renewal_delay_s: 60,
    retry_s: 10,
    playback_s: 0,
    rental_s: 0,
};

#[test]
fn widevine_messages_show_their_facts() {
    let (id, id16) = (Some(Fingerprint::of(RID)), Some(Fingerprint::of(RID16)));
    let (session, session16) = (Some(Fingerprint::of(SID8)), Some(Fingerprint::of(SID16)));
    let content = Some(Fingerprint::of_parts(CONTENT));
    let silent = Some(LicenseLease::default());
    for (name, direction, request_id, session_id, version, content_id, lease) in [
        ("wv_new_clientid.bin", Request, id, None, None, content, None),
        ("wv_new_privacy.bin", Request, id16, None, None, content, None),
        ("wv_renewal_typed.bin", Request, id, session, Some(0), None, None),
        ("wv_renewal_untyped.bin", Request, id16, session16, Some(0), None, None),
        ("wv_renewal_with_encid.bin", Request, id, session, Some(0), None, None),
        ("wv_release.bin", Request, id, session, Some(1), None, None),
        ("wv_license.bin", Reply, id, session, Some(0), None, Some(LEASE)),
        ("wv_license_renewed.bin", Reply, id, session, Some(1), None, Some(LEASE)),
        ("wv_license_released.bin", Reply, id, session, Some(2), None, silent),
        ("wv_service_cert_request.bin", Request, None, None, None, None, None),
    ] {
        let message = look(direction, &vector(name)).unwrap();
        assert_eq!(message.request_id, request_id, "{name}");
        assert_eq!(message.session_id, session_id, "{name}");
        assert_eq!(message.version, version, "{name}");
        assert_eq!(message.content_id, content_id, "{name}");
        assert_eq!(message.lease, lease, "{name}");
        assert!(!message.offline, "{name}");
    }
    assert_eq!(look(Request, &vector("wv_new_clientid.bin")).unwrap().key_ids.as_slice(), [KID]);
}

#[test]
fn widevine_errors_show_their_codes() {
    for (name, code) in [("invalid", 1), ("revoked", 2), ("unavailable", 3), ("expired", 4)] {
        let message = look(Reply, &vector(&format!("wv_error_{name}.bin"))).unwrap();
        assert_eq!(message.error_code, Some(code), "{name}");
    }
    assert_eq!(look(Reply, b"CAMSAggD").map(|m| (m.error_code, m.wrapped)), Ok((Some(3), true)));
}

#[test]
fn playready_messages_show_their_facts() {
    let nonce = Some(Fingerprint::of(&base64_decode(b"gdI/z01/gXSlemowluc7Mw==").unwrap()));
    let sets = [look(Request, &vector("ck_release.json")), look(Request, &vector("ck_request.json"))];
    let [one, two] = sets.map(|message| message.unwrap().content_id);
    for (name, direction, kids, content_id) in [
        ("pr_challenge_v40.xml", Request, &[KID][..], one),
        ("pr_challenge_v40_utf16le.bin", Request, &[KID], one),
        ("pr_keymessage_utf16le.bin", Request, &[KID], one),
        ("pr_challenge_v43.xml", Request, &[KID, KID2], two),
        ("pr_response_lease60.xml", Reply, &[KID], one),
        ("pr_response_unlimited.xml", Reply, &[KID], one),
    ] {
        let message = look(direction, &vector(name)).unwrap();
        assert_eq!(message.request_id, nonce, "{name}");
        assert_eq!(message.key_ids.as_slice(), kids, "{name}");
        assert_eq!(message.content_id, content_id, "{name}: the same set of key ids as ClearKey's");
        let custom = message.custom_data.as_ref().map(|custom| custom.expose());
        assert_eq!(custom, (direction == Request && kids.len() == 1).then_some("token=synthetic"), "{name}");
    }
}

#[test]
fn playready_replies_show_validity_and_transaction() {
    let lease = look(Reply, &vector("pr_response_lease60.xml")).unwrap();
    assert_eq!(lease.validity, Some(Validity { begin: None, end: Some(T + 60), issued: Some(T) }));
    let acknowledge = playready_acknowledge("00112233-4455-6677-8899-aabbccddeeff");
    let acknowledge = look(Request, acknowledge.as_bytes()).unwrap();
    assert_eq!((acknowledge.kind, acknowledge.transaction_id), (MessageKind::Acknowledge, lease.transaction_id));
    assert!(lease.transaction_id.is_some());

    let unlimited = look(Reply, &vector("pr_response_unlimited.xml")).unwrap();
    assert_eq!(unlimited.validity, Some(Validity { begin: None, end: None, issued: Some(T) }));
    assert_eq!(unlimited.transaction_id, None);
    assert_eq!(look(Reply, &vector("pr_fault_session_limit.xml")).unwrap().error_code, Some(0x8004_c604));
}

#[test]
fn clearkey_messages_show_their_facts() {
    let request = look(Request, &vector("ck_request.json")).unwrap();
    assert_eq!(request.key_ids.as_slice(), [KID, KID2]);
    let old = look(Request, &vector("ck_request_std_alphabet.json")).unwrap();
    assert_eq!(old.key_ids.as_slice(), [KID2]);
    let license = look(Reply, &vector("ck_license.json")).unwrap();
    assert_eq!(license.content_id, look(Request, &vector("ck_release.json")).unwrap().content_id);
    assert!(look(Request, clearkey_request(&[KID], Some("persistent-license")).as_bytes()).unwrap().offline);
}

#[test]
fn built_messages_link_as_a_player_would_make_them() {
    let id = WidevineId { offline: true, request_id: b"request-7", session_id: b"session-7", version: 3 };
    let new = look(Request, &widevine_new(b"request-7", b"film", &[KID2, KID])).unwrap();
    let own = WidevinePolicy { renewal_url: "https://elsewhere.example.test", ..POLICY };
    let license = look(Reply, &widevine_license(&id, &own, KID)).unwrap();
    let renewal = look(Request, &widevine_renewal(&id, 60)).unwrap();
    let release = look(Request, &widevine_release(&id, 90)).unwrap();
    assert_eq!(new.key_ids.as_slice(), [KID, KID2]);
    for message in [&license, &renewal, &release] {
        assert_eq!((message.request_id, message.version, message.offline), (new.request_id, Some(3), true));
        assert_eq!(message.session_id, license.session_id);
    }
    assert_eq!((renewal.kind, release.kind), (MessageKind::Renewal, MessageKind::Release));
    assert!(license.lease.unwrap().own_renewal_url);
}

#[test]
fn widevine_requests_of_every_variant_show_their_content() {
    let pssh = widevine_pssh(b"", &[KID]);
    let header = [&[0; 4][..], &0xedef_8ba9_79d6_4ace_a3c8_27dc_d51d_21ed_u128.to_be_bytes()].concat();
    let size = (32 + pssh.len() as u32).to_be_bytes();
    let boxed = [&size[..], b"pssh", &header, &(pssh.len() as u32).to_be_bytes(), &pssh].concat();
    let webm = l(2, [l(1, KID), v(2, 2), l(3, RID)].concat());
    let init = l(4, [v(1, 1), l(2, &boxed), v(3, 1), l(4, RID)].concat());
    for (content, offline) in [
        (widevine_content(&pssh, 2, RID), true),
        (widevine_content(&boxed, 1, RID), false),
        (webm, true),
        (init, false),
    ] {
        let message = look(Request, &widevine_new_of(&content)).unwrap();
        assert_eq!(message.kind, MessageKind::LicenseRequest);
        assert_eq!(message.request_id, Some(Fingerprint::of(RID)));
        assert_eq!((message.key_ids.as_slice(), message.offline), (&[KID][..], offline));
        assert_eq!(message.content_id, message.key_ids.fingerprint());
    }
    let opaque = look(Request, &widevine_new_of(&widevine_content(b"\xff\xff", 1, RID))).unwrap();
    assert!(opaque.content_id.is_none() && opaque.key_ids.is_empty() && opaque.request_id.is_some());
}

#[test]
fn widevine_shapes_that_do_not_fit_are_unknown() {
    let content = widevine_content(&widevine_pssh(b"c", &[KID]), 1, RID);
    let existing = l(3, l(1, [l(1, RID), l(2, SID8)].concat()));
    let signed = |request: Vec<u8>| [v(1, 1), l(2, request), l(3, "signature")].concat();
    let fits = [
        signed(l(2, &content)),
        signed([l(2, &existing), v(3, 3)].concat()),
        [l(2, l(2, &existing)), l(3, "s")].concat(),
        // Fields that a server's parser skips, drops or leaves to the content.
        signed([l(2, &content), v(3, 2)].concat()),
        signed([l(2, &existing), v(3, 1)].concat()),
        signed([l(2, &content), v(1, 0)].concat()),
        signed(l(2, widevine_content(b"", 1, &[7; 65]))),
        [v(1, 6), l(2, l(2, &content)), l(3, "s")].concat(),
        [l(1, ""), l(2, l(2, &content)), l(3, "s")].concat(),
        [l(3, "s"), l(2, l(2, &content))].concat(),
        [l(77, "first"), v(1, 1), l(2, l(2, &content)), l(3, "s")].concat(),
        [v(99, 1).repeat(500), l(2, l(2, &content)), l(3, "s")].concat(),
        [&b"\x9b\x06\x08\x01\x9c\x06"[..], &signed(l(2, &content))].concat(),
        [&b"\x88\x00\x01"[..], &signed(l(2, &content))].concat(),
    ];
    // The envelope is not signed: with several types or messages, it counts as a license request if one may be.
    let license = || l(2, l(2, &content));
    let release = || l(2, [l(2, &existing), v(3, 3)].concat());
    for (envelope, kind) in [
        ([v(1, 4), v(1, 1), license(), l(3, "s")].concat(), MessageKind::LicenseRequest),
        ([v(1, 1), v(1, 4), license(), l(3, "s")].concat(), MessageKind::LicenseRequest),
        ([v(1, 4), license(), l(3, "s")].concat(), MessageKind::LicenseRequest),
        ([v(1, 5), v(1, 1), license(), l(3, "s")].concat(), MessageKind::LicenseRequest),
        ([v(1, 1), l(2, ""), license(), l(3, "s")].concat(), MessageKind::LicenseRequest),
        ([v(1, 1), license(), l(2, ""), l(3, "s")].concat(), MessageKind::LicenseRequest),
        ([v(1, 1), release(), license(), l(3, "s")].concat(), MessageKind::LicenseRequest),
        ([v(1, 1), license(), release(), l(3, "s")].concat(), MessageKind::LicenseRequest),
        (signed(l(2, &content)).repeat(2), MessageKind::LicenseRequest),
    ] {
        assert_eq!(look(Request, &envelope).map(|message| message.kind), Ok(kind), "{envelope:02x?}");
    }
    let misfits = [
        signed(v(3, 1)),
        [v(1, 1), l(2, l(2, &content))].concat(),
        [v(1, 1), l(2, l(2, &content)), l(3, "")].concat(),
        [v(1, 4), l(2, "x")].concat(),
        [v(1, 4), l(15, "longer than it")].concat(),
    ];
    fits.iter().for_each(|body| assert!(look(Request, body).is_ok(), "{body:02x?}"));
    misfits.iter().for_each(|body| assert_eq!(look(Request, body), Err(UnrecognisedBody::Unknown), "{body:02x?}"));
}

#[test]
fn widevine_seconds_stay_small_enough_to_add() {
    let id = WidevineId { offline: false, request_id: RID, session_id: SID8, version: 0 };
    let policy = WidevinePolicy { duration: i64::MAX as u64, recovery: u64::MAX, ..POLICY };
    let lease = look(Reply, &widevine_license(&id, &policy, KID)).unwrap().lease.unwrap();
    assert_eq!((lease.duration_s, lease.recovery_s), (u64::from(u32::MAX), 0));
}

// === PlayReady in detail ===

#[test]
fn every_playready_operation_has_its_kind() {
    let op = |name: &str| soap(&format!("<p:{name} xmlns:p=\"{PROTOCOLS}\"><x/></p:{name}>"));
    for (name, request, reply) in [
        ("AcquireLicense", Some(MessageKind::LicenseRequest), Some(MessageKind::License)),
        ("AcknowledgeLicense", Some(MessageKind::Acknowledge), Some(MessageKind::Acknowledge)),
        ("ProcessSecureStopData", Some(MessageKind::Release), Some(MessageKind::Acknowledge)),
        ("ProcessDeleteLicenseData", Some(MessageKind::Release), Some(MessageKind::Acknowledge)),
        ("JoinDomain", Some(MessageKind::Other), Some(MessageKind::Other)),
        ("LeaveDomain", Some(MessageKind::Other), Some(MessageKind::Other)),
        ("GetMeteringCertificate", Some(MessageKind::Other), Some(MessageKind::Other)),
        ("ProcessMeteringData", Some(MessageKind::Other), Some(MessageKind::Other)),
        ("AcquirePackagingData", Some(MessageKind::Other), Some(MessageKind::Other)),
        ("Activate", None, None),
    ] {
        assert_eq!(look(Request, op(name).as_bytes()).ok().map(|m| m.kind), request, "{name}");
        assert_eq!(look(Reply, op(&format!("{name}Response")).as_bytes()).ok().map(|m| m.kind), reply, "{name}");
        assert!(look(Request, op(&format!("{name}Response")).as_bytes()).is_err(), "{name}");
    }
}

#[test]
fn playready_identifiers_are_one_plain_text_or_nothing() {
    let whole = playready_challenge(&playready_header_40(KID), None, b"0123456789abcdef");
    let nonce = "<LicenseNonce>MDEyMzQ1Njc4OWFiY2RlZg==</LicenseNonce>";
    assert!(whole.contains(nonce));
    for (written, known) in [
        ("<LicenseNonce>\n MDEyMzQ1Njc4OWFiY2RlZg==\t</LicenseNonce>", true),
        ("<n:LicenseNonce>MDEyMzQ1Njc4OWFiY2RlZg==</n:LicenseNonce>", true),
        ("<LicenseNonce>MDEyMzQ1Njc4<!-- -->OWFiY2RlZg==</LicenseNonce>", false),
        ("<LicenseNonce>MDEyMzQ1Njc4OWFiY2RlZg&#61;&#61;</LicenseNonce>", false),
        ("<LicenseNonce><![CDATA[MDEyMzQ1Njc4OWFiY2RlZg==]]></LicenseNonce>", false),
        ("<LicenseNonce><b>MDEyMzQ1Njc4OWFiY2RlZg==</b></LicenseNonce>", false),
        ("<LicenseNonce>not base64!</LicenseNonce>", false),
        ("<LicenseNonce/>", false),
        ("<x><LicenseNonce>MDEyMzQ1Njc4OWFiY2RlZg==</LicenseNonce></x>", false),
        (&nonce.repeat(2), false),
        ("", false),
    ] {
        let message = look(Request, whole.replace(nonce, written).as_bytes()).unwrap();
        let expected = known.then(|| Fingerprint::of(b"0123456789abcdef"));
        assert_eq!(message.request_id, expected, "{written}");
        assert_eq!(message.key_ids.as_slice(), [KID]);
    }
}

#[test]
fn playready_custom_data_is_unescaped_and_secret() {
    for (written, meant) in [
        ("a&lt;b&gt;&amp;&#x41;&quot;", Some("a<b>&A\"")),
        ("\n  eyJ.a.b \n", Some("eyJ.a.b")),
        ("<![CDATA[<t>1</t>]]>", Some("<t>1</t>")),
        ("a<b>c</b>", None),
        ("&bomb;", None),
        ("", None),
    ] {
        let body = playready_challenge(&playready_header_40(KID), Some(written), b"nonce");
        let message = look(Request, body.as_bytes()).unwrap();
        assert_eq!(message.custom_data.as_ref().map(|c| c.expose()), meant, "{written}");
        assert!(!format!("{message:?}").contains("eyJ"));
    }
}

/// A reply with licenses that end so, in this order; zero: never.
fn playready_reply(ends: &[u32]) -> DrmMessage {
    let licenses: String =
        ends.iter().map(|end| format!("<License>{}</License>", b64(playready_xmr(KID, 0, *end, T as u32)))).collect();
    let body = playready_response(b"", None, b"nonce").replace("<License></License>", &licenses);
    look(Reply, body.as_bytes()).unwrap()
}

/// The page sees the key as gone by the first end, and the device may play until the last.
#[test]
fn playready_shows_the_first_end_of_several_licenses_and_the_last_ends_the_playback() {
    let (soon, late) = (T as u32 + 60, T as u32 + 900);
    let seconds = Duration::from_secs;
    for (ends, first, lasts) in [
        (vec![soon, late], Some(T + 60), Some(seconds(900))),
        (vec![late, soon], Some(T + 60), Some(seconds(900))),
        (vec![soon, late, soon], Some(T + 60), Some(seconds(900))),
        (vec![late, soon, late], Some(T + 60), Some(seconds(900))),
        (vec![soon, 0], Some(T + 60), None),
        (vec![0, soon], Some(T + 60), None),
        (vec![0, 0], None, None),
        (vec![late], Some(T + 900), Some(seconds(900))),
    ] {
        let reply = playready_reply(&ends);
        let shown = reply.validity.unwrap().end;
        assert_eq!((reply.kind, shown, reply.lasts()), (MessageKind::License, first, lasts), "{ends:?}");
    }
}

#[test]
fn playready_is_recognised_even_if_its_namespace_comes_late() {
    // The length comes from a comment, or from other headers of the envelope.
    for length in [3_000, 4_096, 5_000, 60_000] {
        let filler = "x".repeat(length);
        for filler in [format!("<!--{filler}-->"), format!("<soap:Header><h>{filler}</h></soap:Header>")] {
            for (name, direction, kind) in [
                ("pr_challenge_v40.xml", Request, MessageKind::LicenseRequest),
                ("pr_response_lease60.xml", Reply, MessageKind::License),
            ] {
                let whole = String::from_utf8(vector(name)).unwrap();
                let body = whole.replacen("<soap:Body", &format!("{filler}<soap:Body"), 1);
                assert!(body.find("schemas.microsoft.com/DRM").unwrap() > length, "{name}");
                assert_eq!(look(direction, body.as_bytes()).map(|message| message.kind), Ok(kind), "{name} {length}");
            }
        }
    }
}

#[test]
fn a_playready_key_message_of_a_secure_stop_is_a_release() {
    let body = r#"<PlayReadyKeyMessage type="SecureStop"><SecureStop><Challenge>AAAA</Challenge></SecureStop></PlayReadyKeyMessage>"#;
    assert_eq!(
        look(Request, &utf16le(body)).map(|m| (m.system, m.kind)),
        Ok((DrmSystem::PlayReady, MessageKind::Release))
    );
    assert!(look(Request, body.replace("SecureStop", "Else").as_bytes()).is_err());
}

#[test]
fn foreign_soap_is_unknown() {
    let fault = playready_fault();
    assert!(look(Reply, fault.replace("0x8004c604", "0x1").as_bytes()).is_err());
    assert!(look(Reply, fault.replace("StatusCode", "Code").as_bytes()).is_err());
    assert!(look(Request, soap("<AcquireLicense/>").as_bytes()).is_err());
}

// === FairPlay ===

#[test]
fn fairplay_takes_its_content_from_the_wrapping() {
    let spc = fairplay_spc("pl");
    let asset = |value: &str| Some(Fingerprint::of_parts(&[b"asset", value.as_bytes()]));
    let apple = format!(
        r#"{{"fairplay-streaming-request":{{"version":1,"streaming-keys":[{{"id":1,"spc":"{}","uri":"skd://twelve"}}]}}}}"#,
        b64(&spc)
    );
    for (body, content_id) in [
        (apple, asset("skd://twelve")),
        (format!("spc={}&assetId=a%2Bb", b64(&spc)), asset("a+b")),
        (format!("asset_id=42&spc={}", b64u(&spc)), asset("42")),
        (format!("spc={}", b64(&spc)), None),
        (format!(r#"{{"spc":"{}"}}"#, b64(&spc)), None),
    ] {
        let message = look(Request, body.as_bytes()).unwrap();
        assert_eq!(
            (message.system, message.kind, message.wrapped),
            (DrmSystem::FairPlay, MessageKind::LicenseRequest, true)
        );
        assert_eq!(message.content_id, content_id);
    }
}

#[test]
fn fairplay_cenc_names_its_key_ids() {
    let item = |kid: [u8; 16]| format!(r#"{{"keyID":"{}","payload":"{}"}}"#, b64(kid), b64(fairplay_spc("pl")));
    let body = format!("[{},{}]", item(KID2), item(KID));
    // WebKit's own client labels this as a form.
    let form = Some("application/x-www-form-urlencoded");
    let message = recognise(Request, form, None, body.as_bytes()).unwrap();
    assert_eq!(message.key_ids.as_slice(), [KID, KID2]);
    assert_eq!(message.content_id, look(Request, &vector("ck_request.json")).unwrap().content_id);
}

/// The names beside a message show its content; a text elsewhere does not, and neither do names beside another system's
/// message.
#[test]
fn a_name_tells_the_content_of_the_fairplay_message_beside_it_alone() {
    let release = String::from_utf8(vector("fps_release_plist.bin")).map_or_else(|bytes| b64(bytes.into_bytes()), b64);
    let named = r#"{\"assetId\":\"a\"}"#;
    let beside = format!(r#"{{"assetId":"a","release":"{release}"}}"#);
    let elsewhere = format!(r#"["{release}","{named}"]"#);
    for (body, has_content) in [(beside, true), (elsewhere, false)] {
        let message = look(Request, body.as_bytes()).unwrap();
        assert_eq!((message.system, message.kind), (DrmSystem::FairPlay, MessageKind::Release));
        assert_eq!(message.content_id.is_some(), has_content, "{body}");
    }
    // Widevine's request for a certificate.
    let message = look(Request, br#"{"assetId":"a","payload":"CAQ="}"#).unwrap();
    assert_eq!((message.system, message.content_id), (DrmSystem::Widevine, None));
}

#[test]
fn fairplay_replies_are_recognised_in_their_wrappers() {
    let ckc = b64(fairplay_ckc("ckc"));
    for body in [
        ckc.clone(),
        format!("<ckc>{ckc}</ckc>"),
        format!("\r\n<ckc>\n{ckc}\n</ckc>\n"),
        format!(r#"{{"ckc":"{ckc}"}}"#),
        format!(r#"{{"CkcMessage":"{ckc}"}}"#),
        format!(r#"{{"License":"{ckc}"}}"#),
        format!(r#"{{"fairplay-streaming-response":{{"streaming-keys":[{{"ckc":"{ckc}"}}]}}}}"#),
    ] {
        let message = look(Reply, body.as_bytes()).unwrap();
        assert_eq!((message.system, message.kind, message.wrapped), (DrmSystem::FairPlay, MessageKind::License, true));
        assert!(look(Request, body.as_bytes()).is_err());
    }
}

// === Wrappers ===

#[test]
fn every_wrapper_of_real_apps_is_recognised() {
    let (new, license) = (vector("wv_new_clientid.bin"), vector("wv_license.bin"));
    let (up, down) = (b64(&new), b64(&license));
    let escaped = down.replace('/', "\\/");
    for (direction, body) in [
        (Request, format!(r#"{{"rawLicenseRequestBase64":"{up}"}}"#)),
        (Reply, format!(r#"{{"rawLicenseBase64":"{down}"}}"#)),
        (Request, format!(r#"{{"rawLicense":"{}"}}"#, b64u(&new))),
        (Reply, format!(r#"{{"isRenewal":false,"rawLicense":"{escaped}"}}"#)),
        (Request, format!(r#"{{"token":"abcd","message":"{up}"}}"#)),
        (Reply, format!(r#"{{"license":["{down}"]}}"#)),
        (
            Reply,
            format!(r#"{{"status":"OK","license":"{down}","message_type":"x","supported_tracks":[{{"type":"SD"}}]}}"#),
        ),
        (Request, format!(r#"{{"some":{{"thing":{{"else":"{up}"}}}}}}"#)),
        (Request, format!("\u{feff} \n{{\"body\":\"{up}\"}}\n")),
        (Request, format!("token=abc&challenge={up}")),
        (Request, format!("challenge={}", percent(&new))),
        (Request, b64(format!(r#"{{"payload":"{}"}}"#, b64(format!("spc={up}"))))),
        (Request, up.as_bytes().chunks(76).map(|line| [line, b"\r\n"].concat()).flat_map(String::from_utf8).collect()),
    ] {
        let message = look(direction, body.as_bytes()).unwrap_or_else(|e| panic!("{e}: {:.60}", body));
        assert!(message.wrapped && message.system == DrmSystem::Widevine, "{body:.60}");
    }
    let (soap, spc) = (vector("pr_challenge_v43.xml"), vector("fps_spc_v1.bin"));
    let named = |name: &str, value: &[u8]| [name.as_bytes(), b"\r\n\r\n", value, b"\r\n"].concat();
    let part = |value: &[u8]| [b"--X\r\n", &named("Content-Disposition: form-data", value)[..]].concat();
    let quoted = new.iter().map(|byte| format!("={byte:02x}")).collect::<Vec<_>>();
    let quoted = quoted.chunks(20).map(|line| line.concat()).collect::<Vec<_>>().join("=\r\n");
    let nested = [
        named("--Y\r\nContent-Type: multipart/mixed; boundary=X", &[b"words before\r\n", &part(&new)[..]].concat()),
        b"--Y--".to_vec(),
    ];
    let inside = std::str::from_utf8(&soap).unwrap();
    let operation = &inside[inside.find("<AcquireLicense").unwrap()..inside.find("</soap:Body>").unwrap()];
    let soap_of = |body: &str| {
        let envelope = "xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'";
        format!("<s:Envelope {envelope}><s:Body>{body}</s:Body></s:Envelope>").into_bytes()
    };
    for body in [
        [part(b"q").repeat(500), part(&new)].concat(),
        [part(b"q").repeat(500), part(&spc)].concat(),
        [part(&new), part(b"q").repeat(500)].concat(),
        nested.concat(),
        [b"--X\r\n", &named("Content-Transfer-Encoding: Quoted-Printable", quoted.as_bytes())[..], b"--X--"].concat(),
        new.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes(),
        soap_of(&format!("<x/>{operation}")),
        soap_of(&format!("</s:Body><s:Body>{operation}")),
        soap_of(&format!("<app><wrapped>{operation}</wrapped></app>")),
        format!("<a>{}</a>", inside.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")).into_bytes(),
        format!("<a>{}</a>", inside.replace('&', "&amp;").replace('<', "&lt;")).into_bytes(),
    ] {
        let kind = look(Request, &body).map(|message| message.kind);
        assert_eq!(kind, Ok(MessageKind::LicenseRequest), "{}", String::from_utf8_lossy(&body[..60]));
    }
    let signed = format!(r#"{{"signedRequest":"{}"}}"#, b64u(vector("wv_provisioning_request.bin")));
    assert_eq!(look(Request, signed.as_bytes()).map(|m| m.kind), Ok(MessageKind::Provisioning));
    assert_eq!(
        look(Request, br#"{"message":"CAQ=","token":"t"}"#).map(|m| m.kind),
        Ok(MessageKind::CertificateRequest)
    );
    assert_eq!(look(Request, br#"{"message":"CAQ"}"#).map(|m| m.kind), Ok(MessageKind::CertificateRequest));
    assert_eq!(look(Request, b"CAQ=").map(|m| m.kind), Ok(MessageKind::CertificateRequest));
}

fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_body_wrapped_too_often_differs_from_an_unknown_one() {
    let mut body = vector("wv_renewal_untyped.bin");
    let mut found = Vec::new();
    for peels in 1..=12 {
        body = if peels % 2 == 0 { format!("{{\"x\":\"{}\"}}", b64(&body)).into() } else { b64(&body).into() };
        found.push(look(Request, &body).map(|message| message.kind));
    }
    assert!(found[..6].iter().all(|found| *found == Ok(MessageKind::Renewal)), "{found:?}");
    assert_eq!(found[11], Err(UnrecognisedBody::Tangled));
}

/// There is no number of wrappings between those that are looked into and those that are too many.
#[test]
fn a_message_in_any_number_of_wrappings_is_recognised_or_tangled() {
    for wrap in [|body: &[u8]| b64(body).into_bytes(), |body: &[u8]| format!("[\"{}\"]", b64(body)).into_bytes()] {
        let mut body = vector("wv_new_clientid.bin");
        let mut found = Vec::new();
        for _ in 0..14 {
            body = wrap(&body);
            found.push(look(Request, &body).map(|message| message.kind));
        }
        assert!(
            found.iter().all(|found| matches!(found, Ok(MessageKind::LicenseRequest) | Err(UnrecognisedBody::Tangled))),
            "{found:?}"
        );
    }
}

#[test]
fn headers_only_exclude_or_break_ties() {
    let body = vector("wv_new_clientid.bin");
    for (encoding, expected) in [
        (None, Ok(())),
        (Some(""), Ok(())),
        (Some(" Identity "), Ok(())),
        (Some("gzip"), Err(UnrecognisedBody::Compressed)),
        (Some("identity, br"), Err(UnrecognisedBody::Compressed)),
    ] {
        for content_type in [None, Some("text/xml"), Some("application/x-www-form-urlencoded"), Some("\u{fffd};;")] {
            assert_eq!(recognise(Request, content_type, encoding, &body).map(drop), expected, "{encoding:?}");
        }
    }
    let long_name = format!("{}={}", "n".repeat(100), b64(&body));
    assert!(look(Request, long_name.as_bytes()).is_ok());
}

// === The matrix ===

type Wrapper = fn(&[u8]) -> Vec<u8>;
/// Undoes the wrapper of a cut body, as far as possible.
type Unwrapper = fn(&[u8]) -> Option<Vec<u8>>;

const WRAPPERS: &[(&str, Wrapper, Unwrapper)] = &[
    ("raw", <[u8]>::to_vec, |cut| Some(cut.to_vec())),
    ("base64", |body| b64(body).into(), base64_decode),
    ("base64url", |body| b64u(body).into(), base64_decode),
    // A server may accept JSON that was cut behind the message, so a whole message counts.
    ("json", |body| format!(r#"{{"payload":"{}"}}"#, b64(body)).into(), |cut| json_string(cut.get(12..)?)),
    (
        "json, escaped",
        |body| format!(r#"{{"x":"{}"}}"#, b64(body).replace('/', "\\/")).into(),
        |cut| json_string(cut.get(6..)?),
    ),
    ("form", |body| format!("spc={}", b64(body)).into(), |cut| base64_decode(cut.get(4..)?)),
    (
        "form, percent-encoded",
        |body| format!("spc={}", b64(body).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")).into(),
        |cut| {
            let text = std::str::from_utf8(cut.get(4..)?).ok()?;
            let text = text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
            // An escape that was cut is none.
            base64_decode(text.split('%').next()?.as_bytes())
        },
    ),
];

/// Base64 up to the end of its string, or up to the cut.
fn json_string(cut: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(cut).ok()?.split('"').next()?.replace('\\', "");
    base64_decode(text.as_bytes())
}

/// True if the missing end of a message is optional.
fn is_complete(name: &str, whole: &[u8], cut: &[u8]) -> bool {
    match name {
        // The session key is the last field, and optional.
        "wv_license.bin" => cut.len() == whole.len() || cut.len() == whole.len() - l(4, [0; 256]).len(),
        "fps_release_plist.bin" => cut.len() >= 8,
        // The envelope's end tells nothing that the challenge in it does not.
        "pr_keymessage_utf16le.bin" => {
            let text = String::from_utf16_lossy(
                &whole.as_chunks().0.iter().map(|u| u16::from_le_bytes(*u)).collect::<Vec<_>>(),
            );
            let challenge = text.split("</Challenge>").next().unwrap().trim_end_matches('=').len();
            cut.len().is_multiple_of(2) && cut.len() / 2 >= challenge
        }
        _ => cut.len() == whole.len(),
    }
}

/// Every place of a body; of a large wrapped one only each forty-first and the last sixty, unless
/// `WHOLE_MATRIX` asks for the minutes that the rest takes.
fn places(length: usize, wrapper: &str) -> impl Iterator<Item = usize> {
    let whole = wrapper == "raw" || length < 2_000 || std::env::var_os("WHOLE_MATRIX").is_some();
    (0..length).filter(move |place| whole || place % 41 == 0 || length - place <= 60)
}

fn cut_everywhere(prefix: &str) {
    for &(name, direction, ..) in EXPECTED.iter().filter(|(name, ..)| name.starts_with(prefix)) {
        let whole = vector(name);
        for (wrapper, wrap, unwrap) in WRAPPERS {
            let body = wrap(&whole);
            assert!(look(direction, &body).is_ok(), "{name} in {wrapper}");
            for length in places(body.len(), wrapper) {
                let left = unwrap(&body[..length]);
                let complete = left.is_some_and(|left| is_complete(name, &whole, &left));
                let found = look(direction, &body[..length]).is_ok();
                // A release record is recognised by its first eight bytes, and a piece between escapes has them.
                let is_record = name == "fps_release_plist.bin" && wrapper.contains("percent");
                assert!(found == complete || (is_record && found), "{name} in {wrapper} cut at {length}: {found}");
            }
        }
    }
}

fn flip_everywhere(prefix: &str) {
    for &(name, direction, ..) in EXPECTED.iter().filter(|(name, ..)| name.starts_with(prefix)) {
        for (wrapper, wrap, _) in WRAPPERS {
            let mut body = wrap(&vector(name));
            for place in places(body.len(), wrapper) {
                let flip = if place % 2 == 0 { 0xff } else { 1 << (place / 2 % 8) };
                body[place] ^= flip;
                let _ = look(direction, &body);
                body[place] ^= flip;
            }
        }
    }
}

macro_rules! matrix {
    ($($module:ident: $prefix:literal),+ $(,)?) => {$(
        mod $module {
            #[test]
            fn no_cut_message_passes() {
                super::cut_everywhere($prefix);
            }

            #[test]
            fn a_flipped_byte_is_survived() {
                super::flip_everywhere($prefix);
            }
        }
    )+};
}

matrix! {
    matrix_clearkey: "ck_",
    matrix_fairplay: "fps_",
    matrix_playready_challenge: "pr_challenge_v4",
    matrix_playready_fault: "pr_fault",
    matrix_playready_key_message: "pr_keymessage",
    matrix_playready_response: "pr_response",
    matrix_widevine: "wv_",
}

#[test]
fn xml_passes_as_wide_text_of_each_order_and_no_cut_does() {
    for &(name, direction, ..) in EXPECTED.iter().filter(|(name, ..)| name.ends_with(".xml")) {
        let text = String::from_utf8(vector(name)).unwrap();
        let little = utf16le(&text);
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for body in [little.clone(), [&[0xff, 0xfe], &little[..]].concat(), [&[0xfe, 0xff], &big[..]].concat()] {
            assert!(look(direction, &body).is_ok(), "{name}");
            let cuts = (0..body.len()).filter(|cut| cut % 41 == 0 || body.len() - cut < 64);
            cuts.for_each(|cut| assert!(look(direction, &body[..cut]).is_err(), "{name} cut at {cut}"));
        }
    }
}

#[test]
fn a_request_is_recognised_in_any_wrapping_of_players_and_apps() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wrapped");
    let wrapped = wrapped_vectors();
    for (name, body) in &wrapped {
        if std::env::var_os("WRITE_VECTORS").is_some() {
            std::fs::write(folder.join(name), body).unwrap();
        }
        assert!(*body == std::fs::read(folder.join(name)).unwrap(), "{name} differs from its recipe");
        let message = look(Request, body).unwrap_or_else(|unknown| panic!("{name}: {unknown}"));
        let system = match name {
            _ if name.contains("clearkey") => DrmSystem::ClearKey,
            _ if name.contains("playready") || name.contains("cdata") || name.contains("escaped.xml") => {
                DrmSystem::PlayReady
            }
            _ => DrmSystem::Widevine,
        };
        assert_eq!(
            (message.system, message.kind, message.wrapped),
            (system, MessageKind::LicenseRequest, true),
            "{name}"
        );
        // The message is a value among many.
        if name.ends_with(".json") && !name.contains("unclosed") {
            let junk = "{\"a\":[\"b\\\"c\",1,\"CAQ=\"]},".repeat(50);
            let beside = [b"[", junk.as_bytes(), body, b"]"].concat();
            assert_eq!(look(Request, &beside).map(|message| message.system), Ok(system), "{name} beside junk");
        }
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), wrapped.len());
}

#[test]
fn the_message_that_asks_for_most_counts_among_several() {
    let (new, renewal) = (b64(vector("wv_new_clientid.bin")), b64(vector("wv_renewal_untyped.bin")));
    let offline = b64(widevine_new_of(&widevine_content(&widevine_pssh(b"c", &[KID]), 2, RID)));
    for decoys in [&["CAQ="][..], &[&renewal], &[&offline], &["CAQ=", &offline, &renewal]] {
        let body = format!("{{\"challenge\":\"{}\",\"challenge\":\"{new}\"}}", decoys.join("\",\"x\":\""));
        let message = look(Request, body.as_bytes()).unwrap();
        assert_eq!((message.kind, message.offline), (MessageKind::LicenseRequest, false), "{decoys:.40?}");
    }
    let provisioning = vector("wv_provisioning_request.bin");
    // A server reads it as a license request whose first field it does not know.
    let both = [l(1, "unknown"), vector("wv_new_clientid.bin")].concat();
    assert_eq!(look(Request, &both).map(|message| message.kind), Ok(MessageKind::LicenseRequest));
    assert_eq!(look(Request, &provisioning).map(|message| message.kind), Ok(MessageKind::Provisioning));
}

#[test]
fn a_request_that_needs_no_session_hides_nothing_beside_it() {
    let beside = |length: usize| format!("{{\"message\":\"CAQ=\",\"other\":\"{}\"}}", "!?".repeat(length / 2));
    assert_eq!(look(Request, beside(100).as_bytes()).map(|message| message.kind), Ok(MessageKind::CertificateRequest));
    assert_eq!(look(Request, beside(2_000).as_bytes()), Err(UnrecognisedBody::Unknown));
}

#[test]
fn a_message_beside_the_body_is_found() {
    let challenge = vector("wv_new_clientid.bin");
    let percent = percent(&challenge);
    for text in [format!("a=1&challenge={}", b64u(&challenge)), format!("c={percent}"), b64u(&challenge)] {
        let found = sidebeat::drm::recognise_request(None, b"", [text.as_bytes()].into_iter());
        assert_eq!(
            found.map(|message| (message.kind, message.wrapped)),
            Ok((MessageKind::LicenseRequest, true)),
            "{text:.30}"
        );
        let found = sidebeat::drm::recognise_request(None, b"CAQ=", [&b"x"[..], text.as_bytes()].into_iter());
        assert_eq!(found.map(|message| message.kind), Ok(MessageKind::LicenseRequest), "{text:.30}");
    }
}

#[test]
fn hexadecimal_digits_are_read_with_any_separators() {
    let challenge = vector("wv_new_clientid.bin");
    for (before, between) in [
        ("", ""),
        ("", " "),
        ("", "\n"),
        ("", ":"),
        ("", ", "),
        ("", "-"),
        ("0x", ", "),
        ("0x", " "),
        ("0X", ";"),
        ("\\x", ""),
    ] {
        let text = challenge.iter().map(|byte| format!("{before}{byte:02x}")).collect::<Vec<_>>().join(between);
        let found = look(Request, text.as_bytes()).map(|message| (message.kind, message.wrapped));
        assert_eq!(found, Ok((MessageKind::LicenseRequest, true)), "{text:.30}");
    }
}

#[test]
fn a_message_is_found_among_words_that_could_belong_to_it() {
    let challenge = b64(vector("wv_new_clientid.bin"));
    for (before, behind) in [("the challenge ", " thanks"), ("challenge\n", "\nthanks"), ("a ", ""), ("", "\nend")] {
        let text = format!("{before}{challenge}{behind}");
        let found = look(Request, text.as_bytes()).map(|message| (message.kind, message.wrapped));
        assert_eq!(found, Ok((MessageKind::LicenseRequest, true)), "{before:?} {behind:?}");
    }
}

#[test]
fn bodies_made_for_a_long_search_are_given_up() {
    let shapes: [(&str, fn(usize) -> Vec<u8>); 14] = [
        ("quotes", |n| b"\"".repeat(n)),
        ("escaped quotes", |n| b"\\\"".repeat(n / 2)),
        ("nested quotes", |n| (0..n / 8).flat_map(|_| *b"\"\\\"a\\\"\"").collect()),
        ("percent", |n| b"%25".repeat(n / 3)),
        ("percent quotes", |n| b"%22%3C%26".repeat(n / 9)),
        ("references", |n| b"&amp;".repeat(n / 5)),
        ("sections", |n| b"<![CDATA[".repeat(n / 9)),
        ("envelopes", |n| b"<Envelope>".repeat(n / 10)),
        ("kids", |n| b"{\"kids\":".repeat(n / 8)),
        ("kids behind ends", |n| [b"}".repeat(n / 2), b"\"kids\"".repeat(n / 12)].concat()),
        ("kids alone", |n| b"\"kids\"".repeat(n / 6)),
        ("delimiters", |n| b"--a\r\n\r\n".repeat(n / 7)),
        ("numbers", |n| b"34,".repeat(n / 3)),
        ("hex of base64 of text", |n| "3232".repeat(n / 4).into_bytes()),
    ];
    for (name, shape) in shapes {
        for content_type in [None, Some("multipart/form-data; boundary=a")] {
            let found = recognise(Request, content_type, None, &shape(1 << 16));
            assert!(found.is_err(), "{name}");
            if name.starts_with("kids") {
                assert_eq!(found, Err(UnrecognisedBody::Tangled), "{name}: all that is looked at counts");
            }
        }
    }
}

// === Hostile bodies ===

#[test]
fn hostile_bodies_are_unknown() {
    let soap_with = |inner: &str| playready_challenge(&playready_header_40(KID), Some(inner), b"nonce").into_bytes();
    let mut nested = vec![b'1'];
    (0..40).for_each(|_| nested = l(2, &nested));
    let bodies: Vec<Vec<u8>> = vec![
        b"\x08\x01\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(),
        [&[0x08][..], &[0xff; 11], &[1]].concat(),
        b"\x08\x01\x0b\x08\x01\x0c".to_vec(),
        [8, 1].repeat(32_000),
        [0x12, 0].repeat(32_000),
        nested,
        [&b"<a xmlns=\"http://schemas.microsoft.com/DRM/2007/03\">"[..], &b"<a>".repeat(20_000)].concat(),
        soap_with(&("<d>".repeat(300) + &"</d>".repeat(300))),
        [&b"{\"a\":"[..]].concat().repeat(10_000),
        b"[".repeat(60_000),
        format!("[{}]", "\"AAAA\",".repeat(9_000)).into_bytes(),
        "a=AAAA&".repeat(9_000).into_bytes(),
        b"\xff\xfe\0\xd8".repeat(16_000),
        b"{\"kids\":[\"\xff\xfe\"],\"type\":\"temporary\"}".to_vec(),
        b"\n".repeat(65_536),
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(),
        b"A".repeat(65_536),
        b"=".repeat(65_536),
        b"\\".repeat(65_536),
        b"{\"\\".to_vec(),
        Vec::new(),
    ];
    for body in &bodies {
        for direction in [Request, Reply] {
            let shown = &body[..body.len().min(24)];
            assert_eq!(look(direction, body), Err(UnrecognisedBody::Unknown), "{shown:02x?}");
        }
    }
}

#[test]
fn no_padding_hides_a_playready_challenge() {
    let document = |doctype: &str| {
        let whole = String::from_utf8(vector("pr_challenge_v40.xml")).unwrap();
        whole.replacen("?>", &format!("?>{doctype}"), 1).into_bytes()
    };
    let soap_with = |inner: &str| playready_challenge(&playready_header_40(KID), Some(inner), b"nonce").into_bytes();
    for body in [
        document("<!DOCTYPE x>"),
        document("<!DOCTYPE l [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>"),
        document("<!DOCTYPE l SYSTEM \"file:///etc/passwd\">"),
        document(&format!("<!--{}-->", "x".repeat(20_000))),
        soap_with(&"<i/>".repeat(15_000)),
        soap_with(&("<d>".repeat(40) + &"</d>".repeat(40))),
    ] {
        let message = look(Request, &body).unwrap();
        assert_eq!(
            (message.system, message.kind, message.wrapped),
            (DrmSystem::PlayReady, MessageKind::LicenseRequest, false)
        );
    }
}

#[test]
fn many_attributes_cost_only_their_bytes() {
    let attributes: String = (0..5_000).map(|n| format!(" a{n}=\"\"")).collect();
    let kid = format!("<KID{attributes} VALUE=\"{}\">", b64(KID));
    let body = playready_challenge(&playready_header_43(&[KID]), None, b"nonce").replacen(
        "<KID ",
        &format!("{kid}</KID><KID "),
        1,
    );
    assert!(body.len() < 65_536);
    assert_eq!(look(Request, body.as_bytes()).unwrap().key_ids.len(), 2);
}

#[test]
fn key_ids_are_bounded() {
    let kids: Vec<[u8; 16]> = (0..=255).map(|byte| [byte; 16]).collect();
    let body = playready_challenge(&playready_header_43(&kids), None, b"nonce");
    assert_eq!(look(Request, body.as_bytes()).unwrap().key_ids.len(), 64);
    assert_eq!(look(Request, clearkey_request(&kids[..100], Some("temporary")).as_bytes()).unwrap().key_ids.len(), 64);
}

#[test]
fn no_size_hides_a_message() {
    for length in [65_536, 65_537, 1_000_000] {
        let body = [b"bplist00", &vec![b'x'; length - 8][..]].concat();
        assert!(look(Request, &body).is_ok(), "{length}");
        // A field that servers skip is skipped here.
        let challenge = [vector("wv_new_clientid.bin"), l(99, vec![0; length])].concat();
        assert_eq!(look(Request, &challenge).map(|message| message.kind), Ok(MessageKind::LicenseRequest), "{length}");
    }
}

#[test]
fn duplicate_keys_and_lone_surrogates_only_label() {
    let body = format!(r#"{{"kids":["!"],"type":1,"kids":["{}"],"type":"\ud800"}}"#, b64u(KID));
    assert_eq!(look(Request, body.as_bytes()).map(|m| m.kind), Ok(MessageKind::LicenseRequest));
}

#[test]
fn no_part_of_a_body_is_shown() {
    for &(name, direction, ..) in EXPECTED {
        let shown = format!("{:?}", look(direction, &vector(name)));
        for secret in ["synthetic", "VQ6YxFJQ", "00112233445566778899AABB", "gdI/z01"] {
            assert!(!shown.contains(secret), "{name}");
        }
    }
}

// === Random bodies ===

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        first in prop::sample::select(vec![
            &b""[..], b"\0", b"\0\0\0\x01\0\0\0\0", b"\x08", b"\x08\x01\x12", b"\x08\x02\x12", b"\x08\x03\x12", b"\x12", b"\x0a",
            b"<", b"<\0", b"{", b"{\"kids\":[", b"{\"license\":\"", b"[", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"spc=", b"<ckc>",
            b"<soap:Envelope xmlns=\"http://schemas.microsoft.com/DRM/2007/03/protocols\"><Body>", b"<PlayReadyKeyMessage>",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
        form in any::<bool>(),
    ) {
        let body = [first, &rest].concat();
        let content_type = form.then_some("application/x-www-form-urlencoded");
        let _ = recognise(Request, content_type, None, &body);
        let _ = recognise(Reply, content_type, None, &body);
    }

    #[test]
    fn markup_and_json_like_text_never_panics(text in r#"[<>/&;!?\[\]{}":,=%+ a-cKID\\0-2-]{0,80}"#) {
        let _ = look(Request, text.as_bytes());
        let framed = soap(&format!("<AcquireLicense xmlns=\"{PROTOCOLS}\">{text}</AcquireLicense>"));
        let _ = look(Request, framed.as_bytes());
    }

    #[test]
    fn spliced_vectors_never_panic(
        one in 0..EXPECTED.len(),
        two in 0..EXPECTED.len(),
        cut in any::<prop::sample::Index>(),
        joint in any::<prop::sample::Index>(),
    ) {
        let (one, two) = (vector(EXPECTED[one].0), vector(EXPECTED[two].0));
        let body = [&one[..cut.index(one.len())], &two[joint.index(two.len())..]].concat();
        let _ = look(Request, &body);
        let _ = look(Reply, &body);
    }

    #[test]
    fn any_identifiers_come_through(
        request_id in prop::collection::vec(any::<u8>(), 1..=64),
        session_id in prop::collection::vec(any::<u8>(), 1..=64),
        kid in any::<[u8; 16]>(),
        version in any::<u32>(),
    ) {
        let id = WidevineId { offline: false, request_id: &request_id, session_id: &session_id, version: version.into() };
        let new = look(Request, &widevine_new(&request_id, b"", &[kid])).unwrap();
        prop_assert_eq!(new.request_id, Some(Fingerprint::of(&request_id)));
        prop_assert_eq!(new.key_ids.as_slice(), [kid]);
        let renewal = look(Request, &widevine_renewal(&id, 60)).unwrap();
        prop_assert_eq!((renewal.request_id, renewal.session_id), (new.request_id, Some(Fingerprint::of(&session_id))));
        let challenge = playready_challenge(&playready_header_40(kid), None, &request_id);
        let challenge = look(Request, challenge.as_bytes()).unwrap();
        prop_assert_eq!((challenge.request_id, challenge.content_id), (new.request_id, new.content_id));
    }
}
