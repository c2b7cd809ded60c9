"""`eventhpe evaluate dhp19`: joints of its CNN, or bodies from events, on DHP19's markers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from eventhpe.capture import Capture, Networks
    from eventhpe.cli.evaluate import Options
    from eventhpe.data.labels import Labels
    from eventhpe.evaluation.dhp19 import RecordingErrors
    from eventhpe.evaluation.dhp19_report import DHP19Report
    from eventhpe.events.recording import Recording
    from eventhpe.shapenet.state import StartState
    from eventhpe.weights.files import WeightsCard


def evaluate_dhp19(options: Options) -> int:
    """Evaluate what the weights are of, and print or write tables."""
    from eventhpe.errors import FormatError
    from eventhpe.evaluation.dhp19_report import comma_separated, markdown

    if options.real:
        raise FormatError("--real goes with `evaluate realism`, not dhp19.")
    writers = {".csv": comma_separated, ".md": markdown}
    if options.output is not None and options.output.suffix.lower() not in writers:
        raise FormatError(f"--output {options.output}: tables are written as .csv or .md.")
    report = _bodies(options) if _is_of_bodies(options) else _cnn(options)
    _tell(options, report)
    return 0


def _is_of_bodies(options: Options) -> bool:
    """Whether a ShapeNet is evaluated: by the weights' card, and without weights by what the folder holds."""
    from eventhpe.data.dhp19_bodies_files import holds_bodies
    from eventhpe.errors import EventHPEError
    from eventhpe.weights.files import read_card

    if options.weights is None:
        return holds_bodies(options.data)
    try:
        return read_card(options.weights).system == "shapenet"
    except EventHPEError:
        return False  # a Keras file has no card; what else is wrong, the CNN's loader says


def _tell(options: Options, report: DHP19Report) -> None:
    from eventhpe.atomic import PendingFile
    from eventhpe.evaluation.dhp19_report import comma_separated, markdown, report_text

    if options.output is not None:
        write = comma_separated if options.output.suffix.lower() == ".csv" else markdown
        with PendingFile(options.output) as pending:
            pending.temporary.write_text(write(report), encoding="utf-8")
    print(json.dumps(report.as_dict(), indent=1) if options.json else report_text(report))


def _warn(card: WeightsCard, report: DHP19Report) -> None:
    """Weights that have seen who is tested."""
    trained_on = set(card.data.get("subjects", ())) & set(report.conditions["subjects"])
    if trained_on:
        named = ", ".join(f"S{s}" for s in sorted(trained_on))
        print(f"warning: these weights were trained on {named}, which is tested here", file=sys.stderr)


def _cnn(options: Options) -> DHP19Report:
    import torch

    from eventhpe.data.dhp19 import TEST_SUBJECTS
    from eventhpe.data.dhp19_prepared import PreparedDHP19
    from eventhpe.errors import FormatError, MissingAssetError
    from eventhpe.evaluation.dhp19_report import PUBLISHED_HOLD, DHP19Protocol
    from eventhpe.evaluation.dhp19_report import evaluate_dhp19 as evaluate

    if options.crop is not None or options.start != "none":
        raise FormatError("--crop and --start go with a ShapeNet's weights, not with those of DHP19's CNN.")
    if options.weights is None:
        raise MissingAssetError(
            "evaluate dhp19 needs --weights: those of `eventhpe train cnn`, or the published DHP_CNN.model; "
            "on a folder from `eventhpe prepare dhp19 --mode bodies`, those of `eventhpe train shapenet`."
        )
    protocol = DHP19Protocol(
        subjects=options.subjects or TEST_SUBJECTS,
        hold=options.hold or (PUBLISHED_HOLD,),
        average=options.average,
        width=options.label_width,
        drop=options.drop,
        drop_last=options.drop_last,
    )
    network, card = _reader_of_frames(options.weights)

    def say(errors: RecordingErrors) -> None:
        known = errors.mm["absolute"]
        known = known[known == known]
        mm = f"{known.mean():.0f} mm" if len(known) else "no labels"
        print(f"{errors.name.stem}: {mm}", file=sys.stderr)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    report = evaluate(network, PreparedDHP19(options.data), protocol, device=device, on_recording=say)
    _warn(card, report)
    return report


