//! Tells one story for identical calls, whichever worker they come to.
//!
//! The story runs in a task of its own: whoever asked first may hang up. A call whose device or
//! message is not known, that is one too many, or that would join a session which has ended
//! meanwhile, tells its own story.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use super::request::Asked;
use super::single_flight::{Boarding, Flight, Landing};
use super::{Ending, Story};
use crate::edge::reply::Refusal;
use crate::gateway::Gateway;
use crate::gateway::route::{LicenseRoute, Route};
use crate::session::CallKind;
use crate::telemetry::Outcome;

impl Gateway {
    pub(in crate::gateway) async fn tell_once(
        &self,
        route: &LicenseRoute,
        asked: &Arc<Asked>,
        deadline: Instant,
    ) -> Ending {
        let ending = match asked.twin(route).map(|challenge| self.flights.board(challenge)) {
            Some(Boarding::Join(landing)) if self.goes_on(&landing) => self.join(route, landing).await,
            Some(Boarding::TakeOff(flight, landing)) => {
                self.take_off(route.clone(), asked.clone(), deadline, flight);
                landing.ending().await
            }
            Some(Boarding::Full | Boarding::Join(_)) | None => {
                Story { asked, deadline, flight: None, gateway: self, route }.tell().await
            }
        };
        ending.unwrap_or_else(lost)
    }

    /// Whether the session of the flight, if it has one, would still be served.
    fn goes_on(&self, landing: &Landing) -> bool {
        landing.session().is_none_or(|(key, id)| {
            let answer = self.sessions.call_under(key, id, CallKind::License);
            answer.is_some_and(|answer| answer.refusal().is_none())
        })
    }

    async fn join(&self, route: &Route, landing: Landing) -> Option<Ending> {
        let ending = landing.ending().await;
        match &ending {
            // Mostly refused without a call to an upstream.
            None | Some((Outcome::Refused, _)) => {}
            Some((Outcome::Declined | Outcome::Failed | Outcome::Passed | Outcome::Served, _)) => {
                self.telemetry.metrics.upstream_call_saved(&route.path, "same_challenge");
            }
        }
        ending
    }

    fn take_off(&self, route: LicenseRoute, asked: Arc<Asked>, deadline: Instant, flight: Flight) {
        let gateway = self.clone();
        self.tasks.carry_on(async move {
            let story = Story { asked: &asked, deadline, flight: Some(&flight), gateway: &gateway, route: &route };
            if let Some(ending) = story.tell().await {
                flight.land(ending);
            }
        });
    }
}

/// For a story that broke off.
fn lost() -> Ending {
    let refusal = Refusal {
        // Not 500: players repeat that up to 27 times.
        status: StatusCode::FORBIDDEN,
        error: "internal",
        detail: "the call could not be finished",
        close: false,
    };
    (Outcome::Failed, refusal.reply())
}
