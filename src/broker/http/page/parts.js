// ---- Parts of the page -------------------------------------------------------------------------------

/** Makes an element. Children are elements, or text of ours. */
function make(tag, { className, title, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (title) element.title = title;
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

function unseen(text) {
  return make('span', { className: 'unseen' }, text);
}

/** A word with what it means: as a tooltip, and for who does not see one. */
function explained(word, meaning, className) {
  return make('span', { className, title: meaning }, word);
}

function peerState(peer) {
  if (peer.name === YOU) return ['command line', 'You, at the command line and on this page.'];
  if (peer.live && ACTIVITIES[peer.activity]) return ACTIVITIES[peer.activity];
  if (peer.live) return ['live', 'Its session runs. What it is doing is not known.'];
  return REACHES[peer.reach] ?? ['away', REACHES.away[1]];
}

/** A peer in the list. */
function peerRow(peer) {
  const [word, meaning] = peerState(peer);
  const place = peerLine(shortPath(peer.cwd), 'place');
  place.title = plainLine(peer.cwd, 1000);
  const button = make('button', { type: 'button', className: `peer is-${word.replace(' ', '-')}`, tabIndex: -1 },
    make('span', { className: 'peer-head' },
      make('span', { className: 'dot', title: meaning }),
      peerLine(called(peer), 'peer-name'),
      explained(peer.live || peer.name === YOU ? word : `${word} ${age(peer.since)}`, meaning, 'peer-state'),
      peer.unread
        ? make('span', { className: 'badge', title: 'Unread messages' }, String(peer.unread), unseen(' unread'))
        : ''),
    make('span', { className: 'peer-place' }, place,
      peer.branch ? make('span', { className: 'branch', title: 'git branch' }, peerLine(peer.branch)) : ''));
  if (peer.summary) button.append(make('span', { className: 'peer-summary' }, peerLine(peer.summary)));
  return make('li', {}, button);
}

/** What identifies all that [`peerRow`] shows. */
function peerLook(peer) {
  return JSON.stringify([peer.name, peer.live, peer.reach, peer.activity, peer.unread, peer.summary, peer.cwd,
    peer.branch, peer.live ? '' : age(peer.since)]);
}

/** All that is known of a peer, above its conversation. */
function aboutPeer(peer) {
  const [word, meaning] = peerState(peer);
  const line = make('p', { className: 'facts' }, explained(word, meaning, `chip is-${word.replace(' ', '-')}`));
  const reach = REACHES[peer.reach];
  if (reach && peer.live) line.append(explained(reach[0], reach[1], 'chip'));
  if (peer.branch) line.append(make('span', { className: 'chip branch', title: 'git branch' }, peerLine(peer.branch)));
  if (peer.unread) {
    const since = peer.oldest_unread ? `, the oldest ${age(peer.oldest_unread)} old` : '';
    line.append(make('span', { className: 'chip is-unread' }, `${peer.unread} unread${since}`));
  }
  if (peer.name !== YOU) line.append(make('span', { className: 'quiet' }, `${peer.live ? 'live' : 'away'} for ${age(peer.since)}`));
  const where = make('p', { className: 'where quiet' }, peerLine(peer.cwd));
  if (peer.client_name) where.append(peerLine([peer.client_name, peer.client_version].filter(Boolean).join(' ')));
  where.append(peerLine(peer.id));
  const summary = make('p', { className: 'summary', dir: 'auto' });
  setPeerText(summary, peer.summary);
  return peer.name === YOU ? [line] : [line, where, ...(peer.summary ? [summary] : [])];
}

/** One end of a message: a button to its conversation. */
function partyButton(party) {
  const button = make('button', { type: 'button', className: 'party', tabIndex: -1 }, peerLine(called(party)));
  button.dataset.peer = party.id;
  return button;
}

/** How a message came to its state. */
function course(message) {
  const line = make('p', { className: 'course' });
  const step = (word, time, way) => {
    if (!time) return;
    if (line.childNodes.length) line.append(make('span', { ariaHidden: 'true' }, ' → '));
    const at = make('span', { title: STATES[word] ?? '' }, `${word} `, timeElement(time));
    if (way && way !== 'unknown') at.append(make('span', { title: WAYS[way] ?? '' }, ` by ${way}`));
    line.append(at);
  };
  step('offered', message.offered_at, message.offered_via);
  if (message.state === 'read') step('read', message.read_at ?? message.sent_at, message.read_via);
  if (['expired', 'unconfirmed'].includes(message.state)) step(message.state, message.expires_at);
  return line;
}

/** A message. */
function messageRow({ message, isReply, isLast }, original) {
  const row = make('li', { className: 'message', tabIndex: -1 });
  row.dataset.id = message.id;
  row.dataset.state = message.state;
  row.classList.toggle('is-reply', isReply);
  row.classList.toggle('ends-thread', isLast);
  const state = explained(message.state, STATES[message.state] ?? 'A state of a later version.',
    `chip state is-${message.state}`);
  row.append(make('div', { className: 'message-head' },
    partyButton(message.from), make('span', { ariaHidden: 'true', className: 'arrow' }, '→'), unseen(' to '),
    partyButton(message.to), timeElement(message.sent_at), state));
  if (message.reply_to && !isReply) {
    const words = make('p', { className: 'answered' }, '↳ answers ');
    words.append(original ? peerLine(plainLine(original.text, 90)) : 'an earlier message');
    row.append(words);
  }
  const text = make('div', { className: 'text', dir: 'auto' });
  setPeerText(text, message.text);
  row.append(text, course(message));
  if (model.peers.get(message.to.id)?.name === YOU || message.to.name === YOU) {
    row.lastChild.append(make('button', { type: 'button', className: 'answer plain', tabIndex: -1 }, 'Answer'));
  }
  return row;
}

/** What identifies all that [`messageRow`] shows. */
function messageLook({ message, isReply, isLast }, original) {
  return [message.state, message.offered_at, message.read_at, message.read_via, isReply, isLast,
    original?.id, called(message.from), called(message.to)].join('|');
}

/** Makes a list's children those of `items`, and touches only what differs. */
function reconcile(list, items, keyOf, lookOf, rowOf) {
  const kept = list.rows ??= new Map();
  const wanted = new Set(items.map(keyOf));
  for (const [key, row] of kept) {
    if (wanted.has(key)) continue;
    row.remove();
    kept.delete(key);
  }
  let at = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const look = lookOf(item);
    let row = kept.get(key);
    if (row && row.look !== look) {
      const fresh = rowOf(item);
      const held = row.contains(document.activeElement);
      if (row === at) at = fresh;
      row.replaceWith(fresh);
      if (held) focusWithin(fresh);
      row = fresh;
    }
    row ??= rowOf(item);
    row.look = look;
    kept.set(key, row);
    if (row === at) {
      at = at.nextElementSibling;
    } else {
      const held = row.contains(document.activeElement) && document.activeElement;
      list.insertBefore(row, at);
      if (held) held.focus({ preventScroll: true });
    }
  }
}

function focusWithin(row) {
  (row.matches('[tabindex]') ? row : row.querySelector('button'))?.focus({ preventScroll: true });
}

