"""The table: medians over the repeats, and ratios between rows that were measured beside each other."""

from statistics import median

HEADINGS = (
    "variant",
    "worker µs/event",
    "× plain [min–max]",
    "× reader [min–max]",
    "events/s per core",
    "events/s measured",
    "transit added p50/p99 µs",
    "first delta added p50/p99 µs",
    "tool call added p50/p99 µs",
    "MiB per 1,000 streams",
    "MiB idle",
)
NOTHING = "–"


class Row:
    """All repeats of one variant, and of the two it is compared with."""

    def __init__(self, label, repeats, plain, reader, memory):
        self.label = label
        self._repeats = repeats
        self._plain = plain
        self._reader = reader
        self._memory = memory

    def summary(self):
        """The figures of the row, for people and for other programs."""
        cost = median(repeat["worker_us_per_event"] for repeat in self._repeats)
        return {
            "variant": self.label,
            "worker_us_per_event": cost,
            "ratio_to_plain": self._ratio(self._plain),
            "ratio_to_reader": self._ratio(self._reader),
            "events_per_second_per_core": 1e6 / cost,
            "events_per_second_measured": median(repeat["events_per_second"] for repeat in self._repeats),
            "transit_us": self._delay("transit"),
            "first_delta_us": self._delay("first_delta"),
            "tool_call_us": self._delay("tool_call"),
            "per_1000_streams_mib": median(one["per_1000_streams_mib"] for one in self._memory),
            "idle_mib": median(one["idle_mib"] for one in self._memory),
            "altered_exchanges": sum(repeat["altered"] for repeat in self._repeats),
            "worker_waited": max(repeat["worker_waited"] for repeat in self._repeats),
        }

    def _ratio(self, other):
        # Repeat by repeat, so that a machine that gets slower during the run does not look like a slower filter.
        ratios = [
            mine["worker_us_per_event"] / theirs["worker_us_per_event"]
            for mine, theirs in zip(self._repeats, other, strict=True)
        ]
        return {"median": median(ratios), "min": min(ratios), "max": max(ratios)}

    def _delay(self, kind):
        if kind not in self._repeats[0]:
            return None
        delay = {}
        for quantile in ("p50", "p99"):
            mine = [repeat[kind][quantile] for repeat in self._repeats]
            plain = [repeat[kind][quantile] for repeat in self._plain]
            delay[quantile] = median(mine)
            delay[f"{quantile}_added"] = median(a - b for a, b in zip(mine, plain, strict=True))
        return delay


def render(summaries):
    """The rows as a table of Markdown that is aligned for a terminal, too."""
    rows = [HEADINGS, *(_cells(summary) for summary in summaries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [_line(row, widths) for row in rows]
    ruler = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], ruler, *lines[1:]])


def _cells(summary):
    plain = summary["ratio_to_plain"]["median"] == 1 == summary["ratio_to_plain"]["max"]
    return (
        summary["variant"],
        f"{summary['worker_us_per_event']:.2f}",
        _spread(summary["ratio_to_plain"]),
        _spread(summary["ratio_to_reader"]),
        f"{summary['events_per_second_per_core']:,.0f}",
        f"{summary['events_per_second_measured']:,.0f}",
        _added(summary["transit_us"], plain),
        _added(summary["first_delta_us"], plain),
        _added(summary["tool_call_us"], plain),
        f"{summary['per_1000_streams_mib']:.1f}",
        f"{summary['idle_mib']:.1f}",
    )


def _spread(ratio):
    return f"{ratio['median']:.2f} [{ratio['min']:.2f}–{ratio['max']:.2f}]"


def _added(delay, plain):
    if delay is None:
        return NOTHING
    if plain:
        return f"({delay['p50']:.0f} / {delay['p99']:.0f})"
    return f"{delay['p50_added']:+.0f} / {delay['p99_added']:+.0f}"


def _line(row, widths):
    first, *others = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"
