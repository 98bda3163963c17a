//! A table of faulty files: every fault with its exact line, key and words.

use std::path::Path;

use super::{LEAST, NAGRA, faults, read, read_with};

/// Each text stands in front of [`LEAST`], so that its first line is line 1.
#[test]
fn each_fault_has_its_line_its_key_and_advice() {
    let table: &[(&str, &[&str])] = &[
        (
            "[[authority]]\nname = \"q\"\nkind = \"firstlight\"\nmax-allowed-failures = 0\nfail-when = \"reaches\"\n\
             stream-concurrency-path = \"user\"\nsync-interval = \"10ms\"\n[authority.fields]\nhearbeatToken = \"t\"\n\
             [authority.headers]\nx-user = \"{header:x-user}\"",
            &[
                "line 1: authority[0].heartbeat-url: is missing: write the base of the heartbeat service, \
                 the vendor's heartbeatEndPointUrl",
                "line 5: authority[0].fail-when: would end every playback at once: \
                 \"reaches\" needs max-allowed-failures of 1 or more",
                "line 6: authority[0].stream-concurrency-path: must hold {deviceId}",
                "line 7: authority[0].sync-interval: must be at least 1s",
                "line 9: authority[0].fields.hearbeatToken: is not a field of the contract; did you mean heartbeatToken?",
                "line 11: authority[0].headers.x-user: wants the header x-user, which is not in pass-headers",
            ],
        ),
        (
            "[[route]]\nkind = \"authorize\"\npath = \"/a\"\nlicense-route = \"/licence\"\ncontent-paths = [\"a..b\"]",
            &[
                "line 1: route[0].authorize-url: is missing: write the URL of the app's own authorization service",
                "line 1: route[0].authority: is missing: name the [[authority]] that grants what is authorized here",
                "line 4: route[0].license-route: is not the path of any [[route]]",
                "line 5: route[0].content-paths[0]: must be names with dots between them",
            ],
        ),
        (
            "[[authority]]\nname = \"a\"\nkind = \"embedded\"\n[[authority]]\nname = \"b\"\nkind = \"embedded\"\n\
             [[route]]\npath = \"/drm\"\nlicense-server = \"https://l.example\"\nauthority = \"a\"\n\
             [[route]]\npath = \"/one\"\nkind = \"media\"\norigin = \"https://o.example\"\nlicense-route = \"/licence\"\n\
             [[route]]\npath = \"/two\"\nkind = \"media\"\norigin = \"https://o.example\"\nlicense-route = \"/one\"\n\
             [[route]]\npath = \"/three\"\nkind = \"media\"\norigin = \"https://o.example\"\nauthority = \"b\"\n\
             license-route = \"/drm\"\n\
             [[route]]\npath = \"/four\"\nkind = \"media\"\norigin = \"https://o.example\"\nauthority = \"a\"\n\
             license-route = \"/drm\"\n\
             [[route]]\npath = \"/five\"\nkind = \"media\"\norigin = \"https://o.example\"\n\
             license-route = \"https://l.example/x\"",
            &[
                "line 15: route[1].license-route: is not the path of any [[route]]",
                "line 20: route[2].license-route: is the path of a route of kind \"media\"; name one of kind \"license\"",
                "line 26: route[3].license-route: is the path of a route with another authority, \
                 which would not know this one's sessions",
            ],
        ),
        (
            "[server]\ntrusted-proxies = [\n  \"10.0.0.2\",\n  \"proxy.example\",\n  \"10.0.0.0/33\",\n]\n\
             forwarded-header = \"x-real-ip\"\nproxy-protocol = [\"0.0.0.0:8443\"]",
            &[
                "line 4: server.trusted-proxies[1]: must be an IP address or a network, such as \"10.0.0.2\" or \"10.0.0.0/8\"",
                "line 5: server.trusted-proxies[2]: must be an IP address or a network, such as \"10.0.0.2\" or \"10.0.0.0/8\"",
                "line 7: server.forwarded-header: must be \"any\", \"forwarded\" or \"x-forwarded-for\"",
                "line 8: server.proxy-protocol: has 0.0.0.0:8443, which is in neither listen nor listen-plain",
            ],
        ),
        (
            "[server]\nforwarded-header = \"forwarded\"",
            &["line 2: server.forwarded-header: needs server.trusted-proxies: the header of anybody else is not read"],
        ),
        (
            "[server]\nproxy-protocol = [\"127.0.0.1:8443\"]",
            &["line 2: server.proxy-protocol: needs server.trusted-proxies, or every connection would be closed"],
        ),
        (
            "[texts]\ndefault = \"fr\"\n[texts.de]\nlimit-reachd = \"x\"\nblackout = \"\"\nrefused = \"a\\nb\"\n[texts.xx]\n\
             [texts.DE]\n[texts.pt-BR]\nunavailable = 3",
            &[
                "line 2: texts.default: has no texts: write [texts.fr], or \"en\"",
                "line 3: texts.de: is written twice",
                "line 4: texts.de.limit-reachd: is no text that viewers are told; did you mean limit-reached?",
                "line 5: texts.de.blackout: is empty",
                "line 6: texts.de.refused: must be one line",
                "line 7: texts.xx: must be a language of ISO 639-1, such as \"de\" or \"pt-BR\"",
                "line 10: texts.pt-BR.unavailable: must be a string in quotes, not a number",
            ],
        ),
        ("[texts]\nrefused = \"x\"", &["line 2: texts.refused: is not a known key"]),
        ("bogus = 1", &["line 1: bogus: is not a known key"]),
        ("[sever]\nlisten = []", &["line 1: sever: is not a known key; did you mean `server`?"]),
        (
            "[server]\nlisten_plain = []",
            &["line 2: server.listen_plain: is not a known key; did you mean `listen-plain`?"],
        ),
        (
            "[server]\nhandshake = \"1s\"",
            &["line 2: server.handshake: is not a known key; it belongs to [server.limits]"],
        ),
        ("[server]\n\"limits.idle\" = \"1s\"", &["line 2: server.\"limits.idle\": is not a known key"]),
        ("[server]\npath = \"/\"", &["line 2: server.path: is not a known key; it belongs to [[route]]"]),
        ("server = 1", &["line 1: server: must be a table"]),
        ("[[server]]", &["line 1: server: must be a table"]),
        ("[authority]\nname = \"a\"", &["line 1: authority: must be written as [[authority]]"]),
        (
            "[server]\nlisten = \"127.0.0.1:1\"",
            &["line 2: server.listen: must be a list, such as [\"127.0.0.1:8443\"]"],
        ),
        (
            "[server]\nlisten = [\n  \"127.0.0.1:1\",\n  \"localhost:2\",\n  3,\n]",
            &[
                "line 4: server.listen[1]: must be an IP address and a port, such as \"127.0.0.1:8443\" or \"[::1]:8443\"",
                "line 5: server.listen[2]: must be a string in quotes, not a number",
            ],
        ),
        (
            "[server]\nlisten-plain = [\"0.0.0.0:80\"]",
            &["line 2: server.listen-plain: offers cleartext at 0.0.0.0:80, beyond this machine: use server.listen, \
               or set plain-beyond-loopback = true if you mean it"],
        ),
        (
            "[server]\nlisten = []\nlisten-plain = []",
            &["line 2: server.listen: is empty, and listen-plain too: no player could connect"],
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:9180\"]\nlisten-plain = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            &[
                "line 2: server.listen: has 127.0.0.1:9180, which another listener uses already",
                "line 3: server.listen-plain: has 127.0.0.1:1, which another listener uses already",
            ],
        ),
        ("[server]\nworkers = -1", &["line 2: server.workers: must be a whole number, not negative"]),
        ("[server]\nworkers = 1025", &["line 2: server.workers: must be at most 1024"]),
        ("[server]\nworkers = \"2\"", &["line 2: server.workers: must be a whole number, not a string"]),
        ("[server]\nplain-beyond-loopback = 1", &["line 2: server.plain-beyond-loopback: must be true or false"]),
        (
            "[server]\norigins = \"https://tv.example\"",
            &["line 2: server.origins: must be a list, such as [\"https://tv.example\"], or \"any\""],
        ),
        (
            "[server]\norigins = [\"tv.example\"]",
            &["line 2: server.origins[0]: must be an origin, such as \"https://tv.example\", without a path"],
        ),
        ("[server.tls]\nkey = \"\"", &["line 2: server.tls.key: must name a file"]),
        (
            "[server.limits]\nidle = 30",
            &["line 2: server.limits.idle: has no unit: write \"30ms\", \"30s\", \"30m\" or \"30h\""],
        ),
        (
            "[server.limits]\nidle = \"30\"",
            &["line 2: server.limits.idle: has no unit: write \"30ms\", \"30s\", \"30m\" or \"30h\""],
        ),
        (
            "[server.limits]\nbody-max = 64",
            &["line 2: server.limits.body-max: has no unit: write \"64B\", \"64KiB\" or \"64MiB\""],
        ),
        ("[server.limits]\nbody-max = \"1B\"", &["line 2: server.limits.body-max: must be at least 1KiB"]),
        ("[server.limits]\ncall = \"8s\"", &["line 2: server.limits.call: must be at most 7s"]),
        ("[server.limits]\nidle = \"0s\"", &["line 2: server.limits.idle: must be at least 1ms"]),
        ("[server.limits]\nin-flight = 0", &["line 2: server.limits.in-flight: must be at least 1"]),
        (
            "[server.limits]\ncall = \"4s\"",
            &["line 3: route[0].timeout: must be shorter than server.limits.call, which is 4s"],
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:9180\"",
            &["line 2: admin.listen: can be reached from other machines: set admin.token or admin.token-file as well"],
        ),
        ("[admin]\ntoken = \"\"", &["line 2: admin.token: is empty"]),
        ("[admin]\ntoken = \"a b\"", &["line 2: admin.token: must be visible ASCII without spaces"]),
        (
            "[admin]\ntoken = \"a\"\ntoken-file = \"b\"",
            &["line 3: admin.token-file: stands beside admin.token: keep one of them"],
        ),
        ("[log]\nformat = \"xml\"", &["line 2: log.format: must be \"json\" or \"text\""]),
        (
            "[log]\nlevel = \"inof\"",
            &["line 2: log.level: must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\", \
               or a filter such as \"info,sidebeat::edge=debug\""],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(faults(read(&format!("{text}\n{LEAST}"))), *expected, "{text}");
    }
}

