// The tables of docs/players.md are what the results say, all of it, and no other hand has been there.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import test from 'node:test';

import {PLAYERS, PREVIOUS} from './players.mjs';
import {PAGE, filled, merge, read, render} from './report.mjs';

const BROWSERS = ['Chromium', 'Firefox'];

test('the page is what the generator makes of the results', () => {
  const page = readFileSync(PAGE, 'utf8');
  assert.equal(filled(page, render(read())), page, 'node run.mjs --write makes the tables');
  const marked = [...page.matchAll(/<!-- (\w+): begin -->/g)].map(([, part]) => part);
  assert.deepEqual(marked.toSorted(), Object.keys(render(read())).toSorted());
});

test('every player has a row of each browser in each table of the matrix', () => {
  const {tables} = read();
  const wanted = [...PLAYERS, ...PREVIOUS].flatMap(({id}) => BROWSERS.map(browser => `${browser} ${id}`)).toSorted();
  for (const name of ['playing', 'renewal', 'again', 'reads']) assert.deepEqual(Object.keys(tables[name]).toSorted(), wanted, name);
  const current = PLAYERS.filter(({variant}) => !variant).flatMap(({id}) => BROWSERS.map(browser => `${browser} ${id}`)).toSorted();
  assert.deepEqual(Object.keys(tables.silence).toSorted(), current);
});

test('a run renews the rows that it measured, and those of others stay with theirs', () => {
  const run = date => ({date, interval: 1, processors: 2, versions: [`sidebeat of ${date}`]});
  const rows = (...cells) => ({reads: {'Chromium shaka': cells, 'Firefox shaka': cells}});
  const first = merge({runs: {}, tables: {}}, run('monday'), [{load: 0.26, rows: rows('a', 'b')}]);
  assert.deepEqual(first.tables.reads['Firefox shaka'], {cells: ['a', 'b'], load: 0.3, run: '1'});
  const second = merge(first, run('tuesday'), [{load: 7, rows: {reads: {'Firefox shaka': ['c', 'd']}}}]);
  assert.deepEqual(second.tables.reads['Chromium shaka'], first.tables.reads['Chromium shaka']);
  assert.deepEqual(second.tables.reads['Firefox shaka'], {cells: ['c', 'd'], load: 7, run: '2'});
  const {reads, runs} = render(second);
  assert.match(reads, /\| Shaka Player \| Chromium \| a \| b \| 1 \|\n\| Shaka Player \| Firefox \| c \| d \| 2 \|/);
  assert.match(runs, /^1\. monday: sidebeat of monday; .*\n2\. tuesday: sidebeat of tuesday; /);
  // A run of which no row is left is no run of the page.
  const third = merge(second, run('friday'), [{load: 1, rows: rows('e', 'f')}]);
  assert.deepEqual(Object.keys(third.runs), ['3']);
  assert.match(render(third).runs, /^1\. friday/);
});

test('each measured row names its run and the load of the machine', () => {
  const {table, media} = render(read());
  for (const text of [table, media]) {
    const rows = text.split('\n').filter(line => line.startsWith('| ') && !line.startsWith('| ---') && !line.includes('Run, load'));
    assert.ok(rows.length > 0);
    for (const row of rows) assert.match(row, /\| \d+, \d+\.\d \|$/);
  }
});
