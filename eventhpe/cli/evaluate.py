"""`eventhpe evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from eventhpe.evaluation.realism import Comparison, Measured
    from eventhpe.events.recording import Recording

HELP = "score captures or flow against labels, or compare synthetic recordings with real ones"

LEAST_EVENTS = 5_000
"""Recordings with fewer events are not compared."""

KNOWN_SIZES = ((128, 128), (192, 208), (180, 240), (240, 320), (260, 346), (480, 640), (720, 1280))
"""(H, W) of event cameras; a size taken from the extent of the events is trusted if it is one of them."""


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe evaluate`."""

    protocol: Literal["capture", "flow", "realism", "dhp19"]
    """capture = bodies against true bodies; flow = optical flow against true flow; realism = statistics of
    synthetic recordings against those of real ones; dhp19 = joints of DHP19's CNN in pixels and mm."""
    data: Path = field(kw_only=True)
    """Folder of labelled recordings from `eventhpe simulate`; for dhp19, of `eventhpe prepare dhp19`."""
    real: tuple[Path, ...] = ()
    """Realism: real recordings, or folders of them (all that lie below). What they show is not looked at:
    name those with people."""
    output: Path | None = None
    """Also write: realism, a picture (.png); dhp19, all numbers (.csv) or all tables (.md)."""
    start: Literal["none", "true"] = "none"
    """Give the true start pose to the capture, or none."""
    weights: Path | None = None
    """ShapeNet weights (capture) or FlowNet weights (flow), by default the shipped ones; dhp19: the CNN's, as
    `eventhpe train cnn` leaves them or as published (Keras)."""
    flow_weights: Path | None = None
    """Capture: FlowNet weights."""
    compare: Path | None = None
    """Flow: second FlowNet weights to compare with, e.g. the parity variant."""
    subjects: tuple[int, ...] = ()
    """Dhp19: subjects to test on; S13 to S17 if none are named."""
    drop: tuple[str, ...] = ()
    """Dhp19: recordings to leave out, e.g. S14_5_3 S16_2_1."""
    drop_last: bool = False
    """Dhp19: leave out the last frame of every recording."""
    hold: tuple[float, ...] = ()
    """Dhp19: thresholds of the confidence hold, a row each beside the one without; 0.3 if none are named."""
    average: Literal["per_frame", "per_batch16", "per_recording", "per_subject"] = "per_frame"
    """Dhp19: what weighs the same."""
    label_width: Literal[344, 346] = 344
    """Dhp19: columns within which labels count."""
    json: bool = False
    """Print JSON, per recording and averaged."""


def run(options: Options) -> int:
    """Evaluate and print a table."""
    from eventhpe.data.synthetic import list_recordings
    from eventhpe.errors import FormatError

    if options.protocol in ("capture", "flow") and (options.real or options.output is not None):
        raise FormatError(f"--real and --output go with `evaluate realism`, not {options.protocol}.")
    if options.protocol == "dhp19":
        if options.real:
            raise FormatError("--real goes with `evaluate realism`, not dhp19.")
        return _dhp19(options)
    paths = list_recordings(options.data)
    if options.protocol == "realism":
        return _realism(options, paths)
    report = _capture(options, paths) if options.protocol == "capture" else _flow(options, paths)
    print(json.dumps(report, indent=1) if options.json else _text(report))
    return 0


def _capture(options: Options, paths: list[Path]) -> dict[str, Any]:
    from eventhpe.body.default import open_body
    from eventhpe.body.posing import BodyPoser
    from eventhpe.capture import Networks, capture, mean_pose_track
    from eventhpe.data.labels import Labels, read_labels
    from eventhpe.data.start import start_from_labels
    from eventhpe.evaluation.protocols import METRICS, CaptureEstimate, ClipScores, average, evaluate_capture
    from eventhpe.events.open import open_recording

    networks = Networks.load(_str(options.weights), _str(options.flow_weights))

    def estimate(path: Path, labels: Labels) -> CaptureEstimate:
        start = start_from_labels(labels) if options.start == "true" else None
        with open_recording(path) as recording:
            captured = capture(recording, networks, labels.camera, start=start)
        return CaptureEstimate(
            captured.clip.t_us, captured.clip.params, mean_pose_track(captured, networks.shape)
        )

    def say(scores: ClipScores) -> None:
        mm = scores.scores["capture"]["root_aligned_mm"]
        print(f"{scores.name}: root-aligned {mm:.0f} mm", file=sys.stderr)

    results = evaluate_capture(paths, read_labels, estimate, BodyPoser(open_body()), on_clip=say)
    table = average(results)
    against = "mean pose" if options.start == "none" else "start pose held"
    ours, base = (table[m]["root_aligned_mm"]["mean"] for m in ("capture", against))
    return {
        "protocol": "capture",
        "start": options.start,
        "recordings": len(results),
        "metrics": list(METRICS),
        "table": table,
        "summary": {f"root-aligned error below {against}": f"{100 * (1 - ours / base):.1f} %"},
        "clips": {r.name: r.scores for r in results},
    }


