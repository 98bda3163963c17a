"""Plays every manifest of a folder through a real sidebeat, from an origin that writes down what it is asked for.

Of each URI of each manifest: resolved by a parser of others (m3u8 for HLS, xml.etree and urllib for DASH) from the original
and from what sidebeat made of it, and then fetched, it reaches the origin with exactly the path and query that the original
resolves to; or it leads to a server that the route does not have, as the original did, and that was counted. Each manifest
is played twice: as it is, and with the origin's name in place of every other server's.

    python3 check.py FOLDER SIDEBEAT
"""

import http.client
import http.server
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import xml.etree.ElementTree as ET

# Where fetch.sh puts the parser; it may be installed as well.
sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "python"))
import m3u8  # noqa: E402

PATIENCE_S = 20
SERVED, ASKED = {}, []


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet, and no wait for the other side's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        ASKED.append(self.path)
        name = self.path.split("?")[0]
        kind, body = SERVED.get(name, ("video/mp2t", b"G"))
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Player:
    """One connection to sidebeat that asks for exactly what it is told to."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, target, device):
        self.connection.putrequest("GET", target, skip_accept_encoding=True)
        self.connection.putheader("x-device-id", device)
        self.connection.endheaders()
        reply = self.connection.getresponse()
        return reply.status, reply.headers, reply.read()


def written(uri):
    """As a player writes it into a request: what may not stand in one is percent-encoded."""
    return urllib.parse.quote(uri.split("#")[0], safe="!$&'()*+,-./:;=?@[]_~%")


# === HLS ===

def variables(text):
    found = {}
    for line in text.splitlines():
        if line.startswith("#EXT-X-DEFINE:"):
            name, value = (re.search(rf'{key}="([^"]*)"', line) for key in ("NAME", "VALUE"))
            if name and value:
                found[name[1]] = value[1]
    return found


def hls_uris(text):
    """All URIs that m3u8 finds, with where it found them."""
    known = variables(text)
    found = []

    def walk(node, path):
        if isinstance(node, dict):
            for key in sorted(node, key=str):
                value = node[key]
                if isinstance(value, str) and re.search(r"(^|_)uri$", str(key)):
                    for name, text in known.items():
                        value = value.replace("{$%s}" % name, text)
                    # Of attributes that it does not know, m3u8 keeps the marks.
                    value = value.strip('"')
                    found.append((f"{path}.{key}", value))
                else:
                    walk(value, f"{path}.{key}")
        elif isinstance(node, (list, tuple)):
            for number, value in enumerate(node):
                walk(value, f"{path}.{number}")

    walk(m3u8.parse(text), "")
    return found


def hls_model(text):
    """What m3u8 reads but for URIs."""
    def plain(node):
        if isinstance(node, dict):
            return {str(key): plain(value) for key, value in node.items() if not re.search("uri|x_asset|server_uri", str(key))}
        if isinstance(node, (list, tuple)):
            return [plain(value) for value in node]
        return str(node)

    model = plain(m3u8.parse(text))
    # Its values may be what URIs begin with.
    model.pop("define", None)
    return model


# === DASH ===

def local(tag):
    return tag.rsplit("}", 1)[-1]


SLOTS = {
    "BitstreamSwitching": ["sourceURL"],
    "ImportedMPD": [""],
    "Initialization": ["sourceURL"],
    "InitializationSet": ["initialization"],
    "Location": [""],
    "RepresentationIndex": ["sourceURL"],
    "SegmentTemplate": ["media", "index", "initialization", "bitstreamSwitching"],
    "SegmentURL": ["media", "index"],
}
REMOVED = {"ContentSteering", "PatchLocation"}
XLINK = "{http://www.w3.org/1999/xlink}href"


def filled(template):
    template = template.replace("$$", "%24").replace("$RepresentationID$", "r1")
    return re.sub(r"\$(Number|Time|Bandwidth|SubNumber)(%0\d+d)?\$", "7", template)


def bases_of(node, inherited):
    own = [child.text.strip() for child in node if local(child.tag) == "BaseURL" and child.text and child.text.strip()]
    if not own:
        return inherited
    return [urllib.parse.urljoin(base, uri) for uri in own for base in inherited]


def segments_of(node, bases, path, outer):
    """What a Representation's segments are called: attributes come from the outside in, and its own bases hold."""
    infos = outer + [child for child in node if local(child.tag).startswith("Segment")]
    merged = {}
    for info in infos:
        for element in info.iter():
            for slot in filter(None, SLOTS.get(local(element.tag), [])):
                if element.get(slot) and local(element.tag) != "SegmentURL":
                    merged[f"{local(element.tag)}@{slot}"] = element.get(slot)
    for number, base in enumerate(bases):
        for slot, uri in sorted(merged.items()):
            yield f"{path}#{slot}:{number}", urllib.parse.urljoin(base, filled(uri))


