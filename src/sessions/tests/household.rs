//! A household that stops one stream and starts another, at an authority that has one place for it.

use tokio::sync::Semaphore;

use super::keep::Writing;
use super::*;
use crate::config::DeviceSource;
use crate::store::{Loaded, Memory};

/// Another device of the account: the stage's context names no account but its device, which stands for one.
fn bedroom() -> DeviceKey {
    DeviceKey::new("test", DeviceSource::Header, "bedroom")
}

fn too_many() -> Answered {
    Ok(Verdict::Denied(Denial::Limit, Reason::new(400, Some(1007), "too many")))
}

fn lost() -> Answered {
    Err(AuthorityFault { kind: FaultKind::Unreachable, reason: Reason::without_reply("nobody is there") })
}

impl Stage {
    /// The bedroom wants to play, and meets the limit.
    async fn one_too_many(&mut self) -> oneshot::Receiver<Admission> {
        let waits = self.wait_of(bedroom(), 2);
        self.turn_down().await;
        waits
    }

    /// The kitchen plays, and its beat is under way.
    async fn beats(&mut self) -> (SessionId, Open) {
        let id = self.play(1).await;
        tokio::time::sleep(HOUR).await;
        let beat = self.asked().await;
        assert_eq!(beat.ask.kind, AskKind::Beat);
        (id, beat)
    }

    /// The next call is an open, and one too many.
    async fn turn_down(&mut self) {
        let open = self.asked().await;
        assert_eq!(open.ask.kind, AskKind::Open);
        open.say(too_many());
    }

