// ---- What is seen ------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);

/** The most peers that are listed at a time; the search finds the others. */
const MOST_PEERS = 500;

let frame = 0;

/** Has the page drawn anew with the next frame, however much changes until then. */
function changed() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    draw();
  });
}

function draw() {
  drawPeers();
  drawTitle();
  drawMessages();
  drawComposer();
}

function drawPeers() {
  const all = shownPeers();
  const shown = all.slice(0, MOST_PEERS);
  reconcile($('peers'), shown, (peer) => peer.id, peerLook, peerRow);
  for (const peer of shown) {
    const button = $('peers').rows.get(peer.id).firstElementChild;
    button.dataset.peer = peer.id;
    const isOpen = peer.id === model.peer;
    if (isOpen) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
  }
  const everything = $('everything');
  if (model.peer) everything.removeAttribute('aria-current');
  else everything.setAttribute('aria-current', 'true');
  const peers = [...model.peers.values()].filter((peer) => peer.name !== YOU);
  const live = peers.filter((peer) => peer.live).length;
  $('peer-count').textContent = peers.length ? `${live} live, ${peers.length - live} away` : '';
  const none = $('no-peers');
  const hidden = all.length - shown.length;
  none.hidden = hidden === 0 && shown.some((peer) => peer.name !== YOU);
  none.textContent = hidden ? `${hidden} more: search for them.`
    : model.search ? 'No peer fits the search.' : 'No sessions yet. They appear here when they start.';
  settleTabStop($('peers').querySelectorAll('button.peer'));
}

/** Exactly one of a list's elements is reached by Tab; the others by the arrow keys. */
function settleTabStop(elements) {
  const all = [...elements];
  const stop = all.find((one) => one.tabIndex === 0) ?? all.find((one) => one.getAttribute('aria-current'));
  for (const one of all) one.tabIndex = -1;
  const first = stop ?? all[0];
  if (first) first.tabIndex = 0;
}

function drawTitle() {
  const peer = model.peers.get(model.peer);
  const title = model.search ? `Messages containing “${plainLine(model.search, 80)}”`
    : model.peer ? null : 'All messages';
  const look = JSON.stringify([title, model.peer, peer && [peerLook(peer), age(peer.since), peer.client_version,
    peer.oldest_unread]]);
  if ($('about').look === look) return;
  $('about').look = look;
  if (title) $('title').textContent = title;
  else $('title').replaceChildren(peerLine(peer ? called(peer) : model.peer));
  if (model.search && model.peer) {
    $('title').append(make('span', { className: 'quiet' }, 'with'), peerLine(peer ? called(peer) : model.peer));
  }
  $('about').replaceChildren(...(model.search || !model.peer ? []
    : peer ? aboutPeer(peer) : [make('p', { className: 'quiet' }, 'This peer is not listed any more.')]));
}

/** How many new messages came while older ones were looked at. */
let below = 0;

function isAtEnd() {
  const scroller = $('scroller');
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
}

function drawMessages() {
  const scroller = $('scroller');
  const all = shownMessages();
  const messages = all.slice(-model.limit);
  const rows = model.peer && !model.search ? threads(messages)
    : messages.map((message) => ({ message, isReply: false, isLast: true }));
  const original = ({ message }) => model.recent.get(message.reply_to) ?? model.history.get(message.reply_to);
  const follow = isAtEnd();
  const top = firstVisible();
  reconcile($('messages'), rows, (row) => row.message.id, (row) => messageLook(row, original(row)),
    (row) => messageRow(row, original(row)));
  $('messages').classList.toggle('has-threads', Boolean(model.peer && !model.search));
  settleTabStop($('messages').children);
  $('older').hidden = !(all.length > messages.length || (model.hasOlder && all.length));
  const none = $('no-messages');
  none.hidden = messages.length > 0;
  none.textContent = model.search ? (model.found ? 'No message has these words.' : 'Searching…')
    : model.peer ? 'No messages with this peer yet.' : 'No messages yet. They appear here as they are sent.';
  if (follow) {
    scroller.scrollTop = scroller.scrollHeight;
    below = 0;
  } else if (top?.row.isConnected) {
    // What is read stays where it is, whatever comes above it.
    scroller.scrollTop += top.row.getBoundingClientRect().top - top.at;
  }
  $('newer').hidden = below === 0;
  $('newer').textContent = `↓ ${below} new`;
}

function firstVisible() {
  const top = $('scroller').getBoundingClientRect().top;
  for (const row of $('messages').children) {
    const at = row.getBoundingClientRect();
    if (at.bottom > top) return { row, at: at.top };
  }
  return null;
}

function drawComposer() {
  const peer = model.peers.get(model.peer);
  const canWrite = Boolean(peer) && peer.name !== YOU && !model.search;
  $('composer').hidden = !canWrite;
  if (canWrite) $('draft-label').textContent = `Message to ${plainLine(called(peer))}`;
  if (canWrite) $('draft').placeholder = `Message to ${plainLine(called(peer), 60)}`;
}

const LINKS = {
  connecting: ['connecting', 'Connecting to the broker'],
  live: ['live', 'Everything shown is up to date'],
  lost: ['reconnecting', 'The broker does not answer. What is shown may be out of date.'],
};

function drawLink(link) {
  // A new attempt is no news while the last one failed.
  if (link === 'connecting' && model.link === 'lost') return;
  model.link = link;
  const [word, meaning] = LINKS[link];
  const state = $('link-state');
  if (state.textContent !== word) state.textContent = word;
  state.title = meaning;
  state.dataset.link = link;
}

// ---- News, for who listens ---------------------------------------------------------------------------

let news = [];
let newsTimer = 0;

/** Announces new messages: one by its words, several by their number, at most every two seconds. */
function announce(message) {
  news.push(message);
  newsTimer ||= setTimeout(() => {
    newsTimer = 0;
    const [one] = news;
    $('announcer').textContent = news.length > 1 ? `${news.length} new messages`
      : `${plainLine(called(one.from))} to ${plainLine(called(one.to))}: ${plainLine(one.text, 140)}`;
    news = [];
  }, 2000);
}

