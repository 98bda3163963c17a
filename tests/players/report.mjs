// The tables of docs/players.md, between its two markers.
import {readFileSync, writeFileSync} from 'node:fs';

const BEGIN = '<!-- table: begin -->', END = '<!-- table: end -->';

const row = cells => `| ${cells.join(' | ')} |`;
const table = (head, rows) => [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
const ms = value => value === null || value === undefined ? 'none' : `${Math.round(value)} ms`;
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
  const name = ({player}) => player.name;
  return [
    `Measured with \`${command}\`: ${versions.join(', ')}; one beat every ${interval} s.`,
    '**Playing**',
    table(['Player', 'Sessions', 'License POSTs', 'Licenses', 'Setup to license', 'Beats in 10 s', 'Worst beat', 'Page closed to teardown'],
      results.map(r => [name(r), r.setups, r.posts, r.licenses, ms(r.opening), r.beats, `${r.worst < 0 ? '−' : '+'}${ms(Math.abs(r.worst))}`, ms(r.teardown)])),
    '**After the kill: a renewal**',
    table(['Player', 'Kill to sidebeat', 'Reply', 'The page is told', 'After', 'Reason in the error', 'POSTs by the player', 'POSTs at the head-end'],
      results.map(r => [name(r), ms(r.known), reply(r.renewal), seen(r.renewal), when(r.renewal), body(r.renewal), r.renewal.posts, r.renewal.reached])),
    '**After the kill: the page is loaded again with the same token**',
    table(['Player', 'Reply', 'The page is told', 'After', 'Reason in the error', 'POSTs by the player', 'POSTs at the head-end'],
      results.map(r => [name(r), reply(r.again), seen(r.again), when(r.again), body(r.again), r.again.posts, r.again.reached])),
  ].join('\n\n');
}

/** Replaces what stands between the markers of `file`. */
export function write(file, text) {
  const page = readFileSync(file, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${file} has no ${BEGIN} … ${END}`);
  writeFileSync(file, `${page.slice(0, begin + BEGIN.length)}\n${text}\n${page.slice(end)}`);
}
