//! The shell with a store: what it writes before it speaks, and what the next process makes of it.

use super::*;
use crate::clock::EpochTime;
use crate::session::{EndReason, SessionEvent, StateRecord};
use crate::store::{Loaded, Memory, SessionRecord};

const LONG: Duration = Duration::from_secs(30);

fn steady() -> Policy {
    Policy { kill_memory: HOUR, end_memory: HOUR, ..Policy::default() }
}

fn stage(memory: &Arc<Memory>) -> Stage {
    Stage::with(steady(), Some(memory.clone() as Arc<dyn Store>), |_| {})
}

/// The next process, with what was durable.
fn after_a_crash(memory: &Arc<Memory>) -> (Stage, RestoreResult, Arc<Memory>) {
    let memory = memory.crash();
    let stage = stage(&memory);
    let store: Arc<dyn Store> = memory.clone();
    let Loaded { sessions, .. } = store.load();
    let context = stage.context.clone();
    let restored = stage.sessions.restore(sessions, |_| RestoreHome::Here(context.clone()));
    (stage, restored, memory)
}

/// Writes all that comes, until it is dropped.
pub(super) struct Writing(tokio::task::JoinHandle<()>);

impl Writing {
    pub(super) fn begin(memory: &Arc<Memory>) -> Self {
        Self(Handle::current().spawn(memory.clone().commit_always(Duration::from_millis(2))))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn nothing_asked(stage: &mut Stage) {
    let asked = tokio::time::timeout(SHORT, stage.asked.recv()).await;
    assert!(asked.is_err(), "{:?}", asked.ok().flatten().map(|open| open.ask));
}

#[tokio::test]
async fn no_call_acts_on_an_open_before_it_is_stored_and_a_close_waits() {
    let memory = Memory::manual();
    let mut stage = stage(&memory);
    let mut waits = stage.wait(1);
    stage.grant(AskKind::Open).await;
    nothing_asked(&mut stage).await;
    assert!(waits.try_recv().is_err(), "the player got it, and a crash would not know");
    memory.commit();
    waits.await.unwrap();
    assert_eq!(stage.sessions.stop_all(key()), 1);
    nothing_asked(&mut stage).await;
    memory.commit();
    stage.grant(AskKind::Close).await;
    // The close is known, too.
    tokio::time::timeout(LONG, async {
        while memory.commit() == 0 {
            tokio::time::sleep(SHORT / 4).await;
        }
    })
    .await
    .unwrap();
    let (_, restored, _) = after_a_crash(&memory);
    assert_eq!(restored, RestoreResult { remembered: 1, ..RestoreResult::default() });
}

/// Else a crash right after its license would lose the session of a player that plays.
#[tokio::test]
async fn a_grant_is_written_before_its_player_has_a_license() {
    let memory = Memory::manual();
    let mut stage = stage(&memory);
    let waits = stage.wait(1);
    stage.grant(AskKind::Open).await;
    memory.commit();
    waits.await.unwrap();
    let id = stage.admit(1, LONG).await.session.unwrap();
    let mut written = std::pin::pin!(stage.sessions.written(key(), id));
    assert!(tokio::time::timeout(SHORT, &mut written).await.is_err(), "a crash would not know the grant");
    memory.commit();
    written.await;
    let (_, restored, _) = after_a_crash(&memory);
    assert_eq!(restored, RestoreResult { resumed: 1, ..RestoreResult::default() });
    // What is safe is not waited for again, whatever else happens.
    let other = stage.wait(2);
    stage.sessions.written(key(), id).await;
    drop(other);
}

/// Else a crash right after it would leave the token before, which the authority has replaced.
#[tokio::test]
async fn a_renewed_token_is_written_before_its_player_has_a_license() {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    let mut first = stage(&memory);
    let id = first.play(1).await;
    let renewal = PlayerCall { kind: CallKind::Renewal, ..license(1) };
    let admission = first.sessions.admit(key(), &renewal, &first.context, Clock.now() + HOUR).await;
    let CallAnswer::Renew(_, ticket) = admission.answer else { panic!("{admission:?}") };
    drop(writer);
    memory.commit();
    let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: Some(Secret::new("newest")) };
    assert!(first.sessions.answered(key(), id, ticket, AskKind::Renew, Ok(alive)));
    let mut written = std::pin::pin!(first.sessions.written(key(), id));
    assert!(tokio::time::timeout(SHORT, &mut written).await.is_err(), "a crash would not know the token");
    memory.commit();
    written.await;
    let (next, ..) = after_a_crash(&memory);
    let admission = next.admit(1, HOUR).await;
    assert!(matches!(admission.answer, CallAnswer::Forward(grant) if grant.token.expose() == "newest"));
}

/// A session that is over needs no authority, so nothing is lost with it.
#[tokio::test]
async fn a_session_that_is_over_is_not_missed_when_its_authority_is_gone() {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    let mut first = stage(&memory);
    first.play(1).await;
    first.sessions.stop_all(key());
    first.grant(AskKind::Close).await;
    tokio::time::timeout(LONG, async {
        while first.sessions.list()[0].state != SessionPhase::Closed {
            tokio::time::sleep(SHORT / 4).await;
        }
    })
    .await
    .unwrap();
    drop(writer);
    memory.commit();
    let memory = memory.crash();
    let next = stage(&memory);
    let records = (memory.clone() as Arc<dyn Store>).load().sessions;
    assert_eq!(records.len(), 1);
    assert_eq!(next.sessions.restore(records.clone(), |_| RestoreHome::Gone), RestoreResult::default());
    memory.commit();
    assert_eq!(memory.len(), 1, "its player may still ask, should its authority come back");
    assert_eq!(next.sessions.restore(ended_long_ago(records), |_| RestoreHome::Gone), RestoreResult::default());
    memory.commit();
    assert!(memory.is_empty());
}

/// The same, if the process before had been away for a day.
fn ended_long_ago(mut records: Vec<SessionRecord>) -> Vec<SessionRecord> {
    const DAY: Duration = Duration::from_secs(86_400);
    for SessionRecord { playback, .. } in &mut records {
        let earlier = |wall: &mut EpochTime| *wall = Duration::from(*wall).saturating_sub(DAY).into();
        earlier(&mut playback.session.confirmation.at);
        if let StateRecord::Closed { until, .. } | StateRecord::Killed { until, .. } = &mut playback.session.state {
            earlier(until);
        }
    }
    records
}

/// A player that was told to stop may still renew: that is no reason to open its session again.
#[tokio::test]
async fn a_stopped_session_stays_stopped_after_a_crash() {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    let mut first = stage(&memory);
    first.play(1).await;
    assert_eq!(first.sessions.stop_all(key()), 1);
    first.grant(AskKind::Close).await;
    tokio::time::timeout(LONG, async {
        while first.sessions.list()[0].state != SessionPhase::Closed {
            tokio::time::sleep(SHORT / 4).await;
        }
    })
    .await
    .unwrap();
    drop(writer);
    memory.commit();

    let (mut next, restored, memory) = after_a_crash(&memory);
    assert_eq!(restored, RestoreResult { remembered: 1, ..RestoreResult::default() });
    let renewal = PlayerCall { kind: CallKind::Renewal, ..license(1) };
    let left_over = next.sessions.admit(key(), &renewal, &next.context, Clock.now() + HOUR).await;
    assert_eq!(left_over.answer, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Stopped)));
    nothing_asked(&mut next).await;
    // Whoever plays again is welcome, and its place in the journal is taken by what it plays now.
    let writer = Writing::begin(&memory);
    next.play(1).await;
    drop(writer);
    memory.commit();
    assert_eq!((memory.len(), next.sessions.list().len()), (1, 1));
}

