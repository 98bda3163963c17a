//! Starts a task for each webhook.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::WebhookSettings;
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::upstream::ConnectionPool;
use crate::webhooks::Courier;

pub(super) fn start_couriers(
    webhooks: Vec<WebhookSettings>,
    pool: &ConnectionPool,
    tasks: &Tasks,
    telemetry: &Arc<Telemetry>,
) {
    for webhook in webhooks {
        let listener = telemetry.events.listen(None);
        let courier = Courier::new(webhook, Clock, pool.clone(), tasks.clone(), telemetry.clone());
        tasks.spawn(courier.run(listener));
    }
}
