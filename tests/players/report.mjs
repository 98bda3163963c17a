// The tables of docs/players.md, each part between its two markers.
//
// Runs measure, results.json keeps: each row by table, browser and player, with the run that measured it and the load of
// its machine at that time. The page is made from that file and from nothing else, so that a part of the matrix can be
// measured anew by itself.
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {MEDIA} from './media.mjs';
import {PLAYERS, PREVIOUS} from './players.mjs';
import {LONGEST_S, MEDIA_SILENCE_S} from './sidebeat.mjs';
import {REPORT_S} from './silence.mjs';

const here = import.meta.dirname;
export const RESULTS = path.join(here, 'results.json');
export const PAGE = path.join(here, '../../docs/players.md');
const COMMAND = 'node run.mjs --write';
const BROWSERS = ['Chromium', 'Firefox'];

const row = cells => `| ${cells.join(' | ')} |`;
const table = (head, rows) => [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
const ms = value => value === null || value === undefined ? 'none' : `${Math.round(value)} ms`;
const seconds = value => value === null || value === undefined ? 'none' : `${(value / 1000).toFixed(1)} s`;
const brief = text => text.replace(/\s+/g, ' ').replaceAll('|', '\\|').slice(0, 90);

// === What a run measured, as cells ===

function seen({error, stall}) {
  const parts = [];
  if (error) parts.push(`\`${error.code}\`${error.text ? ` ${brief(error.text.split(' --')[0])}` : ''}${error.status ? `, HTTP ${error.status}` : ''}`);
  if (stall !== null && !error) parts.push('stall, no error');
  return parts.join('; ') || 'nothing';
}

function body({error}) {
  if (!error?.body) return 'no';
  try {
    const {error: name, errorCode, incident} = JSON.parse(error.body);
    return [name, errorCode, incident && 'incident id'].filter(Boolean).join(', ');
  } catch {
    return brief(error.body);
  }
}

const reply = ({replies}) => [...new Set(replies.map(({status}) => status))].join(', ') || 'none';
const when = ({error, stall}) => ms(error?.ms ?? stall);


/** The rows of one player in one browser. */
export function playerRows({browser, player, ...r}) {
  const id = `${browser.name} ${player.id}`;
  const rows = {
    playing: {[id]: [r.setups, r.posts, r.licenses, ms(r.opening), r.beats, `${r.worst < 0 ? '−' : '+'}${ms(Math.abs(r.worst))}`, ms(r.teardown)]},
    renewal: {[id]: [ms(r.known), reply(r.renewal), seen(r.renewal), when(r.renewal), body(r.renewal), r.renewal.posts, r.renewal.reached]},
    again: {[id]: [reply(r.again), seen(r.again), when(r.again), body(r.again), r.again.posts, r.again.reached]},
    reads: {[id]: [words(r.renewal), words(r.again)]},
  };
  if (r.unsaid !== undefined) rows.silence = {[id]: [ms(r.teardown), r.target ? seconds(r.silent) : 'no CMCD', seconds(r.unsaid)]};
  if (r.target) rows.target = {[id]: [`\`${r.target}\``]};
  return rows;
}

/** What stands on the page of each player, which shows the `detail` of a problem where the player hands its body on. */
function words({moves, overlay, reads, stall}) {
  // Every refusal has an incident of its own.
  if (overlay) return `“${brief(overlay)}”, in the player's own box`;
  if (reads) return `“${brief(reads).replace(/\([0-9A-Z]{8}\)/, '(*incident*)')}”`;
  return moves || stall === null ? 'nothing: it plays on' : 'nothing: the picture stands still';
}

/** What the page saw of a `MediaKeySession` beside what the mirror says of it. */
export function emeRows(interfaces) {
  const list = object => Object.entries(object ?? {}).map(([name, value]) => `${value} \`${name}\``).join(', ') || 'none';
  const statuses = object => [...new Set(Object.values(object ?? {}))].map(status => `\`${status}\``).join(', ') || 'none';
  const view = seen => seen ? [list(seen.messages), statuses(seen.keyStatuses), seen.expiration ?? 'unknown', `\`${seen.closed}\``].join('; ') : 'not followed';
  const cells = ({refused, saw, mirror}) => [refused ? `\`${refused}\`: the browser has none` : view(saw), view(mirror)];
  return {eme: Object.fromEntries(interfaces.map(one => [`${one.browser.name} ${one.type}`, cells(one)]))};
}

/** Players behind an authorize, a media and a license route. */
export function mediaRows(streams) {
  const off = value => value === undefined ? '–' : `${value < 0 ? '−' : '+'}${(Math.abs(value) / 1000).toFixed(1)} s`;
  const rows = {media: {}, bookmark: {}, vanishing: {}};
  for (const r of streams) {
    const id = `${r.browser.name} ${r.player.id} ${r.type}`;
    rows.media[id] = [
      r.posts, `\`${r.refused}\``, r.lastByte > 0 ? ms(r.lastByte) : 'none came', seconds(r.still), seconds(r.had),
      r.told ? `\`${r.told.code}\` after ${seconds(r.told.after)}` : 'nothing', r.renewal, r.slate ? seconds(r.slate.beat) : '–', r.slate ? seconds(r.slate.shown) : '–',
      r.failures ? `${r.failures.ended ? 'ended with' : 'goes on after'} ${r.failures.beats}` : '–',
    ];
    if (r.silent !== undefined) rows.vanishing[`${r.browser.name} ${r.player.id}`] = [seconds(r.silent)];
    for (const way of r.bookmarks ?? []) rows.bookmark[`${r.browser.name} ${r.player.id} ${way.reports}`] = [way.plays, way.seek, way.paused, way.stop].map(off);
  }
  return rows;
}

// === The results of several runs ===

export const read = (file = RESULTS) => JSON.parse(readFileSync(file, 'utf8'));

/** `measured`: {load, rows} of each case that held; what it does not name stays as it was. Runs without rows are forgotten. */
export function merge({runs, tables}, run, measured) {
  const id = String(Math.max(0, ...Object.keys(runs).map(Number)) + 1);
  const all = structuredClone(tables);
  for (const {load, rows} of measured) {
    for (const [name, more] of Object.entries(rows)) {
      all[name] ??= {};
      for (const [key, cells] of Object.entries(more)) all[name][key] = {cells: cells.map(String), load: Number(load.toFixed(1)), run: id};
    }
  }
  const used = new Set(Object.values(all).flatMap(rows => Object.values(rows).map(({run}) => run)));
  return {runs: Object.fromEntries(Object.entries({...runs, [id]: run}).filter(([id]) => used.has(id))), tables: all};
}

// === The page ===

/** Every part of the page. */
export function render(results) {
  const number = id => Object.keys(results.runs).indexOf(id) + 1;
  const rowsOf = name => results.tables[name] ?? {};
  /** In the order of players, ways and browsers; `ways`: what follows a player's id in its key, and its name. */
  const lines = (name, players, {ways = {'': ''}} = {}) => players.flatMap(player => Object.entries(ways).flatMap(([way, title]) =>
    BROWSERS.flatMap(browser => {
      const key = [browser, player.id, way].filter(Boolean).join(' ');
      const found = rowsOf(name)[key];
      return found ? [{browser, found, key, player, title}] : [];
    })));
  const measured = ({load, run}) => `${number(run)}, ${load.toFixed(1)}`;
  const LAST = 'Run, load';
  const players = [...PLAYERS, ...PREVIOUS];
  const plain = (name, head) => table(['Player', 'Browser', ...head, LAST], lines(name, players).map(({browser, found, player}) => [player.name, browser, ...found.cells, measured(found)]));
  const TYPES = {live: 'live', vod: 'title'};
  const WAYS = {requests: 'its requests', events: 'its requests and events'};
  const REFUSED = ['Reply', 'The page is told', 'After', 'Reason in the error', 'POSTs by the player', 'POSTs at the head-end'];
  return {
    table: [
      `Measured with \`${COMMAND}\`. The last column names [the run](#the-runs) and the load of its machine then.`,
      '**Playing**',
      plain('playing', ['Sessions', 'License POSTs', 'Licenses', 'Setup to license', 'Beats in 10 s', 'Worst beat', 'Page closed to teardown']),
      '**After the kill: a renewal**',
      plain('renewal', ['Kill to sidebeat', ...REFUSED]),
      '**After the kill: the page is loaded again with the same token**',
      plain('again', REFUSED),
    ].join('\n\n'),
    reads: [`Measured with \`${COMMAND}\`:`, grouped(lines('reads', players), number)].join('\n\n'),
    silence: [
      `How soon after its page was closed the slot of a player is free at the head-end, by what sidebeat has to go by (measured with \`${COMMAND}\`):`,
      table(['Player', 'Browser', 'With the stop beacon', `With CMCD events every ${REPORT_S} s, no beacon`, `With neither, live media through sidebeat, \`media-silence = "${MEDIA_SILENCE_S}s"\``, `With neither, \`longest = "${LONGEST_S}s"\``, LAST],
        lines('silence', players).map(({browser, found, key, player}) => {
          const [beacon, reports, longest] = found.cells;
          return [player.name, browser, beacon, reports, rowsOf('vanishing')[key]?.cells[0] ?? 'not tried', longest, measured(found)];
        })),
      'The setting of each player, where `url` is the report URL:',
      table(['Player', 'Event target'], lines('target', players).filter(({browser}) => browser === BROWSERS[0]).map(({found, player}) => [player.name, ...found.cells])),
    ].join('\n\n'),
    eme: [
      `A ClearKey \`MediaKeySession\` in each browser (measured with \`${COMMAND}\`): messages; key statuses; expiration; closed.`,
      table(['Browser', 'Session type', 'The page saw', 'The mirror says', LAST],
        Object.entries(rowsOf('eme')).sort(([a], [b]) => a < b ? -1 : 1).map(([key, found]) => [key.split(' ')[0], `\`${key.split(' ')[1]}\``, ...found.cells, measured(found)])),
    ].join('\n\n'),
    media: [
      `Measured with \`${COMMAND}\`; one beat every second, segments and reloads every 2 s.`,
      '**Stopping and going over**',
      table(['Player', 'Browser', 'License POSTs', 'Second device is told', 'Kill to last byte', 'Kill to picture standing still', 'Buffer at the kill', 'Kill: the page is told', 'Kill: a renewal', 'Blackout to its beat', 'Blackout to slate', 'Beats failed in line', LAST],
        lines('media', MEDIA, {ways: TYPES}).map(({browser, found, player, title}) => [`${player.name}, ${title}`, browser, ...found.cells, measured(found)])),
      '**The bookmark of a title**, ahead (+) or behind (−) of the player\'s own position, the worst of three beats',
      table(['Player', 'Browser', 'sidebeat goes by', 'Playing', 'After a seek', 'Paused', 'Page closed', LAST],
        lines('bookmark', MEDIA, {ways: WAYS}).map(({browser, found, player, title}) => [player.name, browser, title, ...found.cells, measured(found)])),
    ].join('\n\n'),
    runs: Object.values(results.runs).map(({date, interval, processors, versions}, index) =>
      `${index + 1}. ${date}: ${versions.join(', ')}; one beat every ${interval} s, but for media; ${processors} processors.`).join('\n'),
  };
}

/** Browsers that show the same stand in one line. */
function grouped(lines, number) {
  const rows = new Map();
  for (const {browser, found, player} of lines) {
    const cells = [player.name, ...found.cells];
    const row = rows.get(cells.join()) ?? {browsers: [], cells, runs: []};
    rows.set(cells.join(), {...row, browsers: [...row.browsers, browser], runs: [...new Set([...row.runs, number(found.run)])]});
  }
  const cells = ({browsers, cells: [name, ...rest], runs}) => [name, browsers.join(', '), ...rest, runs.join(', ')];
  return table(['Player', 'Browser', 'At a renewal', 'At a first license', 'Run'], [...rows.values()].map(cells));
}

/** What stands between the markers of each part in `page` is replaced. */
export function filled(page, parts) {
  return Object.entries(parts).reduce((page, [part, text]) => {
    const [begin, end] = ['begin', 'end'].map(which => `<!-- ${part}: ${which} -->`);
    const [from, to] = [page.indexOf(begin), page.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`the page has no ${begin} … ${end}`);
    return `${page.slice(0, from + begin.length)}\n${text}\n${page.slice(to)}`;
  }, page);
}

export function write(results) {
  writeFileSync(RESULTS, `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(PAGE, filled(readFileSync(PAGE, 'utf8'), render(results)));
}
