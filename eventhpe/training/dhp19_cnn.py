"""Training of DHP19's CNN by the published recipe (Calabrese et al., CVPRW 2019).

Mean squared error over all pixels and joints; RMSprop with rho 0.9 and epsilon 1e-7; 20 epochs at 1e-3, a
tenth of it after half of them and a hundredth after three quarters. The schedule is recalled from the paper,
the batch size is not published (replications use 32 to 64).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Subset

from eventhpe.data.dhp19_dataset import (
    FRONT_CHANNELS,
    TRAINING_SUBJECTS,
    VALIDATION_SUBJECTS,
    EpochOrder,
    HeatmapDataset,
    HeatmapSample,
)
from eventhpe.data.dhp19_heatmaps import Border, decode_heatmaps, heatmap_targets
from eventhpe.data.dhp19_prepared import PreparedDHP19
from eventhpe.errors import MissingAssetError, ShapeError
from eventhpe.shapenet.heads.dhp19_cnn import DHP19CNN
from eventhpe.training.loop import TrainResult, make_trainer
from eventhpe.weights.dhp19_cnn import DHP19_CNN_SYSTEM, load_dhp19_cnn, save_dhp19_cnn
from eventhpe.weights.files import WeightsCard, read_card

VALIDATION_FRAMES = 2048
"""Frames that are validated on, evenly spread over the held-out subjects."""


@dataclass(frozen=True)
class CNNTrainConfig:
    """A training of DHP19's CNN.

    Raises:
        ShapeError: a value is out of range, with its name.
    """

    data: Path
    """Folder of prepared recordings, see `eventhpe prepare dhp19`."""
    output: Path
    """Folder for checkpoints, logs and the weights."""
    epochs: float = 20.0
    """Passes over all frames of both views."""
    batch_size: int = 32
    """Frames per step."""
    lr: float = 1e-3
    """Learning rate of the first half."""
    sigma: float = 2.0
    """Of the targets in pixels: 2 in the paper, 4 in the authors' code."""
    border: Border = "reflect"
    """Of the targets at image borders, see `blur_profiles`."""
    size: tuple[int, int] = (260, 344)
    """(H, W), the upper left part of the frame that is trained on; multiples of 4."""
    hold_out: bool = True
    """Keep S10 to S12 for validation; else all of S1 to S12 train."""
    min_events: int = 0
    """Leave out frames with fewer events."""
    seed: int = 1
    """Of the initial weights and of the order."""
    workers: int = 1
    """Data-loading processes; 0 = this one."""
    precision: str = "32-true"
    """Lightning precision: bf16-mixed or 32-true."""
    val_every: int = 500
    """Steps between validations."""
    max_minutes: float = 0.0
    """Stop after this many minutes, keeping a checkpoint to go on from; 0 = no limit."""
    init: Path | None = None
    """Weights to start from: ours, or a Keras file."""
    command: str = ""
    """Command line, written into the weights' card."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr", "sigma", "val_every"):
            if getattr(self, name) <= 0:
                raise ShapeError(f"CNNTrainConfig.{name} must be positive; got {getattr(self, name)}.")
        if any(side <= 0 or side % 4 for side in self.size):
            raise ShapeError(f"CNNTrainConfig.size must be multiples of 4; got {self.size}.")

    def steps(self, num_samples: int) -> int:
        """Optimiser steps for a set of so many frames."""
        return max(1, round(self.epochs * num_samples / self.batch_size))


class DHP19CNNModule(L.LightningModule):
    """The CNN with its loss.

    Args:
        lr: learning rate of the first half.
        steps: length of the schedule.
        sigma, border: of the targets.
    """

    def __init__(self, *, lr: float, steps: int, sigma: float, border: Border = "reflect") -> None:
        super().__init__()
        self.network = DHP19CNN()
        self.lr, self.steps = lr, steps
        self.sigma, self.border = sigma, border

    def training_step(self, sample: HeatmapSample, batch_idx: int) -> Tensor:
        """Mean squared error of B frames."""
        loss = mse_loss(self._maps(sample), self._targets(sample))
        self.log("train/mse", loss, batch_size=len(sample.frame))
        return loss

    def validation_step(self, sample: HeatmapSample, batch_idx: int) -> None:
        """Mean squared error, and mean distance in pixels of the decoded joints from the cut labels."""
        maps = self._maps(sample)
        self.log("val/mse", mse_loss(maps, self._targets(sample)), batch_size=len(maps))
        pixels, _ = decode_heatmaps(maps)
        distance = (pixels - sample.pixels).float().norm(dim=-1)
        error = (distance * sample.valid).sum(-1) / sample.valid.sum(-1)
        self.log("val/mpjpe_px", error.mean(), batch_size=len(maps))

    def configure_optimizers(self) -> Any:
        """RMSprop in three stages."""
        optimizer = torch.optim.RMSprop(self.network.parameters(), lr=self.lr, alpha=0.9, eps=1e-7)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.stage)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def stage(self, step: int) -> float:
        """Factor of the learning rate: 1, 0.1 after half of the steps, 0.01 after three quarters."""
        return 1.0 if 2 * step < self.steps else 0.1 if 4 * step < 3 * self.steps else 0.01

    def card(self) -> dict[str, Any]:
        """What the weights' card says about this training."""
        return {"lr": self.lr, "steps": self.steps, "sigma_px": self.sigma, "border": self.border}

    def _maps(self, sample: HeatmapSample) -> Tensor:
        frames = sample.frame.float().contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.network(frames)
        return maps.float()

    def _targets(self, sample: HeatmapSample) -> Tensor:
        size = (sample.frame.shape[2], sample.frame.shape[3])
        return heatmap_targets(sample.pixels, sample.valid, size, sigma=self.sigma, border=self.border)


