//! Tests the README's configurations as they stand there.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the helpers of tests may fail them")]

#[path = "support/process.rs"]
mod process;
#[path = "support/web.rs"]
mod web;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use process::{CLEARKEY, Proxy, sidebeat};
use serde_json::Value;
use sidebeat::task::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const README: &str = include_str!("../README.md");

/// The configuration that the README shows below a line that begins so.
fn configuration(above: &str) -> &'static str {
    let (_, below) = README.split_once(&format!("\n{above}")).unwrap();
    let (_, block) = below.split_once("```toml\n").unwrap();
    block.split_once("```").unwrap().0
}

fn recipe() -> &'static str {
    configuration("Without a head-end, ")
}

fn assert_good(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    let checked = sidebeat().args(["check", "-c"]).arg(file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&checked.stdout), format!("{}: good\n", file.display()), "{text}");
}

/// The recipe with the values that every reader must change: the listener and the license server.
fn recipe_for(license_server: SocketAddr) -> String {
    let url = recipe().lines().find_map(|line| line.strip_prefix("license-server = ")).unwrap();
    let text = recipe().replace(url, &format!("\"http://{license_server}/licenses\""));
    let listens: Vec<_> = text.lines().filter(|line| line.starts_with("listen")).map(str::to_owned).collect();
    let text = listens.iter().fold(text.clone(), |text, line| text.replace(&format!("{line}\n"), ""));
    let text = text.replacen("[server]\n", "[server]\nlisten = []\nlisten-plain = [\"127.0.0.1:0\"]\n", 1);
    format!("{text}\n[admin]\nlisten = \"127.0.0.1:0\"\n")
}

/// A license server that accepts every call.
async fn license_server(tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (serving, own) = (tasks.clone(), tasks.clone());
    tasks.spawn(async move {
        let serve = async {
            while let Ok((mut stream, _)) = listener.accept().await {
                serving.spawn(async move {
                    let mut asked = Vec::new();
                    let ends = |asked: &[u8]| asked.windows(CLEARKEY.len()).any(|part| part == CLEARKEY.as_bytes());
                    while !ends(&asked) && stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
                    let reply = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 84\r\n\
                                 connection: close\r\n\r\n{\"keys\":[{\"k\":\"AAECAwQFBgcICQoLDA0ODw\",\"kid\":\"ABEiM0RVZneImaq7zN3u_w\",\"kty\":\"oct\"}]}";
                    // A proxy that has gone does not read it.
                    let _gone = stream.write_all(reply.as_bytes()).await;
                });
            }
        };
        tokio::select! {
            () = serve => {}
            () = own.stopped() => {}
        }
    });
    address
}

/// A television, a phone, a tablet and a laptop.
#[derive(Clone, Default)]
struct Device {
    /// Its address on the LAN.
    address: Option<IpAddr>,
    headers: Vec<(&'static str, String)>,
}

impl Device {
    async fn plays(&self, proxy: &Proxy) -> (u16, String) {
        let request = Request::post("/license").header("host", "proxy.test").header("content-type", "application/json");
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let request = request.body(Full::new(Bytes::from_static(CLEARKEY.as_bytes()))).unwrap();
        let reply = web::send_from(self.address, proxy.players, request).await.unwrap();
        let error = serde_json::from_slice(&reply.body).map_or(Value::Null, |body: Value| body["error"].clone());
        (reply.status.as_u16(), error.as_str().unwrap_or_default().to_owned())
    }
}

fn devices(make: impl Fn(usize) -> Device) -> Vec<Device> {
    (0..4).map(make).collect()
}

/// An app's own token, which does not speak of sessions.
fn jwt(number: usize) -> String {
    let claims =
        format!(r#"{{"sub":"user-{number}","accountId":"account-{number}","device":{{"deviceId":"tv-{number}"}}}}"#);
    format!("eyJhbGciOiJub25lIn0.{}.", URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn both_configurations_are_good_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    for above in ["With a head-end:", "Without a head-end, "] {
        assert_good(&folder.path().join("config.toml"), configuration(above));
    }
}

#[tokio::test]
async fn the_recipe_without_a_head_end_limits_the_household_as_it_reads() {
    assert!(recipe().contains("sessions-per-account = 2"), "the test counts to two");
    let (tasks, _deaths) = Tasks::new();
    let text = recipe_for(license_server(&tasks).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    assert_good(&file, &text);

    let address = |number: usize| Some(IpAddr::from([127, 0, 0, 2 + u8::try_from(number).unwrap()]));
    let households: [(&str, Vec<Device>); 4] = [
        ("devices that say nothing", devices(|number| Device { address: address(number), ..Device::default() })),
        (
            "devices that say their name",
            devices(|number| Device { headers: vec![("x-device-id", format!("tv-{number}"))], ..Device::default() }),
        ),
        (
            "devices with tokens of the app's own",
            devices(|number| Device { headers: vec![("nv-authorizations", jwt(number))], ..Device::default() }),
        ),
        (
            "devices with opaque tokens",
            devices(|number| Device {
                address: address(number),
                headers: vec![("nv-authorizations", format!("opaque-{number}"))],
            }),
        ),
    ];
    for (household, devices) in households {
        // A process of its own, so that nothing is left of the household before.
        let proxy = Proxy::start(&file);
        for (number, device) in devices.iter().enumerate() {
            let told = device.plays(&proxy).await;
            let expected = if number < 2 { (200, "") } else { (403, "limit_reached") };
            assert_eq!((told.0, told.1.as_str()), expected, "{household}: number {number}");
        }
        let live = proxy.ask_admin(Method::GET, "/v1/sessions").await.unwrap().json();
        let live = live["sessions"].as_array().unwrap().iter().filter(|session| session["state"] == "live");
        assert_eq!(live.map(|session| session["account"].clone()).collect::<Vec<_>>(), ["home", "home"], "{household}");
        assert_eq!(proxy.terminate().await.code(), Some(0));
    }
    tasks.stop();
}
