// The tables of docs/players.md, each part between its two markers.
import {readFileSync, writeFileSync} from 'node:fs';

import {LONGEST_S, MEDIA_SILENCE_S} from './sidebeat.mjs';

const row = cells => `| ${cells.join(' | ')} |`;
const table = (head, rows) => [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
const ms = value => value === null || value === undefined ? 'none' : `${Math.round(value)} ms`;
const seconds = value => value === null || value === undefined ? 'none' : `${(value / 1000).toFixed(1)} s`;
const brief = text => text.replace(/\s+/g, ' ').replaceAll('|', '\\|').slice(0, 90);

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

export function tables({results, versions, command, interval}) {
  const name = ({browser, player}) => `${player.name} | ${browser.name}`;
  return [
    `Measured with \`${command}\`: ${versions.join(', ')}; one beat every ${interval} s.`,
    '**Playing**',
    table(['Player', 'Browser', 'Sessions', 'License POSTs', 'Licenses', 'Setup to license', 'Beats in 10 s', 'Worst beat', 'Page closed to teardown'],
      results.map(r => [name(r), r.setups, r.posts, r.licenses, ms(r.opening), r.beats, `${r.worst < 0 ? '−' : '+'}${ms(Math.abs(r.worst))}`, ms(r.teardown)])),
    '**After the kill: a renewal**',
    table(['Player', 'Browser', 'Kill to sidebeat', 'Reply', 'The page is told', 'After', 'Reason in the error', 'POSTs by the player', 'POSTs at the head-end'],
      results.map(r => [name(r), ms(r.known), reply(r.renewal), seen(r.renewal), when(r.renewal), body(r.renewal), r.renewal.posts, r.renewal.reached])),
    '**After the kill: the page is loaded again with the same token**',
    table(['Player', 'Browser', 'Reply', 'The page is told', 'After', 'Reason in the error', 'POSTs by the player', 'POSTs at the head-end'],
      results.map(r => [name(r), reply(r.again), seen(r.again), when(r.again), body(r.again), r.again.posts, r.again.reached])),
  ].join('\n\n');
}

/** What stands on the page of each player, which shows the `detail` of a problem where the player hands its body on. */
export function readsTable({results, command}) {
  const words = ({moves, overlay, reads, stall}) => {
    // Every refusal has an incident of its own.
    if (overlay) return `“${brief(overlay)}”, in the player's own box`;
    if (reads) return `“${brief(reads).replace(/\([0-9A-Z]{8}\)/, '(*incident*)')}”`;
    return moves || stall === null ? 'nothing: it plays on' : 'nothing: the picture stands still';
  };
  const rows = new Map();
  for (const {browser, player, renewal, again} of results) {
    const cells = [player.name, words(renewal), words(again)];
    const row = rows.get(cells.join()) ?? {browsers: [], cells};
    rows.set(cells.join(), {...row, browsers: [...row.browsers, browser.name]});
  }
  return [
    `Measured with \`${command}\`:`,
    table(['Player', 'Browser', 'At a renewal', 'At a first license'], [...rows.values()].map(({browsers, cells: [name, ...rest]}) => [name, browsers.join(', '), ...rest])),
  ].join('\n\n');
}

/** How soon a closed page frees its slot, by what tells sidebeat of it; one row for each player. */
export function silenceTables({results, streams, command, every}) {
  const rows = results.filter(({unsaid}) => unsaid !== undefined);
  const stream = ({id}) => streams.find(({player, type}) => player.id === id && type === 'live');
  return [
    `How soon after its page was closed the slot of a player is free at the head-end, by what sidebeat has to go by (measured with \`${command}\`):`,
    table(['Player', 'With the stop beacon', `With CMCD events every ${every} s, no beacon`, `With neither, live media through sidebeat, \`media-silence = "${MEDIA_SILENCE_S}s"\``, `With neither, \`longest = "${LONGEST_S}s"\``],
      rows.map(({player, teardown, silent, target, unsaid}) => [
        player.name, ms(teardown), target ? seconds(silent) : 'no CMCD', stream(player) ? seconds(stream(player).silent) : 'not tried', seconds(unsaid),
      ])),
    'The setting of each player, where `url` is the report URL:',
    table(['Player', 'Event target'], rows.filter(({target}) => target).map(({player, target}) => [player.name, `\`${target}\``])),
  ].join('\n\n');
}

/** What the page saw of a `MediaKeySession` beside what the mirror says of it. */
export function emeTable({rows, command}) {
  const list = object => Object.entries(object ?? {}).map(([name, value]) => `${value} \`${name}\``).join(', ') || 'none';
  const statuses = object => [...new Set(Object.values(object ?? {}))].map(status => `\`${status}\``).join(', ') || 'none';
  const view = seen => seen ? [list(seen.messages), statuses(seen.keyStatuses), seen.expiration ?? 'unknown', `\`${seen.closed}\``].join('; ') : 'not followed';
  return [
    `A ClearKey \`MediaKeySession\` in each browser (measured with \`${command}\`): messages; key statuses; expiration; closed.`,
    table(['Browser', 'Session type', 'The page saw', 'The mirror says'],
      rows.map(({browser, type, refused, saw, mirror}) => [browser.name, `\`${type}\``, refused ? `\`${refused}\`: the browser has none` : view(saw), view(mirror)])),
  ].join('\n\n');
}

/** Players behind an authorize, a media and a license route. */
export function mediaTables({rows, command}) {
  const name = ({player, type}) => `${player.name}, ${type === 'live' ? 'live' : 'title'}`;
  const off = value => value === undefined ? '–' : `${value < 0 ? '−' : '+'}${(Math.abs(value) / 1000).toFixed(1)} s`;
  const ways = {events: 'its requests and events', requests: 'its requests'};
  return [
    `Measured with \`${command}\`; one beat every second, segments and reloads every 2 s.`,
    '**Stopping and going over**',
    table(['Player', 'License POSTs', 'Second device is told', 'Kill to last byte', 'Kill to picture standing still', 'Buffer at the kill', 'Kill: the page is told', 'Kill: a renewal', 'Blackout to its beat', 'Blackout to slate', 'Beats failed in line'],
      rows.map(row => [
        name(row), row.posts, `\`${row.refused}\``, row.lastByte > 0 ? ms(row.lastByte) : 'none came', seconds(row.still), seconds(row.had),
        row.told ? `\`${row.told.code}\` after ${seconds(row.told.after)}` : 'nothing', row.renewal, row.slate ? seconds(row.slate.beat) : '–', row.slate ? seconds(row.slate.shown) : '–',
        row.failures ? `${row.failures.ended ? 'ended with' : 'goes on after'} ${row.failures.beats}` : '–',
      ])),
    '**The bookmark of a title**, ahead (+) or behind (−) of the player\'s own position, the worst of three beats',
    table(['Player', 'sidebeat goes by', 'Playing', 'After a seek', 'Paused', 'Page closed'],
      rows.flatMap(({player, bookmarks}) => (bookmarks ?? []).map(way => [player.name, ways[way.reports], off(way.plays), off(way.seek), off(way.paused), off(way.stop)]))),
  ].join('\n\n');
}

/** Replaces what stands between the markers of each part in `file`. */
export function write(file, parts) {
  let page = readFileSync(file, 'utf8');
  for (const [part, text] of Object.entries(parts)) {
    const [begin, end] = ['begin', 'end'].map(which => `<!-- ${part}: ${which} -->`);
    const [from, to] = [page.indexOf(begin), page.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`${file} has no ${begin} … ${end}`);
    page = `${page.slice(0, from + begin.length)}\n${text}\n${page.slice(to)}`;
  }
  writeFileSync(file, page);
}
