//! `GET /v1/sessions`: the sessions page by page, oldest first, with filters.

use std::borrow::Cow;

use http::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::Admin;
use super::api::{fault, good};
use super::json::row;
use crate::edge::ReplyBody;
use crate::ids::SessionId;
use crate::sessions::{OpeningOrder, SessionPhase, SessionQuery};

pub(super) const DEFAULT_PAGE_SESSIONS: usize = 1_000;
pub(super) const MAX_PAGE_SESSIONS: usize = 10_000;

impl Admin {
    pub(super) async fn list_sessions(&self, query: Option<&str>) -> Response<ReplyBody> {
        let query = match read(query.unwrap_or_default()) {
            Ok(query) => query,
            Err(detail) => return fault(StatusCode::BAD_REQUEST, detail),
        };
        let sessions = self.sessions.clone();
        self.list(move || {
            let page = sessions.page(&query);
            let list: Vec<_> = page.rows.iter().map(row).collect();
            good(&match page.next {
                Some(next) => json!({ "sessions": list, "next": cursor(next) }),
                None => json!({ "sessions": list }),
            })
        })
        .await
    }

    /// Makes a long list on another thread, so that no probe waits for it.
    pub(super) async fn list(
        &self,
        make: impl FnOnce() -> Response<ReplyBody> + Send + 'static,
    ) -> Response<ReplyBody> {
        let busy = |_busy| fault(StatusCode::SERVICE_UNAVAILABLE, "too many lists are asked for at once");
        self.tasks.list(make).await.unwrap_or_else(busy)
    }
}

fn read(query: &str) -> Result<SessionQuery, &'static str> {
    let mut read = SessionQuery { limit: DEFAULT_PAGE_SESSIONS, ..SessionQuery::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8().map_err(|_| "the query is no UTF-8")?;
        match name {
            "account" => read.account = Some(value.into_owned()),
            "after" => read.after = Some(order(&value).ok_or("after is the next of an earlier page")?),
            "device" => read.device = Some(value.into_owned()),
            "limit" => read.limit = limit(value).ok_or("limit is a number from 1 to 10000")?,
            "state" => read.state = Some(SessionPhase::named(&value).ok_or("state is none that a session has")?),
            _ => return Err("a page is asked for by limit, after, account, device and state"),
        }
    }
    Ok(read)
}

pub(super) fn limit(text: Cow<'_, str>) -> Option<usize> {
    text.parse().ok().filter(|limit| (1..=MAX_PAGE_SESSIONS).contains(limit))
}

/// Position of the next page; opaque to callers.
fn cursor(order: OpeningOrder) -> String {
    format!("{:016x}{:016x}", order.opened, order.id.0)
}

fn order(cursor: &str) -> Option<OpeningOrder> {
    let is_plain = cursor.len() == 32 && cursor.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (opened, id) = cursor.split_at_checked(16).filter(|_| is_plain)?;
    let read = |digits| u64::from_str_radix(digits, 16).ok();
    Some(OpeningOrder { opened: read(opened)?, id: SessionId(read(id)?) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, mpsc};
    use std::task::{Context, Waker};

    use http::Method;
    use tokio::runtime::Handle;

    use super::*;
    use crate::authority::Authorities;
    use crate::clock::Clock;
    use crate::config;
    use crate::session::AuthorityAsk;
    use crate::sessions::{AskAuthority, AuthorityDispatcher, SessionContext, Sessions, VerdictFuture};
    use crate::task::Tasks;

    struct Nobody;

    impl AskAuthority for Nobody {
        fn ask<'a>(&'a self, _ask: &'a AuthorityAsk, _card: &'a SessionContext) -> VerdictFuture<'a> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_list_is_made_on_another_thread_and_no_probe_waits_for_it() {
        let (tasks, _deaths) = Tasks::new();
        let text = "[[route]]\npath = \"/l\"\nlicense-server = \"http://127.0.0.1:9/\"\n";
        let config = config::parse(text, Path::new(""), std::iter::empty()).unwrap();
        let dispatcher = AuthorityDispatcher::new(Arc::new(Nobody), Handle::current(), tasks.clone());
        let sessions = Sessions::new(Clock, dispatcher, Arc::default());
        let (authorities, telemetry) = (Authorities::new(Vec::new(), Clock), Arc::default());
        let registrations = Arc::default();
        let admin =
            Admin::new(&config.admin, authorities, sessions, registrations, telemetry, Arc::default(), tasks.clone());
        let (release, held) = mpsc::channel::<()>();
        let mut context = Context::from_waker(Waker::noop());
        let mut long = Box::pin(tasks.list(move || held.recv().is_err()));
        assert!(long.as_mut().poll(&mut context).is_pending());
        let mut list = Box::pin(admin.list_sessions(None));
        assert!(list.as_mut().poll(&mut context).is_pending(), "one list at a time");
        assert_eq!(admin.route(&Method::GET, "/livez", None).status(), 200);
        drop(release);
        assert_eq!((long.await, list.await.status()), (Ok(true), StatusCode::OK));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_given() {
        let given = OpeningOrder { opened: u64::MAX, id: SessionId(7) };
        assert_eq!(order(&cursor(given)), Some(given));
        for odd in ["", "0", "é", &"é".repeat(16), &"0".repeat(33), &"+".repeat(32)] {
            assert_eq!(order(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_page_is_asked_for_in_words_that_are_known() {
        let asked = read("limit=5&state=live&device=tv%201&account=a").unwrap();
        assert_eq!((asked.limit, asked.state, asked.device.as_deref()), (5, Some(SessionPhase::Live), Some("tv 1")));
        assert_eq!(read("").unwrap().limit, DEFAULT_PAGE_SESSIONS);
        for odd in ["limit=0", "limit=10001", "limit=x", "state=tired", "after=1", "page=2", "device=%ff"] {
            assert!(read(odd).is_err(), "{odd}");
        }
    }
}
