// What one player goes through: play, beats, kill, refused renewal, refused first license, closed page.
import {gaps} from './calls.mjs';
import {pause} from './http.mjs';
import {open} from './browser.mjs';
import {pageUrl} from './players.mjs';

const PLAYED_S = 10;
const ERROR_WITHIN_MS = 6000;
const TEARDOWN_WITHIN_MS = 3000;
/** For a player's last retry. */
const QUIET_WITHIN_MS = 30_000;
const MOVES_MS = 300;
/** Scheduling and loopback: what two stamps of one second may differ by. */
const EARLY_MS = 25, LATE_MS = 400;

/** What becomes of a refused renewal. */
const RENEWALS = {
  error: {shows: ({error, reads}) => error !== null && reads !== '', words: 'a refused renewal shows as an error'},
  nothing: {shows: ({error, moves, stall}) => error === null && stall === null && moves, words: 'a refused renewal is lost in the player, which plays on'},
  stall: {shows: ({moves, stall}) => stall !== null && !moves, words: 'a refused renewal stops the picture'},
};

/** `browser`: one that the run has started, with its name. */
export async function run(player, {browser, files, headend, interval, log, proxy, check}) {
  const expect = (what, ok, detail) => check(`${player.name}, ${browser.name}: ${what}`, ok, detail);
  const device = `dev-${player.id}-${browser.name}`;
  const token = await headend.token(device, player.content);
  const url = (token, device) => pageUrl(player, files, {license: proxy.license, token, device});
  const result = {browser, player};

  const tab = await open(browser, proxy.license);
  try {
    await tab.page.goto(url(token, device));
    Object.assign(result, await plays(tab, {device, expect, interval, log, player}));
    Object.assign(result, await killed(tab, {device, expect, headend, log, player}));
    result.again = await again(tab, {device, expect, log, player});
  } finally {
    await tab.close();
  }
  result.teardown = await closes({browser, device: `${device}-closes`, expect, headend, log, player, proxy, url});
  return result;
}

async function plays(tab, {device, expect, interval, log, player}) {
  const played = await tab.page.waitForFunction(s => {
    const video = document.querySelector('video');
    return video && video.currentTime >= s && video.currentTime;
  }, PLAYED_S, {timeout: 30_000, polling: 200}).then(handle => handle.jsonValue(), () => null);
  const errors = await tab.page.evaluate(() => window.errors);
  expect(`plays ${PLAYED_S} s`, played !== null && errors.length === 0, JSON.stringify({played, errors, trouble: tab.trouble}));
  if (played === null) throw new Error('did not play');

  await log.more(0);
  const calls = log.of(device);
  const [setups, licenses] = ['setup', 'license'].map(endpoint => calls.filter(call => call.endpoint === endpoint));
  const keys = player.keys ?? 1;
  expect('one session for all its keys', setups.length === 1 && setups[0].status === 200, `${setups.length} setups`);
  expect('the session is set up before the first license', setups[0]?.seq < licenses[0]?.seq, summary(calls));
  expect(`the license server sees every key session (${keys})`, licenses.length >= keys && licenses.every(call => call.status === 200), `${licenses.length} licenses`);

  const [first, ...rest] = gaps(calls);
  const all = [first, ...rest].map(ms => ms - interval * 1000);
  const worst = all.reduce((a, b) => Math.abs(b) > Math.abs(a) ? b : a, 0);
  expect('no beat early, none late', all.length >= 3 && all.every(off => off >= -EARLY_MS && off <= LATE_MS), `off by ${all.map(Math.round)} ms`);
  return {setups: setups.length, licenses: licenses.length, posts: tab.posts.length, beats: all.length, worst, opening: licenses[0].ms - setups[0].ms};
}

async function killed(tab, {device, expect, headend, log, player}) {
  await log.more(0);
  const before = log.calls.at(-1).seq;
  const at = performance.now();
  const reply = await headend.kill({device});
  expect('the head-end kills the session', reply.status === 200, `${reply.status} ${reply.text}`);
  const told = await log.until(call => call.seq > before && call.device === device && call.endpoint === 'heartbeat' && call.status === 404, 5000);
  expect('sidebeat learns of it at its next beat', told !== null);
  const known = told ? told.at - at : null;
  await pause(50);

  const renewal = await refused(tab, log, device, () => tab.page.evaluate(() => window.probe.renew()));
  const {shows, words} = RENEWALS[player.renewal];
  expect(words, shows(renewal), brief(renewal));
  explained(renewal, expect);
  expect('no license call of the killed session reaches the head-end', renewal.reached === 0, `${renewal.reached} calls`);
  return {known, renewal};
}

