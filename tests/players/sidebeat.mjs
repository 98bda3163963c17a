// The processes under test: certificates, the head-end simulator and the proxy.
//
// Everything that depends on sidebeat's command line and configuration format stands in this file.
import {execFile, spawn} from 'node:child_process';
import {createWriteStream, existsSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {promisify} from 'node:util';

import {call, freePort, opens, trust} from './http.mjs';

const here = import.meta.dirname;
// sidebeat reads SIDEBEAT_… as its own settings and refuses one that it does not know.
// What the shell around has set must not change the configuration.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SIDEBEAT_')));
const BIN = path.resolve(process.env.BINARY ?? path.join(here, '../../target/release/sidebeat'));
const TENANT = 'DEMO';

export async function version() {
  if (!existsSync(BIN)) throw new Error(`${BIN} is not there: build it with \`cargo build --release\`, or set BINARY`);
  return (await promisify(execFile)(BIN, ['--version'])).stdout.trim();
}

/** A local CA and one leaf certificate that the proxy, the head-end and the page server share. */
export async function certificates(dir) {
  await promisify(execFile)(BIN, ['certs', 'init', '--dir', dir, 'localhost', '127.0.0.1']);
  const file = name => path.join(dir, name);
  const certs = {ca: file('ca.pem'), certificate: file('leaf.pem'), key: file('leaf.key')};
  trust(readFileSync(certs.ca));
  return certs;
}

const started = [];

async function start(name, args, port, dir) {
  const log = createWriteStream(path.join(dir, `${name}.log`));
  const child = spawn(BIN, args, {env, stdio: ['ignore', 'pipe', 'pipe']});
  started.push(child);
  child.stdout.pipe(log);
  child.stderr.pipe(log);
  let failure;
  child.on('error', why => { failure = why; });
  await opens(port, () => !failure && child.exitCode === null, `sidebeat ${name} (see ${path.relative(process.cwd(), dir)}/${name}.log)`);
}

/** Ends every process that this file started, and only those. */
export async function stopAll() {
  await Promise.all(started.splice(0).map(async child => {
    if (child.exitCode !== null || child.signalCode !== null || !child.pid) return;
    const ended = new Promise(done => child.once('exit', done));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(timer);
  }));
}
/** For exits that cannot wait. */
export const killAll = () => { for (const child of started) if (child.exitCode === null) child.kill('SIGKILL'); };

export async function headend(dir, interval) {
  const port = await freePort();
  await start('headend', ['headend', '--listen', `127.0.0.1:${port}`], port, dir);
  const base = `http://127.0.0.1:${port}`;
  const post = (path, body) => call(`${base}/sim/${path}`, {method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify(body)});
  const settings = await post('settings', {heartbeat: interval});
  if (settings.status >= 300) throw new Error(`/sim/settings: ${settings.status} ${settings.text}`);
  return {
    base,
    async token(device, content, more = {}) {
      const query = new URLSearchParams({account: `account-of-${device}`, device, content, ...more});
      const reply = await call(`${base}/sim/token?${query}`);
      if (reply.status !== 200) throw new Error(`/sim/token: ${reply.status} ${reply.text}`);
      return reply.json().token;
    },
    books: async () => (await call(`${base}/sim/books`)).json(),
    fault: fault => post('faults', fault),
    kill: whom => post('kill', whom),
    settings: settings => post('settings', settings),
    async log(since, wait) {
      const body = (await call(`${base}/sim/log?since=${since}&wait=${wait}`, {timeout: wait + 5000})).json();
      return body.calls.map(call => ({...call, endpoint: call.endpoint.replace(/^license-.*/, 'license')}));
    },
  };
}

/** `sidebeat run` with this configuration. */
async function runs(dir, port, text) {
  const file = path.join(dir, 'config.toml');
  writeFileSync(file, text);
  await start('run', ['run', '-c', file], port, dir);
}

/** Beside the ordinary routes: one whose sessions end after `longest`, and one whose live media may be silent so long. */
export const LONGEST_S = 20, MEDIA_SILENCE_S = 6;

const config = ({port, admin, certs, base, origin}) => `
[server]
listen = ["127.0.0.1:${port}"]
listen-plain = []
origins = ["${origin}"]

[server.tls]
certificate = "${certs.certificate}"
key = "${certs.key}"

[admin]
listen = "127.0.0.1:${admin}"

[[authority]]
name = "ssm"
kind = "nagra-ssm"
url = "${base}/${TENANT}/ssm"
tenant = "${TENANT}"
${clearkey(base, '/ck')}
${clearkey(base, '/ck-short', `endings.longest = "${LONGEST_S}s"`)}

[[authority]]
name = "firstlight"
kind = "firstlight"
heartbeat-url = "${base}/${TENANT}/fl/"
stream-concurrency-url = "${base}/${TENANT}/fl/"
record-bookmark = true
${authorized(base, '')}
${authorized(base, '-silent', `endings.media-silence = "${MEDIA_SILENCE_S}s"`)}
`;

const clearkey = (base, path, more = '') => `
[[route]]
path = "${path}"
authority = "ssm"
license-server = "${base}/${TENANT}/ckls/contentlicenseservice/v1/licenses"
content-token = ["header:nv-authorizations", "query:token"]
device = ["token-claim:device.deviceId", "query:device"]
${more}`;

/** Three routes that belong together; `more` is the media's. */
const authorized = (base, name, more = '') => `
[[route]]
kind = "authorize"
path = "/authorize${name}"
authority = "firstlight"
authorize-url = "${base}/${TENANT}/fl/media/content/authorize"
license-route = "/fl${name}"
media-route = "/media${name}"

[[route]]
kind = "media"
path = "/media${name}"
authority = "firstlight"
origin = "${base}"
inject-cmcd = true
${more}

[[route]]
path = "/fl${name}"
authority = "firstlight"
license-server = "${base}/${TENANT}/fl/licenses"
`;

/** The proxy; pages of `origin` may call it. */
export async function proxy(dir, certs, base, origin) {
  const [port, admin] = [await freePort(), await freePort()];
  await runs(dir, port, config({port, admin, certs, base, origin}));
  await opens(admin, () => true, 'the admin API');
  const of = async path => (await call(`http://127.0.0.1:${admin}${path}`)).json();
  const sessions = async device => (await of('/v1/sessions')).sessions.filter(row => row.device === device);
  return {
    admin: `http://127.0.0.1:${admin}`,
    /** The latest session of a device with its timeline. */
    async session(device) {
      const row = (await sessions(device)).at(-1);
      return row && of(`/v1/sessions/${row.id}`);
    },
    sessions,
    authorize: `https://localhost:${port}/authorize`,
    authorizeSilent: `https://localhost:${port}/authorize-silent`,
    kill: id => call(`http://127.0.0.1:${admin}/v1/sessions/${id}/kill`, {method: 'POST'}),
    license: `https://localhost:${port}/ck`,
    short: `https://localhost:${port}/ck-short`,
  };
}

/** Where the simulator has the license server of each DRM system. */
const LICENSES = {clearkey: 'ckls', fairplay: 'fpls', playready: 'prls', widevine: 'wvls'};

/** A proxy over plain HTTP with a license route `/NAME` for each of `routes`: {name, system, profile}. */
export async function refuser(dir, base, routes) {
  const [port, admin] = [await freePort(), await freePort()];
  const route = ({name, system, profile}) => `
[[route]]
path = "/${name}"
authority = "ssm"
license-server = "${base}/${TENANT}/${LICENSES[system]}/contentlicenseservice/v1/licenses"
enforcement = "heartbeat"
${profile === 'auto' ? '' : `refusal.${system} = {first = "${profile}", renewal = "${profile}"}`}`;
  await runs(dir, port, `
[server]
listen = []
listen-plain = ["127.0.0.1:${port}"]
origins = "any"

[admin]
listen = "127.0.0.1:${admin}"

[[authority]]
name = "ssm"
kind = "nagra-ssm"
url = "${base}/${TENANT}/ssm"
tenant = "${TENANT}"
${routes.map(route).join('\n')}`);
  await opens(admin, () => true, 'the admin API');
  const of = async path => (await call(`http://127.0.0.1:${admin}${path}`)).json();
  return {
    base: `http://127.0.0.1:${port}`,
    state: async device => (await of('/v1/sessions')).sessions.filter(row => row.device === device).at(-1)?.state,
  };
}
