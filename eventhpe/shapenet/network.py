"""ShapeNet, fixed variant: absolute and delta heads over a GRU, fused per joint.

Differences from the published network (`parity.py`), each marked "Deviation" below:
a crop-relative camera, an absolute head beside the deltas, identity-initialised deltas, shape and translation
that are really predicted, and an uncertainty per joint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotmat_to_sixd, sixd_to_rotmat
from eventhpe.shapenet.crop import NEAR_M, ray_rotation
from eventhpe.shapenet.flow_motion import FlowMotion
from eventhpe.shapenet.joint_maps import CropJoints
from eventhpe.shapenet.state import (
    NUM_BETAS,
    NUM_JOINTS,
    ShapeNetConfig,
    ShapeOutput,
    StartState,
    check_inputs,
)
from eventhpe.shapenet.trace import Trace, leave_traces
from eventhpe.shapenet.window_encoder import Encoded, WindowEncoder

IDENTITY_6D = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
REFERENCE_HEIGHT_M = 2.0
"""A crop of this height in metres puts the pelvis at log-depth offset 0."""
LOG_VAR_RANGE = (-12.0, 2.0)
LOG_NOISE_RANGE = (-8.0, 8.0)
UNKNOWN_LOG_VARIANCE = 4.0
START_VARIANCE = 0.01
"""Variance of a given start pose in the filter's units, where the absolute head begins at 1."""


@dataclass(frozen=True)
class Window:
    """Geometry of one window's crop: rotation (B, 3, 3) of its central ray, and the crop (B, 3)."""

    ray: Tensor
    crop: Tensor


@dataclass(frozen=True)
class Body:
    """An estimate: rotations (B, 24, 3, 3) in the camera frame, place (B, 3), filter variances (B, 25)."""

    rot: Tensor
    place: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Step:
    """What one window gives: bodies before and after it, the absolute estimate, shape and uncertainty."""

    before: Body
    after: Body
    absolute: Body
    betas: Tensor
    log_var: Tensor


