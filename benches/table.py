"""The table: medians over all turns and repeats, and ratios between rows that were measured beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from measure import Figures

HEADINGS = (
    "variant",
    "worker µs/event",
    "× plain [5–95 %]",
    "× reader [5–95 %]",
    "events/s per core",
    "events/s measured",
    "transit added p50/p99 µs",
    "first delta added p50/p99 µs",
    "tool call added p50/p99 µs",
)
DIALECT_HEADINGS = (
    "dialect",
    "bytes/event",
    "reader µs/event",
    "weir content_transform µs/event",
    "× reader",
    "× cheapest dialect",
)
MEMORY_HEADINGS = (
    "memory",
    "one worker MiB",
    "over plain MiB",
    "over an empty filter MiB",
    "an open stream KiB",
    "over plain KiB",
    "over an empty filter KiB",
)
NOTHING = "–"


class Row:
    """All repeats of one variant with one traffic."""

    def __init__(self, label: str, costs: list[Figures], delays: list[Figures], memory: list[Figures]) -> None:
        self.label = label
        self._costs = costs
        self._delays = delays
        self._memory = memory

    def summary(self, plain: Row, reader: Row, empty: Row, name: str) -> Figures:
        """The figures of the row, for people and for other programs."""
        cost = median(one["worker_us_per_event"] for one in self._costs)
        return {
            "name": name,
            "variant": self.label,
            "is_plain": self.label == plain.label,
            "worker_us_per_event": cost,
            "ratio_to_plain": self._ratio(plain),
            "ratio_to_reader": self._ratio(reader),
            "ratio_to_empty": self._ratio(empty),
            "events_per_second_per_core": 1e6 / cost,
            "events_per_second_measured": median(one["events_per_second"] for one in self._costs),
            "transit_us": self._delay("transit", plain),
            "first_delta_us": self._delay("first_delta", plain),
            "tool_call_us": self._delay("tool_call", plain),
            "worker_mib": self._memory_beside("idle_mib", plain, empty),
            "stream_kib": self._memory_beside("stream_kib", plain, empty),
            "worker_waited": max(one["worker_waited"] for one in self._costs),
        }

    def _ratio(self, other: Row) -> Figures:
        # Turn by turn, so that a machine that gets slower during the run does not look like a slower filter.
        ratios = [
            mine["worker_us_per_event"] / theirs["worker_us_per_event"]
            for mine, theirs in zip(self._costs, other._costs, strict=True)
        ]
        ratios.sort()
        edge = len(ratios) // 20
        return {"median": median(ratios), "low": ratios[edge], "high": ratios[-1 - edge]}

    def _delay(self, kind: str, plain: Row) -> Figures | None:
        if kind not in self._delays[0]:
            return None
        delay = {}
        for quantile in ("p50", "p99"):
            pairs = [
                (mine[kind][quantile], theirs[kind][quantile])
                for mine, theirs in zip(self._delays, plain._delays, strict=True)
            ]
            delay[quantile] = median(mine for mine, _ in pairs)
            delay[f"{quantile}_added"] = median(mine - theirs for mine, theirs in pairs)
        return delay

    def _memory_beside(self, kind: str, plain: Row, empty: Row) -> Figures:
        mine, of_plain, of_empty = (median(one[kind] for one in row._memory) for row in (self, plain, empty))
        return {"used": mine, "over_plain": mine - of_plain, "over_empty": mine - of_empty}


def render(summaries: list[Figures]) -> str:
    """What the variants cost."""
    return render_rows([HEADINGS, *(_cells(summary) for summary in summaries)])


def render_dialects(dialects: Figures, reader: str, weir: str) -> str:
    """What the dialects cost: those of one run were measured in turns."""

    def typical(figure: str, dialect: str, proxy: str) -> float:
        return median(one[figure] for one in dialects[dialect][proxy])

    def cost(dialect: str, proxy: str) -> float:
        return typical("worker_us_per_event", dialect, proxy)

    cheapest = min((cost(dialect, weir) for dialect in dialects), default=None)
    rows = [
        (
            dialect,
            f"{typical('bytes_per_event', dialect, weir):.0f}",
            f"{cost(dialect, reader):.2f}",
            f"{cost(dialect, weir):.2f}",
            f"{cost(dialect, weir) / cost(dialect, reader):.2f}",
            f"{cost(dialect, weir) / cheapest:.2f}",
        )
        for dialect in dialects
    ]
    return render_rows([DIALECT_HEADINGS, *rows])


def render_memory(summaries: list[Figures]) -> str:
    """What the variants need of memory."""
    return render_rows([MEMORY_HEADINGS, *(_memory_cells(summary) for summary in summaries)])


def render_workers(workers: dict[str, dict[int, float]]) -> str:
    """What a process needs of memory, by the number of its workers."""
    counts = list(next(iter(workers.values())))
    heading = ("resident MiB of a process", *(f"{count} worker{'s' * (count > 1)}" for count in counts))
    return render_rows(
        [heading, *((name, *(f"{mib:.1f}" for mib in by_count.values())) for name, by_count in workers.items())]
    )


def render_budgets(budgets: list[Figures]) -> str:
    """What was wanted beside what was measured."""
    rows = [
        (
            one["what"],
            f"≤ {one['budget']:g}",
            f"{one['measured']:.2f}",
            "yes" if one["measured"] <= one["budget"] else "NO",
        )
        for one in budgets
    ]
    return render_rows([("budget", "at most", "measured", "kept"), *rows])


def render_rows(rows: Sequence[Sequence[str]]) -> str:
    """The rows as a table of Markdown that is aligned for a terminal, too."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    ruler = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], ruler, *lines[1:]])


def _cells(summary: Figures) -> tuple[str, ...]:
    plain = summary["is_plain"]
    return (
        summary["variant"],
        f"{summary['worker_us_per_event']:.2f}",
        _spread(summary["ratio_to_plain"]),
        _spread(summary["ratio_to_reader"]),
        f"{summary['events_per_second_per_core']:,.0f}",
        f"{summary['events_per_second_measured']:,.0f}",
        _added_delay(summary["transit_us"], plain),
        _added_delay(summary["first_delta_us"], plain),
        _added_delay(summary["tool_call_us"], plain),
    )


def _memory_cells(summary: Figures) -> tuple[str, ...]:
    worker, stream = summary["worker_mib"], summary["stream_kib"]
    return (
        summary["variant"],
        f"{worker['used']:.1f}",
        f"{worker['over_plain']:+.1f}",
        f"{worker['over_empty']:+.1f}",
        f"{stream['used']:.1f}",
        f"{stream['over_plain']:+.1f}",
        f"{stream['over_empty']:+.1f}",
    )


def _spread(ratio: Figures) -> str:
    return f"{ratio['median']:.2f} [{ratio['low']:.2f}–{ratio['high']:.2f}]"


def _added_delay(delay: Figures | None, plain: bool) -> str:
    if delay is None:
        return NOTHING
    if plain:
        return f"({delay['p50']:.0f} / {delay['p99']:.0f})"
    return f"{delay['p50_added']:+.0f} / {delay['p99_added']:+.0f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"
