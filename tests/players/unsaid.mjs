// A page that is closed and says nothing: it sends no beacon, and its player does not report.
import {open} from './browser.mjs';
import {pageUrl} from './players.mjs';
import {LONGEST_S} from './sidebeat.mjs';
import {settles} from './silence.mjs';

const SLACK_MS = 1500;

/** Milliseconds from closing the page to the teardown by `endings.longest`, as a promise. */
export async function unsaid(player, {check, browser, files, headend, log, proxy}) {
  const expect = (what, ok, detail) => check(`${player.name}, ${browser.name}, saying nothing: ${what}`, ok, detail);
  const device = `dev-${player.id}-${browser.name}-unsaid`;
  const query = {license: proxy.short, token: await headend.token(device, player.content), device, beacon: 'no'};
  const tab = await open(browser, proxy.short);
  let at;
  try {
    await tab.page.goto(pageUrl(player, files, query));
    await tab.page.waitForFunction(() => document.querySelector('video')?.currentTime > 1, undefined, {timeout: 20_000});
    at = performance.now();
    await tab.page.close({runBeforeUnload: true});
  } finally {
    await tab.close();
  }
  return {unsaid: falls({at, device, expect, log, proxy})};
}

async function falls({at, device, expect, log, proxy}) {
  const teardown = await log.until(call => call.device === device && call.endpoint === 'teardown', LONGEST_S * 1000 + 10_000);
  const after = teardown && Math.round(teardown.at - at);
  expect('its slot is free when the longest time is over, and not before', teardown?.status < 300 && after > 0 && after <= LONGEST_S * 1000 + SLACK_MS, `${after} ms after closing`);
  const session = await settles(proxy, device, session => session.state === 'closed');
  expect('the reason is the longest time', /\blongest\b/.test(session?.timeline.at(-1)?.detail), JSON.stringify(session));
  return after;
}
