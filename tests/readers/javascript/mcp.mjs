// `@modelcontextprotocol/sdk`: connects, and calls a tool; what is under test answers the call.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { given, respond } from "./transport.mjs";
import { Shown } from "./texts.mjs";

const RESULT = {
  protocolVersion: "2025-06-18",
  capabilities: { tools: {} },
  serverInfo: { name: "server", version: "1" },
};

/** Answers as an honest server does, but for the call. */
async function fetchFrom(_url, init) {
  if (init?.method === "GET") return new Response(null, { status: 405 });
  if (init?.method === "DELETE") return new Response(null, { status: 200 });
  const message = JSON.parse(init.body);
  if (message.method === "initialize") {
    return Response.json({ jsonrpc: "2.0", id: message.id, result: RESULT });
  }
  if (message.method === "tools/call") return respond(given());
  return new Response(null, { status: 202 });
}

export async function read() {
  const shown = new Shown();
  const reading = { calls: [], text: "", texts: {} };
  const client = new Client({ name: "reader", version: "1" }, { capabilities: { elicitation: {}, sampling: {} } });
  client.fallbackNotificationHandler = async (message) => shown.gather(message.params, "notification", true);
  const transport = new StreamableHTTPClientTransport(new URL("http://weir.test/mcp"), {
    fetch: fetchFrom,
    reconnectionOptions: { maxRetries: 0, initialReconnectionDelay: 1, maxReconnectionDelay: 1, reconnectionDelayGrowFactor: 1 },
  });
  try {
    await client.connect(transport);
    const result = await client.callTool({ name: "run", arguments: {} }, undefined, {
      timeout: 1000,
      onprogress: (progress) => shown.add("progress", progress.message),
    });
    for (const part of result.content ?? []) if (part.type === "text") reading.text += part.text;
    every(result, shown);
  } catch (error) {
    reading.error = String(error?.message ?? error);
    // What a client says of an error is shown, too.
    shown.add("error", String(error?.message ?? ""));
    if (error?.data) every(error.data, shown);
  } finally {
    await client.close().catch(() => {});
  }
  reading.texts = shown.texts();
  return reading;
}

/** What of a result stands for nothing but itself: names, addresses and encoded data pass unread. */
const UNREAD = /^(_meta|name|uri|type|mimeType|data|blob|id|annotations|jsonrpc|role|nextCursor)$/;

function every(value, shown) {
  if (typeof value === "string") shown.add(value, value);
  else if (Array.isArray(value)) value.forEach((each) => every(each, shown));
  else if (value && typeof value === "object") {
    for (const [key, each] of Object.entries(value)) if (!UNREAD.test(key)) every(each, shown);
  }
}
