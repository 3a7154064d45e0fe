// The activity page: history and search at the collector, then what is new, asked for twice a second. Asking ends at once:
// however many tabs are open, none of them holds a connection that the others need.

import { Feed, toggled } from "./feed.mjs";
import { Rows, ask } from "./rows.mjs";
import { showSummary } from "./summary.mjs";

const ROWS = 500;
const PAGE = 100;
const POLL_MS = 500;
const HIDDEN_POLL_MS = 5000;
const STATUS_MS = 5000;
const SUMMARY_MS = 10_000;
const TYPING_MS = 250;
const FEW = 20;
const MINUTES = { "15m": 15, "1h": 60, "24h": 24 * 60, "7d": 7 * 24 * 60 };

const byId = (id) => document.getElementById(id);
const list = byId("events");
const rows = new Rows({ filter: addCondition, opened });
let feed = new Feed(ROWS, true);
let cursor;
let next;
/** Grows with every new search; what an older one brings is not shown. */
let search = 0;
let skipped = 0;
let typing;

// -- state, which stands in the address -----------------------------------------------------------------------------

function readAddress() {
  const address = new URLSearchParams(location.search);
  byId("text").value = address.get("q") ?? "";
  byId("view").value = address.get("view") === "events" ? "events" : "calls";
  const range = address.get("range") ?? (address.has("from") || address.has("to") ? "custom" : "");
  byId("range").value = range;
  for (const name of ["from", "to"]) {
    const time = Number(address.get(name));
    byId(name).value = time ? localTime(time) : "";
  }
  byId("custom").hidden = range !== "custom";
}

