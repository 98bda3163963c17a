// A paused player in a tab behind others: its reports come once a minute, and its session stays.
//
// A headless browser hides no page. What a browser does to a hidden one is done by a script before the player is
// loaded: the page says that it is hidden, and its timers run once a minute.
import {open} from './browser.mjs';
import {call, pause} from './http.mjs';
import {pageUrl} from './players.mjs';
import {REPORT_S, heard, moves, settles} from './silence.mjs';

const HIDDEN_MS = 130_000;

const hides = () => {
  const MINUTE = 60_000;
  const {setInterval, setTimeout} = window;
  let hidden = false;
  const minute = () => Math.floor(performance.now() / MINUTE);
  const due = ms => hidden ? Math.ceil((performance.now() + ms) / MINUTE) * MINUTE - performance.now() : ms;
  window.setTimeout = (act, ms = 0, ...rest) => setTimeout(act, due(ms), ...rest);
  window.setInterval = (act, ms, ...rest) => {
    let last;
    return setInterval(() => {
      if (hidden && last === minute()) return;
      last = minute();
      act(...rest);
    }, ms);
  };
  window.hide = now => {
    hidden = now;
    document.dispatchEvent(new Event('visibilitychange'));
  };
  Object.defineProperty(document, 'hidden', {get: () => hidden});
  Object.defineProperty(document, 'visibilityState', {get: () => hidden ? 'hidden' : 'visible'});
};

export async function background(player, {check, browser, files, headend, proxy}) {
  const expect = (what, ok, detail) => check(`${player.name}, ${browser.name}, in the background: ${what}`, ok, detail);
  const device = `dev-${player.id}-${browser.name}-background`;
  const token = await headend.token(device, player.content);
  const query = {license: proxy.license, token, device, reports: REPORT_S};
  const tab = await open(browser, proxy.license);
  try {
    await tab.page.addInitScript(hides);
    const reports = heard(tab.page);
    await tab.page.goto(pageUrl(player, files, query));
    await moves(tab, 2 * REPORT_S);
    const before = await settles(proxy, device, session => session.state === 'live');
    await tab.page.evaluate(() => document.querySelector('video').pause());
    await pause(REPORT_S * 1000);
    await tab.page.evaluate(() => window.hide(true));
    const told = reports.length;
    await pause(HIDDEN_MS);
    const slow = reports.length - told;
    expect('its reports come once a minute', slow >= 1 && slow <= 6, `${slow} in ${HIDDEN_MS / 1000} s`);
    const session = await proxy.session(device);
    expect('its session stays', session?.state === 'live' && session.id === before.id, JSON.stringify(session));
    await tab.page.evaluate(() => { window.hide(false); document.querySelector('video').play(); });
    await moves(tab, REPORT_S);
    const again = await proxy.session(device);
    expect('plays on with it', again?.state === 'live' && again.id === before.id, JSON.stringify({again, errors: await tab.page.evaluate(() => window.errors)}));
  } finally {
    await tab.close();
    await call(`${proxy.license}/~stop?${new URLSearchParams({token, device})}`, {method: 'POST'});
  }
}
