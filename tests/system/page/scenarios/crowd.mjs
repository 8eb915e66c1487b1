// Two hundred peers and a thousand messages a minute: everything is there, and the page stays quick.

import { watched } from '../browser.mjs';
import { until } from '../lab.mjs';

const PEERS = 200;

/** As many messages as come in half a minute, in a few seconds. */
const MESSAGES = 500;

/** The longest that the page may be busy with one task, on a slow machine too, in milliseconds. */
const LONGEST_TASK = 1000;

export async function crowd({ lab, browser, check, picture }) {
  const peers = [];
  for (let at = 0; at < PEERS; at += 1) {
    const name = `service-${String(at).padStart(3, '0')}`;
    const peer = await lab.rawPeer(name, { live: at % 4 !== 0, cwd: `/home/ann/work/monorepo/services/team-${at % 9}/${name}` });
    peers.push(peer);
    if (at % 3) await lab.request('POST', '/v1/profile', { secret: peer.secret, body: { summary: `Refactors module number ${at} and its tests.` } });
  }
  const page = await watched(browser, lab.origin);
  const began = Date.now();
  await page.goto(await lab.link());
  const rows = page.locator('#peers li');
  await until('all peers are listed', async () => (await rows.count()) === PEERS + 1);
  check('they are there at once', Date.now() - began < 5000, `${Date.now() - began} ms`);
  await page.evaluate(() => {
    globalThis.tasks = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) globalThis.tasks.push(entry.duration);
    }).observe({ type: 'longtask' });
  });
  for (let at = 0; at < MESSAGES; at += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, more) => lab.request('POST', '/v1/messages', {
      secret: peers[(at + more) % PEERS].secret,
      body: { to: peers[(at * 7 + more + 1) % PEERS].id, text: `Message ${at + more}: the build of module ${at} is green again.` },
    })));
  }
  await page.locator('li.message', { hasText: `Message ${MESSAGES - 1}:` }).waitFor();
  const tasks = await page.evaluate(() => globalThis.tasks);
  const longest = Math.max(0, ...tasks);
  check('no task is long', longest < LONGEST_TASK, tasks);
  console.log(`      ${MESSAGES} messages to ${PEERS} peers: ${tasks.length} tasks of more than 50 ms, the longest ${longest} ms`);
  check('the list is bounded', (await page.locator('li.message').count()) <= 200);
  await picture(page, 'crowd');
  // Who reads older messages is not moved by new ones.
  await page.locator('#scroller').evaluate((scroller) => { scroller.scrollTop = 300; });
  const top = () => page.evaluate(() => {
    const edge = document.querySelector('#scroller').getBoundingClientRect().top;
    return [...document.querySelectorAll('li.message')].find((one) => one.getBoundingClientRect().bottom > edge).dataset.id;
  });
  await page.locator('#older').click();
  await until('older messages are shown', async () => (await page.locator('li.message').count()) > 300);
  const reading = await top();
  await lab.request('POST', '/v1/messages', { secret: peers[1].secret, body: { to: peers[2].id, text: 'one more' } });
  await page.locator('#newer:visible', { hasText: '1 new' }).waitFor();
  check('what is read stays where it is', (await top()) === reading, [await top(), reading]);
  await page.locator('#newer').click();
  await page.locator('#newer').waitFor({ state: 'hidden' });
  // The list of peers is one stop for the Tab key.
  const stops = await page.locator('#peers-pane button').evaluateAll((all) => all.filter((one) => one.tabIndex === 0).length);
  check('the peers are at most two stops', stops <= 2, String(stops));
  await page.locator('#search').fill('service-17');
  await until('a peer is found among many', async () => (await rows.count()) === 10);
  await page.locator('#search').fill('');
  for (const stream of lab.streams.splice(0, 50)) stream.destroy();
  await until('those who left are away', async () => /100 live, 100 away/.test(await page.locator('#peer-count').textContent()));
  check('nothing went wrong', (await page.troubles()).length === 0, await page.troubles());
  await page.context().close();
}
