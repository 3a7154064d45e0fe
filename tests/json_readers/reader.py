"""Reads JSON documents as Python's clients do.

Gives one answer a line for each line of standard input, which names a path, with slashes, and behind a space the
document in hexadecimal: what stands at the path, in one form, or that the document is unreadable.
"""

import json
import sys
from typing import Any


def find(value: Any, path: list[str]) -> Any:
    """What stands at the path; None where nothing does."""
    try:
        for step in path:
            value = value[int(step) if isinstance(value, list) else step]
    except (LookupError, TypeError, ValueError):
        return None
    return value


def read(document: bytes, path: list[str]) -> str:
    """The answer for one document."""
    try:
        value = find(json.loads(document), path)
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return "unreadable"


for line in sys.stdin:
    path, document = line.split(" ")
    print(read(bytes.fromhex(document), path.split("/") if path else []), flush=True)
