//! Replies that come after their caller has given up.

use super::super::late_replies::MAX_LATE;
use super::*;

const GIVEN_UP: Duration = Duration::from_millis(100);

impl Stage {
    /// A call that is given up soon, and waited for.
    async fn give_up(&self, stall_timeout: Duration) -> (UpstreamFault, Option<LateReply>) {
        let hold = CallHold {
            attempt: GIVEN_UP,
            begins: None,
            gateway_errors: false,
            unreachable: true,
            until: Clock.now() + GIVEN_UP,
        };
        let (held, late) = self.pool.send_held_patiently(&self.call(AMPLE), hold, stall_timeout).await;
        (fault(held.outcome), late)
    }
}

#[tokio::test]
async fn a_reply_that_is_later_than_its_caller_waits_is_read_all_the_same() {
    let stage = Stage::plain().await;
    let ((given_up, late), mut stream) = join!(stage.give_up(AMPLE), async {
        let mut stream = stage.accept().await;
        read_request(&mut stream).await;
        stream
    });
    assert_eq!(given_up, UpstreamFault::Slow { phase: CallPhase::Head });
    stream.write_all(OK.as_bytes()).await.unwrap();
    let late = late.expect("its reply may come");
    assert_eq!(timeout(AMPLE, late.reply()).await.expect("it has come").unwrap().body, "ok");
    // The connection is good for the next call.
    let (next, _) = join!(stage.send(), exchange(&mut stream, OK));
    assert!(next.is_ok());
    stage.assert_no_other_connection();
}

#[tokio::test]
async fn a_reply_in_time_leaves_nothing_to_wait_for() {
    let stage = Stage::plain().await;
    let until = Clock.now() + AMPLE;
    let hold = CallHold { attempt: AMPLE, begins: None, gateway_errors: false, unreachable: true, until };
    let call = stage.call(AMPLE);
    let patient = stage.pool.send_held_patiently(&call, hold, AMPLE);
    let ((held, late), ()) = join!(patient, stage.answer(OK));
    assert!(held.outcome.is_ok() && late.is_none());
}

#[tokio::test]
async fn a_late_reply_that_is_no_longer_awaited_closes_its_connection() {
    // By the end of its time limit, because nobody wants it any more, and with the process.
    for why in ["patience", "unwanted", "stopped"] {
        let stage = Stage::plain().await;
        let stall_timeout = if why == "patience" { GIVEN_UP } else { AMPLE };
        let ((_, late), mut stream) = join!(stage.give_up(stall_timeout), async {
            let mut stream = stage.accept().await;
            read_request(&mut stream).await;
            stream
        });
        let mut late = Some(late.expect("its reply may come"));
        match why {
            "unwanted" => drop(late.take()),
            "stopped" => stage.tasks.stop(),
            _ => {}
        }
        ended(&mut stream).await;
        if let Some(late) = late {
            assert!(timeout(AMPLE, late.reply()).await.expect("it is over").is_none(), "{why}");
        }
    }
}

#[tokio::test]
async fn a_request_that_found_no_connection_in_time_is_never_sent() {
    // TLS waits for the server's first word.
    let stage = Stage::at("127.0.0.1:0", "https", Trust::public().unwrap()).await;
    let ((given_up, late), mut stream) = join!(stage.give_up(AMPLE), stage.accept());
    assert_eq!(given_up, UpstreamFault::Slow { phase: CallPhase::Connect });
    assert!(late.is_none());
    // What the handshake had said, and then the end.
    let mut rest = Vec::new();
    timeout(AMPLE, stream.read_to_end(&mut rest)).await.expect("the connection stays open").unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("POST"));
}

#[tokio::test]
async fn late_replies_never_exceed_their_bound() {
    let stage = Stage::plain().await;
    let silent = async {
        let mut streams = Vec::new();
        while let Ok((stream, _)) = stage.listener.accept().await {
            streams.push(stream);
        }
    };
    let calls = async {
        let mut late = Vec::new();
        for _ in 0..=MAX_LATE {
            late.push(stage.give_up(AMPLE).await.1);
        }
        assert_eq!(late.iter().flatten().count(), MAX_LATE);
        // A place comes back.
        late.swap_remove(0);
        while stage.give_up(AMPLE).await.1.is_none() {}
    };
    select! {
        () = silent => panic!("the listener is gone"),
        over = timeout(AMPLE, calls) => over.expect("its place comes back"),
    }
}
