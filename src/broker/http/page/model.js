// ---- What is known: peers, messages, and what is looked at -------------------------------------------

/** The most messages that are kept as they come. Older ones are asked for. */
const MOST_RECENT = 2000;

/** The name of the command line's peer: this page's person. No session may have it. */
const YOU = 'cli';

/** How many messages are shown at first, and how many more each time. */
const PAGE_SIZE = 200;

const model = {
  peers: new Map(),
  /** The newest messages, by id, in the order in which they were sent. */
  recent: new Map(),
  /** Messages of the conversation or search that is looked at, asked for beyond those. */
  history: new Map(),
  /** Whether the broker has older ones. */
  hasOlder: false,
  /** The peer whose conversation is looked at, by id. */
  peer: null,
  search: '',
  /** What the search found, by id; `null` before its answer. */
  found: null,
  /** How many messages may be shown. */
  limit: PAGE_SIZE,
  link: 'connecting',
};

function bySending(a, b) {
  return a.sent_at === b.sent_at ? 0 : a.sent_at < b.sent_at ? -1 : 1;
}

/** Takes an event into account. Returns a message that is new. */
function apply(event) {
  switch (event.type) {
    case 'snapshot': {
      model.peers = new Map(event.peers.map((peer) => [peer.id, peer]));
      model.recent = new Map(event.messages.map((message) => [message.id, message]));
      for (const message of event.messages) update(message);
      return null;
    }
    case 'peer':
      model.peers.set(event.peer.id, event.peer);
      return null;
    case 'peer_gone':
      model.peers.delete(event.id);
      return null;
    case 'message': {
      const isNew = !model.recent.has(event.message.id) && isNewest(event.message);
      if (isNew || model.recent.has(event.message.id)) model.recent.set(event.message.id, event.message);
      update(event.message);
      for (const id of model.recent.keys()) {
        if (model.recent.size <= MOST_RECENT) break;
        model.recent.delete(id);
      }
      return isNew ? event.message : null;
    }
    default:
      return null;
  }
}

/** Whether a message is later than the first one that is kept. An earlier one has only changed. */
function isNewest(message) {
  const [oldest] = model.recent.values();
  return !oldest || message.sent_at >= oldest.sent_at;
}

/** Notes a message's state wherever it was asked for. */
function update(message) {
  for (const kept of [model.history, model.found]) {
    if (kept?.has(message.id)) kept.set(message.id, message);
  }
}

function isOf(message, peer) {
  return message.from.id === peer || message.to.id === peer;
}

/** The messages that are looked at, in the order in which they were sent. */
function shownMessages() {
  if (model.search) return [...(model.found?.values() ?? [])].sort(bySending);
  const all = new Map([...model.history, ...model.recent]);
  const mine = [...all.values()].filter((message) => !model.peer || isOf(message, model.peer));
  return mine.sort(bySending);
}

/**
 * The rows of a conversation: threads, the one with the latest message last, each with its replies in the
 * order in which they came.
 */
function threads(messages) {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const roots = new Map();
  const rootOf = (message) => {
    const seen = new Set();
    let root = message;
    while (byId.has(root.reply_to) && !seen.has(root.id)) {
      seen.add(root.id);
      root = byId.get(root.reply_to);
    }
    return root.id;
  };
  for (const message of messages) {
    const root = rootOf(message);
    // Deleted and set again, so that the thread with the latest message is the last.
    const thread = roots.get(root) ?? [];
    roots.delete(root);
    roots.set(root, [...thread, message]);
  }
  return [...roots.values()].flatMap((thread) =>
    thread.map((message, at) => ({ message, isReply: at > 0, isLast: at === thread.length - 1 })));
}

/** The peers that are listed: live ones first, then those with mail, each by name. */
function shownPeers() {
  const words = model.search.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (peer) =>
    [peer.name, peer.id, peer.summary, peer.cwd, peer.branch].filter(Boolean).join(' ').toLowerCase();
  const fits = (peer) => words.every((word) => text(peer).includes(word));
  const rank = (peer) => (peer.name === YOU ? 0 : peer.live ? 1 : peer.unread ? 2 : 3);
  const name = (peer) => peer.name ?? peer.id;
  return [...model.peers.values()]
    .filter(fits)
    .sort((a, b) => rank(a) - rank(b) || name(a).localeCompare(name(b)) || (a.id < b.id ? -1 : 1));
}

/** What a peer, or one end of a message, is called. */
function called(party) {
  const name = model.peers.get(party.id)?.name ?? party.name;
  return name === YOU ? 'you' : name || party.id;
}

// ---- What the states mean ----------------------------------------------------------------------------

const STATES = {
  queued: 'Stored by the broker, and offered to no receiver yet.',
  offered: 'Offered to the session; whether its model had it is not known yet.',
  read: 'There is evidence that the model had it.',
  expired: 'Its time to live ended before it was ever offered.',
  unconfirmed: 'Its time to live ended after an offer without evidence. It may have been read.',
};

const WAYS = {
  channel: 'pushed into the session',
  hook: 'shown by a hook',
  tool: 'in a tool’s result',
  reply: 'an answer names it',
  cli: 'by claude-peers inbox',
};

const REACHES = {
  channel_proven: ['pushed', 'Messages are pushed into the conversation, and there is evidence that they arrive.'],
  channel_presumed: ['pushed?', 'Messages are pushed; whether they are shown is not known.'],
  hooks: ['by hooks', 'Its client’s hooks show mail with the session’s next step.'],
  tools: ['by tools', 'It sees mail when it calls a tool.'],
  away: ['away', 'Not live. Its mail is kept until it returns.'],
  ended: ['ended', 'Its program has ended. Its mail is kept for a successor in the same directory.'],
  inbox: ['inbox', 'You, at the command line, who reads with claude-peers inbox.'],
};

const ACTIVITIES = {
  busy: ['busy', 'A turn is under way.'],
  idle: ['idle', 'No turn is under way. It is ready for a prompt.'],
  waiting: ['waiting', 'A dialog is open, such as a question for a permission: it waits for its person.'],
};

const KEYS = [
  ['j k ↓ ↑', 'Next and previous peer or message'],
  ['Enter', 'Open the peer; on a message, answer it or write to its sender'],
  ['p m', 'Go to the peers, to the messages'],
  ['r', 'Write to the peer that is open'],
  ['/', 'Search'],
  ['Esc', 'One step back'],
  ['?', 'This help'],
];

