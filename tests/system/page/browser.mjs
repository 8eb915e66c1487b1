// A real Chromium without a window, and a page in it that is watched: what it asks for, says and refuses.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Without these, Chromium calls its maker. */
const QUIET = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

export async function launch({ playwright, chromium }) {
  const { chromium: engine } = await import(playwright);
  const asRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return engine.launch({ executablePath: chromium, args: [...QUIET, ...asRoot] });
}

/** Opens a page that is watched. `origin` is the only one that it may ask. */
export async function watched(browser, origin, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 }, colorScheme: 'dark', reducedMotion: 'reduce', locale: 'en-GB', ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.faults = [];
  const fault = (text) => page.faults.push(text);
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith('data:image/svg+xml')) fault(`request to ${url}`);
  });
  page.on('dialog', (dialog) => {
    fault(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('pageerror', (error) => fault(`script error: ${error.stack ?? error}`));
  page.on('console', (message) => {
    // A connection that is refused, and a refusal of the broker, are what some scenarios are about.
    const text = message.text();
    if (message.type() === 'error' && !/Failed to load resource/.test(text)) fault(`console: ${text}`);
  });
  context.on('page', (other) => { if (other !== page) fault(`another window: ${other.url()}`); });
  page.on('framenavigated', (frame) => {
    if (frame !== page.mainFrame()) fault(`a frame: ${frame.url()}`);
    else if (!frame.url().startsWith(`${origin}/`) && frame.url() !== 'about:blank') fault(`went to ${frame.url()}`);
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => {
      globalThis.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  /** What went wrong so far, policy violations included. */
  page.troubles = async () => [...page.faults, ...(await page.evaluate(() => globalThis.violations ?? []))];
  return page;
}

export function pictures(directory) {
  mkdirSync(directory, { recursive: true });
  return (page, name) => page.screenshot({ path: join(directory, `${name}.png`) });
}
