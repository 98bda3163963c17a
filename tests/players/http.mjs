// Small HTTP pieces: one call that trusts the local CA, a free port, waiting for a port to open.
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';

let ca;
export const trust = pem => { ca = pem; };

/** One call; resolves to {status, headers, body, text, json()} whatever the status is. */
export function call(url, {method = 'GET', headers = {}, body, timeout = 10_000} = {}) {
  const client = url.startsWith('https:') ? https : http;
  return new Promise((done, fail) => {
    const request = client.request(url, {method, headers, ca, timeout, agent: false}, reply => {
      const parts = [];
      reply.on('data', part => parts.push(part));
      reply.on('end', () => {
        const body = Buffer.concat(parts), text = body.toString();
        done({status: reply.statusCode, headers: reply.headers, body, text, json: () => JSON.parse(text)});
      });
      reply.on('error', fail);
    });
    request.on('timeout', () => request.destroy(new Error(`${method} ${new URL(url).pathname}: no reply in ${timeout} ms`)));
    request.on('error', fail);
    request.end(body);
  });
}

export function freePort() {
  return new Promise((done, fail) => {
    const server = net.createServer().on('error', fail).listen(0, '127.0.0.1', () => {
      const {port} = server.address();
      server.close(() => done(port));
    });
  });
}

function connects(port) {
  return new Promise(done => {
    const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); done(true); });
    socket.on('error', () => done(false));
  });
}

/** Until something listens on the port, or `alive()` says that nothing ever will. */
export async function opens(port, alive, what) {
  for (const end = Date.now() + 10_000; Date.now() < end; await pause(30)) {
    if (await connects(port)) return;
    if (!alive()) throw new Error(`${what} ended before it listened on port ${port}`);
  }
  throw new Error(`${what} does not listen on port ${port} after 10 s`);
}

export const pause = ms => new Promise(done => setTimeout(done, ms));
