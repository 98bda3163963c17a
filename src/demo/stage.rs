//! Builds the demo's parts, bound and connected.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::DemoFault;
use crate::app::App;
use crate::config;
use crate::headend::{EmbeddedFile, Options, SimulatedHeadend};
use crate::task::Tasks;

/// Preferred ports, so that the addresses stay the same. Taken ones are replaced by any others.
const HEADEND_PORT: u16 = 9200;
const PROXY_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9180;

const DEMO_PAGE_HTML: &str = include_str!("page.html");

macro_rules! asset {
    ($name:literal, $media_type:literal) => {
        EmbeddedFile {
            bytes: include_bytes!(concat!("asset/", $name)),
            media_type: $media_type,
            path: concat!("/demo/asset/", $name),
        }
    };
}

const ASSET: [EmbeddedFile; 7] = [
    asset!("a.m3u8", "application/vnd.apple.mpegurl"),
    asset!("a.mp4", "audio/mp4"),
    asset!("ck.mpd", "application/dash+xml"),
    asset!("main.m3u8", "application/vnd.apple.mpegurl"),
    asset!("manifest.mpd", "application/dash+xml"),
    asset!("v.m3u8", "application/vnd.apple.mpegurl"),
    asset!("v.mp4", "video/mp4"),
];

pub(super) struct DemoStage {
    pub(super) admin: String,
    app: App,
    pub(super) headend: String,
    pub(super) license: String,
    options: Options,
}

impl DemoStage {
    pub(super) async fn build(heartbeat: f64) -> Result<Self, DemoFault> {
        let headend_address = free(HEADEND_PORT)?;
        let headend = format!("http://{headend_address}");
        let config = configuration(&headend, free(PROXY_PORT)?, free(ADMIN_PORT)?)?;
        let app = App::build(config).await?;
        let proxy = app.addresses().first().map(|bound| bound.address.to_string()).unwrap_or_default();
        let license = format!("http://{proxy}/license");
        let admin = app.admin_address().map(|address| format!("http://{address}")).unwrap_or_default();
        let mut options = Options::new(headend_address);
        options.settings.heartbeat = heartbeat;
        options.embeds = embeds(&json!({ "license": license, "headend": headend, "admin": admin }).to_string());
        Ok(Self { admin, app, headend, license, options })
    }

    /// Runs the proxy and the head-end until `story` ends. `None` if a signal came first.
    pub(super) async fn run<T>(self, story: impl Future<Output = T>) -> Result<Option<T>, DemoFault> {
        let (tasks, _deaths) = Tasks::new();
        let (_bound, serve) = SimulatedHeadend::bind(self.options, tasks.clone()).await?;
        tasks.spawn(serve);
        let mut told = None;
        let ended = self.app.run(async { told = Some(story.await) }).await;
        tasks.stop();
        tasks.drain(Duration::from_secs(1)).await;
        ended?;
        Ok(told)
    }
}

fn configuration(headend: &str, proxy: SocketAddr, admin: SocketAddr) -> Result<config::Config, DemoFault> {
    let text = format!(
        r#"
        [server]
        listen = []
        listen-plain = ["{proxy}"]
        [admin]
        listen = "{admin}"
        origins = ["{headend}"]
        [[authority]]
        name = "head-end"
        kind = "nagra-ssm"
        url = "{headend}/DEMO/ssm"
        tenant = "DEMO"
        [[route]]
        path = "/license"
        authority = "head-end"
        license-server = "{headend}/DEMO/ckls/contentlicenseservice/v1/licenses"
        "#
    );
    config::parse(&text, Path::new("."), std::iter::empty()).map_err(DemoFault::Config)
}

/// Embeds the page with its addresses; leaked, because it lives as long as the process.
fn embeds(page_config: &str) -> &'static [EmbeddedFile] {
    let page: &'static str = DEMO_PAGE_HTML.replace("{{config}}", page_config).leak();
    let mut embeds =
        vec![EmbeddedFile { bytes: page.as_bytes(), media_type: "text/html; charset=utf-8", path: "/demo/" }];
    embeds.extend(ASSET);
    embeds.leak()
}

/// A free port. It may be taken before its use; then binding fails.
fn free(preferred: u16) -> Result<SocketAddr, DemoFault> {
    let try_port = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    try_port(preferred).or_else(|_| try_port(0)).map_err(DemoFault::Port)
}
