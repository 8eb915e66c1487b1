// ---- Access ------------------------------------------------------------------------------------------

function showGate(title, text) {
  follower.end();
  access.set(null);
  $('gate-title').textContent = title;
  $('gate-text').textContent = text;
  $('gate').hidden = false;
  $('app').hidden = true;
}

async function enter() {
  const code = takeCode();
  try {
    if (code) await openWith(code);
  } catch (error) {
    return showGate('This link does not open the page', error.status ? error.message : `${error.message} ${error.hint}`);
  }
  access.take();
  if (!access.token) return showGate('This page needs a link', 'A link gives this tab access to your peers and messages.');
  $('gate').hidden = true;
  $('app').hidden = false;
  changed();
  follower.start();
}

const follower = new Follower({
  state(link, trouble) {
    drawLink(link);
    if (trouble?.isStrange) say(`${trouble.message} ${trouble.hint}`);
    else if (link === 'live') say('');
  },
  refused: (error) => showGate('This page’s access has ended', error.message),
  event(event) {
    const fresh = apply(event);
    if (event.type === 'snapshot') reload();
    if (fresh && !model.search && (!model.peer || isOf(fresh, model.peer))) {
      if (!isAtEnd()) below += 1;
      announce(fresh);
    }
    changed();
  },
});

// ---- What is looked at -------------------------------------------------------------------------------

/** Counts what was asked for, so that a late answer to an earlier question is not shown. */
let question = 0;

/** Asks for messages that are looked at, beyond those that came by themselves. */
async function reload(before) {
  const mine = ++question;
  const { peer, search } = model;
  // All messages came by themselves; the question is only whether there are older ones.
  const isProbe = !peer && !search && !before;
  const [oldest] = isProbe ? shownMessages() : [];
  try {
    const list = isProbe
      ? { messages: [], next: oldest && (await listMessages({ before: oldest.id, limit: 1 })).messages.length > 0 }
      : await listMessages({ peer, search, before, limit: PAGE_SIZE });
    if (mine !== question) return;
    const found = search ? (model.found ??= new Map()) : model.history;
    if (search && !before) found.clear();
    for (const message of list.messages) found.set(message.id, message);
    model.hasOlder = Boolean(list.next);
    if (search) $('announcer').textContent = `${found.size} messages found`;
    say('');
  } catch (error) {
    if (mine !== question) return;
    if (error.status === 401) return showGate('This page’s access has ended', error.message);
    if (search) model.found ??= new Map();
    say(`${error.message} ${error.hint}`);
  }
  changed();
}

/** Says what went wrong above the messages. */
function say(text) {
  $('problem').textContent = text;
  $('problem').hidden = !text;
}

/** Goes to a conversation, or with `null` to all messages. */
function look(peer) {
  if (model.peer !== peer) keepDraft();
  model.peer = peer;
  model.history.clear();
  model.limit = PAGE_SIZE;
  model.hasOlder = false;
  below = 0;
  // In a narrow window there is room for the peers, or for what is shown of one.
  document.body.classList.add('in-view');
  restoreDraft();
  reload();
  draw();
  $('scroller').scrollTop = $('scroller').scrollHeight;
}

let searchTimer = 0;

function searchFor(text) {
  model.search = text.trim();
  model.found = null;
  model.limit = PAGE_SIZE;
  clearTimeout(searchTimer);
  searchTimer = setTimeout(() => reload(), 200);
  document.body.classList.toggle('in-search', Boolean(model.search));
  changed();
}

function endSearch() {
  $('search').value = '';
  searchFor('');
}

async function showOlder() {
  const all = shownMessages();
  if (all.length <= model.limit && model.hasOlder && all.length) await reload(all[0].id);
  model.limit += PAGE_SIZE;
  changed();
}

// ---- Writing -----------------------------------------------------------------------------------------

/** What was begun, by peer: text, the message it answers, and the key of the request. */
const drafts = new Map();
let replyTo = null;
let sending = false;

/** One text is sent under one key, so that sending it again after a lost answer sends it once. */
let key = null;

function keepDraft() {
  if (!model.peer) return;
  const text = $('draft').value;
  if (text || replyTo) drafts.set(model.peer, { text, replyTo, key });
  else drafts.delete(model.peer);
}

function restoreDraft() {
  const draft = drafts.get(model.peer);
  $('draft').value = draft?.text ?? '';
  key = draft?.key ?? null;
  answer(draft?.replyTo ?? null);
  fail(null);
  fit();
}

function answer(message) {
  replyTo = message;
  $('reply').hidden = !message;
  if (message) setPeerText($('reply-text'), `Answers “${plainLine(message.text, 90)}”`);
}

function fail(error) {
  $('draft-error').hidden = !error;
  $('draft-error').textContent = error ? [error.message, error.hint].filter(Boolean).join(' ') : '';
}

/** Gives the text as much room as it needs, up to a third of the window. */
function fit() {
  const draft = $('draft');
  draft.style.height = 'auto';
  draft.style.height = `${Math.min(draft.scrollHeight + 2, innerHeight / 3)}px`;
}

