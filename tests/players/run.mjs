// Unmodified players in Chromium against sidebeat over HTTPS.
//
//   node run.mjs [--write] [PLAYER …]     --write puts the tables into docs/players.md
//   node run.mjs media                    alone those behind an authorize route and a media route
//   node run.mjs preload                  alone Shaka's preload()
//
// BINARY names the binary (../../target/release/sidebeat), CHROMIUM the browser, BEAT_S the seconds
// between beats (1). Logs, configuration and content of the run stay in out/.
import {execFileSync} from 'node:child_process';
import {mkdirSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {background} from './background.mjs';
import {browser} from './browser.mjs';
import {follow} from './calls.mjs';
import {PLAYERS, run} from './cases.mjs';
import {demo} from './demo.mjs';
import {eme} from './eme.mjs';
import {files} from './files.mjs';
import {media, settles} from './media.mjs';
import {preload} from './preload.mjs';
import {emeTable, mediaTables, silenceTables, tables, write} from './report.mjs';
import {certificates, headend, killAll, proxy, stopAll, version} from './sidebeat.mjs';
import {REPORTERS, REPORT_S, silence} from './silence.mjs';
import {unsaid} from './unsaid.mjs';

const here = import.meta.dirname;
const out = path.join(here, 'out');
const names = process.argv.slice(2).filter(name => !name.startsWith('--'));
// A mistyped name would pass by testing nothing.
const known = [...PLAYERS.map(({id}) => id), 'demo', 'eme', 'media', 'preload'];
const unknown = names.filter(name => !known.includes(name));
if (unknown.length > 0) {
  console.error(`no such case: ${unknown.join(', ')}; there are ${known.join(', ')}`);
  process.exit(2);
}
const chosen = PLAYERS.filter(player => names.length === 0 || names.includes(player.id));
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

function versions(chromium, sidebeat) {
  const of = name => JSON.parse(readFileSync(path.join(here, 'node_modules', name, 'package.json'))).version;
  const names = ['shaka-player', 'dashjs', 'hls.js', 'video.js', 'videojs-contrib-eme'];
  return [sidebeat, `Chromium ${chromium.version()}`, ...names.map(name => `${name} ${of(name)}`)];
}

// A process must not outlive this one, however it ends.
process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const open = [];
async function main() {
  for (const old of ['logs', 'certs', 'home']) rmSync(path.join(out, old), {recursive: true, force: true});
  for (const dir of ['logs', 'certs']) mkdirSync(path.join(out, dir), {recursive: true});
  content();
  const sidebeat = await version();
  const certs = await certificates(path.join(out, 'certs'));
  const pages = await files(certs);
  open.push(() => pages.close());
  const far = await headend(path.join(out, 'logs'), certs, interval);
  const near = await proxy(path.join(out, 'logs'), certs, far.base, pages.origin);
  Object.assign(pages.behind, {admin: near.admin, headend: far.base, license: near.license});
  const chromium = await browser(out, certs.ca);
  open.push(() => chromium.close());

  const log = follow(far);
  const results = [];
  for (const player of chosen) {
    try {
      const stage = {chromium, files: pages, headend: far, interval, log, proxy: near, check};
      results.push({...await run(player, stage), ...await silence(player, stage), ...await unsaid(player, stage)});
    } catch (why) {
      check(`${player.name}: runs to its end`, false, why.stack);
    }
  }
  const behind = chosen.filter(({id}) => id in REPORTERS).map(player => background(player, {chromium, files: pages, headend: far, proxy: near, check})
    .catch(why => check(`${player.name}, in the background: runs to its end`, false, why.stack)));
  if (names.length === 0 || names.includes('demo')) {
    await demo({chromium, files: pages, proxy: near, check}).catch(why => check('demo page: runs to its end', false, why.stack));
  }
  let interfaces = [];
  if (names.length === 0 || names.includes('eme')) {
    interfaces = await eme({chromium, files: pages, headend: far, proxy: near, check}).catch(why => (check('EME: runs to its end', false, why.stack), []));
  }
  let streams = [];
  if (names.length === 0 || names.includes('media')) {
    streams = await media({chromium, files: pages, headend: far, log, proxy: near, check}).catch(why => (check('media: runs to its end', false, why.stack), []));
  }
  if (names.length === 0 || names.includes('preload')) {
    await preload({chromium, check, files: pages, headend: far, log, proxy: near}).catch(why => check('preload: runs to its end', false, why.stack));
  }
  for (const result of results) Object.assign(result, {silent: await result.silent, unsaid: await result.unsaid});
  await Promise.all(behind);
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
    const parts = {
      table: tables({results, versions: versions(chromium, sidebeat), command, interval}),
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
