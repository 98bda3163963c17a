//! Logs and metrics.
//!
//! [`Telemetry::note`] turns an event of the core into a log line, a counter, and a notice for listeners. Labels are
//! bounded: routes, authorities, names from our own tables; never a device, account or session. No secret comes here,
//! because events carry only scrubbed reasons.

mod labels;
mod log;
mod log_rate;
mod metrics;
mod outage_summary;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{debug, info, warn};

pub use self::labels::{CallLabels, MediaLabels, PlayerCallOutcome, SavedCall, SlotEnd, WebhookDelivery};
pub use self::log::{change as change_log, start as start_log};
pub use self::log_rate::{LOG_WINDOW, LogBounds, LogRateLimiter, SuppressedLines, tell_suppressed};
pub use self::metrics::Metrics;
pub use self::outage_summary::OutageEnd;
use self::outage_summary::OutageSummaries;
use crate::clock::Clock;
use crate::events::{EventHub, PlaybackInfo};
use crate::secret::Fingerprint;
use crate::session::{BlackoutReason, Reason, SessionEvent, SessionKill};
use crate::task::Tasks;

#[derive(Debug)]
pub struct Telemetry {
    /// Limits lines about calls, per device and address.
    pub call_lines: Arc<LogRateLimiter<String>>,
    clock: Clock,
    pub events: Arc<EventHub>,
    hashed_identities: AtomicBool,
    pub metrics: Metrics,
    outages: OutageSummaries,
    /// Limits lines about sessions, so that endless opens and stops fill no disk.
    pub session_lines: Arc<LogRateLimiter<String>>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new(Clock::default())
    }
}

impl Telemetry {
    pub fn new(clock: Clock) -> Self {
        Self {
            call_lines: Arc::default(),
            clock,
            events: Arc::default(),
            hashed_identities: AtomicBool::default(),
            metrics: Metrics::default(),
            outages: OutageSummaries::default(),
            session_lines: Arc::new(LogRateLimiter::within(LogBounds::SESSIONS)),
        }
    }
}

impl Telemetry {
    /// Reports suppressed lines until the process stops.
    pub fn tell_suppressed_lines(&self, tasks: &Tasks) {
        for lines in [&self.call_lines, &self.session_lines] {
            tasks.spawn(tell_suppressed(lines.clone(), self.clock, tasks.clone()));
        }
    }

    /// Sets whether log lines show devices and accounts as hashes.
    pub fn hash_identities(&self, hashed: bool) {
        self.hashed_identities.store(hashed, Ordering::Relaxed);
    }

    /// A device or an account as the log shows it: without control characters, and hashed if configured.
    pub fn shown(&self, name: &str) -> String {
        if self.hashed_identities.load(Ordering::Relaxed) {
            return format!("{:016x}", Fingerprint::of(name.as_bytes()).get());
        }
        name.chars().filter(|c| !c.is_control()).collect()
    }