function writeAddress() {
  const address = new URLSearchParams();
  if (byId("text").value.trim()) address.set("q", byId("text").value.trim());
  if (byId("view").value !== "calls") address.set("view", byId("view").value);
  const range = byId("range").value;
  if (range === "custom") for (const [name, value] of Object.entries(bounds())) address.set(name, value);
  else if (range) address.set("range", range);
  const open = feed.rows.find((row) => rows.isOpen(row));
  if (open) address.set("at", open.entries[0].position);
  const text = address.toString();
  if (text !== location.search.slice(1)) history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

function localTime(milliseconds) {
  const time = new Date(milliseconds);
  return new Date(milliseconds - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** The range in milliseconds since 1970. */
function bounds() {
  const range = byId("range").value;
  if (MINUTES[range]) return { from: Date.now() - MINUTES[range] * 60_000 };
  if (range !== "custom") return {};
  const found = {};
  for (const name of ["from", "to"]) {
    const time = new Date(byId(name).value).getTime();
    if (!Number.isNaN(time)) found[name] = time;
  }
  return found;
}

function selection(more = {}) {
  return new URLSearchParams({ q: byId("text").value.trim(), ...bounds(), ...more }).toString();
}

// -- rows -----------------------------------------------------------------------------------------------------------

function show({ added, changed, removed = [] }) {
  for (const row of changed) rows.update(row);
  const group = document.createDocumentFragment();
  for (const row of added.toReversed()) {
    const node = rows.make(row);
    // A flood is seen without it.
    if (added.length <= FEW) node.classList.add("new");
    group.append(node);
  }
  keepPlace(() => list.prepend(group));
  for (const row of removed) rows.node(row)?.remove();
  describe();
}

/** Changes the list without moving what someone further down is reading. */
function keepPlace(change) {
  const isReading = window.scrollY > list.offsetTop || list.querySelector("details[open]") !== null;
  if (!isReading) {
    change();
    return;
  }
  const reading = [...list.children].find((item) => item.getBoundingClientRect().bottom > 0);
  const before = reading?.getBoundingClientRect().top;
  change();
  if (reading) window.scrollBy(0, reading.getBoundingClientRect().top - before);
}

const isKept = (row) => rows.isOpen(row) || rows.node(row)?.contains(document.activeElement);

function opened() {
  writeAddress();
}

function describe() {
  const noun = feed.byCall ? "row" : "event";
  byId("shown").textContent = plural(feed.rows.length, noun) + (skipped > 0 ? ` · ${plural(skipped, "event")} skipped` : "");
  byId("older").hidden = next === undefined;
  const empty = byId("empty");
  empty.hidden = feed.rows.length > 0 || cursor === undefined;
  empty.textContent = byId("text").value.trim() ? "Nothing in this range matches." : "No events yet. They appear here as filters send them.";
  const waiting = byId("waiting");
  waiting.hidden = !feed.paused || feed.waiting === 0;
  waiting.textContent = `${plural(feed.waiting, "new event")} · resume`;
  const pause = byId("pause");
  pause.textContent = feed.paused ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", String(feed.paused));
  document.title = feed.paused && feed.waiting > 0 ? `(${feed.waiting}) Activity · Weir` : "Activity · Weir";
  for (const format of ["ndjson", "csv"]) byId(format).href = `/v1/export?${selection({ format })}`;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

// -- what comes from the collector ------------------------------------------------------------------------------------

async function start(at) {
  search += 1;
  const own = search;
  const paused = feed.paused;
  feed = new Feed(ROWS, byId("view").value === "calls");
  if (paused) feed.pause();
  [cursor, next, skipped] = [undefined, undefined, 0];
  list.textContent = "";
  byId("problem").textContent = "";
  await loadOlder(own, at);
  summarise();
}

async function loadOlder(own = search, at = undefined) {
  const more = { limit: PAGE, format: "ndjson", whole_calls: feed.byCall };
  const before = next ?? (at && behind(at));
  if (before) more.before = before;
  try {
    const page = await ask(`/v1/events?${selection(more)}`);
    if (own !== search) return;
    connection("live", "live");
    // Somebody who came by a link sees what stood there; what is new comes after that.
    cursor ??= page.cursor;
    next = page.next ?? undefined;
    const { added, changed } = feed.older(page.entries);
    for (const row of changed) rows.update(row);
    list.append(...added.map((row) => rows.make(row)));
    if (at) openAt(at);
    describe();
    // The collector searches for a while at a time; what it has not reached yet is asked for until something is found.
    if (page.entries.length === 0 && next !== undefined) await loadOlder(own);
  } catch (error) {
    if (own === search) failed(error);
  }
}

/** The position right behind another. */
function behind(position) {
  const parts = position.split("-");
  parts[3] = String(Number(parts[3]) + 1);
  return parts.join("-");
}

function openAt(position) {
  const row = feed.rows.find((row) => row.entries.some((entry) => entry.position === position));
  const node = row && rows.node(row);
  if (!node) return;
  node.querySelector("details").open = true;
  node.scrollIntoView({ block: "center" });
}

function failed(error) {
  if (error.status === 400) byId("problem").textContent = error.message;
  else connection("broken", error.status ? error.message : "the collector cannot be reached");
}

async function poll() {
  const own = search;
  const isLive = bounds().to === undefined;
  if (cursor !== undefined && isLive) {
    try {
      const { entries, cursor: end, skipped: left } = await ask(`/v1/events?${selection({ after: cursor, limit: 1000, format: "ndjson" })}`);
      if (own === search) {
        cursor = end;
        skipped += left;
        connection("live", "live");
        if (entries.length > 0) show(feed.arrive(entries, isKept));
      }
    } catch (error) {
      if (own === search) failed(error);
    }
  } else if (cursor === undefined && !byId("problem").textContent) await loadOlder();
  setTimeout(poll, document.hidden ? HIDDEN_POLL_MS : POLL_MS);
}

function connection(state, text) {
  const indicator = byId("connection");
  if (indicator.textContent === text) return;
  indicator.dataset.state = state;
  indicator.textContent = text;
}

async function showStatus() {
  try {
    const status = await (await fetch("/v1/status")).json();
    if (status.error) return;
    const parts = [plural(status.senders, "sender")];
    const tell = (count, what) => count > 0 && parts.push(`${count.toLocaleString("en")} ${what}`);
    tell(status.lost, "lost");
    tell(status.dropped, "dropped");
    tell(status.conflicts, "in conflict");
    tell(status.refused, "refused");
    byId("senders").dataset.lossy = String(parts.length > 1);
    if (status.lag_ms > 2000) parts.push(`lag ${(status.lag_ms / 1000).toFixed(1)} s`);
    byId("senders").textContent = parts.join(" · ");
    byId("sign-out").hidden = !status.signed_in;
    if (status.problem) connection("broken", `events cannot be stored: ${status.problem}`);
  } catch {
    // The connection indicator says that something is wrong; the last known numbers stay.
  }
}

async function summarise() {
  const own = search;
  try {
    const response = await fetch(`/v1/summary?${selection()}`);
    if (response.ok && own === search) showSummary(await response.json(), addCondition);
  } catch {
    // As above.
  }
}

// -- what people do ---------------------------------------------------------------------------------------------------

function changed() {
  byId("custom").hidden = byId("range").value !== "custom";
  list.textContent = "";
  feed = new Feed(ROWS, byId("view").value === "calls");
  writeAddress();
  start();
}

function addCondition(text) {
  byId("text").value = toggled(byId("text").value.trim(), text);
  changed();
}

function togglePause() {
  if (feed.paused) show(feed.resume(isKept));
  else feed.pause();
  describe();
}

function move(by) {
  const lines = [...list.querySelectorAll(":scope > li > details > summary")];
  const at = lines.findIndex((line) => line.closest("#events > li").contains(document.activeElement));
  const line = lines[Math.min(lines.length - 1, Math.max(0, at + by))];
  line?.focus();
  line?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (press) => {
  if (press.ctrlKey || press.metaKey || press.altKey) return;
  if (press.target.matches("input, select, textarea")) {
    if (press.key === "Escape") press.target.blur();
    return;
  }
  const act = { j: () => move(1), k: () => move(-1), "/": () => byId("text").focus(), p: togglePause }[press.key];
  if (!act) return;
  press.preventDefault();
  act();
});
byId("pause").addEventListener("click", togglePause);
byId("waiting").addEventListener("click", () => {
  togglePause();
  window.scrollTo(0, 0);
});
byId("text").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(changed, TYPING_MS);
});
byId("filter").addEventListener("submit", (submit) => submit.preventDefault());
for (const id of ["view", "range", "from", "to"]) byId(id).addEventListener("change", changed);
byId("older").addEventListener("click", async () => {
  const older = byId("older");
  older.disabled = true;
  await loadOlder();
  older.disabled = false;
});
window.addEventListener("popstate", () => {
  readAddress();
  start();
});

readAddress();
start(new URLSearchParams(location.search).get("at") ?? undefined);
poll();
showStatus();
setInterval(showStatus, STATUS_MS);
setInterval(() => !document.hidden && summarise(), SUMMARY_MS);
