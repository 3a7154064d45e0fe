// Reads responses through the client libraries for JavaScript: a line `{dialect, stream, response}` on standard input,
// a line `{reader: {calls, text, texts, error?}}` for it on standard output.

import { createInterface } from "node:readline";
import { messages } from "./anthropic.mjs";
import { reader } from "./ai.mjs";
import { read as mcp } from "./mcp.mjs";
import { chat, responses } from "./openai.mjs";
import { give } from "./transport.mjs";

const READERS = {
  "chat.completions": {
    "openai-js": chat.raw,
    "openai-js-stream": chat.helper,
    ai: reader("chat"),
    "ai-compatible": reader("compatible"),
  },
  messages: { "anthropic-js": messages.raw, "anthropic-js-stream": messages.helper, "ai-anthropic": reader("messages") },
  responses: { "openai-js": responses.raw, "openai-js-stream": responses.helper, "ai-responses": reader("responses") },
  mcp_tool: { "mcp-js": mcp },
};

// Nothing that a library says on its own may stand between the lines, nor end the process.
console.log = console.warn = console.info = console.error = () => {};
process.on("unhandledRejection", () => {});
process.on("uncaughtException", () => {});

for await (const line of createInterface({ input: process.stdin })) {
  const { dialect, stream, response } = JSON.parse(line);
  give(response);
  const readings = {};
  for (const [name, read] of Object.entries(READERS[dialect])) {
    const reading = await read(stream).catch((error) => ({ calls: [], text: "", texts: {}, error: String(error) }));
    if (reading) readings[name] = reading;
  }
  process.stdout.write(`${JSON.stringify(readings)}\n`);
}
