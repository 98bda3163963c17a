//! AVPlayer with an `AVContentKeySessionDelegate`, as published delegates have it. AVPlayer has no license URL: the app
//! sends the SPC, and a published app whose URL can be set is what stands behind sidebeat.
//!
//! - The SPC as it is, `application/octet-stream`: github.com/muxinc/mux-player-swift,
//!   `Sources/MuxPlayerSwift/FairPlay/FairPlaySessionManager.swift`.
//! - The SPC as it is and no type, for which URLSession writes `application/x-www-form-urlencoded`: github.com/expo/expo,
//!   `packages/expo-video/ios/ContentKeyDelegate.swift`.
//! - A form (`spc`, `assetId`) and JSON around base64: what license servers ask of delegates that are made after Apple's
//!   sample (HLSCatalog, `ContentKeyDelegate.swift`), which leaves this function to the app.
//! - All of them: only 200 is success; `didProvideRenewingContentKeyRequest` goes the same way as `didProvide`; an error goes
//!   to `processContentKeyResponseError`, and `shouldRetry` is true for `timedOut`, `receivedResponseWithExpiredLease`
//!   and `receivedObsoleteContentKey` alone, so never for a refusal. `didFailWithError` and the item's `status` say it.
//! - Reports in Apple's developer forum tell of up to eight more requests after an error, each with an SPC of its own.

use http::Method;

use crate::drm;
use crate::player::{Call, Player};
use crate::stage::Stage;
use crate::upstream::{Upstream, good};
use crate::web::Reply;

const ASKS_AGAIN: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Delegate {
    Expo,
    Form,
    Json,
    Mux,
}

const DELEGATES: [Delegate; 4] = [Delegate::Expo, Delegate::Form, Delegate::Json, Delegate::Mux];

impl Delegate {
    /// An SPC of its own for every request, as FairPlay makes them.
    fn asks(self, player: &Player, seed: &str) -> Call {
        let spc = drm::fairplay_spc(seed);
        let (body, content_type) = match self {
            Self::Expo => (spc, "application/x-www-form-urlencoded"),
            Self::Form => {
                let base64 = drm::b64(&spc).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
                (format!("spc={base64}&assetId=news").into_bytes(), "application/x-www-form-urlencoded")
            }
            Self::Json => (format!("{{\"spc\":\"{}\"}}", drm::b64(&spc)).into_bytes(), "application/json"),
            Self::Mux => (spc, "application/octet-stream"),
        };
        player.post(body).header("content-type", content_type)
    }
}

/// The item fails with what the last reply says; none while every key comes.
async fn item_error(delegate: Delegate, player: &Player, seed: &str) -> Option<Reply> {
    let mut last = None;
    for again in 0..=ASKS_AGAIN {
        let reply = delegate.asks(player, &format!("{seed} {again}")).await;
        if reply.is_good() {
            return None;
        }
        last = Some(reply);
    }
    last
}

#[tokio::test]
async fn every_delegate_of_avplayer_is_licensed_and_after_a_kill_ends_in_an_error_with_the_reason() {
    for delegate in DELEGATES {
        let server = Upstream::answering(|_| good("application/octet-stream", &b"ckc"[..])).await;
        let stage = Stage::script().upstream("/license", &server.url(), "authority = \"head-end\"").start().await;
        let agent = "Player/7 CFNetwork/1568.200.51 Darwin/24.1.0";
        let phone = stage.player("phone", "news").await.with("user-agent", agent).with("accept", "*/*");
        assert!(item_error(delegate, &phone, "first").await.is_none(), "{delegate:?}");
        assert!(item_error(delegate, &phone, "renewing").await.is_none(), "{delegate:?}");
        assert_eq!(stage.headend.open().await, ["phone news"], "{delegate:?}");
        let id = stage.each("id").await.remove(0);
        assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
        for seed in ["renewing after the kill", "the next item"] {
            let error = item_error(delegate, &phone, seed).await.unwrap_or_else(|| panic!("{delegate:?}: {seed}"));
            assert_eq!(error.error(), (403, "session_killed".to_owned()), "{delegate:?}: {seed}");
            assert_eq!(error.header("content-type"), "application/problem+json");
            assert!(error.json()["detail"].is_string(), "{delegate:?}: {seed}");
        }
        assert_eq!(server.seen().len(), 2, "{delegate:?}: no refused call reaches the license server");
        stage.end().await;
    }
}
