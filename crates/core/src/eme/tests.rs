use super::*;
use crate::drm::{KeyIds, LicenseLease, Validity};

const WALL: Duration = Duration::from_secs(1_000_000);

fn keys(ids: &[u8]) -> KeyIds {
    let mut keys = KeyIds::default();
    ids.iter().for_each(|id| keys.insert(&[*id; 16]));
    keys
}

fn message(system: DrmSystem, kind: MessageKind, ids: &[u8]) -> DrmMessage {
    DrmMessage { key_ids: keys(ids), request_id: Some(Fingerprint::new(9)), ..DrmMessage::new(system, kind) }
}

fn statuses(mirror: &Mirror, wall: Duration) -> Vec<KeyStatus> {
    mirror.key_sessions()[0].keys(wall).map(|(_, status)| status).collect()
}

fn types(mirror: &Mirror) -> Vec<(&'static str, u32)> {
    mirror.key_sessions()[0].messages().map(|(kind, seen)| (kind.name(), seen)).collect()
}

#[test]
fn a_widevine_session_is_followed_from_its_request_to_its_release() {
    let mut mirror = Mirror::default();
    let request = message(DrmSystem::Widevine, MessageKind::LicenseRequest, &[1, 2]);
    assert!(mirror.asked(&request).is_some());
    assert_eq!(statuses(&mirror, WALL), [KeyStatus::StatusPending; 2]);
    let lease = LicenseLease { duration_s: 60, ..LicenseLease::default() };
    let license = DrmMessage { lease: Some(lease), ..message(DrmSystem::Widevine, MessageKind::License, &[1, 2]) };
    let told = mirror.answered(&request, &license, WALL).unwrap();
    assert_eq!((told.what, told.count), (EmeChange::Statuses(KeyStatus::Usable), 2));
    assert_eq!(mirror.key_sessions()[0].expiration, Some(WALL + Duration::from_secs(60)));
    assert_eq!(statuses(&mirror, WALL + Duration::from_secs(59)), [KeyStatus::Usable; 2]);
    assert_eq!(statuses(&mirror, WALL + Duration::from_secs(60)), [KeyStatus::Expired; 2]);

    let renewal = message(DrmSystem::Widevine, MessageKind::Renewal, &[]);
    assert!(mirror.asked(&renewal).is_some());
    assert!(mirror.asked(&renewal).is_none(), "the second renewal is no news");
    mirror.answered(&renewal, &license, WALL + Duration::from_secs(50));
    assert_eq!(statuses(&mirror, WALL + Duration::from_secs(109)), [KeyStatus::Usable; 2]);

    let release = message(DrmSystem::Widevine, MessageKind::Release, &[]);
    mirror.asked(&release);
    let told = mirror.released(&release).unwrap();
    assert_eq!(told.what, EmeChange::Closed(ClosedReason::ReleaseAcknowledged));
    assert_eq!(statuses(&mirror, WALL), [KeyStatus::Released; 2]);
    assert_eq!(types(&mirror), [("license-release", 1), ("license-renewal", 2), ("license-request", 1)]);
}

/// The player's own `keyStatuses` say the same, from `remove()` on.
#[test]
fn a_release_message_releases_the_keys_whatever_the_reply() {
    for (answer, closed) in [
        (None, None),
        (Some(MessageKind::Error), None),
        (Some(MessageKind::Other), Some(ClosedReason::ReleaseAcknowledged)),
        (Some(MessageKind::License), Some(ClosedReason::ReleaseAcknowledged)),
    ] {
        let mut mirror = Mirror::default();
        let request = message(DrmSystem::Widevine, MessageKind::LicenseRequest, &[1, 2]);
        mirror.asked(&request);
        mirror.answered(&request, &message(DrmSystem::Widevine, MessageKind::License, &[1, 2]), WALL);
        let release = message(DrmSystem::Widevine, MessageKind::Release, &[]);
        mirror.asked(&release);
        assert_eq!(statuses(&mirror, WALL), [KeyStatus::Released; 2]);
        match answer {
            Some(kind) => drop(mirror.answered(&release, &message(DrmSystem::Widevine, kind, &[]), WALL)),
            None => drop(mirror.failed(&release)),
        }
        assert_eq!(statuses(&mirror, WALL), [KeyStatus::Released; 2], "{answer:?}");
        assert_eq!(mirror.key_sessions()[0].closed, closed, "{answer:?}");
    }
}

