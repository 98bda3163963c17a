//! Tests of the ledger against a model that is slow and simple.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits(per_account: u32, per_device: Option<u32>) -> SlotLimits {
    SlotLimits {
        grace: 2 * SECOND,
        interval: 10 * SECOND,
        on_limit: OnLimit::DenyNewest,
        per_account,
        per_content_group: None,
        per_device,
        per_device_group: None,
    }
}

fn claim<'a>(account: &'a str, device: &'a str) -> LedgerClaim<'a> {
    LedgerClaim { account, content: "c", content_group: None, device, device_group: None }
}

impl SlotLedger {
    fn grant(
        &mut self,
        now: Instant,
        account: &str,
        device: &str,
        content: &str,
        limits: &SlotLimits,
    ) -> Result<SlotNumber, LimitReached> {
        self.open(now, &LedgerClaim { content, ..claim(account, device) }, limits).map(|(slot, _)| slot)
    }
}

#[expect(clippy::disallowed_methods, reason = "a base instant for given times")]
fn base() -> Instant {
    Instant::now()
}

#[test]
fn the_account_limit_names_its_holders() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    ledger.grant(now, "ann", "tv", "news", &limits(2, None)).unwrap();
    ledger.grant(now, "ann", "phone", "film", &limits(2, None)).unwrap();
    let Err(LimitReached::Account { allowed, holders }) = ledger.grant(now, "ann", "pad", "film", &limits(2, None))
    else {
        panic!("a third session was granted");
    };
    let mut devices: Vec<_> = holders.iter().map(|holder| holder.device.as_str()).collect();
    devices.sort_unstable();
    assert_eq!((allowed, devices), (2, vec!["phone", "tv"]));
    assert!(ledger.grant(now, "bob", "pad", "film", &limits(2, None)).is_ok());
}

#[test]
fn no_slot_is_kept_for_a_denied_device() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let slot = ledger.grant(now, "ann", "phone", "film", &limits(1, None)).unwrap();
    assert!(ledger.move_to(now, slot, "tv", 60 * SECOND));
    assert!(ledger.grant(now, "ann", "pad", "film", &limits(1, None)).is_err(), "it is kept for the tv");
    assert_eq!(ledger.turn_out(|_, device| device == "tv"), 0);
    assert!(ledger.grant(now, "ann", "pad", "film", &limits(1, None)).is_ok());
}

#[test]
fn the_device_limit_counts_over_accounts() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    ledger.grant(now, "ann", "tv", "news", &limits(9, Some(1))).unwrap();
    let refused = ledger.grant(now, "bob", "tv", "news", &limits(9, Some(1)));
    assert!(matches!(refused, Err(LimitReached::Device { allowed: 1, .. })));
}

#[test]
fn names_and_places_are_bounded() {
    let (mut ledger, now) = (SlotLedger::new(1, 1), base());
    let long = "x".repeat(MAX_LEDGER_NAME_BYTES + 1);
    assert_eq!(ledger.grant(now, &long, "d", "c", &limits(1, None)), Err(LimitReached::Name));
    ledger.grant(now, "a", "d", "c", &limits(1, None)).unwrap();
    assert_eq!(ledger.grant(now, "b", "d", "c", &limits(1, None)), Err(LimitReached::Full { allowed: 1 }));
}

#[test]
fn a_beat_in_grace_keeps_and_one_after_it_finds_the_session_expired() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let slot = ledger.grant(now, "a", "d", "c", &limits(1, None)).unwrap();
    assert_eq!(ledger.beat(now + 12 * SECOND, slot), Ok(()));
    assert_eq!(ledger.beat(now + 24 * SECOND, slot), Ok(()));
    assert_eq!(ledger.beat(now + 37 * SECOND, slot), Err(SlotLoss::Expired));
    assert_eq!(ledger.beat(now + 37 * SECOND, slot), Err(SlotLoss::Expired));
    let ended = ledger.ended().next().unwrap();
    assert_eq!((ended.end, ended.at, ended.beats), (SlotEnding::Expire, now + 36 * SECOND, 2));
}

#[test]
fn a_beat_is_refused_differently_after_a_kill_and_after_a_close() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let open = |ledger: &mut SlotLedger| ledger.grant(now, "a", "d", "c", &limits(9, None)).unwrap();
    let (killed, closed) = (open(&mut ledger), open(&mut ledger));
    assert!(ledger.kill(killed) && ledger.close(closed));
    assert_eq!(ledger.beat(now, killed), Err(SlotLoss::Killed(KillCause::Order)));
    assert_eq!(ledger.beat(now, closed), Err(SlotLoss::Unknown));
    assert_eq!(ledger.beat(now, SlotNumber(99)), Err(SlotLoss::Unknown));
}