#[test]
fn faults_of_authorities() {
    let missing = "url: is missing: write the base of SSM, such as \"https://host/TENANT/ssm\", \
                   or all of heartbeat-url, renewal-url, setup-url and teardown-url";
    let no_url = format!("line 1: authority[0].{missing}");
    let table: &[(&str, &[&str])] = &[
        (
            "[[authority]]\nkind = \"embedded\"",
            &["line 1: authority[0].name: is missing: routes refer to an authority by it"],
        ),
        (
            "[[authority]]\nname = \"a\"\nurl = \"x\"",
            &[
                "line 1: authority[0].kind: is missing: write \"embedded\", \"firstlight\", \"nagra-ssm\" or \"example\"",
            ],
        ),
        (
            "[[authority]]\nname = \"a\"\nkind = \"nagra\"\nurl = \"x\"",
            &["line 3: authority[0].kind: must be \"embedded\", \"firstlight\", \"nagra-ssm\" or \"example\""],
        ),
        (
            "[[authority]]\nname = \"a\"\nkind = \"embedded\"\nurl = \"https://h\"\nsessions-per-acount = 0",
            &[
                "line 4: authority[0].url: is not a known key; it belongs to kind = \"nagra-ssm\"",
                "line 5: authority[0].sessions-per-acount: is not a known key; did you mean `sessions-per-account`?",
            ],
        ),
        (
            "[[authority]]\nname = \"a\"\nkind = \"embedded\"\nsessions-per-account = 0",
            &["line 4: authority[0].sessions-per-account: must be at least 1"],
        ),
        (
            "[[authority]]\nname = \"a\"\nkind = \"embedded\"\n[[authority]]\nname = \"a\"\nkind = \"embedded\"",
            &["line 5: authority[1].name: is the name of another authority too"],
        ),
        (
            "[[authority]]\nname = \"a b\"\nkind = \"embedded\"",
            &["line 2: authority[0].name: must be 1 to 64 letters, digits, \"-\", \".\" or \"_\""],
        ),
        ("[store]\nkind = \"redb\"", &["line 2: store.kind: must be \"journal\" or \"memory\""]),
        ("[store]\nkind = \"journal\"\nfile = \"\"", &["line 3: store.file: must name a file"]),
        (
            "[store]\non-exit = \"keep\"",
            &["line 2: store.on-exit: keeps sessions that nobody would remember: set store.kind = \"journal\" as well"],
        ),
        (NAGRA, &[&no_url]),
        (
            &format!("{NAGRA}setup-url = \"https://h\"\nheartbeat-url = \"https://h\"\nrenewal-url = \"https://h\""),
            &[&no_url],
        ),
        (&format!("{NAGRA}url = \"host/ssm\""), &["line 4: authority[0].url: must begin with http:// or https://"]),
        (&format!("{NAGRA}url = \"https://h/ssm?k=hush\""), &["line 4: authority[0].url: must not have a query"]),
        (
            &format!("{NAGRA}url = \"https://h/ssm\"\nteardown-url = \"https://u:hush@h\""),
            &["line 5: authority[0].teardown-url: must not hold a user name or password"],
        ),
        (
            &format!(
                "{NAGRA}url = \"https://h\"\nfraction = 0.4\ntimeout = \"6s\"\nlicense-authorization = \"{{content}}\""
            ),
            &[
                "line 5: authority[0].fraction: must be at least 0.5",
                "line 6: authority[0].timeout: must be shorter than server.limits.call, which is 6s",
                "line 7: authority[0].license-authorization: must hold {session}",
            ],
        ),
        (
            &format!("{NAGRA}url = \"https://h\"\non-unreachable = \"perhaps\""),
            &[
                "line 5: authority[0].on-unreachable: must be \"refuse\" or a time, which must be a whole number with ms, \
               s, m or h, such as \"30s\"",
            ],
        ),
        (
            &format!(
                "{NAGRA}url = \"https://h\"\n[authority.on-unreachable]\nnew = \"0s\"\nrunning = \"25h\"\n\
                 new-vod = 5\nnew-films = \"5m\""
            ),
            &[
                "line 6: authority[0].on-unreachable.new: must be more than nothing: write \"refuse\"",
                "line 7: authority[0].on-unreachable.running: must be at most 24h",
                "line 8: authority[0].on-unreachable.new-vod: must be a string in quotes, not a number",
                "line 9: authority[0].on-unreachable.new-films: is not a known key",
            ],
        ),
        (
            &format!("{NAGRA}url = \"https://h\"\nfraction = nan\nlicense-authorization = \"{{session}}{{token}}\""),
            &[
                "line 5: authority[0].fraction: must be between 0.5 and 1.0",
                "line 6: authority[0].license-authorization: must hold no other placeholders than {content} and {session}",
            ],
        ),
        (
            &format!(
                "{NAGRA}url = \"https://h\"\ntenant = \"T\"\n[authority.headers]\nNV-Tenant-Id = \"U\"\nHost = \"h\"\n\
                 nv-authorizations = \"a\"\nx-key = \"a\\nb\"\n\"a b\" = \"c\""
            ),
            &[
                "line 7: authority[0].headers.NV-Tenant-Id: is set twice",
                "line 8: authority[0].headers.Host: must not be host, which sidebeat writes itself",
                "line 9: authority[0].headers.nv-authorizations: is written by sidebeat: it carries the tokens",
                "line 10: authority[0].headers.x-key: must be the text of a header, without line breaks",
                "line 11: authority[0].headers.\"a b\": must be the name of a header",
            ],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(faults(read(&format!("{text}\n{LEAST}"))), *expected, "{text}");
    }
    let kinds = format!(
        "{NAGRA}url = \"https://h\"\n[[authority]]\nname = \"e\"\nkind = \"embedded\"\ntenant = \"T\"\n{LEAST}"
    );
    assert_eq!(
        faults(read(&kinds)),
        ["line 8: authority[1].tenant: is not a known key; it belongs to kind = \"nagra-ssm\""]
    );
}

/// Each text stands below a head of three lines: its first line is line 4.
#[test]
fn faults_of_the_embedded_authority() {
    let table: &[(&str, &[&str])] = &[
        ("account = []", &["line 4: authority[0].account: is empty: name at least \"fixed:home\""]),
        (
            "account = [\"device\", \"peer\"]",
            &["line 4: authority[0].account: names others behind \"device\" or \"fixed:NAME\", which always answers"],
        ),
        (
            "account = \"device\"",
            &["line 4: authority[0].account: must be a list, such as [\"header:x-account\", \"fixed:home\"]"],
        ),
        (
            "account = [\"peer\", \"mtls\"]",
            &[
                "line 4: authority[0].account[1]: must be cookie:NAME, device, fixed:NAME, header:NAME, peer, query:NAME or \
               token-claim:PATH",
            ],
        ),
        ("sessions-per-account = 0", &["line 4: authority[0].sessions-per-account: must be at least 1"]),
        ("on-limit = \"end-newest\"", &["line 4: authority[0].on-limit: must be \"deny-newest\" or \"end-oldest\""]),
        (
            "allow = [\"\", \"a*b\"]\ndeny = [\"**\"]",
            &[
                "line 4: authority[0].allow[0]: must be a name, or the beginning of one with a * at its end",
                "line 4: authority[0].allow[1]: must be a name, or the beginning of one with a * at its end",
                "line 5: authority[0].deny[0]: must be a name, or the beginning of one with a * at its end",
            ],
        ),
        (
            "device-group = [\"header:x-class\"]\ncontent-group = [\"device\"]\nsessions-per-content-group = -1",
            &[
                "line 4: authority[0].device-group: limits nothing: set sessions-per-device-group, or groups in \
                 [authority.device-groups]",
                "line 5: authority[0].content-group[0]: must be cookie:NAME, header:NAME, peer, query:NAME or \
                 token-claim:PATH",
                "line 6: authority[0].sessions-per-content-group: must be a whole number, not negative",
            ],
        ),
        (
            "sessions-per-device-group = 1\n[authority.content-groups]\nsports = 1",
            &[
                "line 4: authority[0].sessions-per-device-group: needs device-group, which says where the group stands",
                "line 6: authority[0].content-groups.sports: needs content-group, which says where the group stands",
            ],
        ),
        (
            "device-group = [\"peer\"]\n[authority.device-groups]\ntv = \"two\"",
            &["line 6: authority[0].device-groups.tv: must be a whole number, not a string"],
        ),
    ];
    for (text, expected) in table {
        let head = "[[authority]]\nname = \"e\"\nkind = \"embedded\"\n";
        assert_eq!(faults(read(&format!("{head}{text}\n{LEAST}"))), *expected, "{text}");
    }
}

#[test]
fn the_unit_of_an_authority_is_a_device_or_a_playback_and_fits_the_rest() {
    let ssm = "kind = \"nagra-ssm\"\nurl = \"https://h/ssm\"";
    let firstlight = "kind = \"firstlight\"\nheartbeat-url = \"https://h/\"";
    for (kind, unit, more, route, expected) in [
        (ssm, "device", "", "sessions-per-device = 1", &[][..]),
        (ssm, "playback", "", "sessions-per-device = 4", &[]),
        ("kind = \"embedded\"", "device", "device-group = [\"peer\"]\nsessions-per-device-group = 1", "", &[]),
        (ssm, "Device", "", "", &["line 3: authority[0].unit: must be \"device\" or \"playback\""]),
        (ssm, "household", "", "", &["line 3: authority[0].unit: must be \"device\" or \"playback\""]),
        (
            ssm,
            "device",
            "",
            "sessions-per-device = 4",
            &["line 11: route[0].sessions-per-device: must be 1, or left out, where the authority counts devices \
                 (unit = \"device\"): all that a device plays shares one session"],
        ),
        (
            "kind = \"embedded\"",
            "device",
            "content-group = [\"peer\"]\nsessions-per-content-group = 1",
            "",
            &[
                "line 5: authority[0].content-group: counts what is played, and with unit = \"device\" one session stands \
                 for all that a device plays",
            ],
        ),
        (
            firstlight,
            "device",
            "",
            "",
            &[
                "line 3: authority[0].unit: FirstLight counts devices by itself, and beats each playback by a token of its \
                 own: leave it out, and set multi-stream-mode = true for devices that show several pictures",
            ],
        ),
    ] {
        let text = format!(
            "[[authority]]\nname = \"a\"\nunit = \"{unit}\"\n{kind}\n{more}\n[[route]]\npath = \"/l\"\n\
             license-server = \"https://h/\"\nauthority = \"a\"\n{route}\n"
        );
        let found = match read(&text) {
            Ok(_) => Vec::new(),
            faulty => faults(faulty),
        };
        assert_eq!(found, *expected, "{text}");
    }
}

#[test]
fn devices_that_nothing_tells_apart_are_warned_of_where_they_are_counted() {
    let warnings = |unit: &str, device: &str| {
        let text = format!(
            "[[authority]]\nname = \"a\"\nkind = \"embedded\"\nunit = \"{unit}\"\n[[route]]\npath = \"/l\"\n\
             license-server = \"https://h/\"\nauthority = \"a\"\n{device}\n"
        );
        read(&text).unwrap().warnings.to_string()
    };
    assert!(warnings("device", "").contains("falls to the peer, and the authority counts devices"));
    assert_eq!(warnings("device", "device = [\"header:x-device-id\"]"), "");
    assert_eq!(warnings("playback", ""), "");
}

#[test]
fn calls_that_no_limit_holds_for_are_warned_of() {
    let warnings = |control: &str, top: &str| {
        let text = format!(
            "{top}[[authority]]\nname = \"a\"\nkind = \"embedded\"\n[[route]]\npath = \"/l\"\n\
             license-server = \"https://h/\"\nauthority = \"a\"\ndevice = [\"header:x-device-id\"]\n{control}\n"
        );
        read(&text).unwrap().warnings.to_string()
    };
    for (control, top, told) in [
        ("", "", ""),
        ("session-control = \"always\"", "", ""),
        (
            "session-control = \"auto\"",
            "",
            "lets a call without a token that asks for a session pass without a session",
        ),
        ("session-control = \"never\"", "", "lets every call pass without a session"),
        ("endings.unused = \"1s\"", "", "unused = \"1s\" gives a place back before a license call must be answered"),
        ("endings.unused = \"6s\"", "", ""),
        ("endings.unused = \"off\"", "", ""),
        ("endings.unused = \"6s\"", "[server.limits]\ncall = \"7s\"\n", "(server.limits.call, 7s)"),
    ] {
        let found = warnings(control, top);
        assert!(found.contains(told) && found.is_empty() == told.is_empty(), "{control} {top}: {found}");
    }
}

#[test]
fn a_server_that_is_this_very_proxy_is_a_fault() {
    let own = |listen: &str, url: &str| {
        let text = format!("[server]\n{listen}\n[[route]]\npath = \"/l\"\nlicense-server = \"{url}\"\n");
        read(&text).err().map(|faults| faults.to_string())
    };
    let plain = "listen-plain = [\"127.0.0.1:8080\"]";
    let wide = "listen = [\"0.0.0.0:8443\", \"[::1]:7443\"]\nlisten-plain = []";
    for (listen, url, is_own) in [
        (plain, "http://127.0.0.1:8080/licenses", Some("127.0.0.1:8080")),
        (plain, "http://localhost:8080/", Some("127.0.0.1:8080")),
        (plain, "http://[::ffff:127.0.0.1]:8080/", Some("127.0.0.1:8080")),
        (plain, "https://127.0.0.1:8443/", Some("127.0.0.1:8443")),
        (plain, "http://127.0.0.1:9180/", Some("127.0.0.1:9180")),
        (wide, "https://127.0.0.1:8443/", Some("0.0.0.0:8443")),
        (wide, "https://LOCALHOST:8443/", Some("0.0.0.0:8443")),
        (wide, "https://[::1]:7443/", Some("[::1]:7443")),
        (plain, "http://127.0.0.1:8081/", None),
        (plain, "http://127.0.0.2:8080/", None),
        (plain, "http://drm.example:8080/", None),
        (wide, "https://192.0.2.7:8443/", None),
        ("listen-plain = [\"127.0.0.1:0\"]", "http://127.0.0.1:0/", None),
    ] {
        let expected = is_own.map(|own| format!("license-server: leads to {own}, where this proxy itself listens"));
        let told = own(listen, url);
        assert_eq!(told.is_some(), expected.is_some(), "{url}: {told:?}");
        assert!(expected.is_none_or(|expected| told.unwrap().contains(&expected)), "{url}");
    }
    let others = format!(
        "{NAGRA}url = \"http://127.0.0.1:8080/ssm\"\n[[route]]\nkind = \"media\"\npath = \"/m\"\n\
         origin = \"http://127.0.0.1:8080/\"\n"
    );
    let told = faults(read(&others));
    assert!(told.len() == 2 && told[0].starts_with("line 4: authority[0].url: leads to"), "{told:?}");
    assert!(told[1].starts_with("line 8: route[0].origin: leads to"), "{told:?}");
}

#[test]
fn a_route_takes_the_keys_of_its_own_kind_alone() {
    let media = "[[route]]\nkind = \"media\"\npath = \"/m\"\norigin = \"https://h/\"\n";
    for (route, line, kind, keys) in [
        (
            media,
            5,
            "license",
            &["enforcement", "license-server", "session-control", "unrecognised", "body", "refusal"][..],
        ),
        (
            LEAST,
            4,
            "media",
            &["origin", "hosts", "inject-cmcd", "manifest-max", "segments", "stall", "strict", "when-killed"],
        ),
        (LEAST, 4, "authorize", &["authorize-url", "content-paths", "license-paths", "media-route"]),
    ] {
        for key in keys {
            let found = faults(read(&format!("{route}{key} = \"1\"\n")));
            let expected = format!("line {line}: route[0].{key}: is not a known key; it belongs to kind = \"{kind}\"");
            assert_eq!(found, [expected]);
        }
    }
}

const NO_RENEWALS_COME: &str = "line 4: route[0].enforcement: \"renewal\" needs an authority that takes renewals as beats \
    (kind \"nagra-ssm\"): write \"auto\" or \"heartbeat\", or leave it out";

/// Each text stands behind [`LEAST`]: its first line is line 4.
#[test]
fn faults_of_routes() {
    let soap = "cannot be a SOAP fault: only PlayReady speaks SOAP";
    let table: &[(&str, &[&str])] = &[
        ("authority = \"a\"", &["line 4: route[0].authority: is not the name of any [[authority]]; there is none"]),
        (
            "authority = \"homestead\"\n[[authority]]\nname = \"north\"\nkind = \"embedded\"\n[[authority]]\nname = \"south\"\nkind = \"embedded\"",
            &["line 4: route[0].authority: is not the name of any [[authority]]; there is \"north\", \"south\""],
        ),
        (
            "authority = \"home\"\n[[authority]]\nname = \"hone\"\nkind = \"embedded\"",
            &["line 4: route[0].authority: is not the name of any [[authority]]; did you mean \"hone\"?"],
        ),
        (
            "[[route]]",
            &[
                "line 4: route[1].path: is missing: write the path that players use, such as \"/license\"",
                "line 4: route[1].license-server: is missing: write the URL that players asked for licenses before",
            ],
        ),
        (
            "[[route]]\npath = \"/license\"\nlicense-server = \"https://h\"",
            &["line 5: route[1].path: is the path of another route too"],
        ),
        (
            "[[route]]\npath = \"license\"\nlicense-server = \"h\"",
            &[
                "line 5: route[1].path: must begin with /",
                "line 6: route[1].license-server: must begin with http:// or https://",
            ],
        ),
        (
            "[[route]]\nkind = \"media\"\npath = \"/m\"",
            &["line 4: route[1].origin: is missing: write the URL below which manifests and segments are"],
        ),
        (
            "[[route]]\nkind = \"media\"\npath = \"/m\"\norigin = \"https://h/?a\"\nhosts = [\"a b\"]\n\
             license-route = \"x\"\nlicense-server = \"https://h\"",
            &[
                "line 7: route[1].origin: must not have a query: what players ask for brings its own",
                "line 8: route[1].hosts[0]: must be a host, such as \"cdn.example\", \"cdn.example:8443\" or \
                 \"*.cdn.example\"",
                "line 9: route[1].license-route: must begin with http:// or https://",
                "line 10: route[1].license-server: is not a known key; it belongs to kind = \"license\"",
            ],
        ),
        ("kind = \"radio\"", &["line 4: route[0].kind: must be \"authorize\", \"license\" or \"media\""]),
        ("segments = \"direct\"", &["line 4: route[0].segments: is not a known key; it belongs to kind = \"media\""]),
        ("device = []", &["line 4: route[0].device: is empty: name at least \"peer\""]),
        ("device = [\"mtls\"]", &["line 4: route[0].device: names mtls, which needs server.tls.client-ca"]),
        (
            "device = [\"mac\"]",
            &["line 4: route[0].device[0]: must be cookie:NAME, header:NAME, mtls, path-segment, peer, query:NAME \
               or token-claim:PATH"],
        ),
        (
            "content-token = [\"cookie:a\"]",
            &["line 4: route[0].content-token[0]: must be custom-data, header:NAME or query:NAME"],
        ),
        ("enforcement = \"on\"", &["line 4: route[0].enforcement: must be \"auto\", \"heartbeat\" or \"renewal\""]),
        ("enforcement = \"renewal\"", &[NO_RENEWALS_COME]),
        (
            "enforcement = \"renewal\"\nauthority = \"e\"\n[[authority]]\nname = \"e\"\nkind = \"embedded\"",
            &[NO_RENEWALS_COME],
        ),
        (
            "enforcement = \"renewal\"\nauthority = \"f\"\n[[authority]]\nname = \"f\"\nkind = \"firstlight\"\n\
             heartbeat-url = \"https://h/\"",
            &[NO_RENEWALS_COME],
        ),
        (
            "session-control = true",
            &["line 4: route[0].session-control: must be a string in quotes, not true or false"],
        ),
        ("sessions-per-device = 0", &["line 4: route[0].sessions-per-device: must be at least 1"]),
        ("kill-memory = \"29s\"", &["line 4: route[0].kill-memory: must be at least 30s"]),
        ("re-entry = \"2m\"", &["line 4: route[0].re-entry: must be at most 1m"]),
        ("[route.endings]\nlongest = \"9000h\"", &["line 5: route[0].endings.longest: must be at most 8760h"]),
        (
            "[route.endings]\nconnections-gone = \"never\"",
            &[
                "line 5: route[0].endings.connections-gone: must be a whole number with ms, s, m or h, such as \"30s\", or \"off\"",
            ],
        ),
        (
            "[route.endings]\nrenewals-overdue = \"on\"",
            &["line 5: route[0].endings.renewals-overdue: must be a number or \"off\""],
        ),
        (
            "[route.endings]\nrenewals-overdue = 0.5",
            &["line 5: route[0].endings.renewals-overdue: must be at least 1.0"],
        ),
        ("[route.endings]\nstop = \"no\"", &["line 5: route[0].endings.stop: must be true or false"]),
        ("timeout = \"6s\"", &["line 4: route[0].timeout: must be shorter than server.limits.call, which is 6s"]),
        (
            "headers = [\"content-length\"]",
            &["line 4: route[0].headers[0]: must not be content-length, which sidebeat writes itself"],
        ),
        (
            "[route.body]\nserver = \"json\"",
            &["line 5: route[0].body.server: must be raw, base64, json:FIELD or form:FIELD"],
        ),
        (
            "[route.refusal.widevine]\nfirst = \"soap-200\"\nrenewal = \"silent\"",
            &[
                &format!("line 5: route[0].refusal.widevine.first: {soap}"),
                "line 6: route[0].refusal.widevine.renewal: must be \"auto\", \"http\", \"reject\", \"soap-200\" or \"soap-500\"",
            ],
        ),
        (
            "[route.refusal.fairplay]\nfirst = \"reject\"\nrenewal = \"soap-500\"",
            &[
                "line 5: route[0].refusal.fairplay.first: cannot be \"reject\": FairPlay has no refusal in band, use \"http\"",
                &format!("line 6: route[0].refusal.fairplay.renewal: {soap}"),
            ],
        ),
        (
            "[route.refusal.clearkey]\nfirst = \"soap-500\"\n[route.refusal.nagra]\nfirst = \"http\"",
            &[
                &format!("line 5: route[0].refusal.clearkey.first: {soap}"),
                "line 6: route[0].refusal.nagra: is not a known key",
            ],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(faults(read(&format!("{LEAST}{text}\n"))), *expected, "{text}");
    }
    let none = "route: is missing: write at least one [[route]], or there is nothing that players can ask for";
    assert_eq!(faults(read("")), [none]);
}

#[test]
fn all_faults_come_at_once_in_the_order_of_lines() {
    let text = "colour = 1\n[server]\nworkers = \"many\"\nidel = 1\n[server.limits]\nidle = 3\n[[authority]]\nname = \"a\"\n\
                kind = \"b\"\n[[route]]\nlicense-server = \"x y\"\n[route.body]\nplayer = \"zip\"\n[lug]\n";
    let result = read_with(text, Path::new(""), &[("SIDEBEAT_LOG_LEVEL", "loud"), ("SIDEBEAT_LOG_LEVER", "info")]);
    let heads: Vec<String> =
        faults(result).iter().map(|fault| fault.splitn(3, ": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    let (in_file, in_environment) = heads.split_at(heads.len() - 2);
    assert_eq!(
        in_file,
        [
            "line 1 colour",
            "line 3 server.workers",
            "line 4 server.idel",
            "line 6 server.limits.idle",
            "line 9 authority[0].kind",
            "line 10 route[0].path",
            "line 11 route[0].license-server",
            "line 13 route[0].body.player",
            "line 14 lug",
        ]
    );
    assert!(in_environment.iter().zip(["SIDEBEAT_LOG_LEVEL", "SIDEBEAT_LOG_LEVER"]).all(|(a, b)| a.starts_with(b)));
}

#[test]
fn text_that_is_no_toml_shows_its_lines_and_not_its_values() {
    let shown = faults(read("[admin]\ntoken = \"hush\nlisten = off\n"));
    assert!(shown.iter().any(|fault| fault.starts_with("line 2: TOML: ")), "{shown:?}");
    assert!(!shown.concat().contains("hush"), "{shown:?}");
}

/// The rest is mostly its echo.
#[test]
fn only_the_first_place_that_is_no_toml_is_reported() {
    let sample = include_str!("../../../config.toml").replacen(
        "listen = [\"127.0.0.1:8443\"]",
        "listen = [\"127.0.0.1:8443\"",
        1,
    );
    let shown = faults(read(&sample));
    assert!(shown.len() == 1 && shown[0].contains("TOML"), "{shown:?}");
}

#[test]
fn deep_nesting_is_a_fault_and_no_crash() {
    for text in ["a = ".to_owned() + &"[".repeat(100_000), "a = ".to_owned() + &"{b=".repeat(100_000)] {
        assert!(read(&text).is_err());
        assert!(read_with(LEAST, Path::new(""), &[("SIDEBEAT_ADMIN_ORIGINS", &text[4..])]).is_err());
    }
}
