// Unmodified players in Chromium and in Firefox against sidebeat over HTTPS.
//
//   node run.mjs                          the current versions; of what is the player's own alone, in Chromium alone
//   WHOLE_MATRIX=1 node run.mjs           the versions before as well, and everything that there is in both browsers
//   node run.mjs --write [WORD …]         the same, or what the words say, and renews its rows in docs/players.md
//   node run.mjs [BROWSER] [PLAYER …]     some of them: chromium, firefox; shaka, hlsjs, …
//   node run.mjs media                    alone those behind an authorize route and a media route
//   node run.mjs preload                  alone Shaka's preload()
//
// A word for which nothing is tried is an error. BINARY names the binary (../../target/release/sidebeat), CHROMIUM and
// FIREFOX the browsers, BEAT_S the seconds between beats (1). Logs, configuration and content of the run stay in out/.
import {execFileSync} from 'node:child_process';
import {mkdirSync, rmSync, statSync} from 'node:fs';
import {cpus, loadavg} from 'node:os';
import path from 'node:path';

import {background as inBackground} from './background.mjs';
import {browser} from './browser.mjs';
import {bundle} from './bundle.mjs';
import {follow} from './calls.mjs';
import {run} from './cases.mjs';
import {choose, tried} from './choice.mjs';
import {demo} from './demo.mjs';
import {eme} from './eme.mjs';
import {files} from './files.mjs';
import {firefox} from './firefox.mjs';
import {MEDIA, media, settles} from './media.mjs';
import {PLAYERS, PREVIOUS, versions} from './players.mjs';
import {preload} from './preload.mjs';
import {emeRows, mediaRows, merge, playerRows, read, write} from './report.mjs';
import {certificates, headend, killAll, proxy, stopAll, version} from './sidebeat.mjs';
import {REPORTERS, silence} from './silence.mjs';
import {unsaid} from './unsaid.mjs';

const here = import.meta.dirname;
const out = path.join(here, 'out');
const words = process.argv.slice(2).filter(word => !word.startsWith('--'));
const writes = process.argv.includes('--write');
const whole = Boolean(process.env.WHOLE_MATRIX) || writes;
let cases;
try {
  cases = choose(words, {whole});
} catch (why) {
  console.error(why.message);
  process.exit(2);
}
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

const STARTS = {chromium: browser, firefox};
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
  const far = await headend(path.join(out, 'logs'), interval);
  const near = await proxy(path.join(out, 'logs'), certs, far.base, pages.origin);
  Object.assign(pages.behind, {admin: near.admin, headend: far.base, license: near.license});
  const stage = {files: pages, headend: far, interval, log: follow(far), proxy: near};
  const tries = tried(cases, check);
  const measured = [], browsers = [], background = [];
  /** Runs a case, so that its failure ends no other; `act` gives its rows, or a promise of them. */
  const one = async (at, inside, act) => {
    const check = tries.check(at);
    const failed = why => check(`${at.id}, ${at.browser}: runs to its end`, false, why.stack);
    const rows = await Promise.resolve(act({...stage, browser: inside, check})).catch(failed);
    const load = loadavg()[0];
    // What is measured after a page has gone takes its time, and the next case need not wait.
    background.push(Promise.resolve(rows?.later).then(later => measured.push({at, load, rows: later ?? rows}), failed));
  };

  for (const name of new Set(cases.map(({browser}) => browser))) {
    const inside = await STARTS[name](out, certs.ca);
    let closed;
    const close = () => closed ??= inside.close();
    open.push(close);
    browsers.push(inside);
    const late = [];
    for (const at of cases.filter(({browser}) => browser === name)) {
      const player = [...PLAYERS, ...PREVIOUS].find(({id}) => id === at.id);
      await one(at, inside, stage => player ? plays(player, stage, late) : PART[at.id](stage));
    }
    // They need its pages.
    await Promise.all(late);
    await close();
  }
  await Promise.all(background);
  check('every case was tried', tries.idle().length === 0, tries.idle().join(', '));
  // A stop call is answered before the authority is told of it.
  const {counters, open: left} = await settles(() => far.books(), ({open}) => open.length === 0);
  check('books: no beat early, no two calls of a session at once', counters.early_beats === 0 && counters.overlaps === 0, JSON.stringify(counters));
  check('books: nothing is left open', left.length === 0, JSON.stringify(left));

  const held = measured.filter(({at, rows}) => rows && tries.holds(at));
  const played = id => cases.some(at => at.id === id || at.id === 'media' && MEDIA.some(player => player.id === id));
  const players = [...PLAYERS, ...PREVIOUS].filter(({id}) => played(id));
  const run = {
    date: new Date().toISOString().slice(0, 10), interval, processors: cpus().length,
    versions: [sidebeat, ...browsers.map(({name, version}) => `${name} ${version()}`), ...versions(players)],
  };
  if (writes && held.length > 0) write(merge(read(), run, held));
}

/** What each part gives to the tables. */
const PART = {
  demo: async stage => void await demo(stage),
  eme: async stage => emeRows(await eme(stage)),
  media: async stage => mediaRows(await media(stage)),
  preload: async stage => void await preload(stage),
};

/** A player's matrix; the current versions go through what comes of a page that says nothing as well. */
async function plays(player, stage, late) {
  const result = await run(player, stage);
  const chosen = whole || words.length > 0 || stage.browser.name === 'Chromium';
  if (player.variant || PREVIOUS.includes(player) || !chosen) return playerRows(result);
  if (player.id in REPORTERS) {
    const failed = why => stage.check(`${player.name}, ${stage.browser.name}, in the background: runs to its end`, false, why.stack);
    late.push(inBackground(player, stage).catch(failed));
  }
  Object.assign(result, await silence(player, stage), await unsaid(player, stage));
  const later = Promise.all([result.silent, result.unsaid]).then(([silent, unsaid]) => playerRows({...result, silent, unsaid}));
  return {later};
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
