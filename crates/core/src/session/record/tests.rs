//! Tests that a session which is written and read again behaves as if nothing had happened.

use std::time::Duration;

use proptest::prelude::*;

use super::super::confirmation::ConfirmationRecord;
use super::super::end_reason::EndReason;
use super::super::grant::AskKind;
use super::super::player_evidence::EvidenceRecord;
use super::super::player_report::StreamType;
use super::super::program_schedule;
use super::super::state::{Session, SessionClosure, SessionState};
use super::super::unconfirmed_run::UnconfirmedRecord;
use super::*;
use crate::secret::Secret;
use crate::session::{
    AuthorityFault, CallAnswer, CallKind, Device, DeviceEffects, Effect, FarewellSignal, FaultKind, Grant, Input,
    LicenseFeedback, MediaFetch, OpenAbility, PlaybackStart, PlayerCall, PlayerReport, PlayingState, Reason,
    SessionEvent, SessionRefusal, Ticket, Verdict, step,
};
use crate::session::{OnUnreachable, OutageBudget};
use crate::time::testing::Clock;
use crate::time::{MonotonicTime, RecordedSpan};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    Answer(u8),
    Call(CallKind),
    End(EndReason),
    Kill,
    License(u32),
    Media(MediaFetch),
    Pass(u64),
    Report(bool, PlayingState),
    Served(LicenseFeedback),
    Tick,
    Unserved,
    Used,
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..8).prop_map(Step::Answer),
        3 => prop::sample::select(vec![CallKind::License, CallKind::Renewal, CallKind::Certificate]).prop_map(Step::Call),
        1 => prop::sample::select(EndReason::ALL.to_vec()).prop_map(Step::End),
        1 => Just(Step::Kill),
        // No license expires within a test: that would be an end of its own.
        1 => (0u32..200).prop_map(|millions| Step::License(millions * 1_000_000)),
        1 => (any::<bool>(), prop::option::of(any::<bool>())).prop_map(|(again, leads_past)| {
            Step::Media(MediaFetch { again: again.then_some(SECOND), leads_past, segment: true, stream: Some(StreamType::Live) })
        }),
        4 => (1u64..40_000).prop_map(Step::Pass),
        2 => (any::<bool>(), prop::sample::select(vec![PlayingState::Paused, PlayingState::Plays, PlayingState::Unsaid]))
            .prop_map(|(by_interval, playing)| Step::Report(by_interval, playing)),
        2 => prop::sample::select(vec![LicenseFeedback::Plain, LicenseFeedback::Stays, LicenseFeedback::Renews { every: Some(SECOND * 20) }])
            .prop_map(Step::Served),
        4 => Just(Step::Tick),
        1 => Just(Step::Unserved),
        2 => Just(Step::Used),
    ]
}

/// A device with one playback, the time, and the call to the authority that lies open.
struct Life {
    device: Device<()>,
    id: SessionId,
    now: MonotonicTime,
    open: Option<(Ticket, AskKind)>,
    policy: Policy,
    steps: usize,
    tokens: u32,
}

/// More steps than any life needs: a life that waits in vain fails, and does not hang.
const MAX_STEPS: usize = 200_000;

fn license(kind: CallKind) -> PlayerCall {
    PlayerCall {
        content: Some(Fingerprint::new(5)),
        content_token: Some(Fingerprint::new(1)),
        key_session: Some(Fingerprint::new(6)),
        kind,
        opens: OpenAbility::Yes,
        token: Some(Fingerprint::new(1)),
    }
}

/// A policy with credit for some playbacks, or for none.
fn a_policy() -> impl Strategy<Value = Policy> {
    any::<bool>().prop_map(|credit| if credit { on_credit() } else { Policy::default() })
}

fn on_credit() -> Policy {
    let allowed = OutageBudget { live: SECOND * 600, vod: SECOND * 300 };
    Policy { on_unreachable: OnUnreachable { new: allowed, running: allowed }, ..Policy::default() }
}

impl Life {
    fn begin(policy: Policy) -> Self {
        let (mut device, id, now) = (Device::default(), SessionId(7), Clock.now());
        let mut out = DeviceEffects::new();
        let start = || Some(PlaybackStart { account: None, caller: None, entry: (), id, seed: 99 });
        device.call(now, &license(CallKind::License), &policy, start, &mut out);
        let mut life = Self { device, id, now, open: None, policy, steps: 0, tokens: 0 };
        life.look(&out);
        life
    }

    fn look(&mut self, out: &DeviceEffects) {
        for (_, effect) in out {
            if let Effect::Ask(ask) = effect {
                self.open = Some((ask.ticket, ask.kind));
            }
        }
    }

    fn playback(&self) -> Option<&Playback<()>> {
        self.device.playbacks().first()
    }

    fn answer(&mut self, which: u8) -> Option<Input> {
        let (ticket, kind) = self.open.take()?;
        self.tokens += 1;
        let token = Secret::new(format!("token {}", self.tokens));
        let (interval, reason) = (SECOND * 30, Reason::new(403, Some(3002), "no"));
        let result = match (which, kind) {
            (0..4, AskKind::Open) => Ok(Verdict::Granted(Grant { interval, lifetime: Some(SECOND * 90), token })),
            (0..4, AskKind::Beat | AskKind::Renew) => {
                Ok(Verdict::Alive { interval: None, lifetime: Some(SECOND * 90), schedule: None, token: Some(token) })
            }
            (0..4, AskKind::Close) => Ok(Verdict::Closed),
            (4, _) => Ok(Verdict::Killed(reason)),
            (5, _) => Ok(Verdict::Unknown(reason)),
            (_, _) => Err(AuthorityFault { kind: FaultKind::Timeout, reason }),
        };
        Some(Input::Answered(ticket, kind, result))
    }

