"""Training of FlowNet without flow labels."""

from __future__ import annotations

from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor

from eventhpe.data.sample import FlowPair
from eventhpe.flownet.losses import contrast_loss_frames, flow_losses, parity_flow_losses
from eventhpe.flownet.network import FlowNet, FlowNetConfig
from eventhpe.training.schedule import adamw_with_cosine

FlowObjective = Literal["photometric", "contrast", "both"]


class FlowNetModule(L.LightningModule):
    """FlowNet with its losses.

    Args:
        config: the network; its variant also chooses the objective's variant.
        objective: "photometric" needs gray images; "contrast" needs events only; "both" adds them.
        contrast_weight: of the contrast term in "both".
        lr: peak learning rate.
        steps: length of the schedule.
    """

    def __init__(
        self,
        config: FlowNetConfig,
        *,
        objective: FlowObjective,
        lr: float,
        steps: int,
        contrast_weight: float = 0.02,
    ) -> None:
        super().__init__()
        self.network = FlowNet(config)
        self.objective, self.contrast_weight = objective, contrast_weight
        self.lr, self.steps = lr, steps

    def training_step(self, pair: FlowPair, batch_idx: int) -> Tensor:
        """One step on B windows."""
        flows = self.network(pair.frames.contiguous(memory_format=torch.channels_last))
        with torch.autocast(device_type=pair.frames.device.type, enabled=False):
            total, terms = self._losses([f.float() for f in flows], pair)
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, batch_size=len(pair.frames))
        self.log("train/total", total, batch_size=len(pair.frames))
        return total

    def _losses(self, flows: list[Tensor], pair: FlowPair) -> tuple[Tensor, dict[str, Tensor]]:
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

    def validation_step(self, pair: FlowPair, batch_idx: int) -> None:
        """End-point error in crop pixels where the true flow is known and events fell, beside zero flow's;
        the objective where no true flow is known at all."""
        flows = self.network(pair.frames)
        if not pair.valid.any():
            with torch.autocast(device_type=pair.frames.device.type, enabled=False):
                total, _ = self._losses([f.float() for f in flows], pair)
            self.log("val/total", total, batch_size=len(pair.frames))
            return
        flow = flows[-1]
        known = pair.valid * (pair.frames > 0).any(1)
        count = known.sum().clamp(min=1)
        self.log("val/epe_px", ((flow - pair.flow).norm(dim=1) * known).sum() / count, batch_size=len(flow))
        self.log("val/epe_zero_px", (pair.flow.norm(dim=1) * known).sum() / count, batch_size=len(flow))

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return adamw_with_cosine(self.network, lr=self.lr, steps=self.steps)

    def card(self) -> dict[str, Any]:
        """What the weights' card says about this training."""
        return {"objective": self.objective, "lr": self.lr, "steps": self.steps}


def _roughness(flow: Tensor) -> Tensor:
    return flow.diff(dim=-1).abs().mean() + flow.diff(dim=-2).abs().mean()
