//! Builds path and query of a request upstream: the server's own come first, and parts that are meant for us
//! alone are removed.

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::route::GatewayRoute;
use crate::authority::Authority;
use crate::cmcd;
use crate::config::{AccountSource, DeviceSource, EndpointUrl, IdentitySource, TokenSource};

/// The path behind the route's path, without the segment that named the device. `source` is the identity source
/// that named it.
pub(super) fn without_device(route: &GatewayRoute, rest: &str, source: Option<DeviceSource>) -> String {
    let segment =
        route.config.device.contains(&IdentitySource::PathSegment) && source == Some(DeviceSource::PathSegment);
    if !segment {
        return rest.to_owned();
    }
    let after = rest.strip_prefix('/').and_then(|rest| rest.split_once('/')).map(|(_, after)| after);
    after.map(|after| format!("/{after}")).unwrap_or_default()
}

/// Query parameters that are meant for us alone, or that the route takes off.
pub(super) fn our_names<'a>(route: &'a GatewayRoute, authority: Option<&'a Authority>) -> Vec<&'a str> {
    let tokens = route.config.content_token.iter().filter_map(|source| match source {
        TokenSource::Query(name) => Some(name.as_str()),
        TokenSource::CustomData | TokenSource::Header(_) => None,
    });
    let config = authority.and_then(Authority::counter).map(|counter| counter.config());
    let accounts = config.into_iter().flat_map(|config| &config.account).filter_map(|source| match source {
        AccountSource::Device | AccountSource::Fixed(_) => None,
        AccountSource::Request(source) => Some(source),
    });
    let groups =
        config.into_iter().flat_map(|config| config.content_groups.source.iter().chain(&config.device_groups.source));
    let sources = route.config.device.iter().chain(accounts).chain(groups);
    let parameters = sources.filter_map(IdentitySource::query_parameter);
    tokens.chain(parameters).chain(route.config.strip_cmcd.then_some(cmcd::PARAMETER)).collect()
}

/// Path and query at the server for the path behind our route's path; `None` if they cannot stand in a request.
pub(super) fn at_server(server: &EndpointUrl, rest: &str, query: Option<&str>) -> Option<PathAndQuery> {
    if rest.is_empty() && query.is_none() {
        // A player mostly calls the route's own path, and the server's URL is ready then.
        let ready = server.path_and_query();
        if ready.as_str().starts_with('/') && (ready.path() == "/" || !ready.path().ends_with('/')) {
            return Some(ready);
        }
    }
    let mut path = format!("{}{rest}", server.path().trim_end_matches('/'));
    if path.is_empty() {
        path.push('/');
    }
    let queries: Vec<_> = server.query().into_iter().chain(query).collect();
    if !queries.is_empty() {
        path.push('?');
        path.push_str(&queries.join("&"));
    }
    PathAndQuery::from_maybe_shared(Bytes::from(path)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_path_and_query_come_first() {
        for (server, rest, query, path) in [
            ("https://lic.example", "", None, "/"),
            ("https://lic.example/a", "", None, "/a"),
            ("https://lic.example/a/", "", None, "/a"),
            ("https://lic.example/a//", "", None, "/a"),
            ("https://lic.example?b=c", "", None, "/?b=c"),
            ("https://lic.example/", "/x", None, "/x"),
            ("https://lic.example/a/", "/x", Some("p=1"), "/a/x?p=1"),
            ("https://lic.example/a?b=c", "", Some("p=1"), "/a?b=c&p=1"),
            ("https://lic.example/a?b=c", "", None, "/a?b=c"),
        ] {
            let found = at_server(&EndpointUrl::parse(server).unwrap(), rest, query).unwrap();
            assert_eq!(found, path, "{server}");
        }
    }
}
