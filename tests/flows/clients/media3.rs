//! Media3's ExoPlayer, by its sources (github.com/androidx/media, `libraries/exoplayer/…/drm`).
//!
//! - `HttpMediaDrmCallback.executeKeyRequest`: POST of the challenge, `application/octet-stream` (Widevine), `text/xml` and
//!   `SOAPAction` (PlayReady), `application/json` (ClearKey), and the headers of `setLicenseRequestHeaders`.
//! - `DataSpec.FLAG_ALLOW_GZIP`: `Accept-Encoding: gzip`. Without a user agent of the app's, the platform's: `Dalvik/…`.
//! - `DefaultDrmSession.postKeyRequest` with `allowRetry`: a first request is sent up to 3 times more (0, 1 and 2 s later:
//!   `DefaultLoadErrorHandlingPolicy`), whatever the status, 416 apart. A renewal (`onKeysRequired`) is sent once.
//! - `DefaultDrmSession.onError`: `drmSessionManagerError` to the app in any case; only a session that has no keys yet ends
//!   in an error, `ERROR_CODE_DRM_LICENSE_ACQUISITION_FAILED` (6004), which ends playback and holds the reply's body.
//! - The next item of a playlist asks for its license while the one before plays.

use http::Method;
use serde_json::Value;

use crate::player::{Call, Player, playready, widevine_new, widevine_renewal};
use crate::stage::Stage;
use crate::web::Reply;

const RETRIES: usize = 3;
const ACQUISITION_FAILED: u16 = 6004;

struct Media3 {
    player: Player,
}

/// The callbacks that the app gets.
#[derive(Debug)]
enum Told {
    Keys,
    /// The error that ends playback; with the reply that caused it, and how often it asked.
    PlaybackException {
        code: u16,
        posts: usize,
        reply: Reply,
    },
    /// Only `DrmSessionEventListener` hears it: playback continues until its keys expire.
    SessionManagerError {
        reply: Reply,
    },
}

impl Media3 {
    async fn new(stage: &Stage, device: &str, content: &str) -> Self {
        let agent = "Dalvik/2.1.0 (Linux; U; Android 14; SHIELD Android TV Build/UP1A)";
        let player = stage.player(device, content).await.with("user-agent", agent).with("accept-encoding", "gzip");
        Self { player }
    }

    fn widevine(&self, challenge: Vec<u8>) -> Call {
        self.player.post(challenge).header("content-type", "application/octet-stream")
    }

    fn playready(&self, challenge: String) -> Call {
        let action = "http://schemas.microsoft.com/DRM/2007/03/protocols/AcquireLicense";
        self.player.post(challenge).header("content-type", "text/xml").header("soapaction", action)
    }

    async fn prepares(&self, call: Call) -> Told {
        for posts in 1.. {
            let reply = call.clone().await;
            if reply.is_good() {
                return Told::Keys;
            }
            if posts > RETRIES || reply.status == 416 {
                return Told::PlaybackException { code: ACQUISITION_FAILED, posts, reply };
            }
        }
        unreachable!("the count is bounded");
    }

    async fn renews(&self, call: Call) -> Told {
        let reply = call.await;
        if reply.is_good() { Told::Keys } else { Told::SessionManagerError { reply } }
    }
}

/// The text for a viewer: the `detail` of the body in the exception.
fn detail(reply: &Reply) -> String {
    let problem: Value = reply.json();
    problem["detail"].as_str().unwrap_or_else(|| panic!("no detail: {}", reply.text())).to_owned()
}

async fn kill(stage: &Stage) {
    let id = stage.each("id").await.remove(0);
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
}

