//! FirstLight as a dialect: its rules, and that each ask is several calls.

use std::time::{Duration, Instant};

use http::HeaderName;

use crate::authority::AuthoritySignals;
use crate::authority::client::AskContext;
use crate::authority::dialect::Dialect;
use crate::config::{AuthorityKind, FieldNames, FirstLightSettings};
use crate::registrations::{AuthorizationBlock, LiveEvent};
use crate::session::{AskKind, AuthorityAsk, Policy, ProgramTimes, Schedule};
use crate::sessions::OpenFuture;
use crate::store::DialectName;

impl Dialect for FirstLightSettings {
    fn name(&self) -> DialectName {
        DialectName::FirstLight
    }

    fn renewed(&self, config: AuthorityKind, _signals: &AuthoritySignals) -> Option<Box<dyn Dialect>> {
        let AuthorityKind::FirstLight(config) = config else { return None };
        Some(config)
    }

    /// Our own names, because the vendor publishes none.
    fn error_name(&self) -> fn(AskKind) -> &'static str {
        |ask| match ask {
            AskKind::Beat => "heartbeat-error",
            AskKind::Close => "heartbeat-stop-error",
            AskKind::Open => "heartbeat-start-error",
            AskKind::Renew => "heartbeat-renew-error",
        }
    }

    fn perform<'a>(&'a self, context: AskContext<'a>, ask: &'a AuthorityAsk) -> OpenFuture<'a> {
        Box::pin(async move {
            let result = self.answer(context, ask).await;
            context.count(&result);
            (result, None)
        })
    }

    /// False: failures are counted per session, and every call is made.
    fn has_breaker(&self) -> bool {
        false
    }

    fn refine(&self, policy: Policy) -> Policy {
        Policy {
            beat_on_resume: true,
            beat_while_paused: self.beat_while_paused,
            counts_ended: true,
            max_failures: Some(self.max_failures),
            opens_beside: false,
            rotates_tokens: false,
            stop_on_blackout: self.stop_player_on_stream_timeline_event,
            stop_on_end: self.stop_player_on_stream_timeline_event && self.stop_on_playback_end,
            ..policy
        }
    }

    fn authorization(&self) -> (&FieldNames, &[HeaderName]) {
        (&self.names, &self.pass_headers)
    }

    /// `None` for a playback that is known to be on demand.
    fn schedule(&self, block: &AuthorizationBlock, now: Instant, wall: Duration) -> Option<Schedule> {
        if block.live == Some(false) {
            return None;
        }
        let times = ProgramTimes {
            end: block.live_end,
            overflow: block.live_event == LiveEvent::Overflow,
            post_slate: self.post_slate,
            start: block.live_start,
            view_end: block.live_360_end,
            view_start: block.live_360_start,
        };
        Some(Schedule::new(now, wall, &times))
    }
}
