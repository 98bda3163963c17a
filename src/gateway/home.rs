//! Where a session of an earlier process belongs: its route by path, its authority by name.

use std::sync::Arc;

use super::Routes;
use super::identity::RUNGS;
use crate::authority::{Authorities, Authority};
use crate::session::Policy;
use crate::sessions::{Card, Home, Standing};
use crate::store::CardRecord;

impl Routes {
    /// Policy and dialect are today's; who plays what is the record's.
    pub fn home(&self, record: &CardRecord, authorities: &Authorities) -> Home {
        let Some(authority) = authorities.by_name(&record.authority) else { return Home::Gone };
        let ours = |name: &Authority| name.name == authority.name;
        let route = self.at(&record.route).filter(|route| route.authority.as_deref().is_some_and(ours));
        match route {
            Some(route) => Home::Here(Arc::new(card(record, &authority, route.policy.clone()))),
            None => {
                let (fraction, grace) = authority.pace();
                let policy = Policy { fraction, grace, renews: authority.renews(), ..Policy::default() };
                Home::Leaving(Arc::new(card(record, &authority, Arc::new(Standing::new(policy)))))
            }
        }
    }
}

fn card(record: &CardRecord, authority: &Authority, policy: Arc<Standing>) -> Card {
    let CardRecord {
        account,
        authority: _,
        content,
        content_group,
        device,
        device_group,
        kill_memory,
        opened,
        route,
        rung,
        token,
    } = record.clone();
    Card {
        account,
        authority: authority.id.clone(),
        authority_name: authority.name.clone(),
        content,
        content_group,
        device,
        device_group,
        error_name: authority.error_name(),
        kill_memory,
        opened,
        policy,
        route,
        rung: RUNGS.into_iter().find(|known| *known == rung).unwrap_or("unknown"),
        token,
    }
}
