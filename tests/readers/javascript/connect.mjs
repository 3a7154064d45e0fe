// The MCP SDK for JavaScript against servers that answer notifications in many ways, through weir.wasm.
//
// Its argument is JSON: the player, the policy document, and the ways, each `{status, headers, body}`. A line
// `{way, tools, text, error?}` for each goes to standard output.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { player: binary, document, ways } = JSON.parse(process.argv[2]);
const player = spawn(binary, { stdio: ["pipe", "pipe", "inherit"] });
const waiting = [];
createInterface({ input: player.stdout }).on("line", (line) => waiting.shift()(JSON.parse(line)));

const characters = (text) => Buffer.from(text).toString("latin1");

/** `fetch` through the module, to a server that answers notifications that way. */
const through = (way) => async (_url, { method = "GET", headers, body }) => {
  const head = [
    [":method", method],
    [":path", "/mcp"],
    [":authority", "tools"],
  ];
  const request = { headers: [...head, ...new Headers(headers)], body: characters(body ?? "") };
  const said = serve(method, body, way);
  const response = { headers: [[":status", String(said.status)], ...said.headers], body: characters(said.body) };
  const outcome = await new Promise((resolve) => {
    waiting.push(resolve);
    player.stdin.write(`${JSON.stringify({ document, request, response })}\n`);
  });
  if (outcome.trap) throw new Error(outcome.trap);
  const bytes = Buffer.from(outcome.body, "latin1");
  const names = outcome.headers.filter(([name]) => !name.startsWith(":"));
  const isEmpty = bytes.length === 0;
  return new Response(isEmpty ? null : bytes, { status: outcome.status, headers: names });
};

function serve(method, body, way) {
  if (method !== "POST") return { status: 405, headers: [], body: "" };
  const message = JSON.parse(body);
  if (message.id === undefined) return way;
  const result = {
    initialize: {
      protocolVersion: "2025-06-18",
      capabilities: { tools: {} },
      serverInfo: { name: "server", version: "1" },
    },
    "tools/list": { tools: [{ name: "echo", inputSchema: { type: "object" } }] },
    "tools/call": { content: [{ type: "text", text: "hello" }] },
  }[message.method];
  const answer = JSON.stringify({ jsonrpc: "2.0", id: message.id, result });
  return { status: 200, headers: [["content-type", "application/json"]], body: answer };
}

for (const [name, way] of Object.entries(ways)) {
  const client = new Client({ name: "client", version: "1" });
  const said = { way: name };
  try {
    await client.connect(new StreamableHTTPClientTransport(new URL("http://weir.test/mcp"), { fetch: through(way) }));
    said.tools = (await client.listTools()).tools.map((tool) => tool.name);
    said.text = (await client.callTool({ name: "echo", arguments: {} })).content[0].text;
  } catch (error) {
    said.error = String(error?.message ?? error);
  }
  await client.close().catch(() => {});
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
player.stdin.end();
