"""An evaluation on DHP19 from prepared recordings to a table: text, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from eventhpe.data.dhp19 import TEST_SUBJECTS
from eventhpe.data.dhp19_prepared import PreparedDHP19, PreparedName, PreparedRecording
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.evaluation.dhp19 import (
    RecordingErrors,
    floor_recording,
    predict_recording,
    score_recording,
)
from eventhpe.evaluation.dhp19_averages import (
    METRICS,
    Average,
    Cell,
    average_errors,
    break_down,
    drop_frames,
)
from eventhpe.evaluation.dhp19_heads import HeadOnFrames, head_multiply_adds
from eventhpe.evaluation.dhp19_published import PUBLISHED, Published
from eventhpe.evaluation.tables import json_ready, markdown_table, text_table
from eventhpe.shapenet.heads.dhp19_cnn import DHP19_CNN_SIZE, multiply_adds

INSTANT = "every frame by itself"
PUBLISHED_HOLD = 0.3
FLOOR = "floor: label pixels"


@dataclass(frozen=True)
class DHP19Protocol:
    """What is evaluated, and how it is averaged.

    Attributes:
        subjects: S13 to S17 as published.
        hold: thresholds of the confidence hold, a row each beside the one without.
        average: what weighs the same.
        width: of the image within which labels count, 344 or 346.
        drop: recordings to leave out, as "S14_5_3".
        drop_last: leave out the last frame of every recording.
    """

    subjects: tuple[int, ...] = TEST_SUBJECTS
    hold: tuple[float, ...] = (PUBLISHED_HOLD,)
    average: Average = "per_frame"
    width: int = DHP19_CNN_SIZE[1]
    drop: tuple[str, ...] = ()
    drop_last: bool = False

    def __post_init__(self) -> None:
        if not self.subjects or not all(1 <= s <= 17 for s in self.subjects):
            raise ShapeError(f"DHP19Protocol.subjects must be among 1 to 17; got {self.subjects}.")
        if any(not 0 < threshold for threshold in self.hold):
            raise ShapeError(f"DHP19Protocol.hold must be positive; got {self.hold}.")
        if self.width not in (344, 346):
            raise ShapeError(f"DHP19Protocol.width must be 344 or 346; got {self.width}.")
        for word in self.drop:
            if not re.fullmatch(r"S\d+_\d+_\d+", word):
                raise ShapeError(f'DHP19Protocol.drop must name recordings as "S14_5_3"; got {word!r}.')


@dataclass(frozen=True)
class DHP19Report:
    """Numbers of an evaluation.

    Attributes:
        rows: method -> metric of METRICS -> mean and interval.
        details: method -> "subject", "session", "movement", "joint" -> group -> metric -> mean over frames.
        conditions: what the numbers depend on, ready for JSON.
        notes: the same for people, a line each.
        primary: the method whose details stand in the text.
        published: rows of others to stand beside ours.
    """

    rows: dict[str, dict[str, Cell]]
    details: dict[str, dict[str, dict[str, dict[str, float]]]]
    conditions: dict[str, Any]
    notes: tuple[str, ...]
    primary: str = INSTANT
    published: tuple[Published, ...] = PUBLISHED

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; unknown numbers are None."""
        return json_ready(
            {
                "protocol": "dhp19",
                "conditions": self.conditions,
                "metrics": list(METRICS),
                "table": {m: {k: asdict(c) for k, c in cells.items()} for m, cells in self.rows.items()},
                "details": self.details,
                "published, not measured here": [asdict(p) for p in self.published],
            }
        )


def evaluate_dhp19(
    network: nn.Module,
    prepared: PreparedDHP19,
    protocol: DHP19Protocol,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 16,
    on_recording: Callable[[RecordingErrors], None] | None = None,
) -> DHP19Report:
    """Run the network on every frame of the chosen recordings and score it.

    Args:
        network: DHP19's CNN, or what answers as it does (`HeadOnFrames`).
        on_recording: called after each recording with its errors without hold.

    Raises:
        MissingAssetError: nothing of these subjects is prepared.
        FormatError: views of the prepared recordings do not belong together.
    """
    recordings = chosen_recordings(prepared, protocol)
    network = network.to(device).eval()
    methods = {INSTANT: 0.0} | {f"hold {threshold:g}": threshold for threshold in protocol.hold}
    errors: dict[str, list[RecordingErrors]] = {name: [] for name in (*methods, FLOOR)}
    seconds, frames = 0.0, 0
    for recording in recordings:
        labels = recording.labels
        predictions = predict_recording(network, recording, device=device, batch_size=batch_size)
        seconds, frames = seconds + predictions.seconds, frames + len(labels)
        scored = {
            method: score_recording(predictions, labels, hold=threshold, width=protocol.width)
            for method, threshold in methods.items()
        }
        scored[FLOOR] = floor_recording(recording.name, labels, width=protocol.width)
        for method, one in scored.items():
            errors[method].append(drop_frames(one, last=protocol.drop_last))
        recording.close()
        if on_recording is not None:
            on_recording(errors[INSTANT][-1])
    rows = {method: average_errors(of, protocol.average) for method, of in errors.items()}
    details = {method: break_down(of) for method, of in errors.items()}
    conditions = asdict(protocol) | {
        "subjects": sorted({r.subject for r in recordings}),
        "recordings": len(recordings),
        "frames": frames,
        "frames_with_labels": rows[FLOOR]["mm"].frames,
        "windows": prepared.variant,
        "parameters": sum(p.numel() for p in network.parameters()),
        "gmac_per_view": round(_multiply_adds(network) / 1e9, 3),
        "ms_per_frame_with_reading": round(1000 * seconds / max(frames, 1), 2),
        "device": str(device),
    }
    return DHP19Report(rows, details, conditions, _cnn_notes(rows, conditions))


