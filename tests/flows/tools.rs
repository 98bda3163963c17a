//! Tests that ffmpeg and streamlink play through a media route, HLS and DASH, live and as a title.
//!
//! `tests/run.sh` installs both. If one is missing, its tests say so and pass, unless `STREAM_TOOLS=required`.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Response};

use crate::stage::{Script, Stage};
use crate::upstream::{Upstream, good, status};

/// The simulator's programme is encrypted with this key.
const KEY: &str = "000102030405060708090a0b0c0d0e0f";
/// Three seconds of the picture, counted in frames: the times of the live channel begin anew every 8 s.
const PLAYED: &[&str] = &["-frames:v", "75", "-f", "null", "-"];

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn is_missing(tool: &str) -> bool {
    let asked = if tool == "ffmpeg" { "-version" } else { "--version" };
    let run = Command::new(tool).arg(asked).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = run.is_ok_and(|status| status.success());
    assert!(found || std::env::var("STREAM_TOOLS").is_err(), "{tool} is required, and is not installed");
    if !found {
        println!("skipped: {tool} is not installed (apt-get install {tool})");
    }
    !found
}

async fn run(words: Vec<String>) -> Output {
    run_for(60, words).await
}

/// Runs a tool for a limited time, because both tools can wait for ever.
pub(crate) async fn run_for(seconds: u32, words: Vec<String>) -> Output {
    let seconds = seconds.to_string();
    let run = move || Command::new("timeout").args(["-k", "5", &seconds]).args(words).stdin(Stdio::null()).output();
    tokio::task::spawn_blocking(run).await.unwrap().unwrap()
}

