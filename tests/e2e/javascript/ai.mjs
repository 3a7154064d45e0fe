// Vercel's `ai` with its providers for OpenAI (chat.completions, responses) and Anthropic (messages).

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, streamText, tool } from "ai";

/** Else the next turn refers to what the provider has stored: what the model said, not what a policy made of it. */
const UNSTORED = { openai: { store: false } };

const settings = (url) => ({ baseURL: `${url}/v1`, apiKey: "none" });

export const chat = { send: (request) => send(createOpenAI(settings(request.url)).chat("gpt-mock"), request) };
export const responses = {
  send: (request) => send(createOpenAI(settings(request.url)).responses("gpt-mock"), request, UNSTORED),
};
export const messages = { send: (request) => send(createAnthropic(settings(request.url))("claude-mock"), request) };

async function send(model, { headers, prompt, stream, history, schemas }, providerOptions = {}) {
  const tools = Object.entries(schemas).map(([name, schema]) => [name, tool({ inputSchema: jsonSchema(schema) })]);
  const request = {
    model,
    headers,
    messages: [...history, { role: "user", content: prompt }],
    tools: Object.fromEntries(tools),
    maxOutputTokens: 512,
    maxRetries: 0,
    providerOptions,
  };
  const { text, toolCalls, finishReason, totalUsage, response } = stream
    ? await streamed(request)
    : await generateText(request);

  const invalid = toolCalls.find((call) => call.invalid);
  if (invalid) throw invalid.error;
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
    messages: response.messages,
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
