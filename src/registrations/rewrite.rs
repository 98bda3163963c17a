//! Rewrites an authorization for the player: its URLs lead to us, and the true ones stay here.

use serde_json::Value;

use super::AuthorizationBlock;
use crate::config::{EndpointUrl, FieldNames};
use crate::ids::PlaybackId;
use crate::session::Blackout;

/// Longest last segment of a content URL that is kept for players that go by its ending.
const MAX_KEPT_LAST_SEGMENT_BYTES: usize = 128;

/// Path of the content below a playback's id.
pub const CONTENT: &str = "/~c/";

/// Path below which every request is refused as a blackout. Blacked-out content leads here if no route can take it.
pub const BLACKOUT_PATH: &str = "/~blackout";

/// Targets for the URLs of an authorization.
#[derive(Clone, Copy, Debug)]
pub struct RewriteTargets<'a> {
    /// URL by which players reach us, without a slash at its end.
    pub base: &'a str,
    /// Further places of the content's URL, as names joined by dots.
    pub content_paths: &'a [String],
    /// True if blackouts are refused here, false if they are only reported.
    pub enforces_blackouts: bool,
    pub license_paths: &'a [String],
    /// Paths of our routes; `None` leaves that URL unchanged.
    pub license_route: Option<&'a str>,
    pub media_route: Option<&'a str>,
    pub names: &'a FieldNames,
}

/// The true URLs that were taken out.
#[derive(Debug, Default)]
pub struct TakenUrls {
    /// The slate's URL if the content is blacked out.
    pub content_url: Option<EndpointUrl>,
    /// True if any URL of the reply is ours now.
    pub leads_here: bool,
    pub license_url: Option<EndpointUrl>,
}

impl RewriteTargets<'_> {
    /// Rewrites a reply. Blacked-out content leads to its slate through the media route. Without a slate that can be
    /// shown there, it leads to a path of ours that refuses; its license always does.
    pub fn rewrite(&self, reply: &mut Value, block: &AuthorizationBlock, id: PlaybackId) -> TakenUrls {
        match &block.blackout {
            Some(blackout) if self.enforces_blackouts => self.black_out(reply, blackout, id),
            Some(blackout) => self.show_slate(reply, blackout, id),
            None => self.lead_here(reply, id),
        }
    }

    fn lead_here(&self, reply: &mut Value, id: PlaybackId) -> TakenUrls {
        let content = |url: &EndpointUrl| Some(self.content_url(self.media_route?, id, Some(url)));
        let license = |_: &EndpointUrl| Some(self.playback_url(self.license_route?, id));
        let content_url = exchange(reply, &self.contents(), content);
        let license_url = exchange(reply, &self.licenses(), license);
        TakenUrls { leads_here: content_url.is_some() || license_url.is_some(), content_url, license_url }
    }

    /// Replaces every text at the place of a URL, because in any spelling it could lead past us.
    fn black_out(&self, reply: &mut Value, blackout: &Blackout, id: PlaybackId) -> TakenUrls {
        let slate = blackout.url.clone().filter(|_| self.media_route.is_some());
        let nowhere = || format!("{}{BLACKOUT_PATH}", self.base);
        let content = |theirs: &str| {
            let named = slate.clone().or_else(|| EndpointUrl::parse(theirs).ok());
            let route = self.media_route.or(self.license_route);
            route.map_or_else(nowhere, |route| self.content_url(route, id, named.as_ref()))
        };
        let license = |_: &str| {
            let route = self.license_route.or(self.media_route);
            route.map_or_else(nowhere, |route| self.playback_url(route, id))
        };
        let contents = replace_all(reply, &self.contents(), &content);
        let licenses = replace_all(reply, &self.licenses(), &license);
        TakenUrls { content_url: slate, leads_here: contents || licenses, license_url: None }
    }

    /// Exchanges the URL of the slate; the app is told of the blackout and decides.
    fn show_slate(&self, reply: &mut Value, blackout: &Blackout, id: PlaybackId) -> TakenUrls {
        let Some((slate, route)) = blackout.url.as_ref().zip(self.media_route) else { return TakenUrls::default() };
        let ours = self.content_url(route, id, Some(slate));
        // The places may hold different URLs, and the app may take any.
        let shown = replace_all(reply, &self.contents(), &|_| ours.clone());
        TakenUrls { content_url: Some(slate.clone()).filter(|_| shown), leads_here: shown, license_url: None }
    }

    fn playback_url(&self, route: &str, id: PlaybackId) -> String {
        // The route `/` adds nothing.
        format!("{}{}{}", self.base, route.trim_end_matches('/'), id.segment())
    }

    /// Ends like the true URL, for players that go by its ending.
    fn content_url(&self, route: &str, id: PlaybackId, theirs: Option<&EndpointUrl>) -> String {
        let step = theirs
            .and_then(|url| url.path().rsplit('/').next())
            .filter(|step| step.len() <= MAX_KEPT_LAST_SEGMENT_BYTES);
        format!("{}{CONTENT}{}", self.playback_url(route, id), step.unwrap_or_default())
    }

    fn contents(&self) -> Vec<Vec<String>> {
        self.places("contentUrl", self.content_paths)
    }

    fn licenses(&self) -> Vec<Vec<String>> {
        self.places("licenseUrl", self.license_paths)
    }

    /// Places of a URL: the configured ones, then `data`, then the top.
    fn places(&self, name: &str, more: &[String]) -> Vec<Vec<String>> {
        let (name, data) = (self.names.of(name).to_owned(), self.names.of("data").to_owned());
        let more = more.iter().map(|path| path.split('.').map(str::to_owned).collect());
        more.chain([vec![data, name.clone()], vec![name]]).collect()
    }
}