def _reader_of_frames(path: Path) -> tuple[nn.Module, WeightsCard]:
    """DHP19's CNN, or a head trained on its prepared frames.

    Raises:
        FormatError: weights of another system, or of a head that saw people's squares.
    """
    from eventhpe.errors import FormatError
    from eventhpe.evaluation.dhp19_heads import HeadOnFrames
    from eventhpe.shapenet.heads.pose_net import PoseNet
    from eventhpe.weights.dhp19_cnn import load_dhp19_cnn
    from eventhpe.weights.files import load_network, read_card

    beside = path.with_suffix(".json")
    if not beside.is_file() or read_card(path).system != "pose":
        return load_dhp19_cnn(path)
    head, card = load_network(path)
    assert isinstance(head, PoseNet)
    if card.data.get("training", {}).get("view") != "frame":
        raise FormatError(
            f"{path}: this head was not trained on whole frames of DHP19 (train with --data dhp19:FOLDER "
            "--view frame --size-px 352); heads that see a square around the person are scored by "
            "`evaluate pose2d`."
        )
    return HeadOnFrames(head), card


def _bodies(options: Options) -> DHP19Report:
    from eventhpe.capture import Networks, capture, mean_pose_track
    from eventhpe.data.dhp19 import TEST_SUBJECTS
    from eventhpe.data.dhp19_bodies_files import find_bodies
    from eventhpe.data.start import start_from_labels
    from eventhpe.errors import FormatError
    from eventhpe.evaluation.dhp19_bodies import OURS, BodiesProtocol, evaluate_bodies
    from eventhpe.evaluation.protocols import CaptureEstimate
    from eventhpe.events.open import open_recording

    for name, usual in (("hold", ()), ("drop_last", False), ("label_width", 344)):
        if getattr(options, name) != usual:
            raise FormatError(f"--{name.replace('_', '-')} goes with the CNN's weights, not with a ShapeNet.")
    subjects = options.subjects or TEST_SUBJECTS
    paths = find_bodies(options.data, subjects)
    networks = Networks.load(_str(options.weights), _str(options.flow_weights))

    crop = options.crop or "person"
    if crop == "image":
        raise FormatError("--crop image goes with `evaluate mmhpsd`; DHP19's bodies take person or true-box.")

    used = "yes" if options.start == "true" and crop == "person" and options.contours else "no"

    def estimate(path: Path, labels: Labels) -> CaptureEstimate:
        start = start_from_labels(labels) if options.start == "true" else None
        with open_recording(path) as recording:
            if crop == "person":
                captured = capture(recording, networks, labels.camera, start=start, contours=options.contours)
            else:
                captured = _captured_in_true_boxes(recording, networks, labels, start)
        return CaptureEstimate(
            captured.clip.t_us, captured.clip.params, mean_pose_track(captured, networks.shape)
        )

    def say(name: str, result: dict[str, RecordingErrors] | str) -> None:
        if isinstance(result, str):
            print(f"warning: {name}: left out: {result}", file=sys.stderr)
            return
        known = result[OURS].mm["root_relative"]
        known = known[known == known]
        mm = f"root-relative {known.mean():.0f} mm" if len(known) else "hips are missing"
        print(f"{name}: {mm}", file=sys.stderr)

    report = evaluate_bodies(
        paths, estimate, BodiesProtocol(options.start, crop, options.average, options.drop),
        facts={**_facts(networks.shape_card, networks.flow_card), "contours": used}, on_recording=say,
    )  # fmt: skip
    _warn(networks.shape_card, report)
    return report


def _captured_in_true_boxes(
    recording: Recording, networks: Networks, labels: Labels, start: StartState | None
) -> Capture:
    """A capture that is told where the person is, instead of finding out from the events; by the networks
    alone."""
    import numpy as np

    from eventhpe.capture import Capture, to_motion, track, window_starts
    from eventhpe.data.crops import CROP_MARGIN
    from eventhpe.data.windows import WINDOW_US
    from eventhpe.evaluation.dhp19_bodies import true_boxes

    starts = window_starts(recording)
    crops = true_boxes(labels, starts, margin=CROP_MARGIN)
    rays = np.stack([crop.ray(labels.camera) for crop in crops])
    tracked, flows = track(recording, networks, starts, crops, rays, start, lambda items, what: items)
    clip = to_motion(tracked, starts + WINDOW_US, networks.shape, labels.camera, {})
    seen, counts = np.ones(len(starts), bool), np.zeros((len(starts), 2), np.int64)
    return Capture(clip, starts, crops, seen, counts, flows)


def _facts(shape: WeightsCard, flow: WeightsCard | None) -> dict[str, str]:
    return {"shape_weights": shape.sha256[:12], "flow_weights": "none" if flow is None else flow.sha256[:12]}


def _str(path: Path | None) -> str | None:
    return None if path is None else str(path)
