//! Tests that large work does not run on the threads that serve players or beat; excess work is refused for now.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use sidebeat::task::{Tasks, TooBusy};

use crate::drm;
use crate::media::{self, HLS, Origin};
use crate::player::widevine_new;
use crate::stage::Stage;
use crate::upstream::{Upstream, good};

/// The largest manifest that is edited where players are served.
const INLINE_BYTES: usize = 64 * 1024;
/// The smallest license call that is not read there.
const APART_BYTES: usize = 256 * 1024;

/// Takes every place of heavy work, until the sender is dropped.
async fn take_all(tasks: &Tasks) -> Sender<()> {
    let (free, held) = channel::<()>();
    let held = Arc::new(Mutex::new(held));
    loop {
        let held = held.clone();
        let wait = move || {
            let _freed = held.lock().unwrap().recv();
        };
        let mut work = Box::pin({
            let tasks = tasks.clone();
            async move { tasks.heavy(wait).await }
        });
        match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            Poll::Pending => tasks.spawn(async move { assert_eq!(work.await, Ok(())) }),
            Poll::Ready(Err(TooBusy)) => return free,
            Poll::Ready(Ok(())) => panic!("nobody has let it go"),
        }
    }
}

/// A playlist of exactly so many bytes, with something to edit.
fn playlist(bytes: usize) -> String {
    let head = "#EXTM3U\n#EXTINF:4,\n/7.m4s\n#";
    format!("{head}{}\n", "x".repeat(bytes - head.len() - 1))
}

#[tokio::test]
async fn large_manifests_and_calls_block_no_serving_thread_and_excess_ones_are_refused_for_now() {
    let pages = vec![
        ("/vod/main.m3u8", HLS, playlist(100)),
        ("/vod/small.m3u8", HLS, playlist(INLINE_BYTES)),
        ("/vod/large.m3u8", HLS, playlist(INLINE_BYTES + 1)),
    ];
    let origin = Origin::with(pages).await;
    let license = std::fs::read("tests/vectors/drm/wv_license.bin").unwrap();
    let server = Upstream::answering(move |_| good("application/octet-stream", license.clone())).await;
    let script = media::route(&origin, "").upstream("/license", &server.url(), "authority = \"home\"");
    let stage = script.limits("body-max = \"1MiB\"").start().await;
    let (path, _) = media::begin(&stage, "tv", "/media/main.m3u8").await;
    let folder = path.rsplit_once('/').unwrap().0.to_owned();
    let playlist = async |name: &str| media::fetch(&stage, "tv", &format!("{folder}/{name}.m3u8")).await;
    let phone = stage.stranger().with("x-device-id", "phone");
    let call = async |bytes: usize| {
        let challenge = widevine_new("video");
        // The tag and the length of the field that fills it up.
        let body = [&challenge[..], &drm::l(99, vec![0; bytes - challenge.len() - 5])].concat();
        assert_eq!(body.len(), bytes);
        phone.post(body).await
    };
    assert!(playlist("large").await.is_good() && call(APART_BYTES).await.is_good());

    let free = take_all(&stage.tasks).await;
    let busy = playlist("large").await;
    assert_eq!(busy.error(), (503, "overloaded".to_owned()));
    assert_eq!(stage.metric("manifests_unfit_total", &["fault=\"busy\""]).await, 1.0);
    assert_eq!(stage.metric("media_requests_total", &["kind=\"manifest\"", "outcome=\"failed\""]).await, 1.0);
    let small = playlist("small").await;
    assert!(small.is_good() && small.text().contains(&format!("{}/~h/", folder.split("/vod").next().unwrap())));
    assert_eq!(call(APART_BYTES).await.error(), (403, "overloaded".to_owned()));
    assert!(call(APART_BYTES - 1).await.is_good());
    // Operators' lists are made elsewhere.
    assert_eq!(stage.sessions().await.len(), 2);

    drop(free);
    stage.eventually("edited again", async || playlist("large").await.is_good()).await;
    assert!(call(APART_BYTES).await.is_good());
    stage.end().await;
}

/// Asks without the runtime: the thread of the caller does nothing else meanwhile.
fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    let read = stream.read_to_string(&mut reply);
    assert!(read.is_ok(), "{path} is not answered while the thread that beats does something else: {read:?}");
    reply
}

/// The test's own thread is the one that beats, and it does nothing but wait here.
#[tokio::test(flavor = "current_thread")]
async fn operators_and_players_are_answered_while_the_thread_that_beats_is_held_up() {
    let stage = Stage::widevine().start().await;
    let tv = stage.player("tv", "news").await;
    assert!(tv.license("video").await.is_good());
    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/v1/authorities",
        "/v1/sessions",
        "/v1/sessions?device=tv",
        "/v1/calls",
        "/v1/configuration",
        "/",
    ] {
        let reply = ask(stage.admin, path);
        assert!(reply.starts_with("HTTP/1.1 200 "), "{path}: {reply}");
    }
    assert!(ask(stage.proxy, "/nowhere").starts_with("HTTP/1.1 404 "), "players have threads of their own");
    stage.end().await;
}