    /// The bedroom's open is made once more, and no oftener.
    async fn has_room(&mut self, waits: oneshot::Receiver<Admission>) {
        self.grant(AskKind::Open).await;
        assert!(matches!(waits.await.expect("an admission").answer, CallAnswer::Forward(_)));
        assert!(self.asked.try_recv().is_err());
        self.tasks.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_waits_for_a_session_that_has_ended_while_its_beat_is_under_way() {
    let mut stage = Stage::new(Policy::default());
    let (_, beat) = stage.beats().await;
    assert_eq!(stage.sessions.stop_all(key()), 1);
    let waits = stage.one_too_many().await;
    assert_eq!(beat.yes(HOUR), AskKind::Beat);
    stage.grant(AskKind::Close).await;
    stage.has_room(waits).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_waits_for_the_second_try_of_a_lost_close() {
    let mut stage = Stage::new(Policy::default());
    stage.play(1).await;
    assert_eq!(stage.sessions.stop_all(key()), 1);
    let close = stage.asked().await;
    let waits = stage.one_too_many().await;
    close.say(lost());
    stage.grant(AskKind::Close).await;
    stage.has_room(waits).await;
}

/// Calls under way are few, and an open that waits is none of them: the close could not set out for those that wait for it.
#[tokio::test(start_paused = true)]
async fn opens_that_wait_for_a_place_do_not_keep_its_close_from_setting_out() {
    let few = |dispatcher: &mut AuthorityDispatcher| dispatcher.permits = Arc::new(Semaphore::new(1));
    let mut stage = Stage::with_pump(Policy::default(), few);
    stage.play(1).await;
    assert_eq!(stage.sessions.stop_all(key()), 1);
    let close = stage.asked().await;
    close.say(lost());
    let waits = stage.one_too_many().await;
    stage.grant(AskKind::Close).await;
    stage.has_room(waits).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_waits_for_an_operators_kill_to_give_its_place_back() {
    let mut stage = Stage::new(Policy::default());
    let (id, beat) = stage.beats().await;
    assert!(stage.sessions.deliver(key(), id, Input::Kill(Reason::without_reply("by an operator").into())));
    let waits = stage.one_too_many().await;
    assert_eq!(beat.yes(HOUR), AskKind::Beat);
    stage.grant(AskKind::Close).await;
    stage.has_room(waits).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_waits_for_a_close_that_a_restart_sends_again() {
    let memory = Memory::manual();
    let store = |memory: &Arc<Memory>| Some(memory.clone() as Arc<dyn Store>);
    let mut first = Stage::with(Policy::default(), store(&memory), |_| {});
    let writing = Writing::begin(&memory);
    first.play(1).await;
    assert_eq!(first.sessions.stop_all(key()), 1);
    assert_eq!(first.asked().await.ask.kind, AskKind::Close);
    drop(writing);
    let memory = memory.crash();
    let _writing = Writing::begin(&memory);
    let mut next = Stage::with(Policy::default(), store(&memory), |_| {});
    let Loaded { sessions, .. } = (memory.clone() as Arc<dyn Store>).load();
    let context = next.context.clone();
    assert_eq!(next.sessions.restore(sessions, |_| RestoreHome::Here(context.clone())).closing, 1);
    let waits = next.wait_of(bedroom(), 2);
    // Which of the two sets out first is chance.
    let mut call = next.asked().await;
    if call.ask.kind == AskKind::Open {
        call.say(too_many());
        call = next.asked().await;
    } else {
        next.turn_down().await;
    }
    let close = call;
    assert_eq!(close.yes(HOUR), AskKind::Close);
    next.has_room(waits).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_waits_for_the_second_try_of_what_is_given_straight_back() {
    for late in [false, true] {
        let mut stage = Stage::new(Policy { call_timeout: SHORT, ..brief() });
        let given_up = stage.wait(1);
        let open = stage.asked().await;
        drop(given_up.await.expect("an admission"));
        if late {
            stage.emptied().await;
        }
        assert_eq!(open.yes(HOUR), AskKind::Open);
        let close = stage.asked().await;
        stage.context.policy.change(Policy::default());
        let waits = stage.one_too_many().await;
        close.say(lost());
        stage.grant(AskKind::Close).await;
        stage.has_room(waits).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_does_not_wait_for_an_unanswered_close() {
    let mut stage = Stage::new(Policy::default());
    stage.play(1).await;
    assert_eq!(stage.sessions.stop_all(key()), 1);
    for _ in 0..2 {
        let close = stage.asked().await;
        assert_eq!(close.ask.kind, AskKind::Close);
        close.say(lost());
    }
    let waits = stage.one_too_many().await;
    assert!(matches!(waits.await.expect("an admission").answer.refusal(), Some(SessionRefusal::Denied(..))));
    stage.tasks.stop();
}

/// Else the neighbour would take the place of whoever only changed the channel.
#[tokio::test(start_paused = true)]
async fn an_open_does_not_wait_for_a_place_that_its_own_device_waits_for() {
    let mut stage = Stage::new(Policy::default());
    stage.play(1).await;
    assert_eq!(stage.sessions.stop_all(key()), 1);
    let close = stage.asked().await;
    let zaps = stage.wait(3);
    let waits = stage.one_too_many().await;
    assert!(matches!(waits.await.expect("an admission").answer.refusal(), Some(SessionRefusal::Denied(..))));
    assert_eq!(close.yes(HOUR), AskKind::Close);
    stage.grant(AskKind::Open).await;
    assert!(matches!(zaps.await.expect("an admission").answer, CallAnswer::Forward(_)));
    stage.tasks.stop();
}

/// A device with two places stops both streams and starts one: the second place is nobody's.
#[tokio::test(start_paused = true)]
async fn an_open_waits_for_the_place_that_its_owner_does_not_take_again() {
    let mut stage = Stage::new(Policy { sessions_per_device: 2, settle: [Duration::ZERO; 2], ..Policy::default() });
    stage.play(1).await;
    stage.play(3).await;
    assert_eq!(stage.sessions.stop_all(key()), 2);
    let (first, second) = (stage.asked().await, stage.asked().await);
    let next = stage.wait(4);
    let waits = stage.one_too_many().await;
    assert_eq!((first.yes(HOUR), second.yes(HOUR)), (AskKind::Close, AskKind::Close));
    stage.grant(AskKind::Open).await;
    stage.grant(AskKind::Open).await;
    for admission in [next, waits] {
        assert!(matches!(admission.await.expect("an admission").answer, CallAnswer::Forward(_)));
    }
    stage.tasks.stop();
}

/// A picture and a preload play in each of six rooms.
#[tokio::test(start_paused = true)]
async fn no_preload_gives_way_to_an_open_that_is_not_made_again() {
    let mut stage = Stage::new(Policy { settle: [Duration::ZERO; 2], ..Policy::default() });
    for room in 0..6 {
        let key = DeviceKey::new("test", DeviceSource::Header, &format!("room {room}"));
        stage.play_of(key, 1).await;
        stage.play_of(key, 3).await;
    }
    let mut waits = stage.wait_of(bedroom(), 2);
    let (mut closes, mut opens) = (0, 0);
    let refused = loop {
        let call = tokio::select! {
            refused = &mut waits => break refused.expect("an admission"),
            call = stage.asked() => call,
        };
        match call.ask.kind {
            AskKind::Open => {
                opens += 1;
                call.say(too_many());
            }
            AskKind::Beat | AskKind::Close | AskKind::Renew => {
                closes += 1;
                assert_eq!(call.yes(HOUR), AskKind::Close);
            }
        }
    };
    assert!(matches!(refused.answer.refusal(), Some(SessionRefusal::Denied(Denial::Limit, _))), "{refused:?}");
    tokio::time::sleep(SHORT).await;
    while stage.asked.try_recv().is_ok() {
        closes += 1;
    }
    assert_eq!((opens, closes), (5, 4));
    stage.tasks.stop();
}