    /// A text of the far side as the log shows it; names of the device and account are hidden in it, too.
    pub fn said<'a>(&self, text: &'a str, names: [Option<&str>; 2]) -> Cow<'a, str> {
        let mut said = Cow::Borrowed(text);
        if self.hashed_identities.load(Ordering::Relaxed) {
            for name in names.into_iter().flatten().filter(|name| !name.is_empty() && text.contains(name)) {
                said = said.replace(name, &self.shown(name)).into();
            }
        }
        said
    }

    /// Writes an event of a session to the log and the counters, and publishes it. `at` is wall time since the epoch.
    /// `told` is true if another line says more, so that this one is only for debugging.
    pub fn note(&self, of: &PlaybackInfo<'_>, event: &SessionEvent, at: Duration, told: bool) {
        self.metrics.event(of, event);
        self.outages.event(of.authority, event);
        self.events.publish(of, event, at);
        let name = event.name();
        let is_routine = told
            || matches!(
                event,
                SessionEvent::Beat | SessionEvent::Renewed | SessionEvent::RenewalsCarry | SessionEvent::Resumed
            );
        if is_routine && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let device = self.shown(of.device);
        if !is_routine && !self.session_lines.allow_in_group(name, device.clone(), of.network.get(), self.clock.now()) {
            return;
        }
        let (session, authority, route) = (of.session.short(), &**of.authority, &**of.route);
        let account = of.account.map(|name| self.shown(name));
        let said = |reason: &Reason| self.said(&reason.message, [Some(of.device), of.account]).into_owned();
        match event {
            SessionEvent::Beat | SessionEvent::Renewed | SessionEvent::RenewalsCarry | SessionEvent::Resumed => {
                debug!(%session, device, account, authority, route, "{name}")
            }
            SessionEvent::BeatLate(late) => {
                warn!(%session, device, account, authority, late_ms = late.as_millis() as u64, "{name}")
            }
            SessionEvent::Closed(end) | SessionEvent::Left(end) => {
                info!(%session, device, account, authority, route, reason = end.name(), "{name}")
            }
            SessionEvent::Failed(ask, reason) if told => debug!(
                %session, device, account, authority, route, event = (of.error_name)(*ask),
                code = reason.told_code(), errorCode = reason.error_code, said = &*reason.message, "{name}"
            ),
            SessionEvent::Failed(ask, reason) => warn!(
                %session, device, account, authority, route, event = (of.error_name)(*ask),
                code = reason.told_code(), errorCode = reason.error_code, said = said(reason), "{name}"
            ),
            SessionEvent::Refused(_, reason) if told => debug!(
                %session, device, account, authority, route,
                code = reason.told_code(), errorCode = reason.error_code, said = &*reason.message, "{name}"
            ),
            SessionEvent::Orphaned => warn!(
                %session, device, account, authority, route,
                "{name}: nobody can give back what it may have brought, the authority lets it expire"
            ),
            SessionEvent::LeftOpen => warn!(
                %session, device, account, authority, route,
                "{name}: its newest token was lost with an answer, the authority lets it expire"
            ),
            SessionEvent::Reopening => warn!(
                %session, device, account, authority, route,
                "{name}: the authority knows it no more after an answer that was lost, which is no kill"
            ),
            SessionEvent::Blackout(BlackoutReason { reason, .. })
            | SessionEvent::Killed(SessionKill::Blackout(BlackoutReason { reason, .. }) | SessionKill::Plain(reason))
            | SessionEvent::Refused(_, reason) => warn!(
                %session, device, account, authority, route,
                code = reason.told_code(), errorCode = reason.error_code, said = said(reason), "{name}"
            ),
            SessionEvent::Opened { interval } => {
                info!(%session, device, account, authority, route, interval_s = interval.as_secs_f64(), "{name}")
            }
            SessionEvent::Recovered(missed) => {
                info!(%session, device, account, authority, missed, "{name}")
            }
            SessionEvent::OnCredit { running } => {
                info!(%session, device, account, authority, route, running, "{name}")
            }
            SessionEvent::Settled(owed) => {
                info!(%session, device, account, authority, route, owed_s = owed.as_secs_f64(), "{name}")
            }
            SessionEvent::Forgiven
            | SessionEvent::Joined
            | SessionEvent::Reached(_)
            | SessionEvent::Returned
            | SessionEvent::Stale(_)
            | SessionEvent::Unmanaged => {
                info!(%session, device, account, authority, route, "{name}");
            }
        }
    }

    /// Reports that calls to the authority are spared from now on (`open`), or made again.
    pub fn breaker(&self, authority: &Arc<str>, calls: &'static str, open: bool) {
        if open {
            self.outages.begins(authority);
            warn!(authority = &**authority, calls, "the authority does not answer: it is asked now and then only");
        } else {
            info!(authority = &**authority, calls, "the authority answers: it is asked again");
        }
    }

    /// True if a line of this kind about a call may be written now; otherwise it is counted. `network` is the
    /// caller's.
    pub fn may_write(&self, kind: &'static str, device: &str, network: Fingerprint) -> bool {
        self.call_lines.allow_in_group(kind, self.shown(device), network.get(), self.clock.now())
    }

    /// Like [`Self::may_write`], about a route, an authority or another configured name.
    pub fn may_write_about(&self, kind: &'static str, name: &str) -> bool {
        self.call_lines.allow(kind, name.to_owned(), self.clock.now())
    }

    /// Reports that the opens of an account must wait.
    pub fn account_deferred(&self, authority: &Arc<str>, wait: Duration) {
        self.metrics.account_deferred(authority);
        if !self.may_write_about("account told to wait", authority) {
            return;
        }
        info!(authority = &**authority, wait_s = wait.as_secs_f64(), "the authority told an account to wait");
    }

    /// Calls to the authority are answered again. When no playback is on credit any more, one line sums it up.
    pub fn outage_ends(&self, authority: &Arc<str>, end: OutageEnd) {
        self.outages.ends(authority, end);
    }

    /// Reports newly fetched keys of an authority.
    pub fn token_keys_fetched(&self, authority: &Arc<str>, keys: usize) {
        self.metrics.token_keys_fetched(authority, Some(keys));
        info!(authority = &**authority, keys, "token keys fetched");
    }

    /// Reports a failed fetch. The authority keeps `keys` old ones.
    pub fn token_keys_not_fetched(&self, authority: &Arc<str>, fault: &str, keys: usize) {
        self.metrics.token_keys_fetched(authority, None);
        if keys == 0 {
            warn!(
                authority = &**authority,
                fault, "no token keys could be fetched: calls are refused until they can (token_keys_missing)"
            );
        } else {
            warn!(authority = &**authority, fault, keys, "token keys not fetched; the old ones stay");
        }
    }

    /// `offset` is the time in seconds that the authority's clock is ahead of ours.
    pub fn clock_offset(&self, authority: &Arc<str>, offset: f64, warn: bool) {
        self.metrics.clock_offset(authority, offset);
        if warn {
            warn!(authority = &**authority, offset_s = offset, "the clock of this device differs from the authority's");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::ids::SessionId;
    use crate::session::EndReason;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_player_that_opens_and_stops_without_end_writes_its_first_lines() {
        let (telemetry, written) = (Telemetry::default(), Written::default());
        let (authority, route, writer) = (Arc::from("head-end"), Arc::from("/license"), written.clone());
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let playback = |device: &'static str, network| PlaybackInfo {
            account: None,
            authority: &authority,
            content: None,
            device,
            error_name: |_| "",
            key: 1,
            network: Fingerprint::new(network),
            route: &route,
            session: SessionId(1),
            token: None,
        };
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..500 {
                for event in [
                    SessionEvent::Opened { interval: Duration::from_secs(30) },
                    SessionEvent::Closed(EndReason::Stopped),
                ] {
                    telemetry.note(&playback("loud", 1), &event, Duration::ZERO, false);
                }
            }
            telemetry.note(&playback("quiet", 2), &SessionEvent::Closed(EndReason::Stopped), Duration::ZERO, false);
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!([lines("device=\"loud\""), lines("device=\"quiet\"")], [40, 1], "{text}");
        let left_out: u64 = telemetry.session_lines.take_suppressed(Clock.now()).iter().map(|lines| lines.lines).sum();
        assert_eq!(left_out, 1_000 - 40);
    }

    #[test]
    fn devices_are_named_or_hashed_as_the_configuration_says() {
        let telemetry = Telemetry::default();
        assert_eq!(telemetry.shown("living\nroom"), "livingroom");
        telemetry.hash_identities(true);
        let hashed = telemetry.shown("living-room");
        assert!(hashed.len() == 16 && !hashed.contains("living"));
        assert_eq!(hashed, telemetry.shown("living-room"));
        assert_ne!(hashed, telemetry.shown("kitchen"));
        let said = "living-room of ann has too many".to_owned();
        let names = [Some("living-room"), Some("ann")];
        assert_eq!(telemetry.said(&said, names), format!("{hashed} of {} has too many", telemetry.shown("ann")));
        telemetry.hash_identities(false);
        assert_eq!(telemetry.said(&said, names), said);
        assert_eq!(telemetry.shown("kitchen"), "kitchen");
    }
}
