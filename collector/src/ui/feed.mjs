// What the activity page knows, without the page: which events it holds, which of them wait while it is paused, and
// which of them a filter shows. Nothing here touches the document, so that it can be tested without a browser.

/** Every kind of event, with the words of its badge. */
export const KINDS = {
  policy_action: "policy action",
  request: "request",
  response: "response",
  error: "error",
};

/** Holds the newest events, and keeps apart those that arrive during a pause. */
export class Feed {
  #limit;
  #waiting = [];
  #missed = 0;

  /** @param {number} limit how many events are held, and how many wait at most */
  constructor(limit) {
    this.#limit = limit;
    /** Newest first. */
    this.entries = [];
    this.paused = false;
    /** The position of the newest event that arrived, shown or not: where a new live stream goes on. */
    this.newest = undefined;
  }

  /** Whether older events find no place any more. */
  get full() {
    return this.entries.length >= this.#limit;
  }

  /** How many events arrived during this pause. */
  get waiting() {
    return this.#waiting.length + this.#missed;
  }

  /**
   * Takes events in the order of their arrival.
   * @returns {{added: object[], removed: object[]}} what became visible, oldest first, and what fell off the end
   */
  arrive(entries) {
    this.newest = entries.at(-1)?.position ?? this.newest;
    if (!this.paused) return this.#show(entries);
    this.#waiting.push(...entries);
    // Older ones would fall off the end of the list anyway; they stay in the history.
    this.#missed += this.#waiting.splice(0, Math.max(0, this.#waiting.length - this.#limit)).length;
    return { added: [], removed: [] };
  }

  /**
   * Takes a page of the history, newest first, that stands before everything held.
   * @returns {object[]} what became visible
   */
  older(entries) {
    this.newest ??= entries[0]?.position;
    const added = entries.slice(0, this.#limit - this.entries.length);
    this.entries.push(...added);
    return added;
  }

  pause() {
    this.paused = true;
  }

  /** Ends a pause; what waited becomes visible in the order of its arrival. */
  resume() {
    this.paused = false;
    this.#missed = 0;
    return this.#show(this.#waiting.splice(0));
  }

  #show(entries) {
    const added = entries.slice(-this.#limit);
    this.entries.unshift(...added.toReversed());
    const removed = this.entries.splice(this.#limit);
    return { added, removed };
  }
}

/** An event of the collector with what the page needs of it again and again. */
export function entryOf(record) {
  return { position: record.position, record, event: record.event, searched: valuesOf(record).toLowerCase() };
}

/** Everything that a record says, without the names of its fields: whoever looks for "blocked" means the word. */
function valuesOf(record) {
  const values = [];
  JSON.stringify(record, (_, value) => {
    if (typeof value !== "object") values.push(value);
    return value;
  });
  return values.join("\n");
}

/** Whether a filter shows an entry: its kind is chosen, and it contains every word. */
export function matches(entry, { kinds, words }) {
  return kinds.has(entry.event.kind) && words.every((word) => entry.searched.includes(word));
}

/** The words of a filter text. */
export function wordsOf(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

/** The time of an event for a reader whose day is `today`: the date only when it is another one. */
export function clock(milliseconds, today = new Date()) {
  const time = new Date(milliseconds);
  if (Number.isNaN(time.getTime())) return "no time";
  const two = (number) => String(number).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  const fraction = String(time.getMilliseconds()).padStart(3, "0");
  return time.toDateString() === today.toDateString() ? `${clock}.${fraction}` : `${day} ${clock}`;
}

/** The start of an id, enough to tell calls apart at a glance. */
export function short(id) {
  return id.length > 10 ? `${id.slice(0, 8)}…` : id;
}

/** What was decided, where an event says so, and whether that had an effect. */
export function decisionOf(event) {
  const { decision, effective_decision: effective, enforced } = event.metadata ?? {};
  if (typeof decision !== "string") return undefined;
  if (enforced === false && decision !== "allow") return { decision, label: `would ${decision}`, enforced: false };
  return { decision, label: typeof effective === "string" ? effective : decision, enforced: true };
}

/**
 * Pretty-printed JSON in pieces of one kind each: key, string, number, word, or plain.
 * @returns {{type: string, text: string}[]}
 */
export function jsonPieces(value) {
  const text = JSON.stringify(value, null, 2);
  const token = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null)\b/g;
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(token)) {
    if (match.index > end) pieces.push({ type: "plain", text: text.slice(end, match.index) });
    const [whole, string, colon] = match;
    if (colon !== undefined) pieces.push({ type: "key", text: string }, { type: "plain", text: colon });
    else if (string !== undefined) pieces.push({ type: "string", text: string });
    else pieces.push({ type: /^[tfn]/.test(whole) ? "word" : "number", text: whole });
    end = match.index + whole.length;
  }
  pieces.push({ type: "plain", text: text.slice(end) });
  return pieces;
}
