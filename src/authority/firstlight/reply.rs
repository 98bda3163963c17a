//! Reads the two services' replies by one table, whose first fitting row counts.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::bounded;
use crate::config::{FieldNames, FirstLightSettings};
use crate::registrations::{AuthorizationBlock, AuthorizationFields};
use crate::secret::Secret;
use crate::session::{AuthorityFault, Blackout, BlackoutReason, FaultKind, Reason};

/// Tokens are below 8 KiB.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
const MAX_WORD_BYTES: usize = 256;

/// A row of the table; a good beat carries its news.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::authority) enum ReplyClass {
    /// 401: the credentials are no longer valid.
    Auth(AuthorityFault),
    Blackout(BlackoutReason),
    Concurrency(Reason),
    Denied(Reason),
    Ended(Reason),
    Good(Box<HeartbeatNews>),
    /// The way there or the service itself failed. A reply in no row counts here, too.
    Infrastructure(AuthorityFault),
    /// No more beats are wanted; the playback may go on.
    Stop,
    /// 404 or 410: the token is unknown. It has ended, or a lost answer replaced it.
    Unknown(Reason),
}

impl ReplyClass {
    /// The reason of a refusal or failure.
    pub(in crate::authority) fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Auth(fault) | Self::Infrastructure(fault) => Some(&fault.reason),
            Self::Blackout(BlackoutReason { reason, .. })
            | Self::Concurrency(reason)
            | Self::Denied(reason)
            | Self::Ended(reason)
            | Self::Unknown(reason) => Some(reason),
            Self::Good(_) | Self::Stop => None,
        }
    }
}

/// News in a good beat, which apply from the next one on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::authority) struct HeartbeatNews {
    pub(in crate::authority) interval: Option<Duration>,
    pub(in crate::authority) live_end: Option<Duration>,
    pub(in crate::authority) live_start: Option<Duration>,
    pub(in crate::authority) token: Option<Secret>,
    /// Times of the 360-degree view.
    pub(in crate::authority) view_end: Option<Duration>,
    pub(in crate::authority) view_start: Option<Duration>,
}

impl HeartbeatNews {
    /// The authorization with the programme's new times, if these differ.
    pub(in crate::authority) fn moved(&self, block: &AuthorizationBlock) -> Option<AuthorizationBlock> {
        let moved = AuthorizationBlock {
            live_360_end: self.view_end.or(block.live_360_end),
            live_360_start: self.view_start.or(block.live_360_start),
            live_end: self.live_end.or(block.live_end),
            live_start: self.live_start.or(block.live_start),
            ..block.clone()
        };
        (moved != *block).then_some(moved)
    }
}

impl FirstLightSettings {
    pub(in crate::authority) fn class_of(&self, status: StatusCode, body: &[u8]) -> ReplyClass {
        let value: Result<Value, _> = if body.iter().all(u8::is_ascii_whitespace) {
            Ok(Value::Object(serde_json::Map::new()))
        } else {
            serde_json::from_slice(body)
        };
        let object = value.ok().filter(Value::is_object);
        let nothing = Value::Object(serde_json::Map::new());
        let said = HeartbeatReply::of(self, object.as_ref().unwrap_or(&nothing));
        let readable = object.as_ref().is_some_and(|object| is_of_the_service(object, &self.names));
        self.classify(status, readable, &said)
    }

    fn classify(&self, status: StatusCode, readable: bool, said: &HeartbeatReply<'_>) -> ReplyClass {
        let reason = || said.reason(status);
        let good = status.is_success();
        match (status.as_u16(), said.meaning(self)) {
            (409, _) => ReplyClass::Concurrency(reason()),
            (403 | 429, _) if said.is_limit(self) => ReplyClass::Concurrency(reason()),
            (_, _) if good && said.is_limit(self) => ReplyClass::Concurrency(reason()),
            (451, _) => ReplyClass::Blackout(said.blacked_out(reason())),
            (403, _) if said.blackout.is_some() => ReplyClass::Blackout(said.blacked_out(reason())),
            (_, meaning) if good && (said.blackout.is_some() || meaning == HeartbeatAction::Blackout) => {
                ReplyClass::Blackout(said.blacked_out(reason()))
            }
            (404 | 410, _) => ReplyClass::Unknown(reason()),
            (_, HeartbeatAction::Abort) if good => ReplyClass::Ended(reason()),
            (_, HeartbeatAction::Stop) if good => ReplyClass::Stop,
            (_, _) if good && !readable => fault(FaultKind::Malformed, reason()),
            (_, _) if good && said.code != 0 => fault(FaultKind::Refused, reason()),
            (_, _) if good => ReplyClass::Good(Box::new(said.news())),
            (401, _) => ReplyClass::Auth(AuthorityFault { kind: FaultKind::Refused, reason: reason() }),
            (403, _) => ReplyClass::Denied(reason()),
            (408 | 429 | 500..=599, _) => fault(FaultKind::Refused, reason()),
            // 400 is a mistake of ours or of the configuration; the others are in no row.
            (_, _) => fault(FaultKind::Malformed, reason()),
        }
    }
}

/// False for an object with none of the service's fields, such as a captive portal's. An empty object is as good as
/// no body.
fn is_of_the_service(reply: &Value, names: &FieldNames) -> bool {
    let known = |of: &Value| FieldNames::ALL.iter().any(|name| of.get(names.of(name)).is_some());
    reply.as_object().is_some_and(serde_json::Map::is_empty) || known(reply)
}

