//! `POST /v1/playbacks`: an app's server registers a playback that it has authorized, and gets the URLs for the
//! player. It replaces an authorize route.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::api::{fault, good};
use super::body::{MAX_REGISTRATION_BYTES, collect};
use crate::authority::Authority;
use crate::config::DeviceSource;
use crate::edge::{ReplyBody, RequestBody};
use crate::ids::PlaybackId;
use crate::registrations::{AuthorizationBlock, Registration, RewriteTargets};

/// Longest name of a device, as for all callers.
const MAX_DEVICE_NAME_BYTES: usize = 256;

/// The request's body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RegistrationOrder {
    authority: String,
    /// Reply of the authorization service.
    authorization: Value,
    /// URL by which this player reaches us; else `server.public-url`.
    base: Option<String>,
    device: String,
    /// Headers for every call to the authority.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    license_route: String,
    media_route: Option<String>,
}

impl Admin {
    pub(super) async fn register(&self, incoming: RequestBody) -> Response<ReplyBody> {
        match self.register_order(incoming).await {
            Ok(value) => good(&value),
            Err(why) => fault(StatusCode::BAD_REQUEST, &why),
        }
    }

    async fn register_order(&self, incoming: RequestBody) -> Result<Value, String> {
        let bytes = collect(incoming, MAX_REGISTRATION_BYTES).await.map_err(|fault| fault.to_string())?;
        // The parser's message could repeat a token.
        let order: RegistrationOrder =
            serde_json::from_slice(&bytes).map_err(|_| "see docs/operations.md for the body")?;
        let authority = self.authorities.by_name(&order.authority).ok_or("no authority has this name")?;
        let named =
            |text: &str| (1..=MAX_DEVICE_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        if !named(&order.device) {
            return Err("the device must be a name of 1 to 256 bytes".to_owned());
        }
        let block = AuthorizationBlock::read(&order.authorization, authority.authorization().0);
        let block = block.ok_or("the authorization must be an object")?;
        let headers = headers(&order)?;
        Ok(self.insert(&authority, order, block, headers))
    }

    fn insert(
        &self,
        authority: &Authority,
        order: RegistrationOrder,
        block: AuthorizationBlock,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Value {
        let RegistrationOrder { mut authorization, base, device, license_route, media_route, .. } = order;
        let (id, enforces_blackouts) = (PlaybackId::random(), authority.enforces_blackouts());
        let base = base.as_deref().or(self.public_url.as_deref()).unwrap_or_default().trim_end_matches('/');
        let targets = RewriteTargets {
            base,
            content_paths: &[],
            enforces_blackouts,
            license_paths: &[],
            license_route: Some(&license_route),
            media_route: media_route.as_deref(),
            names: authority.authorization().0,
        };
        let taken = targets.rewrite(&mut authorization, &block, id);
        let below = format!("{base}{}{}", license_route.trim_end_matches('/'), id.segment());
        if block.blackout.is_some() && !enforces_blackouts && !taken.leads_here {
            return json!({ "authorization": authorization, "registered": false });
        }
        let registration = Registration {
            authority: Some(authority.name.clone()),
            block: Some(block),
            content_token: None,
            content_url: taken.content_url,
            device,
            headers,
            id,
            license_url: taken.license_url,
            route: Arc::from(license_route.as_str()),
            device_source: DeviceSource::Registered,
        };
        self.registrations.insert(self.clock.now(), registration);
        json!({
            "authorization": authorization,
            "license-url": &below,
            "registered": true,
            "report-url": format!("{below}/~report"),
            "stop-url": format!("{below}/~stop"),
        })
    }
}

fn headers(order: &RegistrationOrder) -> Result<Vec<(HeaderName, HeaderValue)>, &'static str> {
    let header = |(name, value): (&String, &String)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    order.headers.iter().map(header).collect::<Option<_>>().ok_or("headers must be names and texts")
}
