//! Keeps the set of authorities through all reloads.
//!
//! Owns the newest value of each authority. An authority that was removed from the configuration is kept until
//! the process ends, so that its sessions are still beaten and closed. [`super::AuthorityClient`] and `admin` read it;
//! only `app` changes it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::Authority;
use super::embedded::claim;
use crate::clock::Clock;
use crate::config;
use crate::sessions::{AuthorityId, Sessions};
use crate::store::{SessionRecord, SlotRecord, Store};

#[derive(Debug)]
pub struct Authorities {
    all: ArcSwap<AuthoritySet>,
    /// The sessions, which get pushed kills.
    sessions: OnceLock<Weak<Sessions>>,
    pub(super) signals: AuthoritySignals,
    /// The store for the slots of embedded authorities.
    store: OnceLock<Arc<dyn Store>>,
}

/// Signals of authorities to the tasks that work for all of them.
#[derive(Clone, Debug, Default)]
pub struct AuthoritySignals {
    /// The clock of the process, for what authorities do by themselves.
    pub(super) clock: Clock,
    /// Keys of content tokens must be fetched.
    pub(super) keys_wanted: Arc<Notify>,
}

#[derive(Debug)]
struct AuthoritySet {
    /// The authorities of the configuration, in its order.
    current: Vec<Arc<Authority>>,
    retired: Vec<Arc<Authority>>,
}

impl Authorities {
    pub fn new(configs: Vec<config::AuthoritySettings>, clock: Clock) -> Arc<Self> {
        let signals = AuthoritySignals { clock, ..AuthoritySignals::default() };
        let current = configs.into_iter().map(|config| Arc::new(Authority::new(config, &signals))).collect();
        Arc::new(Self {
            all: ArcSwap::from_pointee(AuthoritySet { current, retired: Vec::new() }),
            sessions: OnceLock::new(),
            signals,
            store: OnceLock::new(),
        })
    }

    /// Exactly these authorities.
    #[cfg(test)]
    pub(super) fn with(current: Vec<Authority>) -> Arc<Self> {
        let authorities = Self::new(Vec::new(), Clock::default());
        let current = current.into_iter().map(Arc::new).collect();
        authorities.all.store(Arc::new(AuthoritySet { current, retired: Vec::new() }));
        authorities
    }

    /// Makes embedded authorities write their slots to `store`, now and after reloads. They take back the slots of an
    /// earlier process that its sessions hold, each with its session's interval. Returns how many are held.
    pub fn keep_in(&self, store: &Arc<dyn Store>, slots: &[SlotRecord], sessions: &[SessionRecord]) -> usize {
        let _once = self.store.set(store.clone());
        let claimed =
            |one: &Authority| sessions.iter().filter(|held| one.keeps(&held.context)).filter_map(claim).collect();
        let kept = self.current().into_iter().filter_map(|one| one.keep(store, slots, &claimed(&one)));
        kept.sum()
    }

    /// Kills that authorities push go there from now on.
    pub fn serve(&self, sessions: &Arc<Sessions>) {
        let _once = self.sessions.set(Arc::downgrade(sessions));
    }

    pub(super) fn sessions(&self) -> Weak<Sessions> {
        self.sessions.get().cloned().unwrap_or_default()
    }

    /// Continues each outage in which playbacks of an earlier process were on credit.
    pub fn recall(&self, sessions: &Sessions) {
        for authority in self.every() {
            let Some(health) = authority.health() else { continue };
            sessions.unanswered(authority.id).into_iter().for_each(|(ask, since)| health.recall(ask, since));
        }
    }

    /// Makes embedded authorities end the sessions of denied accounts and devices. Returns the authorities that ended
    /// any, with how many.
    pub fn turn_out(&self) -> Vec<(Arc<str>, usize)> {
        let ended = |one: Arc<Authority>| Some((one.name.clone(), one.counter()?.turn_out()));
        self.current().into_iter().filter_map(ended).filter(|(_, ended)| *ended > 0).collect()
    }

    fn fresh(&self, config: config::AuthoritySettings) -> Authority {
        let authority = Authority::new(config, &self.signals);
        if let Some(store) = self.store.get() {
            authority.keep(store, &[], &HashMap::new());
        }
        authority
    }

    /// The authorities of the configuration, in its order.
    pub fn current(&self) -> Vec<Arc<Authority>> {
        self.all.load().current.clone()
    }

    /// All authorities, including those removed from the configuration.
    pub(super) fn every(&self) -> Vec<Arc<Authority>> {
        self.all.load().iter().cloned().collect()
    }

    /// The newest value of an authority.
    pub fn of(&self, id: AuthorityId) -> Option<Arc<Authority>> {
        self.all.load().iter().find(|authority| authority.id == id).cloned()
    }

    pub fn by_name(&self, name: &str) -> Option<Arc<Authority>> {
        self.all.load().iter().find(|authority| &*authority.name == name).cloned()
    }

