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

    protocol: Literal["capture", "flow", "realism", "dhp19", "mmhpsd", "pose2d", "pose3d", "boxes"]
    """capture = bodies against true bodies; flow = optical flow against true flow; realism = statistics of
    synthetic recordings against those of real ones; dhp19 = the 13 markers of DHP19 in pixels and mm, by its
    CNN or by bodies from events; mmhpsd = bodies on clips of MMHPSD; pose2d, pose3d = joints of heads, PoSh
    and SWAHR in the image and in space; boxes = people's boxes by SWAHR and by event density."""
    data: Path = field(kw_only=True)
    """Folder of labelled recordings from `eventhpe simulate`; for dhp19, from `eventhpe prepare dhp19`; for
    mmhpsd, its root in either layout; for boxes, of recordings with PASCAL VOC's .xml beside, as PEDRo's."""
    real: tuple[Path, ...] = ()
    """Realism: real recordings, or folders of them (all that lie below). What they show is not looked at:
    name those with people."""
    output: Path | None = None
    """Also write: realism and boxes, a picture (.png); dhp19 and mmhpsd, all numbers (.csv) or all tables
    (.md)."""
    start: Literal["none", "true", "image"] = "none"
    """Capture, dhp19, mmhpsd: give the true start pose (dhp19: the fitted one), or none; mmhpsd also: that
    which its layout A has estimated from the first image."""
    contours: bool = True
    """Capture, dhp19's bodies: follow a body whose start is given by its contours, too."""
    weights: Path | None = None
    """ShapeNet (capture, mmhpsd), FlowNet (flow) or SWAHR weights (boxes), by default the shipped ones;
    dhp19: a ShapeNet's for a folder of bodies, or the CNN's, as `eventhpe train cnn` leaves them or as
    published (Keras), for frames."""
    flow_weights: Path | None = None
    """Capture, dhp19's bodies, mmhpsd: FlowNet weights."""
    start_weights: Path | None = None
    """Capture: HEMlets PoSh weights to guess the start pose with, or the word "shipped"."""
    finder: Literal["network", "density"] = "network"
    """Capture: who finds people, as in `eventhpe capture`."""
    people_weights: Path = Path("shipped")
    """Capture: SAHR + WAHR weights that find people, or the word "shipped"."""
    compare: Path | None = None
    """Flow, pose2d, pose3d: second weights to compare with."""
    subjects: tuple[int, ...] = ()
    """Dhp19: subjects to test on; S13 to S17 if none are named."""
    drop: tuple[str, ...] = ()
    """Dhp19: recordings to leave out, e.g. S14_5_3 S16_2_1."""
    drop_last: bool = False
    """Dhp19's CNN: leave out the last frame of every recording."""
    hold: tuple[float, ...] = ()
    """Dhp19's CNN: thresholds of the confidence hold, a row each beside the one without; 0.3 if none are
    named."""
    average: Literal["per_frame", "per_batch16", "per_recording", "per_subject"] = "per_frame"
    """Dhp19: what weighs the same."""
    label_width: Literal[344, 346] = 344
    """Dhp19's CNN: columns within which labels count."""
    clips: Literal["eventhpe", "tracker-8", "tracker-64"] = "eventhpe"
    """Mmhpsd: clips of 8 steps, one at every frame (EventHPE), or of 8 or 64 steps that share none (the SNN
    tracker)."""
    split: Literal["test", "val"] = "test"
    """Mmhpsd: the authors' test subjects, or the two training subjects kept aside."""
    crop: Literal["image", "person", "true-box"] | None = None
    """Mmhpsd, dhp19's bodies: what the network sees: the whole image (mmhpsd; parity variant if not told), a
    square around the person found in the events (fixed variant), or one around the true joints."""
    json: bool = False
    """Print JSON, per recording and averaged."""


def run(options: Options) -> int:
    """Evaluate and print a table."""
    from eventhpe.data.synthetic import list_recordings
    from eventhpe.errors import FormatError

    if options.start == "image" and options.protocol != "mmhpsd":
        raise FormatError(f"--start image goes with `evaluate mmhpsd`, not {options.protocol}.")
    plain = options.protocol in ("capture", "flow", "pose2d", "pose3d")
    if plain and (options.real or options.output is not None):
        raise FormatError(f"--real and --output go with `evaluate realism`, not {options.protocol}.")
    if options.protocol == "dhp19":
        from eventhpe.cli.evaluate_dhp19 import evaluate_dhp19

        return evaluate_dhp19(options)
    if options.protocol == "mmhpsd":
        from eventhpe.cli.evaluate_mmhpsd import evaluate_mmhpsd

        return evaluate_mmhpsd(options)
    if options.protocol == "boxes":
        from eventhpe.cli.evaluate_boxes import evaluate_boxes

        return evaluate_boxes(options)
    if options.protocol in ("pose2d", "pose3d"):
        from eventhpe.cli.evaluate_pose import evaluate_pose

        return evaluate_pose(options)
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
    from eventhpe.capture_helpers import CaptureHelpers
    from eventhpe.data.labels import Labels, read_labels
    from eventhpe.data.start import start_from_labels
    from eventhpe.evaluation.protocols import METRICS, CaptureEstimate, ClipScores, average, evaluate_capture
    from eventhpe.events.open import open_recording
    from eventhpe.weights.files import or_shipped

    networks = Networks.load(_str(options.weights), _str(options.flow_weights))
    posh = or_shipped(options.start_weights, "posh")
    people = or_shipped(options.people_weights, "swahr") if options.finder == "network" else None
    helpers = CaptureHelpers.load(_str(posh), _str(people))

    def estimate(path: Path, labels: Labels) -> CaptureEstimate:
        start = start_from_labels(labels) if options.start == "true" else None
        with open_recording(path) as recording:
            captured = capture(
                recording, networks, labels.camera, start=start, contours=options.contours, helpers=helpers
            )
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
        "contours": options.start == "true" and options.contours,
        "helpers": {
            "start_weights": _str(options.start_weights),
            "finder": options.finder,
            "people_weights": None if people is None else _str(options.people_weights),
        },
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


def _str(path: Path | None) -> str | None:
    return None if path is None else str(path)
