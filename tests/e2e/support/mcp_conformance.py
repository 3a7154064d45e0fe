"""The conformance suite of MCP, and a server that has what its scenarios ask for."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Annotated, Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import (
    AudioContent,
    Completion,
    EmbeddedResource,
    ImageContent,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel

FOLDER = Path(__file__).resolve().parents[1] / "mcp_conformance"
IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
AUDIO = base64.b64encode(b"RIFF\x00\x00\x00\x00WAVE").decode()


class Name(BaseModel):
    name: str


class User(BaseModel):
    username: str
    email: str


def results(url: str, folder: Path) -> dict[str, list[tuple[str, str, str]]]:
    """What every check of every scenario came to against the server at `url`: its id, its status, its error."""
    program = FOLDER / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    node = next(FOLDER.glob("node_modules/node-*/bin/node"), None)
    if node is None:
        pytest.skip("the conformance suite needs npm, and a system for which Node is packaged there")
    command = [node, program, "server", "--url", f"{url}/mcp", "--suite", "all", "-o", folder, "--timeout", "5000"]
    subprocess.run(command, capture_output=True, timeout=300, check=False)
    found = {}
    for file in sorted(folder.glob("*/checks.json")):
        scenario = re.sub(r"-20\d\d-.*", "", file.parent.name)
        found[scenario] = [_outcome(check) for check in json.loads(file.read_text())]
    return found


def _outcome(check: dict[str, Any]) -> tuple[str, str, str]:
    # Ports, ids and times differ from one run to the next.
    error = re.sub(r"\b[0-9a-f]{32}\b|\d{2,}", "…", check.get("errorMessage") or "")
    return check["id"], check["status"], error


def server() -> MCPServer:
    """The tools, resources and prompts that the scenarios name."""
    server = MCPServer("conformance")
    _add_tools(server)
    _add_asking_tools(server)
    _add_resources(server)
    _add_prompts(server)

    @server.completion()
    async def complete(*_: Any) -> Completion:
        return Completion(values=["paris", "park"], total=2, has_more=False)

    return server


def _add_tools(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    def test_simple_text() -> str:
        """Says something."""
        return "This is a simple text response for testing."

    @server.tool(structured_output=False)
    def test_image_content() -> ImageContent:
        """Shows something."""
        return ImageContent(data=IMAGE, mime_type="image/png")

    @server.tool(structured_output=False)
    def test_audio_content() -> AudioContent:
        """Plays something."""
        return AudioContent(data=AUDIO, mime_type="audio/wav")

    @server.tool(structured_output=False)
    def test_embedded_resource() -> EmbeddedResource:
        """Hands something over."""
        return _embedded("test://embedded-resource")

    @server.tool(structured_output=False)
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Does all of it."""
        text = TextContent(text="Multiple content types test:")
        return [text, ImageContent(data=IMAGE, mime_type="image/png"), _embedded("test://mixed-content-resource")]

    @server.tool(structured_output=False)
    def test_error_handling() -> str:
        """Fails."""
        raise ValueError("This tool intentionally returns an error for testing")

    @server.tool(structured_output=False)
    async def test_tool_with_logging(context: Context) -> str:
        """Writes to the client's log."""
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await context.info(line)
        return "Tool execution finished"

    @server.tool(structured_output=False)
    async def test_tool_with_progress(context: Context) -> str:
        """Reports its progress."""
        for progress in (0, 50, 100):
            await context.report_progress(progress, 100)
        return "Done"


def _add_asking_tools(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    async def test_sampling(prompt: str, context: Context) -> str:
        """Asks the client's model."""
        message = SamplingMessage(role="user", content=TextContent(text=prompt))
        answer = await context.session.create_message([message], max_tokens=100)
        return f"LLM response: {answer.content}"

    @server.tool(structured_output=False)
    async def test_elicitation(message: str, context: Context) -> str:
        """Asks the user."""
        answer = await context.elicit(message, User)
        return f"User response: {answer.action}"

    @server.tool(structured_output=False)
    def test_input_required_result_elicitation(user: Annotated[Name, Resolve(_ask_name)]) -> str:
        """Has the call repeated with what the user says."""
        return f"Hello, {user.name}!"


def _ask_name() -> Elicit[Name]:
    return Elicit("What is your name?", Name)


def _embedded(uri: str) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type="text/plain", text="This is an embedded resource content.")
    return EmbeddedResource(resource=contents)


def _add_resources(server: MCPServer) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        return base64.b64decode(IMAGE)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        return "Watched resource content"


def _add_prompts(server: MCPServer) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """Asks something."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """Asks with arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 (the suite's name)
        """Asks about a resource."""
        return [UserMessage(_embedded(resourceUri))]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """Asks about an image."""
        return [UserMessage(ImageContent(data=IMAGE, mime_type="image/png"))]
