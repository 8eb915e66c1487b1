// A private home with a real broker and real sessions: `claude-peers mcp` as child processes, used as Claude
// Code uses them.

import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

/** The limit of anything that must happen, on a slow machine too. */
export const PATIENCE = 30_000;

const CHANNEL = 'notifications/claude/channel';

/** Waits until `holds` returns something true; that. */
export async function until(what, holds, limit = PATIENCE) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > end) throw new Error(`timed out waiting: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class Lab {
  static async start(program) {
    const lab = new Lab();
    lab.program = program;
    lab.directory = mkdtempSync(join(tmpdir(), 'cp-page-'));
    lab.port = await freePort();
    const place = (name) => {
      const path = join(lab.directory, name);
      mkdirSync(path, { mode: 0o700 });
      return path;
    };
    lab.environment = {
      PATH: process.env.PATH,
      HOME: place('home'),
      XDG_RUNTIME_DIR: place('run'),
      XDG_STATE_HOME: place('state'),
      XDG_CONFIG_HOME: place('config'),
      CLAUDE_PEERS_PORT: String(lab.port),
      CLAUDE_PEERS_LOG: 'stderr',
      RUST_LOG: 'trace,hyper=info',
      CLAUDE_PEERS_MESSAGES_PER_MINUTE: '0',
      CLAUDE_PEERS_MAX_UNREAD: '0',
      CLAUDE_PEERS_AUTO_SUMMARY: 'off',
    };
    lab.sessions = [];
    lab.streams = [];
    lab.log = '';
    await lab.startBroker();
    return lab;
  }

  get origin() { return `http://127.0.0.1:${this.port}`; }

  get socket() { return this.status.socket; }

  async startBroker() {
    this.broker = spawn(this.program, ['broker'], { env: this.environment, stdio: ['ignore', 'ignore', 'pipe'] });
    this.broker.stderr.on('data', (data) => { this.log += data; });
    this.status = await until('the broker serves', async () => {
      const { stdout } = await this.try('status', '--json');
      const status = JSON.parse(stdout || '{}');
      return status.state === 'running' && status;
    });
  }

  async stopBroker() {
    const ended = new Promise((resolve) => this.broker.once('exit', resolve));
    this.broker.kill('SIGTERM');
    await ended;
  }

  /** Runs the program; its exit status and output. */
  async try(...words) {
    try {
      return await promisify(execFile)(this.program, words, { env: this.environment, maxBuffer: 1 << 28 });
    } catch (error) {
      return { code: error.code ?? 1, stdout: error.stdout ?? '', stderr: error.stderr ?? String(error) };
    }
  }

  async run(...words) {
    const { code, stdout, stderr } = await this.try(...words);
    if (code) throw new Error(`claude-peers ${words.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** The history, oldest first. */
  async messages() {
    return (await this.request('GET', '/v1/messages?limit=10000')).json.messages;
  }

  async link() {
    return JSON.parse(await this.run('open', '--print', '--json')).url;
  }

  /**
   * Runs `claude-peers open` with a program in the browser's place, which hands its argument to `visit`.
   * Its output, the file that the browser was given, and that file's mode.
   */
  async openWith(visit) {
    const given = join(this.directory, 'given');
    const program = join(this.directory, 'opener');
    writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "$@" >'${given}.new'\nmv '${given}.new' '${given}'\n`, { mode: 0o755 });
    const environment = { ...this.environment, BROWSER: program };
    const running = promisify(execFile)(this.program, ['open'], { env: environment });
    const words = await until('the program is started', () => existsSync(given) && readFileSync(given, 'utf8').trim().split('\n'));
    const file = words.at(-1);
    const mode = (statSync(file).mode & 0o777).toString(8);
    const read = `${words.join(' ')} ${readFileSync(`/proc/${running.child.pid}/cmdline`, 'utf8')}`;
    await visit(file);
    const { stdout } = await running;
    return { stdout, file: read, mode, isGone: !existsSync(file) };
  }

  /** Has the broker find this in its database: what no request could write. */
  async tamper(statement, ...values) {
    await this.stopBroker();
    const script = 'import sqlite3, sys, json\nwith sqlite3.connect(sys.argv[1]) as db: db.execute(sys.argv[2], json.loads(sys.argv[3]))';
    await promisify(execFile)('python3', ['-c', script, this.status.health.database, statement, JSON.stringify(values)]);
    await this.startBroker();
  }

  async forgetToken() {
    rmSync(this.status.health.token_file);
  }

  async session(name, options) {
    const session = await Session.start(this, name, options);
    this.sessions.push(session);
    return session;
  }

  /** A request over the Unix socket. */
  request(method, path, { body, secret } = {}) {
    return new Promise((resolve, reject) => {
      const headers = { host: '127.0.0.1' };
      if (secret) headers['claude-peers-session'] = secret;
      if (body) headers['content-type'] = 'application/json';
      const request = http.request({ socketPath: this.socket, method, path, headers }, (response) => {
        if (path === '/v1/stream') return resolve(response.on('data', () => {}));
        let text = '';
        response.setEncoding('utf8').on('data', (data) => { text += data; });
        response.on('end', () => resolve({ status: response.statusCode, json: JSON.parse(text) }));
      });
      request.on('error', reject).end(body && JSON.stringify(body));
    });
  }

  /** A peer without a server, live by its stream. */
  async rawPeer(name, { live = true, ...more } = {}) {
    const secret = `secret-of-${name}-${'x'.repeat(32)}`;
    const body = { instance: `instance-${name}`, secret, session: `raw-${name}`, name, cwd: `/srv/${name}`, channel: 'absent', ...more };
    const { status, json } = await this.request('POST', '/v1/register', { body });
    if (status !== 200) throw new Error(JSON.stringify(json));
    if (live) this.streams.push(await this.request('GET', '/v1/stream', { secret }));
    return { ...json.peer, secret };
  }

  async end() {
    for (const stream of this.streams) stream.destroy();
    await Promise.all(this.sessions.map((session) => session.end()));
    // Whichever broker serves: a session may have started one while ours was away.
    const ended = this.broker.exitCode === null && this.broker.signalCode === null
      && new Promise((resolve) => this.broker.once('exit', resolve));
    await this.run('kill-broker');
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export class Session {
  static async start(lab, name, { channel = 'off', branch, directory = name } = {}) {
    const session = new Session();
    const cwd = join(lab.environment.HOME, 'work', directory);
    mkdirSync(cwd, { recursive: true });
    if (branch) {
      // As much of a repository as git itself asks for.
      mkdirSync(join(cwd, '.git', 'refs'), { recursive: true });
      mkdirSync(join(cwd, '.git', 'objects'));
      writeFileSync(join(cwd, '.git', 'HEAD'), `ref: refs/heads/${branch}\n`);
    }
    const env = {
      ...lab.environment,
      CLAUDE_PEERS_NAME: name,
      CLAUDE_PEERS_CHANNEL: channel,
      CLAUDE_CODE_SESSION_ID: `session-${name}`,
      CLAUDE_CODE_ENTRYPOINT: 'cli',
      CLAUDE_PROJECT_DIR: cwd,
    };
    session.name = name;
    session.pushes = [];
    session.waiting = new Map();
    session.process = spawn(lab.program, ['mcp'], { cwd, env, stdio: ['pipe', 'pipe', 'ignore'] });
    createInterface({ input: session.process.stdout }).on('line', (line) => session.#read(JSON.parse(line)));
    const clientInfo = { name: 'claude-code', title: 'Test', version: '2.1.330' };
    await session.request('initialize', { protocolVersion: '2025-11-25', capabilities: { roots: {} }, clientInfo });
    session.#write({ jsonrpc: '2.0', method: 'notifications/initialized' });
    await until(`${name} is live`, async () => {
      session.me = (await session.call('list_peers', { scope: 'directory' })).me;
      return session.me.live;
    });
    return session;
  }

  request(method, params) {
    const id = this.waiting.size + 1;
    this.#write({ jsonrpc: '2.0', id, method, params });
    return new Promise((resolve) => this.waiting.set(id, resolve));
  }

  /** Calls a tool; its structured result. */
  async call(name, args) {
    const answer = await this.request('tools/call', { name, arguments: args });
    if (answer.error || answer.result.isError) throw new Error(`${name}: ${JSON.stringify(answer)}`);
    return answer.result.structuredContent;
  }

  /** Sends a message; its id. */
  async send(to, message, more = {}) {
    return (await this.call('send_message', { to_id: to, message, ...more })).id;
  }

  async end() {
    if (this.process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.stdin.end();
    await ended;
  }

  #write(message) {
    this.process.stdin.write(`${JSON.stringify(message)}\n`);
  }

  #read(message) {
    if (message.method === CHANNEL) this.pushes.push(message.params);
    else if (message.method === undefined) this.waiting.get(message.id)?.(message);
  }
}

