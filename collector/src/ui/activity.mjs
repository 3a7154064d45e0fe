// The activity page: history on load, then live. Everything that comes from an event is set as text, never as markup.

import { Feed, KINDS, clock, decisionOf, entryOf, jsonPieces, matches, short, wordsOf } from "./feed.mjs";

const ROWS = 1000;
const PAGE = 100;
const RETRY_MS = 2000;
/** Events are shown in groups, so that a flood costs one layout each time instead of one for each event. */
const GROUP_MS = 60;
/** Longer payloads are shown without colours: thousands of spans would make the page slow. */
const COLOURED_JSON = 30_000;

const byId = (id) => document.getElementById(id);
const list = byId("events");
const feed = new Feed(ROWS);
const rows = new WeakMap();
let filter = { kinds: new Set(Object.keys(KINDS)), words: [] };
let arrived = [];
let groupTimer;
let olderThan;
let historyLoaded = false;

// -- rows ---------------------------------------------------------------------------------------------------------

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function rowOf(entry) {
  const { event } = entry;
  const row = element("li");
  row.dataset.kind = event.kind;
  row.dataset.severity = event.severity;
  row.hidden = !matches(entry, filter);

  const line = element("summary");
  const time = element("time", "time", clock(event.time_ms));
  time.title = `event ${event.id}`;
  line.append(time, element("span", "badge", KINDS[event.kind] ?? event.kind));

  const text = element("span", "text");
  const decision = decisionOf(event);
  if (decision) {
    const pill = element("span", "decision", decision.label);
    pill.dataset.decision = decision.decision;
    pill.dataset.enforced = decision.enforced;
    text.append(pill);
  }
  text.append(element("span", "sentence", event.summary));
  line.append(text, element("span", "target", event.policy_target ?? ""), callOf(event));

  const details = element("details");
  details.append(line);
  details.addEventListener("toggle", () => {
    // Built when it is looked at, and only once.
    if (details.open && details.childElementCount === 1) details.append(payloadOf(entry));
  });
  row.append(details);
  rows.set(entry, row);
  return row;
}

function callOf(event) {
  if (!event.call_id) return element("span", "call");
  const call = element("button", "call", short(event.call_id));
  call.type = "button";
  call.title = `Show everything about call ${event.call_id}`;
  call.addEventListener("click", (click) => {
    click.preventDefault();
    byId("text").value = event.call_id;
    applyFilter();
  });
  return call;
}

function payloadOf({ record, event }) {
  const payload = element("div", "payload");
  const facts = element("dl");
  const fact = (name, value) => {
    if (value === undefined || value === null || value === "") return;
    const pair = element("div");
    pair.append(element("dt", "", name), element("dd", "", String(value)));
    facts.append(pair);
  };
  fact("type", event.event_type);
  fact("severity", event.severity);
  fact("policy", event.policy_class);
  fact("call", event.call_id);
  fact("trace", event.trace_id);
  fact("sender", `${record.sender} #${record.sequence}`);
  const copy = element("button", "copy", "Copy JSON");
  copy.type = "button";
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(JSON.stringify(event, null, 2));
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "The browser does not allow it";
    }
  });
  payload.append(facts, copy, jsonOf(event));
  return payload;
}

function jsonOf(value) {
  const block = element("pre");
  const text = JSON.stringify(value, null, 2);
  if (text.length > COLOURED_JSON) {
    block.textContent = text;
    return block;
  }
  for (const { type, text } of jsonPieces(value)) block.append(element("span", `json-${type}`, text));
  return block;
}

// -- what is shown ------------------------------------------------------------------------------------------------

function show({ added, removed }) {
  const group = document.createDocumentFragment();
  for (const entry of added.toReversed()) {
    const row = rowOf(entry);
    row.classList.add("new");
    group.append(row);
  }
  keepPlace(() => list.prepend(group));
  for (const entry of removed) rows.get(entry)?.remove();
  // The history goes on behind the last row, wherever that is now.
  if (removed.length > 0) olderThan = feed.entries.at(-1)?.position;
  describe();
}

/** Changes the list without moving what someone further down is reading. */
function keepPlace(change) {
  const before = document.documentElement.scrollHeight;
  const reading = window.scrollY > list.offsetTop;
  change();
  if (reading) window.scrollBy(0, document.documentElement.scrollHeight - before);
}

