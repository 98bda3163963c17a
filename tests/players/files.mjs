// The page server: pages, library files and content over HTTPS, from another origin than the proxy.
//
// Byte ranges are answered with 206, because every track is one file. `/headend/…` and `/admin/…` are
// passed on, so that the demo page needs no cross-origin rights there.
import {createReadStream, readFileSync, statSync} from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';

const here = import.meta.dirname;
const TYPES = {'.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.m3u8': 'application/vnd.apple.mpegurl', '.mp4': 'video/mp4', '.mpd': 'application/dash+xml'};
const ROOTS = {
  lib: path.join(here, 'node_modules'),
  made: path.join(here, 'out/made'),
  one: path.join(here, 'out/content/one'),
  pages: path.join(here, 'pages'),
  two: path.join(here, 'out/content/two'),
  asset: path.join(here, '../../src/demo/asset'),
};

function locate(pathname) {
  const [, root, ...rest] = decodeURIComponent(pathname).split('/');
  if (!Object.hasOwn(ROOTS, root) || rest.includes('..')) return null;
  return path.join(ROOTS[root], ...rest);
}

function sendFile(request, reply, file) {
  const stat = statSync(file, {throwIfNoEntry: false});
  if (!stat?.isFile()) return void reply.writeHead(404).end();
  const headers = {'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream', 'accept-ranges': 'bytes', 'cache-control': 'no-store'};
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const first = range ? Number(range[1]) : 0;
  const last = range && range[2] ? Math.min(Number(range[2]), stat.size - 1) : stat.size - 1;
  if (range && first > last) return void reply.writeHead(416, {'content-range': `bytes */${stat.size}`}).end();
  headers['content-length'] = last - first + 1;
  if (range) headers['content-range'] = `bytes ${first}-${last}/${stat.size}`;
  reply.writeHead(range ? 206 : 200, headers);
  createReadStream(file, {start: first, end: last}).pipe(reply);
}

function pass(request, reply, target) {
  const forward = http.request(target, {method: request.method, headers: {...request.headers, host: new URL(target).host}}, answer => {
    reply.writeHead(answer.statusCode, answer.headers);
    answer.pipe(reply);
  });
  forward.on('error', () => reply.writeHead(502).end());
  request.pipe(forward);
}

/** Serves until `close()`. `behind` maps `headend` and `admin` to base URLs; `license` is for the demo page. */
export async function files(certs) {
  const behind = {};
  const server = https.createServer({key: readFileSync(certs.key), cert: readFileSync(certs.certificate)}, (request, reply) => {
    const {pathname, search} = new URL(request.url, 'https://localhost');
    const [, first] = pathname.split('/');
    if (pathname === '/') return void reply.writeHead(200, {'content-type': TYPES['.html']}).end(demoPage(behind.license));
    if (first === 'headend' || first === 'admin') return void pass(request, reply, behind[first] + pathname.slice(first.length + 1) + search);
    const file = locate(pathname);
    if (!file) return void reply.writeHead(404).end();
    sendFile(request, reply, file);
  });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  return {
    behind,
    origin: `https://localhost:${server.address().port}`,
    close: () => { server.closeAllConnections(); return new Promise(done => server.close(done)); },
  };
}

function demoPage(license) {
  const page = readFileSync(path.join(here, '../../src/demo/page.html'), 'utf8');
  return page.replace('{{config}}', JSON.stringify({license, headend: '/headend', admin: '/admin'}));
}
