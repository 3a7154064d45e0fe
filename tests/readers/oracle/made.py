"""Small exchanges of every dialect, streamed and whole: a text, calls with split arguments, allowed and denied ones."""

from __future__ import annotations

import json
from typing import Any

from oracle.exchange import Exchange
from oracle.reading import Response

_CALLS = [
    ("run", ['{"cmd":"', "echo ", "hello", '"}']),
    ("run", ['{"cmd":"', "rm -rf ", "/", '"}']),
    ("get_weather", ['{"city":"', "Paris", '"}']),
    ("deny_me", ['{"a":', "1}"]),
]
_TEXT = ["say ", "night", "ingale", " now"]


def _stream(dialect: str, name: str, events: list[Any], named: bool) -> Exchange:
    lines = []
    for event in events:
        if named:
            lines.append(f"event: {event['type']}\n")
        lines.append(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
    response = Response(200, [("content-type", "text/event-stream")], "".join(lines).encode())
    return Exchange(f"made/{name}.sse", dialect, True, response)


def _whole(dialect: str, name: str, body: Any) -> Exchange:
    response = Response(200, [("content-type", "application/json")], json.dumps(body).encode())
    return Exchange(f"made/{name}.json", dialect, False, response)


# ---- chat.completions


def _chunk(delta: Any, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def _chat_call(index: int, name: str, pieces: list[str]) -> list[Any]:
    function = {"name": name, "arguments": pieces[0]}
    first = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
    rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces[1:]]
    return [_chunk({"tool_calls": [each]}) for each in [first, *rest]]


def _chat() -> list[Exchange]:
    found = []
    opening = _chunk({"role": "assistant", "content": ""})
    text = [_chunk({"content": piece}) for piece in _TEXT]
    for number, (name, pieces) in enumerate(_CALLS):
        events = [opening, *text, *_chat_call(0, name, pieces), _chunk({}, "tool_calls"), "[DONE]"]
        found.append(_stream("chat.completions", f"chat_call_{number}", events, False))
    two = _chat_call(0, *_CALLS[0]) + _chat_call(1, "search", ['{"q":"', "cats", '"}'])
    found.append(_stream("chat.completions", "chat_two", [opening, *two, _chunk({}, "tool_calls"), "[DONE]"], False))
    thought = [_chunk({"reasoning_content": piece}) for piece in _TEXT]
    found.append(
        _stream("chat.completions", "chat_thought", [opening, *thought, *text, _chunk({}, "stop"), "[DONE]"], False)
    )
    legacy = [_chunk({"function_call": {"name": "run", "arguments": '{"cmd":"'}})]
    legacy += [_chunk({"function_call": {"arguments": piece}}) for piece in ("ls", '"}')]
    found.append(
        _stream("chat.completions", "chat_legacy", [opening, *legacy, _chunk({}, "function_call"), "[DONE]"], False)
    )
    whole_call = _chat_call(0, "run", ['{"cmd":"echo hello"}'])
    found.append(
        _stream("chat.completions", "chat_at_once", [opening, *whole_call, _chunk({}, "tool_calls"), "[DONE]"], False)
    )
    for number, (name, pieces) in enumerate(_CALLS[:2]):
        call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": "".join(pieces)}}
        message = {"role": "assistant", "content": "".join(_TEXT), "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        found.append(_whole("chat.completions", f"chat_{number}", body))
    return found


# ---- messages


def _message(content: Any, stop: str | None) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg", "type": "message", "role": "assistant", "model": "m", "content": content}
    return {**message, "stop_reason": stop, "stop_sequence": None, "usage": usage}


def _block(index: int, block: Any, deltas: list[Any]) -> list[Any]:
    found: list[Any] = [{"type": "content_block_start", "index": index, "content_block": block}]
    found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [*found, {"type": "content_block_stop", "index": index}]


def _text_block(index: int) -> list[Any]:
    return _block(index, {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in _TEXT])


def _call_block(index: int, name: str, pieces: list[str]) -> list[Any]:
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    return _block(index, block, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces])


def _ended(stop: str) -> list[Any]:
    delta = {"stop_reason": stop, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}}, {"type": "message_stop"}]


def _messages() -> list[Exchange]:
    found = []
    start = {"type": "message_start", "message": _message([], None)}
    for number, (name, pieces) in enumerate(_CALLS):
        events = [start, *_text_block(0), {"type": "ping"}, *_call_block(1, name, pieces), *_ended("tool_use")]
        found.append(_stream("messages", f"messages_call_{number}", events, True))
    two = [*_call_block(0, *_CALLS[0]), *_call_block(1, "search", ['{"q":"', "cats", '"}'])]
    found.append(_stream("messages", "messages_two", [start, *two, *_ended("tool_use")], True))
    thinking = [{"type": "thinking_delta", "thinking": piece} for piece in ["let ", "me ", "see"]]
    thinking.append({"type": "signature_delta", "signature": "c2ln"})
    thought = _block(0, {"type": "thinking", "thinking": "", "signature": ""}, thinking)
    texts = [*thought, *_text_block(1), *_text_block(2)]
    found.append(_stream("messages", "messages_thought", [start, *texts, *_ended("end_turn")], True))
    for number, (name, pieces) in enumerate(_CALLS[:2]):
        call = {"type": "tool_use", "id": "toolu_1", "name": name, "input": json.loads("".join(pieces))}
        content = [{"type": "text", "text": "".join(_TEXT)}, call]
        found.append(_whole("messages", f"messages_{number}", _message(content, "tool_use")))
    return found


