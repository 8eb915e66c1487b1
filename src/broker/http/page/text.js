// ---- Text of peers, made visible -------------------------------------------------------------------
//
// Text becomes text nodes and nothing else. Characters that are hidden or turn text around become notes
// of their codes, as on a terminal (src/text/chars.rs); control characters do, too, because few fonts have
// pictures of them.

/** Characters without a glyph, and those that change the direction of text. */
const HIDDEN = /[\u061C\u115F\u1160\u17B4\u17B5\u180E\u200B\u200E\u200F\u202A-\u202E\u2060-\u206F\u3164\uFEFF\uFFA0\uFFF0-\uFFFB\u{1BCA0}-\u{1BCA3}\u{1D173}-\u{1D17A}\u{E0000}-\u{E0FFF}]/u;

/** Soft hyphens and grapheme joiners, which mean nothing here. */
const IGNORABLE = /[\u00AD\u034F]/g;

/** Joiners and selectors are part of Persian and of emoji, and hide nothing between such characters. */
const STRAY_JOINERS = /(?<![^\x00-\x7F\s])[\u200C\u200D\u180B-\u180D\u180F\uFE00-\uFE0E]+|[\u200C\u200D](?![^\x00-\x7F\s])|[\u200C\u200D\uFE00-\uFE0F]{4,}/gu;

/** What is shown as a note: characters in a row that are hidden, or control something. */
const NOTED = new RegExp(`(?:${HIDDEN.source}|[\\x00-\\x08\\x0E-\\x1F\\x7F-\\x84\\x86-\\x9F])+`, 'gu');

/** Splits text into pieces: what is shown as it is, and notes of what would not be seen. */
function pieces(text) {
  const plain = text
    .replace(/\r\n?|[\v\f\u0085\u2028\u2029]/g, '\n')
    .replace(IGNORABLE, '')
    .replace(STRAY_JOINERS, '');
  const out = [];
  let from = 0;
  for (const found of plain.matchAll(NOTED)) {
    if (found.index > from) out.push({ text: plain.slice(from, found.index) });
    out.push({ text: note(found[0]), hidden: true });
    from = found.index + found[0].length;
  }
  if (from < plain.length) out.push({ text: plain.slice(from) });
  return out;
}

/** The note of such characters: the code of the first, and how many more there are. */
function note(characters) {
  const [first, ...more] = characters;
  const hex = first.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
  return more.length ? `[U+${hex} +${more.length}]` : `[U+${hex}]`;
}

/** Peer text of one line, for places that take a string: titles, labels, announcements. */
function plainLine(text, most = 200) {
  const line = pieces(String(text ?? '')).map((piece) => piece.text).join('').replace(/\s+/gu, ' ').trim();
  const characters = [...line];
  return characters.length > most ? `${characters.slice(0, most - 1).join('')}…` : line;
}

/** Puts peer text into an element, in place of what it held. */
function setPeerText(element, text) {
  const nodes = pieces(String(text ?? '')).map((piece) => {
    if (!piece.hidden) return document.createTextNode(piece.text);
    const span = document.createElement('span');
    span.className = 'code';
    span.textContent = piece.text;
    return span;
  });
  element.replaceChildren(...nodes);
}

/** A box for peer text on one line: isolated, so that no text moves what stands beside it. */
function peerLine(text, className = '') {
  const box = document.createElement('bdi');
  box.className = `peer-text ${className}`.trim();
  setPeerText(box, String(text ?? '').replace(/\s+/gu, ' '));
  return box;
}

/** The end of a path, which tells more than its beginning. */
function shortPath(path) {
  const parts = String(path ?? '').split('/').filter(Boolean);
  return parts.length > 2 ? `…/${parts.slice(-2).join('/')}` : String(path ?? '');
}

// ---- Times -----------------------------------------------------------------------------------------

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DAY_AND_CLOCK = new Intl.DateTimeFormat(undefined, {
  month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit',
});

/** A time of today as a clock shows it, another one with its day. */
function clock(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return '';
  return (date.toDateString() === new Date().toDateString() ? CLOCK : DAY_AND_CLOCK).format(date);
}

/** How long ago a time was: 12s, 5m, 3h or 2d. */
function age(time) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time)) / 1000));
  if (!Number.isFinite(seconds)) return '';
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

function timeElement(time) {
  const element = document.createElement('time');
  element.dateTime = time;
  element.textContent = clock(time);
  element.title = new Date(time).toLocaleString();
  return element;
}

