"""`eventhpe evaluate pose2d` and `pose3d`: joints of pose networks against labels."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from eventhpe.cli.evaluate import Options
    from eventhpe.data.pose_sample import PoseSample
    from eventhpe.evaluation.pose import RecordingPoses
    from eventhpe.geometry.skeleton import Skeleton
    from eventhpe.shapenet.heads.base import Decoded
    from eventhpe.shapenet.heads.swahr import SWAHRNet
    from eventhpe.weights.files import WeightsCard


def evaluate_pose(options: Options) -> int:
    """Score one or two networks and print a table.

    Raises:
        FormatError: weights of another system, or two networks that do not fit each other.
        MissingAssetError: no weights.
    """
    from eventhpe.errors import MissingAssetError
    from eventhpe.shapenet.heads.swahr import SWAHRNet
    from eventhpe.weights.files import load_network

    if options.weights is None:
        raise MissingAssetError(
            f"evaluate {options.protocol} needs --weights, such as `eventhpe train simdr` leaves."
        )
    paths = [options.weights] + ([] if options.compare is None else [options.compare])
    loaded = [(path, *load_network(path)) for path in paths]
    if isinstance(loaded[0][1], SWAHRNet):
        report = _people(options, [(p, n, c) for p, n, c in loaded if isinstance(n, SWAHRNet)], len(loaded))
    else:
        report = _crops(options, loaded)
    print(json.dumps(report, indent=1) if options.json else _text(report))
    return 0


def _crops(options: Options, loaded: list[tuple[Path, torch.nn.Module, WeightsCard]]) -> dict[str, Any]:
    from eventhpe.data.pose_samples import PoseSamples
    from eventhpe.data.windows import GRAY, INPUT_KINDS, NUM_CHANNELS
    from eventhpe.errors import FormatError
    from eventhpe.evaluation.pose import (
        METRICS_2D,
        METRICS_3D,
        constant_answers,
        estimate_poses,
        orders_right,
        scores_2d,
        scores_3d,
    )
    from eventhpe.evaluation.tables import average_scores, json_ready
    from eventhpe.pose import reads_gray
    from eventhpe.shapenet.heads.hemlets import HEMletsHead
    from eventhpe.shapenet.heads.pose_net import PoseNet

    estimators, sizes, skeletons, kinds = {}, set(), set(), set()
    for path, network, card in loaded:
        size, skeleton, channels = _facts(path, network)
        kinds.add(GRAY if reads_gray(card) else INPUT_KINDS[0])
        if channels != NUM_CHANNELS and not reads_gray(card):
            raise FormatError(
                f"{path}: reads {channels} channels, as prepared frames of DHP19 have; labelled recordings "
                f"give windows of {NUM_CHANNELS}."
            )
        sizes.add(size)
        skeletons.add(skeleton)
        estimators[path.stem if len({p.stem for p, _, _ in loaded}) == len(loaded) else str(path)] = partial(
            _joints, network
        )
    if len(sizes) > 1 or len(skeletons) > 1 or len(kinds) > 1:
        raise FormatError(
            "the two networks differ in the size of their crops, in their joints or in what they read: "
            f"{sorted(sizes)} px, {', '.join(s.name for s in skeletons)}, {', '.join(sorted(kinds))}. "
            "Evaluate them one by one."
        )
    (size,), (skeleton,) = sizes, skeletons
    deep = options.protocol == "pose3d"
    first = loaded[0][1]
    read_order = None
    if deep and isinstance(first, PoseNet) and isinstance(first.head, HEMletsHead):
        hemlets, head = first, first.head
        read_order = lambda sample: head.predicted_order(hemlets(sample.frames))  # noqa: E731

    def say(poses: RecordingPoses) -> None:
        print(f"{poses.name}: {len(poses.truth.uv)} poses", file=sys.stderr)

    results = estimate_poses(
        _paths(options), estimators, PoseSamples(size, kind=kinds.pop(), skeleton=skeleton.name),
        skeleton=skeleton, on_recording=say, read_order=read_order,
    )  # fmt: skip
    flat, space = constant_answers(results)
    scores = [scores_3d(r, space) if deep else scores_2d(r, flat) for r in results]
    report: dict[str, Any] = {
        "protocol": options.protocol,
        "recordings": len(results),
        "poses": sum(len(r.truth.uv) for r in results),
        "conditions": "every 50 ms window of every labelled person, crops centred on the true joints"
        + ("; distance at which bones have an average adult's lengths, or the true one" if deep else ""),
        "metrics": list(METRICS_3D if deep else METRICS_2D),
        "table": average_scores(scores),
        "clips": {r.name: s for r, s in zip(results, scores, strict=True)},
    }
    if read_order is not None:
        report["order_accuracy"] = orders_right(results)
    found: dict[str, Any] = json_ready(report)
    return found


def _paths(options: Options) -> list[Path]:
    """Recordings to test on; of DHP19 with fitted bodies those of the test subjects."""
    from eventhpe.data.dhp19 import TEST_SUBJECTS
    from eventhpe.data.dhp19_bodies_files import find_bodies, holds_bodies
    from eventhpe.data.pose_places import labelled_paths

    if holds_bodies(options.data):
        return find_bodies(options.data, options.subjects or TEST_SUBJECTS)
    return labelled_paths(options.data)


def _facts(path: Path, network: torch.nn.Module) -> tuple[int, Skeleton, int]:
    """Side of the crop, skeleton and input channels."""
    from eventhpe.errors import FormatError
    from eventhpe.geometry.skeleton import SMPL_SKELETON
    from eventhpe.shapenet.heads.pose_net import PoseNet
    from eventhpe.shapenet.posh import PoShNet

    if isinstance(network, PoseNet):
        return network.config.size, network.skeleton, network.config.in_channels
    if isinstance(network, PoShNet):
        return network.config.hemlets.size, SMPL_SKELETON, network.config.hemlets.in_channels
    raise FormatError(
        f"{path}: expected weights of a head, of PoSh or of SWAHR; got {type(network).__name__}."
    )


def _joints(network: torch.nn.Module, sample: PoseSample) -> Decoded:
    """Joints of crops by a head, or SMPL's joints of PoSh's bodies."""
    from eventhpe.shapenet.heads.pose_net import PoseNet
    from eventhpe.shapenet.posh import PoShNet

    if isinstance(network, PoseNet):
        return network.joints(sample.frames, flip=True)
    assert isinstance(network, PoShNet)
    return _body_joints(network, sample)


def _body_joints(network: Any, sample: PoseSample) -> Decoded:
    import torch

    from eventhpe.body.default import open_body
    from eventhpe.shapenet.crop import crop_to_pixels, project_to_crop
    from eventhpe.shapenet.heads.base import Decoded

    output = network(sample.frames, sample.crop)
    xyz = open_body().joints(output.rotmats, output.betas, output.transl)
    uv = crop_to_pixels(project_to_crop(xyz, sample.crop), sample.frames.shape[-1])
    depth = xyz[..., 2] - xyz[:, :1, 2]
    return Decoded(uv, torch.ones_like(depth), depth)


def _people(options: Options, loaded: list[tuple[Path, SWAHRNet, WeightsCard]], given: int) -> dict[str, Any]:
    from eventhpe.data.pose_places import labelled_paths
    from eventhpe.errors import FormatError
    from eventhpe.evaluation.people import evaluate_people
    from eventhpe.evaluation.tables import json_ready
    from eventhpe.find_people import BIRTH_SCORE, trained_size

    if options.protocol != "pose2d":
        raise FormatError(f"{loaded[0][0]}: SWAHR gives joints in the image only; use evaluate pose2d.")
    if len(loaded) < given:
        raise FormatError("--compare: expected weights of SWAHR, as --weights are.")
    rows = {}
    for path, network, card in loaded:
        name = path.stem if path.stem not in rows else str(path)
        rows[name] = evaluate_people(
            labelled_paths(options.data), network, trained_size(card), sure=BIRTH_SCORE
        )
    first = next(iter(rows.values()))
    table = {
        m: {k: {"mean": v} for k, v in r.items() if k not in ("images", "people")} for m, r in rows.items()
    }
    found: dict[str, Any] = json_ready(
        {
            "protocol": "pose2d",
            "images": first["images"],
            "people": first["people"],
            "conditions": "whole images every 50 ms; average precision by keypoint similarity (one constant, "
            f"0.2), boxes at an IoU of 0.5; sure = a score of {BIRTH_SCORE:g}, with which `pose` begins",
            "metrics": [k for k in first if k not in ("images", "people")],
            "table": table,
        }
    )
    return found


def _text(report: dict[str, Any]) -> str:
    from eventhpe.evaluation.tables import text_table

    rows = []
    for method, scores in report["table"].items():
        cells = []
        for metric in report["metrics"]:
            s = scores[metric]
            if s["mean"] is None:
                cells.append("-")
            elif s.get("low") is None:
                cells.append(f"{s['mean']:.3f}")
            else:
                cells.append(f"{s['mean']:.2f} [{s['low']:.2f}, {s['high']:.2f}]")
        rows.append([method, *cells])
    lines = [text_table(["method", *report["metrics"]], rows), report["conditions"]]
    if "order_accuracy" in report:
        own, constant = (report["order_accuracy"][k] for k in ("order", "order_constant"))
        lines.append(f"depth orders right: {own:.3f}; best constant per part: {constant:.3f}")
    counted = [f"{report[k]:,} {k}" for k in ("recordings", "poses", "images", "people") if k in report]
    lines.append(", ".join(counted) + ("; 95 % bootstrap intervals in brackets" if "poses" in report else ""))
    return "\n".join(lines)
