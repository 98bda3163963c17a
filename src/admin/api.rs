//! Routes requests of the admin listener to their answers.

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Admin, headers, json as rows, metrics};
use crate::authority::CallClass;
use crate::config::EndpointUrl;
use crate::edge::{AddressResource, OutgoingBody, Peer, ReplyBody, RequestBody, own_replies};
use crate::events::{EVENT_STREAM_TYPE, EventAudience, ListenersFull, Notice, NoticeStream};
use crate::ids::SessionId;
use crate::session::{Blackout, BlackoutReason, KillSource, Reason, SessionKill};
use crate::sessions::{DeviceKey, FindFault};

/// The page that shows the API to people.
pub(super) const ADMIN_PAGE_HTML: &str = include_str!("page.html");

impl Admin {
    pub(super) async fn answer(&self, peer: &Peer, request: Request<RequestBody>) -> Response<OutgoingBody> {
        let (request, incoming) = request.into_parts();
        let path = request.uri.path();
        let health = matches!(path, "/livez" | "/readyz" | "/");
        let gate = self.gate.load_full();
        // A path with an empty name must not be read as a shorter path, which means more.
        let nameless = path.split('/').skip(1).any(str::is_empty) && path != "/";
        let mut response = match gate.check(&request.headers, health) {
            Ok(()) if request.method == Method::GET && path == "/v1/events" => self.events(peer, &request.headers),
            Ok(()) if nameless => fault(StatusCode::NOT_FOUND, "a part of the path is empty").map(OutgoingBody::Whole),
            Ok(()) => match path.strip_prefix("/v1/authorities/") {
                Some(below) => {
                    let (path, query) = (below.split('/').collect::<Vec<_>>(), request.uri.query());
                    self.slots(&request.method, &path, query, incoming).await
                }
                None if path == "/v1/playbacks" && request.method == Method::POST => self.register(incoming).await,
                None if path == "/v1/sessions" && request.method == Method::GET => {
                    self.list_sessions(request.uri.query()).await
                }
                None => self.route(&request.method, path, request.uri.query()),
            }
            .map(OutgoingBody::Whole),
            Err((status, detail)) => fault(status, detail).map(OutgoingBody::Whole),
        };
        if !request.method.is_safe() {
            // A change that an operator is told of must survive a crash.
            self.sessions.durable().await;
        }
        headers::protect(response.headers_mut());
        if let Some(origin) = gate.allow_origin(&request.headers) {
            let headers = response.headers_mut();
            if let Ok(origin) = HeaderValue::from_str(origin) {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            }
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        response
    }

    /// Streams all events until the caller leaves.
    fn events(&self, peer: &Peer, headers: &HeaderMap) -> Response<OutgoingBody> {
        let full = || fault(StatusCode::SERVICE_UNAVAILABLE, &ListenersFull.to_string()).map(OutgoingBody::Whole);
        let Some(share) = peer.limits.take(peer.address, AddressResource::EventListeners, 1) else { return full() };
        let whole = |notice: &Notice| Some(notice.whole());
        match self.telemetry.events.stream(EventAudience::Operators, share, headers, whole) {
            Ok(NoticeStream { body, feed }) => {
                self.tasks.spawn(feed);
                let body = OutgoingBody::stream(body.map_err(|never| match never {}));
                own_replies::own(StatusCode::OK, EVENT_STREAM_TYPE, body)
            }
            Err(ListenersFull) => full(),
        }
    }

    pub(super) fn route(&self, method: &Method, path: &str, query: Option<&str>) -> Response<ReplyBody> {
        let segments: Vec<_> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        match (method, segments.as_slice()) {
            (&Method::GET, [""]) => text("text/html; charset=utf-8", ADMIN_PAGE_HTML.to_owned()),
            (&Method::GET, ["livez"]) => text("text/plain", "alive\n".to_owned()),
            (&Method::GET, ["readyz"]) if self.is_ready() && self.sessions.is_store_degraded() => {
                text("text/plain", "degraded: the journal cannot be written\n".to_owned())
            }
            (&Method::GET, ["readyz"]) if self.is_ready() => text("text/plain", "ready\n".to_owned()),
            (&Method::GET, ["readyz"]) => fault(StatusCode::SERVICE_UNAVAILABLE, "starting or draining"),
            (&Method::GET, ["metrics"]) => text(metrics::CONTENT_TYPE, self.metrics()),
            (&Method::GET, ["v1", "configuration"]) => good(&self.configuration()),
            (&Method::GET, ["v1", "calls"]) => self.list_calls(query),
            (&Method::GET, ["v1", "authorities"]) => self.list_authorities(),
            (&Method::GET, ["v1", "sessions", id]) => self.with(id, |_, id| self.show(id)),
            (&Method::POST, ["v1", "sessions", id, "kill"]) => self.with(id, |key, id| {
                let by = Reason::new(403, None, "Session ended by operator").wanted_by(KillSource::Operator);
                self.kill(key, id, by.into(), "killed")
            }),
            (&Method::POST, ["v1", "sessions", id, "blackout"]) => match slate(query) {
                Ok(dark) => self.with(id, |key, id| self.kill(key, id, dark.into(), "blacked out")),
                Err(what) => fault(StatusCode::BAD_REQUEST, what),
            },
            (&Method::POST, ["v1", "sessions", id, "forgive"]) => self.with(id, |key, id| self.forgive(key, id)),
            (&Method::DELETE, ["v1", "sessions", id]) | (&Method::POST, ["v1", "sessions", id, "teardown"]) => {
                self.with(id, |key, id| self.teardown(key, id))
            }
            (_, ["v1", "playbacks"] | ["v1", "sessions", ..]) => {
                fault(StatusCode::METHOD_NOT_ALLOWED, "see docs/operations.md for the API")
            }
            (_, _) => fault(StatusCode::NOT_FOUND, "see docs/operations.md for the paths"),
        }
    }

    fn with(&self, id: &str, act: impl FnOnce(DeviceKey, SessionId) -> Response<ReplyBody>) -> Response<ReplyBody> {
        match self.sessions.find(id) {
            Ok((key, id)) => act(key, id),
            Err(FindFault::Ambiguous) => fault(StatusCode::CONFLICT, "more than one session begins with these digits"),
            Err(FindFault::Unknown) => fault(StatusCode::NOT_FOUND, "no such session; its first 4 digits are enough"),
        }
    }

    fn show(&self, id: SessionId) -> Response<ReplyBody> {
        match self.sessions.row(id) {
            Some(row) => good(&rows::whole(&row)),
            None => fault(StatusCode::NOT_FOUND, "no such session"),
        }
    }

    /// Lists license calls without a session: of a device (`device=…`), of an account (`account=…`), or all that are
    /// remembered.
    fn list_calls(&self, query: Option<&str>) -> Response<ReplyBody> {
        let value = |name: &str| {
            let value = query?.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?.1;
            Some(percent_decode_str(value).decode_utf8_lossy())
        };
        let notes = self.sessions.device_notes.find(value("device").as_deref(), value("account").as_deref());
        good(&json!({ "calls": notes.iter().map(rows::device_note).collect::<Vec<_>>() }))
    }

    fn list_authorities(&self) -> Response<ReplyBody> {
        let now = self.clock.now();
        let authorities = self.authorities.current();
        let list = authorities.iter().map(|authority| {
            let spared = CallClass::ALL.into_iter().filter(|calls| authority.spares(*calls) == Some(true));
            json!({
                "name": &*authority.name,
                "outage_s": authority.outage(now).map(rows::seconds),
                "not_asked": spared.map(CallClass::name).collect::<Vec<_>>(),
                "accounts_waiting": authority.accounts_waiting(now),
                "on_credit": self.sessions.on_credit(authority.id),
            })
        });
        good(&json!({ "authorities": list.collect::<Vec<_>>() }))
    }

    fn forgive(&self, key: DeviceKey, id: SessionId) -> Response<ReplyBody> {
        if !self.sessions.forgive(key, id) {
            return fault(StatusCode::CONFLICT, "this session is not killed: there is nothing to forgive");
        }
        tracing::info!(session = %id.short(), "an operator asked: forgiven");
        good(&json!({ "id": id.to_string(), "done": "forgiven" }))
    }

    /// Kills a session. It may have ended since the operator looked, so the answer names all others that the kill has
    /// reached.
    fn kill(&self, key: DeviceKey, id: SessionId, by: SessionKill, done: &str) -> Response<ReplyBody> {
        tracing::info!(session = %id.short(), "an operator asked: {done}");
        match self.sessions.kill(key, id, by) {
            Some(also) => {
                let also: Vec<_> = also.iter().map(SessionId::to_string).collect();
                good(&json!({ "id": id.to_string(), "done": done, "also": also }))
            }
            None => fault(StatusCode::NOT_FOUND, "this session is forgotten: nothing was killed"),
        }
    }

    fn teardown(&self, key: DeviceKey, id: SessionId) -> Response<ReplyBody> {
        tracing::info!(session = %id.short(), "an operator asked: closing");
        match self.sessions.teardown(key, id) {
            Some(goes_on) => {
                good(&json!({ "id": id.to_string(), "done": if goes_on { "closing" } else { "over already" } }))
            }
            None => fault(StatusCode::NOT_FOUND, "this session is forgotten: nothing was closed"),
        }
    }
}

/// Reads `url=…`, the slate to show in place of the content. Without it nothing is shown.
fn slate(query: Option<&str>) -> Result<BlackoutReason, &'static str> {
    let url = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("url=")));
    let url = match url.map(|url| percent_decode_str(url).decode_utf8_lossy()) {
        Some(url) => Some(EndpointUrl::parse(&url).map_err(|_| "url must be that of a slate's manifest")?),
        None => None,
    };
    let reason = Reason::new(403, None, "Blacked out by operator").wanted_by(KillSource::Operator);
    let blackout = Blackout { action: "DENY".to_owned(), url };
    Ok(BlackoutReason { blackout: blackout.into(), reason })
}

pub(super) fn good(value: &Value) -> Response<ReplyBody> {
    own_replies::json(StatusCode::OK, value)
}

pub(super) fn fault(status: StatusCode, detail: &str) -> Response<ReplyBody> {
    let error = status.canonical_reason().unwrap_or_default().to_lowercase().replace(' ', "_");
    own_replies::json(status, &json!({ "error": error, "detail": detail }))
}

fn text(content_type: &'static str, text: String) -> Response<ReplyBody> {
    own_replies::own(StatusCode::OK, content_type, ReplyBody::new(text.into()))
}
