//! An event of a playback as listeners get it, and its JSON forms.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::{AskKind, BlackoutReason, Reason, SessionEvent, StreamTimelineEvent};

/// The playback of an event. Borrowed, because most events are no notices.
#[derive(Clone, Copy, Debug)]
pub struct PlaybackInfo<'a> {
    pub account: Option<&'a str>,
    pub authority: &'a Arc<str>,
    pub content: Option<&'a str>,
    pub device: &'a str,
    /// Names of failed calls in the authority's player SDK.
    pub error_name: fn(AskKind) -> &'static str,
    /// The device's key at its authority.
    pub key: u64,
    /// The viewer's network, used only to limit log lines.
    pub network: Fingerprint,
    pub route: &'a Arc<str>,
    pub session: SessionId,
    /// The content token that began the playback.
    pub token: Option<Fingerprint>,
}

/// Holds no token and no key, so all of it may be shown to listeners of this playback.
#[derive(Clone, Debug)]
pub struct Notice {
    pub account: Option<String>,
    /// Wall time since the epoch.
    pub at: Duration,
    pub authority: Arc<str>,
    pub content: Option<String>,
    pub device: String,
    /// The device's key at its authority; selects listeners, never shown.
    pub key: u64,
    pub name: NoticeName,
    /// Rises from notice to notice, also over a restart.
    pub number: u64,
    pub route: Arc<str>,
    pub session: SessionId,
    /// Selects listeners; never shown.
    pub token: Option<Fingerprint>,
    detail: Value,
}

/// The name of a notice, as apps, operators and webhooks know it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoticeName {
    Blackout,
    Closed,
    /// The name that the authority's player SDK has for a failed call.
    Failed(&'static str),
    Forgiven,
    Joined,
    Killed,
    Left,
    OnCredit,
    Opened,
    Reached(StreamTimelineEvent),
    Recovered,
    Refused,
    Settled,
}

impl NoticeName {
    pub fn name(self) -> &'static str {
        match self {
            Self::Blackout => "BLACKOUT",
            Self::Closed => "session.closed",
            Self::Failed(name) => name,
            Self::Forgiven => "session.forgiven",
            Self::Joined => "playback.joined",
            Self::Killed => "session.killed",
            Self::Left => "playback.left",
            Self::OnCredit => "session.on_credit",
            Self::Opened => "session.opened",
            Self::Reached(event) => event.name(),
            Self::Recovered => "session.recovered",
            Self::Refused => "session.refused",
            Self::Settled => "session.settled",
        }
    }
}

