//! The stage: one proxy, one head-end, and the players of a test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use sidebeat::app::{App, AppFault, ConfigReloader};
use sidebeat::config;
use sidebeat::task::{DeadTasks, Tasks};
use sidebeat_simulator::{Options, Settings, SimulatedHeadend};
use tokio::sync::oneshot;

use crate::headend::FarSide;
use crate::player::Player;
use crate::web::{self, Reply};

/// Limit for each wait, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The script of a stage.
pub(crate) struct Script {
    authority: String,
    folder: PathBuf,
    limits: String,
    listen: String,
    routes: Vec<(String, String, String)>,
    server: String,
    settings: Settings,
    tables: String,
}

pub(crate) struct Stage {
    pub(crate) headend: FarSide,
    pub(crate) admin: SocketAddr,
    ended: oneshot::Receiver<Result<(), AppFault>>,
    pub(crate) proxy: SocketAddr,
    reload: Arc<ConfigReloader>,
    stop: oneshot::Sender<()>,
    /// The proxy's own.
    pub(crate) tasks: Tasks,
    _deaths: [DeadTasks; 1],
}

impl Script {
    /// Seconds between beats, as long as a test needs and shorter than the wire could say in whole ones.
    pub(crate) fn heartbeat(self, seconds: f64) -> Self {
        self.settings(|settings| {
            settings.heartbeat = seconds;
            settings.heartbeat_json = Some(seconds.into());
        })
    }

    /// Changes the settings of the head-end.
    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Lines for `[[authority]]`.
    pub(crate) fn authority(mut self, lines: &str) -> Self {
        self.authority = lines.to_owned();
        self
    }

    /// Lines for `[server.limits]`.
    pub(crate) fn limits(mut self, lines: &str) -> Self {
        self.limits = lines.to_owned();
        self
    }

    /// Lines for `[server]`, and for the tables below it.
    pub(crate) fn server(mut self, lines: &str) -> Self {
        self.server = lines.to_owned();
        self
    }

    /// HTTPS alone, with the certificates in that folder.
    pub(crate) fn secure(mut self, folder: PathBuf) -> Self {
        self.folder = folder;
        self.listen = "listen = [\"127.0.0.1:0\"]\nlisten-plain = []".to_owned();
        self
    }

    /// A route to the head-end's license server for this DRM system.
    pub(crate) fn route(self, path: &str, system: &str, lines: &str) -> Self {
        let service = match system {
            "clearkey" => "ckls",
            "fairplay" => "fpls",
            "playready" => "prls",
            "widevine" => "wvls",
            _ => panic!("no system {system}"),
        };
        let server = format!("{{headend}}/DEMO/{service}/contentlicenseservice/v1/licenses");
        self.upstream(path, &server, &format!("authority = \"head-end\"\n{lines}"))
    }

    /// A route to any license server; says itself which authority it has.
    pub(crate) fn upstream(mut self, path: &str, server: &str, lines: &str) -> Self {
        self.routes.push((path.to_owned(), server.to_owned(), lines.to_owned()));
        self
    }

    /// Tables of the configuration, as they stand.
    pub(crate) fn tables(mut self, text: &str) -> Self {
        self.tables.push_str(text);
        self
    }

    pub(crate) async fn start(self) -> Stage {
        let mut options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
        options.settings = self.settings.clone();
        let (tasks, deaths) = Tasks::new();
        let (bound, serve) = SimulatedHeadend::bind(options, tasks.clone()).await.unwrap();
        tasks.spawn(serve);
        let text = self.config(bound.address);
        let config = config::parse(&text, &self.folder, std::iter::empty());
        let app = App::build(config.unwrap_or_else(|faults| panic!("{faults}\n{text}"))).await.unwrap();
        keep_panics_readable();
        let (proxy, admin) = (app.addresses()[0].address, app.admin_address().unwrap());
        let (reload, app_tasks) = (app.reload(), app.tasks());
        let (stop, stopped) = oneshot::channel();
        let (tell, ended) = oneshot::channel();
        tasks.spawn(async move {
            let told = app.run(async { drop(stopped.await) }).await;
            // A test that failed does not listen any more.
            let _gone = tell.send(told);
        });
        let headend = FarSide { address: bound.address, tasks };
        let stage = Stage { headend, admin, ended, proxy, reload, stop, tasks: app_tasks, _deaths: [deaths] };
        stage.eventually("ready", async || stage.ask(Method::GET, "/readyz").await.is_good()).await;
        stage
    }

    fn config(&self, headend: SocketAddr) -> String {
        let Self { authority, limits, listen, server, tables, .. } = self;
        let route = |(path, server, lines): &(String, String, String)| {
            format!("[[route]]\npath = \"{path}\"\nlicense-server = \"{server}\"\n{lines}\n")
        };
        let routes: String = self.routes.iter().map(route).collect();
        let text = format!(
            "[server]\n{listen}\nworkers = 1\n{server}\n[server.limits]\nnew-connections-per-address = 100000\n{limits}\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [[authority]]\nname = \"head-end\"\nkind = \"nagra-ssm\"\n\
             url = \"{{headend}}/DEMO/ssm\"\ntenant = \"DEMO\"\n{authority}\n{routes}\n{tables}"
        );
        text.replace("{headend}", &format!("http://{headend}"))
    }
}

impl Stage {
    /// A head-end with beats that no test waits for, and no route yet.
    pub(crate) fn script() -> Script {
        Script {
            authority: String::new(),
            folder: PathBuf::from("."),
            limits: String::new(),
            listen: "listen = []\nlisten-plain = [\"127.0.0.1:0\"]".to_owned(),
            routes: Vec::new(),
            server: String::new(),
            settings: Settings::default(),
            tables: String::new(),
        }
    }