pub(crate) fn ffmpeg(options: &[&str], url: &str, out: &[&str]) -> Vec<String> {
    let words = [&["ffmpeg", "-nostdin", "-v", "error"], options, &["-i", url], out].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// A media route to that origin; the simulator is `{headend}`.
pub(crate) fn route(origin: &str) -> Script {
    Stage::script().tables(&format!(
        "[[authority]]\nname = \"home\"\nkind = \"embedded\"\naccount = [\"device\"]\n\
         [[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"{origin}\"\nauthority = \"home\"\n"
    ))
}

async fn kill(stage: &Stage) {
    let id = stage.each("id").await.remove(0);
    assert!(stage.ask(Method::POST, &format!("/v1/sessions/{id}/kill")).await.is_good());
}

pub(crate) fn is_clean(output: &Output, what: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{what}: {:?}: {told}", output.status.code());
}

#[tokio::test]
async fn ffmpeg_plays_hls_and_dash_live_and_as_a_title() {
    if is_missing("ffmpeg") {
        return;
    }
    let stage = route("{headend}").start().await;
    let key: &[&str] = &["-cenc_decryption_key", KEY];
    let rows = [
        ("slate/main.m3u8", &[][..]),
        ("slate-live/main.m3u8", &[]),
        ("slate/main.mpd", &[]),
        ("slate-live/main.mpd", &[]),
        ("vod/main.mpd", key),
        ("live/main.mpd", key),
    ];
    for (path, options) in rows {
        // ffmpeg loses the live channel when its period changes, and the times with it, also without sidebeat.
        let live = path.contains("live");
        let mut played = false;
        for number in 0..if live { 5 } else { 1 } {
            let url = format!("http://{}/media/{path}?device={number}-{path}", stage.proxy);
            let output = run_for(15, ffmpeg(options, &url, PLAYED)).await;
            for outcome in ["outcome=\"failed\"", "outcome=\"refused\""] {
                assert_eq!(
                    stage.metric("media_requests_total", &[outcome]).await,
                    0.0,
                    "{path}: it was not ffmpeg's own"
                );
            }
            played = output.status.success();
            if played {
                break;
            }
            if !live {
                is_clean(&output, path);
            }
        }
        assert!(played, "{path}");
    }
    let sessions = stage.each("device").await;
    let mut devices = sessions.clone();
    devices.dedup();
    assert_eq!(sessions, devices, "one session for all that a player asks");
    stage.end().await;
}

#[tokio::test]
async fn ffmpeg_plays_a_live_playlist_until_its_kill() {
    if is_missing("ffmpeg") {
        return;
    }
    let stage = route("{headend}").start().await;
    let url = format!("http://{}/media/slate-live/main.m3u8?device=tv", stage.proxy);
    let killed = async {
        stage.eventually("ffmpeg plays", async || stage.each("state").await == ["live"]).await;
        kill(&stage).await;
    };
    let (ended, ()) = tokio::join!(run(ffmpeg(&[], &url, &["-c", "copy", "-f", "null", "-"])), killed);
    assert_ne!(ended.status.code(), Some(124), "it went on until its time was over");
    stage.end().await;
}

/// Twelve seconds in one rendition, HLS or DASH, by ffmpeg's own packager.
fn packaged(folder: &Path, format: &[&str], manifest: &str) {
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=12"];
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=12"];
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac"];
    let words = [&["-nostdin", "-v", "error"][..], &picture, &sound, &coded, format].concat();
    let made = Command::new("ffmpeg").args(words).arg(folder.join(manifest)).output().unwrap();
    is_clean(&made, manifest);
}

/// Serves the files of a folder.
async fn origin(folder: &Path) -> Upstream {
    let (folder, loads): (Arc<Path>, _) = (folder.into(), AtomicUsize::new(0));
    Upstream::answering(move |asked| -> Response<Bytes> {
        let path = asked.target.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        if name == "live.m3u8" {
            return good("application/vnd.apple.mpegurl", live(loads.fetch_add(1, Ordering::Relaxed)));
        }
        let media_type = if name.ends_with(".mpd") { "application/dash+xml" } else { "application/octet-stream" };
        std::fs::read(folder.join(name)).map_or_else(|_| status(404), |body| good(media_type, body))
    })
    .await
}

#[tokio::test]
async fn streamlink_plays_hls_and_dash_titles_that_ffmpeg_packaged() {
    if is_missing("streamlink") || is_missing("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    packaged(folder.path(), &["-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod"], "main.m3u8");
    // Picture alone: streamlink 5.2 loses a short title with separate sound on the pipes to its ffmpeg, also without
    // sidebeat.
    packaged(folder.path(), &["-an", "-f", "dash", "-seg_duration", "2"], "main.mpd");
    let origin = origin(folder.path()).await;
    let stage = route(&format!("http://{}", origin.address)).start().await;
    for (kind, path) in [("hls", "main.m3u8"), ("dash", "main.mpd")] {
        let url = format!("{kind}://http://{}/media/{path}?device={kind}", stage.proxy);
        let words = ["streamlink", "--loglevel", "error", "--stdout", &url, "best"].map(str::to_owned);
        let output = run(words.into()).await;
        let told = String::from_utf8_lossy(&output.stderr);
        // 12 s of this picture; what it says of a pipe that closed is its own.
        assert!(output.stdout.len() > 100_000, "{kind}: {} bytes: {told}", output.stdout.len());
        assert!(stage.each("device").await.contains(&kind.to_owned()));
        // ffmpeg's own packager, and its own demuxer.
        let url = format!("http://{}/media/{path}?device=ffmpeg-{kind}", stage.proxy);
        is_clean(&run(ffmpeg(&[], &url, PLAYED)).await, path);
    }
    stage.end().await;
}

/// Both tools decrypt AES-128. ffmpeg 5.1 makes noise of the simulator's programme (SAMPLE-AES-CTR), also without
/// sidebeat.
#[tokio::test]
async fn ffmpeg_and_streamlink_play_an_encrypted_playlist_whose_key_comes_through_the_route() {
    if is_missing("streamlink") || is_missing("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("one"), b"0123456789abcdef").unwrap();
    std::fs::write(file("key-info"), format!("/keys/one\n{}\n", file("one").display())).unwrap();
    let info = file("key-info").display().to_string();
    let hls = ["-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod", "-hls_key_info_file", &info];
    packaged(folder.path(), &hls, "main.m3u8");
    let origin = origin(folder.path()).await;
    let stage = route(&format!("http://{}", origin.address)).start().await;
    let url = |device: &str| format!("http://{}/media/main.m3u8?device={device}", stage.proxy);
    is_clean(&run(ffmpeg(&[], &url("ffmpeg"), PLAYED)).await, "ffmpeg");
    let of = format!("hls://{}", url("streamlink"));
    let words = ["streamlink", "--loglevel", "error", "--stdout", &of, "best"].map(str::to_owned);
    let output = run(words.into()).await;
    let out = file("played.ts");
    std::fs::write(&out, &output.stdout).unwrap();
    is_clean(&run(ffmpeg(&[], &out.display().to_string(), PLAYED)).await, "what streamlink deciphered");
    // Each tool requested its key under its playback's path.
    let keys: Vec<_> = origin.seen().into_iter().filter(|asked| asked.target == "/keys/one").collect();
    assert!(keys.len() >= 2, "{}", keys.len());
    assert!(stage.metric("media_requests_total", &["kind=\"segment\"", "outcome=\"passed\""]).await > 6.0);
    stage.end().await;
}

#[tokio::test]
async fn streamlink_plays_a_live_mpd_until_its_kill() {
    if is_missing("streamlink") || is_missing("ffmpeg") {
        return;
    }
    let stage = route("{headend}").start().await;
    let url = format!("dash://http://{}/media/slate-live/main.mpd?device=tv", stage.proxy);
    let words = ["streamlink", "--loglevel", "error", "--stream-timeout", "8", "--stdout", &url, "best"];
    let words = words.map(str::to_owned);
    let passed = ["kind=\"segment\"", "outcome=\"passed\""];
    let killed = async {
        let plays = async || stage.metric("media_requests_total", &passed).await > 8.0;
        stage.eventually("streamlink plays", plays).await;
        kill(&stage).await;
        stage.metric("media_requests_total", &passed).await
    };
    let (ended, before) = tokio::join!(run(words.into()), killed);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_ne!(ended.status.code(), Some(124), "it went on until its time was over");
    assert!(!ended.stdout.is_empty(), "{told}");
    assert!(stage.metric("media_requests_total", &passed).await <= before + 1.0, "nothing more after the kill: {told}");
    stage.end().await;
}

/// A live playlist over the first six segments of that folder, which goes on each time it is loaded, and comes to stand
/// at the last of them.
fn live(loads: usize) -> String {
    let first = loads.min(3);
    let segments: String = (first..first + 3).map(|number| format!("#EXTINF:2,\nmain{number}.ts\n")).collect();
    format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}")
}

#[tokio::test]
async fn streamlink_plays_a_live_playlist_until_its_kill() {
    if is_missing("streamlink") || is_missing("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    packaged(folder.path(), &["-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod"], "main.m3u8");
    let origin = origin(folder.path()).await;
    let stage = route(&format!("http://{}", origin.address)).start().await;
    let url = format!("hls://http://{}/media/live.m3u8?device=tv", stage.proxy);
    // streamlink requests a refused playlist until nothing has come for so long; its own default is 60 s.
    let words = ["streamlink", "--loglevel", "error", "--stream-timeout", "8", "--stdout", &url, "best"];
    let words = words.map(str::to_owned);
    let asked = || origin.seen().iter().filter(|asked| asked.target.ends_with(".ts")).count();
    let killed = async {
        stage.eventually("streamlink plays", async || asked() > 2).await;
        kill(&stage).await;
    };
    let (ended, ()) = tokio::join!(run(words.into()), killed);
    assert_ne!(ended.status.code(), Some(124), "it went on until its time was over");
    assert!(!ended.stdout.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    stage.end().await;
}
