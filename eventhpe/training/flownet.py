"""Training of FlowNet: without labels, or from bodies that are known."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor

from eventhpe.body.model import BodyModel
from eventhpe.data.sample import Clip, FlowPair
from eventhpe.errors import ShapeError
from eventhpe.flownet.losses import contrast_loss_frames, end_point_loss, flow_losses, parity_flow_losses
from eventhpe.flownet.network import FlowNet, FlowNetConfig
from eventhpe.shapenet.flow_motion import FlowMotion
from eventhpe.training.body_flow import body_flow, flow_weight, motion_loss
from eventhpe.training.schedule import adamw_with_cosine

FlowObjective = Literal["photometric", "contrast", "both", "bodies"]

BODY_VERTICES = 3000
"""Vertices of the body whose motion objective "bodies" learns."""


@dataclass(frozen=True)
class KnownBody:
    """A body model and the vertices that are looked at; no part of the network."""

    model: BodyModel
    subset: Tensor
    motion: FlowMotion

    @classmethod
    def of(cls, model: BodyModel) -> KnownBody:
        """With vertices spread over the body."""
        spread = torch.linspace(0, model.num_vertices - 1, BODY_VERTICES).round().long()
        return cls(model, spread.to(model.v_template.device), FlowMotion(model))

    def on(self, device: torch.device) -> KnownBody:
        """A copy on another device; the original may be shared."""
        if self.subset.device.type == device.type:
            return self
        return KnownBody.of(copy.deepcopy(self.model).to(device))


class FlowNetModule(L.LightningModule):
    """FlowNet with its losses.

    Args:
        config: the network; its variant also chooses the objective's variant.
        objective: "photometric" needs gray images; "contrast" needs events only; "both" adds them. "bodies"
            learns the motion of known bodies' visible surface, from clips.
        contrast_weight: of the contrast term in "both".
        lr: peak learning rate.
        steps: length of the schedule.
        body: of the clips, for objective "bodies".
    Raises:
        ShapeError: objective "bodies" without a body, or for the parity variant.
    """

    def __init__(
        self,
        config: FlowNetConfig,
        *,
        objective: FlowObjective,
        lr: float,
        steps: int,
        contrast_weight: float = 0.02,
        body: BodyModel | None = None,
    ) -> None:
        super().__init__()
        if objective == "bodies" and (body is None or config.variant == "parity"):
            raise ShapeError('objective "bodies" needs a body model and the fixed variant.')
        self.body = None if body is None else KnownBody.of(body)
        self.network = FlowNet(config)
        self.objective, self.contrast_weight = objective, contrast_weight
        self.lr, self.steps = lr, steps

    def setup(self, stage: str) -> None:
        """Bring what Lightning does not know about to where the training runs."""
        if self.body is not None:
            self.body = self.body.on(self.trainer.strategy.root_device)

    def training_step(self, batch: FlowPair | Clip, batch_idx: int) -> Tensor:
        """One step on B windows, or on clips with bodies."""
        frames = batch.frames.flatten(0, 1) if isinstance(batch, Clip) else batch.frames
        flows = self.network(frames.contiguous(memory_format=torch.channels_last))
        with torch.autocast(device_type=frames.device.type, enabled=False):
            total, terms = self._losses([f.float() for f in flows], batch)
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, batch_size=len(frames))
        self.log("train/total", total, batch_size=len(frames))
        return total

    def _losses(self, flows: list[Tensor], pair: FlowPair | Clip) -> tuple[Tensor, dict[str, Tensor]]:
        if isinstance(pair, Clip):
            assert self.body is not None
            true, known = body_flow(pair, self.body.model, self.body.subset)
            end_point = end_point_loss(flows, true, flow_weight(known))
            motion = motion_loss(flows[-1], pair, self.body.model, self.body.motion)
            return end_point + motion, {"end_point": end_point, "motion": motion}
        image0, image1 = pair.image0[:, None], pair.image1[:, None]
        if self.network.config.variant == "parity":
            return parity_flow_losses(flows, image0, image1)
        total = flows[0].new_zeros(())
        terms: dict[str, Tensor] = {}
        if self.objective in ("photometric", "both"):
            total, terms = flow_losses(flows, image0 / 255, image1 / 255, frames=pair.frames)
        if self.objective in ("contrast", "both"):
            # Frames are time bins x (OFF, ON); both polarities of a bin happen at the same time.
            bins = pair.frames.unflatten(1, (-1, 2)).sum(2)
            terms["contrast"] = contrast_loss_frames(flows[-1], bins)
            total = (
                total + (1.0 if self.objective == "contrast" else self.contrast_weight) * terms["contrast"]
            )
            if self.objective == "contrast":
                terms["smoothness"] = torch.stack([_roughness(f) for f in flows]).mean()
                total = total + 0.05 * terms["smoothness"]
        return total, terms

    def validation_step(self, batch: FlowPair | Clip, batch_idx: int) -> None:
        """End-point error in crop pixels where the true flow is known and events fell, beside zero flow's;
        the objective where no true flow is known at all."""
        if isinstance(batch, Clip):
            assert self.body is not None
            frames = batch.frames.flatten(0, 1)
            true, known = body_flow(batch, self.body.model, self.body.subset)
        else:
            frames, true, known = batch.frames, batch.flow, batch.valid > 0
        flows = self.network(frames)
        if not known.any():
            with torch.autocast(device_type=frames.device.type, enabled=False):
                total, _ = self._losses([f.float() for f in flows], batch)
            self.log("val/total", total, batch_size=len(frames))
            return
        flow = flows[-1]
        known = known & (frames > 0).any(1)
        count = known.sum().clamp(min=1)
        self.log("val/epe_px", ((flow - true).norm(dim=1) * known).sum() / count, batch_size=len(flow))
        self.log("val/epe_zero_px", (true.norm(dim=1) * known).sum() / count, batch_size=len(flow))

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return adamw_with_cosine(self.network, lr=self.lr, steps=self.steps)

    def card(self) -> dict[str, Any]:
        """What the weights' card says about this training."""
        return {"objective": self.objective, "lr": self.lr, "steps": self.steps}


def _roughness(flow: Tensor) -> Tensor:
    return flow.diff(dim=-1).abs().mean() + flow.diff(dim=-2).abs().mean()
