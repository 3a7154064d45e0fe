// `openai`, chat.completions.

import OpenAI from "openai";

export async function send({ url, headers, prompt, stream, history, schemas }) {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: 30_000 });
  const request = {
    model: "gpt-mock",
    messages: [...history, { role: "user", content: prompt }],
    tools: Object.entries(schemas).map(([name, parameters]) => ({ type: "function", function: { name, parameters } })),
  };
  const completion = stream
    ? await client.chat.completions
        .stream({ ...request, stream_options: { include_usage: true } }, { headers })
        .finalChatCompletion()
    : await client.chat.completions.create(request, { headers });

  const [{ message, finish_reason }] = completion.choices;
  const calls = message.tool_calls ?? [];
  return {
    text: message.content ?? "",
    calls: calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    finish: finish_reason,
    tokens: completion.usage.total_tokens,
    message: { role: "assistant", content: message.content, ...(calls.length && { tool_calls: calls.map(sendable) }) },
    results: calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "fine" })),
  };
}

/** The streaming helper adds what it parsed; applications send back what the API defines. */
function sendable({ id, type, function: { name, arguments: text } }) {
  return { id, type, function: { name, arguments: text } };
}
