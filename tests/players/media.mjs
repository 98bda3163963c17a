// Unmodified players behind an authorize route, a media route and a license route: they play what is encrypted, by
// licenses of their playback; a second device over the limit is refused; a kill stops the picture, and licenses; a
// blackout shows the slate, which is in clear, in its place; beats that fail in line end what is live and nothing else;
// a live player that fetches nothing more has gone; and the bookmark is where the player is.
//
// Every wait is for a signal and has a generous limit: a loaded machine makes it slower and no worse.
import {bookmarks} from './bookmark.mjs';
import {open} from './browser.mjs';
import {MEDIA_SILENCE_S} from './sidebeat.mjs';

const BEAT_MS = 1000;
/** For anything to happen at all. */
const PATIENCE_MS = 60_000;
/** The channel's segments, and how often its live manifests are loaded again. */
const SEGMENT_MS = 2000;
/** What the clocks of browser and test may differ by. */
const CLOCKS_MS = 50;
/** The failures in line that are allowed: the default of `max-allowed-failures`. */
const FAILURES = 2;
/** One key, so one key session and one license, however long it plays. */
const LICENSES = 1;

export const MEDIA = [
  {id: 'shaka', name: 'Shaka Player', manifest: 'main.mpd', reports: ['requests']},
  {id: 'dashjs', name: 'dash.js', manifest: 'main.mpd', reports: ['requests', 'events']},
  {id: 'hlsjs', name: 'hls.js', manifest: 'main.m3u8', reports: ['requests', 'events']},
];

/** One row for each player, live and as a title. */
export async function media(stage) {
  const blackout = [];
  await stage.headend.settings({firstlight: {blackout, frequency_ms: BEAT_MS, limit: 1}});
  // What an authorization says is a setting of the whole head-end: one at a time.
  const shared = {...stage, blackout, alone: oneAtATime(), granted: []};
  const {seq} = await stage.log.now();
  const rows = await Promise.all(MEDIA.map(player => one(player, shared)));
  await stage.log.more(0);
  const served = stage.log.calls.filter(call => call.seq > seq && call.endpoint === 'license');
  stage.check(`media, ${stage.browser.name}: the license server saw the licenses that were given, and no other call`,
    served.length > 0 && served.length === shared.granted.length && served.every(call => call.status === 200), `${served.length} of ${shared.granted.length}`);
  return rows.flat();
}

async function one(player, stage) {
  const cases = Object.fromEntries(['live', 'vod'].map(type => [type, {
    ...stage, player, type,
    expect: (what, ok, detail) => stage.check(`${player.name}, ${stage.browser.name}, ${type}: ${what}`, ok, detail),
  }]));
  const row = {live: {browser: stage.browser, player, type: 'live'}, vod: {browser: stage.browser, player, type: 'vod'}};
  const tracks = [
    async () => {
      for (const type of ['live', 'vod']) Object.assign(row[type], await stops(cases[type]), {renewal: await renews(cases[type])});
    },
    async () => {
      row.live.slate = await blacksOut(cases.live);
      row.live.silent = await vanishes(cases.live);
      for (const type of ['live', 'vod']) row[type].failures = await fails(cases[type]);
      row.vod.bookmarks = [];
      // It is judged by the second, and comes from requests that are the same in every browser: once is enough.
      for (const reports of stage.browser.name === 'Chromium' ? player.reports : []) {
        row.vod.bookmarks.push({reports, ...await playing(cases.vod, {name: reports, reports}, tab => bookmarks(tab, reports, cases.vod))});
      }
    },
  ];
  await Promise.all(tracks.map(track => track().catch(why => cases.live.expect('runs to its end', false, why.stack))));
  return [row.live, row.vod];
}

/** Opens a page of its own user, and closes it as a viewer does. */
async function playing(at, {name, reports = 'requests', user, second = false, beacon = 'yes', authorize = at.proxy.authorize}, act) {
  const {alone, browser, files, granted, headend, player, proxy, type} = at;
  const content = `${player.id}-${browser.name}-${type}-${name}`;
  const device = `dev-${content}${second ? '-second' : ''}`;
  const tab = await open(browser, proxy.license);
  Object.assign(tab, {content, device, licenses: [], media: []});
  tab.page.on('requestfinished', request => void watch(tab, request));
  tab.page.on('request', request => licenses(tab, request, granted));
  tab.page.on('response', reply => reply.request().answered?.(reply.status()));
  tab.page.on('requestfailed', request => request.answered?.(0));
  try {
    const query = {authorize, beacon, content, device, player: player.id, reports, type, user: user ?? content};
    await alone(async () => {
      await headend.settings({firstlight: {content_url: `${headend.base}/${type}/${player.manifest}`}});
      await tab.page.goto(`${files.origin}/pages/media.html?${new URLSearchParams(query)}`);
      await until(tab, () => window.authorized === true || window.errors.length > 0);
    });
    return await act(tab);
  } finally {
    await tab.page.close({runBeforeUnload: true}).catch(() => {});
    await gone(at, device);
    await tab.close();
  }
}

