// What a player goes through that only reports about itself: play, pause, gone without a word.
import {open} from './browser.mjs';
import {pause} from './http.mjs';
import {pageUrl} from './players.mjs';

export const REPORT_S = 2;
const PAUSED_S = 8;
/** Missed rounds after which a player that says its state is over. */
const ROUNDS = 2.5;
/** For one that says no state: it could be paused in a page whose timers the browser slows to one a minute. */
const UNSAID_MS = 150_000;
/** Half of it, if the browser closes the page's connections with the page. */
const GONE = 0.5;
/** Timers of a busy browser, which also say how long a round is, and the way to the head-end. */
const SLACK_MS = 700;

/** What sidebeat hears from the reports. Shaka 5.2 sends no state. */
export const REPORTERS = {
  shaka: {plays: 'reports', paused: 'reports'},
  dashjs: {plays: 'plays', paused: 'paused'},
  hlsjs: {plays: 'plays', paused: 'paused'},
};

/** Nothing for players without CMCD; `silent` is a promise. */
export async function silence(player, {browser, files, headend, log, proxy, check}) {
  const words = REPORTERS[player.id];
  if (!words) return {};
  const expect = (what, ok, detail) => check(`${player.name}, ${browser.name}, reporting: ${what}`, ok, detail);
  const device = `dev-${player.id}-${browser.name}-silent`;
  const query = {license: proxy.license, token: await headend.token(device, player.content), device, reports: REPORT_S};
  const tab = await open(browser, proxy.license);
  let at, target;
  try {
    const reports = heard(tab.page);
    await tab.page.goto(pageUrl(player, files, query));
    await plays(tab, {device, expect, proxy, reports, words});
    await pauses(tab, {device, expect, log, proxy, reports, words});
    target = await tab.page.evaluate(() => JSON.stringify(setting).replace(JSON.stringify(reportUrl), 'url'));
    at = performance.now();
  } finally {
    await tab.close();
  }
  // Not awaited here: it takes its time, and the next player need not wait.
  return {silent: falls({at, device, expect, log, proxy, words}), target: written(target)};
}

/** JSON as one would write it in a page, without the outer braces. */
const written = json => json.slice(1, -1).replaceAll(/"(\w+)":/g, '$1: ').replaceAll('"', "'").replaceAll(/,(?! )/g, ', ');

/** The replies to the page's reports, as they come. */
export function heard(page) {
  const replies = [];
  page.on('response', reply => {
    if (reply.request().method() === 'POST' && reply.url().includes('/~report?')) replies.push(reply.status());
  });
  return replies;
}

async function plays(tab, {device, expect, proxy, reports, words}) {
  await moves(tab, 3 * REPORT_S);
  const errors = await tab.page.evaluate(() => window.errors);
  expect('plays', errors.length === 0, JSON.stringify({errors, trouble: tab.trouble}));
  const session = await settles(proxy, device, session => session.state === 'live' && session.player === words.plays);
  expect(`sidebeat says "${words.plays}"`, session.player === words.plays, JSON.stringify({session, reports}));
  expect('every report is answered 204', reports.length >= 3 && reports.every(status => status === 204), JSON.stringify({reports, trouble: tab.trouble}));
}

async function pauses(tab, {device, expect, log, proxy, reports, words}) {
  await tab.page.evaluate(() => document.querySelector('video').pause());
  const before = reports.length;
  const ended = await log.until(call => call.device === device && call.endpoint === 'teardown', PAUSED_S * 1000);
  const session = await proxy.session(device);
  const stays = ended === null && session?.state === 'live' && session.player === words.paused;
  expect(`${PAUSED_S} s of pause keep the session ("${words.paused}")`, stays, JSON.stringify(session));
  expect('reports go on while it is paused', reports.length >= before + PAUSED_S / REPORT_S - 1, `${reports.length - before} reports`);

  await tab.page.evaluate(() => document.querySelector('video').play());
  await moves(tab, REPORT_S);
  const again = await settles(proxy, device, session => session.player === words.plays);
  expect('plays on', again?.player === words.plays, JSON.stringify(again));
}

async function falls({at, device, expect, log, proxy, words}) {
  const unsaid = words.plays === 'reports';
  const allowed = unsaid ? UNSAID_MS : ROUNDS * REPORT_S * 1000;
  const teardown = await log.until(call => call.device === device && call.endpoint === 'teardown', allowed + 10_000);
  const after = teardown && Math.round(teardown.at - at);
  // The last report came up to one round before the end.
  const [early, limit] = [(unsaid ? GONE * allowed : allowed) - REPORT_S * 1000 - SLACK_MS, allowed + SLACK_MS];
  expect('the head-end is told when the reports have stopped', teardown?.status < 300 && after >= early && after <= limit, `${after} ms after closing`);
  const session = await settles(proxy, device, session => session.state === 'closed');
  const reason = session?.timeline.at(-1)?.detail;
  expect('the reason is silence', session?.state === 'closed' && /\bsilent\b/.test(reason), JSON.stringify(session));
  return after;
}

/** For a picture that stalls now and then. */
const MOVES_WITHIN_MS = 30_000;

/** Until the picture has moved on by that many seconds; the content is a loop. */
export async function moves(tab, seconds) {
  await tab.page.waitForFunction(() => document.querySelector('video')?.currentTime > 0, undefined, {timeout: 20_000, polling: 100});
  await tab.page.evaluate(([seconds, patience]) => new Promise((done, fail) => {
    const video = document.querySelector('video');
    const end = performance.now() + patience;
    let last = video.currentTime, moved = 0;
    const timer = setInterval(() => {
      moved += Math.max(0, video.currentTime - last);
      last = video.currentTime;
      if (moved < seconds && performance.now() < end) return;
      clearInterval(timer);
      if (moved >= seconds) done();
      else fail(new Error(`the picture moved by ${moved} of ${seconds} s in ${patience} ms`));
    }, 100);
  }), [seconds, seconds * 1000 + MOVES_WITHIN_MS]);
}

/** The session of the device as soon as it fits, or as it is after a while. */
export async function settles(proxy, device, fits) {
  for (let left = 30; ; left -= 1) {
    const session = await proxy.session(device);
    if (left === 0 || (session && fits(session))) return session;
    await pause(100);
  }
}
