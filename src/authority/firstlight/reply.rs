//! What the two services' replies mean: one table, the first row that fits.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::bounded;
use crate::config::{FirstLight, Names};
use crate::playbacks::{Block, Fields};
use crate::secret::Secret;
use crate::session::{Blackout, Fault, FaultKind, Reason};

/// A token is below 8 KiB.
const TOKEN: usize = 8 * 1024;
const WORD: usize = 256;

/// A row of the table; of a good beat, what it brought.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::authority) enum Class {
    /// 401: the credentials are not good any more.
    Auth(Fault),
    Blackout(Reason),
    Concurrency(Reason),
    Denied(Reason),
    Ended(Reason),
    Good(Box<News>),
    /// The way there, or the service itself, failed. What stands in no row is here, too.
    Infrastructure(Fault),
    /// No more beats; the playback may go on.
    Stop,
    /// 404, 410: the token is not known, or not any more. Ended, or replaced by an answer that was lost.
    Unknown(Reason),
}

impl Class {
    /// Why it was refused or failed.
    pub(in crate::authority) fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Auth(fault) | Self::Infrastructure(fault) => Some(&fault.reason),
            Self::Blackout(reason)
            | Self::Concurrency(reason)
            | Self::Denied(reason)
            | Self::Ended(reason)
            | Self::Unknown(reason) => Some(reason),
            Self::Good(_) | Self::Stop => None,
        }
    }
}

/// What applies from the next beat on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::authority) struct News {
    pub(in crate::authority) interval: Option<Duration>,
    pub(in crate::authority) live_end: Option<Duration>,
    pub(in crate::authority) live_start: Option<Duration>,
    pub(in crate::authority) token: Option<Secret>,
    /// Of the 360-degree view.
    pub(in crate::authority) view_end: Option<Duration>,
    pub(in crate::authority) view_start: Option<Duration>,
}

impl News {
    /// The authorization with the programme's new times, if they are others.
    pub(in crate::authority) fn moved(&self, block: &Block) -> Option<Block> {
        let moved = Block {
            live_360_end: self.view_end.or(block.live_360_end),
            live_360_start: self.view_start.or(block.live_360_start),
            live_end: self.live_end.or(block.live_end),
            live_start: self.live_start.or(block.live_start),
            ..block.clone()
        };
        (moved != *block).then_some(moved)
    }
}

impl FirstLight {
    pub(in crate::authority) fn read(&self, status: StatusCode, body: &[u8]) -> Class {
        let value: Result<Value, _> = if body.iter().all(u8::is_ascii_whitespace) {
            Ok(Value::Object(serde_json::Map::new()))
        } else {
            serde_json::from_slice(body)
        };
        let object = value.ok().filter(Value::is_object);
        let nothing = Value::Object(serde_json::Map::new());
        let said = Said::of(self, object.as_ref().unwrap_or(&nothing));
        let readable = object.as_ref().is_some_and(|object| is_of_the_service(object, &self.names));
        self.classify(status, readable, &said)
    }

    fn classify(&self, status: StatusCode, readable: bool, said: &Said<'_>) -> Class {
        let reason = || said.reason(status);
        let good = status.is_success();
        match (status.as_u16(), said.meaning(self)) {
            (409, _) => Class::Concurrency(reason()),
            (403 | 429, _) if said.is_limit(self) => Class::Concurrency(reason()),
            (_, _) if good && said.is_limit(self) => Class::Concurrency(reason()),
            (451, _) => Class::Blackout(said.blacked_out(reason())),
            (403, _) if said.blackout.is_some() => Class::Blackout(said.blacked_out(reason())),
            (_, meaning) if good && (said.blackout.is_some() || meaning == Meaning::Blackout) => {
                Class::Blackout(said.blacked_out(reason()))
            }
            (404 | 410, _) => Class::Unknown(reason()),
            (_, Meaning::Abort) if good => Class::Ended(reason()),
            (_, Meaning::Stop) if good => Class::Stop,
            (_, _) if good && !readable => fault(FaultKind::Malformed, reason()),
            (_, _) if good && said.code != 0 => fault(FaultKind::Refused, reason()),
            (_, _) if good => Class::Good(Box::new(said.news())),
            (401, _) => Class::Auth(Fault { kind: FaultKind::Refused, reason: reason() }),
            (403, _) => Class::Denied(reason()),
            (408 | 429 | 500..=599, _) => fault(FaultKind::Refused, reason()),
            // 400 is a mistake of ours, or of the configuration; the others stand in no row.
            (_, _) => fault(FaultKind::Malformed, reason()),
        }
    }
}

