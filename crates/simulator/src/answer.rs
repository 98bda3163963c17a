//! The answer of a service to a call, before it becomes HTTP.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::body::SimBody;
use sidebeat_core::ledger::SlotNumber;

pub(super) const JSON: &str = "application/json";
pub(super) const OCTETS: &str = "application/octet-stream";

#[derive(Clone)]
pub(super) struct ServiceAnswer {
    pub(super) body: Bytes,
    /// The `errorCode` of a refusal.
    pub(super) code: Option<i64>,
    pub(super) media_type: &'static str,
    /// Kind of the DRM message that was answered, for the log.
    pub(super) message: Option<&'static str>,
    /// The session that this call opened.
    pub(super) session: Option<SlotNumber>,
    pub(super) status: StatusCode,
}

/// A service's documented refusal: `{"errorCode","message"}` with a status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ServiceRefusal {
    pub(super) code: i64,
    pub(super) message: &'static str,
    pub(super) status: u16,
}

impl ServiceAnswer {
    pub(super) fn raw(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), code: None, media_type, message: None, session: None, status: StatusCode::OK }
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::raw(JSON, value.to_string())
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, ..Self::raw(JSON, Bytes::new()) }
    }

    pub(super) fn refused(status: StatusCode, code: i64, message: &str) -> Self {
        let answer = Self::json(&json!({"errorCode": code, "message": message}));
        Self { code: Some(code), status, ..answer }
    }

    pub(super) fn into_response(self) -> Response<SimBody> {
        let empty = self.body.is_empty();
        let mut response = Response::new(SimBody::bytes(self.body));
        *response.status_mut() = self.status;
        if !empty {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        }
        response
    }

    pub(super) fn about(self, message: &'static str) -> Self {
        Self { message: Some(message), ..self }
    }
}

impl From<ServiceRefusal> for ServiceAnswer {
    fn from(refusal: ServiceRefusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::refused(status, refusal.code, refusal.message)
    }
}
