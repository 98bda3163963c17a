//! The operators' views: counters, pages, and who is found by which digits.

use super::*;

impl Stage {
    /// Sessions of these devices, all of them live.
    async fn play_many(&mut self, devices: std::ops::RangeInclusive<u64>) {
        for device in devices {
            let waits = self.wait_of(DeviceKey(device), 1);
            self.grant(AskKind::Open).await;
            assert!(matches!(waits.await.expect("an admission").answer, CallAnswer::Forward(_)));
        }
    }
}

#[tokio::test]
async fn pages_hold_every_session_once_in_the_order_of_their_opening() {
    let mut stage = Stage::new(Policy::default());
    stage.play_many(1..=700).await;
    let all: Vec<_> = stage.sessions.list().iter().map(|row| row.id).collect();
    assert_eq!(all.len(), 700);
    for limit in [1, 255, 256, 257, 699, 700, 701] {
        let mut query = SessionQuery { limit, ..SessionQuery::default() };
        let mut paged = Vec::new();
        loop {
            let page = stage.sessions.page(&query);
            assert!(page.rows.len() <= limit);
            paged.extend(page.rows.iter().map(|row| row.id));
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        assert_eq!(paged, all, "pages of {limit}");
    }
    let none = SessionQuery { limit: 10, state: Some(SessionPhase::Killed), ..SessionQuery::default() };
    let page = stage.sessions.page(&none);
    assert!(page.rows.is_empty() && page.next.is_none());
    let by = Reason::new(403, None, "no");
    let (key, id) = stage.sessions.find(&all[299].to_string()).expect("it is there");
    stage.sessions.deliver(key, id, Input::Kill(by.into()));
    let page = stage.sessions.page(&none);
    assert_eq!(page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [all[299]]);
    let elsewhere = SessionQuery { device: Some("another".to_owned()), limit: 10, ..SessionQuery::default() };
    assert!(stage.sessions.page(&elsewhere).rows.is_empty());
}

#[tokio::test]
async fn running_counters_say_what_a_look_at_every_session_says() {
    let mut stage = Stage::new(brief());
    stage.play_many(1..=20).await;
    assert_eq!((stage.sessions.states()[&SessionPhase::Live], stage.sessions.counts_are_exact()), (20, true));
    for device in 1..=10 {
        stage.sessions.stop_all(DeviceKey(device));
        stage.grant(AskKind::Close).await;
        assert!(stage.sessions.counts_are_exact(), "after {device} stops");
    }
    let rest: Vec<_> = stage.sessions.list().into_iter().map(|row| row.id).collect();
    for id in rest {
        let Ok((key, id)) = stage.sessions.find(&id.to_string()) else { continue };
        stage.sessions.deliver(key, id, Input::Kill(Reason::new(403, None, "no").into()));
        assert!(stage.sessions.counts_are_exact());
    }
}

#[tokio::test]
async fn a_session_is_found_by_its_first_digits_and_never_by_none() {
    let mut stage = Stage::new(Policy::default());
    stage.play_many(1..=1).await;
    let id = stage.sessions.list()[0].id;
    let digits = id.to_string();
    for length in 4..=16 {
        assert_eq!(stage.sessions.find(&digits[..length]), Ok((DeviceKey(1), id)));
    }
    assert_eq!(stage.sessions.find(&digits.to_uppercase()), Ok((DeviceKey(1), id)));
    for odd in ["", &digits[..3], "+000", "0x", "g", &format!("{digits}0"), "\u{e9}"] {
        assert_eq!(stage.sessions.find(odd), Err(FindFault::Unknown), "{odd:?}");
    }
    stage.play_many(2..=65).await;
    assert_eq!((stage.sessions.find(&digits), stage.sessions.list().len()), (Ok((DeviceKey(1), id)), 65));
}