def train_dhp19_cnn(config: CNNTrainConfig) -> TrainResult:
    """Train on S1 to S12, both front views pooled; never on S13 to S17, the test subjects.

    Goes on from `last.ckpt` in the output folder. The weights are those of the last step: none is chosen by
    its score, on validation or test frames.

    Raises:
        MissingAssetError: no prepared recording of a training subject, or none to validate on.
        FormatError: the prepared files are damaged, or hold several sets.
    """
    L.seed_everything(config.seed, verbose=False)
    data, val = _sets(config)
    steps = config.steps(len(data))
    config.output.mkdir(parents=True, exist_ok=True)
    last, weights = config.output / "last.ckpt", config.output / f"{DHP19_CNN_SYSTEM}.safetensors"
    began, done, minutes = time.monotonic(), 0, 0.0
    if last.exists():
        done = int(torch.load(last, weights_only=True, map_location="cpu")["global_step"])
        if weights.exists():
            card = read_card(weights)
            minutes = float(card.data["training"]["minutes"])
            if done >= steps:
                return TrainResult(weights, True, card.metrics)
    module = DHP19CNNModule(lr=config.lr, steps=steps, sigma=config.sigma, border=config.border)
    if config.init is not None:
        module.network.load_state_dict(load_dhp19_cnn(config.init)[0].state_dict())
    trainer = make_trainer(
        config.output, steps=steps, precision=config.precision, max_minutes=config.max_minutes,
        val_every=None if val is None else config.val_every, done=done,
    )  # fmt: skip
    order = EpochOrder(len(data), steps * config.batch_size, config.seed, offset=done * config.batch_size)
    val_loader = None
    if val is not None:
        chosen = Subset(val, val.spread(VALIDATION_FRAMES))
        val_loader = DataLoader(chosen, batch_size=config.batch_size, collate_fn=_collate)
    resume = last if last.exists() else None
    trainer.fit(module, _loader(data, order, config), val_loader, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(last)
    metrics = {k: float(v) for k, v in trainer.logged_metrics.items()}
    if val_loader is not None:
        validated = trainer.validate(module, val_loader, verbose=False)[0]
        metrics.update({k: float(v) for k, v in validated.items()})
    minutes += (time.monotonic() - began) / 60
    training = module.card() | {
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "size": list(config.size),
        "min_events": config.min_events,
        "seed": config.seed,
        "precision": config.precision,
        "minutes": round(minutes, 1),
        "steps_done": int(trainer.global_step),
    }
    card = WeightsCard(
        system=DHP19_CNN_SYSTEM, config={}, data=_facts(config, data, val) | {"training": training},
        metrics=metrics, command=config.command, notes="Frames of DHP19 in 0..255, cameras 2 and 3.",
    )  # fmt: skip
    save_dhp19_cnn(weights, module.network, card)
    return TrainResult(weights, trainer.global_step >= steps, metrics)


def _sets(config: CNNTrainConfig) -> tuple[HeatmapDataset, HeatmapDataset | None]:
    prepared = PreparedDHP19(config.data)
    held = VALIDATION_SUBJECTS if config.hold_out else ()
    parts = []
    for name, subjects in (("train", [s for s in TRAINING_SUBJECTS if s not in held]), ("validate", held)):
        recordings = prepared.of(tuple(subjects))
        if subjects and not recordings:
            there = ", ".join(f"S{s}" for s in sorted({r.subject for r in prepared}))
            asked = ", ".join(f"S{s}" for s in subjects)
            raise MissingAssetError(
                f"{config.data}: nothing to {name} on: expected recordings of {asked}; it holds {there}. "
                "Prepare more of DHP19, or train on all training subjects (hold_out=False, --no-hold-out)."
            )
        parts.append(recordings)
    options: dict[str, Any] = {"size": config.size, "channels": FRONT_CHANNELS}
    data = HeatmapDataset(parts[0], min_events=config.min_events, **options)
    return data, HeatmapDataset(parts[1], **options) if held else None


def _facts(config: CNNTrainConfig, data: HeatmapDataset, val: HeatmapDataset | None) -> dict[str, Any]:
    """What the card says about the data; of paths only the last name."""
    facts: dict[str, Any] = {
        "folder": config.data.name,
        "subjects": sorted({r.subject for r in data.recordings}),
        "recordings": len(data.recordings),
        "frames": len(data),
    }
    if val is not None:
        facts["validation"] = {"subjects": sorted({r.subject for r in val.recordings}), "frames": len(val)}
    return facts


def _loader(data: HeatmapDataset, order: EpochOrder, config: CNNTrainConfig) -> DataLoader[HeatmapSample]:
    return DataLoader(
        data,
        batch_size=config.batch_size,
        sampler=order,
        collate_fn=_collate,
        num_workers=config.workers,
        multiprocessing_context="spawn" if config.workers else None,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
    )


def _collate(samples: list[HeatmapSample]) -> HeatmapSample:
    return HeatmapSample(*(torch.stack(values) for values in zip(*samples, strict=True)))
