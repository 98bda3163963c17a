//! Tests the page to which a refusal leads its viewer: its text, its languages, and which viewers may free a place.

use http::Method;

use crate::media::{HLS, Origin, begin, fetch};
use crate::player::{CLEARKEY, Player};
use crate::stage::{Script, Stage};
use crate::upstream::{LICENSE, Upstream, good};
use crate::web::Reply;

/// The origin at which every scripted player calls the proxy.
const OURS: &str = "http://proxy.test";
const GERMAN: &str = "[texts.de]\nsession-killed = \"Ihr Anbieter hat <b>beendet</b>.\"\nlimit-reached = \"Zu viele.\"\n\
                      page-title = \"Warum?\"\nsession-ended = \"Vorbei.\"\nrefused = \"Nein.\"\n";

/// A household with one place.
fn household(server: &Upstream, lines: &str) -> Script {
    let authority = format!("[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = 1\n{lines}");
    Stage::script().authority(&authority).upstream("/license", &server.url(), "authority = \"home\"").tables(GERMAN)
}

async fn license_server() -> Upstream {
    Upstream::answering(|_| good("application/json", LICENSE)).await
}

fn device(stage: &Stage, name: &str) -> Player {
    stage.stranger().with("x-device-id", name)
}

/// The refusal of a device too many, and the path that its `href` leads to.
async fn one_too_many(player: &Player) -> (Reply, String) {
    let refused = player.post(CLEARKEY).await;
    assert_eq!(refused.error(), (403, "limit_reached".to_owned()));
    let path = path_of(&refused);
    (refused, path)
}

fn path_of(refused: &Reply) -> String {
    let told = refused.json();
    let href = told["href"].as_str().unwrap_or_else(|| panic!("no href in {told}"));
    href.strip_prefix(OURS).unwrap_or_else(|| panic!("{href} leads elsewhere")).to_owned()
}

/// Opens the page like a browser, without the player's headers.
async fn open(stage: &Stage, path: &str) -> Reply {
    stage.stranger().at(path).post("").method(Method::GET).header("accept-language", "it").await
}

async fn send(stage: &Stage, path: &str, form: &str, headers: &[(&str, &str)]) -> Reply {
    let mut call = stage.stranger().at(path.split('?').next().unwrap()).post(form.to_owned());
    call = call.header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        call = call.header(name, value);
    }
    call.await
}

