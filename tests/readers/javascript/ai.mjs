// Vercel's `ai` with its providers for OpenAI (chat.completions, responses, compatible servers) and Anthropic.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, streamText, tool } from "ai";
import { answer } from "./transport.mjs";
import { Shown } from "./texts.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

const settings = { baseURL: "http://weir.test/v1", apiKey: "none", fetch: answer };
const openai = createOpenAI(settings);
const models = {
  chat: openai.chat("m"),
  responses: openai.responses("m"),
  compatible: createOpenAICompatible({ ...settings, name: "compatible" })("m"),
  messages: createAnthropic(settings)("m"),
};
const anything = () => tool({ inputSchema: jsonSchema({ type: "object", additionalProperties: true }) });

/** A tool by whatever name is asked for. */
const TOOLS = new Proxy(
  { run: anything() },
  {
    get: (tools, name) => (typeof name === "string" ? (tools[name] ??= anything()) : undefined),
    has: (_, name) => typeof name === "string",
  },
);

export const reader = (kind) => async (stream) => {
  const shown = new Shown();
  const reading = { calls: [], text: "", texts: {} };
  const request = {
    model: models[kind],
    prompt: "hi",
    tools: TOOLS,
    maxRetries: 0,
  };
  try {
    if (stream) {
      const result = streamText({ ...request, onError: () => {} });
      for await (const part of result.fullStream) {
        if (part.type === "text-delta") {
          reading.text += part.text;
          shown.add("text", part.text);
          shown.add(`text ${part.id}`, part.text);
        } else if (part.type === "reasoning-delta") {
          shown.add("reasoning", part.text);
          shown.add(`reasoning ${part.id}`, part.text);
        } else if (part.type === "tool-call") {
          called(part, reading);
        } else if (part.type === "error") {
          reading.error = String(part.error?.message ?? part.error);
        }
      }
    } else {
      const result = await generateText(request);
      reading.text = result.text;
      shown.add("text", result.text);
      shown.add("reasoning", result.reasoningText);
      for (const part of result.content) {
        if (part.type === "tool-call") called(part, reading);
        else shown.gather(part, part.type);
      }
    }
  } catch (error) {
    reading.error = String(error?.message ?? error);
  }
  reading.texts = shown.texts();
  return reading;
};

/** A call that the library found invalid is not carried out. */
function called(part, reading) {
  if (part.invalid) return;
  reading.calls.push([part.toolName, part.input, ...(part.providerExecuted ? ["provider"] : [])]);
}