def dash_uris(text, url):
    """All URIs, resolved against every base that is in force, with where they stand."""
    found = []

    def walk(node, bases, path, whole):
        if local(node.tag) in REMOVED:
            return
        below = bases_of(node, bases)
        for slot in SLOTS.get(local(node.tag), []):
            uri = node.get(slot) if slot else (node.text or "").strip()
            if uri:
                against = [url] if local(node.tag) == "Location" else below
                for number, base in enumerate(against):
                    found.append((f"{path}@{slot}:{number}", urllib.parse.urljoin(base, filled(uri))))
        if node.get(XLINK) and not node.get(XLINK).startswith("urn:"):
            found.append((f"{path}@xlink", urllib.parse.urljoin(url, node.get(XLINK))))
        if local(node.tag) == "Representation":
            found.extend(segments_of(node, below, path, whole))
        if local(node.tag) == "Representation" and not any(local(tag.tag).startswith("Segment") for tag in whole):
            # The base itself is the file.
            found.extend((f"{path}@base:{number}", base) for number, base in enumerate(below) if base != url)
        seen = {}
        for child in node:
            name = local(child.tag)
            seen[name] = seen.get(name, -1) + 1
            inherits = list(whole) + [it for it in node if local(it.tag).startswith("Segment")] + (
                [it for it in child if local(it.tag).startswith("Segment")])
            walk(child, below, f"{path}/{name}{seen[name]}", inherits)

    root = ET.fromstring(text)
    walk(root, [url], local(root.tag), [])
    return found


def dash_model(text):
    """Elements and attributes but for URIs."""
    def plain(node):
        names = set(SLOTS.get(local(node.tag), [])) | {XLINK, "url", "value"}
        own = "" in SLOTS.get(local(node.tag), []) or local(node.tag) in ("BaseURL", "Laurl", "Event")
        return (node.tag, sorted((name, value) for name, value in node.items() if name not in names),
                "" if own else (node.text or "").strip(), [plain(child) for child in node if local(child.tag) not in REMOVED])

    return plain(ET.fromstring(text))


# === One manifest ===

def servers(uris):
    return {url.netloc for url in map(urllib.parse.urlsplit, uris) if url.scheme in ("http", "https")}


