//! `[[route]]` with `kind = "license"`.

use std::sync::Arc;
use std::time::Duration;

use super::body::wrappings;
use super::refusal::refusal;
use super::route::{CommonFields, Frame, RouteKind, strip_cmcd};
use super::section::Section;
use super::units::show_duration;
use super::{AuthorityKind, Endpoint, Refusal, Route, Wrappings};

/// The fields of a `[[route]]` that only those of kind `license` have.
#[derive(Debug)]
pub struct LicenseRouteSettings {
    pub enforcement: Enforcement,
    /// The server that grants the licenses.
    pub license_server: Endpoint,
    pub refusal: Refusal,
    pub session_control: SessionControl,
    /// What becomes of license calls in which no DRM message is recognised.
    pub unrecognised: UnrecognisedCalls,
    pub wrapping: Wrappings,
}

/// Who keeps the session alive toward the authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// By the Widevine license policy; every other DRM is beaten by us.
    Auto,
    Heartbeat,
    Renewal,
}

/// Whether a content token asks for a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionControl {
    Always,
    /// Yes, unless a readable token has no `sessionControl` or says `sessionControlEnabled: false`.
    Auto,
    Never,
}

/// `unrecognised`: what becomes of license calls in which no DRM message is recognised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnrecognisedCalls {
    /// To the license server, without a session.
    Pass,
    Refuse,
}

const ENFORCEMENT: [(&str, Enforcement); 3] =
    [("auto", Enforcement::Auto), ("heartbeat", Enforcement::Heartbeat), ("renewal", Enforcement::Renewal)];

const SESSION_CONTROL: [(&str, SessionControl); 3] =
    [("always", SessionControl::Always), ("auto", SessionControl::Auto), ("never", SessionControl::Never)];

const UNRECOGNISED: [(&str, UnrecognisedCalls); 2] =
    [("pass", UnrecognisedCalls::Pass), ("refuse", UnrecognisedCalls::Refuse)];

/// What holds where a route does not say. The tokens of an embedded authority are the app's own: they do not
/// speak of sessions, and that says nothing.
fn usual_session_control(authority: Option<&AuthorityKind>) -> SessionControl {
    match authority {
        Some(AuthorityKind::Embedded(_)) => SessionControl::Always,
        Some(AuthorityKind::FirstLight(_) | AuthorityKind::NagraSsm(_)) | None => SessionControl::Auto,
    }
}

pub(super) fn license_route(table: &Section<'_>, path: Option<String>, frame: &Frame<'_>) -> Option<Route> {
    table.need("license-server", "write the URL that players asked for licenses before");
    let license_server = table.word("license-server", Endpoint::parse);
    let common = CommonFields::read(table, path, frame);
    let authority = frame.kind(common.authority);
    let enforcement = enforcement(table);
    let strip_cmcd = strip_cmcd(table).unwrap_or(false);
    let session_control = table.choice("session-control", &SESSION_CONTROL);
    let session_control = session_control.unwrap_or_else(|| usual_session_control(authority));
    let managed = common.authority.is_some() && session_control == SessionControl::Always;
    let usual = if managed { UnrecognisedCalls::Refuse } else { UnrecognisedCalls::Pass };
    let unrecognised = table.choice("unrecognised", &UNRECOGNISED).unwrap_or(usual);
    let (refusal, wrapping) = (refusal(&table.table("refusal")), wrappings(&table.table("body")));
    if session_control == SessionControl::Auto {
        warn_of_unregistered(table, authority);
    }
    warn_of_unlimited(table, session_control, authority);
    if common.authority.is_some() {
        warn_of_unused(table, common.endings.unused, frame.call);
    }
    if enforcement == Enforcement::Renewal {
        expect_renewals(table, common.authority, frame);
    }
    let license = LicenseRouteSettings {
        enforcement,
        // Not before all of the table has been read.
        license_server: license_server?,
        refusal,
        session_control,
        unrecognised,
        wrapping,
    };
    common.into_route(RouteKind::License(Arc::new(license)), strip_cmcd)
}

fn enforcement(table: &Section<'_>) -> Enforcement {
    table.choice("enforcement", &ENFORCEMENT).unwrap_or(Enforcement::Auto)
}

/// Sessions that only renewals keep alive would expire where none can come.
fn expect_renewals(table: &Section<'_>, authority: Option<usize>, frame: &Frame<'_>) {
    let renews = match authority {
        Some(_) => frame.kind(authority).map(AuthorityKind::takes_renewals),
        // A name that is none has its own fault.
        None => table.has("authority").then_some(true).or(Some(false)),
    };
    if renews == Some(false) {
        let what = "\"renewal\" needs an authority that takes renewals as beats (kind \"nagra-ssm\"): \
            write \"auto\" or \"heartbeat\", or leave it out";
        table.fault("enforcement", what);
    }
}

/// Only the id in the path says which authorization a license belongs to.
fn warn_of_unregistered(table: &Section<'_>, authority: Option<&AuthorityKind>) {
    if matches!(authority, Some(AuthorityKind::FirstLight(_))) {
        let what = "is \"auto\": a license call without the id of a registered playback (PATH/~ID) passes without a \
            session, so that whoever leaves the id out is limited by nobody; write \"always\" where all players come by \
            an authorize route or the admin API";
        table.warn("session-control", what);
    }
}

/// An embedded authority limits those who have a session, and nobody else.
fn warn_of_unlimited(table: &Section<'_>, session_control: SessionControl, authority: Option<&AuthorityKind>) {
    let who = match session_control {
        SessionControl::Always => return,
        SessionControl::Auto => "a call without a token that asks for a session",
        SessionControl::Never => "every call",
    };
    if matches!(authority, Some(AuthorityKind::Embedded(_))) {
        let what = format!(
            "lets {who} pass without a session, so that the limits of this authority do not hold for it; write \"always\", or leave it out"
        );
        table.warn("session-control", what);
    }
}

/// A place that is given back before the license is there is one more license than the limit allows.
fn warn_of_unused(table: &Section<'_>, unused: Option<Duration>, call: Duration) {
    if let Some(unused) = unused.filter(|unused| *unused < call) {
        let what = format!(
            "unused = \"{}\" gives a place back before a license call must be answered (server.limits.call, {}): two \
             viewers can get a license for it",
            show_duration(unused),
            show_duration(call)
        );
        table.warn("endings", what);
    }
}