def _multiply_adds(network: nn.Module) -> int:
    return head_multiply_adds(network.network) if isinstance(network, HeadOnFrames) else multiply_adds()


def chosen_recordings(prepared: PreparedDHP19, protocol: DHP19Protocol) -> list[PreparedRecording]:
    """Recordings with at least one frame, of the protocol's subjects, without those it drops.

    Raises:
        MissingAssetError: none is left.
        FormatError: a recording to drop is not one of DHP19's.
    """
    drop = {_dropped(word) for word in protocol.drop}
    of_subjects = prepared.of(protocol.subjects)
    chosen = [r for r in of_subjects if (r.subject, r.session, r.movement) not in drop and r.num_frames > 0]
    if not chosen:
        there = ", ".join(f"S{s}" for s in sorted({r.subject for r in prepared}))
        asked = ", ".join(f"S{s}" for s in protocol.subjects)
        raise MissingAssetError(
            f"{prepared.root}: no recording to evaluate: asked for {asked}, prepared are {there}. "
            "Prepare these subjects, or choose others with --subjects."
        )
    return chosen


def _dropped(word: str) -> tuple[int, int, int]:
    subject, session, movement = re.findall(r"\d+", word)
    name = PreparedName.parse(f"S{subject}_session{session}_mov{movement}_x.h5")
    if name is None:
        raise FormatError(f"--drop {word}: DHP19 has no such recording.")
    return name.subject, name.session, name.movement


def main_table(report: DHP19Report, *, digits: int = 2) -> tuple[list[str], list[list[str]]]:
    """Header and rows: ours with intervals, then the published ones, which are marked."""
    header = ["method", *METRICS]
    rows = [
        [
            method,
            *(
                "-"
                if math.isnan(c.mean)
                else f"{c.mean:.{digits}f} [{c.low:.{digits}f}, {c.high:.{digits}f}]"
                for c in cells.values()
            ),
        ]
        for method, cells in report.rows.items()
    ]
    for p in report.published:
        name = f"published: {p.method} ({p.source}{'' if p.comparable else ', other protocol'})"
        cells = ["-" if v is None else f"{v:.{digits}f}" for v in (*p.px, p.mm, None, None)]
        rows.append([name, *cells])
    return header, rows


def detail_table(
    report: DHP19Report, by: str, *, method: str | None = None, digits: int = 2
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one breakdown: by "subject", "session", "movement" or "joint"; of the primary method
    unless another is named."""
    rows = [
        [group, *("-" if math.isnan(v) else f"{v:.{digits}f}" for v in values.values())]
        for group, values in report.details[method or report.primary][by].items()
    ]
    return [by, *METRICS], rows


def _cnn_notes(rows: dict[str, dict[str, Cell]], conditions: dict[str, Any]) -> tuple[str, ...]:
    """What a reader must know to compare these numbers, a line each."""
    c = conditions
    return (
        f"{c['recordings']} recordings of {', '.join(f'S{s}' for s in c['subjects'])}, "
        f"{c['frames_with_labels']} frames with labels of {c['frames']} ({c['windows']}); "
        f"left out: {', '.join(c['drop']) or 'none'}"
        + (", and the last frame of each" if c["drop_last"] else ""),
        f"cameras 2 and 3, labels cut to pixels in {c['width']} x 260; averaged "
        f"{c['average'].replace('_', ' ')}; 95 % bootstrap intervals in brackets",
        f"mm: absolute, two rays; root-relative (mid-hip) on the {rows[INSTANT]['root_relative_mm'].frames} "
        "frames with both hips; Procrustes: after a similarity per frame",
        f"{c['parameters']:,} parameters, {c['gmac_per_view']:.2f} GMAC per view; "
        f"{c['ms_per_frame_with_reading']:.1f} ms per frame of two views with reading, on {c['device']}",
        "published: numbers of others under their own conditions, not measured here",
    )


def report_text(report: DHP19Report) -> str:
    """The main table, what it depends on, and the error by subject, session and joint, as plain text."""
    parts = [text_table(*main_table(report)), "\n".join(report.notes)]
    parts += [text_table(*detail_table(report, by)) for by in ("subject", "session", "joint")]
    return "\n\n".join(parts)


def markdown(report: DHP19Report) -> str:
    """The whole report as a Markdown page."""
    parts = ["# DHP19", markdown_table(*main_table(report))]
    parts.append("\n".join(f"- {line}" for line in report.notes))
    if report.published:
        published = [[p.method, p.source, p.conditions] for p in report.published]
        parts += [
            "## Conditions of the published rows",
            markdown_table(["method", "source", "conditions"], published),
        ]
    for method in report.details:
        for by in report.details[method]:
            parts += [f"## {method}, by {by}", markdown_table(*detail_table(report, by, method=method))]
    return "\n\n".join(parts) + "\n"


def comma_separated(report: DHP19Report) -> str:
    """One line per method, group and metric: method, by, group, metric, mean, low, high, frames."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", "by", "group", "metric", "mean", "low", "high", "frames"])
    for method, cells in report.rows.items():
        for metric, cell in cells.items():
            writer.writerow(
                [method, "all", "all", metric, *map(_number, (cell.mean, cell.low, cell.high)), cell.frames]
            )
    for method, parts in report.details.items():
        for by, groups in parts.items():
            for group, values in groups.items():
                for metric, value in values.items():
                    writer.writerow([method, by, group, metric, _number(value), "", "", ""])
    for p in report.published:
        for metric, given in zip(METRICS, (*p.px, p.mm), strict=False):
            if given is not None:
                writer.writerow([f"published: {p.method}", "all", "all", metric, _number(given), "", "", ""])
    return out.getvalue()


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
