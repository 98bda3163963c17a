//! `[authority.token-keys]`: who signs the content tokens of an embedded authority.

use std::path::PathBuf;
use std::time::Duration;

use super::Endpoint;
use crate::token::{TokenKeySet, TokenRules};

#[derive(Clone, Debug)]
pub struct TokenKeys {
    /// Those of files.
    pub own: TokenKeySet,
    pub rules: TokenRules,
    pub url: Option<JwksUrl>,
}

/// A key set that is fetched.
#[derive(Clone, Debug)]
pub struct JwksUrl {
    /// Trusted for it in place of the public roots.
    pub ca: Option<PathBuf>,
    pub endpoint: Endpoint,
    /// Between two looks for newer keys.
    pub refresh: Duration,
}