/// The value of the form's field, as the page has it.
fn field(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let value = page.split(&mark).nth(1).unwrap_or_else(|| panic!("no {name} in {page}"));
    value.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_refusal_leads_to_a_page_that_says_what_happened_and_what_to_do() {
    let stage = Stage::clearkey().tables(GERMAN).start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.post(CLEARKEY).await.is_good());
    let id = stage.each("id").await.remove(0);
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.status.is_success());
    let refused = tv.post(CLEARKEY).header("accept-language", "de-AT, en;q=0.5").await;
    let told = refused.json();
    assert_eq!((&told["error"], &told["phase"]), (&"session_killed".into(), &"license".into()));
    assert_eq!(told["detail"], "Ihr Anbieter hat <b>beendet</b>.");
    assert_eq!((&told["hrefTitle"], refused.header("content-language")), (&"Warum?".into(), "de"));
    let incident = told["incident"].as_str().unwrap();
    let path = path_of(&refused);
    assert_eq!(path, format!("/license/~refused/session_killed/{incident}"));

    let page = stage.stranger().at(&path).post("").method(Method::GET).header("accept-language", "de").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), "no-store");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = page.text();
    for part in
        ["<html lang=\"de\">", "<title>Warum?</title>", "Ihr Anbieter hat &lt;b&gt;beendet&lt;/b&gt;.", incident]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for part in ["<script", "src=", "href=", "style", "http", "<b>", "<form"] {
        assert!(!text.contains(part), "{part} is in {text}");
    }
    // The text is English if the language has none, or is missing.
    assert!(text.contains("Start the playback once more."));
    let english = open(&stage, &path).await.text();
    assert!(english.contains("<html lang=\"en\">") && english.contains("Your service has ended"), "{english}");
    let other = stage.stranger().at(&path).post("").method(Method::DELETE).await;
    assert_eq!(other.error(), (405, "method".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_license_server_that_is_away_and_a_media_route_lead_to_the_page_too() {
    let (nobody, origin) = (crate::upstream::nobody().await, license_server().await);
    let lines = format!(
        "retry-unreachable = false\n[[authority]]\nname = \"home\"\nkind = \"embedded\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"http://{}/vod\"\nauthority = \"home\"",
        origin.address
    );
    let stage = Stage::script().upstream("/license", &format!("http://{nobody}/x"), &lines).start().await;
    let refused = stage.stranger().post(CLEARKEY).await;
    assert_eq!(refused.status, 503);
    let page = open(&stage, &path_of(&refused)).await.text();
    assert!(page.contains("Wait a few minutes"), "{page}");
    let watch = |name| device(&stage, name).at("/media/a.m3u8").post("").method(Method::GET);
    assert_eq!(watch("tv").await.status, 302);
    let refused = watch("phone").await;
    assert_eq!(refused.error(), (403, "limit_reached".to_owned()));
    let path = path_of(&refused);
    assert!(path.starts_with("/media/~refused/limit_reached/"), "{path}");
    let page = open(&stage, path.split('?').next().unwrap()).await.text();
    assert!(page.contains("Too many devices") && !page.contains("tv"), "{page}");
    stage.end().await;
}

/// A media route to that origin, with one place for the household.
fn media_household(origin: &Origin, lines: &str) -> Script {
    Stage::script().tables(&format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\nsessions-per-account = 1\n{lines}\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{}/vod\"\nauthority = \"home\"\n\
         [route.endings]\nmedia-silence = \"1s\"\n",
        origin.url()
    ))
}

fn live() -> Vec<(&'static str, &'static str, String)> {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n7.m4s\n";
    vec![("/vod/live.m3u8", HLS, text.to_owned()), ("/vod/other.m3u8", HLS, text.to_owned())]
}

#[tokio::test]
async fn a_viewer_whose_manifest_met_the_limit_frees_a_place_and_watches() {
    let origin = Origin::with(live()).await;
    let stage = media_household(&origin, "").start().await;
    begin(&stage, "tv", "/media/live.m3u8").await;
    let refused = fetch(&stage, "phone", "/media/live.m3u8").await;
    assert_eq!(refused.error(), (403, "limit_reached".to_owned()));
    let path = path_of(&refused);
    let bare = path.split('?').next().unwrap();
    assert!(!open(&stage, bare).await.text().contains("<form"), "without its key it is the page for everybody");
    let page = open(&stage, &path).await.text();
    assert!(page.contains("<li>tv ") && page.contains("<form method=\"post\""), "{page}");
    let form = format!("key={}&slot={}", field(&page, "key"), field(&page, "slot"));
    for foreign in [&[("origin", "https://evil.example")][..], &[("sec-fetch-site", "cross-site")]] {
        assert_eq!(send(&stage, &path, &form, foreign).await.error(), (403, "foreign_form".to_owned()));
    }
    let freed = send(&stage, &path, &form, &[("origin", OURS), ("sec-fetch-site", "same-origin")]).await;
    assert!(freed.text().contains("It is stopped there"), "{}", freed.text());
    let (_, reply) = begin(&stage, "phone", "/media/live.m3u8").await;
    assert!(reply.is_good(), "the place is not kept for who freed it");
    stage.end().await;
}

/// Its session was given up while the player slept, and the place went to another device.
#[tokio::test]
async fn a_playback_that_comes_back_too_late_may_free_a_place_by_its_own_path() {
    let origin = Origin::with(live()).await;
    let stage = media_household(&origin, "").start().await;
    let (path, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    stage.eventually("closed", async || stage.each("state").await == ["closed"]).await;
    begin(&stage, "phone", "/media/other.m3u8").await;
    let refused = fetch(&stage, "tv", &path).await;
    assert_eq!(refused.error(), (403, "limit_reached".to_owned()));
    let page = open(&stage, &path_of(&refused)).await.text();
    assert!(page.contains("<li>phone ") && page.contains("<form method=\"post\""), "{page}");
    stage.end().await;
}

/// The account comes with a manifest, and anybody may write it, so it is no proof.
#[tokio::test]
async fn a_manifests_refusal_has_no_key_for_an_account_that_anybody_may_write() {
    for lines in [
        "account = [\"header:x-account\", \"fixed:home\"]",
        "account = [\"query:account\"]",
        "viewers-free-slots = false",
    ] {
        let origin = Origin::with(live()).await;
        let stage = media_household(&origin, lines).start().await;
        let watch = |name| {
            let device = device(&stage, name).with("x-account", "ann").at("/media/live.m3u8?account=ann");
            device.post("").method(Method::GET)
        };
        assert_eq!(watch("tv").await.status, 302, "{lines}");
        let refused = watch("phone").await;
        assert_eq!(refused.error(), (403, "limit_reached".to_owned()), "{lines}");
        assert!(!path_of(&refused).contains('?'), "{lines}");
        stage.end().await;
    }
}

/// A call is refused in many places, before any session and without a route.
#[tokio::test]
async fn every_refusal_leads_to_a_page_that_can_be_read() {
    let origin = Origin::with(live()).await;
    let server = license_server().await;
    let script =
        media_household(&origin, "").upstream("/license", &server.url(), "authority = \"home\"").tables(GERMAN);
    let stage = script.server("origins = [\"https://tv.example\"]\nhost-names = [\"proxy.test\"]").start().await;
    let (playback, _) = begin(&stage, "tv", "/media/live.m3u8").await;
    let own = playback.rsplit_once('/').unwrap().0;
    let elsewhere = format!("{own}/~h/s/cdn.example/1.m4s");
    let unknown = format!("/license/~{}", "0".repeat(32));
    let tv = device(&stage, "tv");
    for (call, status, error) in [
        (tv.clone().at("/nowhere").post(""), 404, "no_route"),
        (tv.clone().post("").method(Method::DELETE), 405, "method"),
        (tv.clone().at("/license/../x").post(""), 400, "dot_segment"),
        (tv.clone().post(CLEARKEY).header("content-encoding", "x"), 415, "content_encoding"),
        (tv.clone().at(&unknown).post(CLEARKEY), 403, "unknown_playback"),
        (tv.clone().at("/license/~refused/x").post("").method(Method::GET), 404, "no_page"),
        (tv.clone().at("/media/1.m4s").post("").method(Method::GET), 404, "playback_missing"),
        (tv.clone().at(&elsewhere).post("").method(Method::GET), 404, "media_path"),
        (device(&stage, "pad").at(&playback).post("").method(Method::GET), 403, "foreign_playback"),
        (tv.clone().at("/media/live.m3u8").post(""), 405, "method"),
        (tv.clone().post(vec![b'x'; 100_000]), 413, "body_too_large"),
        (tv.clone().post(CLEARKEY).header("origin", "https://evil.example"), 403, "origin_refused"),
        (tv.clone().post(CLEARKEY).header("host", "a,b"), 400, "host_invalid"),
        (tv.clone().post(CLEARKEY).header("host", "evil.example"), 421, "host_refused"),
    ] {
        let refused = call.header("accept-language", "de").await;
        assert_eq!(refused.error(), (status, error.to_owned()));
        assert_eq!(refused.header("content-type"), "application/problem+json", "{error}");
        let told = refused.json();
        assert_eq!(told["hrefTitle"], "Warum?", "{told}");
        let is_over = matches!(error, "playback_missing" | "unknown_playback");
        assert_eq!(told["detail"], if is_over { "Vorbei." } else { "Nein." }, "{error}");
        assert_eq!(refused.header("content-language"), "de", "{error}");
        let href = told["href"].as_str().unwrap_or_else(|| panic!("no href in {told}"));
        // A foreign host name is not repeated.
        let is_addressed = !matches!(error, "host_invalid" | "host_refused");
        assert_eq!(href.starts_with(OURS), is_addressed, "{href}");
        let path = href.strip_prefix(OURS).unwrap_or(href);
        assert!(path.starts_with('/') && !path.starts_with("//") && !path.contains('?'), "{path}");
        for host in ["proxy.test", "evil.example"] {
            let page = stage.stranger().at(path).post("").method(Method::GET).header("host", host).await;
            let incident = told["incident"].as_str().unwrap();
            assert!(page.is_good() && page.text().contains(incident), "{error}: {}", page.text());
        }
        let posted = stage.stranger().at(path).post("key=1&slot=1").await;
        assert!(!posted.text().contains("It is stopped there"), "{}", posted.text());
    }
    // Operators read none of it.
    assert!(stage.ask(Method::GET, "/nothing").await.json()["href"].is_null());
    stage.end().await;
}

#[tokio::test]
async fn a_foreign_host_name_is_not_repeated_to_an_unlisted_page() {
    let server = license_server().await;
    let script = household(&server, "").server("origins = [\"https://tv.example\"]\nhost-names = [\"proxy.test\"]");
    let stage = script.start().await;
    for (host, base) in [("evil.example", ""), ("proxy.test", OURS)] {
        for method in [Method::POST, Method::OPTIONS] {
            let call = device(&stage, "tv").post("").method(method.clone()).header("host", host);
            let refused = call.header("origin", "https://page.example").await;
            assert_eq!(refused.error(), (403, "origin_refused".to_owned()));
            let href = refused.json()["href"].as_str().unwrap().to_owned();
            assert!(href.starts_with(&format!("{base}/license/~refused/")), "{method} {host}: {href}");
        }
    }
    stage.end().await;
}

#[tokio::test]
async fn a_viewer_frees_a_place_of_the_household_and_plays() {
    let server = license_server().await;
    let stage = household(&server, "").start().await;
    assert!(device(&stage, "tv-<kitchen>").post(CLEARKEY).await.is_good());
    let phone = device(&stage, "phone");
    let (_, path) = one_too_many(&phone).await;
    let page = open(&stage, &path).await.text();
    assert!(page.contains("tv-&lt;kitchen&gt;") && page.contains("<form method=\"post\""), "{page}");
    assert!(!page.contains("<kitchen>") && page.contains("0:00"), "{page}");
    let form = format!("key={}&slot={}", field(&page, "key"), field(&page, "slot"));
    let own = [("origin", OURS), ("sec-fetch-site", "same-origin")];
    let freed = send(&stage, &path, &form, &own).await;
    assert_eq!(freed.status, 200);
    assert!(freed.text().contains("It is stopped there"), "{}", freed.text());
    assert_eq!(stage.metric("slots_ended_total", &["authority=\"home\"", "reason=\"viewer\""]).await, 1.0);
    assert!(phone.post(CLEARKEY).await.is_good(), "the place is not kept for who freed it");
    assert_eq!(device(&stage, "tv-<kitchen>").post(CLEARKEY).await.error().1, "session_killed");
    // The key works once.
    let again = send(&stage, &path, &form, &own).await;
    assert!(again.text().contains("too old") && !again.text().contains("<form"), "{}", again.text());
    assert!(!open(&stage, &path).await.text().contains("tv-"));
    stage.end().await;
}

/// With a list of origins, sidebeat's page is not on it, and may send its form nevertheless.
#[tokio::test]
async fn the_page_frees_a_place_even_with_a_list_of_origins() {
    let server = license_server().await;
    let script = household(&server, "").server("origins = [\"https://tv.example\"]\nhost-names = [\"proxy.test\"]");
    let stage = script.start().await;
    assert!(device(&stage, "tv").post(CLEARKEY).await.is_good());
    let (_, path) = one_too_many(&device(&stage, "phone")).await;
    let page = open(&stage, &path).await.text();
    let form = format!("key={}&slot={}", field(&page, "key"), field(&page, "slot"));
    for origin in ["https://tv.example", "https://evil.example", "null", "http://proxy.test.evil"] {
        let refused = send(&stage, &path, &form, &[("origin", origin)]).await;
        assert_eq!(refused.status, 403, "{origin}: {}", refused.text());
    }
    assert!(send(&stage, &path, &form, &[("origin", OURS)]).await.text().contains("It is stopped there"));
    stage.end().await;
}

/// Pages that are on no list reach the page of a refusal, and nothing else by a path that looks like it.
#[tokio::test]
async fn an_unlisted_page_reaches_nothing_by_a_path_like_a_refusals() {
    let service = Upstream::answering(|_| good("application/json", "{}")).await;
    let tables = format!(
        "[[authority]]\nname = \"quickplay\"\nkind = \"firstlight\"\nheartbeat-url = \"{{headend}}/DEMO/fl/\"\n\
         [[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"quickplay\"\n\
         authorize-url = \"{url}\"\nlicense-route = \"/license\"\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{url}\"\n",
        url = service.url()
    );
    let script = Stage::script().upstream("/license", &service.url(), "authority = \"quickplay\"").tables(&tables);
    let lines = "origins = [\"https://tv.example\"]\nhost-names = [\"proxy.test\"]";
    let stage = script.server(lines).start().await;
    let foreign = stage.stranger().with("sec-fetch-site", "cross-site").with("x-device-id", "tv");
    for route in ["/authorize", "/license", "/media", ""] {
        for below in ["x", "limit_reached", "limit_reached/x/more", "../x", "limit_reached/00000000/~stop"] {
            let path = format!("{route}/~refused/{below}");
            let reply = foreign.clone().at(&path).post("").method(Method::GET).await;
            assert!(!reply.is_good(), "{path}: {}", reply.text());
        }
    }
    for path in ["/authorize/a/~refused/x", "/authorize/~refused/limit_reached/00000000", "/media/~refused/x.m3u8"] {
        let reply = foreign.clone().at(path).post("").method(Method::GET).await;
        assert_eq!(reply.error(), (404, "no_page".to_owned()), "{path}");
    }
    assert!(service.seen().is_empty(), "a page of any origin has reached a server");
    let ours = stage.stranger().at("/authorize").with("x-device-id", "tv").post("").method(Method::GET).await;
    assert!(ours.is_good(), "{}", ours.text());
    assert_eq!(service.seen().len(), 1);
    stage.end().await;
}

#[tokio::test]
async fn a_stranger_with_an_incident_alone_learns_nothing_and_frees_nothing() {
    let server = license_server().await;
    let stage = household(&server, "").start().await;
    assert!(device(&stage, "tv").post(CLEARKEY).await.is_good());
    let (refused, path) = one_too_many(&device(&stage, "phone")).await;
    let told = refused.json();
    let incident = told["incident"].as_str().unwrap();
    let bare = path.split('?').next().unwrap().to_owned();
    let page = open(&stage, &path).await.text();
    let (key, slot) = (field(&page, "key"), field(&page, "slot"));
    let unknown =
        format!("/license/~refused/limit_reached/{}", if incident == "00000000" { "1" } else { "0" }.repeat(8));
    let nothing = open(&stage, &unknown).await.text().replace(&"0".repeat(8), incident);
    let zeros = "0".repeat(32);
    for path in
        [bare.clone(), format!("{bare}?key="), format!("{bare}?key={zeros}"), format!("{bare}?key={}", &key[1..])]
    {
        let seen = open(&stage, &path).await.text();
        assert_eq!(seen, nothing, "one that is known looks otherwise than one that is not: {path}");
        assert!(!seen.contains("tv") && !seen.contains("<form"), "{seen}");
    }
    let own = [("origin", OURS), ("sec-fetch-site", "same-origin")];
    for form in [
        format!("slot={slot}"),
        format!("key=&slot={slot}"),
        format!("key={zeros}&slot={slot}"),
        format!("key={key}&slot=0"),
        format!("key={key}"),
        format!("key={key}&slot=x"),
        String::new(),
    ] {
        let answer = send(&stage, &bare, &form, &own).await.text();
        assert!(!answer.contains("It is stopped there"), "{form}: {answer}");
    }
    assert!(open(&stage, &path).await.text().contains("<form"), "a form that names no slot has used up the key");
    // Another incident's path, another page's form, and a link instead of a form.
    let form = format!("key={key}&slot={slot}");
    assert!(!send(&stage, &unknown, &form, &own).await.text().contains("It is stopped there"));
    for foreign in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", OURS), ("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(send(&stage, &bare, &form, foreign).await.error(), (403, "foreign_form".to_owned()), "{foreign:?}");
    }
    open(&stage, &format!("{bare}?key={key}&slot={slot}")).await;
    assert_eq!(send(&stage, &bare, &"x".repeat(2_000), &own).await.status, 413);
    assert!(device(&stage, "tv").post(CLEARKEY).await.is_good(), "a stranger has stopped it");
    stage.end().await;
}

/// If anybody may write the account, or the operator configures it, the page is the general one.
#[tokio::test]
async fn an_account_that_anybody_may_write_gets_no_key() {
    let server = license_server().await;
    for lines in [
        "account = [\"header:x-account\", \"fixed:home\"]",
        "account = [\"token-claim:sub\"]",
        "account = [\"query:account\"]",
        "viewers-free-slots = false",
    ] {
        let stage = household(&server, lines).start().await;
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.";
        let of_ann = |name| device(&stage, name).with("x-account", "ann").with("nv-authorizations", token);
        assert!(of_ann("tv").at("/license?account=ann").post(CLEARKEY).await.is_good(), "{lines}");
        let (_, path) = one_too_many(&of_ann("phone").at("/license?account=ann")).await;
        assert!(!path.contains('?'), "{lines}: {path}");
        stage.end().await;
    }
}
