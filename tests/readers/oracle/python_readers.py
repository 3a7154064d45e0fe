"""Reads responses through client libraries for Python: openai, anthropic, langchain, litellm. No socket is opened."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any
from zlib import crc32

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ.setdefault("OPENAI_API_KEY", "none")

import anthropic
import httpx
import httpx2
import litellm
import openai
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from litellm.llms.custom_httpx.http_handler import HTTPHandler

from oracle.reading import Reading, Response
from oracle.shown import Shown

Read = Callable[[bool], "Reading | None"]

warnings.filterwarnings("ignore")
sys.unraisablehook = lambda _: None
logging.disable(logging.CRITICAL)
litellm.suppress_debug_info = True
litellm.turn_off_message_logging = True
litellm.disable_streaming_logging = True

_GIVEN = Response(200, [], b"")
_LEFT_OUT = {"content-length", "content-encoding", "transfer-encoding"}


def _head() -> list[tuple[str, str]]:
    return [(name, value) for name, value in _GIVEN.headers if name.lower() not in _LEFT_OUT]


_new = httpx2.Client(
    transport=httpx2.MockTransport(lambda _: httpx2.Response(_GIVEN.status, headers=_head(), content=_GIVEN.body))
)
_old = httpx.Client(
    transport=httpx.MockTransport(lambda _: httpx.Response(_GIVEN.status, headers=_head(), content=_GIVEN.body))
)
_URL = "http://weir.test/v1"
_openai = openai.OpenAI(api_key="none", base_url=_URL, max_retries=0, http_client=_new)
_anthropic = anthropic.Anthropic(api_key="none", base_url="http://weir.test", max_retries=0, http_client=_new)
_litellm = HTTPHandler(client=_old)
_lc_chat = ChatOpenAI(
    model="m", api_key="none", base_url=_URL, max_retries=0, http_client=_new, use_responses_api=False
)
_lc_responses = ChatOpenAI(
    model="m", api_key="none", base_url=_URL, max_retries=0, http_client=_new, use_responses_api=True
)
_lc_messages = ChatAnthropic(model="m", api_key="none", max_retries=0)
_lc_messages.__dict__["_client"] = _anthropic
_HI: list[Any] = [{"role": "user", "content": "hi"}]


def _plain(value: Any) -> Any:
    """An object of a library as plain data."""
    if hasattr(value, "model_dump"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return value.model_dump()
    return value


def _join_chunk(chunk: dict[str, Any], choices: dict[Any, dict[str, Any]], shown: Shown) -> None:
    """Adds a chunk to what came, as applications do that follow the documentation."""
    for choice in chunk.get("choices") or []:
        index = choice.get("index")
        known = choices.setdefault(index, {"text": "", "calls": {}})
        shown.gather(choice, f"choice {index}")
        delta = choice.get("delta") or {}
        if isinstance(delta.get("content"), str):
            known["text"] += delta["content"]
        for call in delta.get("tool_calls") or []:
            open_call = known["calls"].setdefault(call.get("index"), ["", ""])
            for pieces, key in ((call.get("function") or {}, "arguments"), (call.get("custom") or {}, "input")):
                open_call[0] += pieces.get("name") or ""
                if isinstance(pieces.get(key), str):
                    open_call[1] += pieces[key]
        if legacy := delta.get("function_call"):
            open_call = known["calls"].setdefault("function", ["", ""])
            open_call[0] += legacy.get("name") or ""
            open_call[1] += legacy.get("arguments") or ""


def _message(completion: dict[str, Any]) -> Reading:
    """What a whole chat completion says."""
    shown, calls = Shown(), []
    for choice in completion.get("choices") or []:
        message = choice.get("message") or {}
        shown.gather(message, f"message {choice.get('index')}")
        for call in message.get("tool_calls") or []:
            pieces = call.get("function") or call.get("custom") or {}
            calls.append([pieces.get("name"), pieces.get("arguments", pieces.get("input"))])
        if legacy := message.get("function_call"):
            calls.append([legacy.get("name"), legacy.get("arguments")])
    first = (completion.get("choices") or [{}])[0].get("message") or {}
    return Reading(calls, first.get("content") or "", shown.texts())


def _openai_chat(stream: bool) -> Reading:
    create = _openai.chat.completions.create
    if not stream:
        return _message(_plain(create(model="m", messages=_HI)))
    reading, shown, choices = Reading(), Shown(), {}
    try:
        for chunk in create(model="m", messages=_HI, stream=True):
            _join_chunk(_plain(chunk), choices, shown)
        reading.calls = [call for choice in choices.values() for call in choice["calls"].values()]
    except Exception as error:
        reading.error = repr(error)
    reading.text = choices.get(0, {}).get("text", "")
    reading.texts = shown.texts()
    return reading


def _openai_chat_helper(stream: bool) -> Reading | None:
    if not stream:
        return None
    shown, calls = Shown(), []
    try:
        with _openai.chat.completions.stream(model="m", messages=_HI) as events:
            for event in events:
                if event.type == "tool_calls.function.arguments.done":
                    calls.append([event.name, event.arguments])
                elif event.type in ("content.delta", "refusal.delta"):
                    shown.add(event.type, event.delta)
            whole = _message(_plain(events.get_final_completion()))
        return Reading(calls + whole.calls, whole.text, shown.texts() | whole.texts)
    except Exception as error:
        return Reading(calls, "", shown.texts(), repr(error))


def _langchain(model: Any) -> Read:
    def read(stream: bool) -> Reading:
        shown, message = Shown(), None
        try:
            if stream:
                for piece in model.stream("hi"):
                    shown.add("text", _text(piece))
                    shown.gather(piece.additional_kwargs, "additional")
                    shown.gather(piece.content, "content", shown=True)
                    message = piece if message is None else message + piece
            else:
                message = model.invoke("hi")
        except Exception as error:
            return Reading([], "", shown.texts(), repr(error))
        if message is None:
            return Reading()
        shown.gather(message.content, "all", shown=True)
        shown.gather(message.additional_kwargs, "all additional")
        shown.add("joined", _text(message))
        calls = [[call["name"], call["args"]] for call in message.tool_calls]
        return Reading(calls, _text(message), shown.texts())

    return read


def _text(message: Any) -> str:
    text = message.text
    return text() if callable(text) and not isinstance(text, str) else str(text)


def _litellm_chat(model: str, client: Any) -> Read:
    def read(stream: bool) -> Reading:
        arguments = {"model": model, "messages": _HI, "api_base": _URL, "api_key": "none", "client": client}
        arguments |= {"max_retries": 0, "num_retries": 0}
        if not stream:
            return _message(_plain(litellm.completion(**arguments)))
        shown, choices, chunks, reading = Shown(), {}, [], Reading()
        try:
            for chunk in litellm.completion(stream=True, **arguments):
                chunks.append(chunk)
                _join_chunk(_plain(chunk), choices, shown)
            reading.calls = [call for choice in choices.values() for call in choice["calls"].values()]
            if client is _litellm and chunks and (built := litellm.stream_chunk_builder(chunks)) is not None:
                whole = _message(_plain(built))
                reading.calls += whole.calls
                reading.texts = whole.texts
        except Exception as error:
            reading.error = repr(error)
        reading.text = choices.get(0, {}).get("text", "")
        reading.texts |= shown.texts()
        return reading

    return read


def _by(block: dict[str, Any]) -> list[str]:
    """Who carries a call out, where it is not the application."""
    return [] if block.get("type") == "tool_use" else ["provider"]


def _block(block: dict[str, Any], reading: Reading, shown: Shown) -> None:
    if block.get("name"):
        reading.calls.append([block["name"], block.get("input"), *_by(block)])
    shown.gather(block, str(block.get("type")))
    if block.get("type") == "text":
        reading.text += block.get("text") or ""
        shown.add("text blocks", block.get("text"))


def _anthropic_raw(stream: bool) -> Reading | None:
    if not stream:
        return None
    reading, shown, blocks = Reading(), Shown(), {}
    try:
        for each in _anthropic.messages.create(model="m", max_tokens=9, messages=_HI, stream=True):
            _anthropic_event(_plain(each), blocks, reading, shown)
    except Exception as error:
        reading.error = repr(error)
    reading.texts = shown.texts()
    return reading


def _anthropic_event(event: Any, blocks: dict[Any, Any], reading: Reading, shown: Shown) -> None:
    if not isinstance(event, dict):
        return
    kind, index = event.get("type"), event.get("index")
    if kind == "message_start":
        for block in (event.get("message") or {}).get("content") or []:
            _block(block, reading, shown)
    elif kind == "content_block_start":
        block = event.get("content_block") or {}
        blocks[index] = {**block, "json": ""}
        shown.gather(block, "start")
        shown.add("text", block.get("text"))
        shown.add(f"text {index}", block.get("text"))
        if block.get("type") == "text":
            reading.text += block.get("text") or ""
    elif kind == "content_block_delta":
        delta = event.get("delta") or {}
        if isinstance(delta.get("partial_json"), str) and index in blocks:
            blocks[index]["json"] += delta["partial_json"]
        if delta.get("type") == "text_delta":
            reading.text += delta.get("text") or ""
        for text in ("text", "thinking"):
            shown.add(text, delta.get(text))
            shown.add(f"{text} {index}", delta.get(text))
        if delta.get("type") == "citations_delta":
            shown.gather(delta.get("citation"), "citation")
    elif kind == "content_block_stop":
        block = blocks.get(index) or {}
        if block.get("name"):
            reading.calls.append([block["name"], block["json"] or block.get("input"), *_by(block)])
    elif kind == "message_delta":
        shown.gather(event.get("delta"), "end")


def _anthropic_helper(stream: bool) -> Reading:
    reading, shown = Reading(), Shown()
    try:
        if not stream:
            whole = _plain(_anthropic.messages.create(model="m", max_tokens=9, messages=_HI))
        else:
            with _anthropic.messages.stream(model="m", max_tokens=9, messages=_HI) as events:
                for event in events:
                    if event.type in ("text", "thinking"):
                        shown.add(event.type, getattr(event, event.type))
                    elif event.type == "content_block_stop":
                        block = _plain(event.content_block)
                        if block.get("name"):
                            reading.calls.append([block["name"], block.get("input"), *_by(block)])
                whole = _plain(events.get_final_message())
        for block in whole.get("content") or []:
            _block(block, reading, shown)
        shown.gather(whole.get("stop_details"), "stop")
    except Exception as error:
        reading.error = repr(error)
    reading.texts = shown.texts()
    return reading


def _called(items: Any) -> list[list[Any]]:
    """The calls among items, with what they are to do."""
    calls: list[list[Any]] = []
    for item in items if isinstance(items, list) else []:
        item = _plain(item)
        kind = item.get("type") if isinstance(item, dict) else None
        if kind in ("function_call", "mcp_call", "mcp_approval_request"):
            calls.append([item.get("name"), item.get("arguments")])
        elif kind == "custom_tool_call":
            calls.append([item.get("name"), item.get("input")])
        elif kind == "code_interpreter_call":
            calls.append(["code_interpreter", item.get("code") or "", "part"])
        elif kind == "shell_call":
            commands = (item.get("action") or {}).get("commands") or []
            calls.extend(["shell", command, "part"] for command in commands)
        elif kind == "apply_patch_call" and (item.get("operation") or {}).get("diff"):
            calls.append(["apply_patch", item["operation"]["diff"], "part"])
    return calls


def _openai_responses(stream: bool) -> Reading:
    shown = Shown()
    if not stream:
        response = _openai.responses.create(model="m", input="hi")
        shown.gather(_plain(response).get("output"), "output")
        return Reading(_called(response.output), response.output_text, shown.texts())
    reading = Reading()
    try:
        for each in _openai.responses.create(model="m", input="hi", stream=True):
            _responses_event(_plain(each), reading, shown)
    except Exception as error:
        reading.error = repr(error)
    reading.texts = shown.texts()
    return reading


def _responses_event(event: Any, reading: Reading, shown: Shown) -> None:
    if not isinstance(event, dict):
        return
    kind = event.get("type") or ""
    delta = event.get("delta")
    if isinstance(delta, str) and any(word in kind for word in ("text", "refusal", "transcript")):
        shown.add(kind, delta)
        shown.add(f"{kind} {event.get('output_index')} {event.get('content_index')}", delta)
        if kind == "response.output_text.delta":
            reading.text += delta
    shown.add(f"{kind} done", event.get("text"))
    shown.gather(event.get("part"), f"{kind} part")
    item = event.get("item")
    if item is not None:
        shown.gather(item, f"{kind} item")
        if kind == "response.output_item.done":
            reading.calls += _called([item])
    if kind in ("response.function_call_arguments.done", "response.mcp_call_arguments.done") and event.get("name"):
        reading.calls.append([event["name"], event.get("arguments")])
    output = (event.get("response") or {}).get("output") if isinstance(event.get("response"), dict) else None
    if output:
        shown.gather(output, f"{kind} output")
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            reading.calls += _called(output)


def _openai_responses_helper(stream: bool) -> Reading | None:
    if not stream:
        return None
    shown = Shown()
    try:
        with _openai.responses.stream(model="m", input="hi") as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    shown.add("text", event.delta)
            response = events.get_final_response()
        shown.gather(_plain(response).get("output"), "output")
        return Reading(_called(response.output), response.output_text, shown.texts())
    except Exception as error:
        return Reading([], "", shown.texts(), repr(error))


def _litellm_responses(stream: bool) -> Reading:
    arguments: dict[str, Any] = {"model": "openai/gpt-4o", "input": "hi", "api_base": _URL, "api_key": "none"}
    arguments["client"] = _litellm
    reading, shown = Reading(), Shown()
    try:
        if stream:
            for each in litellm.responses(stream=True, **arguments):
                event = _plain(each)
                if isinstance(event, dict) and hasattr(event.get("type"), "value"):
                    event["type"] = event["type"].value
                _responses_event(event, reading, shown)
        else:
            whole = _plain(litellm.responses(**arguments))
            shown.gather(whole.get("output"), "output")
            reading.calls = _called(whole.get("output"))
    except Exception as error:
        reading.error = repr(error)
    reading.texts = shown.texts()
    return reading


READERS: dict[str, dict[str, Read]] = {
    "chat.completions": {
        "openai-py": _openai_chat,
        "openai-py-stream": _openai_chat_helper,
        "langchain-openai": _langchain(_lc_chat),
        "litellm-openai": _litellm_chat("openai/gpt-4o", _openai),
        "litellm-compatible": _litellm_chat("hosted_vllm/m", _litellm),
    },
    "messages": {
        "anthropic-py": _anthropic_raw,
        "anthropic-py-stream": _anthropic_helper,
        "langchain-anthropic": _langchain(_lc_messages),
        "litellm-anthropic": _litellm_chat("anthropic/claude-sonnet-4-20250514", _litellm),
    },
    "responses": {
        "openai-py": _openai_responses,
        "openai-py-stream": _openai_responses_helper,
        "langchain-openai": _langchain(_lc_responses),
        "litellm-responses": _litellm_responses,
    },
    "mcp_tool": {},
}


def read(dialect: str, stream: bool, response: Response) -> dict[str, Reading]:
    """What each library makes of the response."""
    global _GIVEN
    _GIVEN = response
    readings = {}
    for name, reader in READERS[dialect].items():
        # The slowest by far, and between two others: openai's SDK reads for it, the wrapper is that of the next.
        if name == "litellm-openai" and crc32(response.body) % 3:
            continue
        try:
            reading = reader(stream)
        except Exception as error:
            reading = Reading(error=repr(error))
        if reading is not None:
            readings[name] = reading
    return readings
