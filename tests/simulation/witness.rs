//! Reads the log lines of the real shell while it runs.
//!
//! A line is written under the device's lock in the very step that it reports, so its time and its order are those of
//! the decision.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, Once};

use sidebeat::config::Enforcement;
use sidebeat::ids::SessionId;
use sidebeat::session::{AskKind, EndReason};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use super::far::{Began, Far};

/// A subscriber that hears nothing, and makes every log call site ask the current one each time. Otherwise the first
/// thread at a call site decides for all, and a witness on another thread hears nothing.
struct Deaf;

/// Before anything of a world writes a line.
pub(crate) fn let_each_line_ask() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Deaf).expect("nobody else sets one"));
}

pub(crate) struct Witness(pub(crate) Arc<Mutex<Far>>);

#[derive(Default)]
struct Line {
    message: String,
    reason: Option<&'static str>,
    said: String,
    session: String,
}

/// The names of the lines that the witness distinguishes.
const NAMES: [&str; 19] = [
    "authority answers again",
    "authority call failed",
    "beat",
    "beat late",
    "closed",
    "credit settled",
    "killed",
    "late answer dropped",
    "left open",
    "on credit",
    "open lost in a restart",
    "opened",
    "opening anew",
    "refused",
    "renewals carry the session",
    "renewed",
    "resumed",
    "taken up again",
    "unmanaged",
];

impl Far {
    fn hear(&mut self, line: &Line) {
        let now = self.now();
        let said = line.message.split(':').next();
        let name = NAMES.into_iter().find(|name| Some(*name) == said).unwrap_or("something else");
        let id = SessionId(u64::from_str_radix(&line.session, 16).expect("a session's digits"));
        self.watch.mark(now, name, id.0, 0);
        self.sums.add(name);
        self.sums.add_all(line.reason);
        self.stirs.notify_one();
        match name {
            "authority call failed" if line.said == "the call was given up" => {
                let awake = self.awake();
                let given_up = self.watch.gives_up(awake, id);
                if given_up == Some(AskKind::Close) {
                    self.books_of(id).for_each(|book| book.closes_failed += 1);
                }
            }
            "beat late" => self.watch.shadow(id).late = true,
            "closed" => self.over.extend([id]),
            "on credit" => {
                self.watch.shadow(id).sessionless = true;
                self.watch.may_open_again(id);
            }
            "unmanaged" => self.watch.shadow(id).sessionless = true,
            "killed" => self.hear_of_a_kill(id),
            "open lost in a restart" => self.orphans.retain(|orphan| *orphan != id),
            "opened" => {
                self.watch.shadow(id).sessionless = false;
                self.books_of(id).for_each(|book| book.acted_on = true);
                if self.policy.enforcement == Enforcement::Renewal && self.policy.renews {
                    self.carry(id);
                }
            }
            "opening anew" => self.watch.reopens(id),
            "renewals carry the session" => self.carry(id),
            // Its end was not written when the process died.
            "resumed" => drop(self.over.remove(&id)),
            "taken up again" => {
                self.over.remove(&id);
                self.watch.reopens(id);
                // The license of the session that gave way waited for a grant that is given back.
                self.watch.shadow(id).licensed = false;
            }
            _ => {}
        }
    }

    /// From now on the player may let it expire.
    fn carry(&mut self, id: SessionId) {
        self.carried.insert(id);
        self.books_of(id).for_each(|book| book.renewed = true);
    }

    fn hear_of_a_kill(&mut self, id: SessionId) {
        let now = self.now();
        self.catch_up(now);
        let awake = self.awake();
        let Began { call, device } = self.calls[self.numbers[id.0 as usize]];
        // The call that began it may not be answered yet.
        self.watch.called(id, call.token);
        let by_us = self.killed_here.contains(&id) || self.watch.is_reached(awake, device, id);
        let excused = self.head.is_doubled(id);
        assert!(
            by_us || excused || self.head.has_killed(id),
            "no kill was: {:?}",
            self.books_of(id).collect::<Vec<_>>()
        );
        let policy = self.policy.clone();
        self.watch.killed(awake, device, id, &policy);
    }
}

impl Subscriber for Witness {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sidebeat::telemetry"
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.session.is_empty() {
            return;
        }
        let Ok(mut far) = self.0.lock() else {
            assert!(std::thread::panicking(), "the promise that was broken is told above");
            return;
        };
        if !far.dead {
            far.hear(&line);
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl Subscriber for Deaf {
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "reason" => self.reason = EndReason::ALL.map(EndReason::name).into_iter().find(|name| *name == value),
            "said" => value.clone_into(&mut self.said),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let told = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "session" => write!(self.session, "{value:?}"),
            _ => Ok(()),
        };
        told.expect("memory takes it");
    }
}
