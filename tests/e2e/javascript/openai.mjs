// `openai`, chat.completions and responses.

import OpenAI from "openai";

export const chat = { send: sendChat };
export const responses = { send: sendResponses };

async function sendChat({ url, headers, prompt, stream, history, schemas }) {
  const client = connect(url);
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
    messages: [
      { role: "assistant", content: message.content, ...(calls.length && { tool_calls: calls.map(sendable) }) },
    ],
    results: calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "fine" })),
  };
}

async function sendResponses({ url, headers, prompt, stream, history, schemas }) {
  const client = connect(url);
  const request = {
    model: "gpt-mock",
    input: [...history, { role: "user", content: prompt }],
    tools: Object.entries(schemas).map(([name, parameters]) => ({ type: "function", name, parameters, strict: false })),
  };
  const response = stream
    ? await client.responses.stream(request, { headers }).finalResponse()
    : await client.responses.create(request, { headers });

  const calls = response.output.filter((item) => item.type === "function_call");
  return {
    text: response.output_text,
    calls: calls.map((call) => [call.name, JSON.parse(call.arguments)]),
    finish: response.status,
    tokens: response.usage.total_tokens,
    messages: response.output.map(({ parsed_arguments, ...item }) => item),
    results: calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "fine" })),
  };
}

function connect(url) {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, timeout: 30_000 });
}

/** The streaming helper adds what it parsed; applications send back what the API defines. */
function sendable({ id, type, function: { name, arguments: text } }) {
  return { id, type, function: { name, arguments: text } };
}