def _flow(options: Options, paths: list[Path]) -> dict[str, Any]:
    from eventhpe.evaluation.flow import average_flow, evaluate_flow
    from eventhpe.flownet.estimator import FlowEstimator
    from eventhpe.weights.files import load_network, shipped

    methods = {"flownet": options.weights or shipped("flownet")}
    if options.compare is not None:
        methods["compared"] = options.compare
    estimators = {}
    for name, path in methods.items():
        network, card = load_network(path)
        estimators[name] = (FlowEstimator(network), card.data["training"]["input_kind"])
    results = evaluate_flow(paths, estimators)
    return {
        "protocol": "flow",
        "recordings": len(results),
        "metrics": ["epe_events_px", "epe_person_px"],
        "table": average_flow(results),
        "summary": {},
        "clips": results,
    }


def _text(report: dict[str, Any]) -> str:
    from eventhpe.cli.progress import table

    rows = []
    for method, scores in report["table"].items():
        cells = [f"{s['mean']:.2f} [{s['low']:.2f}, {s['high']:.2f}]" for s in scores.values()]
        rows.append([method, *cells])
    lines = [table(rows, header=["method", *report["metrics"]])]
    lines += [f"{k}: {v}" for k, v in report["summary"].items()]
    lines.append(f"means over {report['recordings']} recordings, 95 % bootstrap intervals in brackets")
    return "\n".join(lines)


def _realism(options: Options, paths: list[Path]) -> int:
    from eventhpe.errors import FormatError
    from eventhpe.evaluation.realism import compare

    if not options.real:
        raise FormatError("evaluate realism needs --real: a folder of real recordings, or files.")
    if options.output is not None and options.output.suffix.lower() != ".png":
        raise FormatError(f"--output {options.output}: pictures are written as .png.")
    left_out: dict[str, str] = {}
    real = _measured("real", options.real, left_out)
    synthetic = _measured("synthetic", paths, left_out)
    comparison = compare(real, synthetic)
    if options.output is not None:
        _picture(options.output, comparison)
    if options.json:
        report = {"protocol": "realism", **comparison.as_dict(), "left_out": left_out}
        print(json.dumps(report, indent=1))
        return 0
    print(_realism_text(comparison))
    if options.output is not None:
        print(f"wrote {options.output}")
    return 0


def _measured(kind: str, given: Iterable[Path], left_out: dict[str, str]) -> list[Measured]:
    """Statistics of every recording among files and folders; why others are left out is said and noted.

    Left out are files that do not open, that have too few events or no known sensor size, and repetitions:
    the same events in another container (equal counts, polarity and time from first to last).
    """
    from eventhpe.cli.progress import progress
    from eventhpe.errors import EventHPEError, FormatError
    from eventhpe.evaluation.realism import measure
    from eventhpe.events.open import open_recording

    paths: list[Path] = []
    for path in given:
        paths += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    found: dict[tuple[int, int, int], Measured] = {}
    for path in progress(paths, f"measuring {kind} recordings"):
        try:
            with open_recording(path) as recording:
                reason = _unfit(recording)
                if not reason:
                    one = measure(recording, name=str(path))
                    first = found.setdefault((one.num_events, one.num_on, one.span_us), one)
                    reason = "" if first is one else f"the same events as {first.name}"
        except EventHPEError as error:
            reason = str(error).removeprefix(f"{path}: ").split(". ")[0]
        if reason:
            left_out[str(path)] = reason
            print(f"left out {path}: {reason}", file=sys.stderr)
    if not found:
        raise FormatError(f"no {kind} recording to measure in {', '.join(map(str, given)) or 'nothing'}.")
    return list(found.values())


def _unfit(recording: Recording) -> str:
    """Why a recording cannot be compared, or ""."""
    if recording.num_events < LEAST_EVENTS:
        return f"{recording.num_events:,} events, where {LEAST_EVENTS:,} are needed"
    guessed = any("does not tell the sensor size" in warning for warning in recording.warnings)
    if guessed and recording.sensor_size not in KNOWN_SIZES:
        height, width = recording.sensor_size
        return f"unknown sensor size; events reach {width}x{height}"
    return ""


