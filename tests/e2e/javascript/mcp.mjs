// `@modelcontextprotocol/sdk`: a session in which the tools are listed and the first one is called.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

export async function send({ url }) {
  const client = new Client({ name: "weir-e2e", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)), { timeout: 10_000 });
  try {
    const { tools } = await client.listTools(undefined, { timeout: 10_000 });
    const { content } = await client.callTool({ name: tools[0].name, arguments: {} }, undefined, { timeout: 10_000 });
    return { tools: tools.map((tool) => tool.name), texts: content.map((item) => item.text) };
  } finally {
    await client.close();
  }
}