/// An object with none of the service's fields is somebody else's, such as a captive portal's. One without any field says
/// as much as no body, which is good.
fn is_of_the_service(reply: &Value, names: &Names) -> bool {
    let known = |of: &Value| Names::ALL.iter().any(|name| of.get(names.of(name)).is_some());
    reply.as_object().is_some_and(serde_json::Map::is_empty) || known(reply)
}

fn fault(kind: FaultKind, reason: Reason) -> Class {
    Class::Infrastructure(Fault { kind, reason })
}

/// What a `heartbeatAction` means; one that nobody knows is no leave to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Meaning {
    Abort,
    Blackout,
    Continue,
    Stop,
}

/// A reply's fields.
struct Said<'a> {
    blackout: Option<Blackout>,
    /// `header.code`: 0 is success.
    code: i64,
    /// `header.errors`, as code and description.
    errors: Vec<(String, String)>,
    fields: Option<Fields<'a>>,
    message: String,
    names: &'a Names,
}

impl<'a> Said<'a> {
    fn of(config: &'a FirstLight, value: &'a Value) -> Self {
        /// Of the errors.
        const MOST: usize = 16;
        let names = &config.names;
        let header = value.get(names.of("header")).unwrap_or(&Value::Null);
        let code = header.get(names.of("code")).filter(|code| !code.is_null());
        let text = |of: &Value, name: &str| match of.get(names.of(name)) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_)) | None => String::new(),
        };
        let errors = header.get(names.of("errors")).or_else(|| value.get(names.of("errors"))).and_then(Value::as_array);
        let errors = errors.into_iter().flatten().take(MOST);
        let fields = Fields::of(value, names);
        Self {
            blackout: fields.as_ref().and_then(Fields::blackout),
            code: code.map_or(0, |code| code.as_i64().unwrap_or(-1)),
            errors: errors.map(|error| (text(error, "code"), text(error, "description"))).collect(),
            fields,
            message: text(header, "message"),
            names,
        }
    }

    fn is_limit(&self, config: &FirstLight) -> bool {
        let fits = |code: &str| config.concurrency_error_codes.iter().any(|pattern| pattern.fits(code));
        self.errors.iter().any(|(code, _)| fits(code))
    }

    fn meaning(&self, config: &FirstLight) -> Meaning {
        let Some(fields) = &self.fields else { return Meaning::Continue };
        match fields.get("heartbeatAction") {
            None => Meaning::Continue,
            Some(Value::String(action)) => {
                let among = |list: &[String]| list.iter().any(|known| known.eq_ignore_ascii_case(action));
                match action.as_str() {
                    "" => Meaning::Continue,
                    _ if among(&config.continue_actions) => Meaning::Continue,
                    _ if among(&config.stop_actions) => Meaning::Stop,
                    _ if among(&config.blackout_actions) => Meaning::Blackout,
                    _ => Meaning::Abort,
                }
            }
            Some(_) => Meaning::Abort,
        }
    }

    /// When one of the `streamTimelineEvents` comes.
    fn event(&self, fields: &Fields<'_>, kind: &str) -> Option<Duration> {
        /// Of the events.
        const MOST: usize = 64;
        let events = fields.get("streamTimelineEvents").and_then(Value::as_array);
        let mut events = events.into_iter().flatten().take(MOST).filter_map(|event| Fields::of(event, self.names));
        let event = events.find(|event| event.text("type", WORD).is_some_and(|it| it.eq_ignore_ascii_case(kind)));
        event?.moment("time")
    }

    fn news(&self) -> News {
        let Some(fields) = &self.fields else { return News::default() };
        News {
            interval: fields.interval().map(bounded),
            live_end: fields.moment("liveEndTime").or_else(|| self.event(fields, "LIVE_EVENT_END")),
            live_start: fields.moment("liveStartTime").or_else(|| self.event(fields, "LIVE_EVENT_START")),
            token: fields.text("heartbeatToken", TOKEN).map(Secret::new),
            view_end: fields.moment("live360EndTime").or_else(|| self.event(fields, "LIVE_360_UNAVAILABLE")),
            view_start: fields.moment("live360StartTime").or_else(|| self.event(fields, "LIVE_360_AVAILABLE")),
        }
    }

    fn blacked_out(&self, reason: Reason) -> Reason {
        let url = || self.fields.as_ref()?.url("blackoutUrl");
        let blackout = self.blackout.clone().unwrap_or_else(|| Blackout { action: "DENY".to_owned(), url: url() });
        Reason { blackout: Some(Arc::new(blackout)), ..reason }
    }

    /// The first error, else the header's message, else the status.
    fn reason(&self, status: StatusCode) -> Reason {
        let action = || self.fields.as_ref()?.text("heartbeatAction", WORD);
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