class PoseMemory(nn.Module):
    """GRU over the windows' features that also sees the body it is about to move.

    Deviation: the published GRU sees features alone and so cannot know which limb the flow belongs to, nor
    which way a person faces whose start pose is known.
    """

    def __init__(self, *, hidden: int) -> None:
        super().__init__()
        self.body = nn.Linear(NUM_JOINTS * 6 + 3 + NUM_JOINTS + 1, hidden)
        self.cell = nn.GRUCell(hidden, hidden)

    def forward(self, x: Tensor, body: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Feature (B, F), body as seen from the window (B, 172) and state (B, F) to output and next state.

        The output carries the feature past the GRU, as published.
        """
        hidden = self.cell(x + self.body(body), hidden)
        return hidden + x, hidden


class AbsoluteHead(nn.Module):
    """Pose, shape and place from one window's feature, without memory of earlier poses."""

    mean_pose: Tensor

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.pose = small_linear(features, NUM_JOINTS * 6)
        self.betas = small_linear(features, NUM_BETAS)
        self.uvz = small_linear(features, 3)
        self.register_buffer("mean_pose", torch.tensor(IDENTITY_6D).repeat(NUM_JOINTS))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(*, F) to rotations (*, 24, 3, 3), root relative to the crop's ray, betas (*, 10), uvz (*, 3)."""
        pose = (self.mean_pose + self.pose(y)).unflatten(-1, (NUM_JOINTS, 6))
        return sixd_to_rotmat(pose), self.betas(y), self.uvz(y)


class DeltaHead(nn.Module):
    """Change over one window. Deviation: starts at the identity, where the published head starts anywhere."""

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.pose = small_linear(features, NUM_JOINTS * 6, bias=torch.tensor(IDENTITY_6D).repeat(NUM_JOINTS))
        self.uvz = small_linear(features, 3)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(*, F) to rotations (*, 24, 3, 3) and (du, dv in half crops, d log z) (*, 3)."""
        return sixd_to_rotmat(self.pose(y).unflatten(-1, (NUM_JOINTS, 6))), self.uvz(y)


class NoiseHead(nn.Module):
    """Variances of scalar Kalman filters, one per joint and one for the place.

    One variance is the absolute head's, one is what a delta step adds. Units are the filter's own: only
    ratios matter, and the absolute head starts at 1.
    """

    def __init__(self, *, features: int, steady_weight: float) -> None:
        super().__init__()
        # With constant variances the filter settles at this weight when step / absolute = w^2 / (1 - w).
        step = math.log(steady_weight**2 / (1 - steady_weight))
        bias = torch.tensor([0.0, step]).repeat_interleave(NUM_JOINTS + 1)
        self.log_variances = small_linear(features, 2 * (NUM_JOINTS + 1), bias=bias)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(*, F) to variances of the absolute head and of one delta step, (*, 25) each."""
        absolute, step = torch.exp(self.log_variances(y).clamp(*LOG_NOISE_RANGE)).chunk(2, -1)
        return absolute, step


class UncertaintyHead(nn.Module):
    """Log of the squared error scale per joint."""

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.log_var = small_linear(features, NUM_JOINTS, bias=torch.full((NUM_JOINTS,), -5.0))

    def forward(self, y: Tensor) -> Tensor:
        """(*, F) to (*, 24)."""
        return self.log_var(y).clamp(*LOG_VAR_RANGE)


class ShapeNet(nn.Module):
    """Body parameters per window from event frames, flow and the crop's viewing ray.

    Args:
        config: sizes.

    Call `set_body` once before training so that translations refer to the right pelvis; the numbers are
    saved with the weights.
    """

    rest_pelvis: Tensor
    rest_pelvis_dirs: Tensor

    def __init__(self, config: ShapeNetConfig | None = None) -> None:
        super().__init__()
        config = config or ShapeNetConfig()
        if config.variant != "fixed":
            raise ShapeError(
                f'ShapeNet is the "fixed" variant; got {config.variant!r}. Use build_shapenet(config).'
            )
        self.config = config
        self.encoder = WindowEncoder(config=config)
        self.memory = PoseMemory(hidden=config.hidden)
        self.absolute = AbsoluteHead(features=config.hidden)
        self.delta = DeltaHead(features=config.hidden)
        self.noise = NoiseHead(features=config.hidden, steady_weight=config.absolute_weight)
        self.uncertainty = UncertaintyHead(features=config.hidden)
        self.register_buffer("rest_pelvis", torch.zeros(3))
        self.register_buffer("rest_pelvis_dirs", torch.zeros(3, NUM_BETAS))

    def set_body(self, pelvis_template: Tensor, pelvis_shapedirs: Tensor) -> None:
        """Rest pelvis of the body model as a linear map of betas: (3,) metres and (3, 10)."""
        if pelvis_template.shape != (3,) or pelvis_shapedirs.shape != (3, NUM_BETAS):
            raise ShapeError(
                "set_body needs the rest pelvis (3,) and its shape directions (3, 10); "
                f"got {tuple(pelvis_template.shape)} and {tuple(pelvis_shapedirs.shape)}."
            )
        self.rest_pelvis.copy_(pelvis_template)
        self.rest_pelvis_dirs.copy_(pelvis_shapedirs)

    def set_mean_pose(self, rotmats: Tensor) -> None:
        """Pose around which the absolute head starts: (24, 3, 3), the root relative to the crop's ray."""
        if rotmats.shape != (NUM_JOINTS, 3, 3):
            raise ShapeError(f"the mean pose must be (24, 3, 3); got {tuple(rotmats.shape)}.")
        self.absolute.mean_pose.copy_(rotmat_to_sixd(rotmats).flatten())

    def pelvis_at_rest(self, betas: Tensor) -> Tensor:
        """(*, 10) to (*, 3) metres: pelvis of the unposed body."""
        return self.rest_pelvis + betas @ self.rest_pelvis_dirs.T

    def forward(
        self,
        frames: Tensor,
        flow: Tensor | None,
        crop: Tensor,
        start: StartState | None = None,
        hidden: Tensor | None = None,
        motion: FlowMotion | None = None,
    ) -> ShapeOutput:
        """Track B bodies over T windows.

        Args:
            frames: (B, T, C, S, S) event frames of the crops.
            flow: (B, T, 2, S, S) pixels over each window; ignored when the network was built without flow.
            crop: (B, T, 3), see `eventhpe.shapenet.crop`.
            start: body at t0 of window 0; None lets the absolute head begin.
            hidden: (B, hidden) GRU state to go on from.
            motion: moves the body along with the flow in every window, in the delta head's place; for
                networks that were built so.
        Raises:
            ShapeError: inputs do not fit, or `motion` is missing or not wanted.
        """
        check_inputs(self.config, frames, flow, crop)
        if self.config.follow_flow is (motion is None):
            wanted = "needs" if motion is None else "was built without follow_flow and takes no"
            raise ShapeError(f"this network {wanted} motion=FlowMotion(body).")
        seen = self.encode(frames, flow, crop, None if start is None else start.trace)
        # Rotations and depths lose degrees and centimetres in half precision, so all that follows is fp32.
        with torch.autocast(device_type=frames.device.type, enabled=False):
            output = self.track(seen.features.float(), crop.float(), start, hidden, flow=flow, motion=motion)
        return replace(output, maps=seen.maps, joints_in_crop=seen.joints, trace=seen.trace)

    def encode(
        self, frames: Tensor, flow: Tensor | None, crop: Tensor, trace: Trace | None = None
    ) -> Encoded:
        """What the encoder says of B x T windows.

        Args:
            frames, flow, crop: as in `forward`.
            trace: what earlier windows left.
        """
        shape = frames.shape[:2]
        looked = None
        if self.config.look_back:
            looked, trace = leave_traces(frames, crop.float(), trace)
            looked = looked.flatten(0, 1)
        used_flow = flow.flatten(0, 1) if self.config.use_flow and flow is not None else None
        x, maps, joints = self.encoder(frames.flatten(0, 1), used_flow, crop.flatten(0, 1), looked)
        if joints is not None:
            joints = CropJoints(*(value.unflatten(0, shape) for value in joints))
        return Encoded(x.unflatten(0, shape), maps.unflatten(0, shape), joints, trace)

    def track(
        self,
        x: Tensor,
        crop: Tensor,
        start: StartState | None = None,
        hidden: Tensor | None = None,
        *,
        flow: Tensor | None = None,
        motion: FlowMotion | None = None,
    ) -> ShapeOutput:
        """What follows the encoder, whose features are x (B, T, hidden); all else as in `forward`."""
        body = None if start is None else self._known_body(start)
        betas = x.new_zeros(len(x), NUM_BETAS) if start is None else start.betas.float()
        hidden = torch.zeros_like(x[:, 0]) if hidden is None else hidden.float()
        steps: list[Step] = []
        for t in range(x.shape[1]):
            window = Window(ray_rotation(crop[:, t]), crop[:, t])
            y, hidden = self.memory(x[:, t], self._describe(body, window), hidden)
            followed = None
            if motion is not None and flow is not None and body is not None:
                followed = self._follow_flow(motion, body, betas, flow[:, t], window)
            steps.append(self._step(y, body, window, followed))
            body = steps[-1].after
            if motion is not None:
                betas = average_betas(torch.stack([s.betas for s in steps], 1), start)[:, -1]
        betas = average_betas(torch.stack([s.betas for s in steps], 1), start)
        at_rest = self.pelvis_at_rest(betas)
        first = betas[:, 0] if start is None else start.betas.float()
        return ShapeOutput(
            rotmats=torch.stack([s.after.rot for s in steps], 1),
            betas=betas,
            transl=from_place(torch.stack([s.after.place for s in steps], 1)) - at_rest,
            rotmats_start=steps[0].before.rot,
            transl_start=from_place(steps[0].before.place) - self.pelvis_at_rest(first),
            hidden=hidden,
            rotmats_abs=torch.stack([s.absolute.rot for s in steps], 1),
            transl_abs=from_place(torch.stack([s.absolute.place for s in steps], 1)) - at_rest,
            log_var=torch.stack([s.log_var for s in steps], 1),
            variance=steps[-1].after.variance,
        )

    def _step(self, y: Tensor, body: Body | None, window: Window, followed: Body | None) -> Step:
        """One window: absolute estimate, moved body, and the two fused. `followed` is the body moved by the
        flow; without it the delta head moves the body."""
        abs_rot, betas, abs_uvz = self.absolute(y)
        delta_rot, delta_uvz = self.delta(y)
        noise, step_noise = self.noise(y)
        place = self._absolute_place(abs_uvz, window.crop)
        delta_place = torch.cat([delta_uvz[..., :2] * window.crop[..., 2:], delta_uvz[..., 2:]], -1)
        absolute = Body(from_ray(abs_rot, window.ray), place, noise)
        if body is None:
            # No earlier pose to add to: this window is the absolute head's, and the pose at its beginning is
            # that pose with the delta undone.
            undone = from_ray(delta_rot.transpose(-1, -2) @ abs_rot, window.ray)
            before, after = Body(undone, place - delta_place, noise), absolute
        else:
            # Deviation: a Kalman filter per joint instead of deltas alone. A known start is trusted until its
            # variance has grown; without one, absolute estimates are averaged over the windows.
            variance = body.variance + step_noise
            weight = variance / (variance + noise)
            if followed is None:
                moved, moved_place = delta_rot @ to_ray(body.rot, window.ray), body.place + delta_place
            else:
                moved, moved_place = to_ray(followed.rot, window.ray), followed.place
            fused = fuse_rotations(moved, abs_rot, weight[:, :NUM_JOINTS])
            before = body
            after = Body(
                from_ray(fused, window.ray),
                torch.lerp(moved_place, place, weight[:, NUM_JOINTS:]),
                (1 - weight) * variance,
            )
        return Step(before, after, absolute, betas, self.uncertainty(y))

    def _follow_flow(
        self, motion: FlowMotion, body: Body, betas: Tensor, flow: Tensor, window: Window
    ) -> Body:
        pelvis = self.pelvis_at_rest(betas)
        transl = from_place(body.place) - pelvis
        rot, transl = motion.follow(body.rot, betas, transl, flow, window.crop)
        return Body(rot, to_place(transl + pelvis), body.variance)

    def _known_body(self, start: StartState) -> Body:
        place = to_place(start.transl.float() + self.pelvis_at_rest(start.betas.float()))
        if start.variance is not None:
            return Body(start.rotmats.float(), place, start.variance.float())
        trusted = place.new_full((len(place), NUM_JOINTS + 1), START_VARIANCE)
        return Body(start.rotmats.float(), place, trusted)

    def _describe(self, body: Body | None, window: Window) -> Tensor:
        """(B, 172): rotations in 6D, place in the crop, log variances; the mean pose if nothing is known.

        Detached: the memory reads the estimate, it must not bend it.
        """
        if body is None:
            B = len(window.crop)
            place = window.crop.new_zeros(B, 3)
            variance = window.crop.new_full((B, NUM_JOINTS + 1), UNKNOWN_LOG_VARIANCE)
            return torch.cat([self.absolute.mean_pose.expand(B, -1), place, variance], -1)
        sixd = rotmat_to_sixd(to_ray(body.rot, window.ray)).flatten(1)
        centre = self._absolute_place(torch.zeros_like(body.place), window.crop)
        place = (body.place - centre) / torch.cat(
            [window.crop[..., 2:].expand(-1, 2), torch.ones_like(centre[..., :1])], -1
        )
        return torch.cat([sixd, place, torch.log(body.variance)], -1).detach()

    def _absolute_place(self, uvz: Tensor, crop: Tensor) -> Tensor:
        """Head output and crop to (x/z, y/z, log z) of the pelvis."""
        ray = crop[..., :2] + uvz[..., :2] * crop[..., 2:]
        log_z = uvz[..., 2:] + torch.log(REFERENCE_HEIGHT_M / (2 * crop[..., 2:]))
        return torch.cat([ray, log_z], -1)


def build_shapenet(config: ShapeNetConfig) -> nn.Module:
    """The network of `config.variant`."""
    if config.variant == "fixed":
        return ShapeNet(config)
    from eventhpe.shapenet.parity import EventTrackNet

    return EventTrackNet(config)


def small_linear(features: int, out: int, *, bias: Tensor | None = None) -> nn.Linear:
    """Linear layer whose output starts near its bias (zero by default)."""
    layer = nn.Linear(features, out)
    nn.init.normal_(layer.weight, std=0.1 / math.sqrt(features))
    with torch.no_grad():
        layer.bias.zero_() if bias is None else layer.bias.copy_(bias)
    return layer


def fuse_rotations(moved: Tensor, absolute: Tensor, weight: Tensor) -> Tensor:
    """Blend (*, J, 3, 3) rotations in 6D with (*, J) weight of `absolute`, then Gram-Schmidt.

    To first order in the angle between the two this is the rotation at that fraction of the way.
    """
    return sixd_to_rotmat(torch.lerp(rotmat_to_sixd(moved), rotmat_to_sixd(absolute), weight[..., None]))


def to_ray(rotmats: Tensor, ray: Tensor) -> Tensor:
    """Express the root of (*, 24, 3, 3) in the frame of the crop's ray (*, 3, 3)."""
    return torch.cat(
        [(ray.transpose(-1, -2) @ rotmats[..., 0, :, :])[..., None, :, :], rotmats[..., 1:, :, :]], -3
    )


def from_ray(rotmats: Tensor, ray: Tensor) -> Tensor:
    """Inverse of `to_ray`."""
    return torch.cat([(ray @ rotmats[..., 0, :, :])[..., None, :, :], rotmats[..., 1:, :, :]], -3)


def to_place(xyz: Tensor) -> Tensor:
    """(*, 3) camera metres to (x/z, y/z, log z)."""
    z = xyz[..., 2:].clamp(min=NEAR_M)
    return torch.cat([xyz[..., :2] / z, torch.log(z)], -1)


def from_place(place: Tensor) -> Tensor:
    """Inverse of `to_place`."""
    z = torch.exp(place[..., 2:])
    return torch.cat([place[..., :2] * z, z], -1)


def average_betas(betas: Tensor, start: StartState | None) -> Tensor:
    """(B, T, 10) predictions to what is known after each window: the start's shape, or the mean so far."""
    if start is not None and start.betas_count is None:
        return start.betas.float()[:, None].expand_as(betas)
    total, count = torch.cumsum(betas, 1), torch.arange(1, betas.shape[1] + 1, device=betas.device)[:, None]
    if start is not None and start.betas_count is not None:
        total = total + start.betas.float()[:, None] * start.betas_count
        count = count + start.betas_count
    return total / count
