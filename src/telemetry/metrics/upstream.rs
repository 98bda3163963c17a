//! Counts calls to license servers and origins: failures, retries, and calls that were saved.

use super::super::labels::{RouteFault, RouteResult, SavingLabels};
use super::Metrics;

impl Metrics {
    /// Counts a call to an upstream that was not necessary.
    pub fn upstream_call_saved(&self, route: &str, reason: &'static str) {
        self.upstream_calls_saved.get_or_create(&SavingLabels { reason, route: route.to_owned() }).inc();
    }

    pub fn upstream_fault(&self, route: &str, fault: &'static str) {
        self.upstream_faults.get_or_create(&RouteFault { fault, route: route.to_owned() }).inc();
    }

    /// Counts the retries of a call, by whether it was answered at last.
    pub fn upstream_retries(&self, route: &str, times: u32, answered: bool) {
        let result = if answered { "answered" } else { "failed" };
        let label = RouteResult { result, route: route.to_owned() };
        self.upstream_retries.get_or_create(&label).inc_by(times.into());
    }
}
