"""Training of ShapeNet."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from eventhpe.body.model import BodyModel
from eventhpe.data.framed_clips import FramedClip
from eventhpe.data.sample import Clip
from eventhpe.errors import ShapeError
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.shapenet.body_joints import JointsOf, body_joints
from eventhpe.shapenet.crop import crop_to_intrinsics, ray_rotation
from eventhpe.shapenet.flow_motion import FlowMotion
from eventhpe.shapenet.frame_head import (
    FrameHeadConfig,
    build_frame_head,
    frame_losses,
    labels_of_joints,
)
from eventhpe.shapenet.heads.base import JointLabels
from eventhpe.shapenet.losses import (
    BodyTargets,
    ParityLossWeights,
    ShapeLossWeights,
    parity_losses,
    shape_losses,
)
from eventhpe.shapenet.network import START_VARIANCE, ShapeNet, build_shapenet, to_ray
from eventhpe.shapenet.parity import EventTrackNet
from eventhpe.shapenet.state import ShapeNetConfig, StartState
from eventhpe.training.schedule import adamw_with_cosine

MAX_START_NOISE = 0.3
"""Radians about each axis by which the joints of a disturbed start are off at most (standard deviation)."""
MAX_HEADING_NOISE = 1.0
"""Radians by which its heading is off besides, at most (scale of a distribution with heavy tails)."""
ABSOLUTE_ERROR = 0.4
"""Radians: error of the absolute head's rotations, whose variance is 1 in the filter's units."""


@dataclass(frozen=True)
class Helpers:
    """What a training uses but never trains nor saves."""

    body: BodyModel
    flow: FlowEstimator | None
    frame_joints: JointsOf | None = None
    motion: FlowMotion | None = None

    def on(self, device: torch.device, skeleton: Skeleton | None) -> Helpers:
        """Copies on another device; the originals may be shared.

        Args:
            device: of the training.
            skeleton: of the frame head, if there is one.
        """
        if self.body.v_template.device.type == device.type:
            return self
        body = copy.deepcopy(self.body).to(device)
        joints = None if skeleton is None else body_joints(body, skeleton)
        flow = None if self.flow is None else self.flow.on(device)
        return Helpers(body, flow, joints, None if self.motion is None else FlowMotion(body))

    @property
    def for_network(self) -> dict[str, FlowMotion]:
        """What ShapeNet takes besides its inputs."""
        return {} if self.motion is None else {"motion": self.motion}


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
        frame: a head on the encoder for frame-aligned supervision (shapenet/frame_head.py). It learns from
            the clips' own joints, or, where batches bring windows with joints in the image, from those.
    Raises:
        ShapeError: a frame head for the parity variant.
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
        frame: FrameHeadConfig | None = None,
    ) -> None:
        super().__init__()
        self.network = build_shapenet(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if isinstance(self.network, ShapeNet):
            self.network.set_body(body.J_template[0].cpu(), body.J_shapedirs[0].cpu())
        self.frame, self.frame_head, frame_joints = frame, None, None
        if frame is not None:
            if not isinstance(self.network, ShapeNet):
                raise ShapeError("frame-aligned supervision goes with ShapeNet's fixed variant.")
            self.frame_head = build_frame_head(frame, self.network)
            frame_joints = body_joints(body, self.frame_head.size.skeleton)
        # Inside a plain object, so that neither the body nor the frozen FlowNet enters a checkpoint.
        self.helpers = Helpers(body, flow, frame_joints, FlowMotion(body) if config.follow_flow else None)
        self.loss, self.lr, self.steps, self.start_share = loss, lr, steps, start_share
        spread = torch.linspace(0, body.num_vertices - 1, coherence_vertices)
        self.register_buffer("vertex_subset", spread.round().long(), persistent=False)

    def setup(self, stage: str) -> None:
        """Bring what Lightning does not know about to where the training runs."""
        skeleton = None if self.frame_head is None else self.frame_head.size.skeleton
        self.helpers = self.helpers.on(self.trainer.strategy.root_device, skeleton)

    def estimate_flow(self, frames: Tensor) -> Tensor | None:
        """(B, T, C, S, S) frames to (B, T, 2, S, S) pixels from the frozen FlowNet, or None without one."""
        if self.helpers.flow is None:
            return None
        B, T = frames.shape[:2]
        flow = torch.from_numpy(self.helpers.flow.estimate(frames.flatten(0, 1)))
        return flow.to(frames.device).unflatten(0, (B, T))

    def training_step(self, batch: Clip | FramedClip, batch_idx: int) -> Tensor:
        """One step on B clips of T windows, perhaps with windows whose joints are known in the image."""
        clip = batch.clip if isinstance(batch, FramedClip) else batch
        if isinstance(self.network, EventTrackNet):
            start: StartState | None = self._start(clip)
        else:
            start = self._noisy_start(clip) if torch.rand(()) < self.start_share else None
        total, terms, maps = self._losses(clip, start)
        if self.frame is not None:
            frame = self._frame_losses(batch, maps)
            total, terms = total + self.frame.weight * frame["frame"], terms | frame
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, batch_size=len(clip.frames))
        self.log("train/total", total, batch_size=len(clip.frames))
        return total

    def validation_step(self, clip: Clip, batch_idx: int) -> None:
        """Root-aligned joint error in mm, start-free and with the true start."""
        flow = self.estimate_flow(clip.frames)
        starts: dict[str, StartState | None] = {"start": self._start(clip)}
        if isinstance(self.network, ShapeNet):
            starts["free"] = None
        for name, start in starts.items():
            out = self.network(clip.frames, flow, clip.crop, start, **self.helpers.for_network)
            joints = self.helpers.body.joints(out.rotmats, out.betas, out.transl)
            truth = clip.joints3d[:, 1:]
            hips = joints[..., 1:3, :].mean(-2, keepdim=True) - truth[..., 1:3, :].mean(-2, keepdim=True)
            error = (joints - truth - hips).norm(dim=-1).mean() * 1000
            self.log(f"val/root_aligned_{name}_mm", error, batch_size=len(clip.frames))
            self.log(f"val/pelvis_{name}_mm", hips.norm(dim=-1).mean() * 1000, batch_size=len(clip.frames))

    def _losses(
        self, clip: Clip, start: StartState | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Total, terms by name, and the encoder's maps."""
        flow = self.estimate_flow(clip.frames)
        out = self.network(clip.frames, flow, clip.crop, start, **self.helpers.for_network)
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
            total, terms = parity_losses(out, targets, body=self.helpers.body, K=K, size=size, flow=flow)
            return total, terms, None
        total, terms = shape_losses(
            out,
            targets,
            body=self.helpers.body,
            crop=clip.crop,
            flow=flow,
            vertex_subset=self.vertex_subset,
            weights=self.loss,
        )
        return total, terms, out.maps

    def _frame_losses(self, batch: Clip | FramedClip, maps: Tensor | None) -> dict[str, Tensor]:
        """Terms of the frame head, on the clips' windows or on those that came beside them."""
        assert isinstance(self.network, ShapeNet) and self.frame_head is not None
        if isinstance(batch, FramedClip):
            frames = batch.windows.frames
            flow = self.estimate_flow(frames)
            maps = self.network.encoder.maps(
                frames.flatten(0, 1), None if flow is None else flow.flatten(0, 1)
            )
            labels = JointLabels(*(value.flatten(0, 1) for value in batch.windows.labels))
        else:
            assert maps is not None and self.helpers.frame_joints is not None
            maps, T = maps.flatten(0, 1), batch.frames.shape[1]
            betas = batch.betas[:, None].expand(-1, T, -1)
            with torch.autocast(device_type=maps.device.type, enabled=False):
                xyz = self.helpers.frame_joints(batch.rotmats[:, 1:], betas, batch.transl[:, 1:])
            labels = labels_of_joints(
                xyz.flatten(0, 1), batch.crop.flatten(0, 1), self.frame_head.size.skeleton,
                batch.frames.shape[-1],
            )  # fmt: skip
        return frame_losses(self.frame_head, maps, labels)

    def _start(self, clip: Clip) -> StartState:
        return StartState(rotmats=clip.rotmats[:, 0], betas=clip.betas, transl=clip.transl[:, 0])

    def _noisy_start(self, clip: Clip) -> StartState:
        """A start pose that is off by anything from nothing to 30 degrees and 12 cm, and its heading by more,
        with a variance to match: short clips thus begin in states that long tracks drift into."""
        import roma

        true = self._start(clip)
        B, J = true.rotmats.shape[:2]
        off = MAX_START_NOISE * torch.rand(B, 1)
        turn = roma.rotvec_to_rotmat(off[..., None] * torch.randn(B, J, 3)).to(true.rotmats)
        # Most headings are nearly right, and some are quite wrong although the variance is small.
        scale = MAX_HEADING_NOISE * torch.rand(B, 1).square()
        heading = scale * torch.distributions.StudentT(3.0).sample((B, 1))
        upright = torch.tensor([0.0, 1.0, 0.0])
        turn[:, 0] = turn[:, 0] @ true.rotmats[:, 0] @ roma.rotvec_to_rotmat(heading * upright).to(turn)
        turn[:, 1:] = turn[:, 1:] @ true.rotmats[:, 1:]
        shift = 0.4 * off.to(true.transl) * torch.randn_like(true.transl)
        variance = (START_VARIANCE + 3 * (off / ABSOLUTE_ERROR).square()).expand(-1, J + 1).clone()
        variance[:, :1] += (scale / ABSOLUTE_ERROR).square()
        return StartState(
            rotmats=turn,
            betas=true.betas,
            transl=true.transl + shift,
            variance=variance.to(true.transl),
        )

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        return adamw_with_cosine(self, lr=self.lr, steps=self.steps)

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
            "frame": None if self.frame is None else asdict(self.frame),
        }


def mean_pose(clips: list[Clip]) -> Tensor:
    """(24, 3, 3) chordal mean rotation of every joint over clips, the root relative to the crop's ray."""
    import roma

    total = torch.zeros(24, 3, 3)
    for clip in clips:
        total += to_ray(clip.rotmats[1:], ray_rotation(clip.crop)).sum(0)
    return roma.special_procrustes(total)