/** The same page with the same token: what a viewer does who presses reload. */
async function again(tab, {device, expect, log, player}) {
  const first = await refused(tab, log, device, async () => {
    await tab.page.reload();
    await tab.page.waitForFunction(() => window.probe?.asked, undefined, {timeout: 10_000});
  });
  expect('a first license with the killed token shows as an error', player.first.test(first.error?.code ?? '') && first.reads !== '', brief(first));
  explained(first, expect);
  expect('the first license does not reach the head-end', first.reached === 0, `${first.reached} calls`);
  return first;
}

/** Every refusal carries its reason and an incident id, whatever the player makes of it. */
function explained({replies}, expect) {
  const reasons = replies.map(({body}) => fields(body));
  expect('every refusal says what and why', reasons.length > 0 && reasons.every(reason => reason.error && reason.incident), JSON.stringify(reasons));
}

function fields(body) {
  try {
    const {error, incident} = JSON.parse(body);
    return {error, incident};
  } catch {
    return {};
  }
}

/** Does `act`, then waits for an error or a stall and for the player's last retry. */
async function refused(tab, log, device, act) {
  await log.more(0);
  const [seq, posts, replies] = [log.calls.at(-1).seq, tab.posts.length, tab.replies.length];
  await act();
  await tab.page.waitForFunction(() => window.errors.length > 0, undefined, {timeout: ERROR_WITHIN_MS, polling: 20}).catch(() => {});
  const place = () => tab.page.evaluate(() => document.querySelector('video')?.currentTime ?? 0);
  await quiet(tab);
  const from = await place();
  await pause(MOVES_MS);
  const moves = await place() !== from;
  await log.more(0);
  const {asked, errors, overlay, paused, reads, stalled} = await tab.page.evaluate(() => ({
    asked: window.probe.renewed ?? window.probe.asked,
    errors: window.errors,
    overlay: document.querySelector('.vjs-error-display:not(.vjs-hidden) .vjs-modal-dialog-content')?.innerText ?? null,
    reads: document.getElementById('error').innerText,
    paused: document.querySelector('video')?.paused ?? null,
    stalled: window.probe.stalled,
  }));
  const since = at => at === undefined ? null : Math.round(at - asked);
  return {
    error: errors[0] ? {...errors[0], ms: since(errors[0].at)} : null,
    moves,
    overlay,
    paused,
    posts: tab.posts.length - posts,
    reached: log.calls.filter(call => call.seq > seq && call.device === device && ['license', 'renewal', 'setup'].includes(call.endpoint)).length,
    reads,
    replies: tab.replies.slice(replies),
    stall: since(stalled.find(at => at >= asked)),
  };
}

/** No further license POST for one second. */
async function quiet(tab) {
  const end = performance.now() + QUIET_WITHIN_MS;
  for (let seen = -1; seen !== tab.posts.length; await pause(1000)) {
    if (performance.now() > end) throw new Error(`the player still asks for licenses after ${QUIET_WITHIN_MS} ms: ${tab.posts.length} calls`);
    seen = tab.posts.length;
  }
}

async function closes({browser, device, expect, headend, log, player, proxy, url}) {
  const tab = await open(browser, proxy.license);
  try {
    await tab.page.goto(url(await headend.token(device, player.content), device));
    await tab.page.waitForFunction(() => document.querySelector('video')?.currentTime > 1, undefined, {timeout: 20_000});
    const at = performance.now();
    await tab.page.close({runBeforeUnload: true});
    const teardown = await log.until(call => call.device === device && call.endpoint === 'teardown', TEARDOWN_WITHIN_MS);
    expect('a closed page ends the session at the head-end', teardown !== null && teardown.status < 300, summary(log.of(device)));
    return teardown && Math.round(teardown.at - at);
  } finally {
    await tab.close();
  }
}

const brief = ({replies, ...rest}) => JSON.stringify({...rest, replies: replies.map(({status}) => status)});
const summary = calls => calls.map(call => `${call.endpoint} ${call.status}`).join(', ');
