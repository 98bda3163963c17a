//! An authorization as the player gets it: its URLs lead through us, the true ones stay here.

use serde_json::Value;

use super::Block;
use crate::config::{Endpoint, Names};
use crate::ids::PlaybackId;

/// Longest last step of a content URL that is kept, for players that go by its ending.
const STEP: usize = 128;

/// Below a playback's id: wherever its content is.
pub const CONTENT: &str = "/~c/";

/// Where the URLs of an authorization lead from now on.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// How players reach us, without a slash at its end.
    pub base: &'a str,
    /// More places of the content's URL, dots between names.
    pub content_paths: &'a [String],
    pub license_paths: &'a [String],
    /// Paths of our routes; none leaves that URL as it is.
    pub license_route: Option<&'a str>,
    pub media_route: Option<&'a str>,
    pub names: &'a Names,
}

/// The true URLs that were taken out.
#[derive(Debug, Default)]
pub struct Taken {
    pub content_url: Option<Endpoint>,
    pub license_url: Option<Endpoint>,
}

impl Targets<'_> {
    /// Blacked-out content is not reachable through us: its URL leads to the slate, or stays as the
    /// authorization service said, and so does the license's.
    pub fn rewrite(&self, reply: &mut Value, block: &Block, id: PlaybackId) -> Taken {
        let content = |url: &Endpoint| {
            let step = url.path().rsplit('/').next().filter(|step| step.len() <= STEP).unwrap_or_default();
            Some(format!("{}{}{}{CONTENT}{step}", self.base, trim(self.media_route?), id.segment()))
        };
        let contents = self.places("contentUrl", self.content_paths);
        if let Some(blackout) = &block.blackout {
            let slate = blackout.url.clone();
            let ours = slate.as_ref().and_then(content);
            let shown = ours.is_some_and(|ours| exchange(reply, &contents, |_| Some(ours.clone())).is_some());
            return Taken { content_url: slate.filter(|_| shown), license_url: None };
        }
        let license = |_: &Endpoint| Some(format!("{}{}{}", self.base, trim(self.license_route?), id.segment()));
        let licenses = self.places("licenseUrl", self.license_paths);
        Taken { content_url: exchange(reply, &contents, content), license_url: exchange(reply, &licenses, license) }
    }

    /// The places of a URL: configured ones, then `data`, then the top.
    fn places(&self, name: &str, more: &[String]) -> Vec<Vec<String>> {
        let (name, data) = (self.names.of(name).to_owned(), self.names.of("data").to_owned());
        let more = more.iter().map(|path| path.split('.').map(str::to_owned).collect());
        more.chain([vec![data, name.clone()], vec![name]]).collect()
    }
}

/// Puts `ours` in every place that holds the first URL found; gives that URL.
fn exchange(reply: &mut Value, places: &[Vec<String>], ours: impl Fn(&Endpoint) -> Option<String>) -> Option<Endpoint> {
    let mut found: Option<(String, Endpoint, String)> = None;
    for place in places {
        let Some(Value::String(text)) = at(reply, place) else { continue };
        if found.is_none() {
            found = Endpoint::parse(text).ok().and_then(|url| Some((text.clone(), url.clone(), ours(&url)?)));
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

/// The route `/` adds nothing.
fn trim(route: &str) -> &str {
    route.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn targets(names: &Names) -> Targets<'_> {
        Targets {
            base: "https://p",
            content_paths: &[],
            license_paths: &[],
            license_route: Some("/license"),
            media_route: Some("/media"),
            names,
        }
    }

    fn rewrite(targets: &Targets<'_>, reply: &mut Value, id: PlaybackId) -> (Option<String>, Option<String>) {
        let block = Block::read(reply, targets.names).unwrap();
        let Taken { content_url, license_url } = targets.rewrite(reply, &block, id);
        let whole = |url: Endpoint| format!("{url}?{}", url.query().unwrap_or_default());
        (content_url.map(whole), license_url.map(whole))
    }

    #[test]
    fn urls_lead_through_us_and_the_true_ones_are_kept() {
        let (names, id) = (Names::default(), PlaybackId::random());
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
        let more = Targets { license_paths: &paths, ..targets(&names) };
        assert_eq!(rewrite(&more, &mut reply, id), taken);
        assert_eq!(reply, json!({"data": ours, "contentUrl": ours["contentUrl"], "x": [{"u": ours["licenseUrl"]}]}));
    }

    #[test]
    fn what_has_no_route_or_is_no_url_stays() {
        let (names, id) = (Names::default(), PlaybackId::random());
        let theirs = json!({"contentUrl": "https://cdn/b.mpd", "licenseUrl": "skd://x"});
        let mut reply = theirs.clone();
        assert_eq!(rewrite(&Targets { media_route: None, ..targets(&names) }, &mut reply, id), (None, None));
        assert_eq!(reply, theirs);
    }

    #[test]
    fn a_blackout_leads_to_the_slate_or_nowhere_through_us() {
        let (names, id) = (Names::default(), PlaybackId::random());
        let theirs = json!({
            "contentUrl": "https://cdn/b.mpd", "licenseUrl": "https://drm/l", "blackoutAction": "DENY",
            "blackoutUrl": "https://cdn/slate.m3u8",
        });
        let mut reply = theirs.clone();
        assert_eq!(rewrite(&targets(&names), &mut reply, id), (Some("https://cdn/slate.m3u8?".into()), None));
        assert_eq!(reply["contentUrl"], format!("https://p/media{}/~c/slate.m3u8", id.segment()));
        assert_eq!(reply["licenseUrl"], theirs["licenseUrl"]);
        for without in [json!({"blackoutUrl": null}), json!({"blackoutUrl": "no url"})] {
            let mut reply = theirs.clone();
            reply.as_object_mut().unwrap().extend(without.as_object().unwrap().clone());
            let before = reply.clone();
            assert_eq!(rewrite(&targets(&names), &mut reply, id), (None, None));
            assert_eq!(reply, before);
        }
    }
}
