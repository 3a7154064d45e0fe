// What policies changed, before and after, as the event that ends an exchange tells it.

import { element, say } from "./text.mjs";

/** Filters tell fewer; whoever sends events could make any number of them. */
const MOST = 64;

const KINDS = { tool_call: "tool call", server_tool_call: "call of the provider" };

/** Makes a list of the changes that an event tells; undefined where it tells none. */
export function changesOf(event) {
  const changes = event.metadata?.changes;
  if (!Array.isArray(changes) || changes.length === 0) return undefined;
  const list = element("div", "changes");
  for (const change of changes.slice(0, MOST)) {
    if (change === null || typeof change !== "object") continue;
    if (change.left_out !== undefined) list.append(element("p", "", `and ${change.left_out} more`));
    else list.append(changeOf(change));
  }
  if (changes.length > MOST) list.append(element("p", "", `and ${changes.length - MOST} more, which only the payload shows`));
  return list;
}

function changeOf(change) {
  const item = element("section", "change");
  const name = change.tool === undefined ? "" : ` ${change.tool}`;
  item.append(element("h3", "", `${KINDS[change.kind] ?? change.kind ?? "text"}${name}`));
  item.append(sideOf("before", change.before));
  item.append(sideOf("after", change.after, change.tool_after));
  return item;
}

function sideOf(name, side, tool) {
  const node = element("div", `side ${name}`);
  if (side === null || typeof side !== "object") {
    node.append(element("p", "", `${name}: nothing left`));
    return node;
  }
  const hash = side.hash === undefined ? "" : ` · hash ${side.hash}`;
  const cut = side.cut ? ", of which the beginning is shown" : "";
  node.append(element("p", "", `${name}:${tool === undefined ? "" : ` ${tool},`} ${side.bytes} bytes${cut}${hash}`));
  if (side.text !== undefined) {
    const text = element("pre");
    text.tabIndex = 0;
    text.setAttribute("aria-label", `The text ${name}`);
    say(text, String(side.text));
    node.append(text);
  }
  return node;
}
