//! A model of the ledger, which computes every answer by going through all sessions ever opened. The ledger's tests
//! compare both.

use std::collections::HashSet;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Beat(usize),
    Close(usize),
    Kill(usize),
    KillAccount(u8),
    KillDevice(u8),
    Move(usize, u8),
    Open(Wish),
    Pass(u64),
    Sweep,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Wish {
    account: String,
    content_group: Option<String>,
    device: String,
    device_group: Option<String>,
}

impl Wish {
    fn claim(&self) -> LedgerClaim<'_> {
        LedgerClaim {
            account: &self.account,
            content: "c",
            content_group: self.content_group.as_deref(),
            device: &self.device,
            device_group: self.device_group.as_deref(),
        }
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    (0..3u8, 0..4u8, prop::option::of(0..2u8), prop::option::of(0..2u8)).prop_map(|(account, device, content, kind)| {
        Wish {
            account: format!("a{account}"),
            content_group: content.map(|group| format!("g{group}")),
            device: format!("d{device}"),
            device_group: kind.map(|group| format!("g{group}")),
        }
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => wish().prop_map(Act::Open),
        4 => (0..20usize).prop_map(Act::Beat),
        2 => (0..20usize).prop_map(Act::Close),
        1 => (0..20usize).prop_map(Act::Kill),
        1 => (0..3u8).prop_map(Act::KillAccount),
        1 => (0..4u8).prop_map(Act::KillDevice),
        2 => (0..20usize, 0..4u8).prop_map(|(which, device)| Act::Move(which, device)),
        3 => (0..9_000u64).prop_map(Act::Pass),
        1 => Just(Act::Sweep),
    ]
}

struct Believed {
    end: Option<SlotEnding>,
    slot: SlotNumber,
    until: Instant,
    wish: Wish,
}

/// A kept place: `wish` is that of its former session, except for the device.
struct Kept {
    until: Instant,
    wish: Wish,
}

struct Model {
    kept: Vec<Kept>,
    now: Instant,
    rules: SlotLimits,
    sessions: Vec<Believed>,
}

const KEEP: Duration = Duration::from_secs(15);

type Scope<'a> = Box<dyn Fn(&Wish) -> bool + 'a>;

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        self.sessions
            .iter_mut()
            .filter(|s| s.end.is_none() && s.until < now)
            .for_each(|s| s.end = Some(SlotEnding::Expire));
        self.kept.retain(|kept| kept.until >= now);
    }

    fn kill(&mut self, of: impl Fn(&Wish) -> bool) -> usize {
        let live = self.sessions.iter_mut().filter(|s| s.end.is_none() && of(&s.wish));
        live.map(|s| s.end = Some(SlotEnding::Kill(KillCause::Order))).count()
    }

    fn act(&mut self, ledger: &mut SlotLedger, act: &Act) {
        match act {
            Act::Beat(which) => self.beat(ledger, *which),
            Act::Close(which) => self.end(ledger, *which, SlotEnding::Close),
            Act::Kill(which) => self.end(ledger, *which, SlotEnding::Kill(KillCause::Order)),
            Act::KillAccount(account) => {
                ledger.sweep(self.now);
                let account = format!("a{account}");
                assert_eq!(ledger.kill_account(&account), self.kill(|wish| wish.account == account));
            }
            Act::KillDevice(device) => {
                ledger.sweep(self.now);
                let device = format!("d{device}");
                assert_eq!(ledger.kill_device(&device), self.kill(|wish| wish.device == device));
            }
            Act::Move(which, device) => self.move_to(ledger, *which, format!("d{device}")),
            Act::Open(wish) => self.open(ledger, wish),
            Act::Pass(milliseconds) => self.now += Duration::from_millis(*milliseconds),
            Act::Sweep => {
                ledger.sweep(self.now);
            }
        }
    }

    fn end(&mut self, ledger: &mut SlotLedger, which: usize, end: SlotEnding) {
        let Some(session) = self.sessions.get_mut(which) else { return };
        ledger.sweep(self.now);
        let ended = if end == SlotEnding::Close { ledger.close(session.slot) } else { ledger.kill(session.slot) };
        assert_eq!(ended, session.end.is_none());
        session.end = session.end.or(Some(end));
    }

    fn beat(&mut self, ledger: &mut SlotLedger, which: usize) {
        let Some(session) = self.sessions.get_mut(which) else { return };
        let expected = match session.end {
            None => Ok(()),
            Some(SlotEnding::Close) => Err(SlotLoss::Unknown),
            Some(SlotEnding::Expire) => Err(SlotLoss::Expired),
            Some(SlotEnding::Kill(cause)) => Err(SlotLoss::Killed(cause)),
        };
        assert_eq!(ledger.beat(self.now, session.slot), expected);
        assert_eq!(ledger.lost(session.slot), expected.err());
        if expected.is_ok() {
            session.until = self.now + self.rules.interval + self.rules.grace;
        }
    }

    fn move_to(&mut self, ledger: &mut SlotLedger, which: usize, device: String) {
        let Some(session) = self.sessions.get_mut(which) else { return };
        assert_eq!(ledger.move_to(self.now, session.slot, &device, KEEP), session.end.is_none());
        if session.end.is_none() {
            session.end = Some(SlotEnding::Kill(KillCause::Move));
            let wish = Wish { device, ..session.wish.clone() };
            self.kept.retain(|kept| (&kept.wish.account, &kept.wish.device) != (&wish.account, &wish.device));
            self.kept.push(Kept { until: self.now + KEEP, wish });
        }
    }

    fn open(&mut self, ledger: &mut SlotLedger, wish: &Wish) {
        let own = |kept: &Kept| kept.wish.account == wish.account && kept.wish.device == wish.device;
        let victims = self.victims(wish, &own);
        let opened = ledger.open(self.now, &wish.claim(), &self.rules);
        assert_eq!(opened.as_ref().ok().map(|(_, ended)| ended), victims.as_ref());
        let Ok((slot, ended)) = opened else { return };
        assert!(self.sessions.iter().all(|s| s.slot != slot), "a slot was granted twice");
        self.kept.retain(|kept| !own(kept));
        for session in self.sessions.iter_mut().filter(|s| ended.contains(&s.slot)) {
            session.end = Some(SlotEnding::Kill(KillCause::Replace));
        }
        let until = self.now + self.rules.interval + self.rules.grace;
        self.sessions.push(Believed { end: None, slot, until, wish: wish.clone() });
    }

    /// Each scope that the wish falls into, with its limit; the narrow ones first.
    fn scopes<'a>(&self, wish: &'a Wish) -> Vec<(u32, Scope<'a>)> {
        let mut scopes: Vec<(u32, Scope<'a>)> = Vec::new();
        let same = |other: &Wish| other.account == wish.account;
        if let (Some(allowed), Some(_)) = (self.rules.per_device_group, &wish.device_group) {
            scopes.push((allowed, Box::new(move |other| same(other) && other.device_group == wish.device_group)));
        }
        if let (Some(allowed), Some(_)) = (self.rules.per_content_group, &wish.content_group) {
            scopes.push((allowed, Box::new(move |other| same(other) && other.content_group == wish.content_group)));
        }
        scopes.push((self.rules.per_account, Box::new(same)));
        scopes
    }

    /// `None` if the wish is refused. `sessions` is in the order of opening.
    fn victims(&self, wish: &Wish, own: &dyn Fn(&Kept) -> bool) -> Option<Vec<SlotNumber>> {
        let mut victims = Vec::new();
        for (allowed, within) in self.scopes(wish) {
            let live = self.sessions.iter().filter(|s| s.end.is_none() && within(&s.wish));
            let live: Vec<_> = live.map(|s| s.slot).filter(|slot| !victims.contains(slot)).collect();
            let kept = self.kept.iter().filter(|kept| !own(kept) && within(&kept.wish)).count();
            let surplus = (live.len() + kept + 1).saturating_sub(allowed as usize);
            let may_end = self.rules.on_limit == OnLimit::EndOldest && allowed > 0;
            if surplus > 0 && (!may_end || live.len() < surplus) {
                return None;
            }
            victims.extend(live.into_iter().take(surplus));
        }
        let of_device = self.sessions.iter().filter(|s| s.end.is_none() && s.wish.device == wish.device).count();
        (of_device < self.rules.per_device.unwrap_or(u32::MAX) as usize).then_some(victims)
    }

    fn agrees(&self, ledger: &SlotLedger) {
        let ends: Vec<_> = ledger.ended().map(|ended| ended.slot).collect();
        assert_eq!(ends.len() as u64, ledger.ended_total());
        assert_eq!(ends.len(), ends.iter().collect::<HashSet<_>>().len(), "a session ended twice");
        assert_eq!(ledger.len() + ends.len(), self.sessions.len(), "a session was lost");
        assert_eq!(ledger.accounts.total(), ledger.len() + ledger.reserved().count());
        assert_eq!(ledger.devices.total(), ledger.len());
        for row in ledger.list().filter(|row| row.until >= self.now) {
            assert!(self.sessions.iter().any(|s| s.slot == row.slot && s.end.is_none() && s.until == row.until));
        }
        let reserved = ledger.reserved().filter(|reserved| reserved.until >= self.now).count();
        assert_eq!(reserved, self.kept.iter().filter(|kept| kept.until >= self.now).count());
        let deadlines = ledger.list().map(|row| row.until).chain(ledger.reserved().map(|kept| kept.until)).min();
        assert!(ledger.due() <= deadlines || deadlines.is_none(), "a session would be swept late");
        self.keeps_every_limit();
    }

    /// Checks without the ledger that no holder exceeds a limit.
    fn keeps_every_limit(&self) {
        let live = || self.sessions.iter().filter(|s| s.end.is_none()).map(|s| &s.wish);
        let all = || live().chain(self.kept.iter().map(|kept| &kept.wish));
        for wish in live() {
            for (allowed, within) in self.scopes(wish) {
                let held = all().filter(|other| within(other)).count();
                assert!(held <= allowed as usize, "{held} held where {allowed} are allowed");
            }
        }
    }
}