/// The process ends in order and closes all: its players come back with their renewals, and play.
#[tokio::test]
async fn a_session_that_our_own_end_closed_is_welcome_again() {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    let mut first = stage(&memory);
    first.play(1).await;
    let sessions = first.sessions.clone();
    let drained = Handle::current().spawn(async move { sessions.drain(EndReason::Drained, LONG).await });
    first.grant(AskKind::Close).await;
    assert_eq!(drained.await.unwrap(), 0);
    drop(writer);
    memory.commit();
    assert!(memory.is_empty());
}

/// The answer came, and the process died before it was written.
#[tokio::test]
async fn an_answer_that_was_not_written_is_known_to_be_missing() {
    let memory = Memory::manual();
    let mut first = stage(&memory);
    let waits = first.wait(1);
    tokio::task::yield_now().await;
    memory.commit();
    first.grant(AskKind::Open).await;
    assert!(matches!(waits.await.unwrap().answer, CallAnswer::Forward(_)));

    let (mut next, restored, memory) = after_a_crash(&memory);
    assert_eq!(restored, RestoreResult { orphaned: 1, ..RestoreResult::default() });
    let rows = next.sessions.list();
    let told: Vec<_> = rows[0].timeline.entries().map(|entry| entry.what.name()).collect();
    assert_eq!((rows[0].state, told), (SessionPhase::Closed, vec!["open lost in a restart", "closed"]));
    memory.commit();
    let (_, again, _) = after_a_crash(&memory);
    assert_eq!(again, RestoreResult { remembered: 1, ..RestoreResult::default() }, "it is told once");
    // Nobody could close it; the player begins anew.
    let waits = next.wait(1);
    tokio::task::yield_now().await;
    memory.commit();
    next.grant(AskKind::Open).await;
    assert!(matches!(waits.await.unwrap().answer, CallAnswer::Forward(_)));
}

