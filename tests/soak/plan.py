"""What is asked, what goes wrong with it, and what must come of it: all of an exchange follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from harness import mcp_tools
from harness.answers import DELETE, HARMLESS_TOOL, WEATHER, ToolCall, answer_to
from support.exchange import PATHS

PROMPTS = ("Say hello.", "What is the weather?", "Delete it.", "Do both.", "Do it twice.", "Stay silent.")
JUDGE_FAULTS = ("hangs", "refuses", "dies")
PROVIDER_FAULTS = ("resets", "cuts")


@dataclass(frozen=True)
class Exchange:
    """One exchange, before it is played."""

    path: str
    prompt: str
    stream: bool
    http2: bool
    judge: str
    """How the judge fails; "answers" and "is late" are no failures."""
    provider: str
    """How the provider breaks off; "answers" is none."""
    broken_after: int
    """Events after which it does."""
    leaves_after: int | None
    """Bytes after which the client leaves."""
    pace: float

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model, or the client of MCP, makes."""
        if self.path == mcp_tools.PATH:
            return (DELETE if "Delete" in self.prompt else WEATHER,)
        return answer_to(self.prompt).calls

    @property
    def passing(self) -> list[str]:
        """The names of the calls that a judge lets pass, in their order."""
        if self.judge in JUDGE_FAULTS:
            return []
        return [call.name for call in self.calls if call.name == HARMLESS_TOOL]

    @property
    def decision(self) -> str:
        return "allow" if len(self.passing) == len(self.calls) else "refuse"

    @property
    def is_whole(self) -> bool:
        """Whether client and provider stay to the end."""
        return self.provider == "answers" and self.leaves_after is None


def draw(dice: random.Random) -> Exchange:
    """The next exchange."""
    path = dice.choice((*PATHS, mcp_tools.PATH))
    is_mcp = path == mcp_tools.PATH
    stream = not is_mcp and dice.random() < 0.75
    judge = dice.choices(("answers", "is late", *JUDGE_FAULTS), (70, 12, 6, 6, 6))[0]
    provider = dice.choices(("answers", *PROVIDER_FAULTS), (85, 8, 7))[0] if stream else "answers"
    leaves = dice.random() < 0.12
    return Exchange(
        path=path,
        prompt=dice.choice(PROMPTS[1:3]) if is_mcp else dice.choice(PROMPTS),
        stream=stream,
        http2=dice.random() < 0.4,
        judge=judge,
        provider=provider,
        broken_after=dice.randrange(1, 20),
        leaves_after=dice.randrange(0, 1500) if leaves and provider == "answers" else None,
        pace=dice.choice((0.0, 0.0, 0.002, 0.02)),
    )
