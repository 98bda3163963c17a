// The whole EME interface in a real browser, and what sidebeat's mirror says of the same sessions.
import {open} from './browser.mjs';
import {pause} from './http.mjs';

/** One of the simulator's keys. */
const KIDS = ['00112233445566778899aabbccddeeff'];
const PATIENCE_MS = 5000;

/** A promise of the page may never settle, and playwright would wait for it for ever. */
async function soon(what, promise) {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`${what}: nothing in ${PATIENCE_MS} ms`)), PATIENCE_MS); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function eme({browser, files, headend, proxy, check}) {
  const expect = (what, ok, detail) => check(`EME, ${browser.name}: ${what}`, ok, detail);
  const from = {browser, expect, files, headend, proxy};
  return [await temporary(from), await persistent(from)];
}

async function stage({browser, files, headend, proxy}, device) {
  const tab = await open(browser, proxy.license);
  const token = await headend.token(device, 'one');
  await tab.page.goto(`${files.origin}/pages/eme.html?${new URLSearchParams({license: proxy.license, token, device, content: 'one'})}`);
  return tab;
}

async function temporary(from) {
  const {browser, expect, proxy} = from;
  const device = `dev-eme-temporary-${browser.name}`;
  const tab = await stage(from, device);
  try {
    const saw = await soon('request', tab.page.evaluate(kids => window.eme.request('temporary', kids), KIDS));
    const [mirror] = (await proxy.session(device)).eme;
    expect('generateRequest, message, update', !saw.failed && saw.changes > 0, JSON.stringify(saw));
    same(expect, 'a temporary session', saw, mirror);

    const removed = await soon('remove', tab.page.evaluate(() => window.eme.remove().catch(why => ({why: String(why)}))));
    const statuses = Object.values(removed.keyStatuses ?? {});
    // An older wording of the standard allows it for sessions alone that are kept.
    const refused = /^InvalidAccessError/.test(removed.why ?? '');
    expect('remove takes the keys of a temporary session, or is refused', refused || statuses.length === KIDS.length && statuses.every(status => status === 'released'), JSON.stringify(removed));

    // A release reaches the wire as a message, or not at all.
    const sent = removed.messages?.['license-release'] ?? 0;
    const [wire] = (await proxy.session(device)).eme;
    const mirrored = Object.values(wire.keyStatuses);
    const agrees = (wire.messages['license-release'] ?? 0) === sent && mirrored.length === KIDS.length && mirrored.every(status => status === (sent ? 'released' : 'usable'));
    expect('the mirror takes removed keys where a release is sent, and else cannot know', agrees, `page ${JSON.stringify(removed)}, mirror ${JSON.stringify(wire)}`);

    const closed = await soon('close', tab.page.evaluate(() => window.eme.close()));
    const after = await until(async () => (await proxy.session(device))?.eme[0], mirror => mirror && mirror.closed !== null);
    expect('close: the page and the mirror name the same reason', closed.closed !== null && closed.closed === after?.closed, `${closed.closed}, ${after?.closed}`);
    return {browser, type: 'temporary', saw: {...saw, closed: closed.closed}, mirror: after};
  } finally {
    await tab.close();
  }
}

/** Licenses to keep are none of a session's: they pass, and the mirror has nothing to show. */
async function persistent(from) {
  const {browser, expect, proxy} = from;
  const type = 'persistent-license';
  const device = `dev-eme-persistent-${browser.name}`;
  const tab = await stage(from, device);
  try {
    const saw = await soon('request', tab.page.evaluate(([type, kids]) => window.eme.request(type, kids).catch(why => ({refused: why.name})), [type, KIDS]));
    if (saw.refused) {
      expect(`this browser has no ${type} for ClearKey and says so`, saw.refused === 'NotSupportedError', saw.refused);
      return {browser, type, refused: saw.refused};
    }
    expect('a license to keep is served without a session', !saw.failed && (await proxy.session(device)) === undefined, JSON.stringify(saw));
    await soon('close', tab.page.evaluate(() => window.eme.close()));
    const loaded = await soon('load', tab.page.evaluate(([type, id]) => window.eme.load(type, id), [type, saw.sessionId]));
    const usable = Object.values(loaded.keyStatuses);
    expect('load finds it again', loaded.found && usable.length === KIDS.length && usable.every(status => status === 'usable'), JSON.stringify(loaded));
    const removed = await soon('remove', tab.page.evaluate(() => window.eme.remove()));
    expect('remove sends its release', removed.messages['license-release'] === 1, JSON.stringify(removed));
    return {browser, type, saw: removed};
  } finally {
    await tab.close();
  }
}

function same(expect, what, saw, mirror) {
  for (const key of ['messages', 'keyStatuses', 'expiration', 'closed']) {
    const [page, wire] = [saw[key], mirror?.[key]].map(value => JSON.stringify(value));
    expect(`${what}: ${key} is the same in the page and in the mirror`, page !== undefined && page === wire, `page ${page}, mirror ${wire}`);
  }
}

async function until(look, fits) {
  for (const end = Date.now() + PATIENCE_MS; ;) {
    const value = await look();
    if (fits(value) || Date.now() > end) return value;
    await pause(20);
  }
}