#[tokio::test]
async fn media3_ends_a_refused_first_license_in_an_error_that_holds_the_reason() {
    let stage = Stage::widevine().settings(|settings| settings.limit = 1).start().await;
    assert!(stage.player("pad", "film").await.license("pad").await.is_good());
    let tv = Media3::new(&stage, "tv", "news").await;
    let told = tv.prepares(tv.widevine(widevine_new("video"))).await;
    let Told::PlaybackException { code, posts, reply } = told else { panic!("{told:?}") };
    assert_eq!((code, posts, reply.error()), (6004, 4, (403, "limit_reached".to_owned())));
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert!(!detail(&reply).is_empty());
    assert_eq!(stage.headend.count("license-widevine").await, 1);
    stage.end().await;
}

#[tokio::test]
async fn media3_hears_of_a_kill_at_its_renewal_and_shows_it_when_it_prepares_again() {
    let stage = Stage::widevine().start().await;
    let tv = Media3::new(&stage, "tv", "news").await;
    assert!(matches!(tv.prepares(tv.widevine(vec![8, 4])).await, Told::Keys), "the service certificate");
    assert!(matches!(tv.prepares(tv.widevine(widevine_new("video"))).await, Told::Keys));
    assert!(matches!(tv.renews(tv.widevine(widevine_renewal("video"))).await, Told::Keys));
    kill(&stage).await;
    let before = stage.headend.count("license-widevine").await;
    let told = tv.renews(tv.widevine(widevine_renewal("video"))).await;
    let Told::SessionManagerError { reply } = told else { panic!("{told:?}") };
    assert_eq!(reply.error(), (403, "session_killed".to_owned()));
    // An app that shows nothing of that prepares anew once the keys have expired.
    let told = tv.prepares(tv.widevine(widevine_new("anew"))).await;
    let Told::PlaybackException { posts, reply, .. } = told else { panic!("{told:?}") };
    assert_eq!((posts, reply.error()), (4, (403, "session_killed".to_owned())));
    assert!(!detail(&reply).is_empty());
    assert_eq!(stage.headend.count("license-widevine").await, before);
    stage.end().await;
}

#[tokio::test]
async fn media3_ends_a_refused_playready_license_in_an_error() {
    let stage = Stage::script().route("/license", "playready", "").start().await;
    let tv = Media3::new(&stage, "tv", "news").await;
    assert!(matches!(tv.prepares(tv.playready(playready(None, "one"))).await, Told::Keys));
    kill(&stage).await;
    let told = tv.prepares(tv.playready(playready(None, "two"))).await;
    let Told::PlaybackException { code, posts, reply } = told else { panic!("{told:?}") };
    assert_eq!((code, posts, reply.status.as_u16()), (6004, 4, 500));
    assert!(reply.text().contains("session_killed"), "{}", reply.text());
    stage.end().await;
}

#[tokio::test]
async fn the_next_item_of_a_media3_playlist_asks_ahead_and_ends_nothing() {
    for limit in [1, 2] {
        let stage = Stage::widevine().settings(|settings| settings.limit = limit).start().await;
        let (film, next) = (Media3::new(&stage, "tv", "film").await, Media3::new(&stage, "tv", "next").await);
        let renews = async |item: &Media3, key: &str| item.renews(item.widevine(widevine_renewal(key))).await;
        assert!(matches!(film.prepares(film.widevine(widevine_new("film"))).await, Told::Keys));
        assert!(matches!(renews(&film, "film").await, Told::Keys));
        assert!(matches!(next.prepares(next.widevine(widevine_new("next"))).await, Told::Keys));
        // A renewal is not sent again if it fails, so that one refusal would be the end of the film.
        for _ in 0..3 {
            assert!(matches!(renews(&film, "film").await, Told::Keys), "limit {limit}");
        }
        // The film has ended by itself.
        for _ in 0..3 {
            assert!(matches!(renews(&next, "next").await, Told::Keys), "limit {limit}");
        }
        let counters = stage.headend.books().await["counters"].clone();
        assert!(counters["peak"].as_u64().unwrap() <= u64::from(limit), "limit {limit}: {counters}");
        stage.end().await;
    }
}
