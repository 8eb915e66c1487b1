// Who gets the page: a link opens it once, leaves no trace, and another page gets nothing.

import http from 'node:http';

import { watched } from '../browser.mjs';
import { until } from '../lab.mjs';

export async function access({ lab, browser, check }) {
  const link = await lab.link();
  const code = link.split('#')[1];
  const page = await watched(browser, lab.origin);
  const sent = [];
  page.on('request', (request) => sent.push(request));
  await page.goto(link);
  await page.locator('#link-state[data-link=live]').waitFor();
  check('the code is gone from the address', page.url() === `${lab.origin}/`, page.url());
  const token = await page.evaluate(() => sessionStorage.getItem('claude-peers-token'));
  check('the page has a token of its own', /^page-/.test(token), token);
  const urls = sent.map((request) => request.url().split('#')[0]);
  check('no address that is requested has code or token', !urls.some((url) => url.includes(code) || url.includes(token)), urls);
  const cookies = await page.context().cookies();
  check('there is no cookie', cookies.length === 0, cookies);
  check('nothing is stored beyond the tab', await page.evaluate(() => localStorage.length) === 0);
  await page.goBack().catch(() => null);
  await page.goto(`${lab.origin}/`);
  await page.locator('#link-state[data-link=live]').waitFor();
  check('a reload keeps the access', await page.locator('#gate').isHidden());

  // The link is used up; another tab gets nothing, and says what to do.
  const other = await watched(browser, lab.origin);
  await other.goto(link);
  await other.locator('#gate:visible').waitFor();
  check('a used link is refused', /used already/.test(await other.locator('#gate-text').textContent()));
  check('it says what to run', /claude-peers open/.test(await other.locator('#gate').textContent()));
  check('its code is gone, too', other.url() === `${lab.origin}/`, other.url());
  // A new link in the same tab is no new document.
  await other.goto(await lab.link());
  await other.locator('#link-state[data-link=live]').waitFor();
  check('a new link in the same tab opens it', await other.locator('#gate').isHidden());
  const bare = await watched(browser, lab.origin);
  await bare.goto(`${lab.origin}/`);
  await bare.locator('#gate:visible').waitFor();
  // An access that has ended.
  await bare.evaluate(() => sessionStorage.setItem('claude-peers-token', 'page-1-00'));
  await bare.reload();
  await bare.locator('#problem:visible', { hasText: 'claude-peers open' }).waitFor();

  // `claude-peers open` leads a browser there, by a file and not by its arguments.
  const opened = await browser.newContext();
  const visitor = await opened.newPage();
  const { stdout, file, mode, isGone } = await lab.openWith((path) => visitor.goto(`file://${path}`));
  check('open says that the page is open', /is open/.test(stdout), stdout);
  await visitor.waitForURL(`${lab.origin}/`);
  await visitor.locator('#link-state[data-link=live]').waitFor();
  check('no argument has an address, and the file is private', !/http|#/.test(file) && mode === '600', [file, mode]);
  check('the file is removed', isGone);
  await opened.close();

  // Pages of others, with all that they can send. The page's token does not help them.
  const strange = http.createServer((request, response) => response.end('<!doctype html><title>other</title>'));
  await new Promise((resolve) => strange.listen(0, '127.0.0.1', resolve));
  const elsewhere = await (await browser.newContext()).newPage();
  await elsewhere.goto(`http://127.0.0.1:${strange.address().port}/`);
  const before = (await lab.messages()).length;
  const outcomes = await elsewhere.evaluate(async ({ origin, token }) => {
    const ask = (path, options) => fetch(origin + path, options).then((answer) => answer.status, () => 'failed');
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` };
    const frame = document.createElement('iframe');
    frame.src = origin;
    document.body.append(frame);
    await new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 2000); });
    const body = JSON.stringify({ to: 'cli', text: 'from another page' });
    return {
      read: await ask('/v1/peers', { headers }),
      write: await ask('/v1/messages', { method: 'POST', headers, body }),
      simple: await ask('/v1/messages', { method: 'POST', mode: 'no-cors', body }).then((status) => (status === 0 ? 'opaque' : status)),
      open: await ask('/v1/page/open', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"code":""}' }),
      framed: (() => { try { return frame.contentDocument?.title ?? 'closed'; } catch { return 'closed'; } })(),
    };
  }, { origin: lab.origin, token });
  check('another page gets nothing', JSON.stringify(outcomes) === JSON.stringify(
    { read: 'failed', write: 'failed', simple: 'opaque', open: 'failed', framed: 'closed' }), outcomes);
  await elsewhere.context().close();
  strange.close();
  check('another page sends nothing', (await lab.messages()).length === before);

  await until('the log has the opening', () => lab.log.includes('a page was opened'));
  const tokens = [code, token, await other.evaluate(() => sessionStorage.getItem('claude-peers-token'))];
  check('no log has a code or a token', !tokens.some((secret) => lab.log.includes(secret)));
  for (const one of [page, other, bare]) {
    check('nothing went wrong', (await one.troubles()).length === 0, await one.troubles());
    await one.context().close();
  }
}
