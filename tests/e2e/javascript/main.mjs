// A conversation through one library: `node main.mjs <library>` takes one request a line on its standard input, and
// answers each with a line: `{turn}`, or `{error}` where the library threw.

import { createInterface } from "node:readline";

const LIBRARIES = {
  "openai-js": async () => (await import("./openai.mjs")).chat,
  "openai-responses-js": async () => (await import("./openai.mjs")).responses,
  "anthropic-js": () => import("./anthropic.mjs"),
  "ai-openai": async () => (await import("./ai.mjs")).chat,
  "ai-openai-responses": async () => (await import("./ai.mjs")).responses,
  "ai-anthropic": async () => (await import("./ai.mjs")).messages,
  "mcp-js": () => import("./mcp.mjs"),
};

const library = await LIBRARIES[process.argv[2]]();

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await library.send(JSON.parse(line)).then(
    (turn) => ({ turn }),
    (error) => ({ error: error?.stack ?? String(error) }),
  );
  console.log(JSON.stringify(answer));
}
