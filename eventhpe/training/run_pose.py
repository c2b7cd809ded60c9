"""Run the trainings of the pose systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from torch import nn

from eventhpe.body.default import open_body
from eventhpe.data.crowd_samples import CrowdSamples
from eventhpe.data.dhp19_bodies_files import find_bodies, holds_bodies
from eventhpe.data.dhp19_dataset import TRAINING_SUBJECTS, VALIDATION_SUBJECTS
from eventhpe.data.dhp19_samples import recorded_subjects
from eventhpe.data.dhp19_targets import DHP19PoseDataset, DHP19PoseSamples
from eventhpe.data.jigsaw_samples import JigsawSamples
from eventhpe.data.pose_sample import PoseSample
from eventhpe.data.pose_samples import PoseSamples
from eventhpe.data.streaming import SampleStream, StreamConfig
from eventhpe.data.windows import GRAY
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.rotation import rotmat_to_sixd, sixd_to_rotmat
from eventhpe.shapenet.crop import ray_rotation
from eventhpe.shapenet.heads.pose_net import PoseNet, PoseNetConfig
from eventhpe.shapenet.heads.swahr import SWAHRConfig
from eventhpe.shapenet.hsjp import HSJPConfig, HSJPNet, Transfer, transfer
from eventhpe.shapenet.network import to_ray
from eventhpe.shapenet.posh import PoShConfig
from eventhpe.training.loop import TrainConfig, TrainResult, fit, start_from
from eventhpe.training.pose import CrowdModule, JigsawModule, PoseModule
from eventhpe.training.posh import PoShModule, StageShares
from eventhpe.weights.files import load_network

NUM_VALIDATION, VALIDATION_SEED = 512, 10_001
PROBE_SAMPLES = 256
"""Samples whose mean pose a fresh PoSh starts from."""


def train_pose(
    config: TrainConfig,
    network: PoseNetConfig,
    *,
    init: Path | None = None,
    pretrained: Path | None = None,
    transferred: Transfer = "encoder",
    weak_share: float = 0.0,
    num_labelled: int = 0,
    min_events: int = 0,
    view: Literal["person", "frame"] = "person",
    kind: Literal["counts", "gray"] = "counts",
) -> TrainResult:
    """Train a head on crops of single people.

    Args:
        config: what all trainings share.
        network: encoder and head.
        init: weights of the same network to start from.
        pretrained: HSJP weights to take the encoder (or all but the last layer) from.
        transferred: what of them.
        weak_share: share of poses that keep joints in the image and depth orders only.
        num_labelled: use so many labelled poses only; 0 = all.
        min_events: leave out windows with fewer events of the person.
        view: of DHP19's prepared frames, the square around the person or the whole frame in its own pixels.
        kind: windows of events, or gray images at the times of the poses; the network needs one input channel
            for the latter.
    Raises:
        FormatError, ShapeError: weights that do not fit, or data that lack the joints.
    """
    L.seed_everything(config.seed, verbose=False)
    samples = _pose_samples(
        config, network.skeleton, weak_share=weak_share, num_labelled=num_labelled, min_events=min_events,
        view=view, kind=kind,
    )  # fmt: skip
    module = PoseModule(network, lr=config.lr, steps=config.steps)
    assert isinstance(module.network, PoseNet)
    start_from(module.network, init)
    if pretrained is not None:
        source = load_network(pretrained)[0]
        if not isinstance(source, HSJPNet):
            raise FormatError(f"{pretrained}: expected weights of `eventhpe train hsjp`.")
        transfer(source, module.network, transferred)
    extra = {
        "weak_share": weak_share,
        "num_labelled": num_labelled,
        "min_events": min_events,
        "view": view,
        "input_kind": "dhp19" if isinstance(samples, DHP19PoseSamples) else kind,
        "pretrained": None if pretrained is None else f"{pretrained.name}, {transferred}",
    }
    data, val = _data(config, samples)
    return fit(config, module, data, val, name=network.head, extra=extra, facts=_told_of_dhp19(config))


def train_posh(
    config: TrainConfig,
    network: PoShConfig,
    *,
    shares: StageShares | None = None,
    later: float = 1.0,
    init: Path | None = None,
    hemlets: Path | None = None,
    min_events: int = 0,
) -> TrainResult:
    """Train HEMlets PoSh in its stages.

    Args:
        config: what all trainings share.
        network: sizes.
        shares: of the stages; with `hemlets` stage A is left out unless it is asked for.
        later: factor on the step sizes of stages B and C.
        init: weights of the same network to start from.
        hemlets: weights of `eventhpe train hemlets` to stand on.
        min_events: leave out windows with fewer events of the person.
    Raises:
        FormatError, ShapeError: weights that do not fit.
    """
    L.seed_everything(config.seed, verbose=False)
    body = open_body()
    samples = _pose_samples(config, network.hemlets.skeleton, min_events=min_events)
    if shares is None and hemlets is not None:
        shares = StageShares(0.0, 0.6, 0.4)
    module = PoShModule(network, body, lr=config.lr, steps=config.steps, shares=shares, later=later)
    if hemlets is not None:
        below = load_network(hemlets)[0]
        if not isinstance(below, PoseNet):
            raise FormatError(f"{hemlets}: expected weights of `eventhpe train hemlets`.")
        module.network.start_from(below)
    data, val = _data(config, samples)
    if init is None and not (config.output / "last.ckpt").exists():
        mean = _mean_pose(config, samples)
        if mean is not None:
            module.network.set_mean_pose(mean)
    start_from(module.network, init)
    extra = {"hemlets": None if hemlets is None else hemlets.name, "body": body.name}
    return fit(config, module, data, val, name="posh", extra=extra, facts=_told_of_dhp19(config))


def train_swahr(
    config: TrainConfig, network: SWAHRConfig, *, size: tuple[int, int], init: Path | None = None
) -> TrainResult:
    """Train the bottom-up network on whole images of (H, W) pixels.

    Raises:
        FormatError: DHP19, whose recordings show one person, or weights that do not fit.
        ShapeError: a size that is no multiple of 32.
    """
    if config.source != "synthetic":
        raise FormatError("SWAHR finds several people; train it on synthetic:FOLDER or stream:PRESET.")
    L.seed_everything(config.seed, verbose=False)
    samples = CrowdSamples(size[0], size[1], skeleton=network.skeleton)
    module = CrowdModule(network, lr=config.lr, steps=config.steps)
    start = module.network
    if init is not None:
        _take_over(start, load_network(init)[0], init)
    data, val = _data(config, samples)
    return fit(config, module, data, val, name="swahr", extra={"size": list(size)})


def train_hsjp(config: TrainConfig, network: HSJPConfig, *, init: Path | None = None) -> TrainResult:
    """Solve jigsaw puzzles of unlabelled crops; `config.data` is a folder of recordings of any format."""
    if isinstance(config.data, StreamConfig):
        raise ShapeError("HSJP trains on recordings:FOLDER or synthetic:FOLDER.")
    L.seed_everything(config.seed, verbose=False)
    samples = JigsawSamples(network.size, network.rows, network.columns)
    module = JigsawModule(network, lr=config.lr, steps=config.steps, seed=config.seed)
    start_from(module.network, init)
    data, val = _data(config, samples)
    return fit(config, module, data, val, name="hsjp", extra={})


def _pose_samples(
    config: TrainConfig,
    skeleton: str,
    *,
    weak_share: float = 0.0,
    num_labelled: int = 0,
    min_events: int = 0,
    view: str = "person",
    kind: str = "counts",
) -> PoseSamples | DHP19PoseSamples:
    """How samples are drawn; of DHP19's prepared frames where that is what the folder holds."""
    if config.source == "dhp19" and kind == GRAY:
        raise FormatError("DHP19 has no gray images; train on gray images with --data synthetic:FOLDER.")
    if config.source == "dhp19" and isinstance(config.data, Path) and not holds_bodies(config.data):
        if num_labelled:
            raise FormatError("num_labelled goes with recordings of ours, not with prepared frames of DHP19.")
        return DHP19PoseSamples(
            config.size_px, skeleton=skeleton, weak_share=weak_share, subjects=_subjects(config),
            min_events=min_events, view=view,
        )  # fmt: skip
    if view != "person":
        raise FormatError("whole frames are those of `eventhpe prepare dhp19`; recordings give squares.")
    return PoseSamples(
        config.size_px, kind=kind, skeleton=skeleton, weak_share=weak_share, num_labelled=num_labelled,
        min_events=min_events,
    )  # fmt: skip


