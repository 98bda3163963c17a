// A run tries what its words say, or says that it does not.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import path from 'node:path';
import test from 'node:test';

import {BROWSERS, PARTS, choose, tried} from './choice.mjs';
import {PLAYERS, PREVIOUS} from './players.mjs';

const named = cases => cases.map(({browser, id}) => `${browser} ${id}`);

test('each word chooses a case that it names', () => {
  for (const browser of BROWSERS) {
    for (const id of [...PLAYERS, ...PREVIOUS].map(({id}) => id).concat(PARTS)) {
      assert.deepEqual(named(choose([browser, id], {whole: false})), [`${browser} ${id}`]);
    }
  }
  assert.deepEqual(named(choose(['media', 'firefox', 'dashjs'], {whole: false})), ['firefox dashjs', 'firefox media']);
  assert.deepEqual(named(choose(['rx-3'], {whole: false})), ['chromium rx-3', 'firefox rx-3']);
});

test('the whole matrix is every case in both browsers, and the daily one is the current versions', () => {
  const all = PLAYERS.length + PREVIOUS.length + PARTS.length;
  assert.equal(choose([], {whole: true}).length, 2 * all);
  const daily = named(choose([], {whole: false}));
  for (const id of ['shaka', 'dashjs', 'hlsjs', 'videojs', 'rx']) for (const browser of BROWSERS) assert.ok(daily.includes(`${browser} ${id}`), `${browser} ${id}`);
  for (const part of PARTS) assert.ok(daily.includes(`chromium ${part}`), part);
  assert.equal(daily.filter(name => name.endsWith('shaka-4')).length, 0);
});

test('an unknown word is refused before anything starts', () => {
  assert.throws(() => choose(['shacka'], {whole: false}), /no such case: shacka; there are chromium/);
  const run = () => execFileSync('node', [path.join(import.meta.dirname, 'run.mjs'), 'firefox', 'demmo'], {stdio: 'pipe'});
  assert.throws(run, ({status, stderr}) => status === 2 && /no such case: demmo/.test(stderr));
});

test('a case of which nothing was tried is named', () => {
  const cases = choose(['firefox', 'media', 'preload'], {whole: false});
  const seen = [];
  const {check, holds, idle} = tried(cases, what => seen.push(what));
  check(cases[0])('plays', true);
  assert.deepEqual(idle(), ['firefox preload']);
  assert.deepEqual([holds(cases[0]), holds(cases[1])], [true, false]);
  check(cases[0])('ends', false);
  assert.deepEqual([holds(cases[0]), seen], [false, ['plays', 'ends']]);
});
