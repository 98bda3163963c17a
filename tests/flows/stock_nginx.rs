//! Tests a stock nginx before the license server and the session service: HTTP/2 connections that it closes after every
//! 100 requests. Not one call may be lost.
//!
//! `tests/run.sh` installs nginx. Without it, the test says so and passes, unless `STOCK_NGINX=required`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use sidebeat::task::Tasks;
use sidebeat_simulator::{Options, Settings, SimulatedHeadend};
use tokio::task::JoinSet;

use crate::headend::FarSide;
use crate::player::{CLEARKEY, Player};
use crate::stage::Stage;
use crate::upstream::nobody;

const CALLS: usize = 6_000;
const AT_ONCE: usize = 24;
/// License calls of one session: most calls to the session service are opens.
const CALLS_OF_A_SESSION: usize = 4;

/// One in so many sessions also streams, and renews.
const CALLS_OF_A_STREAM: usize = 40;
/// Limit in the configuration of nginx.
const CALLS_OF_A_CONNECTION: usize = 100;

struct Nginx(Child);

/// Number of calls on each connection, as nginx logged it.
fn calls_by_connection(log: &str) -> BTreeMap<&str, usize> {
    let mut connections = BTreeMap::new();
    for line in log.lines() {
        let [protocol, connection, _, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!(protocol, "HTTP/2.0", "{line}");
        *connections.entry(connection).or_default() += 1;
    }
    connections
}

/// A title through the media route: its playlists and a segment of it.
async fn stream(anybody: &Player, device: &str) {
    let viewer = anybody.clone().with("x-device-id", device);
    let get = async |path: &str| viewer.clone().at(path).post("").method(Method::GET).await;
    let mut path = get("/media/main.m3u8").await.header("location").to_owned();
    loop {
        let reply = get(&path).await;
        assert!(reply.is_good(), "{path}: {} {}", reply.status, reply.text());
        if !reply.body.starts_with(b"#EXTM3U") {
            return;
        }
        let text = reply.text();
        let next = text.lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
        let folder = path.rsplit_once('/').unwrap().0;
        path = if next.starts_with('/') { next.to_owned() } else { format!("{folder}/{next}") };
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Nginx {
    /// Starts nginx with a certificate of its own, before the server at `behind`.
    fn start(folder: &Path, at: SocketAddr, behind: SocketAddr) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log warn;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
               log_format calls '$server_protocol $connection $connection_requests $request_uri';\n\
               access_log calls.log calls; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
               uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
               upstream far {{ server {behind}; keepalive 32; }}\n\
               server {{\n\
                 listen {at} ssl http2; ssl_certificate cert.pem; ssl_certificate_key key.pem; keepalive_requests 100;\n\
                 location / {{ proxy_pass http://far; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
               }}\n\
             }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), text).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn there_is_none() -> bool {
    let found = Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(found || std::env::var("STOCK_NGINX").is_err(), "nginx is required, and is not installed");
    if !found {
        println!("skipped: nginx is not installed (apt-get install nginx)");
    }
    !found
}

#[tokio::test]
async fn a_stock_nginx_that_closes_a_connection_every_100_requests_costs_no_license() {
    if there_is_none() {
        return;
    }
    let (tasks, _deaths) = Tasks::new();
    let mut options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
    options.settings = Settings { limit: 100_000, ..Settings::default() };
    let (bound, serve) = SimulatedHeadend::bind(options, tasks.clone()).await.unwrap();
    tasks.spawn(serve);
    let far = FarSide { address: bound.address, tasks };
    let (folder, at) = (tempfile::tempdir().unwrap(), nobody().await);
    let _nginx = Nginx::start(folder.path(), at, far.address);

    let ca = format!("ca = \"{}\"", folder.path().join("cert.pem").display());
    let urls = ["setup", "heartbeat", "teardown"];
    let urls = urls.map(|call| format!("{call}-url = \"https://{at}/DEMO/ssm/v1/sessions/{call}\"\n")).concat();
    let urls = format!("{urls}renewal-url = \"https://{at}/DEMO/ssm/v1/renewal-license-wv\"\n");
    let license = format!("https://{at}/DEMO/ckls/contentlicenseservice/v1/licenses");
    let lines = format!("authority = \"head-end\"\n{ca}\nretry-unreachable = false\nretry-gateway-errors = \"none\"");
    let widevine = license.replace("ckls", "wvls");
    let media = format!("[[route]]\nkind = \"media\"\npath = \"/media\"\norigin = \"https://{at}/slate\"\n{ca}\n");
    let script = Stage::script().upstream("/license", &license, &lines).upstream("/widevine", &widevine, &lines);
    let script = script.tables(&media);
    let stage = script.authority(&format!("timeout = \"4s\"\n{urls}{ca}")).start().await;

    // nginx is there when it answers; its start is not what is tried here.
    let first = stage.player_with("first", &far.token("account=ann&device=first&content=news").await);
    stage.eventually("nginx is there", async || first.post(CLEARKEY).await.is_good()).await;
    let (begun, far, anybody) = (Arc::new(AtomicUsize::new(0)), Arc::new(far), stage.stranger());
    let mut watching = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (begun, far, anybody) = (begun.clone(), far.clone(), anybody.clone());
        watching.spawn(async move {
            let mut refused = Vec::new();
            loop {
                let number = begun.fetch_add(CALLS_OF_A_SESSION, Ordering::Relaxed);
                if number >= CALLS {
                    return refused;
                }
                let device = format!("device-{number}");
                let token = far.token(&format!("account=ann&device={device}&content=news")).await;
                let player = anybody.clone().with("nv-authorizations", &token).with("x-device-id", &device);
                for _ in 0..CALLS_OF_A_SESSION {
                    let reply = player.post(CLEARKEY).await;
                    refused.extend((!reply.is_good()).then(|| reply.text()));
                }
                if number % CALLS_OF_A_STREAM == 0 {
                    let (device, renews) = (format!("renews-{number}"), player.at("/widevine"));
                    let token = far.token(&format!("account=ann&device={device}&content=news")).await;
                    let renews = renews.with("nv-authorizations", &token).with("x-device-id", &device);
                    for call in [renews.license("video"), renews.renew("video"), renews.renew("video")] {
                        let reply = call.await;
                        refused.extend((!reply.is_good()).then(|| reply.text()));
                    }
                    stream(&anybody, &device).await;
                }
            }
        });
    }
    let refused = watching.join_all().await.concat();
    let opens = CALLS / CALLS_OF_A_SESSION;
    assert!(refused.is_empty(), "{} of {CALLS} and {opens} opens: {:?}", refused.len(), refused.first());
    stage.end().await;
    far.shut_down();
    let log = std::fs::read_to_string(folder.path().join("calls.log")).unwrap();
    let connections = calls_by_connection(&log);
    let given_up = connections.values().filter(|calls| **calls >= CALLS_OF_A_CONNECTION).count();
    assert!(
        given_up >= CALLS / CALLS_OF_A_CONNECTION / 2,
        "{given_up} of {} connections were given up",
        connections.len()
    );
    for path in ["/renewal-license-wv", "/setup", "/wvls/", "/ckls/", "/slate/main.m3u8"] {
        assert!(log.matches(path).count() >= CALLS / CALLS_OF_A_STREAM, "{path} went through nginx");
    }
}