fn fault(kind: FaultKind, reason: Reason) -> ReplyClass {
    ReplyClass::Infrastructure(AuthorityFault { kind, reason })
}

/// Meaning of a `heartbeatAction`. An unknown one does not allow the playback to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum HeartbeatAction {
    Abort,
    Blackout,
    Continue,
    Stop,
}

/// A reply's fields.
struct HeartbeatReply<'a> {
    blackout: Option<Blackout>,
    /// `header.code`: 0 is success.
    code: i64,
    /// `header.errors`, as code and description.
    errors: Vec<(String, String)>,
    fields: Option<AuthorizationFields<'a>>,
    message: String,
    names: &'a FieldNames,
}

impl<'a> HeartbeatReply<'a> {
    fn of(config: &'a FirstLightSettings, value: &'a Value) -> Self {
        /// Errors that are read.
        const MAX_ERRORS: usize = 16;
        let names = &config.names;
        let header = value.get(names.of("header")).unwrap_or(&Value::Null);
        let code = header.get(names.of("code")).filter(|code| !code.is_null());
        let text = |of: &Value, name: &str| match of.get(names.of(name)) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_)) | None => String::new(),
        };
        let errors = header.get(names.of("errors")).or_else(|| value.get(names.of("errors"))).and_then(Value::as_array);
        let errors = errors.into_iter().flatten().take(MAX_ERRORS);
        let fields = AuthorizationFields::of(value, names);
        Self {
            blackout: fields.as_ref().and_then(AuthorizationFields::blackout),
            code: code.map_or(0, |code| code.as_i64().unwrap_or(-1)),
            errors: errors.map(|error| (text(error, "code"), text(error, "description"))).collect(),
            fields,
            message: text(header, "message"),
            names,
        }
    }

    fn is_limit(&self, config: &FirstLightSettings) -> bool {
        let fits = |code: &str| config.concurrency_error_codes.iter().any(|pattern| pattern.fits(code));
        self.errors.iter().any(|(code, _)| fits(code))
    }

    fn meaning(&self, config: &FirstLightSettings) -> HeartbeatAction {
        let Some(fields) = &self.fields else { return HeartbeatAction::Continue };
        match fields.get("heartbeatAction") {
            None => HeartbeatAction::Continue,
            Some(Value::String(action)) => {
                let among = |list: &[String]| list.iter().any(|known| known.eq_ignore_ascii_case(action));
                match action.as_str() {
                    "" => HeartbeatAction::Continue,
                    _ if among(&config.continue_actions) => HeartbeatAction::Continue,
                    _ if among(&config.stop_actions) => HeartbeatAction::Stop,
                    _ if among(&config.blackout_actions) => HeartbeatAction::Blackout,
                    _ => HeartbeatAction::Abort,
                }
            }
            Some(_) => HeartbeatAction::Abort,
        }
    }

    /// Time of one of the `streamTimelineEvents`.
    fn event(&self, fields: &AuthorizationFields<'_>, kind: &str) -> Option<Duration> {
        /// Events that are read.
        const MAX_EVENTS: usize = 64;
        let events = fields.get("streamTimelineEvents").and_then(Value::as_array);
        let mut events = events
            .into_iter()
            .flatten()
            .take(MAX_EVENTS)
            .filter_map(|event| AuthorizationFields::of(event, self.names));
        let event =
            events.find(|event| event.text("type", MAX_WORD_BYTES).is_some_and(|it| it.eq_ignore_ascii_case(kind)));
        event?.moment("time")
    }

    fn news(&self) -> HeartbeatNews {
        let Some(fields) = &self.fields else { return HeartbeatNews::default() };
        HeartbeatNews {
            interval: fields.interval().map(bounded),
            live_end: fields.moment("liveEndTime").or_else(|| self.event(fields, "LIVE_EVENT_END")),
            live_start: fields.moment("liveStartTime").or_else(|| self.event(fields, "LIVE_EVENT_START")),
            token: fields.text("heartbeatToken", MAX_TOKEN_BYTES).map(Secret::new),
            view_end: fields.moment("live360EndTime"),
            view_start: fields.moment("live360StartTime"),
        }
    }

    fn blacked_out(&self, reason: Reason) -> BlackoutReason {
        let url = || self.fields.as_ref()?.url("blackoutUrl");
        let blackout = self.blackout.clone().unwrap_or_else(|| Blackout { action: "DENY".to_owned(), url: url() });
        BlackoutReason { blackout: Arc::new(blackout), reason }
    }

    /// The first error, else the header's message, else the status.
    fn reason(&self, status: StatusCode) -> Reason {
        let action = || self.fields.as_ref()?.text("heartbeatAction", MAX_WORD_BYTES);
        let message = match self.errors.first() {
            Some((code, description)) => format!("{code} {description}").trim().to_owned(),
            None => match action() {
                Some(action) => format!("{action} {}", self.message).trim().to_owned(),
                None => self.message.clone(),
            },
        };
        let known = status.canonical_reason().unwrap_or("no message");
        let message = if message.is_empty() { known } else { &message };
        Reason::new(status.as_u16(), (self.code != 0).then_some(self.code), message)
    }
}
