// Which cases a run has. Every word of its command line has to choose one: a run that tries nothing proves nothing.
import {PLAYERS, PREVIOUS} from './players.mjs';

export const BROWSERS = ['chromium', 'firefox'];
/** What is no player's matrix. */
export const PARTS = ['eme', 'demo', 'media', 'preload'];

const everything = [...PLAYERS, ...PREVIOUS].map(({id}) => id).concat(PARTS);

/** Whether a case belongs to a run that names none. In Firefox what is the player's own is tried with the whole matrix. */
function byDefault(browser, id) {
  if (PREVIOUS.some(player => player.id === id)) return false;
  const own = PARTS.includes(id) && id !== 'eme' || PLAYERS.some(player => player.id === id && player.variant);
  return browser === 'chromium' || !own;
}

/**
 * The cases in their order, each {browser, id}.
 *
 * Throws, with what there is, if a word is unknown. Every word that is known chooses some.
 */
export function choose(words, {whole}) {
  const unknown = words.filter(word => !BROWSERS.includes(word) && !everything.includes(word));
  if (unknown.length > 0) throw new Error(`no such case: ${unknown.join(', ')}; there are ${[...BROWSERS, ...everything].join(', ')}`);
  const browsers = words.filter(word => BROWSERS.includes(word)), ids = words.filter(word => everything.includes(word));
  const fits = (browser, id) => ids.length > 0 ? ids.includes(id) : whole || byDefault(browser, id);
  return BROWSERS.filter(browser => browsers.length === 0 || browsers.includes(browser))
    .flatMap(browser => everything.filter(id => fits(browser, id)).map(id => ({browser, id})));
}

/** What was tried of each case. Its `check` is the run's own, and counts. */
export function tried(cases, check) {
  const counts = new Map(cases.map(at => [key(at), {passed: 0, failed: 0}]));
  return {
    check: at => (what, ok, detail) => {
      counts.get(key(at))[ok ? 'passed' : 'failed'] += 1;
      check(what, ok, detail);
    },
    /** Whether something of it was tried, and all held. */
    holds: at => counts.get(key(at))?.passed > 0 && counts.get(key(at)).failed === 0,
    /** Cases of which nothing was tried. */
    idle: () => [...counts].filter(([, {passed, failed}]) => passed + failed === 0).map(([name]) => name),
  };
}

const key = ({browser, id}) => `${browser} ${id}`;
