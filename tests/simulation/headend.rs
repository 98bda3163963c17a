//! The oracle: a head-end that keeps books of the sessions that it opened, heard and closed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sidebeat::ids::SessionId;
use sidebeat::secret::Secret;
use sidebeat::session::{AskKind, AuthorityFault, Denial, Grant, Reason, Verdict};

use super::rng::Rng;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Closed,
    Expired,
    Killed { at: Instant },
    Open,
}

#[derive(Debug)]
pub(crate) struct Book {
    account: usize,
    /// The proxy has acted on the open's answer.
    pub(crate) acted_on: bool,
    pub(crate) closes_asked: u32,
    pub(crate) closes_failed: u32,
    pub(crate) device: usize,
    /// The network sent a call twice, and the second one replaced the proxy's token: a strict head-end's answer to that
    /// looks like a kill.
    pub(crate) doubled: bool,
    pub(crate) fate: Fate,
    pub(crate) heard: Instant,
    /// A call for it was lost, late or refused, and none was answered since: it may expire without a fault of the
    /// proxy.
    pub(crate) hurt: bool,
    pub(crate) id: SessionId,
    pub(crate) interval: Duration,
    /// The player's renewals carried it, so the player could let it expire.
    pub(crate) renewed: bool,
    pub(crate) serial: u64,
    /// The proxy's machine slept while it was open, and no answer since shows that it lives.
    pub(crate) slept: bool,
    /// How often the proxy has heard that it is no more.
    told_gone: u32,
}

pub(crate) struct HeadEnd {
    pub(crate) books: Vec<Book>,
    grace: Duration,
    interval: Duration,
    /// The token before the last one is still taken.
    lenient: bool,
    limit: usize,
    pub(crate) limits_reached: u64,
    next_serial: u64,
    open: Vec<usize>,
    /// True if a replaced token gets the reply for an unknown one: 404 with 3002, and not 400 with 1006.
    strict: bool,
    pub(crate) tokens: HashMap<String, (usize, u64)>,
}

impl HeadEnd {
    pub(crate) fn new(rng: &mut Rng, interval: Duration, grace: Duration, limit: usize) -> Self {
        Self {
            books: Vec::new(),
            grace,
            interval,
            lenient: rng.chance(700),
            limit,
            limits_reached: 0,
            next_serial: 1,
            open: Vec::new(),
            strict: rng.chance(500),
            tokens: HashMap::new(),
        }
    }

    pub(crate) fn book_of(&self, token: &Secret) -> usize {
        self.tokens.get(token.expose()).expect("no token that the head-end never gave").0
    }

    pub(crate) fn hurt(&mut self, token: Option<&Secret>) {
        if let Some(token) = token {
            let book = self.book_of(token);
            self.books[book].hurt = true;
        }
    }

    /// The proxy has heard that this session lives, and has its newest token: nothing before that excuses what comes.
    pub(crate) fn heal(&mut self, asked_with: &Secret, result: &Result<Verdict, AuthorityFault>) {
        let Ok(Verdict::Alive { token, .. }) = result else { return };
        let (at, serial) = self.tokens[token.as_ref().unwrap_or(asked_with).expose()];
        let book = &mut self.books[at];
        let newest = serial == book.serial;
        book.doubled &= !newest;
        book.hurt &= !newest;
        book.slept &= !newest;
    }

    /// The proxy hears this answer, so it knows of all ends at the head-end.
    pub(crate) fn tell(&mut self, asked_with: &Secret, kind: AskKind, result: &Result<Verdict, AuthorityFault>) {
        let Ok(Verdict::Denied(..) | Verdict::Killed(_) | Verdict::Unknown(_)) = result else { return };
        let at = self.book_of(asked_with);
        let book = &mut self.books[at];
        book.told_gone += u32::from(kind != AskKind::Close && book.fate != Fate::Open);
    }

    /// A further call must end a killed session, even after lost answers: it is refused, or opened anew.
    pub(crate) fn look_at(&self, asked_with: &Secret, kind: AskKind) {
        let book = &self.books[self.book_of(asked_with)];
        assert!(kind == AskKind::Close || book.told_gone < 2, "asked for what is known to be gone: {book:?}");
    }

    /// The process is gone, and with it what it had heard.
    pub(crate) fn forget_what_was_told(&mut self) {
        self.books.iter_mut().for_each(|book| book.told_gone = 0);
    }

    /// True if it was killed here, in any of the sessions opened for it.
    pub(crate) fn has_killed(&self, id: SessionId) -> bool {
        self.books.iter().any(|book| book.id == id && matches!(book.fate, Fate::Killed { .. }))
    }