/// Puts `ours` in every place that holds the first URL found, and returns that URL.
fn exchange(
    reply: &mut Value,
    places: &[Vec<String>],
    ours: impl Fn(&EndpointUrl) -> Option<String>,
) -> Option<EndpointUrl> {
    let mut found: Option<(String, EndpointUrl, String)> = None;
    for place in places {
        let Some(Value::String(text)) = at(reply, place) else { continue };
        if found.is_none() {
            found = EndpointUrl::parse(text).ok().and_then(|url| Some((text.clone(), url.clone(), ours(&url)?)));
        }
        if let Some((theirs, _, ours)) = &found
            && text == theirs
        {
            text.clone_from(ours);
        }
    }
    found.map(|(_, url, _)| url)
}

fn at<'a>(value: &'a mut Value, place: &[String]) -> Option<&'a mut Value> {
    place.iter().try_fold(value, |value, name| match value {
        Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get_mut(name),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => None,
    })
}

/// Replaces every text in these places by `ours`; false if there was none.
fn replace_all(reply: &mut Value, places: &[Vec<String>], ours: &impl Fn(&str) -> String) -> bool {
    let mut replaced = false;
    for place in places {
        replaced |= at(reply, place).is_some_and(|value| replace_texts(value, ours));
    }
    replaced
}