#[test]
fn an_expired_session_makes_room_without_a_sweep() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    ledger.grant(now, "a", "d", "c", &limits(1, None)).unwrap();
    assert!(ledger.grant(now + 12 * SECOND, "a", "d", "c", &limits(1, None)).is_err());
    assert!(ledger.grant(now + 13 * SECOND, "a", "d", "c", &limits(1, None)).is_ok());
}

#[test]
fn an_adopted_slot_counts_and_is_never_granted_again() {
    let (mut ledger, now) = (SlotLedger::new(10, 5), base());
    ledger.adopt(now, SlotNumber(7), &claim("a", "d"), &limits(1, None)).unwrap();
    ledger.adopt(now, SlotNumber(7), &claim("a", "d"), &limits(1, None)).unwrap();
    assert_eq!(ledger.len(), 1);
    assert!(ledger.grant(now, "a", "d", "c", &limits(1, None)).is_err());
    assert_eq!(ledger.grant(now, "b", "d", "c", &limits(1, None)), Ok(SlotNumber(8)));
}

#[test]
fn opening_and_closing_for_ever_keeps_nothing() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    for _ in 0..50_000 {
        let slot = ledger.grant(now, "a", "d", "c", &limits(1, None)).unwrap();
        ledger.close(slot);
    }
    assert!(ledger.due.len() < 2_000, "{} entries left", ledger.due.len());
    assert_eq!((ledger.accounts.total(), ledger.devices.total(), ledger.ended().count()), (0, 0, 10));
}

#[test]
fn endless_beats_keep_one_entry_per_session() {
    let (mut ledger, mut now) = (SlotLedger::new(10, 1), base());
    let slot = ledger.grant(now, "a", "d", "c", &limits(1, None)).unwrap();
    for _ in 0..10_000 {
        now += 5 * SECOND;
        ledger.beat(now, slot).unwrap();
        ledger.sweep(now);
    }
    assert_eq!((ledger.due.len(), ledger.len()), (1, 1));
}

#[test]
fn a_group_of_devices_has_a_limit_of_its_own() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let rules = SlotLimits { per_device_group: Some(1), per_content_group: Some(2), ..limits(9, None) };
    let tv = |device| LedgerClaim { device_group: Some("tv"), ..claim("ann", device) };
    ledger.open(now, &tv("tv-1"), &rules).unwrap();
    let Err(LimitReached::DeviceGroup { allowed: 1, holders }) = ledger.open(now, &tv("tv-2"), &rules) else {
        panic!("a second television was granted");
    };
    assert_eq!(holders[0].device, "tv-1");
    assert!(
        ledger.open(now, &LedgerClaim { account: "bob", ..tv("tv-2") }, &rules).is_ok(),
        "counted within the account"
    );
    assert!(ledger.open(now, &LedgerClaim { device_group: Some("phone"), ..claim("ann", "p") }, &rules).is_ok());
    assert!(ledger.open(now, &claim("ann", "q"), &rules).is_ok(), "in no group");
    let sport = |device| LedgerClaim { content_group: Some("tv"), ..claim("ann", device) };
    assert!(ledger.open(now, &sport("r"), &rules).is_ok(), "a content group is no device group");
    assert!(ledger.open(now, &sport("s"), &rules).is_ok());
    assert!(matches!(ledger.open(now, &sport("t"), &rules), Err(LimitReached::ContentGroup { allowed: 2, .. })));
}

#[test]
fn the_oldest_session_gives_way_and_learns_the_reason() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let rules = SlotLimits { on_limit: OnLimit::EndOldest, ..limits(2, None) };
    let oldest = ledger.grant(now, "ann", "tv", "c", &rules).unwrap();
    let other = ledger.grant(now + SECOND, "bob", "tv", "c", &rules).unwrap();
    let newer = ledger.grant(now + 2 * SECOND, "ann", "pad", "c", &rules).unwrap();
    ledger.beat(now + 3 * SECOND, oldest).unwrap();
    let (_, ended) = ledger.open(now + 4 * SECOND, &claim("ann", "phone"), &rules).unwrap();
    assert_eq!(ended, [oldest]);
    assert_eq!(ledger.lost(oldest), Some(SlotLoss::Killed(KillCause::Replace)));
    assert_eq!(ledger.beat(now + 4 * SECOND, oldest), Err(SlotLoss::Killed(KillCause::Replace)));
    assert_eq!(SlotLoss::Killed(KillCause::Replace).to_string(), "another device plays now");
    assert_eq!((ledger.lost(newer), ledger.lost(other)), (None, None));
}

