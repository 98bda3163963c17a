//! The ledger against a model that is too slow to be wrong.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits(per_account: u32, per_device: Option<u32>) -> Limits {
    Limits { grace: 2 * SECOND, interval: 10 * SECOND, per_account, per_device }
}

#[expect(clippy::disallowed_methods, reason = "a base instant for given times")]
fn base() -> Instant {
    Instant::now()
}

#[test]
fn the_account_limit_names_its_holders() {
    let (mut ledger, now) = (Ledger::new(10, 1), base());
    ledger.open(now, "ann", "tv", "news", &limits(2, None)).unwrap();
    ledger.open(now, "ann", "phone", "film", &limits(2, None)).unwrap();
    let Err(Limit::Account { allowed, holders }) = ledger.open(now, "ann", "pad", "film", &limits(2, None)) else {
        panic!("a third session was granted");
    };
    let mut devices: Vec<_> = holders.iter().map(|holder| holder.device.as_str()).collect();
    devices.sort_unstable();
    assert_eq!((allowed, devices), (2, vec!["phone", "tv"]));
    assert!(ledger.open(now, "bob", "pad", "film", &limits(2, None)).is_ok());
}

#[test]
fn the_device_limit_counts_over_accounts() {
    let (mut ledger, now) = (Ledger::new(10, 1), base());
    ledger.open(now, "ann", "tv", "news", &limits(9, Some(1))).unwrap();
    let refused = ledger.open(now, "bob", "tv", "news", &limits(9, Some(1)));
    assert!(matches!(refused, Err(Limit::Device { allowed: 1, .. })));
}

#[test]
fn names_and_places_are_bounded() {
    let (mut ledger, now) = (Ledger::new(1, 1), base());
    let long = "x".repeat(NAME_LONGEST + 1);
    assert_eq!(ledger.open(now, &long, "d", "c", &limits(1, None)), Err(Limit::Name));
    ledger.open(now, "a", "d", "c", &limits(1, None)).unwrap();
    assert_eq!(ledger.open(now, "b", "d", "c", &limits(1, None)), Err(Limit::Full { allowed: 1 }));
}

#[test]
fn a_beat_in_grace_keeps_and_one_after_it_finds_the_session_expired() {
    let (mut ledger, now) = (Ledger::new(10, 1), base());
    let slot = ledger.open(now, "a", "d", "c", &limits(1, None)).unwrap();
    assert_eq!(ledger.beat(now + 12 * SECOND, slot), Ok(()));
    assert_eq!(ledger.beat(now + 24 * SECOND, slot), Ok(()));
    assert_eq!(ledger.beat(now + 37 * SECOND, slot), Err(Lost::Expired));
    assert_eq!(ledger.beat(now + 37 * SECOND, slot), Err(Lost::Expired));
    let ended = ledger.ended().next().unwrap();
    assert_eq!((ended.end, ended.at, ended.beats), (End::Expire, now + 36 * SECOND, 2));
}

#[test]
fn each_end_is_told_apart() {
    let (mut ledger, now) = (Ledger::new(10, 1), base());
    let open = |ledger: &mut Ledger| ledger.open(now, "a", "d", "c", &limits(9, None)).unwrap();
    let (killed, closed) = (open(&mut ledger), open(&mut ledger));
    assert!(ledger.kill(killed) && ledger.close(closed));
    assert_eq!(ledger.beat(now, killed), Err(Lost::Killed));
    assert_eq!(ledger.beat(now, closed), Err(Lost::Unknown));
    assert_eq!(ledger.beat(now, Slot(99)), Err(Lost::Unknown));
}

#[test]
fn an_expired_session_makes_room_without_a_sweep() {
    let (mut ledger, now) = (Ledger::new(10, 1), base());
    ledger.open(now, "a", "d", "c", &limits(1, None)).unwrap();
    assert!(ledger.open(now + 12 * SECOND, "a", "d", "c", &limits(1, None)).is_err());
    assert!(ledger.open(now + 13 * SECOND, "a", "d", "c", &limits(1, None)).is_ok());
}

#[test]
fn an_adopted_slot_counts_and_is_never_granted_again() {
    let (mut ledger, now) = (Ledger::new(10, 5), base());
    ledger.adopt(now, Slot(7), "a", "d", "c", &limits(1, None)).unwrap();
    ledger.adopt(now, Slot(7), "a", "d", "c", &limits(1, None)).unwrap();
    assert_eq!(ledger.len(), 1);
    assert!(ledger.open(now, "a", "d", "c", &limits(1, None)).is_err());
    assert_eq!(ledger.open(now, "b", "d", "c", &limits(1, None)), Ok(Slot(8)));
}

#[test]
fn opening_and_closing_for_ever_keeps_nothing() {
    let (mut ledger, now) = (Ledger::new(10, 1), base());
    for _ in 0..50_000 {
        let slot = ledger.open(now, "a", "d", "c", &limits(1, None)).unwrap();
        ledger.close(slot);
    }
    assert!(ledger.due.len() < 2_000, "{} entries left", ledger.due.len());
    assert_eq!((ledger.accounts.total(), ledger.devices.total(), ledger.ended().count()), (0, 0, 10));
}

#[test]
fn beating_for_ever_keeps_one_entry_each() {
    let (mut ledger, mut now) = (Ledger::new(10, 1), base());
    let slot = ledger.open(now, "a", "d", "c", &limits(1, None)).unwrap();
    for _ in 0..10_000 {
        now += 5 * SECOND;
        ledger.beat(now, slot).unwrap();
        ledger.sweep(now);
    }
    assert_eq!((ledger.due.len(), ledger.len()), (1, 1));
}

