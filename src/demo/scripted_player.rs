//! Plays one session by a script: license, beats, kill, refusal, a new playback, stop, teardown. Each step waits
//! until the head-end's log shows the one before.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};

use super::DemoFault;
use super::stage::DemoStage;
use crate::clock::Clock;
use crate::config::EndpointUrl;
use crate::task::Tasks;
use crate::upstream::{ConnectionPool, Trust, UpstreamCall, UpstreamReply};

pub(super) struct DemoStory<'a> {
    began: Instant,
    headend: String,
    license: String,
    say: &'a dyn Fn(&str),
}

/// The license request of a browser's ClearKey CDM for the demo's asset.
const CHALLENGE: &str = r#"{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}"#;

impl<'a> DemoStory<'a> {
    pub(super) fn new(stage: &DemoStage, say: &'a dyn Fn(&str)) -> Self {
        Self { began: Clock.now(), headend: stage.headend.clone(), license: stage.license.clone(), say }
    }

    pub(super) async fn tell(self) -> Result<(), DemoFault> {
        let web = PlayerHttp::new()?;
        let token = self.content_token(&web).await?;
        self.expect_license(&web, &token, "license").await?;
        let mut seen = self.await_call(&web, "setup", 200, 0).await?;
        for _ in 0..3 {
            seen = self.await_call(&web, "heartbeat", 200, seen).await?;
        }
        web.send(Method::POST, &format!("{}/sim/kill", self.headend), None, r#"{"account":"demo"}"#).await?;
        self.note("the head-end kills the account's sessions");
        seen = self.await_call(&web, "heartbeat", 404, seen).await?;
        self.expect_refusal(&web, &token).await?;
        let token = self.content_token(&web).await?;
        self.expect_license(&web, &token, "new playback").await?;
        seen = self.await_call(&web, "setup", 200, seen).await?;
        web.send(Method::POST, &format!("{}/~stop", self.license), Some(&token), "").await?;
        self.note("the player stops");
        self.await_call(&web, "teardown", 204, seen).await?;
        self.expect_empty_books(&web).await
    }

    async fn content_token(&self, web: &PlayerHttp) -> Result<String, DemoFault> {
        let url = format!("{}/sim/token?account=demo&device=demo-player&content=demo", self.headend);
        let value = web.send(Method::GET, &url, None, "").await?.json()?;
        let token = value["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| told_wrong("content token", "the head-end gave none"))
    }

    async fn expect_license(&self, web: &PlayerHttp, token: &str, step: &'static str) -> Result<(), DemoFault> {
        let reply = web.send(Method::POST, &self.license, Some(token), CHALLENGE).await?;
        let keys = reply.json()?["keys"].as_array().map_or(0, Vec::len);
        if reply.0.status != 200 || keys == 0 {
            return Err(told_wrong(step, &format!("status {}, {keys} keys", reply.0.status)));
        }
        self.note(&format!("{step}: {keys} key"));
        Ok(())
    }

    async fn expect_refusal(&self, web: &PlayerHttp, token: &str) -> Result<(), DemoFault> {
        let reply = web.send(Method::POST, &self.license, Some(token), CHALLENGE).await?;
        let body = reply.json()?;
        let good = reply.0.status == 403 && body["error"] == "session_killed" && body["errorCode"] == 3002;
        if !good {
            return Err(told_wrong("refusal", &format!("status {}, error {}", reply.0.status, body["error"])));
        }
        self.note(&format!("refused: {} {} {}", reply.0.status, body["error"], body["incident"]));
        Ok(())
    }

    /// Waits until the head-end has logged such a call after `since`, and returns its number.
    async fn await_call(&self, web: &PlayerHttp, endpoint: &str, status: u16, since: u64) -> Result<u64, DemoFault> {
        let url = format!("{}/sim/log?since={since}&wait=10000&endpoint={endpoint}", self.headend);
        let log = web.send(Method::GET, &url, None, "").await?.json()?;
        let calls = log["calls"].as_array().cloned().unwrap_or_default();
        let found = calls.iter().find(|call| call["status"] == json!(status));
        match found.and_then(|call| call["seq"].as_u64()) {
            Some(seq) => {
                self.note(&format!("head-end: {endpoint} {status}"));
                Ok(seq)
            }
            None => Err(told_wrong("head-end", &format!("no {endpoint} with status {status} within 10 s"))),
        }
    }

    async fn expect_empty_books(&self, web: &PlayerHttp) -> Result<(), DemoFault> {
        let books = web.send(Method::GET, &format!("{}/sim/books", self.headend), None, "").await?.json()?;
        let open = books["open"].as_array().map_or(0, Vec::len);
        let early = books["counters"]["early_beats"].as_u64().unwrap_or(0);
        if open > 0 || early > 0 {
            return Err(told_wrong("books", &format!("{open} sessions left open, {early} early beats")));
        }
        self.note("no session is left at the head-end");
        Ok(())
    }

    fn note(&self, what: &str) {
        let at = Clock.now().saturating_duration_since(self.began).as_secs_f64();
        (self.say)(&format!("{at:>8.3} s  {what}\n"));
    }
}

fn told_wrong(step: &'static str, what: &str) -> DemoFault {
    DemoFault::Story { step, what: what.to_owned() }
}

/// The scripted player's HTTP.
struct PlayerHttp(ConnectionPool);

struct DemoPage(UpstreamReply);

impl DemoPage {
    fn json(&self) -> Result<Value, DemoFault> {
        serde_json::from_slice(&self.0.body).map_err(|_| told_wrong("reply", "it is no JSON"))
    }
}

impl PlayerHttp {
    fn new() -> Result<Self, DemoFault> {
        let (tasks, _deaths) = Tasks::new();
        let trust = Trust::public().map_err(|fault| told_wrong("TLS", &fault.to_string()))?;
        Ok(Self(ConnectionPool::new(tasks, Clock, trust)))
    }

    async fn send(&self, method: Method, url: &str, token: Option<&str>, body: &str) -> Result<DemoPage, DemoFault> {
        let endpoint = EndpointUrl::parse(url).map_err(|why| told_wrong("URL", why))?;
        let query = endpoint.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token.and_then(|token| HeaderValue::from_str(token).ok()) {
            headers.insert("nv-authorizations", token);
            headers.insert("x-device-id", HeaderValue::from_static("demo-player"));
        }
        let call = UpstreamCall {
            body: Bytes::copy_from_slice(body.as_bytes()),
            deadline: Clock.now() + Duration::from_secs(15),
            endpoint: &endpoint,
            headers,
            method,
            path_and_query: format!("{}{query}", endpoint.path())
                .parse()
                .map_err(|_| told_wrong("URL", "not valid"))?,
            reply_max: 1024 * 1024,
        };
        self.0.send(call).await.map(DemoPage).map_err(|fault| told_wrong("call", &fault.to_string()))
    }
}
