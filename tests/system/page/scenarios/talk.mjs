// What a person sees and does: peers appear, a message flows and changes state, they write, search and use
// the keys.

import { faint, nameless, watched } from '../browser.mjs';
import { until } from '../lab.mjs';

/** The row of the message with this text. */
const row = (page, text) => page.locator('li.message', { hasText: text });

export async function talk({ lab, browser, check, picture }) {
  const page = await watched(browser, lab.origin);
  await page.goto(await lab.link());
  await page.getByText('No sessions yet').waitFor();
  await page.locator('#link-state[data-link=live]').waitFor();

  // Peers appear as they start, and change as they say what they do.
  const backend = await lab.session('backend', { branch: 'orders-api', channel: 'on' });
  const frontend = await lab.session('frontend', { branch: 'checkout' });
  const peers = page.locator('#peers button.peer');
  await peers.filter({ hasText: 'backend' }).filter({ hasText: 'orders-api' }).waitFor();
  await peers.filter({ hasText: 'frontend' }).waitFor();
  await backend.call('set_summary', { summary: 'Works on the orders API: pagination and cursors.' });
  await frontend.call('set_summary', { summary: 'Builds the checkout page.' });
  await peers.filter({ hasText: 'pagination and cursors' }).waitFor();
  await peers.filter({ hasText: 'Builds the checkout page' }).waitFor();
  check('the count of peers is right', (await page.locator('#peer-count').textContent()) === '2 live, 0 away');

  // A message flows, and its state changes while one looks.
  const question = await backend.send(frontend.me.id, 'Does the checkout page read next_cursor already?');
  const first = row(page, 'read next_cursor already');
  await first.waitFor();
  check('it is queued at first', (await first.locator('.state').textContent()) === 'queued');
  await peers.filter({ hasText: 'frontend' }).filter({ hasText: '1 unread' }).waitFor();
  await frontend.call('check_messages', {});
  const state = (id, word, way) => page.locator(`li.message[data-id="${id}"][data-state=${word}] .course`, { hasText: way });
  await state(question, 'read', 'by tool').waitFor();
  const reply = await frontend.send(backend.me.id, 'Yes, since this morning.\nIt falls back to page numbers.', { reply_to: question });
  const course = await first.locator('.course').textContent();
  check('its course has all times and ways', /offered .* by tool.*read .* by tool/.test(course), course);
  check('an answer names what it answers', (await row(page, 'since this morning').locator('.answered').textContent()).includes('next_cursor'));
  await state(reply, 'offered', 'by channel').waitFor();
  await picture(page, 'dark');

  // A conversation is a thread.
  await frontend.send(backend.me.id, 'Another matter: who owns the price rounding?');
  await peers.filter({ hasText: 'backend' }).click();
  await page.locator('#messages.has-threads').waitFor();
  await page.locator(`li.message.is-reply[data-id="${reply}"]`).waitFor();
  const ids = await page.locator('li.message').evaluateAll((rows) => rows.map((one) => one.dataset.id));
  check('a reply stands below its question', ids.indexOf(reply) === ids.indexOf(question) + 1, ids);
  check('the peer is described', /orders-api/.test(await page.locator('.about').textContent()));

  // Writing: Enter sends, an error keeps the text.
  const draft = page.locator('#draft');
  await draft.fill('Please rename page_token to cursor.');
  await draft.press('Enter');
  await row(page, 'rename page_token').waitFor();
  check('the text is gone once it is sent', (await draft.inputValue()) === '');
  const push = await until('the message arrives', () => backend.pushes.find((one) => one.content.includes('page_token')));
  check('it comes from the command line', push.meta.from_name === 'cli' || push.meta.from === 'cli', push.meta);
  const answer = await backend.send('cli', 'Renamed, and **deployed**.', { reply_to: push.meta.message_id });
  await page.locator(`li.message[data-id="${answer}"]`).waitFor();
  check('every text has contrast, dark', (await faint(page)).length === 0, await faint(page));
  check('everything has a name', (await nameless(page)).length === 0, await nameless(page));
  await picture(page, 'conversation');
  await page.locator(`li.message[data-id="${answer}"] .answer`).click();
  await page.locator('#reply-text', { hasText: 'Renamed' }).waitFor();
  await draft.fill('Thank you!');
  await page.locator('#send').click();
  const thanks = row(page, 'Thank you!');
  await thanks.waitFor();
  check('it answers what was answered', (await lab.messages()).at(-1).reply_to === answer);
  await draft.fill('x'.repeat(300_000));
  await draft.press('Control+Enter');
  await page.locator('#draft-error:visible').waitFor();
  check('an error says what to do', (await page.locator('#draft-error').textContent()).length > 20);
  check('the text is kept at an error', (await draft.inputValue()).length === 300_000);
  await draft.fill('');

  // Search finds peers, and messages by their words.
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  await page.keyboard.type('rounding');
  await row(page, 'price rounding').waitFor();
  check('what does not fit is not listed', (await page.locator('li.message').count()) === 1);
  await picture(page, 'search');
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  await page.keyboard.type('checkout');
  await until('peers are searched', async () => (await peers.count()) === 1);
  check('the one peer that fits is listed', (await peers.first().textContent()).includes('frontend'));
  await page.keyboard.press('Escape');

  // Keys alone.
  await page.keyboard.press('Escape');
  await page.locator('#everything[aria-current=true]').waitFor();
  await page.keyboard.press('p');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  const opened = await page.locator('#peers [aria-current=true] .peer-name').textContent();
  check('a peer is opened by keys', ['backend', 'frontend'].includes(opened), opened);
  await page.keyboard.press('m');
  check('the newest message has the focus', await page.evaluate(() =>
    document.activeElement === document.querySelector('#messages').lastElementChild));
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  check('Enter on a message begins to write', await page.evaluate(() => document.activeElement.id === 'draft'));
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.locator('dialog[open]').waitFor();
  check('the help has contrast', (await faint(page)).length === 0, await faint(page));
  await picture(page, 'help');
  await page.keyboard.press('Escape');
  await page.locator('dialog[open]').waitFor({ state: 'hidden' });

  // Those who listen hear of a message.
  await page.keyboard.press('Escape');
  await page.locator('#everything').click();
  // What came before is announced by now.
  await page.waitForTimeout(2100);
  await frontend.send(backend.me.id, 'A message that is announced.');
  await page.locator('#announcer[aria-live=polite]', { hasText: 'frontend to backend: A message that is announced.' }).waitFor();

  // A session ends.
  await frontend.end();
  await peers.filter({ hasText: 'frontend' }).filter({ hasText: /away|ended/ }).waitFor();

  // Light, and narrow.
  await page.emulateMedia({ colorScheme: 'light' });
  await picture(page, 'light');
  await peers.filter({ hasText: 'backend' }).click();
  check('every text has contrast, light', (await faint(page)).length === 0, await faint(page));
  await picture(page, 'light-conversation');
  await page.locator('#everything').click();
  for (const [width, height] of [[360, 640], [768, 500], [1920, 1200], [320, 900]]) {
    await page.setViewportSize({ width, height });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    check(`nothing leaves a window of ${width} pixels`, !wide);
  }
  await page.setViewportSize({ width: 390, height: 780 });
  await page.locator('#back').click();
  await picture(page, 'narrow-peers');
  await peers.filter({ hasText: 'backend' }).click();
  await page.locator('#draft:visible').waitFor();
  await picture(page, 'narrow-conversation');
  await page.locator('#back').click();
  await peers.first().waitFor();
  await page.locator('#everything').click();
  await row(page, 'is announced').waitFor();
  await page.locator('#back').click();
  await peers.first().waitFor();

  check('nothing went wrong', (await page.troubles()).length === 0, await page.troubles());
  await page.context().close();
}