/// No beat can be as late as that: somebody set the clock, or nobody was there.
#[tokio::test]
async fn a_restart_after_a_clock_step_is_not_late() {
    const TEN_DAYS_MS: i64 = 863_999_781;
    const FOUR_HOURS_MS: i64 = 14_400_000;
    for by in [TEN_DAYS_MS, FOUR_HOURS_MS, -FOUR_HOURS_MS, -TEN_DAYS_MS] {
        let (memory, clock) = (Memory::manual(), Clock::steered(Duration::from_secs(1_800_000_000)));
        let writer = Writing::begin(&memory);
        let mut first = Stage::by(clock, steady(), Some(memory.clone() as Arc<dyn Store>), |_| {});
        let id = first.play(1).await;
        drop(writer);
        memory.commit();
        clock.step_wall(by);

        let memory = memory.crash();
        let next = Stage::by(clock, steady(), Some(memory.clone() as Arc<dyn Store>), |_| {});
        let Loaded { sessions, .. } = (memory.clone() as Arc<dyn Store>).load();
        let context = next.context.clone();
        let restored = next.sessions.restore(sessions, |_| RestoreHome::Here(context.clone()));
        assert_eq!(restored, RestoreResult { resumed: 1, ..RestoreResult::default() }, "{by}");
        let row = next.sessions.list().remove(0);
        let late = |entry: TimelineEntry| matches!(entry.what, TimelineEvent::Core(SessionEvent::BeatLate(_)));
        assert!(!row.timeline.entries().any(late), "{by}: {:?}", row.timeline);
        assert_eq!((row.id, row.state), (id, SessionPhase::Live), "{by}");
        // Its interval is an hour, and what fell due is made up for at once.
        let most = if by > 0 { Duration::from_secs(5) } else { HOUR * 2 };
        assert!(row.next_beat.is_some_and(|next| next <= most), "{by}: {:?}", row.next_beat);
    }
}

#[tokio::test]
async fn a_session_goes_on_with_its_newest_token() {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    let mut first = stage(&memory);
    let id = first.play(1).await;
    let renewal = PlayerCall { kind: CallKind::Renewal, ..license(1) };
    let admission = first.sessions.admit(key(), &renewal, &first.context, Clock.now() + HOUR).await;
    let CallAnswer::Renew(_, ticket) = admission.answer else { panic!("{admission:?}") };
    let alive = Verdict::Alive { interval: None, lifetime: None, schedule: None, token: Some(Secret::new("newest")) };
    assert!(first.sessions.answered(key(), id, ticket, AskKind::Renew, Ok(alive)));
    drop(writer);
    memory.commit();

    let (mut next, restored, memory) = after_a_crash(&memory);
    assert_eq!(restored, RestoreResult { resumed: 1, ..RestoreResult::default() });
    let (rows, waits) = (next.sessions.list(), next.admit(1, HOUR).await);
    assert_eq!(
        (rows[0].id, rows[0].beats, matches!(rows[0].paced_by, crate::session::BeatSource::Renewals { .. })),
        (id, 1, true)
    );
    let CallAnswer::Forward(grant) = waits.answer else { panic!("{waits:?}") };
    assert_eq!((waits.session, grant.token.expose()), (Some(id), "newest"));
    assert_eq!(next.sessions.stop_all(key()), 1);
    memory.commit();
    let close = next.asked().await;
    assert_eq!(close.ask.grant.unwrap().token.expose(), "newest");
}

