// Chromium that trusts the local CA: its certificate goes into the NSS database of a home of its own.
import {execFileSync} from 'node:child_process';
import {mkdirSync, rmSync} from 'node:fs';
import path from 'node:path';

import {chromium} from 'playwright-core';

const ARGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
];

export async function browser(dir, ca) {
  const home = path.join(dir, 'home');
  const store = path.join(home, '.pki/nssdb');
  rmSync(home, {recursive: true, force: true});
  mkdirSync(store, {recursive: true});
  execFileSync('certutil', ['-N', '-d', `sql:${store}`, '--empty-password']);
  execFileSync('certutil', ['-A', '-d', `sql:${store}`, '-n', 'sidebeat local CA', '-t', 'C,,', '-i', ca]);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ARGS,
    env: {...process.env, HOME: home},
  });
  return {close: () => browser.close(), name: 'Chromium', newContext: () => browser.newContext(), version: () => browser.version()};
}

// Watches EME from outside the players, and makes a renewal happen on demand: ClearKey never renews by
// itself, so a `license-renewal` event is dispatched, which runs each player's own renewal code.
const probe = () => {
  const create = MediaKeys.prototype.createSession;
  const sessions = [];
  window.probe = {
    asked: null, stalled: [], renewed: null,
    count: () => sessions.length,
    /** `which`: the one of them, in the order of their beginning; all without it. */
    renew(which) {
      window.probe.renewed = performance.now();
      for (const {session, last} of which === undefined ? sessions : [sessions[which]]) {
        if (last) session.dispatchEvent(new MediaKeyMessageEvent('message', {messageType: 'license-renewal', message: last}));
      }
    },
  };
  MediaKeys.prototype.createSession = function (...args) {
    const session = create.apply(this, args);
    const entry = {session, last: null};
    sessions.push(entry);
    session.addEventListener('message', event => {
      if (!event.isTrusted) return;
      entry.last = event.message;
      window.probe.asked ??= performance.now();
    });
    return session;
  };
  document.addEventListener('waitingforkey', () => window.probe.stalled.push(performance.now()), true);
};

/** A page in a context of its own, with the license POSTs it made and their replies. */
export async function open(browser, license) {
  const context = await browser.newContext();
  await context.addInitScript(probe);
  const page = await context.newPage();
  const posts = [], replies = [], trouble = [];
  const isLicense = request => request.method() === 'POST' && request.url().startsWith(license) && !request.url().includes('/~');
  page.on('request', request => {
    if (isLicense(request)) posts.push(request.url());
  });
  page.on('response', async reply => {
    if (!isLicense(reply.request())) return;
    const entry = {status: reply.status(), headers: reply.headers(), body: null};
    replies.push(entry);
    entry.body = await reply.text().catch(() => null);
  });
  page.on('pageerror', why => trouble.push(String(why)));
  page.on('requestfailed', request => {
    if (!request.failure()?.errorText.includes('ABORTED')) trouble.push(`${request.url().split('?')[0]}: ${request.failure()?.errorText}`);
  });
  return {page, posts, replies, trouble, close: () => context.close()};
}
