"""An evaluation on MMHPSD as text, CSV or Markdown, beside published figures and their conditions."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from eventhpe.data.mmhpsd_stored import BodySource
from eventhpe.errors import MissingAssetError
from eventhpe.evaluation.metrics import bootstrap_interval
from eventhpe.evaluation.mmhpsd import METRICS, MMHPSDProtocol, Start
from eventhpe.evaluation.mmhpsd_published import PUBLISHED, PublishedRow
from eventhpe.evaluation.tables import (
    Scores,
    Table,
    average_scores,
    json_ready,
    markdown_table,
    text_table,
)

BASELINES = ("mean pose", "start pose held")
"""Rows that a system's root-aligned error is set against."""

JOINT_METRICS, OTHER_METRICS = METRICS[:5], METRICS[5:]
"""The two tables of a report: what publications give, and surface, motion and image."""

SHARES = ("pckh50", "pck100")
"""Metrics that are shares in 0..1; the others are mm or pixels."""

LEGEND = (
    "mpjpe: joints in the camera frame; pel: minus the mid-hip; pa: after a similarity per frame; pckh50, "
    "pck100: share of joints within half a head, within 100 mm (minus the mid-hip)",
    "pve: vertices in the same three ways, true shape on the true side; accel: second difference per step; "
    "px_256: joints in pixels of the 256 x 256 image",
)


@dataclass(frozen=True)
class MMHPSDReport:
    """Numbers of an evaluation.

    Attributes:
        protocol, start: what was evaluated.
        body: of the set.
        results: of `evaluate_mmhpsd`: sequence -> method -> metric.
        rows: method -> metric -> mean, low, high; all scored poses weigh the same.
        notes: what else a reader must know, such as what the network sees; a sentence each.
    """

    protocol: MMHPSDProtocol
    start: Start
    body: BodySource
    results: Mapping[str, Scores]
    rows: Table
    notes: tuple[str, ...]

    @property
    def summary(self) -> dict[str, str]:
        """How far the first system's root-aligned error lies below that of each baseline."""
        ours, *others = self.rows
        error = {method: self.rows[method]["pel_mpjpe_mm"]["mean"] for method in self.rows}
        return {
            f"root-aligned error below {base}": f"{100 * (1 - error[ours] / error[base]):.1f} %"
            for base in BASELINES
            if base in others and error[base] > 0
        }

    @property
    def published(self) -> tuple[PublishedRow, ...]:
        """Published rows of clips as long as these."""
        return tuple(row for row in PUBLISHED if row.num_steps == self.protocol.num_steps)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What a reader must know to compare these numbers, a sentence each."""
        subjects = sorted({name[len("subject") :][:2] for name in self.results})
        frames = sum(next(iter(scores.values()))["frames"] for scores in self.results.values())
        own = self.body.model == "open"
        return (
            self.protocol.describe(self.start),
            *self.notes,
            f"{len(self.results)} sequences of subjects {', '.join(subjects)}, {frames:.0f} scored poses, "
            "which weigh the same; 95 % bootstrap intervals over sequences in brackets",
            *LEGEND,
            "published: figures of others on MMHPSD's subjects 01, 02 and 07, not measured here"
            + ("; this set is a synthetic one, so they are no comparison for it" if own else ""),
        )

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; unknown numbers are None."""
        ready: dict[str, Any] = json_ready(
            {
                "protocol": "mmhpsd",
                "clips_of": self.protocol.name,
                "start": self.start,
                "conditions": self.conditions,
                "body": asdict(self.body),
                "recordings": len(self.results),
                "metrics": METRICS,
                "table": self.rows,
                "summary": self.summary,
                "sequences": self.results,
                "published, not measured here": [asdict(row) for row in self.published],
            }
        )
        return ready


def report_mmhpsd(
    results: Mapping[str, Scores],
    protocol: MMHPSDProtocol,
    start: Start,
    *,
    body: BodySource | None = None,
    notes: tuple[str, ...] = (),
) -> MMHPSDReport:
    """Average what `evaluate_mmhpsd` gives.

    Args:
        body: of the set; SMPL's male model unless told.
        notes: sentences on the systems.
    Raises:
        MissingAssetError: there are no results.
    """
    if not results:
        raise MissingAssetError("a report on MMHPSD needs the scores of at least one sequence; got none.")
    return MMHPSDReport(protocol, start, body or BodySource(), results, average_mmhpsd(results), notes)