#[test]
fn a_session_that_ends_for_a_group_makes_room_in_the_account_too() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let rules = SlotLimits { on_limit: OnLimit::EndOldest, per_device_group: Some(1), ..limits(2, None) };
    let phone = |device| LedgerClaim { device_group: Some("phone"), ..claim("ann", device) };
    let tv = ledger.grant(now, "ann", "tv", "c", &rules).unwrap();
    let (first, _) = ledger.open(now, &phone("p1"), &rules).unwrap();
    let (_, ended) = ledger.open(now, &phone("p2"), &rules).unwrap();
    assert_eq!((ended, ledger.lost(tv)), (vec![first], None));
}

#[test]
fn a_refused_session_ends_no_other() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let rules = SlotLimits {
        on_limit: OnLimit::EndOldest,
        per_content_group: Some(0),
        per_device_group: Some(1),
        ..limits(1, None)
    };
    let tv = |device| LedgerClaim { device_group: Some("tv"), ..claim("ann", device) };
    ledger.open(now, &tv("tv-1"), &rules).unwrap();
    let refused = ledger.open(now, &LedgerClaim { content_group: Some("sport"), ..tv("tv-2") }, &rules);
    assert!(matches!(refused, Err(LimitReached::ContentGroup { allowed: 0, .. })));
    assert_eq!((ledger.len(), ledger.ended_total()), (1, 0));
}

#[test]
fn a_moved_place_waits_for_its_device() {
    for on_limit in [OnLimit::DenyNewest, OnLimit::EndOldest] {
        let (mut ledger, now) = (SlotLedger::new(10, 1), base());
        let rules = SlotLimits { on_limit, ..limits(1, None) };
        let slot = ledger.grant(now, "ann", "tv", "c", &rules).unwrap();
        assert!(ledger.move_to(now, slot, "pad", 60 * SECOND));
        assert!(!ledger.move_to(now, slot, "pad", 60 * SECOND), "it is gone");
        assert_eq!(ledger.beat(now, slot), Err(SlotLoss::Killed(KillCause::Move)));
        assert!(ledger.grant(now, "ann", "phone", "c", &rules).is_err(), "the place is kept");
        assert!(ledger.grant(now, "bob", "pad", "c", &rules).is_ok(), "another account's");
        assert_eq!(ledger.reserved().count(), 1);
        assert!(ledger.grant(now + 60 * SECOND, "ann", "pad", "c", &rules).is_ok());
        assert_eq!(ledger.reserved().count(), 0, "used once");
    }
}

#[test]
fn a_reservation_lapses() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let slot = ledger.grant(now, "ann", "tv", "c", &limits(1, None)).unwrap();
    assert!(ledger.move_to(now, slot, "pad", 60 * SECOND));
    assert!(ledger.grant(now + 60 * SECOND, "ann", "tv", "c", &limits(1, None)).is_err());
    assert!(ledger.grant(now + 61 * SECOND, "ann", "tv", "c", &limits(1, None)).is_ok());
    assert_eq!((ledger.reserved().count(), ledger.accounts.total()), (0, 1));
}

#[test]
fn moving_for_ever_keeps_nothing() {
    let (mut ledger, mut now) = (SlotLedger::new(10, 1), base());
    let rules = limits(1, None);
    for turn in 0..10_000u32 {
        now += Duration::from_micros(1);
        let (here, there) = if turn % 2 == 0 { ("tv", "pad") } else { ("pad", "tv") };
        let slot = ledger.grant(now, "ann", here, "c", &rules).unwrap();
        assert!(ledger.move_to(now, slot, there, 60 * SECOND));
    }
    assert_eq!((ledger.len(), ledger.reserved().count(), ledger.accounts.total()), (0, 1, 1));
    assert!(ledger.due.len() < 2_000, "{} entries left", ledger.due.len());
}

mod model;

/// The records of a ledger's changes, as its owner writes them.
#[derive(Default)]
struct Written(std::collections::BTreeMap<u64, super::SlotRecord>);

