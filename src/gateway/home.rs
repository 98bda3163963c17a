//! Where a session of an earlier process belongs: its route by path, its authority by name.

use std::sync::Arc;

use super::Routes;
use super::identity::RUNGS;
use crate::authority::Authority;
use crate::session::Policy;
use crate::sessions::{Card, Home};
use crate::store::CardRecord;

impl Routes {
    /// Policy and dialect are today's; who plays what is the record's.
    pub fn home(&self, record: &CardRecord, authorities: &[Authority]) -> Home {
        let found = authorities.iter().enumerate().find(|(_, authority)| authority.name == record.authority);
        let Some((index, authority)) = found else { return Home::Gone };
        let route = self.at(&record.route).filter(|route| route.config.authority == Some(index));
        let card = |policy| Arc::new(card(record, index, authority, policy));
        match route {
            Some(route) => Home::Here(card(route.policy.clone())),
            None => {
                let (fraction, grace) = authority.pace();
                let policy = Policy { fraction, grace, renews: authority.renews(), ..Policy::default() };
                Home::Leaving(card(Arc::new(policy)))
            }
        }
    }
}

fn card(record: &CardRecord, authority: usize, known: &Authority, policy: Arc<Policy>) -> Card {
    let CardRecord { account, content, content_group, device, device_group, opened, route, rung, token, .. } =
        record.clone();
    Card {
        account,
        authority,
        authority_name: known.name.clone(),
        content,
        content_group,
        device,
        device_group,
        error_name: known.error_name(),
        opened,
        policy,
        route,
        rung: RUNGS.into_iter().find(|known| *known == rung).unwrap_or("unknown"),
        token,
    }
}
