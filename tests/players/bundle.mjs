// rx-player 4 is published as modules only, for a page's own bundler; this is that bundler.
import {mkdirSync} from 'node:fs';
import path from 'node:path';

import {buildSync} from 'esbuild';

const here = import.meta.dirname;

export function bundle(dir) {
  mkdirSync(dir, {recursive: true});
  buildSync({
    bundle: true, format: 'iife', logLevel: 'warning', minify: true, outfile: path.join(dir, 'rx-player.js'), target: 'es2020',
    stdin: {contents: "import RxPlayer from 'rx-player'; window.RxPlayer = RxPlayer;", resolveDir: here},
  });
}
