"""What the user is told."""

from __future__ import annotations

import sys


class SetupError(Exception):
    """Something that the user has to mend. Its text is one sentence and is all that gets printed."""


def progress(message: str) -> None:
    """Says what is being done, on stderr, so that stdout keeps to results."""
    print(f"· {message}", file=sys.stderr, flush=True)
