// What an app makes of a kill: the condition by which apps of this head-end's SDK know one, evaluated on the very bytes of
// every refusal, of each DRM system, in every shape, for every family of players. No browser: node alone.
//
//   node refusals.mjs                     all of them
//
// BINARY names the binary (../../target/release/sidebeat). Logs and configuration of the run stay in out/refusals/.
import {mkdirSync, readFileSync, rmSync} from 'node:fs';
import path from 'node:path';

import {DOMParser} from '@xmldom/xmldom';

import {call, pause} from './http.mjs';
import {headend, killAll, refuser, stopAll, version} from './sidebeat.mjs';

const here = import.meta.dirname;
const out = path.join(here, 'out/refusals');
const vector = name => readFileSync(path.join(here, '../vectors/drm', name));

/** As apps write it. */
const isKill = new Function('body', 'const {code, errorCode, message} = body; return code === 404 && errorCode === 3002 && message === "Not Found";');

/** Of one of the simulator's keys. */
const CLEARKEY = '{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}';

/** Messages and profiles of each system. */
const SYSTEMS = {
  clearkey: {message: CLEARKEY, profiles: ['auto', 'http', 'reject']},
  fairplay: {message: vector('fps_spc_v1.bin'), profiles: ['auto', 'http']},
  playready: {message: vector('pr_challenge_v43.xml'), profiles: ['auto', 'http', 'soap-200', 'soap-500']},
  widevine: {message: vector('wv_new_clientid.bin'), profiles: ['auto', 'http', 'reject']},
};

/** What tells the families of players, and by it the shape that each is sent without a profile of the route. */
const FAMILIES = {
  browser: {origin: 'https://tv.example', 'content-type': 'text/plain'},
  kodi: {'user-agent': 'Kodi/21.0 (X11; Linux x86_64)'},
  native: {},
  'video.js': {origin: 'https://tv.example', 'content-type': 'application/octet-stream'},
};

/** Widevine's error message: six bytes that hold nothing else. */
const SIX = Buffer.from([8, 3, 0x12, 2, 8, 3]);

/** The object that an app gets from a refusal, by its content type; null: its body has no room for one. */
function told({headers, body, text}) {
  const type = (headers['content-type'] ?? '').split(';')[0];
  if (type === 'application/problem+json' || type === 'application/json') return JSON.parse(text);
  if (type === 'text/xml') return fault(text);
  if (type === 'application/octet-stream' && body.equals(SIX)) return null;
  throw new Error(`a refusal of another shape: ${type}, ${body.toString('hex').slice(0, 80)}`);
}

/** What a SOAP fault hands to an app: PlayReady's `CustomData`, the only one in its place. */
function fault(text) {
  const complains = (level, message) => { throw new Error(`${level}: ${message}`); };
  const page = new DOMParser({onError: complains}).parseFromString(text, 'text/xml');
  const soap = 'http://schemas.xmlsoap.org/soap/envelope/';
  const [found, ...more] = page.getElementsByTagNameNS(soap, 'Fault');
  if (!found || more.length > 0) throw new Error('not one fault');
  const custom = [...found.getElementsByTagName('CustomData')];
  if (custom.length !== 1 || custom[0].parentNode.localName !== 'Exception') throw new Error('not one CustomData in the Exception');
  return JSON.parse(custom[0].textContent);
}

const tally = {passed: 0, failed: 0};
function check(what, ok, detail) {
  tally[ok ? 'passed' : 'failed'] += 1;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}${ok ? '' : `\n     ${detail}`}`);
}

process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** A refusal holds what the head-end said of the kill, and so does what an app reads of it. */
function judge(what, reply, event) {
  const named = reply.headers['x-ssm-error'] === '3002' && /^[0-9A-Z]{8}$/.test(reply.headers['x-sidebeat-incident'] ?? '');
  check(`${what}: the headers name the reason and the incident`, named, JSON.stringify(reply.headers));
  let body;
  try {
    body = told(reply);
  } catch (why) {
    return check(`${what}: the body is one of ours`, false, `${reply.status}: ${why.message}`);
  }
  if (body === null) return check(`${what}: Widevine's error message, which has no room for more`, reply.status === 200, reply.status);
  check(`${what}: the condition is true, ${reply.status} ${reply.headers['content-type'].split(';')[0]}`, isKill(body), reply.text);
  check(`${what}: the event is ${event}`, body.event === event, reply.text);
  return body;
}

async function main() {
  rmSync(out, {recursive: true, force: true});
  mkdirSync(out, {recursive: true});
  console.log(await version());
  const routes = Object.entries(SYSTEMS).flatMap(([system, {profiles}]) => profiles.map(profile => ({name: `${system}-${profile}`, profile, system})));
  const far = await headend(out, 1);
  const near = await refuser(out, far.base, routes);
  const cases = routes.flatMap(route => Object.entries(FAMILIES).map(([family, headers]) => ({...route, device: `${route.name}-${family}`, family, headers})));
  const ask = async ({device, headers, name, system}, token) =>
    call(`${near.base}/${name}`, {method: 'POST', headers: {'nv-authorizations': token, 'x-device-id': device, ...headers}, body: SYSTEMS[system].message});

  // Killed while it plays: found by a beat.
  const playing = await Promise.all(cases.map(async row => ({...row, token: await far.token(row.device, 'news')})));
  for (const row of playing) {
    const reply = await ask(row, row.token);
    check(`${row.device}: has a license`, reply.status === 200, `${reply.status} ${reply.text}`);
  }
  for (const row of playing) await far.kill({device: row.device});
  const shapes = new Set();
  for (const row of playing) {
    for (const end = Date.now() + 15_000; await near.state(row.device) !== 'killed' && Date.now() < end; await pause(50));
    const reply = await ask(row, row.token);
    judge(`${row.device}: killed`, reply, 'ssmheartbeaterror');
    shapes.add(`${row.system} ${reply.status} ${reply.headers['content-type']?.split(';')[0]}`);
  }

  // Refused in the same words before it plays.
  for (const row of cases) {
    const device = `${row.device}-new`;
    await far.fault({endpoint: 'setup', device, action: {status: 404, body: {errorCode: 3002, message: 'Not Found'}}});
    judge(`${row.device}: at setup`, await ask({...row, device}, await far.token(device, 'news')), 'ssmsetuperror');
  }

  // A shape that no case meets any more would be held by nothing.
  const expected = [
    'clearkey 200 application/json', 'clearkey 403 application/problem+json', 'fairplay 403 application/problem+json',
    'playready 200 text/xml', 'playready 403 application/problem+json', 'playready 500 text/xml',
    'widevine 200 application/octet-stream', 'widevine 403 application/problem+json',
  ];
  check('every shape of every system was read', [...shapes].sort().join() === expected.join(), [...shapes].sort().join(', '));
}

try {
  await main();
} catch (why) {
  check('the run itself', false, why.stack);
} finally {
  await stopAll();
}
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exitCode = tally.failed === 0 && tally.passed > 0 ? 0 : 1;