/// A place may hold a list of URLs, or URLs by format.
fn replace_texts(value: &mut Value, ours: &impl Fn(&str) -> String) -> bool {
    let mut replaced = false;
    match value {
        Value::String(text) => {
            *text = ours(text);
            replaced = true;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replaced |= replace_texts(item, ours)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replaced |= replace_texts(field, ours)),
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
    replaced
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn targets(names: &FieldNames) -> RewriteTargets<'_> {
        RewriteTargets {
            base: "https://p",
            content_paths: &[],
            enforces_blackouts: true,
            license_paths: &[],
            license_route: Some("/license"),
            media_route: Some("/media"),
            names,
        }
    }

    fn rewrite(targets: &RewriteTargets<'_>, reply: &mut Value, id: PlaybackId) -> (Option<String>, Option<String>) {
        let block = AuthorizationBlock::read(reply, targets.names).unwrap();
        let TakenUrls { content_url, leads_here: _, license_url } = targets.rewrite(reply, &block, id);
        let whole = |url: EndpointUrl| format!("{url}?{}", url.query().unwrap_or_default());
        (content_url.map(whole), license_url.map(whole))
    }

    #[test]
    fn urls_lead_through_the_proxy_and_the_original_ones_are_kept() {
        let (names, id) = (FieldNames::default(), PlaybackId::random());
        let theirs = json!({"contentUrl": "https://cdn/a/b.mpd?sig=x", "licenseUrl": "https://drm/l?k=y", "other": 1});
        let ours = json!({
            "contentUrl": format!("https://p/media{}/~c/b.mpd", id.segment()),
            "licenseUrl": format!("https://p/license{}", id.segment()), "other": 1,
        });
        let taken = (Some("https://cdn/a/b.mpd?sig=x".into()), Some("https://drm/l?k=y".into()));
        let mut reply = theirs.clone();
        assert_eq!(rewrite(&targets(&names), &mut reply, id), taken);
        assert_eq!(reply, ours);
        // In both places, and in one that is configured.
        let mut reply = json!({"data": theirs, "contentUrl": theirs["contentUrl"], "x": [{"u": "https://drm/l?k=y"}]});
        let paths = ["x.0.u".to_owned()];
        let more = RewriteTargets { license_paths: &paths, ..targets(&names) };
        assert_eq!(rewrite(&more, &mut reply, id), taken);
        assert_eq!(reply, json!({"data": ours, "contentUrl": ours["contentUrl"], "x": [{"u": ours["licenseUrl"]}]}));
    }

    #[test]
    fn a_url_without_a_route_and_a_text_that_is_no_url_stay() {
        let (names, id) = (FieldNames::default(), PlaybackId::random());
        let theirs = json!({"contentUrl": "https://cdn/b.mpd", "licenseUrl": "skd://x"});
        let mut reply = theirs.clone();
        assert_eq!(rewrite(&RewriteTargets { media_route: None, ..targets(&names) }, &mut reply, id), (None, None));
        assert_eq!(reply, theirs);
    }

    fn blacked_out() -> Value {
        json!({
            "contentUrl": "https://cdn/b.mpd", "licenseUrl": "https://drm/l", "blackoutAction": "DENY",
            "blackoutUrl": "https://cdn/slate.m3u8",
        })
    }

    fn with(reply: &Value, change: &Value) -> Value {
        let mut reply = reply.clone();
        reply.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        reply
    }

    #[test]
    fn a_blackout_leads_to_the_slate_or_nowhere() {
        let (names, id) = (FieldNames::default(), PlaybackId::random());
        let license = format!("https://p/license{}", id.segment());
        for action in ["DENY", "ALLOW_WITH_UPGRADE", "LATER"] {
            let mut reply = with(&blacked_out(), &json!({"blackoutAction": action}));
            assert_eq!(rewrite(&targets(&names), &mut reply, id), (Some("https://cdn/slate.m3u8?".into()), None));
            assert_eq!(reply["contentUrl"], format!("https://p/media{}/~c/slate.m3u8", id.segment()));
            assert_eq!(reply["licenseUrl"], license);
            for without in [json!({"blackoutUrl": null}), json!({"blackoutUrl": "no url"})] {
                let mut reply = with(&reply, &without);
                reply["contentUrl"] = "https://cdn/b.mpd".into();
                assert_eq!(rewrite(&targets(&names), &mut reply, id), (None, None));
                assert_eq!(reply["contentUrl"], format!("https://p/media{}/~c/b.mpd", id.segment()));
                assert_eq!(reply["licenseUrl"], license);
            }
        }
    }

    #[test]
    fn a_blackout_leads_here_by_whichever_route_there_is() {
        let (names, id) = (FieldNames::default(), PlaybackId::random());
        let segment = id.segment();
        for (media_route, license_route, content, license) in [
            (None, Some("/l"), format!("/l{segment}/~c/b.mpd"), format!("/l{segment}")),
            (Some("/"), None, format!("{segment}/~c/slate.m3u8"), segment.clone()),
            (None, None, "/~blackout".to_owned(), "/~blackout".to_owned()),
        ] {
            let targets = RewriteTargets { media_route, license_route, ..targets(&names) };
            let mut reply = blacked_out();
            let slate = media_route.map(|_| "https://cdn/slate.m3u8?".to_owned());
            assert_eq!(rewrite(&targets, &mut reply, id), (slate, None), "a slate needs a media route");
            assert_eq!(
                (&reply["contentUrl"], &reply["licenseUrl"]),
                (&json!(format!("https://p{content}")), &json!(format!("https://p{license}")))
            );
        }
    }

    #[test]
    fn no_text_in_the_place_of_a_url_outlives_a_blackout() {
        let (names, id) = (FieldNames::default(), PlaybackId::random());
        let denied = json!({"blackoutAction": "DENY"});
        for theirs in [
            json!("live/b.mpd"),
            json!("//cdn/b.mpd"),
            json!("udp://239.0.0.1:1234"),
            json!("https://cdn:99999/b.mpd"),
            json!(""),
            json!(["https://cdn/b.mpd", {"hls": "https://cdn/b.m3u8", "width": 1920}]),
            json!({"dash": "https://cdn/b.mpd", "hls": {"url": "b.m3u8"}}),
        ] {
            for name in ["contentUrl", "licenseUrl"] {
                let inner = with(&denied, &json!({ name: theirs }));
                // In both places and in one that is configured, each with another value.
                let mut reply =
                    with(&json!({"data": inner, "x": [{"u": "https://else/c"}]}), &json!({ name: "https://cdn/2" }));
                let paths = ["x.0.u".to_owned()];
                let more = match name {
                    "contentUrl" => RewriteTargets { content_paths: &paths, ..targets(&names) },
                    _ => RewriteTargets { license_paths: &paths, ..targets(&names) },
                };
                assert_eq!(rewrite(&more, &mut reply, id), (None, None));
                let mut texts = Vec::new();
                for place in [&reply["data"][name], &reply[name], &reply["x"]] {
                    collect_texts(place, &mut texts);
                }
                assert!(texts.len() >= 3, "{reply}");
                let ours = |text: &String| text.starts_with("https://p/") && text.contains(&id.segment());
                assert!(texts.iter().all(ours), "{reply}");
            }
        }
    }

    fn collect_texts(value: &Value, texts: &mut Vec<String>) {
        match value {
            Value::String(text) => texts.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
            Value::Object(fields) => fields.values().for_each(|field| collect_texts(field, texts)),
            Value::Bool(_) | Value::Null | Value::Number(_) => {}
        }
    }

    #[test]
    fn a_blackout_that_is_only_reported_shows_its_slate_or_changes_nothing() {
        let (names, id) = (FieldNames::default(), PlaybackId::random());
        let told = RewriteTargets { enforces_blackouts: false, ..targets(&names) };
        let mut reply = blacked_out();
        assert_eq!(rewrite(&told, &mut reply, id), (Some("https://cdn/slate.m3u8?".into()), None));
        assert_eq!(reply["contentUrl"], format!("https://p/media{}/~c/slate.m3u8", id.segment()));
        assert_eq!(reply["licenseUrl"], "https://drm/l");
        // The slate is shown wherever the content has a URL, each of them another one.
        let mut reply = json!({"data": blacked_out(), "contentUrl": "https://other/c.mpd", "x": {"u": ["b.m3u8"]}});
        let paths = ["x.u".to_owned()];
        let more = RewriteTargets { content_paths: &paths, ..told };
        assert_eq!(rewrite(&more, &mut reply, id), (Some("https://cdn/slate.m3u8?".into()), None));
        let ours = json!(format!("https://p/media{}/~c/slate.m3u8", id.segment()));
        assert_eq!([&reply["data"]["contentUrl"], &reply["contentUrl"], &reply["x"]["u"][0]], [&ours; 3]);
        for (media_route, without) in [(Some("/media"), json!({"blackoutUrl": null})), (None, json!({}))] {
            let told = RewriteTargets { media_route, ..told };
            let before = with(&blacked_out(), &without);
            let mut reply = before.clone();
            assert_eq!(rewrite(&told, &mut reply, id), (None, None));
            assert_eq!(reply, before);
        }
    }
}
