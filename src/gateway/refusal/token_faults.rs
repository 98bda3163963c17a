//! Refusals of calls whose content token is missing or proves nothing.

use http::StatusCode;

use super::RefusalBody;
use crate::authority::Authority;
use crate::session::AskKind;
use crate::token::TokenFault;

/// Refuses a call whose token proves nothing.
pub(in crate::gateway) fn unproven(authority: &Authority, fault: TokenFault) -> RefusalBody {
    let keys_missing = match fault {
        TokenFault::NoKeys => true,
        TokenFault::UnknownKey => authority.misses_token_keys(),
        TokenFault::Algorithm
        | TokenFault::Ambiguous
        | TokenFault::Early
        | TokenFault::Elsewhere
        | TokenFault::Malformed
        | TokenFault::Signature
        | TokenFault::Unnamed
        | TokenFault::Unsigned => false,
    };
    let turned = match fault {
        _ if keys_missing => RefusalBody {
            comes_again: Some(StatusCode::SERVICE_UNAVAILABLE),
            ..RefusalBody::ours(503, "token_keys_missing", "The keys that verify content tokens are not there now.")
        },
        TokenFault::Ambiguous => RefusalBody::ours(
            403,
            "token_ambiguous",
            "The call brings several content tokens; send the playback's own alone.",
        ),
        TokenFault::Early => RefusalBody::ours(403, "token_early", "The content token is not valid yet."),
        TokenFault::Algorithm
        | TokenFault::Elsewhere
        | TokenFault::Malformed
        | TokenFault::NoKeys
        | TokenFault::Signature
        | TokenFault::UnknownKey
        | TokenFault::Unnamed
        | TokenFault::Unsigned => {
            RefusalBody::ours(403, "token_unverified", "The content token could not be verified.")
        }
    };
    RefusalBody { event: Some(authority.error_name()(AskKind::Open)), message: fault.to_string(), ..turned }
}

/// Refuses a call without a token where tokens must prove the caller.
pub(in crate::gateway) fn unnamed(authority: &Authority) -> RefusalBody {
    const TOKEN_MISSING_DETAIL: &str = "The call brings no content token, which this route verifies.";
    RefusalBody {
        event: Some(authority.error_name()(AskKind::Open)),
        ..RefusalBody::ours(403, "token_missing", TOKEN_MISSING_DETAIL)
    }
}
