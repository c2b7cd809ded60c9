"""Run a training: data, Lightning trainer, resumable checkpoints, weights with a card at the end."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from eventhpe.body.default import load_body, open_body
from eventhpe.body.model import BodyModel
from eventhpe.data import mmhpsd_dataset
from eventhpe.data.mmhpsd import MMHPSD
from eventhpe.data.sample import Clip, FlowPair, collate
from eventhpe.data.streaming import ClipSamples, FlowSamples, Samples, SampleStream, StreamConfig
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import ShapeError
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.flownet.network import FlowNetConfig
from eventhpe.shapenet.losses import ShapeLossWeights
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.training.flownet import FlowNetModule, FlowObjective
from eventhpe.training.shapenet import ShapeNetModule, mean_pose
from eventhpe.weights.files import (
    WeightsCard,
    load_into,
    load_network,
    load_tensors,
    read_card,
    save_network,
)

PROBE_CLIPS = 256
"""Clips whose mean pose a fresh ShapeNet starts from."""


@dataclass(frozen=True)
class TrainConfig:
    """What all trainings share."""

    data: Path | StreamConfig
    """Folder of recordings with labels, or recordings that are generated while training runs."""
    output: Path
    """Folder for checkpoints, logs and the weights."""
    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 8
    """Samples per step: windows for FlowNet, clips for ShapeNet."""
    lr: float = 1e-3
    """Peak learning rate."""
    seed: int = 1
    """Of the initial weights and of the draws."""
    size_px: int = 128
    """Side of the square input."""
    workers: int = 1
    """Data-loading processes; for a stream, processes that generate recordings. 0 = this process."""
    precision: str = "bf16-mixed"
    """Lightning precision: bf16-mixed or 32-true."""
    val_data: Path | None = None
    """Folder of recordings to validate on; none = no validation."""
    source: Literal["synthetic", "mmhpsd"] = "synthetic"
    """What the folders hold: recordings of ours, or MMHPSD in one of its layouts."""
    val_every: int = 500
    """Steps between validations."""
    max_minutes: float = 0.0
    """Stop after this many minutes, keeping a checkpoint to go on from; 0 = no limit."""
    command: str = ""
    """Command line, written into the weights' card."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "lr", "size_px", "val_every"):
            if getattr(self, name) <= 0:
                raise ShapeError(f"TrainConfig.{name} must be positive; got {getattr(self, name)}.")


@dataclass(frozen=True)
class TrainResult:
    """Where the weights are, whether the schedule was finished, and the last logged metrics."""

    weights: Path
    finished: bool
    metrics: dict[str, float]


def train_flownet(
    config: TrainConfig,
    network: FlowNetConfig,
    *,
    objective: FlowObjective = "photometric",
    init: Path | None = None,
) -> TrainResult:
    """Train FlowNet; the parity variant sees binary frames as published, the fixed one counts."""
    L.seed_everything(config.seed, verbose=False)
    kind = "binary" if network.variant == "parity" else "counts"
    samples: Samples = FlowSamples(config.size_px, kind)
    if config.source == "mmhpsd":
        samples = mmhpsd_dataset.FlowSamples(size_px=config.size_px, kind=kind)
    data = _training_data(config, samples)
    val = None if config.val_data is None else _held_out(samples).open(config.val_data, 256, 10_001)
    module = FlowNetModule(network, objective=objective, lr=config.lr, steps=config.steps)
    _start_from(module.network, init)
    return _fit(config, module, data, val, system="flownet", extra={"input_kind": kind})


