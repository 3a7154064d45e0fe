"""Reads JSON documents as Python's clients do.

Gives one answer a line, for each document in hexadecimal on standard input: what stands at the path that the arguments
name, in one form, or that the document is unreadable.
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


def read(document: bytes) -> str:
    """The answer for one document."""
    try:
        value = find(json.loads(document), sys.argv[1:])
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return "unreadable"


for line in sys.stdin:
    print(read(bytes.fromhex(line)))