    /// A Widevine route at `/license`.
    pub(crate) fn widevine() -> Script {
        Self::script().route("/license", "widevine", "")
    }

    /// A ClearKey route at `/license`.
    pub(crate) fn clearkey() -> Script {
        Self::script().route("/license", "clearkey", "")
    }

    /// A device of the account `ann` that is about to play `content`.
    pub(crate) async fn player(&self, device: &str, content: &str) -> Player {
        self.player_of("ann", device, content).await
    }

    pub(crate) async fn player_of(&self, account: &str, device: &str, content: &str) -> Player {
        let token = self.headend.token(&format!("account={account}&device={device}&content={content}")).await;
        self.player_with(device, &token)
    }

    /// A device with a token that is at hand.
    pub(crate) fn player_with(&self, device: &str, token: &str) -> Player {
        let headers = [("nv-authorizations", token), ("x-device-id", device)];
        Player {
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            path: "/license".to_owned(),
            proxy: self.proxy,
            tls: None,
            token: token.to_owned(),
        }
    }

    /// Gives the proxy the configuration of another script while it runs; it must take it.
    pub(crate) fn reload(&self, script: &Script) {
        let text = script.config(self.headend.address);
        assert!(self.reload_text(&text), "not taken:\n{text}");
    }

    /// True if it was taken.
    pub(crate) fn reload_text(&self, text: &str) -> bool {
        self.reload.take(config::parse(text, &PathBuf::from("."), std::iter::empty()))
    }

    /// A caller without device and token.
    pub(crate) fn stranger(&self) -> Player {
        Player {
            headers: BTreeMap::new(),
            path: "/license".to_owned(),
            proxy: self.proxy,
            tls: None,
            token: String::new(),
        }
    }

    /// A call to the admin listener.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Reply {
        let request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        let reply = web::send(self.admin, None, request.body(Default::default()).unwrap()).await;
        reply.unwrap_or_else(|_| panic!("the admin listener is gone"))
    }

    /// Like [`Self::ask`], with a JSON body.
    pub(crate) async fn tell(&self, method: Method, path: &str, body: &Value) -> Reply {
        let request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        let reply = web::send(self.admin, None, request.body(body.to_string().into()).unwrap()).await;
        reply.unwrap_or_else(|_| panic!("the admin listener is gone"))
    }

    pub(crate) async fn sessions(&self) -> Vec<Value> {
        let list = self.ask(Method::GET, "/v1/sessions").await.json();
        list["sessions"].as_array().unwrap().clone()
    }

    /// The sessions by one of their fields.
    pub(crate) async fn each(&self, field: &str) -> Vec<String> {
        let text = |row: &Value| row[field].as_str().map_or_else(|| row[field].to_string(), str::to_owned);
        self.sessions().await.iter().map(text).collect()
    }

    /// The state of the session of this device, which has no other.
    pub(crate) async fn state_of(&self, device: &str) -> String {
        let rows = self.sessions().await;
        let row = rows.iter().find(|row| row["device"] == device).unwrap_or_else(|| panic!("none of {device}"));
        row["state"].as_str().unwrap().to_owned()
    }

    /// Waits until there is exactly one session, in that state; returns it with its timeline.
    pub(crate) async fn only_session(&self, state: &str) -> Value {
        self.eventually(state, async || self.each("state").await == [state]).await;
        let id = self.each("id").await.remove(0);
        self.ask(Method::GET, &format!("/v1/sessions/{id}")).await.json()
    }

    /// The sum of a metric over all its lines with these labels (`reason="killed"`). A label that the
    /// metric does not have is a mistake of the test.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.ask(Method::GET, "/metrics").await.text();
        let lines = page.lines().filter_map(|line| line.strip_prefix("sidebeat_")?.strip_prefix(name));
        let lines: Vec<_> = lines.filter(|rest| rest.starts_with(['{', ' '])).collect();
        for key in labels.iter().map(|label| label.split('=').next().unwrap()) {
            assert!(lines.iter().all(|rest| rest.contains(&format!("{key}=\""))), "{name} has no label {key}");
        }
        let fits = lines.iter().filter(|rest| labels.iter().all(|label| rest.contains(label)));
        fits.fold(0.0, |sum, rest| sum + rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    }

    /// Waits for what only the proxy itself can tell, and tells when asked.
    pub(crate) async fn eventually(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let asking = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, asking).await.is_err() {
            panic!("never {what}; sessions: {:#?}", self.sessions().await);
        }
    }

    /// Ends the proxy as SIGTERM would, and checks what holds of every story.
    pub(crate) async fn end(self) {
        let books = self.end_leaving_some_open().await;
        assert_eq!(books["open"], Value::Array(Vec::new()), "sessions are left open");
    }

    /// Like [`Self::end`], for scripts that make the proxy lose a session.
    pub(crate) async fn end_leaving_some_open(self) -> Value {
        let books = self.finish().await;
        assert_eq!(books["counters"]["overlaps"], 0, "two calls of one session at once");
        books
    }

    /// Ends the proxy as SIGTERM would; gives the head-end's books after it.
    pub(crate) async fn finish(self) -> Value {
        drop(self.stop);
        match tokio::time::timeout(PATIENCE, self.ended).await {
            Ok(ended) => ended.unwrap().unwrap(),
            Err(_) => panic!("the proxy does not end"),
        }
        let books = self.headend.books().await;
        self.headend.shut_down();
        books
    }
}

/// The proxy's own hook hides what a panic says; a test's must be read.
#[expect(clippy::print_stdout, reason = "which the harness shows for a test that fails")]
fn keep_panics_readable() {
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
}
