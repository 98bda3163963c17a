//! Opens that set out when the call that asked for them is gone: they count for its address until they are answered.

use super::*;
use crate::task::{CarriedCall, HeldPlace};

/// An address that asks and hangs up.
#[derive(Default)]
struct Address(Arc<()>);

impl Address {
    /// A call that waits, and ends with its connection.
    async fn asks_and_hangs_up(&self, stage: &Stage, token: u64) {
        let admit = stage.admit(token, HOUR);
        let call = CarriedCall::new(stage.tasks.clone(), |hang_up| async move {
            assert!(!hang_up.let_go());
            admit.await
        });
        let mut call = Box::pin(call.at(Arc::new(HeldPlace::new(self.0.clone()))));
        let answered = tokio::time::timeout(SHORT, &mut call).await;
        assert!(answered.is_err(), "it waits: {answered:?}");
    }

    fn counts(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    async fn until_free(&self) {
        let free = async {
            while self.counts() {
                tokio::time::sleep(SHORT / 4).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), free).await.expect("its place comes back");
    }
}

fn shared() -> Stage {
    Stage::new(Policy { shares_session: true, ..Policy::default() })
}

#[tokio::test]
async fn a_shared_session_that_waits_for_its_place_counts_for_the_address_that_asked() {
    let mut stage = shared();
    stage.play(1).await;
    assert_eq!(stage.sessions.stop_all(key()), 1);
    let close = stage.asked().await;
    let address = Address::default();
    address.asks_and_hangs_up(&stage, 2).await;
    assert!(address.counts(), "while it waits");
    assert_eq!(close.yes(HOUR), AskKind::Close);
    let open = stage.asked().await;
    assert_eq!(stage.sessions.stop_all(key()), 1);
    assert!(address.counts(), "while it is opened, though nobody waits for it any more");
    assert_eq!(open.yes(HOUR), AskKind::Open);
    address.until_free().await;
    stage.tasks.stop();
}

#[tokio::test]
async fn a_shared_session_that_is_opened_by_the_next_token_counts_for_the_address_of_that_one() {
    let mut stage = shared();
    let addresses = <[Address; 3]>::default();
    for (address, token) in addresses.iter().zip(1..) {
        address.asks_and_hangs_up(&stage, token).await;
    }
    for opening in 0..3 {
        let open = stage.asked().await;
        assert_eq!(open.ask.kind, AskKind::Open);
        for (at, address) in addresses.iter().enumerate() {
            if at < opening {
                address.until_free().await;
            }
            assert_eq!(address.counts(), at >= opening, "address {at} while open {opening} is under way");
        }
        open.say(Ok(Verdict::Denied(Denial::Token, Reason::new(403, None, "no"))));
    }
    addresses[2].until_free().await;
    stage.tasks.stop();
}
