// Vercel's `ai` with its providers for both dialects.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, streamText, tool } from "ai";

export const openai = {
  send: (request) =>
    send(createOpenAI({ baseURL: `${request.url}/v1`, apiKey: "none" }).chat("gpt-mock"), request),
};

export const anthropic = {
  send: (request) =>
    send(createAnthropic({ baseURL: `${request.url}/v1`, apiKey: "none" })("claude-mock"), request),
};

async function send(model, { headers, prompt, stream, history, schemas }) {
  const tools = Object.entries(schemas).map(([name, schema]) => [name, tool({ inputSchema: jsonSchema(schema) })]);
  const request = {
    model,
    headers,
    messages: [...history, { role: "user", content: prompt }],
    tools: Object.fromEntries(tools),
    maxOutputTokens: 512,
    maxRetries: 0,
  };
  const { text, toolCalls, finishReason, totalUsage, response } = stream
    ? await streamed(request)
    : await generateText(request);

  const invalid = toolCalls.find((call) => call.invalid);
  if (invalid) throw invalid.error;
  const [message, ...others] = response.messages;
  if (others.length) throw new Error(`one message was expected, not ${JSON.stringify(response.messages)}`);
  const results = toolCalls.map(({ toolCallId, toolName }) => ({
    type: "tool-result",
    toolCallId,
    toolName,
    output: { type: "text", value: "fine" },
  }));
  return {
    text,
    calls: toolCalls.map((call) => [call.toolName, call.input]),
    finish: finishReason,
    tokens: totalUsage.totalTokens,
    message,
    results: results.length ? [{ role: "tool", content: results }] : [],
  };
}

/** The result of a stream, once all of it came. */
async function streamed(request) {
  let failure;
  const result = streamText({ ...request, onError: ({ error }) => (failure = error) });
  await result.consumeStream();
  if (failure) throw failure;
  const fields = ["text", "toolCalls", "finishReason", "totalUsage", "response"];
  const values = await Promise.all(fields.map((field) => result[field]));
  return Object.fromEntries(fields.map((field, index) => [field, values[index]]));
}