#[test]
fn a_playready_license_has_an_expiry_and_a_clearkey_license_has_none() {
    for (system, validity, expected) in [
        (DrmSystem::PlayReady, Some(Validity { end: Some(1_000_060), ..Validity::default() }), Some(1_000_060)),
        (DrmSystem::PlayReady, Some(Validity::default()), None),
        (DrmSystem::ClearKey, None, None),
    ] {
        let mut mirror = Mirror::default();
        let request = message(system, MessageKind::LicenseRequest, &[1]);
        mirror.asked(&request);
        mirror.answered(&request, &DrmMessage { validity, ..message(system, MessageKind::License, &[1]) }, WALL);
        assert_eq!(mirror.key_sessions()[0].expiration, expected.map(Duration::from_secs), "{system}");
        assert_eq!(statuses(&mirror, WALL), [KeyStatus::Usable]);
    }
}

#[test]
fn a_refused_first_license_is_an_error_and_a_refused_renewal_takes_nothing_back() {
    let mut mirror = Mirror::default();
    let request = message(DrmSystem::ClearKey, MessageKind::LicenseRequest, &[1]);
    mirror.asked(&request);
    assert!(mirror.failed(&request).is_some());
    assert_eq!(statuses(&mirror, WALL), [KeyStatus::InternalError]);
    mirror.answered(&request, &message(DrmSystem::ClearKey, MessageKind::License, &[1]), WALL);
    assert!(mirror.failed(&request).is_none());
    assert_eq!(statuses(&mirror, WALL), [KeyStatus::Usable]);
}

#[test]
fn a_license_without_key_ids_serves_the_requested_keys() {
    let mut mirror = Mirror::default();
    let request = message(DrmSystem::FairPlay, MessageKind::LicenseRequest, &[1]);
    mirror.asked(&request);
    mirror.answered(&request, &message(DrmSystem::FairPlay, MessageKind::License, &[]), WALL);
    assert_eq!(statuses(&mirror, WALL), [KeyStatus::Usable]);
}

#[test]
fn every_message_type_has_its_name_in_the_specification() {
    for (kind, name) in [
        (MessageKind::CertificateRequest, Some("license-request")),
        (MessageKind::LicenseRequest, Some("license-request")),
        (MessageKind::Provisioning, Some("individualization-request")),
        (MessageKind::Release, Some("license-release")),
        (MessageKind::Renewal, Some("license-renewal")),
        (MessageKind::Other, None),
        (MessageKind::License, None),
    ] {
        assert_eq!(MessageType::of(kind).map(MessageType::name), name, "{kind}");
    }
}

#[test]
fn memory_is_bounded_and_a_closed_session_is_not_opened_again() {
    let mut mirror = Mirror::default();
    for id in 0..100 {
        mirror.asked(&message(DrmSystem::ClearKey, MessageKind::LicenseRequest, &[id]));
    }
    assert_eq!(mirror.key_sessions().len(), Mirror::MAX_KEY_SESSIONS_MIRRORED);
    mirror.over();
    assert!(mirror.key_sessions().iter().all(|session| session.closed == Some(ClosedReason::ClosedByApplication)));
    mirror.asked(&message(DrmSystem::ClearKey, MessageKind::LicenseRequest, &[99]));
    assert_eq!(mirror.key_sessions().last().map(|session| session.closed), Some(None));
}
