//! Webhooks: post notices to a service, signed, retried and bounded.
//!
//! Each webhook has a task that listens at the hub and posts one notice after the other, so that they arrive in
//! order. A service that is down misses the oldest notices, and never affects a playback: waiting notices are bounded
//! by the hub, and missed ones are counted. Signed as in the Standard Webhooks specification
//! (<https://www.standardwebhooks.com>). `app` starts the tasks.

mod signing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use self::signing::signature;
use crate::clock::Clock;
use crate::config::WebhookSettings;
use crate::events::{HeardNext, Listener, Notice};
use crate::task::Tasks;
use crate::telemetry::{Telemetry, WebhookDelivery};
use crate::upstream::{ConnectionPool, UpstreamCall};

/// Pauses before the second, third … try.
const DELIVERY_RETRY_PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];
/// The content of replies is ignored.
const MAX_WEBHOOK_REPLY_BYTES: usize = 64 * 1024;

pub struct WebhookSender {
    clock: Clock,
    pool: ConnectionPool,
    tasks: Tasks,
    telemetry: Arc<Telemetry>,
    webhook: WebhookSettings,
}

/// Result of one try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DeliveryTry {
    Delivered,
    /// The service understood the notice and rejects it, so another try would end the same.
    Rejected,
    /// Another try may succeed.
    Unanswered,
}

impl WebhookSender {
    pub fn new(
        webhook: WebhookSettings,
        clock: Clock,
        pool: ConnectionPool,
        tasks: Tasks,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self { clock, pool, tasks, telemetry, webhook }
    }

    /// Runs until the process stops, then posts the remaining notices once.
    pub async fn run(self, mut listener: Listener) {
        let mut down = false;
        loop {
            let heard = tokio::select! {
                heard = listener.next() => heard,
                () = self.tasks.stopped() => break,
            };
            match heard {
                Some(heard) => self.take(heard, &mut down).await,
                None => return,
            }
        }
        while let Some(heard) = listener.try_next() {
            self.take(heard, &mut down).await;
        }
    }

    async fn take(&self, heard: HeardNext, down: &mut bool) {
        match heard {
            HeardNext::Missed(missed) => {
                tracing::warn!(webhook = &*self.webhook.name, missed, "the webhook is too slow; events were dropped");
                self.count(WebhookDelivery::Missed, missed);
            }
            HeardNext::Notice(notice) if self.webhook.wants(notice.name.name()) => {
                *down = !self.deliver(&notice, *down).await
            }
            HeardNext::Notice(_) => {}
        }
    }

    /// Delivers a notice; false if that failed. While the service is down, each notice is tried once.
    async fn deliver(&self, notice: &Notice, down: bool) -> bool {
        let body = Bytes::from(notice.whole().to_string());
        let mut waits = DELIVERY_RETRY_PAUSES.iter().filter(|_| !down && !self.tasks.is_stopping());
        loop {
            match self.post(notice.number, body.clone()).await {
                DeliveryTry::Delivered => {
                    self.count(WebhookDelivery::Delivered, 1);
                    return true;
                }
                DeliveryTry::Rejected => {
                    self.count(WebhookDelivery::Rejected, 1);
                    return true;
                }
                DeliveryTry::Unanswered => {}
            }
            let Some(wait) = waits.next() else { break };
            tokio::select! {
                () = tokio::time::sleep(*wait) => {}
                () = self.tasks.stopped() => {}
            }
        }
        if !down {
            tracing::warn!(
                webhook = &*self.webhook.name,
                event = notice.name.name(),
                "the webhook's service does not answer"
            );
        }
        self.count(WebhookDelivery::GivenUp, 1);
        false
    }

    async fn post(&self, number: u64, body: Bytes) -> DeliveryTry {
        let at = self.clock.wall();
        let call = UpstreamCall {
            headers: self.headers(number, at, &body),
            body,
            deadline: self.clock.now() + self.webhook.timeout,
            endpoint: &self.webhook.url,
            method: Method::POST,
            path_and_query: self.webhook.url.path_and_query(),
            reply_max: MAX_WEBHOOK_REPLY_BYTES,
        };
        match self.pool.send(call).await {
            Ok(reply) if reply.status.is_success() => DeliveryTry::Delivered,
            Ok(reply) if reply.status.is_server_error() || matches!(reply.status.as_u16(), 408 | 429) => {
                DeliveryTry::Unanswered
            }
            Ok(_) => DeliveryTry::Rejected,
            Err(_) => DeliveryTry::Unanswered,
        }
    }

    fn headers(&self, number: u64, at: Duration, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (id, at) = (number.to_string(), at.as_secs().to_string());
        let signature = self.webhook.secret.as_ref().map(|secret| signature(secret, &id, &at, body));
        let named = [("webhook-id", Some(id)), ("webhook-timestamp", Some(at)), ("webhook-signature", signature)];
        for (name, value) in named {
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers
    }

    fn count(&self, delivery: WebhookDelivery, times: u64) {
        self.telemetry.metrics.webhook(&self.webhook.name, delivery, times);
    }
}
