// `openai`: chunks as an application joins them, its own accumulation (`.stream()`), and whole answers.

import OpenAI from "openai";
import { answer } from "./transport.mjs";
import { Shown } from "./texts.mjs";

const client = () => new OpenAI({ baseURL: "http://weir.test/v1", apiKey: "none", maxRetries: 0, fetch: answer });

export const chat = {
  async raw(stream) {
    const shown = new Shown();
    const reading = { calls: [], text: "", texts: {} };
    const request = { model: "m", messages: [{ role: "user", content: "hi" }], stream };
    if (!stream) {
      const completion = await client().chat.completions.create(request);
      return whole(completion, shown);
    }
    const choices = new Map();
    try {
      for await (const chunk of await client().chat.completions.create(request)) {
        for (const choice of chunk.choices ?? []) join(choices, choice, shown);
      }
    } catch (error) {
      reading.error = String(error);
    }
    if (!reading.error) reading.calls = [...choices.values()].flatMap(({ calls }) => [...calls.values()]).map(named);
    reading.text = choices.get(0)?.text ?? "";
    reading.texts = shown.texts();
    return reading;
  },

  async helper(stream) {
    if (!stream) return undefined;
    const reading = { calls: [], text: "", texts: {} };
    const shown = new Shown();
    const runner = client().chat.completions.stream({ model: "m", messages: [{ role: "user", content: "hi" }] });
    runner.on("tool_calls.function.arguments.done", ({ name, arguments: text }) => reading.calls.push([name, text]));
    runner.on("content", (delta) => shown.add("content", delta));
    try {
      const completion = await runner.finalChatCompletion();
      const all = whole(completion, shown);
      reading.calls = [...reading.calls, ...all.calls];
      reading.text = all.text;
    } catch (error) {
      reading.error = String(error);
    }
    reading.texts = shown.texts();
    return reading;
  },
};

/** Adds a chunk's choice to what came, as applications do that follow the documentation. */
function join(choices, choice, shown) {
  const index = choice.index;
  if (!choices.has(index)) choices.set(index, { text: "", calls: new Map() });
  const known = choices.get(index);
  const delta = choice.delta ?? {};
  shown.gather(choice, `choice ${index}`);
  if (typeof delta.content === "string") known.text += delta.content;
  for (const call of delta.tool_calls ?? []) {
    const pieces = call.function ?? {};
    if (!known.calls.has(call.index)) known.calls.set(call.index, { name: "", text: "" });
    const open = known.calls.get(call.index);
    if (pieces.name) open.name += pieces.name;
    if (pieces.arguments) open.text += typeof pieces.arguments === "string" ? pieces.arguments : JSON.stringify(pieces.arguments);
    if (call.custom?.name) open.name += call.custom.name;
    if (call.custom?.input) open.text += call.custom.input;
  }
  if (delta.function_call) {
    if (!known.calls.has("function")) known.calls.set("function", { name: "", text: "" });
    const open = known.calls.get("function");
    open.name += delta.function_call.name ?? "";
    open.text += delta.function_call.arguments ?? "";
  }
}

const named = ({ name, text }) => [name, text];

function whole(completion, shown) {
  const calls = [];
  for (const { index, message } of completion.choices ?? []) {
    shown.gather(message, `message ${index}`);
    for (const call of message?.tool_calls ?? []) {
      const { name, arguments: text, input } = call.function ?? call.custom ?? {};
      calls.push([name ?? "", text ?? input ?? ""]);
    }
    if (message?.function_call) calls.push([message.function_call.name, message.function_call.arguments]);
  }
  const text = completion.choices?.[0]?.message?.content ?? "";
  return { calls, text, texts: shown.texts() };
}

export const responses = {
  async raw(stream) {
    const shown = new Shown();
    const reading = { calls: [], text: "", texts: {} };
    const request = { model: "m", input: "hi", stream };
    if (!stream) {
      const response = await client().responses.create(request);
      return ended(response, shown);
    }
    const calls = [];
    try {
      for await (const event of await client().responses.create(request)) {
        if (typeof event.delta === "string" && /text|refusal|transcript/.test(event.type)) {
          shown.add(event.type, event.delta);
          shown.add(`${event.type} ${event.output_index} ${event.content_index}`, event.delta);
          if (event.type === "response.output_text.delta") reading.text += event.delta;
        }
        if (typeof event.text === "string") shown.add(`${event.type} done`, event.text);
        if (event.part) shown.gather(event.part, `${event.type} part`);
        if (event.type === "response.output_item.done") calls.push(...called([event.item]));
        if (/^response\.(function_call_arguments|mcp_call_arguments)\.done$/.test(event.type)) {
          if (event.name) calls.push([event.name, event.arguments]);
        }
        if (event.item) shown.gather({ ...event.item }, `${event.type} item`);
        if (event.response?.output) {
          shown.gather(event.response.output, `${event.type} output`);
          if (/completed|incomplete|failed/.test(event.type)) calls.push(...called(event.response.output));
        }
      }
    } catch (error) {
      reading.error = String(error);
    }
    reading.calls = calls;
    reading.texts = shown.texts();
    return reading;
  },

  async helper(stream) {
    if (!stream) return undefined;
    const reading = { calls: [], text: "", texts: {} };
    const shown = new Shown();
    try {
      const runner = client().responses.stream({ model: "m", input: "hi" });
      runner.on("response.output_text.delta", (event) => shown.add("delta", event.delta));
      const all = ended(await runner.finalResponse(), shown);
      Object.assign(reading, all);
    } catch (error) {
      reading.error = String(error);
    }
    reading.texts = shown.texts();
    return reading;
  },
};

function ended(response, shown) {
  shown.gather(response.output, "output");
  shown.add("output_text", response.output_text);
  return { calls: called(response.output ?? []), text: response.output_text ?? "", texts: shown.texts() };
}

/** The calls among items, with what they are to do. */
function called(items) {
  const calls = [];
  for (const item of Array.isArray(items) ? items : []) {
    if (item?.type === "function_call" || item?.type === "mcp_call" || item?.type === "mcp_approval_request") {
      calls.push([item.name, item.arguments]);
    } else if (item?.type === "custom_tool_call") {
      calls.push([item.name, item.input]);
    } else if (item?.type === "local_shell_call") {
      calls.push(["local_shell", JSON.stringify(item.action ?? null), "part"]);
    } else if (item?.type === "code_interpreter_call") {
      calls.push(["code_interpreter", item.code ?? "", "part"]);
    } else if (item?.type === "shell_call") {
      for (const command of item.action?.commands ?? []) calls.push(["shell", command, "part"]);
    } else if (item?.type === "apply_patch_call") {
      if (item.operation?.diff) calls.push(["apply_patch", item.operation.diff, "part"]);
    }
  }
  return calls;
}