    /// True if the network doubled a call, which replaced the proxy's token.
    pub(crate) fn is_doubled(&self, id: SessionId) -> bool {
        self.strict && self.books.iter().any(|book| book.id == id && book.doubled)
    }

    pub(crate) fn sleep(&mut self) {
        self.open.iter().for_each(|at| self.books[*at].slept = true);
    }

    /// The process that could give them back has forgotten them.
    pub(crate) fn hurt_all(&mut self) {
        self.open.iter().for_each(|at| self.books[*at].hurt = true);
    }

    /// An open with a reply that will not be heard.
    pub(crate) fn hurt_last(&mut self) {
        if let Some(book) = self.books.last_mut() {
            book.hurt = true;
        }
    }

    pub(crate) fn kill_one(&mut self, now: Instant, rng: &mut Rng) {
        self.expire(now);
        if self.open.is_empty() {
            return;
        }
        let at = rng.below(self.open.len());
        let book = self.open.swap_remove(at);
        self.books[book].fate = Fate::Killed { at: now };
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        let (books, grace) = (&mut self.books, self.grace);
        self.open.retain(|at| {
            let book = &mut books[*at];
            let over = now > book.heard + book.interval + grace;
            if over {
                book.fate = Fate::Expired;
            }
            !over
        });
    }

    pub(crate) fn open_ones(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn handle(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        from: (usize, SessionId),
        kind: AskKind,
        token: Option<&Secret>,
    ) -> Result<Verdict, AuthorityFault> {
        self.expire(now);
        let Some(token) = token else { return Ok(self.open(now, rng, from)) };
        let (at, serial) = *self.tokens.get(token.expose()).expect("no token that the head-end never gave");
        let book = &mut self.books[at];
        let taken = serial == book.serial || (self.lenient && serial + 1 == book.serial);
        Ok(match (kind, book.fate) {
            (_, Fate::Open) if !taken && self.strict => Verdict::Unknown(unknown()),
            (_, Fate::Open) if !taken => Verdict::Denied(Denial::Token, Reason::new(401, Some(1006), "stale token")),
            (AskKind::Close, Fate::Open) => {
                book.fate = Fate::Closed;
                self.open.retain(|open| *open != at);
                Verdict::Closed
            }
            (_, Fate::Open) => {
                book.heard = now;
                self.confirm(rng, at)
            }
            (AskKind::Beat | AskKind::Renew, Fate::Killed { .. }) if rng.chance(500) => Verdict::Killed(unknown()),
            (_, Fate::Closed | Fate::Expired | Fate::Killed { .. }) => Verdict::Unknown(unknown()),
        })
    }

    fn open(&mut self, now: Instant, rng: &mut Rng, (device, id): (usize, SessionId)) -> Verdict {
        let account = device / 2;
        if self.open.iter().filter(|at| self.books[**at].account == account).count() >= self.limit {
            self.limits_reached += 1;
            return Verdict::Denied(Denial::Limit, Reason::new(400, Some(1007), "too many"));
        }
        if rng.chance(5) {
            return Verdict::Disabled;
        }
        let at = self.books.len();
        self.books.push(Book {
            account,
            acted_on: false,
            closes_asked: 0,
            closes_failed: 0,
            device,
            doubled: false,
            fate: Fate::Open,
            heard: now,
            hurt: false,
            id,
            interval: self.interval,
            renewed: false,
            serial: 0,
            slept: false,
            told_gone: 0,
        });
        self.open.push(at);
        let token = self.fresh_token(at);
        Verdict::Granted(Grant { interval: self.interval, lifetime: lifetime(rng), token })
    }

    fn confirm(&mut self, rng: &mut Rng, at: usize) -> Verdict {
        let interval = rng.chance(20).then(|| self.interval + rng.millis(0, 3_000));
        if let Some(interval) = interval {
            self.books[at].interval = interval;
        }
        let token = rng.chance(900).then(|| self.fresh_token(at));
        Verdict::Alive { interval, lifetime: lifetime(rng), schedule: None, token }
    }

    fn fresh_token(&mut self, at: usize) -> Secret {
        let text = format!("{}", self.next_serial);
        self.next_serial += 1;
        self.books[at].serial += 1;
        self.tokens.insert(text.clone(), (at, self.books[at].serial));
        Secret::new(text)
    }
}

fn lifetime(rng: &mut Rng) -> Option<Duration> {
    rng.chance(200).then(|| rng.millis(1_000, 60_000))
}

fn unknown() -> Reason {
    Reason::new(404, Some(3002), "Not Found")
}
