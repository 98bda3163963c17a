//! The embedded authority as a dialect: it answers at once, without a network.

use std::time::{Duration, Instant};

use super::EmbeddedAuthority;
use crate::authority::AuthoritySignals;
use crate::authority::client::{AskContext, unspeakable};
use crate::authority::dialect::Dialect;
use crate::authority::pushed_kills::PushedKills;
use crate::config::AuthorityKind;
use crate::session::{AskKind, AuthorityAsk, AuthorityFault, Grant, Policy, Verdict};
use crate::sessions::{OpenFuture, SessionContext};
use crate::store::DialectName;

impl EmbeddedAuthority {
    fn answer(&self, now: Instant, ask: &AuthorityAsk, card: &SessionContext) -> Result<Verdict, AuthorityFault> {
        match (ask.kind, &ask.grant) {
            (AskKind::Open, _) => Ok(self.open(now, card, ask.beside.as_ref())),
            (AskKind::Beat | AskKind::Renew, Some(grant)) => Ok(self.beat(now, grant)),
            (AskKind::Close, Some(grant)) => Ok(self.close(grant)),
            (AskKind::Beat | AskKind::Close | AskKind::Renew, None) => Err(unspeakable("there is no grant")),
        }
    }
}

impl Dialect for EmbeddedAuthority {
    fn name(&self) -> DialectName {
        DialectName::Embedded
    }

    fn renewed(&self, config: AuthorityKind, signals: &AuthoritySignals) -> Option<Box<dyn Dialect>> {
        let AuthorityKind::Embedded(config) = config else { return None };
        Some(Box::new(self.renewed_with(*config, signals)))
    }

    fn error_name(&self) -> fn(AskKind) -> &'static str {
        |ask| match ask {
            AskKind::Beat => "beat-error",
            AskKind::Close => "close-error",
            AskKind::Open => "open-error",
            AskKind::Renew => "renew-error",
        }
    }

    fn perform<'a>(&'a self, context: AskContext<'a>, ask: &'a AuthorityAsk) -> OpenFuture<'a> {
        let result = self.answer(context.began(), ask, context.card);
        context.count(&result);
        Box::pin(std::future::ready((result, None)))
    }

    fn accepted(&self, grant: &Grant, _kills: PushedKills) -> Option<usize> {
        Some(self.confirm(grant))
    }

    /// False, because no network is needed.
    fn has_breaker(&self) -> bool {
        false
    }

    fn pace(&self) -> (f64, Duration) {
        (1.0, self.config.grace)
    }

    fn refine(&self, policy: Policy) -> Policy {
        Policy { rotates_tokens: false, ..policy }
    }

    fn needs_token(&self) -> bool {
        self.verifier().is_some()
    }

    fn embedded(&self) -> Option<&EmbeddedAuthority> {
        Some(self)
    }
}