impl Written {
    fn follow(&mut self, ledger: &mut SlotLedger, at: &crate::time::ClockMoment) {
        for slot in ledger.take_changed() {
            match ledger.record(slot, &"own".into(), at) {
                Some(record) => drop(self.0.insert(slot.0, record)),
                None => drop(self.0.remove(&slot.0)),
            }
        }
    }
}

#[test]
fn places_and_kills_outlive_a_restart() {
    let mut at = crate::time::testing::Clock.moment();
    let limits = SlotLimits {
        grace: Duration::from_secs(10),
        interval: Duration::from_secs(30),
        on_limit: OnLimit::DenyNewest,
        per_account: 3,
        per_content_group: Some(1),
        per_device: None,
        per_device_group: None,
    };
    let claim =
        |device, group| LedgerClaim { account: "ann", content: "c", content_group: group, device, device_group: None };
    let (mut ledger, mut written) = (SlotLedger::new(10, 1), Written::default());
    ledger.track();
    let (held, _) = ledger.open(at.now, &claim("tv", Some("hd")), &limits).unwrap();
    let (killed, _) = ledger.open(at.now, &claim("phone", None), &limits).unwrap();
    let (moved, _) = ledger.open(at.now, &claim("box", None), &limits).unwrap();
    let (closed, _) = {
        ledger.kill(killed);
        ledger.open(at.now, &claim("pad", None), &limits).unwrap()
    };
    ledger.close(closed);
    assert!(ledger.move_to(at.now, moved, "tablet", Duration::from_secs(60)));
    written.follow(&mut ledger, &at);
    assert_eq!(written.0.keys().copied().collect::<Vec<_>>(), [held.0, killed.0, moved.0]);

    // Twenty seconds later, without beats meanwhile.
    at.now += Duration::from_secs(20);
    at.wall += Duration::from_secs(20);
    let mut next = SlotLedger::new(10, 1);
    next.track();
    for record in written.0.values() {
        next.restore(record, limits.interval + limits.grace, &at);
    }
    assert_eq!(next.len(), 1);
    assert!(matches!(next.open(at.now, &claim("other", Some("hd")), &limits), Err(LimitReached::ContentGroup { .. })));
    let (fresh, _) = next.open(at.now, &claim("other", None), &limits).unwrap();
    assert!(fresh > moved, "no slot is given twice");
    assert!(
        matches!(next.open(at.now, &claim("more", None), &limits), Err(LimitReached::Account { .. })),
        "one is kept"
    );
    assert_eq!(next.beat(at.now, killed), Err(SlotLoss::Killed(KillCause::Order)));
    assert_eq!(next.beat(at.now, moved), Err(SlotLoss::Killed(KillCause::Move)));
    assert_eq!(next.beat(at.now + Duration::from_secs(39), held), Ok(()), "a whole lifetime to beat again");
    assert!(next.open(at.now, &claim("tablet", None), &limits).is_ok(), "the kept place is its own");
    // The reservation is used up; only the kill is still recorded.
    let mut after = Written(written.0);
    after.follow(&mut next, &at);
    assert!(after.0[&moved.0].kept.is_none() && after.0[&moved.0].ended.is_some());
}

#[test]
fn no_session_gives_way_to_a_provisional_one_before_it_is_confirmed() {
    let (mut ledger, now) = (SlotLedger::new(10, 1), base());
    let rules = SlotLimits { on_limit: OnLimit::EndOldest, ..limits(1, None) };
    let tv = ledger.grant(now, "ann", "tv", "c", &rules).unwrap();
    let [phone, pad] = ["phone", "pad"].map(|device| ledger.reserve(now + SECOND, &claim("ann", device), None, &rules));
    let (phone, pad) = (phone.unwrap(), pad.unwrap());
    assert_eq!((ledger.lost(tv), ledger.len()), (None, 3));
    // The first is given up, and leaves no trace; the other is confirmed, and takes the place.
    assert!(ledger.close(phone));
    assert_eq!(ledger.lost(tv), None);
    assert_eq!(ledger.confirm(pad, &rules), [tv]);
    assert_eq!(ledger.lost(tv), Some(SlotLoss::Killed(KillCause::Replace)));
    assert_eq!((ledger.confirm(pad, &rules), ledger.confirm(phone, &rules)), (vec![], vec![]), "once");
    assert_eq!(ledger.len(), 1);
}

