//! Adds help for the viewer to a refusal: words in a language of the viewer, and the URL of a page of ours.

use http::HeaderMap;
use http::uri::Authority as HostAndPort;

use super::RefusalBody;
use super::page::{SlotEndClaim, path_of};
use super::viewer_texts::{ViewerTexts, key_of};
use crate::gateway::Gateway;
use crate::gateway::route::GatewayRoute;
use crate::ids::Incident;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::gateway) struct ViewerHelp {
    /// `None` for the refusal's own English text.
    pub(super) detail: Option<String>,
    pub(super) href: String,
    pub(super) href_title: String,
    /// Language of `detail` and `href_title`.
    pub(super) language: String,
}

/// The parts of a call that name us and tell about its viewer.
#[derive(Clone, Copy)]
pub(in crate::gateway) struct ViewerCall<'a> {
    /// Host in the request's target, if it has one.
    pub(in crate::gateway) authority: Option<&'a HostAndPort>,
    pub(in crate::gateway) headers: &'a HeaderMap,
    pub(in crate::gateway) tls: bool,
}

impl Gateway {
    /// Returns the refusal with help for its viewer. `claim` names the account whose slots may be freed.
    pub(in crate::gateway) fn helped(
        &self,
        route: &GatewayRoute,
        turned: &RefusalBody,
        incident: Incident,
        (call, claim): (ViewerCall<'_>, Option<SlotEndClaim<'_>>),
    ) -> RefusalBody {
        let texts = ViewerTexts::choose(&route.texts, call.headers);
        let key = claim.filter(|_| turned.error == "limit_reached").and_then(|claim| {
            let authority = route.authority.as_deref()?;
            self.issue_slot_ticket(authority, claim, incident)
        });
        let base = self.base_of(call.tls, call.authority, call.headers).unwrap_or_default();
        let query = key.map(|key| format!("?key={key}")).unwrap_or_default();
        let help = ViewerHelp {
            detail: texts.own(key_of(&turned.error)).map(str::to_owned),
            href: format!("{base}{}{query}", path_of(Some(route), &turned.error, incident)),
            href_title: texts.text("page-title").to_owned(),
            language: texts.tag().to_owned(),
        };
        RefusalBody { help: Some(Box::new(help)), ..turned.clone() }
    }
}
