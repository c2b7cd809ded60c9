"""Training of ShapeNet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from eventhpe.body.model import BodyModel
from eventhpe.data.sample import Clip
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.shapenet.crop import crop_to_intrinsics, ray_rotation
from eventhpe.shapenet.losses import (
    BodyTargets,
    ParityLossWeights,
    ShapeLossWeights,
    parity_losses,
    shape_losses,
)
from eventhpe.shapenet.network import ShapeNet, build_shapenet, to_ray
from eventhpe.shapenet.parity import EventTrackNet
from eventhpe.shapenet.state import ShapeNetConfig, StartState
from eventhpe.training.schedule import adamw_with_cosine


@dataclass(frozen=True)
class Helpers:
    """What a training uses but never trains nor saves."""

    body: BodyModel
    flow: FlowEstimator | None


class ShapeNetModule(L.LightningModule):
    """ShapeNet with its losses.

    Args:
        config: the network; its variant also chooses the losses (parity: the published ones).
        body: body model whose joints and vertices the losses use; never saved.
        flow: FlowNet that gives the flow channels and the coherence target; frozen. None = no flow.
        loss: weights of the loss terms.
        lr: peak learning rate.
        steps: length of the schedule.
        start_share: share of steps that begin from the (disturbed) true start pose; others start free.
        coherence_vertices: body vertices that the coherence loss compares.
    """

    vertex_subset: Tensor

    def __init__(
        self,
        config: ShapeNetConfig,
        body: BodyModel,
        flow: FlowEstimator | None,
        *,
        loss: ShapeLossWeights,
        lr: float,
        steps: int,
        start_share: float = 0.5,
        coherence_vertices: int = 1200,
    ) -> None:
        super().__init__()
        self.network = build_shapenet(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if isinstance(self.network, ShapeNet):
            self.network.set_body(body.J_template[0].cpu(), body.J_shapedirs[0].cpu())
        # Inside a plain object, so that neither the body nor the frozen FlowNet enters a checkpoint.
        self.helpers = Helpers(body, flow)
        self.loss, self.lr, self.steps, self.start_share = loss, lr, steps, start_share
        spread = torch.linspace(0, body.num_vertices - 1, coherence_vertices)
        self.register_buffer("vertex_subset", spread.round().long(), persistent=False)

    def estimate_flow(self, clip: Clip) -> Tensor | None:
        """(B, T, 2, S, S) pixels from the frozen FlowNet, or None without one."""
        if self.helpers.flow is None:
            return None
        B, T = clip.frames.shape[:2]
        flow = torch.from_numpy(self.helpers.flow.estimate(clip.frames.flatten(0, 1)))
        return flow.to(clip.frames.device).unflatten(0, (B, T))

    def training_step(self, clip: Clip, batch_idx: int) -> Tensor:
        """One step on B clips of T windows."""
        if isinstance(self.network, EventTrackNet):
            start: StartState | None = self._start(clip)
        else:
            start = self._noisy_start(clip) if torch.rand(()) < self.start_share else None
        total, terms = self._losses(clip, start)
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, batch_size=len(clip.frames))
        self.log("train/total", total, batch_size=len(clip.frames))
        return total

    def validation_step(self, clip: Clip, batch_idx: int) -> None:
        """Root-aligned joint error in mm, start-free and with the true start."""
        flow = self.estimate_flow(clip)
        starts: dict[str, StartState | None] = {"start": self._start(clip)}
        if isinstance(self.network, ShapeNet):
            starts["free"] = None
        for name, start in starts.items():
            out = self.network(clip.frames, flow, clip.crop, start)
            joints = self.helpers.body.joints(out.rotmats, out.betas, out.transl)
            truth = clip.joints3d[:, 1:]
            hips = joints[..., 1:3, :].mean(-2, keepdim=True) - truth[..., 1:3, :].mean(-2, keepdim=True)
            error = (joints - truth - hips).norm(dim=-1).mean() * 1000
            self.log(f"val/root_aligned_{name}_mm", error, batch_size=len(clip.frames))
            self.log(f"val/pelvis_{name}_mm", hips.norm(dim=-1).mean() * 1000, batch_size=len(clip.frames))

    def _losses(self, clip: Clip, start: StartState | None) -> tuple[Tensor, dict[str, Tensor]]:
        flow = self.estimate_flow(clip)
        out = self.network(clip.frames, flow, clip.crop, start)
        T = clip.frames.shape[1]
        targets = BodyTargets(
            rotmats=clip.rotmats[:, 1:],
            betas=clip.betas[:, None].expand(-1, T, -1),
            transl=clip.transl[:, 1:],
            joints=clip.joints3d[:, 1:],
        )
        if isinstance(self.network, EventTrackNet):
            size = clip.frames.shape[-1]
            K = crop_to_intrinsics(clip.crop[:, :1], size)
            return parity_losses(out, targets, body=self.helpers.body, K=K, size=size, flow=flow)
        return shape_losses(
            out,
            targets,
            body=self.helpers.body,
            crop=clip.crop,
            flow=flow,
            vertex_subset=self.vertex_subset,
            weights=self.loss,
        )

    def _start(self, clip: Clip) -> StartState:
        return StartState(rotmats=clip.rotmats[:, 0], betas=clip.betas, transl=clip.transl[:, 0])

    def _noisy_start(self, clip: Clip) -> StartState:
        """A start pose that is a few degrees and centimetres off, as an estimated one would be."""
        import roma

        true = self._start(clip)
        turn = roma.rotvec_to_rotmat(0.05 * torch.randn(*true.rotmats.shape[:2], 3))
        return StartState(
            rotmats=turn.to(true.rotmats) @ true.rotmats,
            betas=true.betas,
            transl=true.transl + 0.02 * torch.randn_like(true.transl),
        )

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return adamw_with_cosine(self.network, lr=self.lr, steps=self.steps)

    def card(self) -> dict[str, Any]:
        """What the weights' card says about this training."""
        if isinstance(self.network, EventTrackNet):
            return {
                "loss": asdict(ParityLossWeights()),
                "lr": self.lr,
                "steps": self.steps,
                "start_share": 1.0,
            }
        return {
            "loss": asdict(self.loss),
            "lr": self.lr,
            "steps": self.steps,
            "start_share": self.start_share,
        }


def mean_pose(clips: list[Clip]) -> Tensor:
    """(24, 3, 3) chordal mean rotation of every joint over clips, the root relative to the crop's ray."""
    import roma

    total = torch.zeros(24, 3, 3)
    for clip in clips:
        total += to_ray(clip.rotmats[1:], ray_rotation(clip.crop)).sum(0)
    return roma.special_procrustes(total)
