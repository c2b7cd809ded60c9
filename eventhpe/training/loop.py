"""The training loop of all systems: Lightning trainer, resumable checkpoints, weights with a card."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch.utils.data import DataLoader

from eventhpe.data.sample import collate
from eventhpe.data.streaming import SampleStream, StreamConfig
from eventhpe.errors import ShapeError
from eventhpe.weights.files import WeightsCard, load_into, load_tensors, read_card, save_network

CHECKPOINT_STEPS = 200


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
    """Samples per step, over all devices: windows, crops or images, for ShapeNet clips."""
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
    source: Literal["synthetic", "mmhpsd", "dhp19"] = "synthetic"
    """What the folders hold: recordings of ours, MMHPSD in one of its layouts, DHP19 as prepared."""
    val_every: int = 500
    """Steps between validations."""
    max_minutes: float = 0.0
    """Stop after this many minutes, keeping a checkpoint to go on from; 0 = no limit."""
    devices: int = 1
    """GPUs, or processes where there is none, that share every batch. Each process repeats what led here."""
    command: str = ""
    """Command line, written into the weights' card."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "lr", "size_px", "val_every", "devices"):
            if getattr(self, name) <= 0:
                raise ShapeError(f"TrainConfig.{name} must be positive; got {getattr(self, name)}.")
        if self.batch_size % self.devices:
            raise ShapeError(
                f"a batch of {self.batch_size} cannot be shared evenly by {self.devices} devices."
            )
        if self.devices > 1 and isinstance(self.data, StreamConfig):
            raise ShapeError("a stream cannot be shared by several devices; train on a folder of recordings.")


@dataclass(frozen=True)
class TrainResult:
    """Where the weights are, whether the schedule was finished, and the last logged metrics."""

    weights: Path
    finished: bool
    metrics: dict[str, float]


class TimeLimit(L.Callback):
    """Stop after this many minutes of this run, however long earlier runs took."""

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.end = float("inf")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.end = time.monotonic() + self.seconds

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Look at the clock; all devices stop together."""
        if trainer.strategy.reduce_boolean_decision(time.monotonic() > self.end, all=False):
            trainer.should_stop = True


def fit(
    config: TrainConfig,
    module: L.LightningModule,
    data: Any,
    val: Any,
    *,
    name: str,
    extra: dict[str, Any],
    facts: Callable[[Any], dict[str, Any]] = lambda data: {},
) -> TrainResult:
    """Train a module's `network`, going on from `last.ckpt` in the output folder, and write its weights.

    Args:
        config: what all trainings share.
        module: with `network` and `card()`.
        data: data set or stream; its `offset` is moved on when a run goes on.
        val: data set to validate on, or None.
        name: of the weights: `<name>.safetensors`.
        extra: told in the card beside the module's own.
        facts: more to tell about the data.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    last, weights = config.output / "last.ckpt", config.output / f"{name}.safetensors"
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
    trainer = make_trainer(
        config.output, steps=config.steps, precision=config.precision, max_minutes=config.max_minutes,
        val_every=None if val is None else config.val_every, done=done, clip=1.0, tensorboard=True,
        devices=config.devices,
    )  # fmt: skip
    val_loader = None if val is None else _loader(val, config)
    resume = last if last.exists() else None
    trainer.fit(module, _loader(data, config), val_loader, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(last)
    metrics = {k: float(v) for k, v in trainer.logged_metrics.items()}
    if val_loader is not None:
        validated = trainer.validate(module, val_loader, verbose=False)[0]
        metrics.update({k: float(v) for k, v in validated.items()})
    if not trainer.is_global_zero:
        raise SystemExit(0)  # the first process writes and tells
    training = module.card() | extra  # type: ignore[operator]
    training |= {"batch_size": config.batch_size, "seed": config.seed, "precision": config.precision}
    training |= {"devices": config.devices}
    minutes += (time.monotonic() - began) / 60
    training |= {"minutes": round(minutes, 1), "steps_done": int(trainer.global_step)}
    told = _data_facts(config, data, trainer.global_step)
    card = WeightsCard(
        system=name,
        config={},
        data=told | ({} if isinstance(data, SampleStream) else facts(data)) | {"training": training},
        metrics=metrics,
        command=config.command,
    )
    network = module.network
    assert isinstance(network, torch.nn.Module)
    save_network(weights, network, card, half=True)
    return TrainResult(weights, trainer.global_step >= config.steps, metrics)


def start_from(network: torch.nn.Module, init: Path | None, *, may_lack: tuple[str, ...] = ()) -> None:
    """Fill a network with weights of its own kind; None leaves it as it is.

    Args:
        may_lack: beginnings of names; such tensors stay as they are when the file has none of them.
    """
    if init is not None:
        tensors = dict(load_tensors(init)[0])
        for start in may_lack:
            if not any(name.startswith(start) for name in tensors):
                own = network.state_dict().items()
                tensors |= {name: value for name, value in own if name.startswith(start)}
        load_into(network, tensors, where=str(init))


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


def make_trainer(
    output: Path,
    *,
    steps: int,
    precision: str,
    max_minutes: float = 0.0,
    val_every: int | None = None,
    done: int = 0,
    clip: float | None = None,
    tensorboard: bool = False,
    devices: int = 1,
) -> L.Trainer:
    """Lightning's trainer with resumable checkpoints in `last.ckpt` and CSV logs.

    Args:
        output: folder for both.
        steps: optimiser steps of the whole training.
        precision: of Lightning.
        max_minutes: of this run; 0 = no limit.
        val_every: steps between validations; None = no validation.
        done: steps of earlier runs.
        clip: largest norm of the gradient.
        tensorboard: log for TensorBoard, too.
        devices: GPUs, or processes where there is none; gradients are averaged over them.
    """
    callbacks: list[L.Callback] = [
        ModelCheckpoint(
            output, filename="last", every_n_train_steps=CHECKPOINT_STEPS, enable_version_counter=False
        ),
        TQDMProgressBar(refresh_rate=20),
    ]
    if max_minutes:
        callbacks.append(TimeLimit(max_minutes))
    loggers: list[Logger] = [CSVLogger(output, name="log", version=f"from_{done}")]
    if tensorboard:
        loggers.append(TensorBoardLogger(output, name="tb", version=""))
    return L.Trainer(
        accelerator="auto",
        devices=devices,
        # A shape that is known leaves the layer that guesses it without gradients.
        strategy="auto" if devices == 1 else "ddp_find_unused_parameters_true",
        precision=precision,  # type: ignore[arg-type]
        max_steps=steps,
        gradient_clip_val=clip,
        default_root_dir=output,
        logger=loggers,
        callbacks=callbacks,
        val_check_interval=None if val_every is None else min(val_every, steps),
        check_val_every_n_epoch=1 if val_every is None else None,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        enable_model_summary=False,
    )


def _loader(data: Any, config: TrainConfig) -> DataLoader[Any]:
    if isinstance(data, SampleStream):  # brings its own batches and processes
        return DataLoader(data, batch_size=None, num_workers=0)
    return DataLoader(
        data,
        batch_size=config.batch_size // config.devices,
        num_workers=config.workers,
        collate_fn=collate,
        multiprocessing_context="spawn" if config.workers else None,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
    )
