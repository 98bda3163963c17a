//! `[[route]]` with `kind = "license"`.

use std::sync::Arc;
use std::time::Duration;

use super::body::wrappings;
use super::refusal::refusal;
use super::route::{CommonRouteFields, RouteContext, RouteKind, strip_cmcd};
use super::table_reader::TableReader;
use super::units::show_duration;
use super::{AuthorityKind, BodyWrappings, EndpointUrl, RefusalSettings, RouteSettings};
use crate::session::Enforcement;

/// The fields of a `[[route]]` that only those of kind `license` have.
#[derive(Debug)]
pub struct LicenseRouteSettings {
    pub enforcement: Enforcement,
    /// The server that grants the licenses.
    pub license_server: EndpointUrl,
    pub refusal: RefusalSettings,
    pub session_control: SessionControlMode,
    /// Treatment of license calls in which no DRM message is recognised.
    pub unrecognised: UnrecognisedCalls,
    pub wrapping: BodyWrappings,
}

/// The rule by which a license call asks for a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionControlMode {
    Always,
    /// Yes, unless a readable token has no `sessionControl` or says `sessionControlEnabled: false`.
    Auto,
    Never,
}

/// `unrecognised`: treatment of license calls in which no DRM message is recognised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnrecognisedCalls {
    /// Send them to the license server without a session.
    Pass,
    Refuse,
}

const ENFORCEMENT_WORDS: [(&str, Enforcement); 3] =
    [("auto", Enforcement::Auto), ("heartbeat", Enforcement::Heartbeat), ("renewal", Enforcement::Renewal)];

const SESSION_CONTROL_WORDS: [(&str, SessionControlMode); 3] =
    [("always", SessionControlMode::Always), ("auto", SessionControlMode::Auto), ("never", SessionControlMode::Never)];

const UNRECOGNISED_WORDS: [(&str, UnrecognisedCalls); 2] =
    [("pass", UnrecognisedCalls::Pass), ("refuse", UnrecognisedCalls::Refuse)];

/// The default of `session-control`, given by the authority.
fn usual_session_control(authority: Option<&AuthorityKind>) -> SessionControlMode {
    authority.map_or(SessionControlMode::Auto, |kind| kind.settings().session_control())
}

pub(super) fn license_route(
    table: &TableReader<'_>,
    path: Option<String>,
    frame: &RouteContext<'_>,
) -> Option<RouteSettings> {
    table.need("license-server", "write the URL that players asked for licenses before");
    let license_server = table.word("license-server", EndpointUrl::parse);
    let common = CommonRouteFields::read(table, path, frame);
    let authority = frame.kind(common.authority);
    let enforcement = enforcement(table);
    let strip_cmcd = strip_cmcd(table).unwrap_or(false);
    let session_control = table.choice("session-control", &SESSION_CONTROL_WORDS);
    let session_control = session_control.unwrap_or_else(|| usual_session_control(authority));
    let managed = common.authority.is_some() && session_control == SessionControlMode::Always;
    let usual = if managed { UnrecognisedCalls::Refuse } else { UnrecognisedCalls::Pass };
    let unrecognised = table.choice("unrecognised", &UNRECOGNISED_WORDS).unwrap_or(usual);
    let (refusal, wrapping) = (refusal(&table.table("refusal")), wrappings(&table.table("body")));
    if session_control == SessionControlMode::Auto {
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
        // Not before the whole table has been read.
        license_server: license_server?,
        refusal,
        session_control,
        unrecognised,
        wrapping,
    };
    common.into_route(RouteKind::License(Arc::new(license)), strip_cmcd)
}

fn enforcement(table: &TableReader<'_>) -> Enforcement {
    table.choice("enforcement", &ENFORCEMENT_WORDS).unwrap_or(Enforcement::Auto)
}

/// Refuses sessions that only renewals would keep alive, if the authority takes none.
fn expect_renewals(table: &TableReader<'_>, authority: Option<usize>, frame: &RouteContext<'_>) {
    let renews = match authority {
        Some(_) => frame.kind(authority).map(|kind| kind.settings().takes_renewals()),
        // A faulty name has a fault of its own.
        None => table.has("authority").then_some(true).or(Some(false)),
    };
    if renews == Some(false) {
        let what = "\"renewal\" needs an authority that takes renewals as beats (kind \"nagra-ssm\"): \
            write \"auto\" or \"heartbeat\", or leave it out";
        table.fault("enforcement", what);
    }
}

/// Warns that only the id in the path connects a license with its authorization.
fn warn_of_unregistered(table: &TableReader<'_>, authority: Option<&AuthorityKind>) {
    if matches!(authority, Some(AuthorityKind::FirstLight(_))) {
        let what = "is \"auto\": a license call without the id of a registered playback (PATH/~ID) passes without a \
            session, so that whoever leaves the id out is limited by nobody; write \"always\" where all players come by \
            an authorize route or the admin API";
        table.warn("session-control", what);
    }
}

/// Warns that an embedded authority does not limit calls without a session.
fn warn_of_unlimited(table: &TableReader<'_>, session_control: SessionControlMode, authority: Option<&AuthorityKind>) {
    let who = match session_control {
        SessionControlMode::Always => return,
        SessionControlMode::Auto => "a call without a token that asks for a session",
        SessionControlMode::Never => "every call",
    };
    if matches!(authority, Some(AuthorityKind::Embedded(_))) {
        let what = format!(
            "lets {who} pass without a session, so that the limits of this authority do not hold for it; write \"always\", or leave it out"
        );
        table.warn("session-control", what);
    }
}

/// Warns of a slot that is given back before its license is there: a second license could be given for it.
fn warn_of_unused(table: &TableReader<'_>, unused: Option<Duration>, call: Duration) {
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
