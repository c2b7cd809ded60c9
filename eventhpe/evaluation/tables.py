"""Means over recordings with bootstrap intervals, and tables as text and Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eventhpe.evaluation.metrics import bootstrap_interval

Scores = Mapping[str, Mapping[str, float]]
"""method -> metric -> value, of one recording."""

Table = dict[str, dict[str, dict[str, float]]]
"""method -> metric -> mean, low, high."""


def average_scores(recordings: list[Scores]) -> Table:
    """Mean over recordings, each weighing the same, and 95 % bootstrap interval; NaN entries are left out."""
    table: Table = {}
    for method, metrics in recordings[0].items():
        table[method] = {}
        for metric in metrics:
            values = np.array([r[method][metric] for r in recordings])
            values = values[np.isfinite(values)]
            low, high = bootstrap_interval(values) if len(values) else (float("nan"), float("nan"))
            mean = float(values.mean()) if len(values) else float("nan")
            table[method][metric] = {"mean": mean, "low": low, "high": high}
    return table


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain text; the first column is left-aligned, the others right-aligned."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def json_ready(value: Any) -> Any:
    """Nested mappings and sequences as JSON has them; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