/// Else a restart would write all of the journal anew.
#[tokio::test]
async fn a_session_that_goes_on_as_it_was_written_is_not_written_again() {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    let mut first = stage(&memory);
    let id = first.play(1).await;
    drop(writer);
    memory.commit();
    let (next, restored, memory) = after_a_crash(&memory);
    assert_eq!(restored, RestoreResult { resumed: 1, ..RestoreResult::default() });
    assert_eq!((memory.commit(), memory.len()), (0, 1));
    next.sessions.deliver(key(), id, Input::Kill(Reason::new(403, None, "by an operator").into()));
    assert_eq!(memory.commit(), 1, "what changes is");
}

#[tokio::test]
async fn a_close_under_way_goes_on_and_a_kill_stays() {
    let memory = Memory::manual();
    let mut first =
        Stage::with(Policy { sessions_per_device: 2, ..steady() }, Some(memory.clone() as Arc<dyn Store>), |_| {});
    let writer = Writing::begin(&memory);
    let (one, _other) = (first.play(1).await, first.play(2).await);
    first.sessions.deliver(key(), one, Input::Kill(Reason::new(403, None, "by an operator").into()));
    first.grant(AskKind::Close).await;
    first.sessions.stop(key(), Some(Fingerprint::new(2)));
    let _lost = first.asked().await;
    drop(writer);
    memory.commit();

    let (mut next, restored, _) = after_a_crash(&memory);
    assert_eq!(restored, RestoreResult { closing: 1, killed: 1, ..RestoreResult::default() });
    let killed = next.admit(1, HOUR).await;
    assert!(
        matches!(killed.answer.refusal(), Some(SessionRefusal::Killed(by)) if &*by.reason().message == "by an operator")
    );
    assert_eq!(next.asked().await.yes(HOUR), AskKind::Close);
}

#[tokio::test]
async fn a_session_without_its_route_is_given_back() {
    let memory = one_that_plays().await;
    let mut next = stage(&memory);
    let context = next.context.clone();
    let records = (memory.clone() as Arc<dyn Store>).load().sessions;
    next.sessions.restore(records, |_| RestoreHome::Leaving(context.clone()));
    memory.commit();
    assert_eq!(next.asked().await.yes(HOUR), AskKind::Close);
    let ended = |what: &TimelineEvent| {
        matches!(what, TimelineEvent::Core(crate::session::SessionEvent::Closed(EndReason::Stopped)))
    };
    tokio::time::timeout(LONG, async {
        while !next.sessions.list()[0].timeline.entries().any(|entry| ended(&entry.what)) {
            tokio::time::sleep(SHORT / 4).await;
        }
    })
    .await
    .unwrap();
}

/// The records that a crash left of one playback with a license.
async fn one_that_plays() -> Arc<Memory> {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    stage(&memory).play(1).await;
    drop(writer);
    memory.commit();
    memory.crash()
}