def _subjects(config: TrainConfig) -> tuple[int, ...]:
    held = () if config.val_data is None else VALIDATION_SUBJECTS
    return tuple(s for s in TRAINING_SUBJECTS if s not in held)


def _data(config: TrainConfig, samples: Any) -> tuple[Any, Any]:
    """Training and validation data; of DHP19 by subjects."""
    plain = replace(samples, augment=False)
    for name in ("weak_share", "num_labelled"):
        if hasattr(plain, name):
            plain = replace(plain, **{name: 0})
    of_training: Any = config.data
    of_validation: Any = config.val_data
    if isinstance(samples, DHP19PoseSamples):
        plain = replace(plain, subjects=VALIDATION_SUBJECTS)
    elif config.source == "dhp19" and isinstance(config.data, Path):
        of_training = find_bodies(config.data, _subjects(config))
        if config.val_data is not None:
            of_validation = find_bodies(config.val_data, VALIDATION_SUBJECTS)
    val = None if of_validation is None else plain.open(of_validation, NUM_VALIDATION, VALIDATION_SEED)
    if isinstance(config.data, StreamConfig):
        return SampleStream(config.data, samples, batch_size=config.batch_size, workers=config.workers), val
    return samples.open(of_training, config.steps * config.batch_size, config.seed), val