def train_shapenet(
    config: TrainConfig,
    network: ShapeNetConfig,
    *,
    loss: ShapeLossWeights,
    num_windows: int = 12,
    flow_weights: Path | None = None,
    init: Path | None = None,
) -> TrainResult:
    """Train ShapeNet on clips of `num_windows` windows, a frozen FlowNet giving the flow.

    Raises:
        ShapeError: the network uses flow and no FlowNet weights are given, or a stream's recordings are too
            short for such clips.
    """
    L.seed_everything(config.seed, verbose=False)
    parity = network.variant == "parity"
    kind = "binary" if parity else "counts"
    flow = None
    if network.use_flow:
        if flow_weights is None:
            raise ShapeError("ShapeNet with flow needs FlowNet weights (--flow-weights), or switch flow off.")
        flow_network, card = load_network(flow_weights)
        sees = card.data.get("training", {}).get("input_kind")
        if sees != kind:
            raise ShapeError(
                f"{flow_weights}: this FlowNet was trained on {sees} frames, the {network.variant} ShapeNet "
                f"reads {kind} frames; train FlowNet with the same --variant first."
            )
        flow = FlowEstimator(flow_network, batch_size=64)

    body, samples = _clip_samples(config, num_windows, kind, parity=parity)
    if isinstance(config.data, StreamConfig):
        _check_clips_fit(config.data, num_windows)
    data = _training_data(config, samples)
    val = None if config.val_data is None else _held_out(samples).open(config.val_data, 64, 10_001)
    module = ShapeNetModule(network, body, flow, loss=loss, lr=config.lr, steps=config.steps)
    begun = init is not None or (config.output / "last.ckpt").exists()
    # Where weights follow anyway, a stream need not be generated for the probe.
    if isinstance(module.network, ShapeNet) and not (begun and isinstance(config.data, StreamConfig)):
        small = replace(samples, size_px=16)  # type: ignore[type-var]
        module.network.set_mean_pose(mean_pose(_probe(config, small)))
    _start_from(module.network, init)
    return _fit(
        config, module, data, val, system="shapenet", extra={"num_windows": num_windows, "input_kind": kind}
    )


def _clip_samples(
    config: TrainConfig, num_windows: int, kind: str, *, parity: bool
) -> tuple[BodyModel, Samples]:
    """The body of the data, and how clips are drawn from it."""
    if config.source == "synthetic":
        body = open_body()
        pelvis_x = float(body.J_template[0, 0])
        return body, ClipSamples(
            num_windows, config.size_px, kind, rest_pelvis_x=pelvis_x, steady_crop=parity
        )
    assert isinstance(config.data, Path)
    worn = MMHPSD(config.data).body
    # As published for the parity variant; otherwise steps of one frame (67 ms), nearest to our windows.
    return load_body(worn.model, gender=worn.gender), mmhpsd_dataset.ClipSamples(
        num_windows=num_windows, size_px=config.size_px, kind=kind, step_frames=2 if parity else 1,
        whole_image=parity,
    )  # fmt: skip


def _held_out(samples: Samples) -> Samples:
    """The same without augmentation; of MMHPSD its validation subjects."""
    plain = replace(samples, augment=False)  # type: ignore[type-var]
    if isinstance(plain, mmhpsd_dataset.ClipSamples | mmhpsd_dataset.FlowSamples):
        return replace(plain, split="val")
    return plain


def _training_data(config: TrainConfig, samples: Samples) -> Any:
    if isinstance(config.data, StreamConfig):
        return SampleStream(config.data, samples, batch_size=config.batch_size, workers=config.workers)
    return samples.open(config.data, config.steps * config.batch_size, config.seed)


def _check_clips_fit(stream: StreamConfig, num_windows: int) -> None:
    """Refuse before anything is generated what `ClipDataset` would refuse afterwards."""
    generator = stream.generator
    if WINDOW_US % generator.label_step_us:
        raise ShapeError(
            f"GeneratorConfig.label_step_us ({generator.label_step_us}) must divide the windows of "
            f"{WINDOW_US // 1000} ms that ShapeNet learns from."
        )
    if round(generator.duration_s * 1e6) < num_windows * WINDOW_US:
        raise ShapeError(
            f"GeneratorConfig.duration_s ({generator.duration_s}) is shorter than {num_windows} windows of "
            f"{WINDOW_US // 1000} ms (--num-windows)."
        )


def _probe(config: TrainConfig, samples: Samples) -> list[Clip]:
    """Clips of the folder, or of the stream's first group."""
    if not isinstance(config.data, StreamConfig):
        drawn = samples.open(config.data, PROBE_CLIPS, config.seed + 7)
        return [drawn[i] for i in range(PROBE_CLIPS)]
    first = replace(config.data, batches=PROBE_CLIPS)
    stream = SampleStream(first, samples, batch_size=1, workers=0)
    return [Clip(*(value[0] for value in clip)) for clip in islice(stream, PROBE_CLIPS)]


def _start_from(network: torch.nn.Module, init: Path | None) -> None:
    if init is not None:
        load_into(network, load_tensors(init)[0], where=str(init))


