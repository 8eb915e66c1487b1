// Runs the scenarios, and reports each check. See `run`.

import { parseArgs } from 'node:util';

import { launch, pictures } from './browser.mjs';
import { Lab } from './lab.mjs';
import { access } from './scenarios/access.mjs';
import { crowd } from './scenarios/crowd.mjs';
import { hostile } from './scenarios/hostile.mjs';
import { restart } from './scenarios/restart.mjs';
import { talk } from './scenarios/talk.mjs';

const SCENARIOS = { access, talk, hostile, crowd, restart };

const { values } = parseArgs({
  options: {
    'claude-peers': { type: 'string' },
    playwright: { type: 'string' },
    chromium: { type: 'string' },
    pictures: { type: 'string' },
    only: { type: 'string', multiple: true },
  },
});

let failures = 0;
let checks = 0;

/** One check. What was found is printed where it fails. */
function check(what, holds, found = '') {
  checks += 1;
  if (holds) return;
  failures += 1;
  console.log(`FAIL  ${what}`, typeof found === 'string' ? found : JSON.stringify(found, null, 1));
}

const browser = await launch(values);
try {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    if (values.only && !values.only.includes(name)) continue;
    const since = Date.now();
    const before = [checks, failures];
    const lab = await Lab.start(values['claude-peers']);
    try {
      await scenario({ lab, browser, check, picture: pictures(values.pictures) });
    } catch (error) {
      check(`${name} comes to its end`, false, String(error.stack));
    } finally {
      await lab.end();
    }
    const seconds = ((Date.now() - since) / 1000).toFixed(1);
    const word = failures === before[1] ? 'ok  ' : 'FAIL';
    console.log(`${word}  ${name}: ${checks - before[0]} checks, ${seconds} s`);
  }
} finally {
  await browser.close();
}
console.log(failures ? `${failures} of ${checks} checks failed` : `all ${checks} checks passed; pictures in ${values.pictures}`);
process.exit(failures ? 1 : 0);