def _realism_text(comparison: Comparison) -> str:
    from eventhpe.cli.progress import table

    rows = []
    for row in comparison.rows:
        ranges = [f"{m:.3g} [{low:.3g}, {high:.3g}]" for low, m, high in (row.real, row.synthetic)]
        distance = f"{row.distance:.2f}" if row.statistic.counted else f"({row.distance:.2f})"
        rows.append([row.statistic.label, *ranges, f"{row.overlap:.2f}", f"{row.covered:.2f}", distance])
    shape = f"{comparison.interval_decades:.2f} decades"
    rows.append(["interval histograms apart by", "", shape, "", "", f"{comparison.interval_distance:.2f}"])
    header = ["statistic", "real", "synthetic", "overlap", "covered", "distance"]
    lines = [
        table(rows, header=header),
        f"total distance: {comparison.total:.2f}, mean of those without parentheses; distances of medians in "
        "standard deviations of the real recordings",
        f"medians [10 %, 90 %] of {len(comparison.real)} real and {len(comparison.synthetic)} synthetic "
        "recordings; overlap of these ranges;",
        "covered: share of the real recordings between the least and the largest synthetic one",
    ]
    return "\n".join(lines)


def _picture(path: Path, comparison: Comparison) -> None:
    import numpy as np

    from eventhpe.evaluation.realism import INTERVAL_EDGES_US
    from eventhpe.render.realism_plot import Histograms, Strip, plot_realism

    real, synthetic = comparison.real, comparison.synthetic
    strips = [
        Strip(
            row.statistic.label,
            np.array([m.values[row.statistic.name] for m in real]),
            np.array([m.values[row.statistic.name] for m in synthetic]),
            log=row.statistic.log,
            floor=row.statistic.floor,
            note=f"distance {row.distance:.2f}, overlap {row.overlap:.2f}"
            + ("" if row.statistic.counted else " (not counted)"),
        )
        for row in comparison.rows
    ]
    histograms = [
        Histograms(
            f"intervals between events of a pixel, {where}",
            INTERVAL_EDGES_US,
            np.stack([getattr(m, name) for m in real]),
            np.stack([getattr(m, name) for m in synthetic]),
        )
        for where, name in (("active area", "body_intervals"), ("background", "background_intervals"))
    ]
    plot_realism(
        path,
        strips,
        histograms,
        real_sizes=[m.sensor_size for m in real],
        synthetic_sizes=[m.sensor_size for m in synthetic],
        title=f"Synthetic beside real recordings: total distance {comparison.total:.2f}",
    )


def _dhp19(options: Options) -> int:
    import torch

    from eventhpe.atomic import PendingFile
    from eventhpe.data.dhp19 import TEST_SUBJECTS
    from eventhpe.data.dhp19_prepared import PreparedDHP19
    from eventhpe.errors import FormatError, MissingAssetError
    from eventhpe.evaluation.dhp19 import RecordingErrors
    from eventhpe.evaluation.dhp19_report import (
        PUBLISHED_HOLD,
        DHP19Protocol,
        comma_separated,
        evaluate_dhp19,
        markdown,
        report_text,
    )
    from eventhpe.weights.dhp19_cnn import load_dhp19_cnn

    writers = {".csv": comma_separated, ".md": markdown}
    if options.output is not None and options.output.suffix.lower() not in writers:
        raise FormatError(f"--output {options.output}: tables are written as .csv or .md.")
    if options.weights is None:
        raise MissingAssetError(
            "evaluate dhp19 needs --weights: those of `eventhpe train cnn`, or the published DHP_CNN.model."
        )
    protocol = DHP19Protocol(
        subjects=options.subjects or TEST_SUBJECTS,
        hold=options.hold or (PUBLISHED_HOLD,),
        average=options.average,
        width=options.label_width,
        drop=options.drop,
        drop_last=options.drop_last,
    )
    network, card = load_dhp19_cnn(options.weights)

    def say(errors: RecordingErrors) -> None:
        known = errors.mm["absolute"]
        known = known[known == known]
        mm = f"{known.mean():.0f} mm" if len(known) else "no labels"
        print(f"{errors.name.stem}: {mm}", file=sys.stderr)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    prepared = PreparedDHP19(options.data)
    report = evaluate_dhp19(network, prepared, protocol, device=device, on_recording=say)
    trained_on = set(card.data.get("subjects", ())) & set(report.conditions["subjects"])
    if trained_on:
        named = ", ".join(f"S{s}" for s in sorted(trained_on))
        print(f"warning: these weights were trained on {named}, which is tested here", file=sys.stderr)
    if options.output is not None:
        with PendingFile(options.output) as pending:
            pending.temporary.write_text(writers[options.output.suffix.lower()](report), encoding="utf-8")
    print(json.dumps(report.as_dict(), indent=1) if options.json else report_text(report))
    return 0


def _str(path: Path | None) -> str | None:
    return None if path is None else str(path)