    fn act(&mut self, step: &Step) -> (Option<CallAnswer>, DeviceEffects) {
        self.steps += 1;
        assert!(
            self.steps < MAX_STEPS,
            "what is waited for never comes: {:?}",
            self.playback().map(|it| it.session.state())
        );
        let mut out = DeviceEffects::new();
        let input = match step {
            Step::Answer(which) => match self.answer(*which) {
                Some(input) => input,
                None => return (None, out),
            },
            Step::Call(kind) => Input::Call(*kind),
            // `GaveWay` is no input of its own: the playback has to show life anew then.
            Step::End(EndReason::GaveWay) => Input::GiveWay,
            Step::End(why) => Input::End(*why),
            Step::License(seconds) => {
                let lasts = (*seconds > 0).then(|| SECOND * *seconds);
                self.device.licensed(self.id, self.now, Fingerprint::new(6), lasts, &self.policy, &mut out);
                self.look(&out);
                return (None, out);
            }
            Step::Media(media) => Input::Media(*media),
            Step::Kill => Input::Kill(Reason::new(403, None, "an operator").into()),
            Step::Pass(ms) => {
                self.now += Duration::from_millis(*ms);
                Input::Tick
            }
            Step::Report(by_interval, playing) => {
                Input::Report(PlayerReport { by_interval: *by_interval, playing: *playing, ..PlayerReport::default() })
            }
            Step::Served(served) => Input::Served(*served),
            Step::Unserved => Input::Unserved,
            Step::Used => Input::Used,
            Step::Tick => {
                let due = self.playback().and_then(|playback| playback.session.deadline());
                self.now = self.now.max(due.unwrap_or(self.now));
                Input::Tick
            }
        };
        let answer = self.device.deliver(self.id, self.now, input, &self.policy, &mut out);
        if let Some(CallAnswer::Renew(_, ticket)) = &answer {
            self.open = Some((*ticket, AskKind::Renew));
        }
        self.look(&out);
        (answer, out)
    }

    /// The next call to the authority is answered so.
    fn answer_next(&mut self, which: u8) {
        while self.open.is_none() {
            self.act(&Step::Tick);
        }
        self.act(&Step::Answer(which));
    }

    /// The next call finds that the authority knows no such session.
    fn find_it_gone(&mut self) {
        self.answer_next(5);
    }

    fn moment(&self) -> ClockMoment {
        ClockMoment { now: self.now.into(), wall: Duration::from_secs(1_900_000_000) }
    }
}

