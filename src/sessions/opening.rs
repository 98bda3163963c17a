//! Makes an open: from its first call until the authority has a slot for it, or no session gives one up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Sessions;
use super::dispatcher::busy;
use super::session_context::{DeviceKey, SessionContext};
use crate::ids::SessionId;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, PlaceTurn, Verdict};
use crate::task::HeldPlace;

/// Part of a license call's six seconds that an open may wait for slots to come back.
const MAX_PLACE_RELEASE_WAIT: Duration = Duration::from_secs(2);

/// Pause before looking again: a session that must give its slot up may have to wait for a call of its player.
const PLACE_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Number of looks while no session is known that may give way.
const MAX_PLACE_POLLS: u32 = 10;

/// Slots that one open waits for, because another open may take the first ones.
const MAX_PLACES_AWAITED: u32 = 4;

/// An open is not repeated later than this after it was asked for. No license call waits so long, and with an
/// authority's longest time limit (7 s) it would outlast the core's time limit.
pub(super) const MAX_OPEN_RETRY_AGE: Duration = Duration::from_secs(7);

impl Sessions {
    /// Makes one call. An open that met the limit, or a session of its name, is repeated when a slot of the same
    /// account has come back or was given up for it, and again if another open took that slot, but not after
    /// `latest`.
    pub(super) async fn perform(
        self: &Arc<Self>,
        ask: &AuthorityAsk,
        context: &Arc<SessionContext>,
        whose: (DeviceKey, SessionId),
        latest: Instant,
        place: Option<&HeldPlace>,
    ) -> Result<Verdict, AuthorityFault> {
        let (client, pending_releases) = (&self.dispatcher.client, self.dispatcher.pending_releases());
        if ask.kind != AskKind::Open {
            let Some(_permit) = self.dispatcher.set_out(None).await else { return Err(busy()) };
            return client.ask(ask, context).await;
        }
        let mut before = pending_releases.of(context);
        let mut result = match self.dispatcher.set_out(None).await {
            Some(_permit) => self.open(ask, context, place).await,
            None => return Err(busy()),
        };
        let (mut given, mut looks, mut may_wait) = (0, MAX_PLACE_POLLS, true);
        while let Ok(Verdict::Denied(denial, _)) = &result
            && denial.may_pass()
            // After `latest` the open is not repeated, so no session gives up a slot for it.
            && self.clock.now() < latest
            && given < MAX_PLACES_AWAITED
        {
            let waits_for =
                before.take().or_else(|| pending_releases.of(context)).filter(|_| std::mem::take(&mut may_wait));
            let turned = if waits_for.is_some() { PlaceTurn::Given } else { self.make_room(whose, context, *denial) };
            match turned {
                PlaceTurn::Given => given += 1,
                PlaceTurn::Later => {
                    tokio::time::sleep(PLACE_POLL_INTERVAL).await;
                    continue;
                }
                // The session that was faster may be a preload, which is known when its answer is there.
                PlaceTurn::Nobody if given > 0 && looks > 0 => {
                    looks -= 1;
                    tokio::time::sleep(PLACE_POLL_INTERVAL).await;
                    continue;
                }
                PlaceTurn::Nobody => break,
            }
            let Some(settled) = waits_for.or_else(|| pending_releases.of(context)) else { continue };
            // A close that takes longer is in trouble, and the player will not wait for it.
            let _settled = tokio::time::timeout(MAX_PLACE_RELEASE_WAIT, settled.wait()).await;
            let left = latest.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                break;
            }
            let Some(permit) = self.dispatcher.set_out(Some(left)).await else { break };
            result = self.open(ask, context, place).await;
            drop(permit);
            self.telemetry.metrics.open_asked_again(&context.authority_name, result_name(&result));
        }
        result
    }

    async fn open(
        self: &Arc<Self>,
        ask: &AuthorityAsk,
        context: &Arc<SessionContext>,
        place: Option<&HeldPlace>,
    ) -> Result<Verdict, AuthorityFault> {
        let (result, late) = self.dispatcher.client.open(ask, context).await;
        if let Some(late) = late {
            self.give_late_grant_back(late, context, place.cloned());
        }
        result
    }
}

fn result_name(result: &Result<Verdict, AuthorityFault>) -> &'static str {
    result.as_ref().map_or_else(|fault| fault.kind.name(), Verdict::name)
}
