// The bookmark that the head-end gets, beside the place where the player says that it is: while it plays, after a
// seek, while it is paused, and when its page is closed.
import {moves, plays, settles} from './media.mjs';

/** Beats that are compared in each phase. */
const BEATS = 3;
/** Far enough from the title's end that something is left to fetch. */
const SEEK_S = 22;
const WITHIN_MS = 1000;
/** By requests alone a pause shows when the next request stays away, a segment later. */
const SEGMENT_MS = 2000;

/** The worst difference in each phase, milliseconds; more: the bookmark is ahead. */
export async function bookmarks(tab, reports, {expect, headend}) {
  const seen = async since => (await headend.books()).firstlight.beats.filter(beat => beat.device === tab.device && beat.at >= since && Number.isFinite(beat.offset));
  const worst = {};
  const compare = async (phase, since) => {
    const beats = await settles(() => seen(since), beats => beats.length >= BEATS);
    const places = await tab.page.evaluate(() => window.places);
    const off = beats.slice(0, BEATS).map(beat => Math.round(beat.offset - place(places, beat.at)));
    note(phase, off, beats.length >= BEATS);
  };
  const note = (phase, off, enough) => {
    worst[phase] = off.toSorted((a, b) => Math.abs(b) - Math.abs(a))[0];
    const most = WITHIN_MS + (phase === 'paused' && reports === 'requests' ? SEGMENT_MS : 0);
    const fits = enough && off.every(by => by >= -WITHIN_MS && by <= most);
    expect(`the bookmark is where the player is, by its ${reports}: ${phase}`, fits, JSON.stringify({off}));
  };

  await plays(tab, 4);
  await compare('plays', Date.now());
  await tab.page.evaluate(at => { document.querySelector('video').currentTime = at; }, SEEK_S);
  await moves(tab, 2);
  await compare('seek', Date.now());
  await tab.page.evaluate(() => document.querySelector('video').pause());
  const [pausedAt] = (await tab.page.evaluate(() => window.places)).at(-1);
  await settles(() => seen(pausedAt), beats => beats.length >= BEATS);
  await compare('paused', Date.now());
  await tab.page.evaluate(() => document.querySelector('video').play());
  await moves(tab, 3);
  const last = (await tab.page.evaluate(() => window.places)).at(-1);
  await tab.page.close({runBeforeUnload: true});
  const stop = await settles(async () => (await seen(last[0])).find(beat => beat.event === 'STOP'), beat => beat !== undefined);
  // It played on until then.
  note('stop', stop ? [Math.round(stop.offset - last[1] * 1000 - (stop.at - last[0]))] : [NaN], stop !== undefined);
  return worst;
}

/** Where the player was then, milliseconds; between two samples in proportion. */
function place(places, at) {
  const after = places.findIndex(([when]) => when >= at);
  if (after < 1) return (places.at(after === 0 ? 0 : -1))[1] * 1000;
  const [[early, from], [late, to]] = [places[after - 1], places[after]];
  return (from + (to - from) * (at - early) / Math.max(1, late - early)) * 1000;
}