def average_mmhpsd(results: Mapping[str, Scores], *, by: Literal["frame", "sequence"] = "frame") -> Table:
    """Means with 95 % bootstrap intervals over sequences: method -> metric -> mean, low, high.

    Args:
        by: "frame" = all scored frames weigh the same, as published; "sequence" = all sequences do.
    """
    table = average_scores(
        [{m: {metric: row[metric] for metric in METRICS} for m, row in s.items()} for s in results.values()]
    )
    if by == "frame":
        for method, row in table.items():
            weights = np.array([scores[method]["frames"] for scores in results.values()])
            for metric, cell in row.items():
                values = np.array([scores[method][metric] for scores in results.values()])
                there = np.isfinite(values)
                if there.any():
                    values, w = values[there], weights[there]
                    low, high = bootstrap_interval(values, weights=w)
                    cell |= {"mean": float(np.average(values, weights=w)), "low": low, "high": high}
    return table


def main_tables(report: MMHPSDReport) -> list[tuple[list[str], list[list[str]]]]:
    """Headers and rows of the two tables: joints with the published rows, which are marked; and the rest."""
    tables = []
    for metrics in (JOINT_METRICS, OTHER_METRICS):
        rows = [
            [method, *(_with_interval(metric, cells[metric]) for metric in metrics)]
            for method, cells in report.rows.items()
        ]
        tables.append((["method", *metrics], rows))
    for p in report.published:
        given = _figures(p)
        cells = [_cell(metric, given.get(metric)) for metric in JOINT_METRICS]
        tables[0][1].append([f"published: {p.method} (sees {p.sees}; start: {p.start})", *cells])
    return tables


def sequence_table(report: MMHPSDReport, method: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one method's means by sequence."""
    rows = [
        [
            name,
            f"{scores[method]['frames']:.0f}",
            *(_cell(metric, scores[method][metric]) for metric in METRICS),
        ]
        for name, scores in report.results.items()
    ]
    return ["sequence", "poses", *METRICS], rows


def report_text(report: MMHPSDReport) -> str:
    """Both tables, the summary, and what the numbers depend on, as plain text."""
    parts = [text_table(*table) for table in main_tables(report)]
    if report.summary:
        parts.append("\n".join(f"{k}: {v}" for k, v in report.summary.items()))
    parts.append("\n".join(report.conditions))
    return "\n\n".join(parts)


def markdown(report: MMHPSDReport) -> str:
    """The whole report as a Markdown page, with the conditions of the published rows and every sequence."""
    parts = ["# MMHPSD", *(markdown_table(*table) for table in main_tables(report))]
    parts.append("\n".join(f"- {k}: {v}" for k, v in report.summary.items()))
    parts.append("\n".join(f"- {line}" for line in report.conditions))
    if report.published:
        rows = [
            [p.method, p.source, str(p.num_steps), p.sees, p.start, p.note or "-"] for p in report.published
        ]
        parts += [
            "## Conditions of the published rows",
            markdown_table(["method", "source", "steps", "sees", "start", "note"], rows),
        ]
    for method in report.rows:
        parts += [f"## {method}, by sequence", markdown_table(*sequence_table(report, method))]
    return "\n\n".join(part for part in parts if part) + "\n"


def comma_separated(report: MMHPSDReport) -> str:
    """One line per method, sequence and metric: method, sequence, metric, mean, low, high, poses."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", "sequence", "metric", "mean", "low", "high", "poses"])
    for method, cells in report.rows.items():
        poses = sum(scores[method]["frames"] for scores in report.results.values())
        for metric, cell in cells.items():
            numbers = [_number(cell[key]) for key in ("mean", "low", "high")]
            writer.writerow([method, "all", metric, *numbers, f"{poses:.0f}"])
    for name, scores in report.results.items():
        for method, row in scores.items():
            for metric in METRICS:
                writer.writerow([method, name, metric, _number(row[metric]), "", "", f"{row['frames']:.0f}"])
    for p in report.published:
        for metric, value in _figures(p).items():
            if value is not None:
                writer.writerow([f"published: {p.method}", "all", metric, _number(value), "", "", ""])
    return out.getvalue()


def _figures(row: PublishedRow) -> dict[str, float | None]:
    return {
        "mpjpe_mm": row.mpjpe_mm,
        "pel_mpjpe_mm": row.pel_mpjpe_mm,
        "pa_mpjpe_mm": row.pa_mpjpe_mm,
        "pckh50": row.pckh,
    }


def _with_interval(metric: str, cell: Mapping[str, float]) -> str:
    if math.isnan(cell["mean"]):
        return "-"
    return f"{_cell(metric, cell['mean'])} [{_cell(metric, cell['low'])}, {_cell(metric, cell['high'])}]"


def _cell(metric: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3f}" if metric in SHARES else f"{value:.1f}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
