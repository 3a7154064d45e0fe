"""The official client libraries behind one face, so that a test is written once for all dialects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import anthropic
import openai

from support.exchange import new_trace_id, trace_headers

WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}}
SHELL_SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}}
SCHEMAS = {"get_weather": WEATHER_SCHEMA, "run_shell": SHELL_SCHEMA}


@dataclass
class Turn:
    """What a client library made of an answer."""

    trace_id: str
    text: str
    calls: list[tuple[str, Any]]
    """Name and arguments of each call."""
    finish: str
    message: dict[str, Any]
    """The assistant's message, as an application sends it back in the next turn."""
    call_ids: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class Client(Protocol):
    """A conversation through one of the official libraries."""

    name: str
    finish_text: str
    """The finish reason of an answer without tool calls."""
    finish_calls: str
    """The finish reason of an answer with tool calls."""

    def send(self, prompt: str, *, stream: bool, history: Iterable[dict[str, Any]] = ()) -> Turn: ...

    def results(self, turn: Turn) -> list[dict[str, Any]]:
        """The messages that answer the calls of `turn`."""
        ...

    def history(self, prompt: str, turn: Turn) -> list[dict[str, Any]]:
        """The conversation so far."""
        return [{"role": "user", "content": prompt}, turn.message, *self.results(turn)]

    def close(self) -> None: ...


class OpenAI(Client):
    """`openai`, chat.completions."""

    name, finish_text, finish_calls = "openai", "stop", "tool_calls"

    def __init__(self, url: str) -> None:
        self.sdk = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)

    def send(self, prompt: str, *, stream: bool, history: Iterable[dict[str, Any]] = ()) -> Turn:
        trace_id = new_trace_id()
        messages = [*history, *([{"role": "user", "content": prompt}] if prompt else [])]
        tools = [
            {"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in SCHEMAS.items()
        ]
        options: dict[str, Any] = {"model": "gpt-mock", "messages": messages, "tools": tools}
        options["extra_headers"] = trace_headers(trace_id)
        if stream:
            options["stream_options"] = {"include_usage": True}
        completion = self.streamed(options) if stream else self.whole(options)
        assert completion.usage is not None and completion.usage.total_tokens > 0
        choice = completion.choices[0]
        calls = choice.message.tool_calls or []
        message = choice.message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})
        for call in message.get("tool_calls", []):
            # The streaming helper adds what it parsed; applications send back what the API defines.
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        return Turn(
            trace_id,
            choice.message.content or "",
            [(call.function.name, json.loads(call.function.arguments)) for call in calls],
            choice.finish_reason,
            message,
            [call.id for call in calls],
        )

    def streamed(self, options: dict[str, Any]) -> Any:
        with self.sdk.chat.completions.stream(**options) as events:
            return events.until_done().get_final_completion()

    def whole(self, options: dict[str, Any]) -> Any:
        return self.sdk.chat.completions.create(**options)

    def results(self, turn: Turn) -> list[dict[str, Any]]:
        return [{"role": "tool", "tool_call_id": call_id, "content": "fine"} for call_id in turn.call_ids]

    def close(self) -> None:
        self.sdk.close()


class AsyncOpenAI(OpenAI):
    """`openai`, chat.completions, in an event loop."""

    name = "openai-async"

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.sdk = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)

    def streamed(self, options: dict[str, Any]) -> Any:
        async def final() -> Any:
            async with self.sdk.chat.completions.stream(**options) as events:
                return await (await events.until_done()).get_final_completion()

        return self.loop.run_until_complete(final())

    def whole(self, options: dict[str, Any]) -> Any:
        return self.loop.run_until_complete(self.sdk.chat.completions.create(**options))

    def close(self) -> None:
        self.loop.run_until_complete(self.sdk.close())
        self.loop.close()


class OpenAIResponses(Client):
    """`openai`, responses."""

    name, finish_text, finish_calls = "openai-responses", "completed", "completed"

    def __init__(self, url: str) -> None:
        self.sdk = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)

    def send(self, prompt: str, *, stream: bool, history: Iterable[dict[str, Any]] = ()) -> Turn:
        trace_id = new_trace_id()
        options = responses_request(prompt, history)
        options["extra_headers"] = trace_headers(trace_id)
        if stream:
            with self.sdk.responses.stream(**options) as events:
                for _ in events:
                    pass
                response = events.get_final_response()
        else:
            response = self.sdk.responses.create(**options)
        return responses_turn(trace_id, response)

    def results(self, turn: Turn) -> list[dict[str, Any]]:
        return [{"type": "function_call_output", "call_id": call_id, "output": "fine"} for call_id in turn.call_ids]

    def history(self, prompt: str, turn: Turn) -> list[dict[str, Any]]:
        return [{"role": "user", "content": prompt}, *turn.message["items"], *self.results(turn)]

    def close(self) -> None:
        self.sdk.close()