class TimeLimit(L.Callback):
    """Stop after this many minutes of this run, however long earlier runs took."""

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.end = float("inf")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.end = time.monotonic() + self.seconds

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Look at the clock."""
        if time.monotonic() > self.end:
            trainer.should_stop = True


def _fit(
    config: TrainConfig,
    module: FlowNetModule | ShapeNetModule,
    data: Any,
    val: Any,
    *,
    system: str,
    extra: dict[str, Any],
) -> TrainResult:
    config.output.mkdir(parents=True, exist_ok=True)
    last, weights = config.output / "last.ckpt", config.output / f"{system}.safetensors"
    began, done, minutes = time.monotonic(), 0, 0.0
    if last.exists():
        done = int(torch.load(last, weights_only=True, map_location="cpu")["global_step"])
        if weights.exists():
            card = read_card(weights)
            minutes = float(card.data["training"]["minutes"])
            if done >= config.steps:
                return TrainResult(weights, True, card.metrics)
        # Samples are drawn by their place, so a resumed run goes on with the samples it has not seen yet.
        data.offset = done * config.batch_size
    trainer = _trainer(config, validates=val is not None, done=done)
    val_loader = None if val is None else _loader(val, config)
    resume = last if last.exists() else None
    trainer.fit(module, _loader(data, config), val_loader, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(last)
    metrics = {k: float(v) for k, v in trainer.logged_metrics.items()}
    if val_loader is not None:
        validated = trainer.validate(module, val_loader, verbose=False)[0]
        metrics.update({k: float(v) for k, v in validated.items()})
    training = module.card() | extra
    training |= {"batch_size": config.batch_size, "seed": config.seed, "precision": config.precision}
    minutes += (time.monotonic() - began) / 60
    training |= {"minutes": round(minutes, 1), "steps_done": int(trainer.global_step)}
    card = WeightsCard(
        system=system,
        config={},
        data=_data_facts(config, data, trainer.global_step) | {"training": training},
        metrics=metrics,
        command=config.command,
    )
    save_network(weights, module.network, card, half=True)
    return TrainResult(weights, trainer.global_step >= config.steps, metrics)


def _data_facts(config: TrainConfig, data: Any, steps: int) -> dict[str, Any]:
    """What the card says about the data that so many steps have seen; of paths only the last name."""
    if isinstance(config.data, StreamConfig):
        stream, groups = config.data, -(-steps // config.data.batches)
        used = min(groups, stream.num_groups) if stream.num_groups else groups
        facts = {
            "seed": stream.seed,
            "motions": None if stream.motions is None else stream.motions.name,
            "recordings_per_group": stream.recordings,
            "batches_per_group": stream.batches,
            "num_groups": stream.num_groups,
            "settings": asdict(stream.generator),
        }
        return {"stream": facts, "recordings": used * stream.recordings}
    assert not isinstance(data, SampleStream)
    return {"folder": config.data.name, "recordings": len(data.paths)}


def _trainer(config: TrainConfig, *, validates: bool, done: int) -> L.Trainer:
    callbacks: list[L.Callback] = [
        ModelCheckpoint(
            config.output, filename="last", every_n_train_steps=200, enable_version_counter=False
        ),
        TQDMProgressBar(refresh_rate=20),
    ]
    if config.max_minutes:
        callbacks.append(TimeLimit(config.max_minutes))
    return L.Trainer(
        accelerator="auto",
        devices=1,
        precision=config.precision,  # type: ignore[arg-type]
        max_steps=config.steps,
        gradient_clip_val=1.0,
        default_root_dir=config.output,
        logger=[
            CSVLogger(config.output, name="log", version=f"from_{done}"),
            TensorBoardLogger(config.output, name="tb", version=""),
        ],
        callbacks=callbacks,
        val_check_interval=min(config.val_every, config.steps) if validates else None,
        check_val_every_n_epoch=None if validates else 1,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        enable_model_summary=False,
    )


def _loader(data: Any, config: TrainConfig) -> DataLoader[Clip | FlowPair]:
    if isinstance(data, SampleStream):  # brings its own batches and processes
        return DataLoader(data, batch_size=None, num_workers=0)
    return DataLoader(
        data,
        batch_size=config.batch_size,
        num_workers=config.workers,
        collate_fn=collate,
        multiprocessing_context="spawn" if config.workers else None,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
    )
