"""What Weir may cost, beside what was measured."""

from __future__ import annotations

from measure import Figures

# A chain without interest in responses, over a filter whose callback does nothing.
NO_OP_TO_EMPTY = 1.03
# A chain that looks at everything.
TRANSFORM_TO_READER = 1.10
JUDGE_TEXT_TO_PLAIN = 1.30
MODULE_MIB = 2.0
ONE_WORKER_MIB = 64.0
FURTHER_WORKER_MIB = 1.5


def of_envoy(summaries: list[Figures], workers: dict[str, dict[int, float]], module_bytes: int) -> list[Figures]:
    """Each budget with its figure of this run; ratios are medians over turns."""
    rows = {summary["name"]: summary for summary in summaries}
    plain, weir = workers["plain"], workers["weir-judge"]
    most = max(weir)
    return [
        budget("no_op, × an empty callback", NO_OP_TO_EMPTY, rows["weir-noop"]["ratio_to_empty"]["median"]),
        budget(
            "content_transform, × the reading filter",
            TRANSFORM_TO_READER,
            rows["weir-transform"]["ratio_to_reader"]["median"],
        ),
        budget(
            "tool_call_judge on text, × plain Envoy",
            JUDGE_TEXT_TO_PLAIN,
            rows["weir-judge"]["ratio_to_plain"]["median"],
        ),
        budget("one worker, MiB over plain Envoy", ONE_WORKER_MIB, weir[1] - plain[1]),
        budget(
            "each further worker, MiB over plain Envoy's",
            FURTHER_WORKER_MIB,
            ((weir[most] - weir[1]) - (plain[most] - plain[1])) / (most - 1),
        ),
        budget("weir.wasm, MiB", MODULE_MIB, module_bytes / 2**20),
    ]


def budget(what: str, most: float, measured: float) -> Figures:
    return {"what": what, "budget": most, "measured": measured}
