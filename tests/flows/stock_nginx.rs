//! A stock nginx before the license server and the session service: HTTP/2 with a connection that it gives up after
//! every 100 requests. Not one call may be lost by that.
//!
//! `tests/run.sh` installs nginx. Where there is none, the test says so and passes, unless `STOCK_NGINX=required`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidebeat::headend::{Headend, Options, Settings};
use sidebeat::task::Tasks;
use tokio::task::JoinSet;

use crate::headend::FarSide;
use crate::player::CLEARKEY;
use crate::stage::Stage;
use crate::upstream::nobody;

const CALLS: usize = 6_000;
const AT_ONCE: usize = 24;
/// License calls of one session: most calls to the session service are opens.
const CALLS_OF_A_SESSION: usize = 4;

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Nginx {
    /// With a certificate of its own, before what listens at `behind`.
    fn start(folder: &Path, at: SocketAddr, behind: SocketAddr) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log warn;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
               access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
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
async fn a_stock_nginx_that_gives_up_a_connection_every_100_requests_costs_nobody_a_license() {
    if there_is_none() {
        return;
    }
    let (tasks, _deaths) = Tasks::new();
    let mut options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
    options.settings = Settings { limit: 100_000, ..Settings::default() };
    let (bound, serve) = Headend::bind(options, tasks.clone()).await.unwrap();
    tasks.spawn(serve);
    let far = FarSide { address: bound.address, tasks };
    let (folder, at) = (tempfile::tempdir().unwrap(), nobody().await);
    let _nginx = Nginx::start(folder.path(), at, far.address);

    let ca = format!("ca = \"{}\"", folder.path().join("cert.pem").display());
    let urls = ["setup", "heartbeat", "teardown"];
    let urls = urls.map(|call| format!("{call}-url = \"https://{at}/DEMO/ssm/v1/sessions/{call}\"\n")).concat();
    let license = format!("https://{at}/DEMO/ckls/contentlicenseservice/v1/licenses");
    let lines = format!("authority = \"head-end\"\n{ca}\nretry-unreachable = false\nretry-gateway-errors = \"none\"");
    let script = Stage::script().upstream("/license", &license, &lines);
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
            }
        });
    }
    let refused = watching.join_all().await.concat();
    let opens = CALLS / CALLS_OF_A_SESSION;
    assert!(refused.is_empty(), "{} of {CALLS} and {opens} opens: {:?}", refused.len(), refused.first());
    stage.end().await;
    far.shut_down();
}
