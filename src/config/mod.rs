//! The configuration of the whole program: checked, complete, immutable.
//!
//! Each table of `config.toml` has a file of its name here, with its settings, its reader and its checks. [`load`]
//! reads them all and returns a [`Config`] or all its faults. Beneath the readers, `document` holds the file,
//! `environment` overrides it with `SIDEBEAT_…`, and `table_reader` and `value` read it key by key. Nothing else
//! parses a setting.

mod admin;
mod authority;
mod authorization_template;
mod authorize_route;
mod document;
mod embedded;
mod endings;
mod environment;
#[cfg(test)]
mod example;
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
mod route;
mod server;
mod store;
mod table_reader;
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

pub use self::admin::AdminSettings;
pub(crate) use self::authority::for_each_authority_kind;
pub use self::authority::{AuthorityKind, AuthoritySettings, DialectName, KindSettings, SessionUnit};
pub use self::authorize_route::AuthorizeRouteSettings;
pub use self::embedded::{EmbeddedSettings, GroupLimits, HOUSEHOLD_ACCOUNT, NamePattern};
#[cfg(test)]
pub use self::example::ExampleSettings;
pub use self::fault::{ConfigFault, ConfigFaults, KeyPlace, NamedFiles};
pub use self::firstlight::{ErrorCodePattern, FieldNames, FirstLightSettings, StreamConcurrency};
pub use self::header_template::{HeaderPlaceholder, HeaderTemplate};
pub use self::host_pattern::HostPattern;
pub use self::identity_source::{AccountSource, DeviceSource, IdentitySource, TokenSource};
pub use self::license_route::{
    BodyWrappings, LicenseRouteSettings, RefusalProfile, RefusalProfiles, RefusalSettings, SessionControlMode,
    UnrecognisedCalls,
};
pub use self::limits::ServerLimits;
pub use self::load::{keys, load, parse};
pub use self::log::{LogFormat, LogSettings};
pub use self::media_route::MediaRouteSettings;
pub use self::nagra_ssm::NagraSsmSettings;
pub use self::route::{RetriedCalls, RetrySettings, RouteKind, RouteSettings};
pub use self::server::{AllowedOrigins, ServerSettings, TlsSettings};
pub use self::store::{OnExit, StoreKind, StoreSettings};
pub use self::texts::{BUILT_IN_LANGUAGE, LanguageTexts, TEXT_KEYS, ViewerTextSettings};
pub use self::token_keys::{JwksUrl, TokenKeySettings};
pub use self::trusted_proxies::{ForwardedHeader, TrustedProxies};
pub use self::viewer_header::ViewerHeader;
pub use self::webhook::WebhookSettings;
pub use crate::drm::configured_wrapping::BodyWrapping;
pub use crate::endpoint::EndpointUrl;
pub use crate::ledger::OnLimit;
pub use crate::session::{EndingRules, Enforcement, OnUnreachable, OutageBudget};

#[derive(Debug)]
pub struct Config {
    pub admin: AdminSettings,
    pub authorities: Vec<AuthoritySettings>,
    pub authorize: Vec<AuthorizeRouteSettings>,
    /// Files and their keys, for faults that only show when a file is read.
    pub files: NamedFiles,
    pub log: LogSettings,
    pub routes: Vec<RouteSettings>,
    pub server: ServerSettings,
    pub store: StoreSettings,
    pub texts: ViewerTextSettings,
    /// Settings that are allowed but unlikely to be meant.
    pub warnings: ConfigFaults,
    pub webhooks: Vec<WebhookSettings>,
}