async function send() {
  const text = $('draft').value;
  const to = model.peer;
  if (sending || !to || !text.trim()) return;
  key ??= crypto.randomUUID();
  sending = true;
  $('send').disabled = true;
  try {
    const body = { to, text, ...(replyTo && { reply_to: replyTo.id }) };
    await call('/v1/messages', { body, key });
    drafts.delete(to);
    if (model.peer === to) restoreDraft();
  } catch (error) {
    if (error.status === 401) return showGate('This page’s access has ended', error.message);
    // The same text under the same key after an unknown outcome; a refused one is another request.
    if (model.peer === to) {
      if (error.status) key = null;
      fail(error);
    } else if (error.status && drafts.has(to)) drafts.get(to).key = null;
  } finally {
    sending = false;
    $('send').disabled = false;
  }
}

// ---- Mouse and keys ----------------------------------------------------------------------------------

function describe(list, entries) {
  for (const [word, meaning] of entries) list.append(make('dt', {}, word), make('dd', {}, meaning));
}

/** Moves the focus in a list by so many elements. */
function move(elements, by) {
  const all = [...elements].filter((one) => one.offsetParent);
  if (!all.length) return;
  const now = all.findIndex((one) => one.contains(document.activeElement));
  const stop = all.findIndex((one) => one.tabIndex === 0);
  const next = now < 0 ? Math.max(stop, 0) : Math.min(Math.max(now + by, 0), all.length - 1);
  for (const one of all) one.tabIndex = -1;
  all[next].tabIndex = 0;
  all[next].focus();
  all[next].scrollIntoView({ block: 'nearest' });
}

const peerButtons = () => document.querySelectorAll('#peers-pane button.peer');
const messageRows = () => $('messages').children;

/** Opens the other end of a message, to answer it where that is possible. */
function writeAbout(row) {
  const message = model.recent.get(row.dataset.id) ?? model.history.get(row.dataset.id) ?? model.found?.get(row.dataset.id);
  if (!message) return;
  const isMine = called(message.from) === 'you';
  const isForMe = called(message.to) === 'you';
  if (model.search) endSearch();
  look(isMine ? message.to.id : message.from.id);
  if (isForMe && !isMine) answer(message);
  if (!$('composer').hidden) $('draft').focus();
}

function goBack() {
  if (model.search) endSearch();
  else if (replyTo) answer(null);
  else if (model.peer) {
    const from = model.peer;
    look(null);
    document.body.classList.remove('in-view');
    $('peers').rows?.get(from)?.firstElementChild.focus();
  }
}

document.addEventListener('keydown', (event) => {
  if ($('app').hidden || $('help').open || event.isComposing) return;
  const writes = event.target.matches?.('input, textarea');
  if (event.key === 'Escape') {
    if (writes) event.target.blur();
    if (!writes || event.target === $('search')) goBack();
    return;
  }
  if (event.target === $('draft') && event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    send();
    return;
  }
  if (writes || event.ctrlKey || event.metaKey || event.altKey) return;
  const inMessages = $('messages').contains(document.activeElement);
  const elements = inMessages ? messageRows() : peerButtons();
  const keys = {
    j: () => move(elements, 1),
    ArrowDown: () => move(elements, 1),
    k: () => move(elements, -1),
    ArrowUp: () => move(elements, -1),
    p: () => move(peerButtons(), 0),
    m: () => { if (!inMessages) move(messageRows(), Infinity); $('messages').lastElementChild?.focus(); },
    r: () => $('draft').focus(),
    '/': () => $('search').select(),
    '?': () => $('help').showModal(),
    Enter: () => writeAbout(document.activeElement),
  };
  if (event.key === 'Enter' && !document.activeElement.matches('.message')) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

$('peers-pane').addEventListener('click', (event) => {
  const button = event.target.closest('button.peer');
  if (button) look(button.dataset.peer ?? null);
});
$('messages').addEventListener('click', (event) => {
  const party = event.target.closest('.party');
  if (event.target.closest('.answer')) writeAbout(event.target.closest('.message'));
  else if (party) {
    if (model.search) endSearch();
    look(party.dataset.peer);
  }
});
$('search').addEventListener('input', () => searchFor($('search').value));
$('search-form').addEventListener('submit', (event) => event.preventDefault());
$('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  send();
});
$('draft').addEventListener('input', () => {
  key = null;
  fail(null);
  fit();
});
$('reply-cancel').addEventListener('click', () => answer(null));
$('older').addEventListener('click', showOlder);
$('back').addEventListener('click', () => {
  endSearch();
  look(null);
  document.body.classList.remove('in-view');
});
$('help-button').addEventListener('click', () => $('help').showModal());
$('newer').addEventListener('click', () => { $('scroller').scrollTop = $('scroller').scrollHeight; });
$('scroller').addEventListener('scroll', () => {
  if (below && isAtEnd()) {
    below = 0;
    changed();
  }
}, { passive: true });
addEventListener('hashchange', enter);
// The stream ends with the page, which is no reason to doubt the broker.
addEventListener('pagehide', () => follower.end());
addEventListener('pageshow', (event) => { if (event.persisted) enter(); });
// Ages grow though nothing happens.
setInterval(changed, 20_000);

describe($('keys'), KEYS);
describe($('states'), Object.entries(STATES));
describe($('reaches'), [...Object.values(ACTIVITIES), ...Object.values(REACHES)]);
enter();
