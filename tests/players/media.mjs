// Unmodified players behind an authorize route and a media route: they play, a kill stops the picture, and a
// blackout shows the slate in its place.
import {open} from './browser.mjs';
import {pause} from './http.mjs';

const PLAYED_S = 4;
const BEAT_MS = 1000;

/** `slate`: the form that follows on in this player. */
export const MEDIA = [
  {id: 'shaka', name: 'Shaka Player', manifest: 'main.mpd'},
  {id: 'dashjs', name: 'dash.js', manifest: 'main.mpd'},
  {id: 'hlsjs', name: 'hls.js', manifest: 'main.m3u8'},
];

export async function media(stage) {
  const rows = [];
  for (const player of MEDIA) {
    for (const type of ['live', 'vod']) rows.push(await one(player, type, stage));
  }
  return rows;
}

async function one(player, type, stage) {
  const {check, headend} = stage;
  const expect = (what, ok, detail) => check(`${player.name}, ${type}: ${what}`, ok, detail);
  await headend.settings({firstlight: {
    blackout: [], blackout_url: `${headend.base}/slate/${player.manifest}`, content_url: `${headend.base}/${type}/${player.manifest}`,
    frequency_ms: BEAT_MS, limit: 9,
  }});
  const killed = await stops(player, type, stage, expect);
  const slate = await blacksOut(player, type, stage, expect);
  const refused = await tooMany(player, type, stage, expect);
  return {player, type, killed, slate, refused};
}

async function plays(player, type, content, {chromium, files, proxy}) {
  const device = `dev-${player.id}-${content}`;
  const tab = await open(chromium, proxy.license);
  tab.media = [];
  tab.page.on('response', reply => {
    if (reply.url().includes('/media/')) tab.media.push({at: performance.now(), status: reply.status(), slate: reply.url().includes('/~s/'), segment: reply.url().includes('.m4s')});
  });
  await tab.page.goto(`${files.origin}/pages/media.html?${new URLSearchParams({authorize: proxy.authorize, player: player.id, device, content, type})}`);
  const played = await tab.page.waitForFunction(s => {
    const video = document.querySelector('video');
    return video.played.length > 0 && video.currentTime - video.played.start(0) >= s;
  }, PLAYED_S, {timeout: 30_000, polling: 100}).then(() => true, () => false);
  return {device, played, tab};
}

/** Seconds from the kill to the last segment, and what the page is told. */
async function stops(player, type, stage, expect) {
  const {device, played, tab} = await plays(player, type, `${type}-killed`, stage);
  try {
    expect('plays', played, JSON.stringify({errors: await tab.page.evaluate(() => window.errors), trouble: tab.trouble, media: tab.media.slice(-5)}));
    if (!played) return null;
    const session = await stage.proxy.session(device);
    expect('has one session that the head-end confirms', session?.state === 'live', JSON.stringify(session?.state));
    const at = performance.now();
    await stage.proxy.kill(session.id);
    const told = await tab.page.waitForFunction(() => window.errors.length > 0, undefined, {timeout: 20_000, polling: 50}).then(() => performance.now() - at, () => null);
    await pause(1500);
    const late = tab.media.filter(reply => reply.at > at + 300 && reply.segment && reply.status < 300);
    expect('no segment comes after the kill', late.length === 0, `${late.length} segments`);
    const refused = tab.media.some(reply => reply.at > at && reply.status === 403);
    expect('a kill stops the stream', refused || type === 'vod', JSON.stringify(tab.media.slice(-4)));
    return {told, error: (await tab.page.evaluate(() => window.errors))[0]?.code};
  } finally {
    await leave(tab);
  }
}

/** Seconds from the blackout at the head-end to the first segment of the slate. */
async function blacksOut(player, type, stage, expect) {
  const content = `${type}-blackout`;
  if (type === 'vod') return null;
  const {tab} = await plays(player, type, content, stage);
  try {
    const at = performance.now();
    await stage.headend.settings({firstlight: {blackout: [content]}});
    for (const end = at + 20_000; performance.now() < end && !tab.media.some(reply => reply.slate && reply.segment && reply.status < 300); await pause(50));
    const shown = tab.media.find(reply => reply.slate && reply.segment && reply.status < 300);
    expect('a blackout shows the slate', shown !== undefined, JSON.stringify({errors: await tab.page.evaluate(() => window.errors), last: tab.media.slice(-4)}));
    const before = await tab.page.evaluate(() => document.querySelector('video').currentTime);
    await pause(5000);
    const after = await tab.page.evaluate(() => document.querySelector('video').currentTime);
    expect('the player goes on playing', after > before + 2, `${before} → ${after}, ${JSON.stringify(await tab.page.evaluate(() => window.errors))}`);
    return shown ? shown.at - at : null;
  } finally {
    await leave(tab);
  }
}

/** A second device over the limit; the first goes on. */
async function tooMany(player, type, stage, expect) {
  await stage.headend.settings({firstlight: {limit: 1}});
  const first = await plays(player, type, `${type}-first`, stage);
  const second = await open(stage.chromium, stage.proxy.license);
  try {
    const {files, proxy} = stage;
    await second.page.goto(`${files.origin}/pages/media.html?${new URLSearchParams({authorize: proxy.authorize, player: player.id, device: `dev-${player.id}-second`, content: `${type}-second`, type})}`);
    const told = await second.page.waitForFunction(() => window.errors[0]?.code, undefined, {timeout: 15_000}).then(handle => handle.jsonValue(), () => null);
    expect('a second device over the limit is refused', told !== null, 'no error');
    const before = await first.tab.page.evaluate(() => document.querySelector('video').currentTime);
    await pause(2000);
    const after = await first.tab.page.evaluate(() => document.querySelector('video').currentTime);
    expect('and the first goes on', first.played && (after > before || type === 'vod'), `${before} → ${after}`);
    return told;
  } finally {
    await leave(second);
    await leave(first.tab);
    await stage.headend.settings({firstlight: {limit: 9}});
  }
}

/** Closes the page as a viewer does. */
async function leave(tab) {
  await tab.page.close({runBeforeUnload: true});
  await pause(300);
  await tab.close();
}
