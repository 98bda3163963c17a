//! A folder with a configuration and a journal, before a head-end in this process. The restart tests start their
//! proxies in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Output;

use http::{Method, Request};
use serde_json::Value;
use sidebeat::task::{DeadTasks, Tasks};
use sidebeat_simulator::{Options, SimulatedHeadend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::headend::FarSide;
use crate::process::{CLEARKEY, Proxy, sidebeat};
use crate::web::{self, Reply};

/// A folder with a configuration, and what it points at.
pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) headend: FarSide,
    _deaths: DeadTasks,
}

impl Home {
    /// `heartbeat` in seconds; `on_exit` and `authority` as the configuration says them.
    pub(crate) async fn new(heartbeat: f64, on_exit: &str, embedded: bool) -> Self {
        let (tasks, deaths) = Tasks::new();
        let mut options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
        options.settings.heartbeat = heartbeat;
        options.settings.limit = 1000;
        let (bound, serve) = SimulatedHeadend::bind(options, tasks.clone()).await.unwrap();
        tasks.spawn(serve);
        let base = format!("http://{}/DEMO", bound.address);
        // The head-end's own license server wants a session of the head-end's.
        let license = match embedded {
            true => format!("http://{}/", anything_goes(&tasks).await),
            false => format!("{base}/ckls/contentlicenseservice/v1/licenses"),
        };
        let authority = if embedded {
            "kind = \"embedded\"\naccount = [\"header:x-account\"]\nsessions-per-account = 1".to_owned()
        } else {
            format!("kind = \"nagra-ssm\"\nurl = \"{base}/ssm\"")
        };
        let config = format!(
            "[server]\nlisten = []\nlisten-plain = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [store]\nkind = \"journal\"\non-exit = \"{on_exit}\"\n\
             [[authority]]\nname = \"far\"\n{authority}\n\
             [[route]]\npath = \"/license\"\nauthority = \"far\"\nsession-control = \"always\"\ndevice = [\"header:x-device-id\"]\n\
             license-server = \"{license}\"\n\
             [[route]]\npath = \"/widevine\"\nauthority = \"far\"\ndevice = [\"header:x-device-id\"]\n\
             license-server = \"{base}/wvls/contentlicenseservice/v1/licenses\"\n"
        );
        let home = Self::furnished(&config, FarSide { address: bound.address, tasks }, deaths);
        // A beat whose answer was lost with the process is repeated with the previous token.
        home.headend.settings(serde_json::json!({ "accept_previous": true })).await;
        home
    }

    /// FirstLight, with every route that a playback of it may need; beats every second. The head-end's own
    /// channel is the content.
    pub(crate) async fn firstlight() -> Self {
        let (tasks, deaths) = Tasks::new();
        let mut options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
        let license = format!("http://{}/", anything_goes(&tasks).await);
        options.settings.firstlight.frequency_ms = Some(1000);
        options.settings.firstlight.license_url = Some(license.clone());
        let (bound, serve) = SimulatedHeadend::bind(options, tasks.clone()).await.unwrap();
        tasks.spawn(serve);
        let base = format!("http://{}", bound.address);
        let config = format!(
            "[server]\nlisten = []\nlisten-plain = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [store]\nkind = \"journal\"\n\
             [[authority]]\nname = \"far\"\nkind = \"firstlight\"\n\
             heartbeat-url = \"{base}/DEMO/fl/\"\nstream-concurrency-url = \"{base}/DEMO/fl/\"\n\
             [[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthority = \"far\"\n\
             authorize-url = \"{base}/DEMO/fl/media/content/authorize\"\n\
             license-route = \"/license\"\nmedia-route = \"/media\"\n\
             [[route]]\nkind = \"media\"\npath = \"/media\"\nauthority = \"far\"\norigin = \"{base}/live\"\n\
             [[route]]\npath = \"/license\"\nauthority = \"far\"\nlicense-server = \"{license}\"\n"
        );
        let home = Self::furnished(&config, FarSide { address: bound.address, tasks }, deaths);
        let content = format!("{base}/live/main.m3u8");
        home.headend.settings(serde_json::json!({ "firstlight": { "content_url": content } })).await;
        home
    }