function applyFilter() {
  const kinds = [...document.querySelectorAll("input[name=kind]:checked")].map((box) => box.value);
  filter = { kinds: new Set(kinds), words: wordsOf(byId("text").value) };
  for (const entry of feed.entries) {
    const row = rows.get(entry);
    // A row that comes back is not new, and an animation would start again.
    row.classList.remove("new");
    row.hidden = !matches(entry, filter);
  }
  describe();
}

function describe() {
  const held = feed.entries.length;
  const shown = feed.entries.reduce((count, entry) => count + matches(entry, filter), 0);
  byId("shown").textContent = shown === held ? plural(held, "event") : `${shown} of ${plural(held, "event")}`;
  byId("older").hidden = olderThan === undefined || feed.full;

  const empty = byId("empty");
  empty.hidden = shown > 0 || !historyLoaded;
  empty.textContent = held > 0 ? "No event matches the filter." : "No events yet. They appear here as filters send them.";

  const waiting = byId("waiting");
  waiting.hidden = !feed.paused || feed.waiting === 0;
  waiting.textContent = `${plural(feed.waiting, "new event")} · resume`;
  const pause = byId("pause");
  pause.textContent = feed.paused ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", String(feed.paused));
  document.title = feed.paused && feed.waiting > 0 ? `(${feed.waiting}) Activity · Weir` : "Activity · Weir";
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

// -- what comes from the collector --------------------------------------------------------------------------------

async function fetchJson(path) {
  const response = await fetch(path);
  if (response.ok) return response.json();
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error?.message ?? `the collector answers ${response.status}`);
}

async function loadHistory() {
  const before = olderThan === undefined ? "" : `&before=${olderThan}`;
  const page = await fetchJson(`/v1/events?limit=${PAGE}${before}`);
  list.append(...feed.older(page.events.map(entryOf)).map(rowOf));
  olderThan = page.next ?? undefined;
  historyLoaded = true;
  describe();
}

function follow() {
  const stream = new EventSource(`/v1/activity/stream?after=${feed.newest ?? "0-0"}`);
  stream.onopen = () => connection("live", "live");
  stream.onmessage = (message) => take(JSON.parse(message.data));
  stream.addEventListener("store", (message) => {
    if (JSON.parse(message.data).reachable) connection("live", "live");
    else connection("broken", "the store cannot be reached");
  });
  stream.onerror = () => {
    connection("broken", "reconnecting");
    // The browser reconnects by itself, with the last position it saw, unless it was refused.
    if (stream.readyState !== EventSource.CLOSED) return;
    flush();
    setTimeout(follow, RETRY_MS);
  };
}

function take(record) {
  arrived.push(entryOf(record));
  groupTimer ??= setTimeout(flush, GROUP_MS);
}

function flush() {
  clearTimeout(groupTimer);
  groupTimer = undefined;
  if (arrived.length > 0) show(feed.arrive(arrived.splice(0)));
}

function connection(state, text) {
  const indicator = byId("connection");
  indicator.dataset.state = state;
  indicator.textContent = text;
}

async function showSenders() {
  try {
    const { senders } = await fetchJson("/v1/senders");
    const sum = (field) => senders.reduce((total, sender) => total + sender[field], 0);
    const parts = [plural(senders.length, "sender")];
    if (sum("missing") > 0) parts.push(`${sum("missing").toLocaleString("en")} missing`);
    if (sum("dropped") > 0) parts.push(`${sum("dropped").toLocaleString("en")} dropped`);
    byId("senders").textContent = parts.join(" · ");
    byId("senders").dataset.lossy = String(parts.length > 1);
  } catch {
    // The connection indicator says that something is wrong; the last known numbers stay.
  }
}

async function start() {
  try {
    await loadHistory();
  } catch (error) {
    connection("broken", error.message);
    setTimeout(start, RETRY_MS);
    return;
  }
  follow();
  showSenders();
  setInterval(showSenders, 5000);
}

// -- what people do -----------------------------------------------------------------------------------------------

function togglePause() {
  flush();
  if (feed.paused) show(feed.resume());
  else feed.pause();
  describe();
}

byId("pause").addEventListener("click", togglePause);
byId("waiting").addEventListener("click", () => {
  togglePause();
  window.scrollTo(0, 0);
});
byId("filter").addEventListener("input", applyFilter);
byId("filter").addEventListener("submit", (submit) => submit.preventDefault());
byId("older").addEventListener("click", async () => {
  const older = byId("older");
  older.disabled = true;
  try {
    await loadHistory();
    older.textContent = "Show older events";
  } catch (error) {
    older.textContent = `${error.message} – try again`;
  }
  older.disabled = false;
});
// A browser keeps the filter's fields over a reload; what they say is what is shown.
applyFilter();
start();