# ---- responses


class _Numbered:
    """Events with sequence numbers."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def say(self, kind: str, **fields: Any) -> None:
        """Adds an event."""
        self.events.append({"type": f"response.{kind}", **fields, "sequence_number": len(self.events)})


def _response(output: list[Any], status: str) -> dict[str, Any]:
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, **details}
    response = {"id": "r", "object": "response", "created_at": 1, "status": status, "error": None}
    response |= {"incomplete_details": None, "instructions": None, "metadata": {}, "model": "m", "output": output}
    response |= {"parallel_tool_calls": True, "temperature": 1, "tool_choice": "auto", "tools": [], "top_p": 1}
    return {**response, "usage": usage}


def _text_item(said: _Numbered, index: int) -> Any:
    place = {"item_id": f"m{index}", "output_index": index, "content_index": 0}
    item = {"type": "message", "id": f"m{index}", "role": "assistant", "status": "in_progress", "content": []}
    said.say("output_item.added", output_index=index, item=item)
    said.say("content_part.added", **place, part={"type": "output_text", "text": "", "annotations": []})
    for piece in _TEXT:
        said.say("output_text.delta", **place, delta=piece, logprobs=[])
    text = "".join(_TEXT)
    part = {"type": "output_text", "text": text, "annotations": []}
    said.say("output_text.done", **place, text=text, logprobs=[])
    said.say("content_part.done", **place, part=part)
    item = {**item, "status": "completed", "content": [part]}
    said.say("output_item.done", output_index=index, item=item)
    return item


def _call_item(said: _Numbered, index: int, name: str, pieces: list[str]) -> Any:
    item = {"type": "function_call", "id": f"f{index}", "call_id": f"call_{index}", "name": name, "arguments": ""}
    said.say("output_item.added", output_index=index, item={**item, "status": "in_progress"})
    place = {"item_id": f"f{index}", "output_index": index}
    for piece in pieces:
        said.say("function_call_arguments.delta", **place, delta=piece)
    arguments = "".join(pieces)
    said.say("function_call_arguments.done", **place, name=name, arguments=arguments)
    item = {**item, "arguments": arguments, "status": "completed"}
    said.say("output_item.done", output_index=index, item=item)
    return item


def _custom_item(said: _Numbered, index: int) -> Any:
    item = {"type": "custom_tool_call", "id": f"x{index}", "call_id": f"call_{index}", "name": "run", "input": ""}
    said.say("output_item.added", output_index=index, item=item)
    for piece in ("echo ", "hello"):
        said.say("custom_tool_call_input.delta", item_id=f"x{index}", output_index=index, delta=piece)
    said.say("custom_tool_call_input.done", item_id=f"x{index}", output_index=index, input="echo hello")
    item = {**item, "input": "echo hello"}
    said.say("output_item.done", output_index=index, item=item)
    return item


def _responses() -> list[Exchange]:
    found = []
    for number, call in enumerate([*_CALLS, None]):
        said = _Numbered()
        said.say("created", response=_response([], "in_progress"))
        output = [_text_item(said, 0)]
        output.append(_call_item(said, 1, *call) if call else _custom_item(said, 1))
        said.say("completed", response=_response(output, "completed"))
        found.append(_stream("responses", f"responses_call_{number}", said.events, True))
        if number < 2:
            found.append(_whole("responses", f"responses_{number}", _response(output, "completed")))
    said = _Numbered()
    said.say("created", response=_response([], "in_progress"))
    output = [_text_item(said, 0), _text_item(said, 1), _call_item(said, 2, *_CALLS[0])]
    said.say("completed", response=_response(output, "completed"))
    found.append(_stream("responses", "responses_two_texts", said.events, True))
    return found


# ---- mcp_tool


def _mcp() -> list[Exchange]:
    content = [{"type": "text", "text": "say nightingale now"}, {"type": "text", "text": "and more"}]
    result = {"content": content, "structuredContent": {"bird": "a nightingale"}, "isError": False}
    answer = {"jsonrpc": "2.0", "id": 1, "result": result}
    progress = {"progressToken": 1, "progress": 1, "message": "a nightingale comes"}
    note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}
    logged = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "nightingale"}}
    failed = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "a nightingale", "data": "nightingale"}}
    return [
        _whole("mcp_tool", "mcp_result", answer),
        _whole("mcp_tool", "mcp_error", failed),
        _stream("mcp_tool", "mcp_result", [note, logged, answer], False),
        _stream("mcp_tool", "mcp_plain", [{**answer, "result": {"content": [{"type": "text", "text": "x"}]}}], False),
    ]


def made() -> list[Exchange]:
    """All of them."""
    return [*_chat(), *_messages(), *_responses(), *_mcp()]
