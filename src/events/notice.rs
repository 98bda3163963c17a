//! One notice: what happened to which playback, and how it is written.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::{AskKind, Event, Reason};

/// Whose event it is. Borrowed, because most events are no notices.
#[derive(Clone, Copy, Debug)]
pub struct Playback<'a> {
    pub account: Option<&'a str>,
    pub authority: &'a Arc<str>,
    pub content: Option<&'a str>,
    pub device: &'a str,
    /// What the authority's player SDK calls a failed call.
    pub error_name: fn(AskKind) -> &'static str,
    /// The device at its authority.
    pub key: u64,
    /// The viewer's address, as far as it is known: for the number of log lines alone.
    pub network: Fingerprint,
    pub route: &'a Arc<str>,
    pub session: SessionId,
    /// The content token that began it.
    pub token: Option<Fingerprint>,
}

/// Holds no token and no key: everything in it may be shown to who may hear of this playback.
#[derive(Clone, Debug)]
pub struct Notice {
    pub account: Option<String>,
    /// Wall time since the epoch.
    pub at: Duration,
    pub authority: Arc<str>,
    pub content: Option<String>,
    pub device: String,
    /// The device at its authority; for scoping, never written.
    pub key: u64,
    pub name: &'static str,
    /// Rises from notice to notice, also over a restart.
    pub number: u64,
    pub route: Arc<str>,
    pub session: SessionId,
    /// For scoping, never written.
    pub token: Option<Fingerprint>,
    detail: Value,
}

impl Notice {
    /// None for what nobody outside needs to hear of.
    pub(super) fn of(playback: &Playback<'_>, event: &Event, at: Duration) -> Option<Self> {
        let (name, detail) = told(playback, event)?;
        Some(Self {
            account: playback.account.map(str::to_owned),
            at,
            authority: playback.authority.clone(),
            content: playback.content.map(str::to_owned),
            detail,
            device: playback.device.to_owned(),
            key: playback.key,
            name,
            number: 0,
            route: playback.route.clone(),
            session: playback.session,
            token: playback.token,
        })
    }

    /// For operators and webhooks.
    pub fn whole(&self) -> Value {
        let mut value = self.scoped();
        value["account"] = json!(self.account);
        value["authority"] = json!(&*self.authority);
        value["device"] = json!(self.device);
        value["route"] = json!(&*self.route);
        value
    }

    /// For the app whose playback it is: it knows its device and account itself.
    pub fn scoped(&self) -> Value {
        json!({
            "event": self.name,
            "id": self.number.to_string(),
            "at": (self.at.as_secs_f64() * 1000.0).round() / 1000.0,
            "session": self.session.to_string(),
            "content": self.content,
            "detail": self.detail,
        })
    }

    /// As a server-sent event (HTML standard, section 9.2). JSON text has no line breaks.
    pub fn sse(&self, data: &Value) -> String {
        format!("id: {}\nevent: {}\ndata: {data}\n\n", self.number, self.name)
    }
}

fn told(playback: &Playback<'_>, event: &Event) -> Option<(&'static str, Value)> {
    Some(match event {
        Event::Blackout(why) => ("BLACKOUT", blackout(why)),
        Event::Closed(end) => ("session.closed", json!({ "reason": end.name() })),
        Event::Failed(ask, why) => ((playback.error_name)(*ask), reason(why)),
        Event::Forgiven => ("session.forgiven", json!({})),
        Event::Joined => ("playback.joined", json!({})),
        Event::Killed(why) => ("session.killed", reason(why)),
        Event::Left(end) => ("playback.left", json!({ "reason": end.name() })),
        Event::Opened { interval } => ("session.opened", json!({ "interval_s": interval.as_secs_f64() })),
        Event::OnCredit { running } => ("session.on_credit", json!({ "running": running })),
        // Under the vendor's names, as apps of its player SDK know them.
        Event::Reached(moment) => (moment.name(), json!({})),
        Event::Recovered(missed) => ("session.recovered", json!({ "lost_beats": missed })),
        Event::Refused(_, why) => ("session.refused", reason(why)),
        Event::Settled(owed) => ("session.settled", json!({ "owed_s": owed.as_secs_f64() })),
        Event::Beat
        | Event::BeatLate(_)
        | Event::LeftOpen
        | Event::Orphaned
        | Event::Renewed
        | Event::Reopening
        | Event::Resumed
        | Event::Returned
        | Event::RenewalsCarry
        | Event::Stale(_)
        | Event::Unmanaged => return None,
    })
}