impl Notice {
    /// `None` for events that concern no listener.
    pub(super) fn of(playback: &PlaybackInfo<'_>, event: &SessionEvent, at: Duration) -> Option<Self> {
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

    /// All fields, for operators and webhooks.
    pub fn whole(&self) -> Value {
        let mut value = self.scoped();
        value["account"] = json!(self.account);
        value["authority"] = json!(&*self.authority);
        value["device"] = json!(self.device);
        value["route"] = json!(&*self.route);
        value
    }

    /// The fields for the playback's own app, which knows its device and account.
    pub fn scoped(&self) -> Value {
        json!({
            "event": self.name.name(),
            "id": self.number.to_string(),
            "at": (self.at.as_secs_f64() * 1000.0).round() / 1000.0,
            "session": self.session.to_string(),
            "content": self.content,
            "detail": self.detail,
        })
    }

    /// A server-sent event (HTML standard, section 9.2). JSON text has no line breaks.
    pub fn sse(&self, data: &Value) -> String {
        format!("id: {}\nevent: {}\ndata: {data}\n\n", self.number, self.name.name())
    }
}

fn told(playback: &PlaybackInfo<'_>, event: &SessionEvent) -> Option<(NoticeName, Value)> {
    Some(match event {
        SessionEvent::Blackout(dark) => (NoticeName::Blackout, blackout(dark)),
        SessionEvent::Closed(end) => (NoticeName::Closed, json!({ "reason": end.name() })),
        SessionEvent::Failed(ask, why) => (NoticeName::Failed((playback.error_name)(*ask)), reason(why)),
        SessionEvent::Forgiven => (NoticeName::Forgiven, json!({})),
        SessionEvent::Joined => (NoticeName::Joined, json!({})),
        SessionEvent::Killed(by) => (NoticeName::Killed, reason(by.reason())),
        SessionEvent::Left(end) => (NoticeName::Left, json!({ "reason": end.name() })),
        SessionEvent::Opened { interval } => (NoticeName::Opened, json!({ "interval_s": interval.as_secs_f64() })),
        SessionEvent::OnCredit { running } => (NoticeName::OnCredit, json!({ "running": running })),
        // Named as in the vendor's player SDK, which apps know.
        SessionEvent::Reached(moment) => (NoticeName::Reached(*moment), json!({})),
        SessionEvent::Recovered(missed) => (NoticeName::Recovered, json!({ "lost_beats": missed })),
        SessionEvent::Refused(_, why) => (NoticeName::Refused, reason(why)),
        SessionEvent::Settled(owed) => (NoticeName::Settled, json!({ "owed_s": owed.as_secs_f64() })),
        SessionEvent::Beat
        | SessionEvent::BeatLate(_)
        | SessionEvent::LeftOpen
        | SessionEvent::Orphaned
        | SessionEvent::Renewed
        | SessionEvent::Reopening
        | SessionEvent::Resumed
        | SessionEvent::Returned
        | SessionEvent::RenewalsCarry
        | SessionEvent::Stale(_)
        | SessionEvent::Unmanaged => return None,
    })
}

fn blackout(dark: &BlackoutReason) -> Value {
    let mut detail = reason(&dark.reason);
    detail["action"] = json!(dark.blackout.action);
    detail["url"] = json!(dark.blackout.url);
    detail
}

fn reason(why: &Reason) -> Value {
    let mut reason = json!({ "code": why.told_code(), "errorCode": why.error_code, "message": &*why.message });
    if let (Some(device), Some(fields)) = (&why.taken_by, reason.as_object_mut()) {
        fields.insert("takenBy".to_owned(), (&**device).into());
    }
    reason
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::EndpointUrl;
    use crate::session::{Blackout, Denial, EndReason};

    pub(in crate::events) fn playback<'a>(names: &'a (Arc<str>, Arc<str>)) -> PlaybackInfo<'a> {
        PlaybackInfo {
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

    fn dark(url: Option<EndpointUrl>) -> BlackoutReason {
        let blackout = Blackout { action: "DENY".to_owned(), url };
        BlackoutReason { blackout: blackout.into(), reason: Reason::without_reply("no") }
    }

    #[test]
    fn each_event_has_its_name_and_beats_have_none() {
        let why = || Reason::new(404, Some(3002), "Not Found");
        let rows = [
            (SessionEvent::Opened { interval: Duration::from_secs(30) }, Some("session.opened")),
            (SessionEvent::Closed(EndReason::Stopped), Some("session.closed")),
            (SessionEvent::Killed(why().into()), Some("session.killed")),
            (SessionEvent::Forgiven, Some("session.forgiven")),
            (SessionEvent::Joined, Some("playback.joined")),
            (SessionEvent::Left(EndReason::Quit), Some("playback.left")),
            (SessionEvent::Refused(Denial::Limit, why()), Some("session.refused")),
            (SessionEvent::Failed(AskKind::Beat, why()), Some("ssmheartbeaterror")),
            (SessionEvent::Blackout(dark(None)), Some("BLACKOUT")),
            (SessionEvent::Reached(StreamTimelineEvent::LiveEventStart), Some("LIVE_EVENT_START")),
            (SessionEvent::Recovered(2), Some("session.recovered")),
            (SessionEvent::Beat, None),
            (SessionEvent::Renewed, None),
            (SessionEvent::Unmanaged, None),
        ];
        let names = names();
        for (event, name) in rows {
            let notice = Notice::of(&playback(&names), &event, Duration::ZERO);
            assert_eq!(notice.map(|notice| notice.name.name()), name, "{event:?}");
        }
    }

    #[test]
    fn a_blackout_says_what_to_show_in_its_place() {
        let url = EndpointUrl::parse("https://cdn.example/slate.m3u8?a=b").ok();
        let names = names();
        let notice = Notice::of(&playback(&names), &SessionEvent::Blackout(dark(url)), Duration::ZERO).unwrap();
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
            let notice = Notice::of(&playback(&names), &SessionEvent::Killed(why.into()), Duration::ZERO).unwrap();
            assert_eq!(notice.scoped()["detail"]["takenBy"], device);
        }
    }

    #[test]
    fn an_app_hears_nothing_of_accounts_and_devices() {
        let names = names();
        let event = SessionEvent::Killed(Reason::new(404, Some(3002), "Not Found").into());
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
