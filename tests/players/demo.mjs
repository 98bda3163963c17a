// The demo page in the same browser: it plays, and after its Kill button it shows the refusal.
import {open} from './browser.mjs';

export async function demo({browser, files, proxy, check}) {
  const expect = (what, ok, detail) => check(`demo page, ${browser.name}: ${what}`, ok, detail);
  const tab = await open(browser, proxy.license);
  try {
    const {page} = tab;
    const words = id => page.evaluate(id => document.getElementById(id).innerText, id);
    const click = id => page.evaluate(id => document.getElementById(id).click(), id);
    await page.goto(`${files.origin}/`);
    const plays = await page.waitForFunction(() => document.getElementById('video').currentTime > 2, undefined, {timeout: 20_000}).then(() => true, () => false);
    expect('plays', plays, await words('events'));
    const live = await page.waitForFunction(() => document.getElementById('session').innerText.includes('live'), undefined, {timeout: 5000}).then(() => true, () => false);
    expect('shows its live session', live, await words('session'));

    await click('kill');
    const refused = await page.waitForFunction(() => !document.getElementById('refusal').hidden, undefined, {timeout: 10_000}).then(() => true, () => false);
    const told = refused ? await words('refusal') : '';
    expect('shows the refusal and its incident id after a kill', /incident \S+/.test(told), told || 'no refusal');
    if (process.env.SHOTS) await page.screenshot({path: process.env.SHOTS, fullPage: true});

    await click('again');
    const back = await page.waitForFunction(() => document.getElementById('refusal').hidden && document.getElementById('video').currentTime > 1, undefined, {timeout: 10_000}).then(() => true, () => false);
    expect('plays again with a new content token', back, await words('events'));
    await click('stop');
    const stopped = await page.waitForFunction(() => /stop: HTTP 2/.test(document.getElementById('events').innerText), undefined, {timeout: 5000}).then(() => true, () => false);
    expect('stops on its button', stopped, await words('events'));
    expect('has no script error', tab.trouble.length === 0, tab.trouble.join('; '));
  } finally {
    await tab.close();
  }
}
