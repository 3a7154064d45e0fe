"""`python3 -m harness.serve provider|judge|demo`: the mocks as programs, for containers. Standard library alone."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import sys
import time

from harness.demo_client import Conversation
from harness.http_server import Server
from harness.judge import Judge
from harness.provider import Provider
from harness.scenes import SCENES

PORT = int(os.environ.get("PORT", "8080"))


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    match sys.argv[1:]:
        case ["provider"]:
            return _serve(Provider(PORT, float(os.environ.get("PACE_SECONDS", "0.03"))))
        case ["judge"]:
            return _serve(Judge(PORT, float(os.environ.get("JUDGE_SECONDS", "0.2"))))
        case ["demo", host, port, pause]:
            return _demo(host, int(port), float(pause))
    print("usage: python3 -m harness.serve provider | judge | demo HOST PORT SECONDS", file=sys.stderr)
    return 2


def _serve(server: Server) -> int:
    async def forever() -> None:
        server.host = "0.0.0.0"
        await server.start()
        print(f"listening on port {server.port}", flush=True)
        while True:
            await asyncio.sleep(60)
            # A test looks at what was asked; here nobody does.
            server.requests.clear()

    asyncio.run(forever())
    return 0


def _demo(host: str, port: int, pause: float) -> int:
    """Sends the scenes of `make run` for ever, so that there is something to see."""
    while True:
        for scene in SCENES:
            try:
                for _ in Conversation(scene.dialect, scene.prompt).pieces(port, host):
                    pass
            except (OSError, ValueError, http.client.HTTPException) as error:
                print(f"{scene.title}: {error}", flush=True)
            time.sleep(pause)


if __name__ == "__main__":
    sys.exit(main())
