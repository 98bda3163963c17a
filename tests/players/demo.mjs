// The demo page in the same browser: it plays, and after its Kill button it shows the refusal.
import {open} from './browser.mjs';

export async function demo({chromium, files, proxy, check}) {
  const expect = (what, ok, detail) => check(`demo page: ${what}`, ok, detail);
  const tab = await open(chromium, proxy.license);
  try {
    const {page} = tab;
    await page.goto(`${files.origin}/`);
    const plays = await page.waitForFunction(() => document.getElementById('video').currentTime > 2, undefined, {timeout: 20_000}).then(() => true, () => false);
    expect('plays', plays, await page.locator('#events').innerText());
    const live = await page.waitForFunction(() => document.getElementById('session').innerText.includes('live'), undefined, {timeout: 5000}).then(() => true, () => false);
    expect('shows its live session', live, await page.locator('#session').innerText());

    await page.click('#kill');
    const refused = await page.waitForSelector('#refusal:not([hidden])', {timeout: 10_000}).then(() => true, () => false);
    const words = refused ? await page.locator('#refusal').innerText() : '';
    expect('shows the refusal and its incident id after a kill', /incident \S+/.test(words), words || 'no refusal');
    if (process.env.SHOTS) await page.screenshot({path: process.env.SHOTS, fullPage: true});

    await page.click('#again');
    const back = await page.waitForFunction(() => document.getElementById('refusal').hidden && document.getElementById('video').currentTime > 1, undefined, {timeout: 10_000}).then(() => true, () => false);
    expect('plays again with a new content token', back, await page.locator('#events').innerText());
    await page.click('#stop');
    const stopped = await page.waitForFunction(() => /stop: HTTP 2/.test(document.getElementById('events').innerText), undefined, {timeout: 5000}).then(() => true, () => false);
    expect('stops on its button', stopped, await page.locator('#events').innerText());
    expect('has no script error', tab.trouble.length === 0, tab.trouble.join('; '));
  } finally {
    await tab.close();
  }
}
