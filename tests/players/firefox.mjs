// Debian's Firefox over WebDriver BiDi, in the words that the tests use of Chromium. Its profile is its own: the local CA is
// in the profile's certificate store, and ClearKey comes with the browser (gmp-clearkey).
import {execFileSync} from 'node:child_process';
import {mkdirSync, rmSync} from 'node:fs';
import path from 'node:path';

import puppeteer from 'puppeteer-core';

const PREFS = {
  'datareporting.policy.dataSubmissionEnabled': false,
  // Several pages play at once here, and each is to be shown as the one that a viewer looks at.
  'dom.min_background_timeout_value': 4,
  'dom.timeout.enable_budget_timer_throttling': false,
  'media.autoplay.blocking_policy': 0,
  'media.autoplay.default': 0,
  'media.block-autoplay-until-in-foreground': false,
  'media.eme.enabled': true,
  'media.suspend-bkgnd-video.enabled': false,
};

export async function firefox(dir, ca) {
  const home = path.join(dir, 'home-firefox');
  const profile = path.join(home, 'profile');
  rmSync(home, {recursive: true, force: true});
  mkdirSync(profile, {recursive: true});
  execFileSync('certutil', ['-N', '-d', `sql:${profile}`, '--empty-password']);
  execFileSync('certutil', ['-A', '-d', `sql:${profile}`, '-n', 'sidebeat local CA', '-t', 'C,,', '-i', ca]);
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    extraPrefsFirefox: PREFS,
    headless: true,
    userDataDir: profile,
    env: {...process.env, HOME: home},
  });
  const version = (await browser.version()).replace('firefox/', '');
  return {
    close: () => browser.close(),
    name: 'Firefox',
    newContext: () => context(browser),
    version: () => version,
  };
}

async function context(browser) {
  const inner = await browser.createBrowserContext();
  const scripts = [];
  return {
    addInitScript: script => scripts.push(script),
    close: () => inner.close(),
    async newPage() {
      const page = await inner.newPage();
      for (const script of scripts) await page.evaluateOnNewDocument(script);
      return words(page);
    },
  };
}

const words = page => ({
  addInitScript: script => page.evaluateOnNewDocument(script),
  close: options => page.close(options),
  evaluate: (act, argument) => page.evaluate(act, argument),
  goto: url => page.goto(url, {waitUntil: 'load'}),
  on: (event, act) => page.on(event, act),
  screenshot: options => page.screenshot(options),
  reload: () => page.reload({waitUntil: 'load'}),
  waitForFunction: (holds, argument, options) => page.waitForFunction(holds, options, argument),
});