#[test]
fn provisional_sessions_hold_their_places_against_each_other() {
    let (mut ledger, now, rules) = (SlotLedger::new(10, 1), base(), limits(1, None));
    let thief = ledger.reserve(now, &claim("ann", "thief"), None, &rules).unwrap();
    assert!(ledger.reserve(now, &claim("ann", "tv"), None, &rules).is_err());
    assert!(ledger.close(thief));
    let tv = ledger.reserve(now, &claim("ann", "tv"), None, &rules).unwrap();
    assert_eq!(ledger.confirm(tv, &rules), []);
    // A session that never beats expires like any other.
    assert_eq!(ledger.sweep(now + 60 * SECOND), 1);
}

#[test]
fn a_reservation_returns_when_its_provisional_session_is_given_up() {
    let (mut ledger, now, rules) = (SlotLedger::new(10, 1), base(), limits(1, None));
    let tv = ledger.grant(now, "ann", "tv", "c", &rules).unwrap();
    assert!(ledger.move_to(now, tv, "phone", 60 * SECOND));
    let forged = ledger.reserve(now, &claim("ann", "phone"), None, &rules).unwrap();
    assert_eq!(ledger.reserved().count(), 0);
    assert!(ledger.close(forged));
    assert_eq!(ledger.reserved().map(|kept| kept.device.to_owned()).collect::<Vec<_>>(), ["phone"]);
    let phone = ledger.reserve(now, &claim("ann", "phone"), None, &rules).unwrap();
    ledger.confirm(phone, &rules);
    assert!(ledger.close(phone) && ledger.reserved().count() == 0, "used up");
}

proptest! {
    /// In any order of requests, confirmations and closes, the confirmed sessions never exceed the limit, and only a
    /// confirmation ends another session.
    #[test]
    fn confirmed_sessions_never_exceed_the_limit(acts in prop::collection::vec((0..3u8, 0..6usize), 1..60), ends in any::<bool>()) {
        let on_limit = if ends { OnLimit::EndOldest } else { OnLimit::DenyNewest };
        let (mut ledger, now) = (SlotLedger::new(100, 1), base());
        let rules = SlotLimits { on_limit, ..limits(2, None) };
        let (mut open, mut confirmed): (Vec<SlotNumber>, Vec<SlotNumber>) = Default::default();
        for (number, (act, which)) in acts.into_iter().enumerate() {
            let at = now + Duration::from_millis(number as u64);
            match act {
                0 => open.extend(ledger.reserve(at, &claim("ann", &format!("d{which}")), None, &rules)),
                1 if !open.is_empty() => {
                    let slot = open.remove(which % open.len());
                    let ended = ledger.confirm(slot, &rules);
                    confirmed.push(slot);
                    confirmed.retain(|slot| !ended.contains(slot));
                }
                _ if !open.is_empty() => prop_assert!(ledger.close(open.remove(which % open.len()))),
                _ => {}
            }
            prop_assert!(confirmed.len() <= 2);
            prop_assert!(confirmed.iter().chain(&open).all(|slot| ledger.lost(*slot).is_none()));
            prop_assert_eq!(ledger.len(), confirmed.len() + open.len());
        }
    }
}

#[test]
fn a_preload_counts_only_with_the_playback_of_its_own_device() {
    for on_limit in [OnLimit::DenyNewest, OnLimit::EndOldest] {
        let (mut ledger, now) = (SlotLedger::new(100, 1), base());
        let rules = SlotLimits { on_limit, ..limits(1, None) };
        let film = ledger.reserve(now, &claim("ann", "tv"), None, &rules).unwrap();
        ledger.confirm(film, &rules);
        // A session of another device is not beside it.
        let stranger = ledger.reserve(now, &claim("ann", "pad"), Some(film), &rules);
        assert_eq!(stranger.is_ok(), on_limit == OnLimit::EndOldest);
        stranger.into_iter().for_each(|slot| assert!(ledger.close(slot)));
        let preload = ledger.reserve(now, &claim("ann", "tv"), Some(film), &rules).unwrap();
        assert!(ledger.confirm(preload, &rules).is_empty());
        assert_eq!((ledger.lost(film), ledger.lost(preload)), (None, None));
        if on_limit == OnLimit::EndOldest {
            // Both end for the session that takes their place.
            let pad = ledger.reserve(now, &claim("ann", "pad"), None, &rules).unwrap();
            assert_eq!(ledger.confirm(pad, &rules).len(), 2);
        } else {
            // Without the film it counts by itself.
            assert!(ledger.close(film));
            assert!(ledger.reserve(now, &claim("ann", "pad"), None, &rules).is_err());
            assert!(ledger.close(preload));
            assert!(ledger.reserve(now, &claim("ann", "pad"), None, &rules).is_ok());
        }
    }
}
