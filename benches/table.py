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
    "1,000 open streams added MiB",
    "idle added MiB",
)
NOTHING = "–"


class Row:
    """All repeats of one variant with one traffic."""

    def __init__(self, label: str, costs: list[Figures], delays: list[Figures], memory: list[Figures]) -> None:
        self.label = label
        self._costs = costs
        self._delays = delays
        self._memory = memory

    def summary(self, plain: Row, reader: Row) -> Figures:
        """The figures of the row, for people and for other programs."""
        cost = median(one["worker_us_per_event"] for one in self._costs)
        return {
            "variant": self.label,
            "is_plain": self.label == plain.label,
            "worker_us_per_event": cost,
            "ratio_to_plain": self._ratio(plain),
            "ratio_to_reader": self._ratio(reader),
            "events_per_second_per_core": 1e6 / cost,
            "events_per_second_measured": median(one["events_per_second"] for one in self._costs),
            "transit_us": self._delay("transit", plain),
            "first_delta_us": self._delay("first_delta", plain),
            "tool_call_us": self._delay("tool_call", plain),
            "per_1000_streams_mib": self._mib("per_1000_streams_mib", plain),
            "idle_mib": self._mib("idle_mib", plain),
            "altered_exchanges": sum(one["altered"] for one in self._costs),
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

    def _mib(self, kind: str, plain: Row) -> Figures:
        mine = median(one[kind] for one in self._memory)
        return {"mib": mine, "added": mine - median(one[kind] for one in plain._memory)}


def render(summaries: list[Figures]) -> str:
    """The rows as a table of Markdown that is aligned for a terminal, too."""
    rows = [HEADINGS, *(_cells(summary) for summary in summaries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
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
        _added_memory(summary["per_1000_streams_mib"], plain),
        _added_memory(summary["idle_mib"], plain),
    )


def _spread(ratio: Figures) -> str:
    return f"{ratio['median']:.2f} [{ratio['low']:.2f}–{ratio['high']:.2f}]"


def _added_delay(delay: Figures | None, plain: bool) -> str:
    if delay is None:
        return NOTHING
    if plain:
        return f"({delay['p50']:.0f} / {delay['p99']:.0f})"
    return f"{delay['p50_added']:+.0f} / {delay['p99_added']:+.0f}"


def _added_memory(memory: Figures, plain: bool) -> str:
    return f"({memory['mib']:.1f})" if plain else f"{memory['added']:+.1f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"