fn through_bytes(record: &PlaybackRecord) -> PlaybackRecord {
    let bytes = serde_json::to_vec(record).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Effects without tickets: they count calls, and one that was cut off is not counted twice.
fn shown(out: &DeviceEffects) -> Vec<String> {
    let show = |(_, effect): &(SessionId, Effect)| match effect {
        Effect::Ask(ask) => format!("{:?} {:?}", ask.kind, ask.grant.as_ref().map(|grant| grant.token.expose())),
        Effect::Displace(_) | Effect::Forget | Effect::Note(_) | Effect::Wake => format!("{effect:?}"),
    };
    out.iter().map(show).collect()
}

/// The facts of a record, except those that every beat and every sign of life moves, and those that no restart uses.
fn worth_a_record(record: &PlaybackRecord) -> PlaybackRecord {
    let mut record = record.clone();
    let session = &mut record.session;
    (session.generation, session.confirmation) = <_>::default();
    (session.evidence.last_call, session.evidence.last_sign) = <_>::default();
    session.lost_close = session.lost_close.map(|(_, tries)| (EpochTime::default(), tries));
    // A restored grant is in doubt.
    session.grant.iter_mut().for_each(|grant| grant.in_doubt = false);
    if session.evidence.usage == DeliveryState::Asked {
        session.evidence.usage = DeliveryState::Got;
    }
    if let Some(reports) = &mut session.evidence.reports {
        (reports.at, reports.gaps, reports.playhead) = <_>::default();
    }
    match &mut session.state {
        StateRecord::Closing { next: moves, .. }
        | StateRecord::Failing { retry: moves, .. }
        | StateRecord::Live { beat: moves }
        | StateRecord::Opening { since: moves } => *moves = EpochTime::default(),
        StateRecord::Closed { .. } | StateRecord::Killed { .. } | StateRecord::Owing { .. } => {}
    }
    record
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A new field of a record needs its part in the stamp, or its line above.
    #[test]
    fn no_fact_for_the_next_process_stays_unwritten(steps in prop::collection::vec(a_step(), 1..40), policy in a_policy()) {
        let mut life = Life::begin(policy);
        let at = life.moment();
        let mut written: Option<(WrittenStamp, PlaybackRecord)> = None;
        for step in &steps {
            life.act(step);
            let Some(playback) = life.playback() else { return Ok(()) };
            let newer = WrittenStamp::of(playback).zip(PlaybackRecord::of(playback, &at));
            if newer.is_none() || written.as_ref().zip(newer.as_ref()).is_none_or(|((old, _), (new, _))| old.is_outdated_by(new)) {
                written.clone_from(&newer);
            }
            let [was, is] = [&written, &newer].map(|of| of.as_ref().map(|(_, record)| worth_a_record(record)));
            prop_assert_eq!(was, is, "after {:?}", step);
        }
    }

    /// After any life, a session that is written without a call in flight and read again answers all inputs like the
    /// one that stayed.
    #[test]
    fn a_restored_session_behaves_like_the_one_that_was_kept(before in prop::collection::vec(a_step(), 0..25), after in prop::collection::vec(a_step(), 1..25), policy in a_policy()) {
        let mut life = Life::begin(policy);
        for step in &before {
            life.act(step);
        }
        // An abandoned call is not restored either: its answer reaches only the process that asked. the input `Restored` decides
        // anew when an owed open is tried again.
        let owes = |session: &Session| matches!(session.state, SessionState::Owing { .. });
        let answered = life.open.is_none();
        let quiet = |session: &Session| answered && session.calls.owes_nothing() && !owes(session);
        let Some(playback) = life.playback().filter(|playback| quiet(&playback.session)) else { return Ok(()) };
        let moment = life.moment();
        let Some(record) = PlaybackRecord::of(playback, &moment) else {
            let session = &playback.session;
            prop_assert!(session.grant().is_none() && !session.is_killed(), "all that may hold a grant is written");
            prop_assert!(matches!(session.state(), SessionState::Closed { why: SessionClosure::Ended(EndReason::Drained) | SessionClosure::Unreachable(_), .. }), "what is over is known");
            return Ok(());
        };
        let mut device = Device::default();
        let mut restored = through_bytes(&record).restore((), &moment, &life.policy);
        restored.session.deadline = playback.session.deadline;
        prop_assert_eq!(&PlaybackRecord::of(&restored, &moment), &Some(record));
        device.adopt_for_test(restored);
        let mut other =
            Life { device, id: life.id, now: life.now, open: life.open, policy: life.policy.clone(), steps: 0, tokens: life.tokens };
        for step in &after {
            let ((one, out), (two, out_two)) = (life.act(step), other.act(step));
            prop_assert_eq!(one, two);
            prop_assert_eq!(shown(&out), shown(&out_two));
            prop_assert_eq!(life.playback().is_some(), other.playback().is_some());
            let deadline = |life: &Life| life.playback().and_then(|playback| playback.session.deadline());
            prop_assert_eq!(deadline(&life), deadline(&other));
        }
    }

    /// At any moment and with any wall clock: no possible grant is forgotten, no session is lost before a beat was
    /// tried, no kill is undone, and due work is spread.
    #[test]
    fn a_restart_loses_and_blames_no_session(steps in prop::collection::vec(a_step(), 0..30), away in -90_000i64..90_000, policy in a_policy()) {
        let mut life = Life::begin(policy);
        for step in &steps {
            life.act(step);
        }
        let Some(playback) = life.playback() else { return Ok(()) };
        let Some(record) = PlaybackRecord::of(playback, &life.moment()) else { return Ok(()) };
        let wall = Duration::from_secs(life.moment().wall.as_secs().saturating_add_signed(away));
        let moment = ClockMoment { now: (life.now + SECOND).into(), wall };
        let mut restored = through_bytes(&record).restore((), &moment, &life.policy);
        let fx = step(&mut restored.session, moment.time(), Input::Restored { orphan: record.session.is_orphan() }, &life.policy);
        let asks: Vec<_> = fx.list.iter().filter_map(|effect| match effect {
            Effect::Ask(ask) => Some(ask.kind),
            Effect::Displace(_) | Effect::Forget | Effect::Note(_) | Effect::Wake => None,
        }).collect();
        let session = &restored.session;
        if record.session.opening {
            prop_assert!(fx.list.contains(&Effect::Note(SessionEvent::Orphaned)), "{:?}", fx.list);
        }
        match (&record.session.state, session.state()) {
            (StateRecord::Live { .. } | StateRecord::Failing { .. }, SessionState::Live { beat, .. }) => {
                prop_assert!(asks.is_empty() && session.grant() == playback.session.grant());
                prop_assert!(*beat <= moment.time() + SECOND * 31, "{:?}", *beat - moment.time());
                // Its next tick sends a beat or is far away: it ends nothing.
                let mut at = session.deadline().unwrap();
                if session.has_nothing() {
                    super::super::step(&mut restored.session, moment.time() + SECOND * 29, Input::Tick, &life.policy);
                    prop_assert!(restored.session.is_active(), "it may ask again");
                } else if record.session.renewals {
                    prop_assert!(at >= moment.time() + SECOND * 60, "a full round of evidence");
                } else {
                    at = at.max(*beat);
                    let fx = super::super::step(&mut restored.session, at, Input::Tick, &life.policy);
                    prop_assert!(fx.list.iter().any(|effect| matches!(effect, Effect::Ask(ask) if ask.kind == AskKind::Beat)));
                }
            }
            (StateRecord::Failing { missed, .. }, SessionState::Failing { missed: still, retry, .. }) => {
                prop_assert!(session.on_credit().is_some() && missed == still && asks.is_empty());
                prop_assert!(*retry <= moment.time() + SECOND * 5 && session.grant() == playback.session.grant());
                // Its next tick sends a beat or is far away: it ends nothing.
                let at = session.deadline().unwrap().max(*retry);
                if record.session.renewals {
                    prop_assert!(at >= moment.time() + SECOND * 40, "a round of its player's");
                } else {
                    super::super::step(&mut restored.session, at, Input::Tick, &life.policy);
                    prop_assert!(restored.session.is_active());
                }
            }
            (StateRecord::Owing { .. }, SessionState::Owing { next, .. }) => {
                prop_assert!(*next <= moment.time() + SECOND * 5 && asks.is_empty());
            }
            (StateRecord::Closing { .. }, SessionState::Closing { release: Some(release), .. }) => {
                prop_assert!(release.tries() == 0 && release.next() <= moment.time() + SECOND);
                prop_assert!(session.grant() == playback.session.grant());
            }
            (StateRecord::Killed { by, .. }, SessionState::Killed { by: still, until, .. }) => {
                prop_assert_eq!(by, &**still);
                prop_assert!(*until <= moment.time() + life.policy.kill_memory);
                prop_assert!(asks.is_empty() && session.grant() == playback.session.grant());
                prop_assert!(session.grant().is_none() || session.deadline().unwrap() <= moment.time() + SECOND);
            }
            (StateRecord::Opening { .. } | StateRecord::Closing { .. }, SessionState::Closed { why, .. }) => {
                prop_assert!(record.session.opening && *why == SessionClosure::Ended(EndReason::Orphaned));
            }
            (StateRecord::Closed { why, .. }, SessionState::Closed { why: still, until }) => {
                let mut known = why.restore(&moment);
                if let SessionClosure::Spent { again, .. } = &mut known {
                    *again = (*again).min(moment.time() + life.policy.undecided_memory());
                }
                prop_assert_eq!(&known, still);
                prop_assert!(*until <= moment.time() + life.policy.kill_memory && fx.list.is_empty(), "{:?}", fx.list);
            }
            (was, is) => prop_assert!(false, "{was:?} became {is:?}"),
        }
    }

    /// Any record is read without a panic, and some tick ends its session.
    #[test]
    fn a_strange_record_does_no_harm(walls in prop::collection::vec(any::<u64>(), 4), interval in any::<u64>(), live in any::<bool>()) {
        let wall = |index: usize| walls.get(index).map(|nanos| EpochTime::from(Duration::from_nanos(*nanos))).unwrap_or_default();
        let token = Secret::new("t");
        let span = || RecordedSpan::from(Duration::from_nanos(interval));
        let record = CoreSessionRecord {
            confirmation: ConfirmationRecord { at: wall(2), slept: span(), took: RecordedSpan::default() },
            every: Some(span()),
            evidence: EvidenceRecord {
                again: live.then(span),
                last_call: wall(1),
                last_sign: wall(3),
                leads_past: true,
                preloads: live,
                reports: None,
                stream: None,
                streams: live,
                usage: DeliveryState::Asked,
            },
            generation: u32::MAX,
            grant: live.then(|| GrantRecord {
                good_until: Some(wall(0)),
                in_doubt: live,
                interval: Duration::from_secs(interval).into(),
                lifetime: None,
                token,
            }),
            lingers: live,
            lost_close: Some((wall(0), 3)),
            opening: false,
            renewals: interval % 2 == 0,
            schedule: (0..4).cycle().take(9).map(|index| (wall(index), program_schedule::StreamTimelineEvent::LiveEventEnd)).collect(),
            seed: u32::MAX,
            shares: (interval % 3 == 0).then(span),
            state: StateRecord::Live { beat: wall(0) },
            unconfirmed: UnconfirmedRecord { reopens_until: Some(wall(2)), since: Some(wall(1)), spent: live },
        };
        let policy = Policy::default();
        let moment = Clock.moment();
        let mut session = record.restore(&moment, &policy);
        step(&mut session, moment.time(), Input::Restored { orphan: false }, &policy);
        let mut now = moment.time();
        for _ in 0..20 {
            now = now.max(session.deadline().unwrap());
            super::super::step(&mut session, now, Input::Tick, &policy);
        }
    }
}

#[test]
fn beats_that_fell_due_are_spread_and_those_to_come_keep_their_time() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    let record = PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap();
    let SessionState::Live { beat, .. } = *life.playback().unwrap().session.state() else { panic!() };
    let resumed = |seed: u32, after: Duration| {
        let moment = ClockMoment { now: (life.now + after).into(), wall: life.moment().wall + after };
        let mut record = record.clone();
        record.session.seed = seed;
        let mut session = record.session.restore(&moment, &life.policy);
        let fx = step(&mut session, moment.time(), Input::Restored { orphan: false }, &life.policy);
        let late = fx.list.iter().any(|effect| matches!(effect, Effect::Note(SessionEvent::BeatLate(_))));
        let SessionState::Live { beat, .. } = *session.state() else { panic!("{session:?}") };
        (beat, late)
    };
    assert_eq!(resumed(99, SECOND), (beat, false));
    let after = SECOND * 35;
    let mut thirds = [0; 3];
    for seed in 0..3000u32 {
        let (beat, late) = resumed(seed.wrapping_mul(0x0123_4567), after);
        let wait = beat - (life.now + after);
        assert!(late && wait < SECOND * 5, "{wait:?}");
        thirds[(wait.as_millis() * 3 / 5000) as usize] += 1;
    }
    assert!(thirds.iter().all(|third| (800..1200).contains(third)), "{thirds:?}");
}

