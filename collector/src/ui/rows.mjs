// Rows of the activity page. Everything that comes from an event is set as text, never as markup.

import { changesOf } from "./changes.mjs";
import { KINDS, clock, condition, entryOf, headOf, short } from "./feed.mjs";
import { element } from "./text.mjs";

/** What can be clicked to filter: name in the query language, and where it lies in an event. */
const FACTS = [
  ["type", (event) => event.event_type],
  ["severity", (event) => event.severity],
  ["class", (event) => event.policy_class],
  ["call", (event) => event.call_id],
  ["trace", (event) => event.trace_id],
  ["target", (event) => event.policy_target],
  ["model", (event) => event.metadata?.model],
  ["tool", (event) => event.metadata?.tool],
  ["rule", (event) => event.metadata?.reason_code],
  ["user", (event) => event.metadata?.policy_user],
];

/** Makes rows; `page` is told of clicks. */
export class Rows {
  #page;
  #nodes = new WeakMap();

  /** @param {{filter: (condition: string) => void, opened: (row: object, isOpen: boolean) => void}} page */
  constructor(page) {
    this.#page = page;
  }

  node(row) {
    return this.#nodes.get(row);
  }

  isOpen(row) {
    return this.#nodes.get(row)?.querySelector("details").open ?? false;
  }

  make(row) {
    const item = element("li");
    const details = element("details");
    details.append(element("summary"));
    details.addEventListener("toggle", () => {
      this.#page.opened(row, details.open);
      // Built when it is looked at, and only once.
      if (details.open && details.childElementCount === 1) details.append(this.#inside(row));
    });
    item.append(details);
    this.#nodes.set(row, item);
    this.update(row);
    return item;
  }

  /** Writes the line of a row anew; what is open stays open. */
  update(row) {
    const item = this.#nodes.get(row);
    const { shown, decision, actions, severity, conflict } = headOf(row);
    const kind = actions.length > 0 ? "policy_action" : shown.kind;
    item.dataset.kind = kind;
    item.dataset.severity = severity;
    const line = item.querySelector("summary");
    line.textContent = "";
    line.append(element("time", "time", clock(row.entries[0].event.time_ms)), element("span", "badge", KINDS[kind] ?? kind));
    const text = element("span", "text");
    if (decision) {
      const pill = element("span", "decision", decision.label);
      pill.dataset.decision = decision.decision;
      pill.dataset.enforced = decision.enforced;
      text.append(pill);
    }
    if (conflict) text.append(element("span", "conflict", "number used twice"));
    if (actions.length > 0) text.append(element("span", "policy", `${shown.policy_class ?? "engine"} ${shown.event_type}`), " ");
    text.append(element("span", "sentence", shown.summary));
    line.append(text, element("span", "target", shown.policy_target ?? ""), element("span", "call", shown.call_id ? short(shown.call_id) : ""));
  }

  #inside(row) {
    const inside = element("div", "inside");
    const entry = row.entries[0];
    if (row.call === undefined) {
      inside.append(this.#payload(entry));
      return inside;
    }
    const line = element("ol", "timeline");
    const show = (entries) => {
      line.textContent = "";
      const start = entries[0].event.time_ms;
      for (const step of entries) line.append(this.#step(step, start));
    };
    show(row.entries);
    inside.append(line);
    // The row has what matched; the timeline has all of the call.
    callOf(row.call, entry.position).then(
      (entries) => entries.length > 0 && show(entries),
      (error) => inside.append(element("p", "problem", error.message)),
    );
    return inside;
  }

  #step(entry, start) {
    const { event } = entry;
    const step = element("li");
    step.dataset.kind = event.kind;
    const details = element("details");
    const line = element("summary");
    line.append(
      element("span", "offset", `+${event.time_ms - start} ms`),
      element("span", "badge", KINDS[event.kind] ?? event.kind),
      element("span", "step", event.event_type),
      element("span", "sentence", event.summary),
    );
    details.append(line);
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(this.#payload(entry));
    });
    step.append(details);
    const changes = changesOf(event);
    if (changes) step.append(changes);
    return step;
  }

  #payload({ record, event, raw, position }) {
    const payload = element("div", "payload");
    const facts = element("dl");
    for (const [name, value] of [...FACTS.map(([name, of]) => [name, of(event)]), ["sender", record.sender]]) {
      if (typeof value !== "string" || value === "") continue;
      const pair = element("div");
      const add = element("button", "fact", value);
      add.type = "button";
      add.title = `Only ${name} ${value}`;
      add.addEventListener("click", () => this.#page.filter(condition(name, value)));
      const not = element("button", "fact not", "−");
      not.type = "button";
      not.title = `Without ${name} ${value}`;
      not.setAttribute("aria-label", not.title);
      not.addEventListener("click", () => this.#page.filter(`-${condition(name, value)}`));
      pair.append(element("dt", "", name), element("dd"));
      pair.lastChild.append(add, not);
      facts.append(pair);
    }
    const link = element("a", "permalink", `#${record.sequence} · link`);
    link.href = `?view=events&at=${position}`;
    const copy = element("button", "copy", "Copy JSON");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(raw);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "The browser does not allow it";
      }
    });
    const tools = element("p", "tools");
    tools.append(link, copy);
    payload.append(facts, tools);
    // As it was sent, byte for byte.
    const block = element("pre", "", raw);
    block.tabIndex = 0;
    block.setAttribute("aria-label", "The event as it was sent");
    payload.append(block);
    return payload;
  }
}

/** Asks the collector; its lines are events as they were sent, the last one says the rest. */
export async function ask(path) {
  const response = await fetch(path);
  if (response.status === 401) location.reload();
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw Object.assign(new Error(body.error?.message ?? `the collector answers ${response.status}`), { status: response.status });
  }
  const lines = (await response.text()).trimEnd().split("\n");
  const rest = JSON.parse(lines.pop());
  return { entries: lines.map(entryOf), ...rest };
}

async function callOf(call, near) {
  const { entries } = await ask(`/v1/calls/${encodeURIComponent(call)}?near=${near}&format=ndjson`);
  return entries;
}