def _told_of_dhp19(config: TrainConfig) -> Callable[[Any], dict[str, Any]]:
    """What cards say about DHP19: the subjects, so that none of them is tested on unnoticed."""
    if config.source != "dhp19":
        return lambda data: {}

    def told(data: Any) -> dict[str, Any]:
        subjects = data.subjects if isinstance(data, DHP19PoseDataset) else recorded_subjects(data.paths)
        return {"source": "dhp19", "subjects": subjects}

    return told


def _mean_pose(config: TrainConfig, samples: PoseSamples | DHP19PoseSamples) -> torch.Tensor | None:
    """(24, 3, 3) mean rotations of samples with a known body, the root relative to the crop's ray; None where
    there are no such samples, or only after recordings were generated: the network then begins upright."""
    if isinstance(config.data, StreamConfig) or isinstance(samples, DHP19PoseSamples):
        return None
    drawn = replace(samples, size_px=32, augment=False).open(config.data, PROBE_SAMPLES, config.seed + 7)
    poses = [drawn[i] for i in range(PROBE_SAMPLES)]
    known: list[PoseSample] = [p for p in poses if p.body_known]
    if not known:
        return None
    rays = ray_rotation(torch.stack([p.crop for p in known]))
    rotmats = to_ray(torch.stack([p.rotmats for p in known]), rays)
    return sixd_to_rotmat(rotmat_to_sixd(rotmats).mean(0))


def _take_over(network: nn.Module, source: nn.Module, where: Path) -> None:
    """Weights of a bottom-up network whose loss may differ: scale heads that it lacks stay fresh.

    Raises:
        FormatError: another network.
    """
    own, given = network.state_dict(), source.state_dict()
    fits = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    lacking = [k for k in own if k not in fits and not k.startswith("scales.")]
    if lacking:
        raise FormatError(
            f"{where}: lacks {lacking[0]} and {len(lacking) - 1} more; another network's weights."
        )
    network.load_state_dict({**own, **fits})
