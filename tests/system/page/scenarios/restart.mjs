// The broker is replaced while a page is open: the page says so, keeps what it shows, and goes on.

import { watched } from '../browser.mjs';
import { until } from '../lab.mjs';

export async function restart({ lab, browser, check, picture }) {
  const page = await watched(browser, lab.origin);
  await page.goto(await lab.link());
  const peer = await lab.rawPeer('steady', { live: false });
  await page.locator('#peers button.peer', { hasText: 'steady' }).click();
  await lab.run('send', 'steady', 'before');
  await page.locator('li.message', { hasText: 'before' }).waitFor();
  await lab.stopBroker();
  await page.locator('#link-state[data-link=lost]').waitFor();
  check('what is known stays', await page.locator('li.message', { hasText: 'before' }).isVisible());
  await page.locator('#draft').fill('written meanwhile');
  await page.locator('#draft').press('Enter');
  await page.locator('#draft-error:visible').waitFor();
  check('what was written stays', (await page.locator('#draft').inputValue()) === 'written meanwhile');
  await picture(page, 'without-broker');
  await lab.startBroker();
  await page.locator('#link-state[data-link=live]').waitFor();
  await lab.run('send', 'steady', 'after');
  await page.locator('li.message', { hasText: 'after' }).waitFor();
  await page.locator('#draft').press('Enter');
  await page.locator('li.message', { hasText: 'written meanwhile' }).waitFor();
  const sent = JSON.parse(await lab.run('log', '--json')).messages.map((message) => message.text);
  check('it is sent once', JSON.stringify(sent) === JSON.stringify(['before', 'after', 'written meanwhile']), sent);
  check('to whom it was meant', peer.id !== '');
  // A new token file ends all pages.
  await lab.stopBroker();
  await lab.forgetToken();
  await lab.startBroker();
  await page.locator('#gate:visible', { hasText: 'claude-peers open' }).waitFor();
  await until('the token is forgotten', () => page.evaluate(() => sessionStorage.length === 0));
  check('nothing went wrong', (await page.troubles()).length === 0, await page.troubles());
  await page.context().close();
}
