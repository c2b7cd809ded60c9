"""`eventhpe evaluate`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

HELP = "score captures or flow against labels, beside baselines"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe evaluate`."""

    protocol: Literal["capture", "flow"]
    """capture = bodies against true bodies; flow = optical flow against true flow."""
    data: Path = field(kw_only=True)
    """Folder of labelled recordings from `eventhpe simulate`."""
    start: Literal["none", "true"] = "none"
    """Give the true start pose to the capture, or none."""
    weights: Path | None = None
    """ShapeNet weights (capture) or FlowNet weights (flow); default: the shipped ones."""
    flow_weights: Path | None = None
    """Capture: FlowNet weights."""
    compare: Path | None = None
    """Flow: second FlowNet weights to compare with, e.g. the parity variant."""
    json: bool = False
    """Print JSON, per recording and averaged."""


def run(options: Options) -> int:
    """Evaluate and print a table."""
    from eventhpe.data.synthetic import list_recordings

    paths = list_recordings(options.data)
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


def _str(path: Path | None) -> str | None:
    return None if path is None else str(path)
