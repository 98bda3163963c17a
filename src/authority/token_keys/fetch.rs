//! Fetches the key sets of all authorities when each is due, by a GET of our own client.

use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};

use super::FetchedKeys;
use crate::authority::Authorities;
use crate::clock::Clock;
use crate::config::JwksUrl;
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::token::{JwksSource, KeyFault, TokenKeySet};
use crate::upstream::{self, ConnectionPool, UpstreamCall};

const MAX_JWKS_BYTES: usize = 64 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest sleep if nothing is due.
const MAX_IDLE: Duration = Duration::from_hours(1);

#[derive(Debug, thiserror::Error)]
enum FetchFault {
    #[error("{0}")]
    Keys(#[from] KeyFault),
    #[error("it answered {0}")]
    Status(u16),
    #[error("{0}")]
    Upstream(#[from] upstream::UpstreamFault),
}

/// Fetches key sets as long as the process runs. `pool` belongs to the runtime that calls this.
pub fn fetch_token_keys(
    authorities: &Arc<Authorities>,
    pool: ConnectionPool,
    clock: Clock,
    telemetry: &Arc<Telemetry>,
    tasks: &Tasks,
) {
    let (authorities, telemetry, stop) = (authorities.clone(), telemetry.clone(), tasks.clone());
    let fetching = KeyFetch { authorities, clock, pool, tasks: tasks.clone(), telemetry };
    tasks.spawn(async move {
        tokio::select! {
            () = stop.stopped() => {}
            () = fetching.run() => {}
        }
    });
}

struct KeyFetch {
    authorities: Arc<Authorities>,
    clock: Clock,
    pool: ConnectionPool,
    tasks: Tasks,
    telemetry: Arc<Telemetry>,
}

impl KeyFetch {
    async fn run(self) {
        loop {
            let now = self.clock.now();
            let mut next = now + MAX_IDLE;
            for authority in self.authorities.current() {
                let Some(verifier) = authority.verifier() else { continue };
                let (Some(fetched), Some(url)) = (&verifier.fetched, &verifier.config.url) else { continue };
                if fetched.begin(now) {
                    self.tasks.spawn(self.fetch(authority.name.clone(), fetched.clone(), url.clone()));
                } else if let Some(due) = fetched.due() {
                    next = next.min(due);
                }
            }
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = self.authorities.signals.keys_wanted.notified() => {}
            }
        }
    }

    fn fetch(
        &self,
        authority: Arc<str>,
        fetched: Arc<FetchedKeys>,
        url: JwksUrl,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (pool, clock, telemetry, stop) =
            (self.pool.clone(), self.clock, self.telemetry.clone(), self.tasks.clone());
        async move {
            let result = tokio::select! {
                () = stop.stopped() => return,
                result = fetch(&pool, clock, &url) => result,
            };
            let kept = fetched.keys.load().len();
            match &result {
                Ok(keys) => telemetry.token_keys_fetched(&authority, keys.len()),
                Err(fault) => {
                    let fault = format!("{}: {fault}", url.endpoint.host_and_port());
                    telemetry.token_keys_not_fetched(&authority, &fault, kept);
                }
            }
            fetched.end(clock.now(), url.refresh, result.ok());
        }
    }
}

async fn fetch(pool: &ConnectionPool, clock: Clock, url: &JwksUrl) -> Result<TokenKeySet, FetchFault> {
    let call = UpstreamCall {
        body: bytes::Bytes::new(),
        deadline: clock.now() + FETCH_TIMEOUT,
        endpoint: &url.endpoint,
        headers: HeaderMap::from_iter([(
            ACCEPT,
            HeaderValue::from_static("application/jwk-set+json, application/json"),
        )]),
        method: Method::GET,
        path_and_query: url.endpoint.path_and_query(),
        reply_max: MAX_JWKS_BYTES,
    };
    let reply = pool.send(call).await?;
    if !reply.status.is_success() {
        return Err(FetchFault::Status(reply.status.as_u16()));
    }
    Ok(TokenKeySet::of_jwks(&reply.body, JwksSource::Url)?)
}
