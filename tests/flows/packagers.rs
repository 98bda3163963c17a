//! Tests that output of Shaka Packager plays through a media route, live, as a title, and in one file.
//!
//! `tests/run.sh` fetches it from npm and names it in `SHAKA_PACKAGER`; without that the tests say so and pass. GPAC is
//! in no registry that tests may use.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::tools::{ffmpeg, is_clean, is_missing, route, run_for};
use crate::upstream::{Asked, Upstream, good, status};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn packager() -> Option<PathBuf> {
    let packager = std::env::var_os("SHAKA_PACKAGER").map(PathBuf::from);
    if packager.is_none() {
        println!("skipped: SHAKA_PACKAGER names no packager (npm pack shaka-packager)");
    }
    packager
}

/// Twelve seconds of picture and sound, packaged in this folder.
fn package(packager: &Path, folder: &Path, streams: &[&str], options: &[&str]) {
    let source = folder.join("source.mp4");
    if !source.exists() {
        let inputs = ["testsrc2=size=320x180:rate=25:duration=12", "sine=frequency=440:duration=12"];
        let inputs = inputs.iter().flat_map(|input| ["-f", "lavfi", "-i", input]);
        let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac"];
        let made =
            Command::new("ffmpeg").args(["-nostdin", "-v", "error"]).args(inputs).args(coded).arg(&source).output();
        is_clean(&made.unwrap(), "the source");
    }
    let mut command = Command::new(packager);
    command.current_dir(folder).args(streams).args(options).args(["--segment_duration", "2"]);
    let made =
        command.args(["--mpd_output", "main.mpd", "--hls_master_playlist_output", "main.m3u8"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Serves a folder, in whole files and in ranges.
fn answer(folder: &Path, asked: &Asked) -> Response<Bytes> {
    let name = asked.target.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let Ok(file) = std::fs::read(folder.join(name)).map(Bytes::from) else { return status(404) };
    let media_type = match name.rsplit('.').next() {
        Some("mpd") => "application/dash+xml",
        Some("m3u8") => "application/vnd.apple.mpegurl",
        _ => "video/mp4",
    };
    let range = asked.header("range").strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let Some((first, last)) = range else { return good(media_type, file) };
    let first: usize = first.parse().unwrap();
    let end = last.parse::<usize>().map_or(file.len(), |last| file.len().min(last + 1));
    if first >= end {
        return status(416);
    }
    let mut part = good(media_type, file.slice(first..end));
    *part.status_mut() = StatusCode::PARTIAL_CONTENT;
    let span = format!("bytes {first}-{}/{}", end - 1, file.len());
    part.headers_mut().insert("content-range", span.parse().unwrap());
    part
}

#[tokio::test]
async fn ffmpeg_plays_output_of_shaka_packager_live_and_as_a_title() {
    let Some(packager) = packager() else { return };
    if is_missing("ffmpeg") {
        return;
    }
    let files = [
        "in=source.mp4,stream=video,init_segment=v.mp4,segment_template=v_$Number$.m4s,playlist_name=v.m3u8",
        "in=source.mp4,stream=audio,init_segment=a.mp4,segment_template=a_$Number$.m4s,playlist_name=a.m3u8,\
         hls_group_id=a,hls_name=en",
    ];
    let one_file = [
        "in=source.mp4,stream=video,output=v.mp4,playlist_name=v.m3u8",
        "in=source.mp4,stream=audio,output=a.mp4,playlist_name=a.m3u8,hls_group_id=a,hls_name=en",
    ];
    let keys = format!("label=:key_id=00112233445566778899aabbccddeeff:key={KEY}");
    let encrypted = ["--generate_static_live_mpd", "--enable_raw_key_encryption", "--keys", &keys, "--clear_lead", "0"];
    for (name, streams, options, dash_alone) in [
        ("title", files, &["--generate_static_live_mpd"][..], false),
        ("file", one_file, &[], false),
        ("live", files, &["--hls_playlist_type", "LIVE"], false),
        // ffmpeg deciphers no sample of a playlist.
        ("encrypted", files, &encrypted, true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        package(&packager, folder.path(), &streams, options);
        let there: Arc<Path> = folder.path().into();
        let origin = Upstream::answering(move |asked| answer(&there, asked)).await;
        let stage = route(&format!("http://{}", origin.address)).start().await;
        for path in ["main.mpd", "main.m3u8"].iter().take(if dash_alone { 1 } else { 2 }) {
            let url = format!("http://{}/media/{path}?device={path}", stage.proxy);
            let options: &[&str] = if dash_alone { &["-cenc_decryption_key", KEY] } else { &[] };
            // A second of a live one, which is never longer than it was packaged.
            let frames = if name == "live" { "25" } else { "75" };
            let output = run_for(30, ffmpeg(options, &url, &["-frames:v", frames, "-f", "null", "-"])).await;
            is_clean(&output, &format!("{name} {path}"));
        }
        let passed = ["kind=\"segment\"", "outcome=\"passed\""];
        assert!(stage.metric("media_requests_total", &passed).await >= 2.0, "{name}");
        assert_eq!(stage.metric("manifests_unfit_total", &[]).await, 0.0, "{name}");
        stage.end().await;
    }
}
