// ---- The broker: access, calls, and the stream of events --------------------------------------------

const TOKEN = 'claude-peers-token';

/** A refusal of the broker, or no answer at all. */
class CallError extends Error {
  constructor(message, { hint = '', status = 0, isStrange = false } = {}) {
    super(message);
    this.hint = hint;
    this.status = status;
    this.isStrange = isStrange;
  }
}

/**
 * The token, for this tab alone: a cookie would go to every port of this machine. Whoever takes the port when
 * the broker has left it gets neither the token nor a place from which to read it: it is sent only to who
 * proved to know it, and it is in the tab's storage only while the broker is there.
 */
const access = {
  token: null,
  isProven: false,
  take() { this.token ??= sessionStorage.getItem(TOKEN); },
  set(token) {
    this.token = token;
    this.isProven = false;
    sessionStorage.removeItem(TOKEN);
  },
  trust() {
    this.isProven = true;
    sessionStorage.setItem(TOKEN, this.token);
  },
  doubt() {
    this.isProven = false;
    sessionStorage.removeItem(TOKEN);
  },
};

/** Takes the code out of the address, before it gets into the history or is seen. */
function takeCode() {
  const code = location.hash.slice(1);
  if (!/^[0-9a-f]{64}$/.test(code)) return null;
  history.replaceState(null, '', location.pathname);
  return code;
}

/** Sends a request; the answer's head. With `isOpen` it has no token. */
async function request(path, { body, key, signal, isOpen } = {}) {
  const headers = {};
  if (!isOpen && !access.isProven) await askForProof();
  if (!isOpen) headers.Authorization = `Bearer ${access.token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (key) headers['Idempotency-Key'] = key;
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new CallError('The broker does not answer.', {
      hint: 'It starts with the next session or command, and this page connects again by itself.',
    });
  }
  if (response.ok) return response;
  const refusal = await response.json().catch(() => ({}));
  throw new CallError(refusal.message ?? `The broker answered with status ${response.status}.`, {
    hint: refusal.hint ?? '',
    status: response.status,
  });
}

async function call(path, options) {
  return (await request(path, options)).json();
}

/** Exchanges the code of a link for a token. */
async function openWith(code) {
  const { token } = await call('/v1/page/open', { body: { code }, isOpen: true });
  access.set(token);
}

/** Has whoever answers prove that it is the broker that gave the token, without the token. */
async function askForProof() {
  const { token } = access;
  const nonce = crypto.randomUUID();
  const { proof } = await call('/v1/page/proof', { body: { until: token.split('-')[1], nonce }, isOpen: true });
  const bytes = (text) => new TextEncoder().encode(text);
  const key = await crypto.subtle.importKey('raw', bytes(token), { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
  const signature = Uint8Array.from(String(proof).match(/../g) ?? [], (pair) => parseInt(pair, 16));
  if (!(await crypto.subtle.verify('HMAC', key, signature, bytes(`claude-peers page proof ${nonce}`)))) {
    access.doubt();
    throw new CallError('Who answers here is not the broker that opened this page.', {
      hint: 'If `claude-peers status` says that your broker runs, run `claude-peers open` again.',
      isStrange: true,
    });
  }
  access.trust();
}

function listMessages(query) {
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return call(`/v1/messages?${words}`);
}

/** Yields the data of each event of a stream, until it ends. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines.map((line) => line.replace(/\r$/, ''))) {
      if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
      if (line === '' && data.length) {
        yield data.join('\n');
        data = [];
      }
    }
  }
}

const FIRST_PAUSE = 500;
const LAST_PAUSE = 10_000;

/** Follows the broker: connects, and again whenever the stream has ended. */
class Follower {
  /** `on` has `event`, `state` and `refused`. */
  constructor(on) {
    this.on = on;
    this.running = false;
    this.wake = () => {};
    addEventListener('online', () => this.wake());
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.wake(); });
  }

  async start() {
    if (this.running) return this.wake();
    this.running = true;
    let pause = FIRST_PAUSE;
    while (this.running) {
      let trouble = null;
      try {
        this.on.state('connecting');
        this.stop = new AbortController();
        const response = await request('/v1/events?recent=1000', { signal: this.stop.signal });
        for await (const data of events(response)) {
          pause = FIRST_PAUSE;
          this.on.state('live');
          this.on.event(JSON.parse(data));
        }
      } catch (error) {
        trouble = error;
        if (error instanceof CallError && [401, 403].includes(error.status)) {
          this.running = false;
          return this.on.refused(error);
        }
      }
      if (!this.running) return;
      access.doubt();
      this.on.state('lost', trouble);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, pause * (0.75 + Math.random() / 2));
        this.wake = () => { clearTimeout(timer); resolve(); };
      });
      this.wake = () => {};
      pause = Math.min(pause * 2, LAST_PAUSE);
    }
  }

  end() {
    this.running = false;
    this.stop?.abort();
    this.wake();
  }
}

