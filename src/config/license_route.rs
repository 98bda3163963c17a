//! `[[route]]` with `kind = "license"`, and its tables: `[route.body]`, how bodies are wrapped on either side of us, and
//! `[route.refusal.…]`, the refusal profile for each DRM system, with first licenses and renewals apart.

use std::sync::Arc;
use std::time::Duration;

use super::route::{CommonRouteFields, RouteContext, RouteKind, strip_cmcd};
use super::table_reader::TableReader;
use super::units::show_duration;
use super::words::pair;
use super::{AuthorityKind, EndpointUrl, RouteSettings};
use crate::drm::configured_wrapping::BodyWrapping;
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

/// Wrappings of bodies on either side of the proxy. A body stays untouched where both sides are equal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BodyWrappings {
    pub player_reply: BodyWrapping,
    pub player_request: BodyWrapping,
    pub server_reply: BodyWrapping,
    pub server_request: BodyWrapping,
}

/// A missing key takes the wrapping of the other side, so that one word describes a head-end that wraps.
pub(super) fn wrappings(table: &TableReader<'_>) -> BodyWrappings {
    let wrapping = |key: &str| table.word(key, wrapping);
    let player_request = wrapping("player").unwrap_or(BodyWrapping::Raw);
    let server_request = wrapping("server").unwrap_or_else(|| player_request.clone());
    BodyWrappings {
        player_reply: wrapping("player-reply").unwrap_or_else(|| player_request.clone()),
        server_reply: wrapping("server-reply").unwrap_or_else(|| server_request.clone()),
        player_request,
        server_request,
    }
}

pub(super) fn wrapping(text: &str) -> Result<BodyWrapping, String> {
    match pair(text) {
        ("base64", None) => Ok(BodyWrapping::Base64),
        ("form", Some(field)) => Ok(BodyWrapping::Form(field.to_owned())),
        ("json", Some(field)) => Ok(BodyWrapping::Json(field.to_owned())),
        ("raw", None) => Ok(BodyWrapping::Raw),
        _ => Err("must be raw, base64, json:FIELD or form:FIELD".to_owned()),
    }
}

/// The profile per DRM and phase.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RefusalSettings {
    pub clearkey: RefusalProfiles,
    pub fairplay: RefusalProfiles,
    pub playready: RefusalProfiles,
    pub widevine: RefusalProfiles,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RefusalProfiles {
    pub first: RefusalProfile,
    pub renewal: RefusalProfile,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RefusalProfile {
    /// The player family decides.
    #[default]
    Auto,
    /// 403 and JSON.
    Http,
    /// 200 and an in-band refusal that the CDM rejects.
    Reject,
    /// 200 and a SOAP fault.
    Soap200,
    /// 500 and a SOAP fault.
    Soap500,
}

const PROFILE_WORDS: [(&str, RefusalProfile); 5] = [
    ("auto", RefusalProfile::Auto),
    ("http", RefusalProfile::Http),
    ("reject", RefusalProfile::Reject),
    ("soap-200", RefusalProfile::Soap200),
    ("soap-500", RefusalProfile::Soap500),
];

pub(super) fn refusal(table: &TableReader<'_>) -> RefusalSettings {
    RefusalSettings {
        clearkey: profiles(&table.table("clearkey"), no_soap),
        fairplay: profiles(&table.table("fairplay"), http_alone),
        playready: profiles(&table.table("playready"), |_| Ok(())),
        widevine: profiles(&table.table("widevine"), no_soap),
    }
}

fn profiles(table: &TableReader<'_>, fits: impl Fn(RefusalProfile) -> Result<(), &'static str>) -> RefusalProfiles {
    let profile = |key: &str| {
        let profile = table.choice(key, &PROFILE_WORDS).unwrap_or(RefusalProfile::Auto);
        if let Err(what) = fits(profile) {
            table.fault(key, what);
        }
        profile
    };
    RefusalProfiles { first: profile("first"), renewal: profile("renewal") }
}

fn no_soap(profile: RefusalProfile) -> Result<(), &'static str> {
    match profile {
        RefusalProfile::Auto | RefusalProfile::Http | RefusalProfile::Reject => Ok(()),
        RefusalProfile::Soap200 | RefusalProfile::Soap500 => Err("cannot be a SOAP fault: only PlayReady speaks SOAP"),
    }
}

fn http_alone(profile: RefusalProfile) -> Result<(), &'static str> {
    match profile {
        RefusalProfile::Auto | RefusalProfile::Http => Ok(()),
        RefusalProfile::Reject => Err("cannot be \"reject\": FairPlay has no refusal in band, use \"http\""),
        RefusalProfile::Soap200 | RefusalProfile::Soap500 => no_soap(profile),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappings_are_read() {
        for (text, word) in [
            ("base64", Some(BodyWrapping::Base64)),
            ("form:body", Some(BodyWrapping::Form("body".into()))),
            ("json:challenge", Some(BodyWrapping::Json("challenge".into()))),
            ("raw", Some(BodyWrapping::Raw)),
            ("json", None),
            ("Raw", None),
        ] {
            assert_eq!(wrapping(text).ok(), word, "{text}");
        }
    }
}