#[test]
fn a_record_matters_as_long_as_it_is_held_or_remembered() {
    let record = |more: &str| -> CoreSessionRecord {
        serde_json::from_str(&format!(
            r#"{{"c":[1000000000,0,0],"g":1,"p":{{"c":1000000000,"s":1000000000}},"d":3,{more}}}"#
        ))
        .unwrap()
    };
    let (grant, reason) = (r#""h":{"i":30000000000,"t":"t"}"#, r#"{"code":403,"error_code":null,"message":"no"}"#);
    let until = |nanos: u64| format!(r#""h":{{"g":{nanos},"i":30000000000,"t":"t"}}"#);
    let hour = 3600;
    for (more, until) in [
        (format!(r#""s":{{"l":{{"b":1}}}},{grant}"#), 31 + hour),
        (format!(r#""s":{{"l":{{"b":1}}}},{}"#, until(86_400_000_000_000_u64)), 1 + 12 * hour),
        (format!(r#""s":{{"l":{{"b":1}}}},{}"#, until(7_200_000_000_000)), 2 * hour),
        (format!(r#""s":{{"Killed":{{"by":{reason},"since":1,"until":9000000000}}}}"#), 9),
        (format!(r#""s":{{"Killed":{{"by":{reason},"since":1,"until":9000000000}}}},{grant}"#), 31 + hour),
        (r#""s":{"Closed":{"until":9000000000,"why":{"Ended":"Stopped"}}}"#.to_owned(), 9),
        (r#""s":{"Opening":{"since":9000000000}},"o":true"#.to_owned(), 0),
    ] {
        assert_eq!(record(&more).matters_until(), SECOND * until, "{more}");
    }
}

#[test]
fn tokens_for_which_a_kill_holds_are_known_after_a_restart() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    let before = WrittenStamp::of(life.playback().unwrap()).unwrap();
    life.device.playback_mut(life.id).unwrap().share_token(Fingerprint::new(77));
    assert!(before.is_outdated_by(&WrittenStamp::of(life.playback().unwrap()).unwrap()), "it is written");
    let record = through_bytes(&PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap());
    let restored = record.restore((), &life.moment(), &life.policy);
    assert_eq!(restored.killed_tokens().collect::<Vec<_>>(), [Fingerprint::new(1), Fingerprint::new(77)]);
}

#[test]
fn a_record_shows_no_token() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    let record = PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap();
    assert!(!format!("{record:?}").contains("token 1"));
    assert!(serde_json::to_string(&record).unwrap().contains("token 1"), "the journal needs it");
}

/// Default values are not written.
#[test]
fn a_missing_field_of_a_record_has_a_default() {
    let bare = r#"{"b":1,"i":2,"s":{"c":[1,0,0],"g":1,"p":{"c":1,"s":1},"d":3,"s":{"Opening":{"since":1}}}}"#;
    let record: PlaybackRecord = serde_json::from_str(bare).unwrap();
    assert!(
        record.session.grant.is_none()
            && record.names.token.is_none()
            && record.session.confirmation.took == RecordedSpan::default()
    );
}

/// The record was written again after the sleep: by the monotonic clock, its last beat was good a moment ago.
#[test]
fn an_expiry_during_a_sleep_is_no_kill_after_a_crash_either() {
    for (slept, reopens) in [(SECOND, true), (SECOND * 3_600, false)] {
        let mut life = Life::begin(Policy::default());
        life.act(&Step::Answer(0));
        let mut out = DeviceEffects::new();
        life.device.deliver(life.id, life.now, Input::Slept(slept), &life.policy, &mut out);
        let mut next = restarted(&life, SECOND);
        next.find_it_gone();
        let session = &next.playback().unwrap().session;
        assert_eq!((session.is_killed(), session.is_active()), (false, reopens), "{slept:?}");
    }
}

/// A machine without a clock of its own comes up with the time at which it was last switched off, or an earlier one.
#[test]
fn an_expiry_during_downtime_is_no_kill_even_if_the_wall_clock_was_set_back() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    let day = SECOND * 86_400;
    let record =
        PlaybackRecord::of(life.playback().unwrap(), &ClockMoment { now: life.now.into(), wall: day * 2 }).unwrap();
    for (wall, reopens) in [(day, false), (day * 2 + SECOND, true), (day * 3, false)] {
        let mut out = DeviceEffects::new();
        let found = ClockMoment { now: (life.now + SECOND * 60).into(), wall };
        (life.device, life.open) = (Device::default(), None);
        life.device.resume(record.restore((), &found, &life.policy), found.time(), false, &life.policy, &mut out);
        life.look(&out);
        life.now = found.time();
        life.find_it_gone();
        let session = &life.playback().unwrap().session;
        assert_eq!((session.is_killed(), session.is_active()), (false, reopens), "{wall:?}");
    }
}

/// It is unknown what was in flight when the process died: the newest token may be lost.
#[test]
fn a_session_that_the_authority_lost_in_a_crash_is_opened_anew_and_a_kill_is_seen_after_its_first_good_beat() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    life.act(&Step::Used);
    let mut lost = restarted(&life, SECOND);
    lost.find_it_gone();
    assert!(matches!(lost.open, Some((_, AskKind::Open))), "{:?}", lost.open);
    let mut well = restarted(&life, SECOND);
    well.answer_next(0);
    well.find_it_gone();
    assert!(well.playback().unwrap().session.is_killed());
}

#[test]
fn a_record_tells_that_an_answer_was_lost_or_that_a_call_was_under_way() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    life.act(&Step::Used);
    let in_doubt = |life: &Life| {
        let record = through_bytes(&PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap());
        record.session.grant.is_some_and(|grant| grant.in_doubt)
    };
    assert!(!in_doubt(&life));
    while life.open.is_none() {
        life.act(&Step::Tick);
    }
    assert!(in_doubt(&life), "a beat is under way");
    life.act(&Step::Answer(7));
    assert!(in_doubt(&life), "it was lost");
    life.answer_next(0);
    assert!(!in_doubt(&life), "the next one brought the newest token");
}

/// A session that waits for its place is found again, and is not on credit: its lost session may still hold the place.
#[test]
fn a_reopening_session_continues_to_do_so_after_a_restart() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    life.act(&Step::Used);
    life.answer_next(7);
    life.find_it_gone();
    let (ticket, kind) = life.open.take().unwrap();
    let denied = Ok(Verdict::Denied(crate::session::Denial::Limit, Reason::new(400, Some(1007), "full")));
    let mut out = DeviceEffects::new();
    life.device.deliver(life.id, life.now, Input::Answered(ticket, kind, denied), &life.policy, &mut out);
    let mut next = restarted(&life, SECOND);
    assert_eq!(next.playback().unwrap().session.on_credit(), None);
    assert_eq!(next.act(&Step::Call(CallKind::License)).0, Some(CallAnswer::Wait));
    next.answer_next(0);
    assert!(matches!(next.playback().unwrap().session.state(), SessionState::Live { .. }));
}

/// The lost session holds its place for as long as the authority lets it, by whatever clock.
#[test]
fn a_reopening_session_waits_no_longer_if_the_wall_clock_was_set_back() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    life.act(&Step::Used);
    life.answer_next(7);
    life.find_it_gone();
    let record = through_bytes(&PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap());
    let held = |session: &Session, now: MonotonicTime| {
        session.unconfirmed.reopens_until().unwrap().saturating_duration_since(now)
    };
    let longest = held(&life.playback().unwrap().session, life.now);
    assert!(longest > SECOND);
    for (by, left) in [(SECOND * 5, longest - SECOND * 5), (Duration::ZERO, longest)] {
        let moment = ClockMoment { now: (life.now + SECOND).into(), wall: life.moment().wall + by };
        let mut session = record.session.restore(&moment, &life.policy);
        step(&mut session, moment.time(), Input::Restored { orphan: false }, &life.policy);
        assert_eq!(held(&session, moment.time()), left);
    }
    let moment = ClockMoment { now: (life.now + SECOND).into(), wall: life.moment().wall - SECOND * 3_600 };
    let mut session = record.session.restore(&moment, &life.policy);
    step(&mut session, moment.time(), Input::Restored { orphan: false }, &life.policy);
    assert_eq!(held(&session, moment.time()), longest, "an hour back");
}

#[test]
fn a_wall_clock_that_was_set_back_makes_no_playback_begin_in_times_to_come() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    let day = SECOND * 86_400;
    let written = ClockMoment { now: life.now.into(), wall: day * 2 };
    let record = PlaybackRecord::of(life.playback().unwrap(), &written).unwrap();
    let found = ClockMoment { now: (life.now + SECOND * 60).into(), wall: day };
    let mut playback = record.restore((), &found, &life.policy);
    playback.names.opened_by(None);
    let (mut device, mut out) = (Device::default(), DeviceEffects::new());
    device.resume(playback, found.time(), false, &life.policy, &mut out);
    assert!(
        !device.playbacks()[0].has_just_begun(found.time() + SECOND * 60),
        "it would take in whatever comes without a token"
    );
}

/// The same as in `device`, after a restart.
#[test]
fn a_playback_that_consecutive_failures_ended_stays_ended_after_a_restart() {
    let mut life = Life::begin(Policy { max_failures: Some(2), ..Policy::default() });
    for step in [Step::Answer(0), Step::End(EndReason::Lost), Step::Answer(0)] {
        life.act(&step);
    }
    let record = through_bytes(&PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap());
    let restored = record.restore((), &life.moment(), &life.policy);
    let (mut device, mut out) = (Device::default(), DeviceEffects::new());
    device.resume(restored, life.now, false, &life.policy, &mut out);
    let later = life.now + life.policy.end_memory + SECOND;
    device.deliver(life.id, later, Input::Tick, &life.policy, &mut out);
    assert_eq!(device.playbacks().len(), 1, "its player may ask for very long");
}

#[test]
fn the_tab_that_a_stop_did_not_name_begins_anew_after_a_restart_too() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    let mut out = DeviceEffects::new();
    let token = Some(Fingerprint::new(1));
    assert!(life.device.leave(life.id, life.now, token, FarewellSignal::Stop, &life.policy, &mut out));
    life.look(&out);
    life.act(&Step::Answer(0));
    let record = through_bytes(&PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap());
    let mut device = Device::default();
    let restored = record.restore((), &life.moment(), &life.policy);
    device.resume(restored, life.now, false, &life.policy, &mut out);
    let mut renew = |token| {
        let call = PlayerCall {
            content_token: Some(Fingerprint::new(token)),
            token: Some(Fingerprint::new(token)),
            ..license(CallKind::Renewal)
        };
        let start = || Some(PlaybackStart { account: None, caller: None, entry: (), id: SessionId(8), seed: 99 });
        device.call(life.now, &call, &life.policy, start, &mut out)
    };
    assert_eq!(renew(1), (Some(life.id), CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Stopped))));
    assert_eq!(renew(2), (Some(SessionId(8)), CallAnswer::Wait));
}

/// The next process has not read the playlist that names the others, and its player may never ask for it again.
#[test]
fn a_bypass_of_the_proxy_is_known_after_a_restart() {
    for leads_past in [false, true] {
        let mut life = Life::begin(Policy::default());
        life.act(&Step::Answer(0));
        let media = |leads_past| {
            Input::Media(MediaFetch {
                again: Some(Duration::ZERO),
                leads_past,
                segment: true,
                stream: Some(StreamType::Live),
            })
        };
        life.device.deliver(life.id, life.now, media(Some(leads_past)), &life.policy, &mut DeviceEffects::new());
        life.act(&Step::Used);
        let mut next = restarted(&life, SECOND);
        next.device.deliver(next.id, next.now, media(None), &next.policy, &mut DeviceEffects::new());
        for _ in 0..20 {
            next.act(&Step::Pass(10_000));
            next.act(&Step::Answer(0));
        }
        assert_eq!(is_active(&next), leads_past);
    }
}

/// A denial is remembered for seconds; an hour more would lock a viewer out.
#[test]
fn an_end_is_not_remembered_longer_if_the_wall_clock_was_set_back() {
    let mut life = Life::begin(Policy::default());
    let (ticket, kind) = life.open.take().unwrap();
    let denied = Ok(Verdict::Denied(crate::session::Denial::Limit, Reason::new(403, None, "full")));
    let mut out = DeviceEffects::new();
    life.device.deliver(life.id, life.now, Input::Answered(ticket, kind, denied), &life.policy, &mut out);
    let day = SECOND * 86_400;
    let record =
        PlaybackRecord::of(life.playback().unwrap(), &ClockMoment { now: life.now.into(), wall: day * 2 }).unwrap();
    let found = ClockMoment { now: (life.now + SECOND).into(), wall: day };
    let restored = through_bytes(&record).restore((), &found, &life.policy);
    let mut device = Device::default();
    device.resume(restored, found.time(), false, &life.policy, &mut out);
    let SessionState::Closed { until, .. } = *device.playbacks()[0].session.state() else { panic!() };
    assert_eq!(until, found.time() + life.policy.refusal_memory);
}

#[test]
fn a_kill_is_remembered_after_a_restart_for_the_rest_of_its_time() {
    for away in [SECOND, SECOND * 600] {
        let mut life = Life::begin(Policy::default());
        life.act(&Step::Answer(0));
        life.act(&Step::Used);
        life.answer_next(4);
        let SessionState::Killed { until, .. } = *life.playback().unwrap().session.state() else { panic!("no kill") };
        assert!(life.now + away < until);
        life.policy.kill_memory *= 2;
        let next = restarted(&life, away);
        let since = next.playback().unwrap().session.killed_since().expect("it is killed");
        assert!((next.now - since).abs_diff(away) <= SECOND, "the kill's own time is another one by today's memory");
        let SessionState::Killed { until: after, .. } = *next.playback().unwrap().session.state() else {
            panic!("forgotten")
        };
        let (left, expected) = (after - next.now, until - life.now - away);
        assert!(left.abs_diff(expected) <= SECOND, "{left:?} of {expected:?}");
    }
}

/// It was on credit, the process died, and its first beat after that finds that the authority has let it expire: it
/// opens another session, as it would have without the restart.
#[test]
fn a_session_on_credit_owes_its_open_after_a_restart() {
    for (before, away, policy, owes) in [
        (120, 20, on_credit(), true),
        // It was failing, and its grant expired while no process ran.
        (35, 60, on_credit(), true),
        (60, 20, Policy::default(), false),
    ] {
        let mut life = Life::begin(policy);
        life.act(&Step::Answer(0));
        life.act(&Step::Used);
        let until = life.now + SECOND * before;
        while life.now < until && life.playback().is_some_and(|playback| playback.session.is_active()) {
            life.act(&if life.open.is_some() { Step::Answer(7) } else { Step::Tick });
        }
        let record = PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap();
        let moment = ClockMoment { now: (life.now + SECOND * away).into(), wall: life.moment().wall + SECOND * away };
        let mut session = through_bytes(&record).session.restore(&moment, &life.policy);
        let fx =
            step(&mut session, moment.time(), Input::Restored { orphan: record.session.is_orphan() }, &life.policy);
        assert_eq!(session.on_credit().is_some(), owes);
        let counted = fx.list.contains(&Effect::Note(SessionEvent::OnCredit { running: true }));
        assert_eq!(counted, owes, "this process settles it, and tells of it");
        if !owes {
            continue;
        }
        let asked = |fx: &crate::session::Effects| {
            fx.list.iter().find_map(|effect| match effect {
                Effect::Ask(ask) => Some((ask.ticket, ask.kind)),
                Effect::Displace(_) | Effect::Forget | Effect::Note(_) | Effect::Wake => None,
            })
        };
        let at = session.deadline().unwrap();
        let fx = super::super::step(&mut session, at, Input::Tick, &life.policy);
        let (ticket, kind) = asked(&fx).unwrap();
        assert_eq!(kind, AskKind::Beat);
        let unknown = Ok(Verdict::Unknown(Reason::new(404, Some(3002), "Not Found")));
        let fx = super::super::step(&mut session, at, Input::Answered(ticket, kind, unknown), &life.policy);
        assert_eq!(asked(&fx).map(|(_, kind)| kind), Some(AskKind::Open), "{:?}", session.state());
    }
}

/// [`Step::Answer`] with a fault and [`Step::Tick`], until then.
fn in_an_outage(life: &mut Life, until: MonotonicTime) {
    while life.now < until && life.playback().is_some_and(|playback| playback.session.is_active()) {
        life.act(&if life.open.is_some() { Step::Answer(7) } else { Step::Tick });
    }
}

/// Written down, found by the next process so much later, and resumed there.
fn restarted(life: &Life, away: Duration) -> Life {
    let record = through_bytes(&PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap());
    let moment = ClockMoment { now: (life.now + away).into(), wall: life.moment().wall + away };
    let (mut device, mut out) = (Device::default(), DeviceEffects::new());
    let restored = record.restore((), &moment, &life.policy);
    device.resume(restored, moment.time(), record.session.is_orphan(), &life.policy, &mut out);
    let (id, now, tokens) = (life.id, moment.time(), life.tokens);
    let mut next = Life { device, id, now, open: None, policy: life.policy.clone(), steps: 0, tokens };
    next.look(&out);
    next
}

fn is_active(life: &Life) -> bool {
    life.playback().is_some_and(|playback| playback.session.is_active())
}

#[test]
fn a_running_session_owes_its_open_on_its_own_budget_after_a_restart() {
    let on_unreachable = OnUnreachable {
        new: OutageBudget { live: SECOND * 30, vod: SECOND * 30 },
        running: OutageBudget { live: SECOND * 600, vod: SECOND * 600 },
    };
    let mut life = Life::begin(Policy { on_unreachable, ..Policy::default() });
    life.act(&Step::Answer(0));
    life.act(&Step::Used);
    // Its token is valid for 90 s.
    let expired = life.now + SECOND * 90;
    in_an_outage(&mut life, expired + SECOND * 60);
    while life.open.is_none() {
        life.act(&Step::Tick);
    }
    life.act(&Step::Answer(5));
    life.act(&Step::Answer(7));
    assert!(matches!(life.playback().unwrap().session.state(), SessionState::Owing { .. }));
    let mut next = restarted(&life, SECOND * 20);
    in_an_outage(&mut next, expired + SECOND * 1_000);
    assert_eq!(next.now - expired, SECOND * 600);
}

/// The authority may have been back for long, without a call to it.
#[test]
fn an_owing_session_is_not_given_up_after_a_restart_before_a_try() {
    let mut life = Life::begin(on_credit());
    life.act(&Step::Answer(7));
    let mut next = restarted(&life, SECOND * 86_400);
    while next.open.is_none() {
        assert!(is_active(&next));
        next.act(&Step::Tick);
    }
    next.act(&Step::Answer(0));
    assert!(matches!(next.playback().unwrap().session.state(), SessionState::Live { .. }));
}

/// The clock was set, or no process ran for as long: no duration over a restart exceeds its maximum.
#[test]
fn no_duration_over_a_restart_exceeds_its_maximum_for_any_wall_clock() {
    let day = 86_400;
    for by in [-10 * day, -day, -3_600, -20, 0, 20, 35, 3_600, day, 10 * day] {
        let mut lives: Vec<_> = (0..4).map(|_| Life::begin(on_credit())).collect();
        lives.iter_mut().take(3).for_each(|life| drop((life.act(&Step::Answer(0)), life.act(&Step::Used))));
        let [_live, killed, failing, owing] = &mut lives[..] else { unreachable!() };
        killed.act(&Step::Kill);
        killed.act(&Step::Answer(0));
        let until = failing.now + SECOND * 60;
        in_an_outage(failing, until);
        let until = owing.now + SECOND * 60;
        in_an_outage(owing, until);
        for life in &lives {
            let record = through_bytes(&PlaybackRecord::of(life.playback().unwrap(), &life.moment()).unwrap());
            let wall = Duration::from_secs(life.moment().wall.as_secs().saturating_add_signed(by));
            let moment = ClockMoment { now: (life.now + SECOND).into(), wall };
            let mut session = record.session.restore(&moment, &life.policy);
            let fx =
                step(&mut session, moment.time(), Input::Restored { orphan: record.session.is_orphan() }, &life.policy);
            let late = fx.list.iter().find_map(|effect| match effect {
                Effect::Note(SessionEvent::BeatLate(late)) => Some(*late),
                _ => None,
            });
            // Only 35 s look like an absence in which its beat fell due: a beat that was not due is not late.
            assert!(late.is_none_or(|late| by == 35 && late <= SECOND * 10), "{by}: {late:?} late");
            let budget = SECOND * 600;
            let owes = session.on_credit().map(|since| moment.time().saturating_duration_since(since));
            assert!(owes.is_none_or(|owes| owes <= budget), "{by}: {owes:?} on credit");
            if let SessionState::Killed { until, .. } = session.state() {
                assert!(*until <= moment.time() + life.policy.kill_memory, "{by}");
            }
            let active = session.is_active();
            let at = session.deadline().unwrap();
            assert!(!active || at <= moment.time() + SECOND * 3_600, "{by}: nothing for {:?}", at - moment.time());
            super::super::step(&mut session, at, Input::Tick, &life.policy);
            assert_eq!(session.is_active(), active, "{by}: it ends before anybody was asked");
        }
    }
}

/// This separates a preload from a film, and the next process hears of neither again.
#[test]
fn the_properties_of_a_preload_are_known_after_a_restart() {
    let mut life = Life::begin(Policy::default());
    life.act(&Step::Answer(0));
    let media = MediaFetch { segment: true, ..MediaFetch::default() };
    let preload = PlayerReport { preloads: true, ..PlayerReport::default() };
    let before = WrittenStamp::of(&life.device.playbacks()[0]).unwrap();
    for input in [Input::Media(media), Input::Report(preload)] {
        life.device.deliver(life.id, life.now, input, &life.policy, &mut DeviceEffects::new());
    }
    assert!(before.is_outdated_by(&WrittenStamp::of(&life.device.playbacks()[0]).unwrap()));
    life.act(&Step::Used);
    let next = restarted(&life, SECOND);
    let known = *next.device.playbacks()[0].session.life();
    assert!(known.streams() && known.preloads());
}
