// Unmodified players in Chromium and in Firefox against sidebeat over HTTPS.
//
//   node run.mjs                          the current versions; of what is the player's own alone, in Chromium alone
//   WHOLE_MATRIX=1 node run.mjs           the versions before as well, and everything that there is in both browsers
//   node run.mjs --write                  the same, and puts the tables into docs/players.md
//   node run.mjs [BROWSER] [PLAYER …]     some of them: chromium, firefox; shaka, hlsjs, …
//   node run.mjs media                    alone those behind an authorize route and a media route
//   node run.mjs preload                  alone Shaka's preload()
//
// BINARY names the binary (../../target/release/sidebeat), CHROMIUM and FIREFOX the browsers, BEAT_S the seconds
// between beats (1). Logs, configuration and content of the run stay in out/.
import {execFileSync} from 'node:child_process';
import {mkdirSync, rmSync, statSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {background as inBackground} from './background.mjs';
import {browser} from './browser.mjs';
import {bundle} from './bundle.mjs';
import {follow} from './calls.mjs';
import {run} from './cases.mjs';
import {demo} from './demo.mjs';
import {eme} from './eme.mjs';
import {files} from './files.mjs';
import {firefox} from './firefox.mjs';
import {media, settles} from './media.mjs';
import {PLAYERS, PREVIOUS, versions} from './players.mjs';
import {preload} from './preload.mjs';
import {emeTable, mediaTables, readsTable, silenceTables, tables, write} from './report.mjs';
import {certificates, headend, killAll, proxy, stopAll, version} from './sidebeat.mjs';
import {REPORTERS, REPORT_S, silence} from './silence.mjs';
import {unsaid} from './unsaid.mjs';

const here = import.meta.dirname;
const out = path.join(here, 'out');
const names = process.argv.slice(2).filter(name => !name.startsWith('--'));
// A mistyped name would pass by testing nothing.
const PARTS = ['demo', 'eme', 'media', 'preload'];
const known = ['chromium', 'firefox', ...[...PLAYERS, ...PREVIOUS].map(({id}) => id), ...PARTS];
const unknown = names.filter(name => !known.includes(name));
if (unknown.length > 0) {
  console.error(`no such case: ${unknown.join(', ')}; there are ${known.join(', ')}`);
  process.exit(2);
}
const among = list => names.every(name => !list.includes(name)) ? () => true : name => names.includes(name);
const wantsBrowser = among(['chromium', 'firefox']);
const wants = among([...known.slice(2)]);
const whole = Boolean(process.env.WHOLE_MATRIX) || process.argv.includes('--write');
const chosen = PLAYERS.filter(({id}) => wants(id));
/** Without the whole matrix, previous versions are tried by their names alone. */
const previous = PREVIOUS.filter(({id}) => wants(id) && (whole || names.includes(id)));
const interval = Number(process.env.BEAT_S ?? 1);

const tally = {passed: 0, failed: 0};
function check(what, ok, detail) {
  tally[ok ? 'passed' : 'failed'] += 1;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}${ok || !detail ? '' : `\n     ${detail}`}`);
}

function content() {
  const script = path.join(here, '../../src/demo/asset/make.sh');
  const made = statSync(path.join(out, 'content/two/manifest.mpd'), {throwIfNoEntry: false});
  if (made && made.mtimeMs > statSync(script).mtimeMs) return;
  execFileSync(script, ['--test', path.join(out, 'content')], {stdio: 'inherit'});
}

// A process must not outlive this one, however it ends.
process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const open = [];
async function main() {
  for (const old of ['logs', 'certs']) rmSync(path.join(out, old), {recursive: true, force: true});
  for (const dir of ['logs', 'certs']) mkdirSync(path.join(out, dir), {recursive: true});
  content();
  bundle(path.join(out, 'made'));
  const sidebeat = await version();
  const certs = await certificates(path.join(out, 'certs'));
  const pages = await files(certs);
  open.push(() => pages.close());
  const far = await headend(path.join(out, 'logs'), certs, interval);
  const near = await proxy(path.join(out, 'logs'), certs, far.base, pages.origin);
  Object.assign(pages.behind, {admin: near.admin, headend: far.base, license: near.license});
  const log = follow(far);
  const stage = {check, files: pages, headend: far, interval, log, proxy: near};
  const results = [], interfaces = [], browsers = [], background = [];
  let streams = [];
  /** Runs a part, so that its failure ends no other. */
  const part = async (what, act, otherwise) => act().catch(why => (check(`${what}: runs to its end`, false, why.stack), otherwise));
  const matrix = async (players, inside) => {
    for (const player of players) {
      await part(`${player.name}, ${inside.name}`, async () => results.push(await run(player, {...stage, browser: inside})));
    }
    if (wants('eme')) interfaces.push(...await part('EME', () => eme({...stage, browser: inside}), []));
  };

  if (wantsBrowser('chromium')) {
    const chromium = await browser(out, certs.ca);
    open.push(() => chromium.close());
    browsers.push(chromium);
    const at = {...stage, chromium};
    await matrix([...chosen, ...previous], chromium);
    for (const player of chosen.filter(({variant}) => !variant)) {
      const result = results.find(result => result.player === player) ?? {};
      await part(`${player.name}, going`, async () => Object.assign(result, await silence(player, at), await unsaid(player, at)));
    }
    background.push(...chosen.filter(({id}) => id in REPORTERS).map(player => part(`${player.name}, in the background`, () => inBackground(player, at))));
    if (wants('demo')) await part('demo page', () => demo(at));
  }
  if (wantsBrowser('firefox')) {
    const inside = await firefox(out, certs.ca);
    browsers.push(inside);
    // Another use of a player is the same in every browser.
    await matrix([...chosen.filter(({variant, id}) => !variant || whole || names.includes(id)), ...previous], inside).finally(() => inside.close());
  }
  if (wantsBrowser('chromium')) {
    const at = {...stage, chromium: browsers[0]};
    if (wants('media')) streams = await part('media', () => media(at), []);
    if (wants('preload')) await part('preload', () => preload(at));
  }
  for (const result of results) Object.assign(result, {silent: await result.silent, unsaid: await result.unsaid});
  await Promise.all(background);
  // A stop call is answered before the authority is told of it.
  const {counters, open: left} = await settles(() => far.books(), ({open}) => open.length === 0);
  check('books: no beat early, no two calls of a session at once', counters.early_beats === 0 && counters.overlaps === 0, JSON.stringify(counters));
  check('books: nothing is left open', left.length === 0, JSON.stringify(left));
  if (streams.length > 0) {
    const page = mediaTables({rows: streams, command: 'node run.mjs --write'});
    writeFileSync(path.join(out, 'media.md'), `${page}\n`);
    if (process.argv.includes('--write') && tally.failed === 0) write(path.join(here, '../../docs/players.md'), {media: page});
  }
  if (results.length > 0) {
    const command = 'node run.mjs --write';
    const rows = [...chosen, ...previous].flatMap(player => results.filter(result => result.player === player));
    const tried = [sidebeat, ...browsers.map(({name, version}) => `${name} ${version()}`), ...versions([...chosen, ...previous])];
    const parts = {
      table: tables({results: rows, versions: tried, command, interval}),
      reads: readsTable({results: rows, command}),
      silence: silenceTables({results, streams, command, every: REPORT_S}),
      eme: emeTable({rows: interfaces, command}),
    };
    writeFileSync(path.join(out, 'table.md'), `${Object.values(parts).join('\n\n')}\n`);
    if (process.argv.includes('--write') && tally.failed === 0 && names.length === 0) write(path.join(here, '../../docs/players.md'), parts);
  }
}

try {
  await main();
} catch (why) {
  check('the run itself', false, why.stack);
} finally {
  for (const close of open.reverse()) await close().catch(why => console.error(why.message));
  await stopAll();
}
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exitCode = tally.failed === 0 && tally.passed > 0 ? 0 : 1;