/** What came by the media route, with the browser's own times. */
async function watch(tab, request) {
  if (!/\/media(-silent)?\//.test(request.url())) return;
  const {start, end} = times(request);
  const reply = await answered(request);
  const path = new URL(request.url()).pathname;
  const entry = {
    end, manifest: /\.(m3u8|mpd)$/.test(path), path, url: request.url(), segment: path.endsWith('.m4s'),
    slate: path.includes('/~s/'), start, status: reply?.status() ?? 0,
  };
  if (entry.manifest && entry.status === 200) entry.slate ||= (await reply.text().catch(() => '')).includes('/~s/');
  tab.media.push(entry);
}

/** Wall clock, milliseconds. */
function times(request) {
  const {startTime, responseEnd, timeOrigin, requestTime} = request.timing();
  // Each of the two protocols has its own words for it.
  if (startTime !== undefined) return {start: startTime, end: startTime + Math.max(0, responseEnd)};
  return {start: timeOrigin + requestTime, end: responseEnd > 0 ? timeOrigin + responseEnd : Date.now()};
}

/** Null: nothing came. One of the drivers has the reply at once or never. */
const answered = async request => Promise.resolve(request.response()).catch(() => null);

/** What was asked of the license route, but the stop call and reports. */
function licenses(tab, request, granted) {
  if (request.method() !== 'POST' || !/\/fl(-silent)?\//.test(request.url()) || /\/~(stop|report)(\?|$)/.test(request.url())) return;
  // The players add their CMCD.
  const call = {url: request.url().split('?')[0], status: null};
  tab.licenses.push(call);
  request.answered = status => {
    call.status = status;
    if (status === 200) granted.push(call);
  };
}

/** So many licenses, each at the URL of the authorization; and they are the session's that has the content. */
async function licensed(tab, {expect, proxy}, when) {
  await settles(() => tab.licenses, calls => calls.length > 0 && calls.every(({status}) => status !== null));
  const url = await tab.page.evaluate(() => window.license);
  const fits = /\/fl\/~[0-9a-f]{32}$/.test(url) && tab.licenses.length === LICENSES && tab.licenses.every(call => call.url === url && call.status === 200);
  expect(`has its license by its authorization, and no more of them ${when}`, fits, JSON.stringify({url, licenses: tab.licenses}));
  const sessions = await proxy.sessions(tab.device);
  const {eme, timeline} = await proxy.session(tab.device);
  const opened = timeline.filter(({event}) => event === 'opened').length;
  const one = sessions.length === 1 && opened === 1 && eme.length === LICENSES && eme[0].messages['license-request'] === 1;
  expect(`license and content are of one session, opened once, ${when}`, one, JSON.stringify({eme, sessions, timeline}));
  return tab.licenses.length;
}

/** Until its session is over, and its place free. */
async function gone({expect, proxy}, device) {
  const over = session => !session || !['live', 'failing', 'opening', 'owing', 'closing'].includes(session.state);
  const session = await settles(() => proxy.session(device), over);
  expect(`the session of ${device} ends with its page`, over(session), JSON.stringify(session));
}

/** Whether it held in time. */
const until = (tab, holds, argument) => tab.page.waitForFunction(holds, argument, {timeout: PATIENCE_MS, polling: 50}).then(() => true, () => false);

export const plays = (tab, seconds) => until(tab, s => {
  const video = document.querySelector('video');
  return video.played.length > 0 && video.currentTime - video.played.start(video.played.length - 1) >= s;
}, seconds);

/** From now on. */
export async function moves(tab, seconds) {
  const from = await tab.page.evaluate(() => document.querySelector('video').currentTime);
  return until(tab, at => document.querySelector('video').currentTime >= at, from + seconds);
}

/** The newest value as soon as it fits, or as it is in the end. */
export async function settles(value, fits) {
  for (const end = performance.now() + PATIENCE_MS; ;) {
    const found = await value();
    if (fits(found) || performance.now() > end) return found;
    await new Promise(done => setTimeout(done, 50));
  }
}

const trouble = async tab => JSON.stringify({licenses: tab.licenses, errors: await tab.page.evaluate(() => window.errors), trouble: tab.trouble, media: tab.media.slice(-5)});

/** A second device too many is refused; then a kill. */
async function stops(at) {
  return playing(at, {name: 'killed'}, async tab => {
    const played = await plays(tab, 4);
    at.expect('plays', played, await trouble(tab));
    if (!played) return {};
    const session = await at.proxy.session(tab.device);
    at.expect('has one session that the head-end confirms', session?.state === 'live', JSON.stringify(session?.state));
    const refused = await playing(at, {name: 'killed', second: true}, async second => {
      const told = await until(second, () => window.errors.length > 0);
      at.expect('a second device over the limit is refused', told && second.licenses.length === 0, await trouble(second));
      return (await second.page.evaluate(() => window.errors))[0]?.code;
    });
    at.expect('and the first goes on', await moves(tab, 1), await trouble(tab));
    const posts = await licensed(tab, at, 'before its kill');
    return {plays: played, posts, refused, ...await killed(tab, session, at)};
  });
}

/** Times from the order to kill, milliseconds: to the last byte of a segment, to the picture standing still, to an error. */
async function killed(tab, session, {browser, expect, player, proxy, type}) {
  const [has, before] = await tab.page.evaluate(() => {
    const {buffered, currentTime} = document.querySelector('video');
    return [buffered.length === 0 ? currentTime : buffered.end(buffered.length - 1), currentTime];
  });
  const at = Date.now();
  await proxy.kill(session.id);
  const known = Date.now();
  // Half a minute of picture that had come already may be left.
  const still = await tab.page.waitForFunction(() => {
    const last = window.places.slice(-40);
    return last.length === 40 && last[0][1] === last.at(-1)[1] && last.at(-1)[0];
  }, undefined, {timeout: 2 * PATIENCE_MS, polling: 100}).then(() => true, () => false);
  const {errors, stands, since} = await tab.page.evaluate(() => {
    const stands = document.querySelector('video').currentTime;
    return {errors: window.errors, stands, since: window.places.find(([, place]) => place === stands)?.[0]};
  });
  expect('a kill stops the picture', still, await trouble(tab));
  const late = tab.media.filter(reply => reply.start > known + 100 && reply.segment && reply.status < 300);
  expect('no segment is sent after a kill', late.length === 0, JSON.stringify(late));
  // A segment that was on its way when the order came may have been the last. In Firefox the players of a live MPD go on with
  // its window, though they have no picture to show there.
  const follows = browser.name === 'Firefox' && player.manifest.endsWith('.mpd') && type === 'live';
  if (!follows) expect('it shows no more than it had', stands <= has + SEGMENT_MS / 1000 + 0.5, `${stands} of ${has}`);
  const bytes = tab.media.filter(reply => reply.segment && reply.status < 300 && reply.end > at);
  const told = errors.find(error => error.at >= at);
  const refused = tab.media.filter(reply => reply.start >= at && reply.status === 403);
  // A title may have come as a whole before.
  if (type === 'live') expect('a live player is refused, and told', refused.length > 0 && told !== undefined, await trouble(tab));
  const had = tab.media.find(reply => reply.segment && reply.status === 200);
  const again = had && await tab.page.evaluate(url => fetch(url, {cache: 'no-store'}).then(reply => reply.status, String), had.url);
  expect('a segment that came before is refused', again === 403, `${again}`);
  return {
    had: (has - before) * 1000, lastByte: Math.max(0, ...bytes.map(reply => reply.end - at)), still: since - at,
    told: told && {after: told.at - at, code: told.code},
  };
}

/** After a kill the player asks for a license again, by its own renewal code. Gives the replies' status. */
async function renews(at) {
  return playing(at, {name: 'renewed'}, async tab => {
    if (!await plays(tab, 1)) return void at.expect('plays, before its renewal', false, await trouble(tab));
    await licensed(tab, at, 'before its renewal');
    await at.proxy.kill((await at.proxy.session(tab.device)).id);
    await tab.page.evaluate(() => window.probe.renew());
    const refused = await settles(() => tab.licenses.slice(LICENSES), calls => calls.length > 0 && calls.every(({status}) => status !== null));
    const all = refused.length > 0 && refused.every(({status}) => status === 403);
    at.expect('a license is refused after a kill', all, JSON.stringify({licenses: tab.licenses, trouble: await trouble(tab)}));
    return refused[0]?.status;
  });
}

/** Milliseconds from the blackout at the head-end to the beat that brings it, and to the end of the first segment of the slate. */
async function blacksOut(at) {
  const {alone, blackout, expect, headend, log, player} = at;
  return playing(at, {name: 'blackout'}, async tab => {
    if (!await plays(tab, 2)) return void expect('plays, before its blackout', false, await trouble(tab));
    const seq = (await log.now()).seq;
    const [ordered, told] = await alone(async () => {
      const ordered = Date.now();
      blackout.push(tab.content);
      await headend.settings({firstlight: {blackout, blackout_url: `${headend.base}/slate/${player.manifest}`}});
      const beat = await log.until(call => call.seq > seq && call.device === tab.device && call.endpoint === 'fl-heartbeat' && call.ms >= 0, PATIENCE_MS);
      await settles(() => at.proxy.session(tab.device), session => session?.state === 'killed');
      return [ordered, beat && Date.now()];
    });
    const shown = await settles(() => tab.media.find(reply => reply.slate && reply.segment && reply.status < 300), reply => reply !== undefined);
    expect('a blackout shows the slate', shown !== undefined, await trouble(tab));
    const old = tab.media.filter(reply => reply.manifest && !reply.slate && reply.start > told + 100);
    expect('the first manifest after the beat is the slate\'s', old.length === 0, JSON.stringify(old));
    expect('the player goes on playing', await moves(tab, 3), await trouble(tab));
    await licensed(tab, at, 'with its blackout');
    return shown && {beat: told - ordered, shown: shown.end - ordered};
  });
}

/** Beats fail in line. What is live ends with the third; a title goes on however many they are. */
async function fails(at) {
  const {expect, headend, log, proxy, type} = at;
  return playing(at, {name: 'failing'}, async tab => {
    if (!await plays(tab, 1)) return void expect('plays, before its beats fail', false, await trouble(tab));
    const seq = (await log.now()).seq;
    await headend.fault({endpoint: 'fl-heartbeat', content: tab.content, action: {status: 503}, times: 1000});
    const failed = () => log.calls.filter(call => call.seq > seq && call.device === tab.device && call.endpoint === 'fl-heartbeat' && call.status === 503);
    if (type === 'vod') {
      await settles(async () => (await log.more(0), failed().length), count => count >= 2 * FAILURES + 2);
      const session = await proxy.session(tab.device);
      expect('failures in line do not end a title', session?.state === 'failing' && await moves(tab, 1), JSON.stringify(session?.state));
      return {beats: failed().length, ended: false};
    }
    const session = await settles(() => proxy.session(tab.device), session => session?.state === 'closed');
    const lost = session?.timeline.some(({detail}) => /\blost\b/.test(detail));
    expect('failures in line end what is live', session?.state === 'closed' && lost, JSON.stringify(session));
    const refused = await settles(() => tab.media.find(reply => reply.status === 403), reply => reply !== undefined);
    expect('and its stream, for good', refused !== undefined && (await proxy.session(tab.device))?.id === session.id, await trouble(tab));
    await log.more(0);
    const closing = log.calls.find(call => call.seq > seq && call.device === tab.device && call.endpoint === 'stream-delete');
    // The last of them was the farewell.
    const beats = failed().filter(call => call.seq < closing?.seq).length - 1;
    expect('with the third', beats === FAILURES + 1, `${beats} beats`);
    return {beats, ended: true};
  });
}

/** A page that is closed and says nothing. Gives the time until the head-end has its place again. */
async function vanishes(at) {
  const {expect, log, proxy} = at;
  return playing(at, {name: 'vanishes', beacon: 'no', authorize: proxy.authorizeSilent}, async tab => {
    if (!await plays(tab, 2)) return void expect('plays, before it vanishes', false, await trouble(tab));
    const [closed, clock] = [performance.now(), Date.now()];
    await tab.page.close({runBeforeUnload: true});
    const freed = await log.until(call => call.device === tab.device && call.endpoint === 'stream-delete', MEDIA_SILENCE_S * 1000 + PATIENCE_MS);
    const after = freed && Math.round(freed.at - closed);
    // Not before it was silent for so long; by the last request that is known, as the page may have sent one more.
    const silent = after && after + clock - Math.max(...tab.media.map(({start}) => start));
    const late = MEDIA_SILENCE_S * 1000 + 1000;
    expect('one that fetches nothing more has given its place back', silent >= MEDIA_SILENCE_S * 1000 - CLOCKS_MS && after <= late, `${after} ms after closing, silent for ${silent} ms`);
    const session = await settles(() => proxy.session(tab.device), session => session?.state === 'closed');
    expect('the reason is that it fetched nothing more', session?.timeline.some(({detail}) => /\bmedia-silent\b/.test(detail)), JSON.stringify(session));
    return after;
  });
}

/** Runs what it is given one after another. */
function oneAtATime() {
  let before = Promise.resolve();
  return act => {
    const mine = before.then(act);
    before = mine.catch(() => {});
    return mine;
  };
}
