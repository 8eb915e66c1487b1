// The broker is replaced while a page is open: the page says so, keeps what it shows, and goes on.

import http from 'node:http';

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
  const sent = (await lab.messages()).map((message) => message.text);
  check('it is sent once', JSON.stringify(sent) === JSON.stringify(['before', 'after', 'written meanwhile']), sent);
  check('to whom it was meant', (await lab.messages()).at(-1).to.id === peer.id);

  // Another program takes the port while the broker is away: it is asked for a proof, and told nothing.
  const token = await page.evaluate(() => sessionStorage.getItem('claude-peers-token'));
  await lab.stopBroker();
  const heard = [];
  const squatter = http.createServer((request, response) => {
    let text = `${request.method} ${request.url} ${JSON.stringify(request.headers)}`;
    request.on('data', (data) => { text += data; });
    request.on('end', () => {
      heard.push(text);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ proof: '0'.repeat(64), token: 'page-1-0', messages: [] }));
    });
  });
  await new Promise((resolve) => squatter.listen(lab.port, '127.0.0.1', resolve));
  await page.locator('#problem:visible', { hasText: 'not the broker' }).waitFor();
  await page.locator('#draft').fill('for my peer alone');
  await page.locator('#draft').press('Enter');
  await page.locator('#draft-error:visible', { hasText: 'not the broker' }).waitFor();
  check('the squatter was asked', heard.some((one) => one.includes('/v1/page/proof')), heard);
  const secrets = [token, token.split('-')[2], 'for my peer alone'];
  check('the squatter heard no token and no message', !heard.some((one) => secrets.some((secret) => one.includes(secret))), heard);
  check('there is no token where its page could read it', await page.evaluate(() => sessionStorage.length === 0));
  squatter.closeAllConnections();
  await new Promise((resolve) => squatter.close(resolve));
  await lab.startBroker();
  await page.locator('#link-state[data-link=live]').waitFor();
  await page.locator('#problem').waitFor({ state: 'hidden' });
  await page.locator('#draft').press('Enter');
  await page.locator('li.message', { hasText: 'for my peer alone' }).waitFor();

  // A new token file ends all pages.
  await lab.stopBroker();
  await lab.forgetToken();
  await lab.startBroker();
  await page.locator('#problem:visible', { hasText: 'claude-peers open' }).waitFor();
  await until('the token is forgotten', () => page.evaluate(() => sessionStorage.length === 0));
  await page.reload();
  await page.locator('#gate:visible', { hasText: 'claude-peers open' }).waitFor();
  check('nothing went wrong', (await page.troubles()).length === 0, await page.troubles());
  await page.context().close();
}