/// Its name may have been mistyped.
#[tokio::test]
async fn a_session_without_its_authority_is_kept_until_one_comes_or_it_must_have_expired() {
    let memory = one_that_plays().await;
    let next = stage(&memory);
    let records = (memory.clone() as Arc<dyn Store>).load().sessions;
    let restored = next.sessions.restore(records.clone(), |_| RestoreHome::Gone);
    assert_eq!(restored, RestoreResult { stranded: 1, ..RestoreResult::default() });
    assert!(next.sessions.list().is_empty());
    memory.commit();
    let (back, restored, _) = after_a_crash(&memory);
    assert_eq!(restored, RestoreResult { resumed: 1, ..RestoreResult::default() });
    assert_eq!(back.sessions.list()[0].state, SessionPhase::Live);

    let restored = next.sessions.restore(ended_long_ago(records), |_| RestoreHome::Gone);
    assert_eq!(restored, RestoreResult { dropped: 1, ..RestoreResult::default() });
    memory.commit();
    assert!(memory.is_empty());
}

/// The playback was presumed to have given way, then its viewer stopped it. A late renewal must not open it again.
#[tokio::test]
async fn a_stop_of_what_gave_way_is_known_after_a_crash_and_leaves_no_token() {
    let memory = Memory::manual();
    let writer = Writing::begin(&memory);
    let mut first = stage(&memory);
    first.context =
        Arc::new(SessionContext { token: Some(Secret::new("hush")), ..SessionContext::clone(&first.context) });
    let id = first.play(1).await;
    assert!(first.sessions.deliver(key(), id, Input::GiveWay));
    first.grant(AskKind::Close).await;
    first.until("closed", |row| row.state == SessionPhase::Closed).await;
    let token = |memory: &Arc<Memory>| {
        memory.commit();
        (memory.clone() as Arc<dyn Store>).load().sessions[0].context.token.clone()
    };
    assert!(token(&memory).is_some(), "it can be taken back, and is opened by its token then");
    assert_eq!(first.sessions.stop(key(), Some(Fingerprint::new(1))), 1);
    drop(writer);
    assert!(token(&memory).is_none());
    let (next, ..) = after_a_crash(&memory);
    let renewal = PlayerCall { kind: CallKind::Renewal, ..license(1) };
    let admission = next.sessions.admit(key(), &renewal, &next.context, Clock.now() + HOUR).await;
    assert_eq!(admission.answer.refusal(), Some(&SessionRefusal::Ended(EndReason::Stopped)));
}

/// A session that holds nothing delays nothing, however long it is remembered.
#[tokio::test]
async fn a_kill_that_holds_nothing_is_remembered_and_not_waited_for() {
    let memory = one_that_plays().await;
    let mut records = (memory.clone() as Arc<dyn Store>).load().sessions;
    let (by, until) = (Reason::new(403, None, "killed"), (Clock.wall() + HOUR).into());
    for record in &mut records {
        record.playback.session.state =
            StateRecord::Killed { by: by.clone().into(), since: Clock.wall().into(), until };
        record.playback.session.grant = None;
    }
    assert_eq!(stage(&memory).sessions.restore(records, |_| RestoreHome::Gone), RestoreResult::default());
    memory.commit();
    assert!(!memory.is_empty());
}

/// The session owed its open, so it is over as soon as it is zapped away. It is forgotten at once, because too many
/// others are remembered.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_and_makes_room_in_one_step_leaves_no_record() {
    let memory = Memory::manual();
    let _writing = Writing::begin(&memory);
    let policy = Policy { on_unreachable: owing(), sessions_per_device: 2, settle: [Duration::ZERO; 2], ..steady() };
    let mut stage = Stage::with(policy, Some(memory.clone() as Arc<dyn Store>), |_| {});
    let waits = stage.wait(1);
    let reason = Reason::without_reply("nobody is there");
    stage.asked().await.say(Err(AuthorityFault { kind: FaultKind::Unreachable, reason }));
    assert_eq!(waits.await.unwrap().answer, CallAnswer::Pass);
    // Long before it is tried again.
    for token in 2..40 {
        stage.play(token).await;
        assert_eq!(stage.sessions.stop(key(), Some(Fingerprint::new(token))), 1);
        stage.grant(AskKind::Close).await;
        tokio::time::timeout(LONG, async {
            while stage.sessions.list().iter().any(|row| row.state == SessionPhase::Closing) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
    }
    stage.play(40).await;
    stage.play(41).await;
    memory.commit();
    assert_eq!(memory.len(), stage.sessions.list().len(), "what is known, and no more");
}