    fn furnished(config: &str, headend: FarSide, deaths: DeadTasks) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { folder, headend, _deaths: deaths }
    }

    /// Nothing expires: a process that is killed repeatedly on a busy machine may not beat.
    pub(crate) async fn without_expiry(self) -> Self {
        self.headend.settings(serde_json::json!({ "grace": 600 })).await;
        self.far("grace = \"10m\"")
    }

    /// Running playbacks continue, and the head-end soon lets them expire.
    pub(crate) async fn on_credit(self) -> Self {
        self.headend.settings(serde_json::json!({ "grace": 0.2 })).await;
        self.far("grace = \"200ms\"\ntimeout = \"300ms\"\non-unreachable = { running = \"10m\" }")
    }

    /// Bookmarks are recorded, sessions stay when the process ends, and no beat comes for a minute.
    pub(crate) async fn bookmarked(self) -> Self {
        self.headend.settings(serde_json::json!({ "firstlight": { "frequency_ms": 60_000 } })).await;
        let file = self.folder.path().join("config.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        let config = config.replace("kind = \"journal\"", "kind = \"journal\"\non-exit = \"keep\"");
        let config = config.replace("kind = \"firstlight\"", "kind = \"firstlight\"\nrecord-bookmark = true");
        std::fs::write(file, config).unwrap();
        self
    }

    /// An authority for which a device is one session.
    pub(crate) fn counting_devices(self) -> Self {
        let file = self.folder.path().join("config.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, config.replace("name = \"far\"", "name = \"far\"\nunit = \"device\"")).unwrap();
        self
    }

    /// More of the head-end's configuration.
    fn far(self, lines: &str) -> Self {
        let file = self.folder.path().join("config.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, config.replace("kind = \"nagra-ssm\"", &format!("kind = \"nagra-ssm\"\n{lines}")))
            .unwrap();
        self
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("sidebeat.redb")
    }

    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::start(&self.folder.path().join("config.toml"))
    }

    pub(crate) fn run(&self, command: &str) -> Output {
        sidebeat().args([command, "-c"]).arg(self.folder.path().join("config.toml")).output().unwrap()
    }

    pub(crate) async fn token(&self, device: &str, content: &str) -> String {
        self.headend.token(&format!("account={device}&device={device}&content={content}")).await
    }

    pub(crate) async fn license(&self, proxy: &Proxy, device: &str, token: &str) -> Option<Reply> {
        proxy.post("/license", device, token).await
    }
}

/// A license server that gives every caller the same reply.
async fn anything_goes(tasks: &Tasks) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let mut there = 0;
            while !request[..there].ends_with(CLEARKEY.as_bytes()) {
                match stream.read(&mut request[there..]).await {
                    Ok(count) if count > 0 => there += count,
                    Ok(_) | Err(_) => break,
                }
            }
            let license = r#"{"keys":[{"kty":"oct","kid":"LwVHf8JLtPrv2GUXFW2v_A","k":"MDEyMzQ1Njc4OWFiY2RlZg"}]}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", license.len());
            let _gone = stream.write_all((head + license).as_bytes()).await;
        }
    });
    address
}

impl Proxy {
    /// Has it read its configuration again.
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
        self.says("configuration reloaded");
    }

    pub(crate) async fn post(&self, path: &str, device: &str, token: &str) -> Option<Reply> {
        let request = Request::builder().method(Method::POST).uri(path).header("host", "localhost");
        let request = request.header("nv-authorizations", token).header("x-device-id", device);
        let request = request.header("x-account", "ann");
        web::send(self.players, None, request.body(CLEARKEY.into()).unwrap()).await.ok()
    }

    /// Any request to the players' listener.
    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let reply = web::send(self.players, None, request.body(body.to_owned().into()).unwrap()).await;
        reply.unwrap_or_else(|_| panic!("the proxy is gone"))
    }

    pub(crate) async fn admin(&self, method: Method, path: &str) -> Value {
        self.ask_admin(method, path).await.unwrap().json()
    }

    /// The rows of the sessions, in order.
    pub(crate) async fn sessions(&self) -> Vec<Value> {
        self.admin(Method::GET, "/v1/sessions").await["sessions"].as_array().unwrap().clone()
    }
}
