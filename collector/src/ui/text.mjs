// Elements with text: everything that comes from an event is set as text, never as markup.

import { visible } from "./feed.mjs";

export function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) say(node, String(text));
  return node;
}

/** Sets text, with what is invisible in it made visible. */
export function say(node, text) {
  node.textContent = "";
  for (const piece of visible(text)) {
    if (!piece.hidden) node.append(piece.text);
    else {
      const mark = document.createElement("span");
      mark.className = "hidden-character";
      mark.textContent = piece.text;
      node.append(mark);
    }
  }
}
