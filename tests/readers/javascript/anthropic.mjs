// `@anthropic-ai/sdk`: events as an application reads them, its own accumulation, and whole answers.

import Anthropic from "@anthropic-ai/sdk";
import { answer } from "./transport.mjs";
import { Shown } from "./texts.mjs";

const client = () => new Anthropic({ baseURL: "http://weir.test", apiKey: "none", maxRetries: 0, fetch: answer });
const REQUEST = { model: "m", max_tokens: 99, messages: [{ role: "user", content: "hi" }] };

export const messages = {
  async raw(stream) {
    if (!stream) return undefined;
    const shown = new Shown();
    const reading = { calls: [], text: "", texts: {} };
    const blocks = new Map();
    try {
      for await (const event of await client().messages.create({ ...REQUEST, stream: true })) {
        if (event.type === "message_start") {
          for (const block of event.message?.content ?? []) whole(block, reading, shown);
        } else if (event.type === "content_block_start") {
          blocks.set(event.index, { ...event.content_block, json: "" });
          shown.gather(event.content_block, "start");
          if (event.content_block?.type === "text") reading.text += event.content_block.text ?? "";
          shown.add(`text ${event.index}`, event.content_block?.text);
          shown.add("text", event.content_block?.text);
        } else if (event.type === "content_block_delta") {
          const block = blocks.get(event.index);
          const delta = event.delta ?? {};
          if (block && delta.partial_json !== undefined) block.json += delta.partial_json;
          if (delta.type === "text_delta") reading.text += delta.text;
          for (const kind of ["text", "thinking"]) {
            shown.add(`${kind} ${event.index}`, delta[kind]);
            shown.add(kind, delta[kind]);
          }
          if (delta.type === "citations_delta") shown.gather(delta.citation, "citation");
        } else if (event.type === "content_block_stop") {
          const block = blocks.get(event.index);
          if (block?.name) reading.calls.push([block.name, block.json || block.input, ...by(block)]);
        } else if (event.type === "message_delta") {
          shown.gather(event.delta, "end");
        }
      }
    } catch (error) {
      reading.error = String(error);
    }
    reading.texts = shown.texts();
    return reading;
  },

  async helper(stream) {
    const shown = new Shown();
    const reading = { calls: [], text: "", texts: {} };
    try {
      if (stream) {
        const runner = client().messages.stream(REQUEST);
        runner.on("text", (text) => shown.add("text event", text));
        runner.on("thinking", (text) => shown.add("thinking event", text));
        runner.on("contentBlock", (block) => block.name && reading.calls.push([block.name, block.input, ...by(block)]));
        for (const block of (await runner.finalMessage()).content) whole(block, reading, shown);
      } else {
        const message = await client().messages.create(REQUEST);
        for (const block of message.content ?? []) whole(block, reading, shown);
        shown.gather(message.stop_details, "stop");
      }
    } catch (error) {
      reading.error = String(error);
    }
    reading.texts = shown.texts();
    return reading;
  },
};

/** Who carries a call out, where it is not the application. */
const by = ({ type }) => (type === "tool_use" ? [] : ["provider"]);

function whole(block, reading, shown) {
  if (block?.name) reading.calls.push([block.name, block.input, ...by(block)]);
  shown.gather(block, block?.type ?? "block");
  if (block?.type === "text") {
    reading.text += block.text;
    shown.add("text", block.text);
  }
}
