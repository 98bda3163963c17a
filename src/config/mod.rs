//! The configuration as the rest of the program sees it: checked, complete, immutable.
//!
//! A table of `config.toml` has a file of its name here, with its settings, its reader and its checks. [`load`] reads
//! them all and gives a [`Config`], or all its faults at once. Beneath the readers, `sheet` holds the file as it stands,
//! `environment` lays `SIDEBEAT_…` over it, `section` and `value` read it key by key. Nothing above this module parses a
//! setting again.

mod admin;
mod authority;
mod authorize_route;
mod body;
mod embedded;
mod endings;
mod endpoint;
mod environment;
mod fault;
mod firstlight;
mod header_template;
mod headers;
mod host_pattern;
mod identity_source;
mod license_route;
mod limits;
mod load;
mod log;
mod media_route;
mod nagra_ssm;
mod nearest;
mod on_unreachable;
mod own_listener;
mod refusal;
mod route;
mod section;
mod server;
mod sheet;
mod store;
mod texts;
mod token_keys;
mod trusted_proxies;
mod units;
mod value;
mod viewer_header;
mod webhook;
mod words;

#[cfg(test)]
mod tests;

pub use self::admin::Admin;
pub use self::authority::{Authority, AuthorityKind, SessionUnit};
pub use self::authorize_route::Authorize;
pub use self::body::{Wrapping, Wrappings};
pub use self::embedded::{Embedded, Groups, HOUSEHOLD_ACCOUNT, OnLimit, Pattern};
pub use self::endings::Endings;
pub use self::endpoint::Endpoint;
pub use self::fault::{Fault, Faults, KeyPlace, NamedFiles};
pub use self::firstlight::{Code, FirstLight, Names, StreamConcurrency};
pub use self::header_template::{Place, Template};
pub use self::host_pattern::HostPattern;
pub use self::identity_source::{AccountRung, Rung, TokenSource};
pub use self::license_route::{Enforcement, LicenseRouteSettings, SessionControl, UnrecognisedCalls};
pub use self::limits::Limits;
pub use self::load::{keys, load, parse};
pub use self::log::{Log, LogFormat};
pub use self::media_route::MediaRouteSettings;
pub use self::nagra_ssm::NagraSsm;
pub use self::on_unreachable::{Allowed, OnUnreachable};
pub use self::refusal::{Profile, Profiles, Refusal};
pub use self::route::{RetriedCalls, Retry, Route, RouteKind};
pub use self::server::{Origins, Server, Tls};
pub use self::store::{OnExit, Store, StoreKind};
pub use self::texts::{BUILT_IN_LANGUAGE, Language, TEXT_KEYS, Texts};
pub use self::token_keys::{JwksUrl, TokenKeys};
pub use self::trusted_proxies::{ForwardedHeader, TrustedProxies};
pub use self::viewer_header::ViewerHeader;
pub use self::webhook::Webhook;

#[derive(Debug)]
pub struct Config {
    pub admin: Admin,
    pub authorities: Vec<Authority>,
    pub authorize: Vec<Authorize>,
    /// For faults that only show when a file is read.
    pub files: NamedFiles,
    pub log: Log,
    pub routes: Vec<Route>,
    pub server: Server,
    pub store: Store,
    pub texts: Texts,
    /// What is allowed, and hardly meant.
    pub warnings: Faults,
    pub webhooks: Vec<Webhook>,
}