fn blackout(why: &Reason) -> Value {
    let blackout = why.blackout.as_deref();
    let mut detail = reason(why);
    detail["action"] = json!(blackout.map(|blackout| &blackout.action));
    detail["url"] = json!(blackout.and_then(|blackout| blackout.url.as_ref()));
    detail
}

fn reason(why: &Reason) -> Value {
    let mut reason = json!({ "code": why.code, "errorCode": why.error_code, "message": &*why.message });
    if let (Some(device), Some(fields)) = (&why.taken_by, reason.as_object_mut()) {
        fields.insert("takenBy".to_owned(), (&**device).into());
    }
    reason
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Endpoint;
    use crate::session::{Blackout, Denial, End, Moment};

    pub(in crate::events) fn playback<'a>(names: &'a (Arc<str>, Arc<str>)) -> Playback<'a> {
        Playback {
            account: Some("family-7"),
            authority: &names.0,
            content: Some("film"),
            device: "tv",
            error_name: |ask| if ask == AskKind::Beat { "ssmheartbeaterror" } else { "ssmsetuperror" },
            key: 7,
            network: Fingerprint::default(),
            route: &names.1,
            session: SessionId(1),
            token: None,
        }
    }

    pub(in crate::events) fn names() -> (Arc<str>, Arc<str>) {
        ("head-end".into(), "/license".into())
    }

    #[test]
    fn each_event_has_its_name_and_beats_have_none() {
        let why = || Reason::new(404, Some(3002), "Not Found");
        let rows = [
            (Event::Opened { interval: Duration::from_secs(30) }, Some("session.opened")),
            (Event::Closed(End::Stopped), Some("session.closed")),
            (Event::Killed(why()), Some("session.killed")),
            (Event::Forgiven, Some("session.forgiven")),
            (Event::Joined, Some("playback.joined")),
            (Event::Left(End::Quit), Some("playback.left")),
            (Event::Refused(Denial::Limit, why()), Some("session.refused")),
            (Event::Failed(AskKind::Beat, why()), Some("ssmheartbeaterror")),
            (Event::Blackout(why()), Some("BLACKOUT")),
            (Event::Reached(Moment::LiveEventStart), Some("LIVE_EVENT_START")),
            (Event::Recovered(2), Some("session.recovered")),
            (Event::Beat, None),
            (Event::Renewed, None),
            (Event::Unmanaged, None),
        ];
        let names = names();
        for (event, name) in rows {
            let notice = Notice::of(&playback(&names), &event, Duration::ZERO);
            assert_eq!(notice.map(|notice| notice.name), name, "{event:?}");
        }
    }

    #[test]
    fn a_blackout_says_what_to_show_in_its_place() {
        let url = Endpoint::parse("https://cdn.example/slate.m3u8?a=b").ok();
        let shown = Blackout { action: "DENY".to_owned(), url };
        let why = Reason { blackout: Some(shown.into()), ..Reason::new(0, None, "no") };
        let names = names();
        let notice = Notice::of(&playback(&names), &Event::Blackout(why), Duration::ZERO).unwrap();
        let detail = &notice.scoped()["detail"];
        assert_eq!((&detail["action"], &detail["url"]), (&json!("DENY"), &json!("https://cdn.example/slate.m3u8?a=b")));
    }

    #[test]
    fn a_kill_by_another_device_names_it() {
        let names = names();
        for (why, device) in [
            (Reason::new(410, None, "Gone").taken_by("Kitchen"), json!("Kitchen")),
            (Reason::new(410, None, "Gone"), Value::Null),
        ] {
            let notice = Notice::of(&playback(&names), &Event::Killed(why), Duration::ZERO).unwrap();
            assert_eq!(notice.scoped()["detail"]["takenBy"], device);
        }
    }

    #[test]
    fn an_app_hears_nothing_of_accounts_and_devices() {
        let names = names();
        let event = Event::Killed(Reason::new(404, Some(3002), "Not Found"));
        let notice = Notice::of(&playback(&names), &event, Duration::from_millis(1500)).unwrap();
        let told = notice.scoped();
        assert_eq!(
            told,
            json!({
                "event": "session.killed", "id": "0", "at": 1.5, "session": "0000000000000001", "content": "film",
                "detail": { "code": 404, "errorCode": 3002, "message": "Not Found" },
            })
        );
        assert_eq!(notice.whole()["account"], "family-7");
        assert_eq!(notice.sse(&told).lines().next(), Some("id: 0"));
        assert_eq!(notice.sse(&told).lines().count(), 4, "three lines and an empty one end it");
    }
}
