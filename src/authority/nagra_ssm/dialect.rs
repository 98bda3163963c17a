//! NAGRA SSM as a dialect: its calls, its rules, and facts learned of one head-end.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::renewal::LearnedRenewalPath;
use super::{TOKEN_EXPIRED_CODE, header_value, killed_by_license_server, tokenless};
use crate::authority::AuthoritySignals;
use crate::authority::client::{AskContext, unspeakable};
use crate::authority::dialect::{Dialect, PreparedCall, RenewalFuture};
use crate::authority::exchange::{AuthorityReply, AuthorityRequest};
use crate::config::{AuthorityKind, EndpointUrl, NagraSsmSettings, OnUnreachable};
use crate::drm::DrmSystem;
use crate::secret::Secret;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Grant, Reason, Verdict};
use crate::sessions::SessionContext;
use crate::store::DialectName;
use crate::token::TokenListing;

#[derive(Debug)]
pub(in crate::authority) struct SsmDialect {
    pub(super) config: Box<NagraSsmSettings>,
    pub(super) renewal_path: LearnedRenewalPath,
}

impl SsmDialect {
    pub(in crate::authority) fn new(config: Box<NagraSsmSettings>) -> Self {
        Self { config, renewal_path: LearnedRenewalPath::default() }
    }
}

impl Dialect for SsmDialect {
    fn name(&self) -> DialectName {
        DialectName::NagraSsm
    }

    fn renewed(&self, config: AuthorityKind, _signals: &AuthoritySignals) -> Option<Box<dyn Dialect>> {
        let AuthorityKind::NagraSsm(config) = config else { return None };
        Some(Box::new(Self::new(config)))
    }

    /// Names in the vendor's player SDK.
    fn error_name(&self) -> fn(AskKind) -> &'static str {
        |ask| match ask {
            AskKind::Beat => "ssmheartbeaterror",
            AskKind::Close => "ssmteardownerror",
            AskKind::Open => "ssmsetuperror",
            AskKind::Renew => "ssmrenewalerror",
        }
    }

    fn request<'a>(&'a self, ask: &'a AuthorityAsk, card: &'a SessionContext) -> PreparedCall<'a> {
        let request = match (ask.kind, &ask.grant) {
            (AskKind::Open, _) => match &card.token {
                Some(token) => self.config.open(token),
                None => return PreparedCall::Decide(Ok(tokenless())),
            },
            (AskKind::Beat, Some(grant)) => self.config.beat(grant),
            (AskKind::Close, Some(grant)) => self.config.close(grant),
            // Renewals carry the player's challenge and come through `renew`.
            (AskKind::Renew, _) | (AskKind::Beat | AskKind::Close, None) => None,
        };
        match request {
            Some(request) => PreparedCall::Send(request),
            None => PreparedCall::Decide(Err(unspeakable("the token cannot stand in a header"))),
        }
    }

    fn read(&self, reply: &AuthorityReply<'_>) -> Result<Verdict, AuthorityFault> {
        self.config.read_reply(reply)
    }

    fn renew<'a>(&'a self, context: AskContext<'a>, grant: &'a Grant, challenge: &'a [u8]) -> RenewalFuture<'a> {
        Box::pin(self.renew_at_either(context, grant, challenge))
    }

    fn knock(&self) -> Option<AuthorityRequest<'_>> {
        Some(self.config.knock())
    }

    fn timeout(&self) -> Duration {
        self.config.timeout
    }

    fn endpoints(&self) -> Vec<&EndpointUrl> {
        let NagraSsmSettings { heartbeat, renewal, renewal_other, setup, teardown, .. } = &*self.config;
        [setup, heartbeat, teardown, renewal].into_iter().chain(renewal_other).collect()
    }

    fn pace(&self) -> (f64, Duration) {
        (self.config.fraction, self.config.grace)
    }

    fn on_unreachable(&self) -> OnUnreachable {
        self.config.on_unreachable
    }

    fn renews(&self) -> bool {
        true
    }

    fn token_listing(&self) -> TokenListing {
        TokenListing::NamingContent
    }

    fn expired_code(&self) -> Option<i64> {
        Some(TOKEN_EXPIRED_CODE)
    }

    fn token_header(&self, content: &Secret) -> Option<(HeaderName, HeaderValue)> {
        Some((self.config.authorization.clone(), header_value(content.expose())?))
    }

    fn license_header(&self, content: Option<&Secret>, grant: &Grant) -> Option<(HeaderName, HeaderValue)> {
        Some((self.config.authorization.clone(), self.config.license_value(content?, grant)?))
    }

    fn killed_by_license_server(&self, system: DrmSystem, status: StatusCode, body: &[u8]) -> Option<Reason> {
        if system == DrmSystem::PlayReady { killed_by_license_server(status, body) } else { None }
    }
}
