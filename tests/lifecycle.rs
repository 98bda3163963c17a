//! Tests the built program from its command line: exit codes, files, signals.
//!
//! The proxy is a process of its own before a head-end in this one, so its signals and its end are real.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the helpers of tests may fail them")]

#[path = "support/headend.rs"]
mod headend;
#[path = "support/process.rs"]
mod process;
#[path = "support/web.rs"]
mod web;

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use sidebeat::task::{DeadTasks, Tasks};
use sidebeat_simulator::{Options, SimulatedHeadend};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use headend::FarSide;
use process::{CLEARKEY, Proxy, eventually, sidebeat};
use web::Reply;

fn run(arguments: &[&str]) -> Output {
    sidebeat().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Proxy {
    /// `None` if the proxy no longer listens.
    async fn get(&self, path: &str) -> Option<Reply> {
        self.ask_admin(Method::GET, path).await.ok()
    }

    fn sessions(&self, words: &[&str]) -> Output {
        run(&[&["sessions"], words, &["--admin", &format!("http://{}", self.admin)]].concat())
    }
}

/// A head-end in this process and a folder with a configuration that points at it.
struct Home {
    folder: tempfile::TempDir,
    headend: FarSide,
    _deaths: DeadTasks,
}

impl Home {
    async fn new(server: &str) -> Self {
        let (tasks, deaths) = Tasks::new();
        let options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
        let (bound, serve) = SimulatedHeadend::bind(options, tasks.clone()).await.unwrap();
        tasks.spawn(serve);
        let folder = tempfile::tempdir().unwrap();
        let base = format!("http://{}/DEMO", bound.address);
        let config = format!(
            "[server]\n{server}\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [[authority]]\nname = \"head-end\"\nkind = \"nagra-ssm\"\nurl = \"{base}/ssm\"\n\
             [[route]]\npath = \"/license\"\nauthority = \"head-end\"\n\
             license-server = \"{base}/ckls/contentlicenseservice/v1/licenses\"\n"
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { folder, headend: FarSide { address: bound.address, tasks }, _deaths: deaths }
    }

    async fn plain() -> Self {
        Self::new("listen = []\nlisten-plain = [\"127.0.0.1:0\"]").await
    }

    async fn secure() -> Self {
        Self::new("listen = [\"127.0.0.1:0\"]\nlisten-plain = []").await
    }

    fn proxy(&self) -> Proxy {
        Proxy::start(&self.folder.path().join("config.toml"))
    }

    fn certificates(&self) -> std::path::PathBuf {
        self.folder.path().join("certs")
    }

    /// Trusts only the CA in the folder.
    fn client(&self) -> Arc<ClientConfig> {
        web::trusting(&self.certificates().join("ca.pem"))
    }

    async fn license(&self) -> Request<Full<Bytes>> {
        self.license_with(&self.headend.token("account=ann&device=tv&content=news").await)
    }

    fn license_with(&self, token: &str) -> Request<Full<Bytes>> {
        let request = Request::builder().method(Method::POST).uri("/license").header("host", "localhost");
        let request = request.header("nv-authorizations", token).header("x-device-id", "tv");
        request.body(CLEARKEY.into()).unwrap()
    }
}

/// A TLS connection that stays open, and the certificate that it was shown.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    shown: Vec<u8>,
}

impl Line {
    async fn open(proxy: &Proxy, home: &Home) -> Self {
        let stream = TcpStream::connect(proxy.players).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(home.client()).connect(name, stream).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        home.headend.tasks.spawn(async move {
            let _ended = connection.await;
        });
        Self { sender, shown }
    }

    async fn call(&mut self, request: Request<Full<Bytes>>) -> Value {
        let reply = self.sender.send_request(request).await.unwrap();
        assert_eq!(reply.status(), 200);
        serde_json::from_slice(&reply.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }
}

/// The kernel alone seeds the random numbers (`.cargo/config.toml`).
#[test]
fn the_built_program_measures_no_jitter() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_sidebeat")).unwrap();
    let holds = |name: &str| memchr::memmem::find(&program, name.as_bytes()).is_some();
    // A stripped program shows no names.
    assert!(holds("RAND_bytes") || option_env!("AWS_LC_SYS_NO_JITTER_ENTROPY") == Some("1"));
    assert!(!holds("jent_"), "measuring the processor's jitter takes most of a start's time");
}

#[test]
fn the_reference_configuration_is_good() {
    let checked = run(&["check"]);
    assert_eq!((checked.status.code(), text(&checked.stdout)), (Some(0), "config.toml: good\n".to_owned()));
    assert!(checked.stderr.is_empty(), "{}", text(&checked.stderr));
}

#[test]
fn a_faulty_configuration_shows_all_its_faults_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let faulty = "[server]\nworkers = -1\n[log]\nlevel = \"loud\"\n[[authority]]\nname = \"a\"\nkind = \"other\"\n\
                  [[route]]\npath = \"license\"\nlicense-server = \"https://l.example/\"\nauthority = \"b\"\ntimeot = \"1s\"\n";
    std::fs::write(&file, faulty).unwrap();
    for command in ["check", "run"] {
        let refused = run(&[command, "--config", file.to_str().unwrap()]);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{command}: {told}");
        for key in ["server.workers", "log.level", "kind", "path", "authority", "timeot"] {
            assert!(told.contains(key), "{command} says nothing of {key}:\n{told}");
        }
        assert!(told.contains("6 faults"), "{told}");
    }
    let missing = run(&["check", "-c", "no-such-file.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("does not exist"), "{}", text(&missing.stderr));
}

/// Only the default path gets a generated pair: a typing mistake must not go live self-signed.
#[test]
fn check_and_run_name_unusable_files_with_their_lines() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&folder, &other] {
        let at = folder.path().join("certs");
        assert!(run(&["certs", "init", "--dir", at.to_str().unwrap(), "localhost"]).status.success());
    }
    std::fs::copy(other.path().join("certs/leaf.key"), folder.path().join("certs/other.key")).unwrap();
    std::fs::write(folder.path().join("certs/rubbish.pem"), "rubbish").unwrap();
    let file = folder.path().join("config.toml");
    let rows: [(&str, &str, &[&str]); 9] = [
        ("certificate = \"certs/lief.pem\"", "", &["line 4: server.tls.certificate: cannot read"]),
        ("key = \"certs/lief.key\"", "", &["line 4: server.tls.key: cannot read"]),
        ("certificate = \"certs/a.pem\"\nkey = \"certs/a.key\"", "", &["line 4: server.tls.certificate: cannot read"]),
        ("key = \"certs/other.key\"", "", &["line 4: server.tls.key: ", "does not belong to"]),
        ("certificate = \"certs/rubbish.pem\"", "", &["line 4: server.tls.certificate: ", "holds no PEM certificate"]),
        ("certificate = \"certs/ca.pem\"", "", &["line 4: server.tls.certificate: ", "does not belong to"]),
        ("client-ca = \"certs/none.pem\"", "", &["line 4: server.tls.client-ca: cannot read"]),
        ("", "ca = \"certs/none.pem\"", &["line 8: route[0].ca: ", "cannot be read"]),
        ("", "ca = \"certs/rubbish.pem\"", &["line 8: route[0].ca: ", "holds no certificate"]),
    ];
    let write = |tls: &str, route: &str| {
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[server.tls]\n{tls}\n[[route]]\npath = \"/l\"\n\
             license-server = \"https://l.example/\"\n{route}\n[admin]\nlisten = \"127.0.0.1:0\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let before = std::fs::read_dir(folder.path().join("certs")).unwrap().count();
    for (tls, route, says) in rows {
        write(tls, route);
        for command in ["check", "run"] {
            let refused = run(&[command, "-c", file.to_str().unwrap()]);
            let told = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{command} {tls} {route}: {told}");
            assert!(says.iter().all(|words| told.contains(words)), "{command} {tls} {route}: {told}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path().join("certs")).unwrap().count(), before, "nothing is made");

    // Two that are good, and the usual place with nothing in it, which `run` fills.
    for (tls, gone) in [("", false), ("certificate = \"certs/leaf.pem\"\nkey = \"certs/leaf.key\"", false), ("", true)]
    {
        if gone {
            std::fs::remove_dir_all(folder.path().join("certs")).unwrap();
        }
        write(tls, "");
        let checked = run(&["check", "-c", file.to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    }
    std::fs::create_dir(folder.path().join("certs")).unwrap();
    std::fs::write(folder.path().join("certs/leaf.pem"), "").unwrap();
    let half = run(&["check", "-c", file.to_str().unwrap()]);
    assert!(!half.status.success() && text(&half.stderr).contains("does not"), "{}", text(&half.stderr));
}

#[test]
fn check_warns_of_settings_that_are_allowed_and_hardly_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let least = "[[route]]\npath = \"/l\"\nlicense-server = \"https://l.example/\"\n";
    let home = "[[authority]]\nname = \"home\"\nkind = \"embedded\"\n";
    let rows = [
        (format!("{least}device = [\"peer\"]\n"), Some("line 4: route[0].device: names only the peer")),
        (
            format!("{home}account = [\"header:x-account\", \"device\"]\n{least}"),
            Some("line 4: authority[0].account: falls to device"),
        ),
        (
            format!("[server]\ntrusted-proxies = [\"::/0\"]\n{least}"),
            Some("line 2: server.trusted-proxies: trusts everybody"),
        ),
        (format!("{home}{least}authority = \"home\"\n"), None),
        (format!("{least}device = [\"token-claim:device.deviceId\", \"peer\"]\n"), None),
    ];
    for (config, warning) in rows {
        std::fs::write(&file, &config).unwrap();
        let checked = run(&["check", "-c", file.to_str().unwrap()]);
        let told = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(0), "{config}");
        let first = if warning.is_some() { "good, 1 warning\n" } else { "good\n" };
        assert!(told.contains(first) && warning.is_none_or(|warning| told.contains(warning)), "{config}\n{told}");
    }
}

#[test]
fn a_wrong_usage_exits_with_two_and_says_where_the_right_one_is() {
    for arguments in
        [&["explode"][..], &["check", "--explode"], &["certs"], &["sessions", "kill"], &["headend", "--limit", "x"]]
    {
        let refused = run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(refused.stdout.is_empty() && text(&refused.stderr).contains("Try: sidebeat --help"), "{arguments:?}");
    }
    for arguments in [&[][..], &["--help"], &["run", "--help"], &["--version"]] {
        let shown = run(arguments);
        assert_eq!(shown.status.code(), Some(0), "{arguments:?}");
        assert!(text(&shown.stdout).starts_with("sidebeat") && shown.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn certificates_are_made_and_a_ca_that_is_trusted_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let init = |more: &[&str]| {
        let made = run(&[&["certs", "init", "--dir", folder.path().to_str().unwrap()], more].concat());
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        let read = |name: &str| std::fs::read(at(name)).unwrap();
        (text(&made.stdout), read("ca.pem"), read("leaf.pem"))
    };
    let (told, authority, leaf) = init(&["tv.lan", "10.0.0.1"]);
    assert!(told.contains("tv.lan, 10.0.0.1") && told.contains("new CA "), "{told}");
    for key in ["ca.key", "leaf.key"] {
        assert_eq!(std::fs::metadata(at(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }
    let (told, kept, renewed) = init(&[]);
    assert!(told.contains("localhost, 127.0.0.1, ::1") && told.contains("same CA "), "{told}");
    assert!(kept == authority && renewed != leaf);
    let (told, replaced, _) = init(&["--force"]);
    assert!(told.contains("new CA ") && replaced != authority, "{told}");
    let refused = run(&["certs", "init", "--dir", folder.path().to_str().unwrap(), "not a name"]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn the_demo_runs_on_any_free_ports() {
    // Its preferred ports are taken, here or by another process.
    let _taken = [8080, 9180, 9200].map(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let shown = run(&["demo", "--check"]);
    let story = text(&shown.stdout);
    assert_eq!(shown.status.code(), Some(0), "{story}\n{}", text(&shown.stderr));
    for step in ["license: 1 key", "refused: 403", "head-end: teardown 204", "no session is left"] {
        assert!(story.contains(step), "no {step:?} in\n{story}");
    }
}

#[tokio::test]
async fn a_fresh_folder_gets_certificates_and_serves_https() {
    let home = Home::secure().await;
    let proxy = home.proxy();
    let license = web::send(proxy.players, Some(home.client()), home.license().await).await.unwrap();
    assert_eq!(license.json()["keys"][0]["k"], "AAECAwQFBgcICQoLDA0ODw", "{}", license.text());
    // Cleartext is not for this port.
    let told = web::send(proxy.players, None, home.license().await).await.unwrap();
    assert_eq!(told.error(), (400, "plain_http".to_owned()));
    assert!(proxy.get("/metrics").await.unwrap().text().contains("sidebeat_certificate_not_after_timestamp_seconds"));
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert!(home.headend.open().await.is_empty());
}

#[tokio::test]
async fn a_hangup_signal_shows_the_new_certificate_and_cuts_no_connection() {
    let home = Home::secure().await;
    let proxy = home.proxy();
    let mut open = Line::open(&proxy, &home).await;
    open.call(home.license().await).await;

    let folder = home.certificates();
    assert!(run(&["certs", "init", "--dir", folder.to_str().unwrap(), "localhost"]).status.success());
    proxy.signal("-HUP");
    proxy.says("certificates reloaded");
    open.call(home.license().await).await;
    let mut fresh = Line::open(&proxy, &home).await;
    assert!(fresh.shown != open.shown, "the old certificate is still shown");
    fresh.call(home.license().await).await;

    // An unusable file changes nothing.
    std::fs::write(folder.join("leaf.pem"), "nonsense").unwrap();
    proxy.signal("-HUP");
    assert!(proxy.says("configuration: ").contains("leaf.pem"));
    proxy.says("configuration not reloaded");
    assert!(Line::open(&proxy, &home).await.shown == fresh.shown);
    let page = proxy.get("/metrics").await.unwrap().text();
    assert!(
        page.contains("reloads_total{result=\"good\"} 1") && page.contains("reloads_total{result=\"failed\"} 1"),
        "{page}"
    );
}

#[tokio::test]
async fn a_hangup_signal_takes_the_new_configuration_and_keeps_every_session() {
    let home = Home::plain().await;
    let (file, proxy) = (home.folder.path().join("config.toml"), home.proxy());
    let first = std::fs::read_to_string(&file).unwrap();
    let token = home.headend.token("account=ann&device=tv&content=news").await;
    let license = |path: &str| {
        let mut request = home.license_with(&token);
        *request.uri_mut() = path.parse().unwrap();
        web::send(proxy.players, None, request)
    };
    assert!(license("/license").await.unwrap().is_good());
    let sessions = proxy.get("/v1/sessions").await.unwrap().json()["sessions"][0]["id"].clone();

    std::fs::write(&file, first.replace("path = \"/license\"", "path = \"license\"\nspeed = 1")).unwrap();
    proxy.signal("-HUP");
    assert!(proxy.says("configuration: line").contains("route[0].path"));
    assert!(proxy.says("configuration: line").contains("route[0].speed"));
    proxy.says("configuration not reloaded; the old one stays");
    assert!(license("/license").await.unwrap().is_good());
    let told = run(&["configuration", "--admin", &format!("http://{}", proxy.admin)]);
    let told = text(&told.stdout);
    assert!(told.contains("the last reload failed") && told.contains("route[0].speed"), "{told}");

    let other = first.replace("workers = 1", "workers = 2").replace("path = \"/license\"", "path = \"/other\"");
    std::fs::write(&file, format!("{other}[log]\nlevel = \"debug\"\n")).unwrap();
    proxy.signal("-HUP");
    assert!(proxy.says("needs a restart: ").ends_with("server.workers"));
    proxy.says("configuration reloaded");
    assert_eq!(license("/license").await.unwrap().status, 404);
    assert!(license("/other").await.unwrap().is_good());
    assert!(license("/other/~stop").await.unwrap().status == 204);
    proxy.says("stop call");
    let told = run(&["configuration", "--admin", &format!("http://{}", proxy.admin)]);
    assert!(text(&told.stdout).contains("needs a restart: server.workers"), "{}", text(&told.stdout));
    let closed = proxy.get(&format!("/v1/sessions/{}", sessions.as_str().unwrap())).await.unwrap().json();
    assert!(["closing", "closed"].contains(&closed["state"].as_str().unwrap()), "{closed}");
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert_eq!(home.headend.story().await.iter().filter(|call| *call == "setup").count(), 1);
    assert!(home.headend.open().await.is_empty());
}

/// A pipe with a reader. After a time limit it is left to its thread.
fn opened(pipe: PathBuf) -> std::fs::File {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(std::fs::OpenOptions::new().write(true).open(pipe)));
    told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap()
}

/// Its CA file is a pipe that blocks until the test writes to it.
#[tokio::test]
async fn a_signal_that_comes_during_the_start_is_acted_on_after_it() {
    let home = Home::secure().await;
    let (file, at) = (home.folder.path().join("config.toml"), |name: &str| home.folder.path().join(name));
    assert!(home.proxy().terminate().await.success());
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("[[route]]", "ca = \"pipe.pem\"\n[[route]]")).unwrap();
    let ca = std::fs::read(home.certificates().join("ca.pem")).unwrap();
    std::fs::write(at("ca.pem"), &ca).unwrap();
    for signals in [&["-HUP"][..], &["-TERM"], &["-INT"], &["-HUP", "-TERM"]] {
        assert!(Command::new("mkfifo").arg(at("pipe.pem")).status().unwrap().success());
        let mut proxy = Proxy::begin(&file);
        // Opens as soon as it is read; a later reader finds a file.
        let mut pipe = opened(at("pipe.pem"));
        std::fs::rename(at("ca.pem"), at("pipe.pem")).unwrap();
        signals.iter().for_each(|signal| proxy.signal(signal));
        pipe.write_all(&ca).unwrap();
        drop(pipe);
        proxy.await_start();
        match signals {
            ["-HUP"] => {
                proxy.says("configuration reloaded");
                assert!(proxy.get("/readyz").await.unwrap().is_good());
                assert!(proxy.terminate().await.success());
            }
            _ => assert_eq!(proxy.ended().await.code(), Some(0), "{signals:?}"),
        }
        std::fs::rename(at("pipe.pem"), at("ca.pem")).unwrap();
    }
}

#[tokio::test]
async fn a_terminated_proxy_finishes_its_calls_and_gives_its_sessions_back() {
    for signal in ["-TERM", "-INT"] {
        let home = Home::plain().await;
        let proxy = home.proxy();
        assert!(proxy.get("/readyz").await.unwrap().is_good());
        home.headend.fault("license-clearkey", json!({"delay_ms": 1000}), 1).await;
        let (players, request) = (proxy.players, home.license().await);
        let mut call = tokio::task::JoinSet::new();
        call.spawn(async move { web::send(players, None, request).await });
        home.headend.next("setup", 0).await;
        let arrived = async || proxy.get("/v1/sessions").await.unwrap().text().contains("\"live\"");
        eventually("in flight", arrived).await;

        proxy.signal(signal);
        eventually("unready", async || proxy.get("/readyz").await.is_none_or(|reply| reply.status == 503)).await;
        let license = call.join_next().await.unwrap().unwrap().unwrap_or_else(|_| panic!("the call was cut off"));
        assert!(license.is_good(), "{}", license.text());
        assert_eq!(proxy.ended().await.code(), Some(0));
        assert_eq!(home.headend.story().await, ["setup", "license-clearkey", "teardown"]);
        assert!(home.headend.open().await.is_empty());
    }
}

#[tokio::test]
async fn sessions_are_listed_shown_killed_and_torn_down_from_a_terminal() {
    let home = Home::plain().await;
    let proxy = home.proxy();
    let listed = proxy.sessions(&["list"]);
    assert_eq!((listed.status.code(), text(&listed.stdout)), (Some(0), "no sessions\n".to_owned()));

    let token = home.headend.token("account=ann&device=tv&content=news").await;
    assert!(web::send(proxy.players, None, home.license_with(&token)).await.unwrap().is_good());
    let table = text(&proxy.sessions(&[]).stdout);
    let [head, row] = &table.lines().collect::<Vec<_>>()[..] else { panic!("{table}") };
    assert!(head.starts_with("ID") && row.contains("live") && row.contains("tv") && row.contains("news"), "{table}");
    let id = row.split_whitespace().next().unwrap();
    assert_eq!(id.len(), 8);
    let story = text(&proxy.sessions(&["show", id]).stdout);
    assert!(story.contains("opened") && story.contains("a beat every 30 s"), "{story}");
    let value: Value = serde_json::from_slice(&proxy.sessions(&["list", "--json"]).stdout).unwrap();
    assert_eq!(value["sessions"][0]["device"], "tv");

    let killed = proxy.sessions(&["kill", id]);
    assert!(killed.status.success() && text(&killed.stdout).contains("killed"), "{}", text(&killed.stderr));
    home.headend.next("teardown", 0).await;
    let refused = web::send(proxy.players, None, home.license_with(&token)).await.unwrap();
    assert_eq!(refused.error(), (403, "session_killed".to_owned()));

    for words in [["show", "ffffffffffffffff"], ["kill", "no-id"], ["teardown", "0g"]] {
        let refused = proxy.sessions(&words);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{words:?}");
        assert!(text(&refused.stderr).starts_with("sidebeat: "), "{words:?}: {}", text(&refused.stderr));
    }
    let nobody = run(&["sessions", "list", "--admin", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("is sidebeat running?"), "{}", text(&nobody.stderr));
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

/// Behind NAT, or behind an untrusted proxy, several devices share an address.
#[tokio::test]
async fn several_devices_behind_one_address_are_warned_of_if_the_address_is_the_device() {
    let home = Home::plain().await;
    let file = home.folder.path().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("[[route]]\n", "[[route]]\ndevice = [\"peer\"]\n")).unwrap();
    let proxy = home.proxy();
    for device in ["tv", "tv", "phone"] {
        let token = home.headend.token(&format!("account=ann&device={device}&content=news")).await;
        web::send(proxy.players, None, home.license_with(&token)).await.unwrap();
        assert!(device == "phone" || proxy.said("tokens of several devices") == 0);
    }
    let told = proxy.says("tokens of several devices come from one address");
    assert!(told.contains("WARN") && told.contains("127.0.0.1") && told.contains("/license"), "{told}");
    assert!(told.contains("token-claim:device.deviceId") && told.contains("server.trusted-proxies"), "{told}");
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_taken_port_is_reported_at_once() {
    let home = Home::plain().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = home.folder.path().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    std::fs::write(
        &file,
        config.replace("listen-plain = [\"127.0.0.1:0\"]", &format!("listen-plain = [\"{address}\"]")),
    )
    .unwrap();
    let refused = run(&["run", "-c", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    let port = taken.local_addr().unwrap().port();
    assert!(told.contains(&format!("server.listen-plain: cannot listen on {address}: ")), "{told}");
    assert!(told.contains(&format!("ss -ltnp 'sport = :{port}'")), "{told}");
    for (key, other) in [("admin.listen", "[admin]\nlisten = \"127.0.0.1:0\""), ("server.listen-plain", "")] {
        let at = if other.is_empty() { "192.0.2.1:0" } else { &address };
        let config = match other {
            "" => config.replace(
                "listen-plain = [\"127.0.0.1:0\"]",
                &format!("listen-plain = [\"{at}\"]\nplain-beyond-loopback = true"),
            ),
            admin => config.replace(admin, &format!("[admin]\nlisten = \"{at}\"")),
        };
        std::fs::write(&file, config).unwrap();
        let told = text(&run(&["run", "-c", file.to_str().unwrap()]).stderr);
        assert!(told.contains(&format!("{key}: cannot listen on {at}: ")), "{told}");
        assert!(!other.is_empty() || told.contains("has no such address"), "{told}");
    }
}

#[test]
fn a_head_end_whose_content_is_not_there_does_not_start() {
    let told = run(&["headend", "--listen", "127.0.0.1:0", "--content", "/no/such/folder"]);
    assert_eq!(told.status.code(), Some(1));
    let said = text(&told.stderr);
    assert!(said.contains("--content /no/such/folder: ") && said.contains("name a folder"), "{said}");
}

/// For a window of the limits of log lines, which is the longest interval at which anything looked.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_idle_process_does_not_wake_up() {
    let (home, window) = (Home::plain().await, sidebeat::telemetry::LOG_WINDOW);
    let proxy = home.proxy();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let settled = proxy.wake_ups();
    tokio::time::sleep(window + Duration::from_secs(1)).await;
    assert_eq!(proxy.wake_ups(), settled, "each thread with the number of times that it slept");
    assert_eq!(proxy.terminate().await.code(), Some(0));
}
