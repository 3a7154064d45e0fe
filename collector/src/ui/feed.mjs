// What the activity page knows, without the page: which rows it holds and which events wait while it is paused. Nothing
// here touches the document, so that it can be tested without a browser.

/** Every kind of event, with the words of its badge. */
export const KINDS = {
  policy_action: "policy action",
  request: "request",
  response: "response",
  error: "error",
};

/** How many events of a call are held at most, and how many of them are its first: what lies between them is in the history. */
const MOST_OF_CALL = 500;
const FIRST_OF_CALL = 100;

/** Holds the newest rows, and keeps apart the events that arrive during a pause. */
export class Feed {
  #limit;
  #waiting = [];
  #missed = 0;
  #rows = new Map();

  /**
   * @param {number} limit how many rows are held, and how many events wait at most
   * @param {boolean} byCall whether events of one call share a row
   */
  constructor(limit, byCall) {
    this.#limit = limit;
    this.byCall = byCall;
    /** Newest first. */
    this.rows = [];
    this.paused = false;
  }

  /** How many events arrived during this pause. */
  get waiting() {
    return this.#waiting.length + this.#missed;
  }

  /**
   * Takes events in the order of their arrival.
   * @param {(row: object) => boolean} isKept whether a row must not go: somebody reads it
   * @returns {{added: object[], changed: object[], removed: object[]}} added rows are oldest first
   */
  arrive(entries, isKept = () => false) {
    if (this.paused) {
      this.#waiting.push(...entries);
      // Older ones would fall off the end of the list anyway; they stay in the history.
      this.#missed += this.#waiting.splice(0, Math.max(0, this.#waiting.length - this.#limit)).length;
      return { added: [], changed: [], removed: [] };
    }
    const { added, changed } = this.#take(entries);
    this.rows.unshift(...added.toReversed());
    const removed = [];
    for (let at = this.rows.length - 1; at >= 0 && this.rows.length > this.#limit; at -= 1) {
      if (isKept(this.rows[at])) continue;
      const [row] = this.rows.splice(at, 1);
      this.#rows.delete(row.key);
      removed.push(row);
    }
    return { added, changed, removed };
  }

  /** Takes a page of the history, newest first, that stands before everything held. */
  older(entries) {
    const { added, changed } = this.#take(entries);
    this.rows.push(...added);
    // Whoever asks for older rows wants to see them: the list grows with each page.
    this.#limit = Math.max(this.#limit, this.rows.length);
    return { added, changed };
  }

  pause() {
    this.paused = true;
  }

  /** Ends a pause; what waited becomes visible in the order of its arrival. */
  resume(isKept) {
    this.paused = false;
    this.#missed = 0;
    return this.arrive(this.#waiting.splice(0), isKept);
  }

  #take(entries) {
    const added = new Set();
    const changed = new Set();
    const touched = new Set();
    for (const entry of entries) {
      const call = this.byCall ? entry.event.call_id : undefined;
      const key = call === undefined ? entry.position : `call ${call}`;
      let row = this.#rows.get(key);
      if (row === undefined) {
        row = { key, call, entries: [], positions: new Set() };
        this.#rows.set(key, row);
        added.add(row);
      } else if (!added.has(row)) changed.add(row);
      if (row.positions.has(entry.position)) continue;
      row.positions.add(entry.position);
      row.entries.push(entry);
      touched.add(row);
    }
    // Once for all that came: a call may have many events.
    for (const row of touched) {
      row.entries.sort(byPosition);
      const beyond = row.entries.splice(FIRST_OF_CALL, Math.max(0, row.entries.length - MOST_OF_CALL));
      for (const entry of beyond) row.positions.delete(entry.position);
    }
    return { added: [...added], changed: [...changed] };
  }
}

function byPosition(one, other) {
  const [left, right] = [one, other].map((entry) => entry.position.split("-").map(Number));
  for (let at = 0; at < 4; at += 1) if (left[at] !== right[at]) return left[at] - right[at];
  return 0;
}

/** An event of the collector, with its JSON as it was sent: it is the last member of its line. */
export function entryOf(line) {
  const mark = ',"event":';
  const record = JSON.parse(line);
  return { position: record.position, record, event: record.event, raw: line.slice(line.indexOf(mark) + mark.length, -1) };
}

/** What a row says in one line: its newest decision, what policies did, and how bad the worst of it is. */
export function headOf(row) {
  const events = row.entries.map((entry) => entry.event);
  const enforcement = events.findLast((event) => event.event_type === "enforcement");
  const actions = events.filter((event) => event.kind === "policy_action");
  const error = events.findLast((event) => event.kind === "error");
  const shown = actions.at(-1) ?? error ?? enforcement ?? events.at(-1);
  const ranks = ["debug", "info", "warning", "error"];
  const severity = ranks[Math.max(...events.map((event) => ranks.indexOf(event.severity)))] ?? "info";
  return { shown, decision: decisionOf(enforcement ?? shown), actions, severity, conflict: row.entries.some((entry) => entry.record.conflict) };
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
  const { decision, effective_decision: effective, enforced } = event?.metadata ?? {};
  if (typeof decision !== "string") return undefined;
  if (enforced === false && decision !== "allow") return { decision, label: `would ${decision}`, enforced: false };
  return { decision, label: typeof effective === "string" ? effective : decision, enforced: true };
}

/** A condition of the query language for a field and its value. */
export function condition(field, value) {
  const text = String(value);
  return /^[\w.:/-]+$/.test(text) ? `${field}:${text}` : `${field}:"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** Adds a condition to a query, or takes it away when it is there. */
export function toggled(query, added) {
  const opposite = added.startsWith("-") ? added.slice(1) : `-${added}`;
  const without = (text, part) => ` ${text} `.replace(` ${part} `, " ").trim();
  if (` ${query} `.includes(` ${added} `)) return without(query, added);
  return `${without(query, opposite)} ${added}`.trim();
}

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u;

/** Text in pieces, with what is invisible or turns the direction of text named: it must not hide what was said. */
export function visible(text) {
  const pieces = [];
  for (const part of text.split(new RegExp(`(${HIDDEN.source})`, "u"))) {
    if (part === "") continue;
    if (HIDDEN.test(part)) pieces.push({ hidden: true, text: `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}` });
    else pieces.push({ hidden: false, text: part });
  }
  return pieces;
}