fn rules() -> impl Strategy<Value = SlotLimits> {
    let on_limit = prop_oneof![Just(OnLimit::DenyNewest), Just(OnLimit::EndOldest)];
    let few = || prop::option::of(0..3u32);
    (0..4u32, few(), few(), few(), on_limit).prop_map(
        |(per_account, per_device, per_content_group, per_device_group, on_limit)| SlotLimits {
            on_limit,
            per_content_group,
            per_device_group,
            ..limits(per_account, per_device)
        },
    )
}

proptest! {
    #[test]
    fn the_ledger_agrees_with_its_model(acts in prop::collection::vec(act(), 1..120), rules in rules()) {
        let mut ledger = SlotLedger::new(1_000, 1);
        let mut model = Model { kept: Vec::new(), now: base(), rules, sessions: Vec::new() };
        for act in &acts {
            model.expire();
            model.act(&mut ledger, act);
            model.agrees(&ledger);
        }
    }

    #[test]
    fn the_oldest_session_ends(devices in prop::collection::vec(0..5u8, 1..40), allowed in 1..4u32) {
        let (mut ledger, mut now) = (SlotLedger::new(1_000, 1), base());
        let rules = SlotLimits { on_limit: OnLimit::EndOldest, ..limits(allowed, None) };
        let mut playing = std::collections::VecDeque::new();
        for device in devices {
            now += Duration::from_millis(100);
            let (slot, ended) = ledger.open(now, &claim("a", &format!("d{device}")), &rules).unwrap();
            playing.push_back(slot);
            let oldest = (playing.len() > allowed as usize).then(|| playing.pop_front()).flatten();
            prop_assert_eq!(ended, oldest.into_iter().collect::<Vec<_>>());
            prop_assert!(playing.iter().all(|slot| ledger.lost(*slot).is_none()));
        }
    }

    #[test]
    fn a_reservation_is_used_once_or_lapses(waits in 0..120u64, comers in prop::collection::vec(0..3u8, 1..10)) {
        let (mut ledger, now) = (SlotLedger::new(1_000, 1), base());
        let rules = limits(1, None);
        let slot = ledger.grant(now, "a", "old", "c", &rules).unwrap();
        prop_assert!(ledger.move_to(now, slot, "d0", 60 * SECOND));
        let now = now + Duration::from_secs(waits);
        let mut granted = 0;
        for comer in comers {
            let opened = ledger.grant(now, "a", &format!("d{comer}"), "c", &rules);
            let expected = granted == 0 && (comer == 0 || waits > 60);
            prop_assert_eq!(opened.is_ok(), expected);
            granted += u32::from(expected);
        }
        let kept = usize::from(granted == 0 && waits <= 60);
        prop_assert_eq!((ledger.reserved().count(), ledger.len()), (kept, granted as usize));
    }
}
