//! Where a session of an earlier process belongs: its route by path, its authority by name.

use std::sync::Arc;

use super::Routes;
use super::identity::RUNGS;
use crate::authority::{Authorities, Authority};
use crate::ids::PlaybackId;
use crate::playbacks::{Block, Registration};
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
                let policy = authority.refine(policy);
                Home::Leaving(Arc::new(card(record, &authority, Arc::new(Standing::new(policy)))))
            }
        }
    }
}

fn card(record: &CardRecord, authority: &Authority, policy: Arc<Standing>) -> Card {
    let CardRecord {
        account,
        authority: _,
        authorization,
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
    let rung = RUNGS.into_iter().find(|known| *known == rung).unwrap_or("unknown");
    let stream = authorization.as_ref().and_then(Block::stream);
    let registration = authorization.map(|block| Arc::new(registered(block, authority, &device, &route, rung)));
    Card {
        account,
        authority: authority.id.clone(),
        authority_name: authority.name.clone(),
        content,
        content_group,
        device,
        device_group,
        error_name: authority.error_name(),
        kill_memory: kill_memory.map(Into::into),
        opened: opened.into(),
        policy,
        registration,
        route,
        rung,
        // What is to come of it is the session's to know.
        schedule: None,
        stream,
        token,
    }
}

/// Enough to beat and to close it with its grant's token. Nobody is led to it any more, and the caller's
/// headers are not known.
fn registered(block: Block, authority: &Authority, device: &str, route: &Arc<str>, rung: &'static str) -> Registration {
    Registration {
        authority: Some(authority.name.clone()),
        block: Some(block),
        content_url: None,
        device: device.to_owned(),
        headers: Vec::new(),
        id: PlaybackId::random(),
        license_url: None,
        route: route.clone(),
        rung,
    }
}
