//! Tests outages of FirstLight's services, for one caller and for all.
//!
//! Failures are counted for each playback, and every call is made: FirstLight has no circuit breaker.

use serde_json::json;

use crate::firstlight::{license_server, plain, user_at};
use crate::stage::{Script, Stage};
use crate::upstream::Upstream;

const MANY: u64 = 1_000_000;
const ENDPOINTS: [&str; 2] = ["fl-heartbeat", "stream-put"];

/// Each user has one place, and every viewer an address of its own.
fn script(server: &Upstream) -> Script {
    let script = plain(server).settings(|settings| settings.firstlight.limit = 1);
    script.server("trusted-proxies = [\"127.0.0.1\"]")
}

/// Every call reached the service, and no call waited for another.
async fn assert_every_call_is_made(stage: &Stage, what: &str) {
    for metric in ["authority_breaker_open", "authority_calls_spared_total", "authority_deferrals_total", "on_credit"] {
        assert_eq!(stage.metric(metric, &[]).await, 0.0, "{what}: {metric}");
    }
}

/// Any caller can provoke an error answer by sending garbage.
#[tokio::test]
async fn error_answers_of_firstlight_to_one_caller_cost_no_other_a_call() {
    for endpoint in ENDPOINTS {
        for code in [400, 429, 500, 503] {
            let (what, server) = (format!("{endpoint} {code}"), license_server().await);
            let stage = script(&server).start().await;
            for number in 0..8 {
                let (user, device) = (format!("eve-{number}"), format!("garbage-{number}"));
                stage.headend.fault_of(&device, endpoint, json!({"status": code})).await;
                // The right to play was in the authorization: an error is no decision.
                assert!(user_at(&stage, &user, &device, "198.51.100.6").await.is_good(), "{what}");
            }
            let log = stage.headend.log().await;
            let met = log.iter().filter(|seen| seen.endpoint == endpoint && seen.status == code).count();
            assert!(met >= 8, "{what}: {met} of 8 have met an error");
            assert_every_call_is_made(&stage, &what).await;
            let asked = (stage.headend.count(ENDPOINTS[0]).await, stage.headend.count(ENDPOINTS[1]).await);
            // A device at the same address, and one of the same user at another address.
            assert!(user_at(&stage, "bob", "box", "198.51.100.6").await.is_good(), "{what}");
            let second = user_at(&stage, "bob", "phone", "198.51.100.7").await;
            assert_eq!(second.error(), (403, "limit_reached".to_owned()), "{what}: decided by the service");
            let after = (stage.headend.count(ENDPOINTS[0]).await, stage.headend.count(ENDPOINTS[1]).await);
            assert!(after.0 > asked.0 && after.1 >= asked.1 + 2, "{what}: {asked:?} {after:?}");
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn an_outage_of_firstlight_to_many_refuses_no_player_and_every_call_is_made() {
    for action in [json!({"status": 503}), json!("drop")] {
        let server = license_server().await;
        let stage = script(&server).start().await;
        for endpoint in ENDPOINTS {
            stage.headend.fault(endpoint, action.clone(), MANY).await;
        }
        for number in 1..=8 {
            let (user, device) = (format!("user-{number}"), format!("tv-{number}"));
            let reply = user_at(&stage, &user, &device, &format!("198.51.100.{number}")).await;
            assert!(reply.is_good(), "{action}, {number}: {}", reply.text());
            assert!(stage.headend.count("fl-heartbeat").await >= number, "{action}, {number}");
        }
        assert_every_call_is_made(&stage, &action.to_string()).await;
        stage.headend.no_faults().await;
        stage.eventually("confirmed", async || stage.headend.open().await.len() == 8).await;
        stage.eventually("live", async || stage.each("state").await == ["live"; 8]).await;
        stage.end().await;
    }
}