class AsyncOpenAIResponses(OpenAIResponses):
    """`openai`, responses, asynchronously."""

    name = "openai-responses-async"

    def __init__(self, url: str) -> None:
        self.url = url

    def send(self, prompt: str, *, stream: bool, history: Iterable[dict[str, Any]] = ()) -> Turn:
        return asyncio.run(self._send(prompt, stream, history))

    async def _send(self, prompt: str, stream: bool, history: Iterable[dict[str, Any]]) -> Turn:
        trace_id = new_trace_id()
        options = responses_request(prompt, history)
        options["extra_headers"] = trace_headers(trace_id)
        base = f"{self.url}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0, timeout=30) as sdk:
            if not stream:
                return responses_turn(trace_id, await sdk.responses.create(**options))
            async with sdk.responses.stream(**options) as events:
                return responses_turn(trace_id, await events.get_final_response())

    def close(self) -> None:
        pass


def responses_request(prompt: str, history: Iterable[dict[str, Any]]) -> dict[str, Any]:
    tools = [
        {"type": "function", "name": name, "parameters": schema, "strict": False} for name, schema in SCHEMAS.items()
    ]
    turns = [*history, *([{"role": "user", "content": prompt}] if prompt else [])]
    return {"model": "gpt-mock", "input": turns, "tools": tools}


def responses_turn(trace_id: str, response: Any) -> Turn:
    assert response.usage is not None and response.usage.total_tokens > 0
    calls = [item for item in response.output if item.type == "function_call"]
    items = [item.model_dump(exclude_none=True) for item in response.output]
    for item in items:
        # The streaming helper adds what it parsed; applications send back what the API defines.
        item.pop("parsed_arguments", None)
        for part in item.get("content", []):
            part.pop("parsed", None)
    return Turn(
        trace_id,
        response.output_text,
        [(call.name, json.loads(call.arguments)) for call in calls],
        response.status,
        {"items": items},
        [call.call_id for call in calls],
    )


class Anthropic(Client):
    """`anthropic`, messages."""

    name, finish_text, finish_calls = "anthropic", "end_turn", "tool_use"

    def __init__(self, url: str) -> None:
        self.sdk = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=30)

    def send(self, prompt: str, *, stream: bool, history: Iterable[dict[str, Any]] = ()) -> Turn:
        trace_id = new_trace_id()
        options: dict[str, Any] = {
            "model": "claude-mock",
            "max_tokens": 512,
            "messages": _merged([*history, *([{"role": "user", "content": prompt}] if prompt else [])]),
            "tools": [{"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()],
            "extra_headers": trace_headers(trace_id),
        }
        message = self.streamed(options) if stream else self.whole(options)
        assert message.usage.output_tokens > 0
        calls = [block for block in message.content if block.type == "tool_use"]
        content = [_sendable(block.model_dump(exclude_none=True)) for block in message.content]
        return Turn(
            trace_id,
            "".join(block.text for block in message.content if block.type == "text"),
            [(call.name, call.input) for call in calls],
            str(message.stop_reason),
            {"role": "assistant", "content": content},
            [call.id for call in calls],
        )

    def streamed(self, options: dict[str, Any]) -> Any:
        with self.sdk.messages.stream(**options) as events:
            return events.get_final_message()

    def whole(self, options: dict[str, Any]) -> Any:
        return self.sdk.messages.create(**options)

    def results(self, turn: Turn) -> list[dict[str, Any]]:
        results = [{"type": "tool_result", "tool_use_id": call_id, "content": "fine"} for call_id in turn.call_ids]
        return [{"role": "user", "content": results}] if results else []

    def close(self) -> None:
        self.sdk.close()


class AsyncAnthropic(Anthropic):
    """`anthropic`, messages, in an event loop."""

    name = "anthropic-async"

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.sdk = anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, timeout=30)

    def streamed(self, options: dict[str, Any]) -> Any:
        async def final() -> Any:
            async with self.sdk.messages.stream(**options) as events:
                return await events.get_final_message()

        return self.loop.run_until_complete(final())

    def whole(self, options: dict[str, Any]) -> Any:
        return self.loop.run_until_complete(self.sdk.messages.create(**options))

    def close(self) -> None:
        self.loop.run_until_complete(self.sdk.close())
        self.loop.close()


def _sendable(block: dict[str, Any]) -> dict[str, Any]:
    fields = {"text": ("type", "text"), "tool_use": ("type", "id", "name", "input")}[block["type"]]
    return {name: block[name] for name in fields}


def _merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Roles alternate in this dialect: a prompt after tool results becomes part of their message."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            merged[-1] = {"role": message["role"], "content": [*_parts(merged[-1]), *_parts(message)]}
        else:
            merged.append(message)
    return merged


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


CLIENTS = (OpenAI, AsyncOpenAI, OpenAIResponses, AsyncOpenAIResponses, Anthropic, AsyncAnthropic)
