//! The scripted player: it sends the calls of an unmodified player and reads the replies.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use rustls::ClientConfig;

use crate::drm::{self, WidevineId};
use crate::web::{self, Cut, Reply};

/// A device that plays one content.
#[derive(Clone, Debug)]
pub(crate) struct Player {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) path: String,
    pub(crate) proxy: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The content token.
    pub(crate) token: String,
}

/// A call that is sent when it is awaited; dropping it before hangs up.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    address: SocketAddr,
    body: Bytes,
    headers: BTreeMap<String, String>,
    method: Method,
    path: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Player {
    /// Asks another route.
    pub(crate) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Adds this header to every call.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Makes it a page of that origin.
    pub(crate) fn in_a_browser(self) -> Self {
        self.with("origin", "https://tv.example")
    }

    pub(crate) fn post(&self, body: impl Into<Bytes>) -> Call {
        Call {
            address: self.proxy,
            body: body.into(),
            headers: self.headers.clone(),
            method: Method::POST,
            path: self.path.clone(),
            tls: self.tls.clone(),
        }
    }

    /// A first Widevine license for the key session of that name.
    pub(crate) fn license(&self, key_session: &str) -> Call {
        self.post(widevine_new(key_session)).header("content-type", "application/octet-stream")
    }

    pub(crate) fn renew(&self, key_session: &str) -> Call {
        self.post(widevine_renewal(key_session)).header("content-type", "application/octet-stream")
    }

    pub(crate) fn release(&self, key_session: &str) -> Call {
        self.post(drm::widevine_release(&id(key_session), 60)).header("content-type", "application/octet-stream")
    }

    pub(crate) fn stop(&self) -> Call {
        self.post("").below("/~stop")
    }
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Adds text behind the route's path, with its query.
    pub(crate) fn below(mut self, rest: &str) -> Self {
        self.path.push_str(rest);
        self
    }

    pub(crate) async fn attempt(self) -> Result<Reply, Cut> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        if !self.headers.contains_key("host") {
            request = request.header("host", "proxy.test");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        web::send(self.address, self.tls, request.body(Full::new(self.body)).unwrap()).await
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.attempt().await.unwrap_or_else(|Cut| panic!("the proxy hung up without a reply")) })
    }
}

fn id(key_session: &str) -> WidevineId<'_> {
    WidevineId { offline: false, request_id: key_session.as_bytes(), session_id: drm::SID8, version: 0 }
}

pub(crate) fn widevine_new(key_session: &str) -> Vec<u8> {
    drm::widevine_new(key_session.as_bytes(), b"content-42", &[drm::KID])
}

pub(crate) fn widevine_renewal(key_session: &str) -> Vec<u8> {
    drm::widevine_renewal(&id(key_session), 30)
}

/// The message of a browser's ClearKey module for the demo's asset.
pub(crate) const CLEARKEY: &str = r#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}"#;

pub(crate) fn playready(custom: Option<&str>, nonce: &str) -> String {
    drm::playready_challenge(&drm::playready_header_40(drm::KID), custom, &drm::fill(16, nonce))
}
