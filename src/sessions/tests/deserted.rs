//! Calls whose callers go while they wait.

use std::pin::{Pin, pin};

use super::*;

/// So far it waits.
async fn waits(mut call: Pin<&mut impl Future<Output = Admission>>) {
    tokio::select! {
        biased;
        admission = call.as_mut() => panic!("it waits no more: {:?}", admission.answer),
        () = std::future::ready(()) => {}
    }
}

impl Stage {
    fn held(&self) -> usize {
        let held = |device: &Device<SessionEntry>| device.playbacks().iter().filter(|p| p.session.is_held()).count();
        self.sessions.with(key(), |device, _| held(device))
    }

    fn wanted(&self, token: u64) -> (oneshot::Sender<()>, impl Future<Output = Admission> + use<>) {
        let (sessions, context) = (self.sessions.clone(), self.context.clone());
        let (leaves, gone) = oneshot::channel();
        let gone = async { gone.await.unwrap_or(()) };
        let admit = async move {
            sessions.admit_while_wanted(key(), &license(token), &context, Clock.now() + HOUR, gone).await
        };
        (leaves, admit)
    }
}

#[tokio::test]
async fn the_last_caller_that_goes_gives_up_the_turn_that_the_call_waited_for() {
    let mut stage = Stage::new(brief());
    let (_stays, film) = stage.wanted(1);
    let mut film = pin!(film);
    waits(film.as_mut()).await;
    let open = stage.asked().await;
    let ((leaves, next), (leaves_later, beside)) = (stage.wanted(2), stage.wanted(2));
    let (mut next, mut beside) = (pin!(next), pin!(beside));
    waits(next.as_mut()).await;
    waits(beside.as_mut()).await;
    leaves.send(()).expect("it waits");
    waits(next.as_mut()).await;
    assert_eq!(stage.held(), 1, "another one waits for it");
    leaves_later.send(()).expect("it waits");
    let left = beside.await.answer;
    assert_eq!(left, CallAnswer::Refuse(SessionRefusal::Ended(EndReason::Abandoned)));
    assert_eq!(stage.held(), 0);
    assert_eq!(open.yes(HOUR), AskKind::Open);
    assert!(matches!(film.await.answer, CallAnswer::Forward(_)));
    assert!(stage.asked.try_recv().is_err(), "nothing else is opened");
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_up_the_turn_that_it_waited_for() {
    let mut stage = Stage::new(brief());
    let mut film = Box::pin(stage.admit(1, HOUR));
    waits(film.as_mut()).await;
    let _open = stage.asked().await;
    let mut next = Box::pin(stage.admit(2, HOUR));
    waits(next.as_mut()).await;
    assert_eq!(stage.held(), 1);
    drop(next);
    assert_eq!(stage.held(), 0);
}

#[tokio::test]
async fn an_open_that_was_sent_is_seen_through_though_its_caller_has_gone() {
    let mut stage = Stage::new(brief());
    let (leaves, film) = stage.wanted(1);
    let mut film = pin!(film);
    waits(film.as_mut()).await;
    let open = stage.asked().await;
    leaves.send(()).expect("it waits");
    waits(film.as_mut()).await;
    assert_eq!(open.yes(HOUR), AskKind::Open);
    assert!(matches!(film.await.answer, CallAnswer::Forward(_)));
}