    /// Takes new settings. An authority that keeps name and kind keeps what it knows. If a name gets
    /// another kind, its old settings stay until a restart, and the name is returned.
    pub fn renew(&self, configs: Vec<config::AuthoritySettings>) -> Vec<Arc<str>> {
        let before = self.all.load_full();
        let mut kept = Vec::new();
        let current: Vec<_> = configs
            .into_iter()
            .map(|config| match before.iter().find(|authority| *authority.name == *config.name) {
                Some(old) => old.renewed(config, &self.signals).map(Arc::new).unwrap_or_else(|| {
                    kept.push(old.name.clone());
                    old.clone()
                }),
                None => Arc::new(self.fresh(config)),
            })
            .collect();
        let gone = |old: &&Arc<Authority>| current.iter().all(|authority| authority.name != old.name);
        let retired = before.iter().filter(gone).cloned().collect();
        self.all.store(Arc::new(AuthoritySet { current, retired }));
        self.signals.keys_wanted.notify_one();
        kept
    }
}

impl AuthoritySet {
    fn iter(&self) -> impl Iterator<Item = &Arc<Authority>> {
        self.current.iter().chain(&self.retired)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::clock::EpochTime;
    use crate::secret::Secret;
    use crate::session::{Grant, Verdict};
    use crate::store::{Memory, SlotHeld};

    const HOME: &str = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\n";
    const SSM: &str = "[[authority]]\nname = \"home\"\nkind = \"nagra-ssm\"\nurl = \"http://127.0.0.1:9/ssm\"\n";

    fn read(text: &str) -> Vec<config::AuthoritySettings> {
        let text = format!("{text}\n[[route]]\npath = \"/l\"\nlicense-server = \"http://127.0.0.1:9/\"\n");
        config::parse(&text, Path::new(""), std::iter::empty()).unwrap().authorities
    }

    fn limit(limit: u32) -> String {
        format!("{HOME}sessions-per-account = {limit}\n")
    }

    fn allowed(authority: &Authority) -> u32 {
        authority.counter().unwrap().config().sessions_per_account
    }

    #[test]
    fn an_authority_stays_itself_with_other_settings() {
        let authorities = Authorities::new(read(&limit(1)), Clock);
        let before = authorities.by_name("home").unwrap();
        assert!(authorities.renew(read(&limit(2))).is_empty());
        let after = authorities.of(before.id).unwrap();
        assert_eq!((allowed(&before), allowed(&after)), (1, 2), "who has the old value keeps its settings");
        assert_eq!(authorities.current().len(), 1);
    }

    /// Sessions beat as they did before the restart, whatever the configuration says now.
    #[test]
    fn a_place_that_is_taken_back_lives_by_the_interval_of_its_session() {
        let authorities = Authorities::new(read(&format!("{HOME}interval = \"5s\"\ngrace = \"10s\"\n")), Clock);
        let held = SlotHeld {
            account: "ann".to_owned(),
            beats: 0,
            content: String::new(),
            device: "tv".to_owned(),
            groups: [None, None],
            opened: EpochTime::default(),
        };
        let slot = SlotRecord { authority: "home".into(), ended: None, held: Some(held), kept: None, slot: 7 };
        let (store, interval): (Arc<dyn Store>, _) = (Memory::manual(), Duration::from_secs(30));
        let (home, now) = (authorities.by_name("home").unwrap(), Clock.now());
        assert_eq!(home.keep(&store, &[slot], &[(7, interval)].into()), Some(1));
        let grant = Grant { interval, lifetime: None, token: Secret::new("7") };
        for beat in 1..4 {
            let verdict = home.counter().unwrap().beat(now + (interval + Duration::from_secs(9)) * beat, &grant);
            assert!(matches!(verdict, Verdict::Alive { .. }), "{verdict:?}");
        }
    }

    #[test]
    fn an_authority_that_is_gone_comes_back_as_itself() {
        let authorities = Authorities::new(read(HOME), Clock);
        let session = authorities.by_name("home").unwrap().id;
        for _ in 0..3 {
            authorities.renew(read(""));
            assert!(authorities.current().is_empty() && authorities.of(session).is_some());
        }
        authorities.renew(read(HOME));
        assert_eq!(authorities.by_name("home").unwrap().id, session);
        assert!(authorities.all.load().retired.is_empty());
    }

    #[test]
    fn a_name_keeps_its_kind_until_a_restart() {
        let authorities = Authorities::new(read(HOME), Clock);
        assert_eq!(authorities.renew(read(SSM)), ["home".into()]);
        assert!(authorities.by_name("home").unwrap().counter().is_some());
        for _ in 0..2 {
            authorities.renew(read(""));
        }
        assert_eq!(authorities.renew(read(SSM)), ["home".into()], "nobody forgets it");
        assert!(authorities.by_name("home").unwrap().counter().is_some());
    }

    fn ssm(authorities: &Authorities) -> Arc<Authority> {
        authorities.by_name("home").unwrap()
    }

    #[test]
    fn an_authority_clock_is_that_of_the_servers_it_was_heard_from() {
        let authorities = Authorities::new(read(SSM), Clock);
        let clock = crate::clock::Clock;
        let reach = ssm(&authorities);
        let heard = &reach.reach.as_ref().unwrap().clock;
        heard.learn(clock.unslept(), clock.wall(), clock.wall()).unwrap();
        authorities.renew(read(&format!("{SSM}timeout = \"3s\"\n")));
        assert!(ssm(&authorities).time(clock).is_some());
        authorities.renew(read(&format!("{SSM}setup-url = \"http://127.0.0.1:10/\"\n")));
        assert!(ssm(&authorities).time(clock).is_none());
    }
}
