// `@anthropic-ai/sdk`, messages.

import Anthropic from "@anthropic-ai/sdk";

const FIELDS = { text: ["type", "text"], tool_use: ["type", "id", "name", "input"] };

export async function send({ url, headers, prompt, stream, history, schemas }) {
  const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0, timeout: 30_000 });
  const request = {
    model: "claude-mock",
    max_tokens: 512,
    messages: merged([...history, { role: "user", content: prompt }]),
    tools: Object.entries(schemas).map(([name, input_schema]) => ({ name, input_schema })),
  };
  const message = stream
    ? await client.messages.stream(request, { headers }).finalMessage()
    : await client.messages.create(request, { headers });

  const calls = message.content.filter((block) => block.type === "tool_use");
  const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: "fine" }));
  return {
    text: message.content.map((block) => (block.type === "text" ? block.text : "")).join(""),
    calls: calls.map((call) => [call.name, call.input]),
    finish: message.stop_reason,
    tokens: message.usage.output_tokens,
    message: { role: "assistant", content: message.content.map(sendable) },
    results: results.length ? [{ role: "user", content: results }] : [],
  };
}

/** What the library added for its own use stays here. */
function sendable(block) {
  return Object.fromEntries(FIELDS[block.type].map((field) => [field, block[field]]));
}

/** Roles alternate in this dialect: a prompt after tool results becomes part of their message. */
function merged(messages) {
  return messages.reduce((merged, message) => {
    const last = merged.at(-1);
    if (last?.role !== message.role) return [...merged, message];
    return [...merged.slice(0, -1), { role: last.role, content: [...parts(last), ...parts(message)] }];
  }, []);
}

function parts({ content }) {
  return typeof content === "string" ? [{ type: "text", text: content }] : content;
}