#[derive(Clone, Debug)]
enum Act {
    Beat(usize),
    Close(usize),
    Kill(usize),
    KillAccount(u8),
    KillDevice(u8),
    Open(u8, u8),
    Pass(u64),
    Sweep,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3u8, 0..4u8).prop_map(|(account, device)| Act::Open(account, device)),
        4 => (0..20usize).prop_map(Act::Beat),
        2 => (0..20usize).prop_map(Act::Close),
        1 => (0..20usize).prop_map(Act::Kill),
        1 => (0..3u8).prop_map(Act::KillAccount),
        1 => (0..4u8).prop_map(Act::KillDevice),
        3 => (0..9_000u64).prop_map(Act::Pass),
        1 => Just(Act::Sweep),
    ]
}

struct Believed {
    account: String,
    device: String,
    end: Option<End>,
    slot: Slot,
    until: Instant,
}

/// Everything that the ledger promises, computed by going through all sessions ever opened.
struct Model {
    now: Instant,
    rules: Limits,
    sessions: Vec<Believed>,
}

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        self.sessions.iter_mut().filter(|s| s.end.is_none() && s.until < now).for_each(|s| s.end = Some(End::Expire));
    }

    fn live(&self, of: impl Fn(&Believed) -> bool) -> usize {
        self.sessions.iter().filter(|s| s.end.is_none() && of(s)).count()
    }

    fn kill(&mut self, of: impl Fn(&Believed) -> bool) -> usize {
        self.sessions.iter_mut().filter(|s| s.end.is_none() && of(s)).map(|s| s.end = Some(End::Kill)).count()
    }

    fn act(&mut self, ledger: &mut Ledger, act: &Act) {
        match act {
            Act::Beat(which) => self.beat(ledger, *which),
            Act::Close(which) => {
                let Some(session) = self.sessions.get_mut(*which) else { return };
                ledger.sweep(self.now);
                assert_eq!(ledger.close(session.slot), session.end.is_none());
                session.end = session.end.or(Some(End::Close));
            }
            Act::Kill(which) => {
                let Some(session) = self.sessions.get_mut(*which) else { return };
                ledger.sweep(self.now);
                assert_eq!(ledger.kill(session.slot), session.end.is_none());
                session.end = session.end.or(Some(End::Kill));
            }
            Act::KillAccount(account) => {
                ledger.sweep(self.now);
                let account = format!("a{account}");
                assert_eq!(ledger.kill_account(&account), self.kill(|s| s.account == account));
            }
            Act::KillDevice(device) => {
                ledger.sweep(self.now);
                let device = format!("d{device}");
                assert_eq!(ledger.kill_device(&device), self.kill(|s| s.device == device));
            }
            Act::Open(account, device) => self.open(ledger, format!("a{account}"), format!("d{device}")),
            Act::Pass(milliseconds) => self.now += Duration::from_millis(*milliseconds),
            Act::Sweep => {
                ledger.sweep(self.now);
            }
        }
    }

    fn beat(&mut self, ledger: &mut Ledger, which: usize) {
        let Some(session) = self.sessions.get_mut(which) else { return };
        let expected = match session.end {
            None => Ok(()),
            Some(End::Close) => Err(Lost::Unknown),
            Some(End::Expire) => Err(Lost::Expired),
            Some(End::Kill) => Err(Lost::Killed),
        };
        assert_eq!(ledger.beat(self.now, session.slot), expected);
        if expected.is_ok() {
            session.until = self.now + self.rules.interval + self.rules.grace;
        }
    }

    fn open(&mut self, ledger: &mut Ledger, account: String, device: String) {
        let room = self.live(|s| s.account == account) < self.rules.per_account as usize
            && self.live(|s| s.device == device) < self.rules.per_device.unwrap_or(u32::MAX) as usize;
        let opened = ledger.open(self.now, &account, &device, "c", &self.rules);
        assert_eq!(opened.is_ok(), room);
        if let Ok(slot) = opened {
            assert!(self.sessions.iter().all(|s| s.slot != slot), "a slot was granted twice");
            let until = self.now + self.rules.interval + self.rules.grace;
            self.sessions.push(Believed { account, device, end: None, slot, until });
        }
    }

    fn agrees(&self, ledger: &Ledger) {
        let ends: Vec<_> = ledger.ended().map(|ended| ended.slot).collect();
        assert_eq!(ends.len() as u64, ledger.ended_total());
        assert_eq!(ends.len(), ends.iter().collect::<std::collections::HashSet<_>>().len(), "a session ended twice");
        assert_eq!(ledger.len() + ends.len(), self.sessions.len(), "a session was lost");
        assert_eq!(ledger.accounts.total(), ledger.len());
        assert_eq!(ledger.devices.total(), ledger.len());
        for row in ledger.list().filter(|row| row.until >= self.now) {
            assert!(self.sessions.iter().any(|s| s.slot == row.slot && s.end.is_none() && s.until == row.until));
        }
        let deadlines = ledger.list().map(|row| row.until).min();
        assert!(ledger.due() <= deadlines || deadlines.is_none(), "a session would be swept late");
    }
}

proptest! {
    #[test]
    fn the_ledger_agrees_with_its_model(
        acts in prop::collection::vec(act(), 1..120), per_account in 0..4u32, per_device in prop::option::of(0..3u32)
    ) {
        let mut ledger = Ledger::new(1_000, 1);
        let mut model = Model { now: base(), rules: limits(per_account, per_device), sessions: Vec::new() };
        for act in &acts {
            model.expire();
            model.act(&mut ledger, act);
            model.agrees(&ledger);
        }
    }
}
