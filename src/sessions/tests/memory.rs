//! The memory of a live session, counted by the allocator: the difference between N and 2N sessions, without tokens.
//!
//! A bound that is exceeded is shown with the figure.

use std::future::ready;

use allocation_counter::AllocationInfo;

use super::*;
use crate::drm::{DrmMessage, DrmSystem, MessageKind};
use crate::session::LicenseFeedback;

/// Bytes of each content token and of each session token.
const TOKEN_BYTES: usize = 700;
/// The network of all viewers.
const NETWORK: Fingerprint = Fingerprint::new(1);
/// The allocator's own bytes beside each piece, and the piece's rounding.
const ALLOCATION_BYTES: i64 = 16;
/// Sizes of the fields that callers choose.
#[derive(Clone, Copy)]
struct FieldSizes {
    name: usize,
    key_sessions: u64,
    keys: u8,
    later_tokens: u64,
    notes: usize,
    /// Sessions between the two counts: five times a power of two, so that tables that double are as full at both.
    sessions: u64,
}

const ORDINARY: FieldSizes =
    FieldSizes { name: 20, key_sessions: 1, keys: 4, later_tokens: 0, notes: 0, sessions: 640 };
/// The largest that are accepted.
const LARGEST: FieldSizes =
    FieldSizes { name: 256, key_sessions: 16, keys: 32, later_tokens: 8, notes: 32, sessions: 80 };

/// Grants everything at once.
struct Granting;

impl AskAuthority for Granting {
    fn ask<'a>(&'a self, ask: &'a AuthorityAsk, _context: &'a SessionContext) -> VerdictFuture<'a> {
        let token = Secret::new("s".repeat(TOKEN_BYTES));
        Box::pin(ready(Ok(match ask.kind {
            AskKind::Open => Verdict::Granted(Grant { interval: HOUR, lifetime: None, token }),
            AskKind::Close => Verdict::Closed,
            AskKind::Beat | AskKind::Renew => {
                Verdict::Alive { interval: None, lifetime: None, schedule: None, token: None }
            }
        })))
    }
}

/// Steps of a player's first minute, each with those before it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Progress {
    Opened,
    Licensed,
    Mirrored,
}

struct Household {
    context: SessionContext,
    sessions: Arc<Sessions>,
    sizes: FieldSizes,
}

impl Household {
    fn new(sizes: FieldSizes) -> Self {
        let (tasks, _deaths) = Tasks::new();
        let dispatcher = AuthorityDispatcher::new(Arc::new(Granting), Handle::current(), tasks);
        let sessions = Sessions::new(Clock, dispatcher, Arc::default());
        let context = SessionContext { network: NETWORK, ..SessionContext::clone(&super::context(brief())) };
        // The limiter of lines in the log knows its sources for ten seconds, but no more of one network.
        let lines = &sessions.telemetry.session_lines;
        let spent = |source: &u64| lines.allow_in_group("any", source.to_string(), NETWORK.get(), Clock.now());
        assert!((0..).find(|source| !spent(source)).is_some());
        Self { context, sessions, sizes }
    }

    fn text(&self, number: u64) -> String {
        format!("{number:0width$}", width = self.sizes.name)
    }

    /// Every call brings its own texts, as requests do.
    fn context(&self, number: u64) -> Arc<SessionContext> {
        let is_large = self.sizes.name == LARGEST.name;
        let group = || is_large.then(|| self.text(number % 8));
        Arc::new(SessionContext {
            account: Some(self.text(number).into()),
            content: Some(self.text(number % 8).into()),
            device: self.text(number).into(),
            groups: CountedGroups::of(group(), group()),
            opened: Clock.wall().into(),
            token: Some(Secret::new("t".repeat(TOKEN_BYTES))),
            ..self.context.clone()
        })
    }

