// What a client shows, gathered from its objects: every string under a key that applications show, joined by its place.

const SHOWN =
  /^(text|content|refusal|reasoning|reasoning_content|reasoning_text|reasoning_details|thinking|thinking_blocks|summary|transcript|explanation|token|parsed|message|output_text|cited_text|delta|arguments_text)$/;

/** Where such keys stand. What stands elsewhere is told apart by a `?` in its place: no library here shows it. */
const HOLDS = /^(choices|item|part|output|response|audio|logprobs|top_logprobs|annotations|citations?|stop_details|content_block)$/;

/** Joins strings by their place: the same part of the same message, over all deltas. */
export class Shown {
  #texts = new Map();

  /** One more piece of the text at that place. */
  add(place, text) {
    if (typeof text === "string" && text) this.#texts.set(place, (this.#texts.get(place) ?? "") + text);
  }

  /** All strings that applications show in `value`. `calls` says which keys hold tool calls: those are no texts. */
  gather(value, place, shown = false, depth = 0) {
    if (depth > 12) return;
    if (typeof value === "string") {
      if (shown) this.add(place, value);
    } else if (Array.isArray(value)) {
      for (const each of value) this.gather(each, place, shown, depth + 1);
    } else if (value && typeof value === "object") {
      // Signed reasoning is never changed: its signature would no longer hold.
      if (value.type === "thinking" && value.signature) return;
      // What comes of a tool that the provider carries out is no text of the answer.
      if (/(_tool_result|_output)$/.test(value.type)) return;
      for (const [key, each] of Object.entries(value)) {
        if (/^(tool_calls|function_call|input|arguments|partial_json|signature|encrypted_content)$/.test(key)) continue;
        const mark = SHOWN.test(key) || HOLDS.test(key) ? "" : "?";
        this.gather(each, `${place}.${mark}${key}`, SHOWN.test(key), depth + 1);
      }
    }
  }

  texts() {
    return Object.fromEntries(this.#texts);
  }
}
