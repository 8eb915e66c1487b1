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

/** Texts whose contrast with what is behind them is below that of WCAG 2 AA. */
export function faint(page) {
  return page.evaluate(() => {
    const context = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const rgba = (colour) => {
      context.clearRect(0, 0, 1, 1);
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
      return [...context.getImageData(0, 0, 1, 1).data];
    };
    const ground = (element) => {
      for (let one = element; one; one = one.parentElement) {
        const [r, g, b, a] = rgba(getComputedStyle(one).backgroundColor);
        if (a === 255) return [r, g, b];
      }
      return [255, 255, 255];
    };
    const luminance = (rgb) => {
      const [r, g, b] = rgb.slice(0, 3).map((part) => {
        const share = part / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    let looked = 0;
    for (const element of document.querySelectorAll('body *')) {
      const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!hasText || !element.checkVisibility()) continue;
      looked += 1;
      const [text, behind] = [luminance(rgba(getComputedStyle(element).color)), luminance(ground(element))];
      const ratio = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
      if (ratio < 4.5) found.push(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
    }
    return looked < 10 ? ['there are hardly any texts'] : [...new Set(found)];
  });
}

/** Buttons, fields, lists and regions without a name for who does not see them. */
export function nameless(page) {
  return page.evaluate(() => {
    const named = (one) => one.ariaLabel || one.labels?.length || one.textContent.trim()
      || document.getElementById(one.getAttribute('aria-labelledby'))?.textContent.trim();
    return [...document.querySelectorAll('button, input, textarea, nav, main, section, ol, ul, dialog')]
      .filter((one) => one.checkVisibility() && !named(one)).map((one) => one.outerHTML.slice(0, 80));
  });
}

export function pictures(directory) {
  mkdirSync(directory, { recursive: true });
  return (page, name) => page.screenshot({ path: join(directory, `${name}.png`) });
}