class Check:
    def __init__(self, players, admin, origin):
        self.players, self.admin, self.origin = players, admin, origin
        self.player = Player(players)
        self.count = dict.fromkeys(["played", "refused", "unread", "uris", "fetched", "left"], 0)
        self.bad = []

    def left(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE_S)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines()
                   if line.startswith("sidebeat_manifests_unfit_total") and 'fault="left"' in line)

    def play(self, text, is_dash, name, rename):
        path = f"/vod/show/{self.count['played'] + self.count['refused']}{'r' if rename else ''}/main.{'mpd' if is_dash else 'm3u8'}"
        url = f"http://127.0.0.1:{self.origin}{path}"
        if rename:
            for server in sorted(servers(uri for _, uri in uris_of(text, is_dash, url)), key=len, reverse=True):
                # Different servers stay different.
                there = f"http://127.0.0.1:{self.origin}/@{server}"
                text = re.sub(rf"(https?:)?//{re.escape(server)}(?=[/\"'<\s?])", there, text)
        SERVED[path] = ("application/octet-stream", text.encode())
        before = self.left()
        device = path.replace("/", "-")
        status, headers, body = self.player.get("/media" + path.removeprefix("/vod"), device)
        if status != 302:
            self.bad.append((name, "not begun", status, body[:200]))
            return
        own = headers["location"]
        status, _, body = self.player.get(own, device)
        if status == 403:
            self.count["refused"] += 1
            return
        if status != 200:
            self.bad.append((name, "not given", status, body[:200]))
            return
        self.count["played"] += 1
        edited, ours = body.decode(), f"http://127.0.0.1:{self.players}{own}"
        self.compare(name, (text, url), (edited, ours), is_dash, device, self.left() > before)

    def compare(self, name, original, edited, is_dash, device, counted):
        model = dash_model if is_dash else hls_model
        if model(original[0]) != model(edited[0]):
            self.bad.append((name, "reads otherwise"))
        pairs = [uris_of(*original[:1], is_dash, original[1]), uris_of(edited[0], is_dash, edited[1])]
        if [where for where, _ in pairs[0]] != [where for where, _ in pairs[1]]:
            self.bad.append((name, "has other URIs", len(pairs[0]), len(pairs[1])))
            return
        asked = {}
        for (where, first), (_, second) in zip(*pairs):
            self.count["uris"] += 1
            if first == second:
                # It leads to no server, or to one that the route does not have.
                if urllib.parse.urlsplit(first).scheme in ("http", "https"):
                    self.count["left"] += 1
                    if not counted or first.startswith(f"http://127.0.0.1:{self.origin}/"):
                        self.bad.append((name, where, "leads past uncounted", first))
                continue
            if second not in asked:
                self.fetch(name, where, first, second, device)
            elif written(asked[second]) != written(first):
                self.bad.append((name, where, "leads where another one does", asked[second], first, second))
            asked[second] = first

    def fetch(self, name, where, first, second, device):
        ours = f"http://127.0.0.1:{self.players}"
        if not second.startswith(f"{ours}/media/"):
            self.bad.append((name, where, "leads past", first, second))
            return
        wanted = written(first).removeprefix(f"http://127.0.0.1:{self.origin}")
        ASKED.clear()
        self.player.get(written(second).removeprefix(ours), device)
        self.count["fetched"] += 1
        # What turns out to be a manifest may be asked for twice.
        if not ASKED or any(path != (wanted or "/") for path in ASKED):
            self.bad.append((name, where, wanted, list(ASKED), second))


def uris_of(text, is_dash, url):
    if is_dash:
        return dash_uris(text, url)
    return [(where, urllib.parse.urljoin(url, uri)) for where, uri in hls_uris(text)]


# === All of it ===

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def config(players, admin, origin):
    return f"""
[server]
listen = []
listen-plain = ["127.0.0.1:{players}"]
workers = 1
[admin]
listen = "127.0.0.1:{admin}"
[[authority]]
name = "home"
kind = "embedded"
account = ["device"]
[[route]]
kind = "media"
path = "/media"
origin = "http://127.0.0.1:{origin}/vod"
authority = "home"
"""


def text_of(path):
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue


def main(folder, sidebeat):
    origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    origin.daemon_threads = True
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    players, admin = free_port(), free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(config(players, admin, origin.server_port))
        file.flush()
        proxy = subprocess.Popen([sidebeat, "run", "-c", file.name], stderr=subprocess.PIPE, text=True)
        try:
            for line in proxy.stderr:
                if "admin: " in line or "admin listener" in line:
                    break
            threading.Thread(target=proxy.stderr.read, daemon=True).start()
            check = Check(players, admin, origin.server_port)
            files, texts = 0, set()
            for path in sorted(p for end in ("*.m3u8", "*.mpd") for p in pathlib.Path(folder).rglob(end) if p.is_file()):
                files += 1
                text = text_of(path)
                if text in texts:
                    continue
                texts.add(text)
                is_dash = text.lstrip().startswith("<")
                try:
                    uris_of(text, is_dash, "http://x/")
                except Exception:  # The parser cannot read it, and nobody can compare.
                    check.count["unread"] += 1
                    continue
                for rename in (False, True):
                    check.play(text, is_dash, str(path.relative_to(folder)), rename)
        finally:
            proxy.terminate()
            proxy.wait(PATIENCE_S)
    for fault in check.bad[:40]:
        print(json.dumps(fault, default=str)[:600])
    print(f"{files} files, {len(texts)} of them different; as they are and with the origin's name: {check.count};",
          f"{len(check.bad)} faults")
    return 1 if check.bad or not check.count["fetched"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
