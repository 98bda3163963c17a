// Shaka's preload(): the next title's license is fetched while the film plays, at a head-end that has one place for the
// account. Licenses alone pass through sidebeat.
import {open} from './browser.mjs';
import {moves, plays, settles} from './media.mjs';
import {call, pause} from './http.mjs';

/** One that is beaten by timer and shows nothing for so long is quiet: then the newer one's life ends it. */
const QUIET_MS = 10_000;
/** Timers of a busy browser, and the way to the head-end. */
const SLACK_MS = 2000;
/** What the players of films renew by, and how often while the next one is there. */
const RENEWS_MS = 2000, RENEWALS = 4;
const FILM = 0, NEXT = 1;

export async function preload(stage) {
  await stage.headend.settings({limit: 1});
  try {
    await byRenewals(stage);
  } finally {
    await stage.headend.settings({limit: 2});
  }
}

const trouble = async tab => JSON.stringify({errors: await tab.page.evaluate(() => window.errors), replies: tab.replies.map(({status, body}) => [status, status >= 400 ? body : '']), trouble: tab.trouble});

async function byRenewals({browser, check, files, headend, log, proxy}) {
  const expect = (what, ok, detail) => check(`Shaka Player, ${browser.name}, a preload at a limit of one: ${what}`, ok, detail);
  const device = `dev-preload-${browser.name}`;
  const license = async content => `${proxy.license}?${new URLSearchParams({device, token: await headend.token(device, content)})}`;
  const manifest = content => `${files.origin}/${content}/manifest.mpd`;
  const query = {url: manifest('one'), license: await license('one'), 'next-url': manifest('two'), 'next-license': await license('two')};
  const tab = await open(browser, proxy.license);
  try {
    await tab.page.goto(`${files.origin}/pages/preload.html?${new URLSearchParams(query)}`);
    expect('the film plays', await plays(tab, 2), await trouble(tab));
    const renewed = which => tab.page.evaluate(which => window.probe.renew(which), which);
    await renewed(FILM);
    const [film] = await proxy.sessions(device);
    await tab.page.evaluate(() => window.preloads());
    const licensed = await settles(() => tab.replies, replies => replies.length >= 3);
    expect('the next license comes while it plays', licensed.length >= 3 && licensed.every(({status}) => status === 200), await trouble(tab));

    const before = tab.replies.length;
    for (let renewal = 0; renewal < RENEWALS; renewal += 1) {
      await renewed(FILM);
      await pause(RENEWS_MS);
    }
    const replies = tab.replies.slice(before);
    expect('every renewal of the film is served', replies.length === RENEWALS && replies.every(({status}) => status === 200), await trouble(tab));
    const playing = (await proxy.sessions(device)).filter(({state}) => state === 'live');
    expect('the film has its session', playing.length === 1 && playing[0].id === film.id, JSON.stringify(await proxy.sessions(device)));
    expect('and goes on', await moves(tab, 1), await trouble(tab));

    await renewed(FILM);
    const last = performance.now();
    await tab.page.evaluate(() => window.playsNext());
    await pause(QUIET_MS);
    await renewed(NEXT);
    const next = await settles(() => proxy.sessions(device), rows => rows.some(({id, state}) => state === 'live' && id !== film.id));
    const alone = next.filter(({state}) => state === 'live');
    expect('the next title has the place when it renews', alone.length === 1 && alone[0].id !== film.id, JSON.stringify(next));
    const after = performance.now() - last;
    expect('within the documented time', after <= QUIET_MS + SLACK_MS, `${Math.round(after)} ms`);
    expect('and plays', await moves(tab, 2) && (await tab.page.evaluate(() => window.errors)).length === 0, await trouble(tab));
    const {counters} = await headend.books();
    await log.more(0);
    const limits = log.of(device, 'setup').filter(({status}) => status >= 400);
    // The license of the preload, the film that came back, and the next one that came back.
    expect('the head-end was asked in vain once for each change of place', limits.length === 3, JSON.stringify({counters, limits}));
  } finally {
    await tab.page.close({runBeforeUnload: true}).catch(() => {});
    // Firefox does not send the second of two beacons on every close.
    for (const url of [query.license, query['next-license']]) await call(url.replace('?', '/~stop?'), {method: 'POST'});
    await settles(() => proxy.sessions(device), rows => rows.every(({state}) => state !== 'live'));
    await tab.close();
  }
}
