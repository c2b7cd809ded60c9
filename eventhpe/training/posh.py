"""Training of HEMlets PoSh in its three stages."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from eventhpe.body.model import BodyModel
from eventhpe.data.pose_sample import PoseSample
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON, Skeleton
from eventhpe.shapenet.body_joints import JointsOf, body_joints
from eventhpe.shapenet.posh import STAGES, PoShConfig, PoShNet, PoShOutput
from eventhpe.shapenet.posh_losses import PoShLabels, PoShLossWeights, posh_losses

MM = 1000.0


@dataclass(frozen=True)
class StageShares:
    """Shares of the steps that stages A (HEMlets alone), B (regressor alone) and C (all) take.

    Raises:
        ShapeError: negative, or nothing at all.
    """

    a: float = 0.5
    b: float = 0.3
    c: float = 0.2

    def __post_init__(self) -> None:
        if min(self.a, self.b, self.c) < 0 or self.a + self.b + self.c <= 0:
            raise ShapeError(f"stage shares must not be negative, nor all zero; got {self}.")

    def stage(self, progress: float) -> str:
        """Stage at a share of the steps in [0, 1]."""
        place = progress * (self.a + self.b + self.c)
        if place < self.a:
            return "A"
        return "B" if place < self.a + self.b or self.c == 0 else "C"


@dataclass(frozen=True)
class _Helpers:
    """What a training uses but never saves."""

    body: BodyModel
    joints_of: JointsOf
    smpl_joints: JointsOf

    @classmethod
    def of(cls, body: BodyModel, skeleton: Skeleton) -> _Helpers:
        return cls(body, body_joints(body, skeleton), body_joints(body, SMPL_SKELETON))

    def on(self, device: torch.device, skeleton: Skeleton) -> _Helpers:
        """Copies on another device; the originals may be shared."""
        if self.body.v_template.device.type == device.type:
            return self
        return self.of(copy.deepcopy(self.body).to(device), skeleton)


class PoShModule(L.LightningModule):
    """HEMlets PoSh with its losses.

    Args:
        config: the network.
        body: of the labels.
        lr: step size of stage A; stages B and C take a tenth and a hundredth of it, times `later`.
        steps: length of all stages together.
        shares: of the stages.
        later: factor on the step sizes of stages B and C; 1 as planned for long trainings. A network that
            reads pooled features has no stages and learns at `lr`.
        loss: weights of the terms.
    """

    def __init__(
        self,
        config: PoShConfig,
        body: BodyModel,
        *,
        lr: float,
        steps: int,
        shares: StageShares | None = None,
        later: float = 1.0,
        loss: PoShLossWeights | None = None,
    ) -> None:
        super().__init__()
        self.network = PoShNet(config)
        self.network.set_body(body.J_template[0].cpu(), body.J_shapedirs[0].cpu())
        # Inside a plain object, so that the body never enters a checkpoint.
        self.helpers = _Helpers.of(body, self.network.skeleton)
        self.lr, self.steps, self.later = lr, steps, later
        # Without HEMlets below, encoder and regressor learn together from the first step.
        self.plain = self.network.head is None
        self.shares = StageShares(0.0, 0.0, 1.0) if self.plain else shares or StageShares()
        self.loss = loss or PoShLossWeights()

    def setup(self, stage: str) -> None:
        """Bring what Lightning does not know about to where the training runs."""
        self.helpers = self.helpers.on(self.trainer.strategy.root_device, self.network.skeleton)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Go to the next stage when its share of the steps begins."""
        stage = self._stage(self.global_step)
        if stage != self.network.stage:
            self.network.set_stage(stage)

    def training_step(self, sample: PoseSample, batch_idx: int) -> Tensor:
        """One step on B crops."""
        output = self.network(sample.frames, sample.crop)
        terms = posh_losses(
            self.network, output, posh_labels(sample), crop=sample.crop, joints_of=self.helpers.joints_of,
            weights=self.loss,
        )  # fmt: skip
        total = torch.stack(list(terms.values())).sum()
        self.log_dict({f"train/{name}": term for name, term in terms.items()}, batch_size=len(sample.uv))
        self.log("train/total", total, batch_size=len(sample.uv))
        return total

    def validation_step(self, sample: PoseSample, batch_idx: int) -> None:
        """Errors of the body's joints in mm: after subtracting the pelvis, and of the pelvis itself."""
        output = self.network(sample.frames, sample.crop)
        found, true = (
            self._joints(output),
            self.helpers.smpl_joints(sample.rotmats, sample.betas, sample.transl),
        )
        apart = ((found - found[:, :1]) - (true - true[:, :1])).norm(dim=-1).mean(-1)
        known = sample.body_known.float()
        count = known.sum().clamp(min=1)
        place = (found[:, 0] - true[:, 0]).norm(dim=-1)
        self.log("val/root_aligned_mm", MM * (apart * known).sum() / count, batch_size=len(known))
        self.log("val/place_mm", MM * (place * known).sum() / count, batch_size=len(known))

    def configure_optimizers(self) -> Any:
        """Adam; a short warm-up, then each stage's step size with cosine decay inside the stage."""
        self.network.requires_grad_(True)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr)
        self.network.set_stage(self._stage(self.global_step))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def factor(self, step: int) -> float:
        """Step size relative to `lr`."""
        s, progress = self.shares, min(1.0, step / self.steps)
        stage = s.stage(progress)
        size = 1.0 if self.plain else STAGES[stage] / STAGES["A"] * (1.0 if stage == "A" else self.later)
        bounds = {"A": (0.0, s.a), "B": (s.a, s.b), "C": (s.a + s.b, s.c)}[stage]
        inside = (progress * (s.a + s.b + s.c) - bounds[0]) / bounds[1]
        warm = min(1.0, (step + 1) / max(1.0, 0.02 * self.steps))
        return float(
            size * warm * (0.02 + 0.98 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * inside)).item()))
        )

    def card(self) -> dict[str, Any]:
        """What the weights' card says about this training."""
        shares = [self.shares.a, self.shares.b, self.shares.c]
        return {"lr": self.lr, "steps": self.steps, "stage_shares": shares, "later": self.later}

    def _stage(self, step: int) -> str:
        return self.shares.stage(min(1.0, step / self.steps))

    def _joints(self, output: PoShOutput) -> Tensor:
        return self.helpers.smpl_joints(output.rotmats, output.betas, output.transl)


def posh_labels(sample: PoseSample) -> PoShLabels:
    """What a batch of samples knows, as the losses take it."""
    return PoShLabels(sample.labels, sample.rotmats, sample.betas, sample.transl, sample.body_known)
