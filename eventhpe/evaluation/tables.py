"""Means over recordings with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping

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