    async fn call(&self, key: DeviceKey, number: u64, token: u64, key_session: u64) -> SessionId {
        let call = PlayerCall {
            content: Some(Fingerprint::new(number % 8)),
            key_session: Some(Fingerprint::new(key_session)),
            ..license(number << 16 | token)
        };
        let admission = self.sessions.admit(key, &call, &self.context(number), Clock.now() + HOUR).await;
        let id = admission.session.expect("a session");
        assert!(matches!(admission.answer, CallAnswer::Forward(_)), "{admission:?}");
        self.sessions.accept(key, id, &call);
        id
    }

    async fn play(&self, number: u64, until: Progress) {
        let key = DeviceKey::new("test", DeviceSource::Header, &number.to_string());
        let id = self.call(key, number, 0, 0).await;
        if until == Progress::Opened {
            return;
        }
        for token in 1..=self.sizes.later_tokens {
            self.call(key, number, token, 0).await;
        }
        for key_session in 0..self.sizes.key_sessions {
            self.call(key, number, 0, key_session).await;
            let lasts = (Fingerprint::new(key_session), Some(HOUR));
            self.sessions.licensed(key, id, LicenseFeedback::Stays, lasts);
            if until == Progress::Mirrored {
                self.mirror(key, id, key_session);
            }
        }
        for note in 0..self.sizes.notes {
            self.sessions.note_call(key, id, format!("{note:0160}"));
        }
        self.sessions.used(key, Fingerprint::new(number << 16));
    }

    fn mirror(&self, key: DeviceKey, id: SessionId, key_session: u64) {
        let message = |kind| {
            let mut message = DrmMessage::new(DrmSystem::Widevine, kind);
            message.request_id = Some(Fingerprint::new(key_session));
            (0..self.sizes.keys).for_each(|key| message.key_ids.insert(&[key; 16]));
            message
        };
        let request = message(MessageKind::LicenseRequest);
        self.sessions.see(key, id, |mirror, _| mirror.asked(&request));
        let license = message(MessageKind::License);
        self.sessions.see(key, id, |mirror, wall| mirror.answered(&request, &license, wall));
    }
}

/// Bytes that the allocator holds for these sessions and for the values that they share.
fn play_many(sizes: FieldSizes, until: Progress, sessions: u64) -> AllocationInfo {
    let mut kept = None;
    // The whole runtime is measured, because a task ends elsewhere than where it begins.
    let info = allocation_counter::measure(|| {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let household = runtime.block_on(async {
            let household = Household::new(sizes);
            for number in 0..sessions {
                household.play(number, until).await;
            }
            household
        });
        kept = Some((runtime, household));
    });
    drop(kept);
    info
}

/// Bytes of one session beside its tokens.
fn bytes_each(sizes: FieldSizes, until: Progress) -> i64 {
    let (one, two) = (play_many(sizes, until, sizes.sessions), play_many(sizes, until, 2 * sizes.sessions));
    let bytes = |info: &AllocationInfo| info.bytes_current + info.count_current * ALLOCATION_BYTES;
    (bytes(&two) - bytes(&one)) / sizes.sessions.cast_signed() - 2 * TOKEN_BYTES as i64
}

#[test]
fn a_live_session_is_no_larger_than_it_was() {
    for (sizes, until, most) in [
        (ORDINARY, Progress::Opened, 1_540),
        (ORDINARY, Progress::Licensed, 1_600),
        (ORDINARY, Progress::Mirrored, 1_750),
        (LARGEST, Progress::Mirrored, 8_000),
    ] {
        let bytes = bytes_each(sizes, until);
        assert!(bytes <= most, "{bytes} bytes {until:?}, names of {} bytes", sizes.name);
    }
}

/// As after an evening with many viewers.
#[test]
fn a_table_gives_the_room_of_forgotten_devices_back() {
    const DEVICES: u64 = 20_000;
    let table = DeviceTable::default();
    let of = |from| (from..DEVICES).map(DeviceKey);
    of(0).for_each(|key| table.with(key, |entry| entry.connections = 1));
    assert!(!table.is_sparse());
    of(1_000).for_each(|key| table.with(key, |entry| entry.connections = 0));
    assert!(table.is_sparse());
    table.give_room_back();
    assert!(!table.is_sparse());
    table.with(DeviceKey(7), |entry| assert_eq!(entry.connections, 1));
}
