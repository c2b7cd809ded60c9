"""`eventhpe evaluate mmhpsd`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventhpe.cli.evaluate import Options
    from eventhpe.data.mmhpsd import MMHPSD
    from eventhpe.evaluation.mmhpsd import Estimator
    from eventhpe.evaluation.mmhpsd_networks import ShapeNetOnClips
    from eventhpe.evaluation.tables import Scores
    from eventhpe.flownet.estimator import FlowEstimator
    from eventhpe.shapenet.state import ShapeNetConfig
    from eventhpe.weights.files import WeightsCard


def evaluate_mmhpsd(options: Options) -> int:
    """Score ShapeNet on clips of MMHPSD and print a table.

    Raises:
        MissingAssetError: no such set, no clip, no weights, or the user's SMPL model is not there.
        FormatError: weights of another body or input than the set's, or options that do not fit.
    """
    from eventhpe.atomic import PendingFile
    from eventhpe.data.mmhpsd import MMHPSD
    from eventhpe.errors import FormatError
    from eventhpe.evaluation import mmhpsd
    from eventhpe.evaluation.mmhpsd_report import comma_separated, markdown, report_mmhpsd, report_text

    writers = {".csv": comma_separated, ".md": markdown}
    if options.output is not None and options.output.suffix.lower() not in writers:
        raise FormatError(f"--output {options.output}: tables are written as .csv or .md.")
    data = MMHPSD(options.data)
    body = mmhpsd.body_for(data)
    system, notes = _system(options, data)
    methods: dict[str, Estimator] = {"shapenet": system.estimate}
    if system.network.config.variant == "fixed":
        methods["mean pose"] = system.mean_pose
    protocol = replace(mmhpsd.PROTOCOLS[options.clips], split=options.split)

    def say(name: str, scores: Scores) -> None:
        mm = scores["shapenet"]["pel_mpjpe_mm"]
        print(f"{name}: root-aligned {mm:.0f} mm", file=sys.stderr)

    results = mmhpsd.evaluate_mmhpsd(
        data,
        methods,
        body,
        protocol,
        start=options.start,
        single_events=system.kind == "counts",
        on_sequence=say,
    )
    report = report_mmhpsd(results, protocol, options.start, body=data.body, notes=notes)
    if options.output is not None:
        with PendingFile(options.output) as pending:
            pending.temporary.write_text(writers[options.output.suffix.lower()](report), encoding="utf-8")
    print(json.dumps(report.as_dict(), indent=1) if options.json else report_text(report))
    return 0


def _system(options: Options, data: MMHPSD) -> tuple[ShapeNetOnClips, tuple[str, ...]]:
    """The network on clips of the set, and sentences on what it is and sees."""
    import torch

    from eventhpe.errors import FormatError, ShapeError
    from eventhpe.evaluation.mmhpsd_networks import CROP_MEANS, ShapeNetOnClips
    from eventhpe.shapenet.network import ShapeNet
    from eventhpe.shapenet.parity import EventTrackNet
    from eventhpe.weights.files import load_network, shipped

    path = options.weights or shipped("shapenet")
    network, card = load_network(path)
    if not isinstance(network, ShapeNet | EventTrackNet):
        raise ShapeError(f"{path}: expected ShapeNet weights; got {type(network).__name__}.")
    # Weights of 0.1.0 do not say it: they were trained on synthetic people, who wear the open body.
    trained = card.data.get("training", {}).get("body", "open")
    if isinstance(network, ShapeNet) and trained != data.body.model:
        raise FormatError(
            f"{path}: trained on bodies of model {trained!r}, the set's are {data.body.model!r}; their shape "
            f"coefficients never mix. Train on it first: eventhpe train shapenet --data mmhpsd:{data.root}."
        )
    if options.start == "none" and isinstance(network, EventTrackNet):
        raise FormatError(
            f"{path}: the parity variant only adds changes to a start pose; give one with --start true or "
            "--start image."
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    flow, flow_note = _flow(options, network.config, device)
    system = ShapeNetOnClips(network, flow, data.body, crop=options.crop, device=device)
    seen = (
        f"shapenet ({network.config.variant} variant, {_named(path, card)}{flow_note}) "
        f"{CROP_MEANS[system.crop]}, at {network.config.size} px, in windows of {system.window_ms:.0f} ms"
    )
    baseline = "mean pose: that of the training set, in the middle of the square, mean shape"
    return system, (seen, baseline) if isinstance(network, ShapeNet) else (seen,)


def _flow(options: Options, config: ShapeNetConfig, device: str) -> tuple[FlowEstimator | None, str]:
    """FlowNet for networks that read flow, and what to say about it."""
    from eventhpe.errors import ShapeError
    from eventhpe.evaluation.mmhpsd_networks import input_kind
    from eventhpe.flownet.estimator import FlowEstimator
    from eventhpe.flownet.network import FlowNet
    from eventhpe.weights.files import load_network, shipped

    if not config.use_flow:
        return None, ", without flow"
    path = options.flow_weights or shipped("flownet")
    network, card = load_network(path)
    if not isinstance(network, FlowNet):
        raise ShapeError(f"{path}: expected FlowNet weights; got {type(network).__name__}.")
    wanted = input_kind(config)
    reads = card.data.get("training", {}).get("input_kind", wanted)
    if reads != wanted:
        raise ShapeError(
            f"{path}: this FlowNet reads {reads} frames, the {config.variant} ShapeNet {wanted} frames; give "
            "the FlowNet it was trained with (--flow-weights)."
        )
    return FlowEstimator(network, device=device), f", flow of {_named(path, card)}"


def _named(path: Path, card: WeightsCard) -> str:
    return f"{path.stem} {card.sha256[:12]}"
