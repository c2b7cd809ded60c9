"""A body whose start is known, followed by its contours at the pace of the events.

ShapeNet looks at 50 ms at once and says where a body like those it has seen would be. A body that is known
can be followed more exactly: events come from its contours, so each event pulls the nearest contour towards
itself (EventCap, Xu et al., CVPR 2020, section 3.3), here every 6 ms, which leaves a pixel or two between
one look and the next. What contours cannot tell is left to what ShapeNet says of each window (rotations,
place, joints in the crop), to how people move (`StepPrior`) and to how they hold themselves (`PosePrior`).

All of it enters one iterated extended Kalman filter (Bell and Cathey, IEEE TAC 1993) over 24 small turns and
the body's place. Where events meet no contour the body is lost, and ShapeNet is believed more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import roma
import torch
from torch import Tensor

from eventhpe.body.model import BodyModel
from eventhpe.body.pose_prior import PRIOR_JOINTS, PosePrior, load_pose_prior
from eventhpe.body.step_prior import NUM_TURNS, SIZE, StepPrior, load_step_prior
from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotmat_to_sixd, sixd_to_rotmat
from eventhpe.shapenet.contours import BodyContours
from eventhpe.shapenet.crop import NEAR_M, project_to_crop
from eventhpe.shapenet.joint_maps import CropJoints
from eventhpe.shapenet.state import NUM_JOINTS, StartState, WindowEvidence

PRIOR_TURNS = slice(3, 3 + 3 * len(PRIOR_JOINTS))
LARGEST_STEP = 0.4
"""Radians or metres that one round may move anything."""
FEW_EVENTS = 50
"""Fewer in a window do not tell whether the contours are right."""


@dataclass(frozen=True)
class ContourConfig:
    """How much is believed. Pixels are those of a crop of 128; robust limits are Huber's.

    Attributes:
        parts: looks per window.
        rounds: linearisations per look.
        start_std: of the given start, radians and metres.
        least_step_std: lower bound of what anything may move per window, radians and metres.
        reach: half crops between an event and the contour that it may pull; half as much again in the first
            round.
        contour_px, contour_robust_px: standard deviation of an event about its contour, and robust limit.
        independent: events of one look that count as independent measurements; more share their weight.
        turn_std, root_std, turn_robust: radians of ShapeNet's rotations, and of its root's.
        place_std, depth_std, place_robust: half crops and log-metres of ShapeNet's place; limit in standard
            deviations.
        joint_std, joint_robust, full_peak: half crops of the joint maps, limit in standard deviations, and
            the peak from which a joint counts fully.
        lost_below, sure_above: share of events that meet a contour, below which the body is lost and above
            which the contours are right.
        lost_gain: how much more ShapeNet weighs where the body is lost.
        memory: of that share from window to window.
        posture: weight of the pose prior; its one opinion is heard in every window.
    """

    parts: int = 8
    rounds: int = 2
    start_std: float = 0.03
    least_step_std: float = 0.004
    reach: float = 0.06
    contour_px: float = 2.0
    contour_robust_px: float = 1.0
    independent: float = 20.0
    turn_std: float = 0.6
    root_std: float = 1.2
    turn_robust: float = 1.0
    place_std: float = 0.1
    depth_std: float = 0.15
    place_robust: float = 2.0
    joint_std: float = 0.25
    joint_robust: float = 1.5
    full_peak: float = 0.3
    lost_below: float = 0.5
    sure_above: float = 0.9
    lost_gain: float = 8.0
    memory: float = 0.7
    posture: float = 0.1


class _Posed(NamedTuple):
    """Rotations, place and joints of a body, and the frames of the joints' parents in the camera."""

    rotmats: Tensor
    transl: Tensor
    joints: Tensor
    above: Tensor


class _System:
    """Normal equations of robust least squares over the 75 unknowns."""

    def __init__(self, precision: Tensor, gradient: Tensor) -> None:
        self.matrix, self.gradient = precision, gradient

    def add(self, jacobian: Tensor, residual: Tensor, weight: Tensor) -> None:
        """(M, 75), (M,), (M,): residual = measured - predicted, weight = robust inverse variance."""
        weighted = (jacobian * weight[:, None]).T
        self.matrix = self.matrix + weighted @ jacobian
        self.gradient = self.gradient + weighted @ residual

    def solve(self) -> Tensor:
        return torch.linalg.solve(self.matrix, self.gradient).clamp(-LARGEST_STEP, LARGEST_STEP)


class ContourTracker:
    """Follows one body with a known start and shape from window to window.

    Args:
        body: the model, on the CPU.
        config: how much is believed.
        steps, poses: priors; the shipped ones by default.
    """

    def __init__(
        self,
        body: BodyModel,
        config: ContourConfig | None = None,
        *,
        steps: StepPrior | None = None,
        poses: PosePrior | None = None,
    ) -> None:
        self.body, self.config = body, config or ContourConfig()
        self.contours = BodyContours(body)
        self.tree = self.contours.tree
        self.parents = torch.tensor(self.tree.parents[1:])
        # Which joints carry a joint along: those strictly above it.
        carried = torch.zeros(NUM_JOINTS, NUM_JOINTS)
        for joint, parent in enumerate(self.tree.parents[1:], start=1):
            carried[joint] = carried[parent]
            carried[joint, parent] = 1
        self.carried = carried
        steps, poses = steps or load_step_prior(), poses or load_pose_prior()
        least = torch.full((SIZE,), self.config.least_step_std**2)
        self.step_covariance = torch.tensor(steps.covariance, dtype=torch.float32) + torch.diag(least)
        covariances = torch.tensor(poses.covariances)
        self.pose_means = torch.tensor(poses.means, dtype=torch.float32)
        self.pose_precisions = torch.linalg.inv(covariances).float()
        self.pose_heights = (torch.tensor(poses.weights).log() - 0.5 * torch.logdet(covariances)).float()
        self._state: tuple[Tensor, Tensor, Tensor] | None = None
        self._betas = torch.zeros(10)
        self._met = 1.0

    def reset(self, start: StartState) -> None:
        """Go on from a known body (batch of 1)."""
        if start.transl.shape[0] != 1:
            raise ShapeError(
                f"a tracker follows one body: start must have B = 1; got {start.transl.shape[0]}."
            )
        covariance = torch.eye(SIZE) * self.config.start_std**2
        self._betas, self._met = start.betas[0].float(), 1.0
        self._state = start.rotmats[0].float(), start.transl[0].float(), covariance

    @torch.inference_mode()
    def step(
        self, edges: Sequence[Tensor], crop: Tensor, evidence: WindowEvidence | None
    ) -> tuple[Tensor, Tensor]:
        """Go on over one window.

        Args:
            edges: `config.parts` sets (N, 2) of viewing rays x/z, y/z with fresh events.
            crop: (3,), see `eventhpe.shapenet.crop`.
            evidence: what ShapeNet says of the window's end; None = nothing.
        Returns:
            Rotations (24, 3, 3) and translation (3,) at the window's end.
        Raises:
            ShapeError: no start, or another number of parts.
        """
        if self._state is None:
            raise ShapeError("ContourTracker needs reset(start) before its first window.")
        if len(edges) != self.config.parts:
            raise ShapeError(f"edges must be {self.config.parts} sets of rays; got {len(edges)}.")
        met = events = 0
        for part, points in enumerate(edges):
            last = part == len(edges) - 1
            met += self._look(points, crop, evidence if last else None, posture=last)
            events += len(points)
        if events >= FEW_EVENTS:
            c = self.config
            self._met = c.memory * self._met + (1 - c.memory) * met / events
        return self._state[0], self._state[1]

    def _look(self, points: Tensor, crop: Tensor, evidence: WindowEvidence | None, *, posture: bool) -> int:
        """Returns how many of the events met a contour."""
        assert self._state is not None
        rotmats, transl, covariance = self._state
        covariance = covariance + self.step_covariance / self.config.parts
        precision = torch.linalg.inv(covariance)
        moved, met = torch.zeros(SIZE), 0
        for round_ in range(self.config.rounds):
            posed = self._pose(rotmats, transl, moved)
            system = _System(precision, -(precision @ moved))
            if len(points):
                met = self._add_contours(system, posed, points, crop, first=round_ == 0)
            if evidence is not None:
                self._add_rotations(system, posed, evidence.rotmats)
                self._add_place(system, posed, evidence.transl, crop)
                if evidence.joints is not None:
                    self._add_joints(system, posed, evidence.joints, crop)
            if posture:
                self._add_posture(system, posed)
            moved = moved + system.solve()
        posed = self._pose(rotmats, transl, moved)
        # Rounding errors of products would grow from look to look.
        rotmats = sixd_to_rotmat(rotmat_to_sixd(posed.rotmats))
        covariance = torch.linalg.inv(system.matrix)
        self._state = rotmats, posed.transl, (covariance + covariance.T) / 2
        return met

    @property
    def _need(self) -> float:
        """How much more ShapeNet weighs than where contours are right: 1 and more."""
        c = self.config
        sure = min(max((self._met - c.lost_below) / (c.sure_above - c.lost_below), 0.0), 1.0)
        return 1 + c.lost_gain * (1 - sure) ** 2

    def _pose(self, rotmats: Tensor, transl: Tensor, moved: Tensor) -> _Posed:
        turn = roma.rotvec_to_rotmat(moved[:NUM_TURNS].unflatten(0, (NUM_JOINTS, 3)))
        rotmats, transl = turn @ rotmats, transl + moved[NUM_TURNS:]
        world, joints = self.tree.pose(rotmats, self.body.rest_joints(self._betas))
        above = torch.cat([torch.eye(3)[None], world[self.parents]])
        return _Posed(rotmats, transl, joints + transl, above)

    def _carry(self, posed: _Posed, points: Tensor, below: Tensor) -> Tensor:
        """(N, 3, 75) metres by which points (N, 3) move per radian and metre; (N, 24) says what carries
        them."""
        arm = (points[:, None] - posed.joints) * below[..., None]
        # Columns are e_k x arm, with e_k the axes of the joint's parent.
        turned = torch.linalg.cross(posed.above.transpose(-1, -2)[None], arm[:, :, None], dim=-1)
        turned = turned.flatten(1, 2).transpose(-1, -2)
        return torch.cat([turned, torch.eye(3).expand(len(points), 3, 3)], -1)

    def _add_contours(
        self, system: _System, posed: _Posed, events: Tensor, crop: Tensor, *, first: bool
    ) -> int:
        c, half = self.config, float(crop[2])
        contour = self.contours.of(posed.rotmats, self._betas, posed.transl, crop)
        if not len(contour.points):
            return 0
        rays = contour.points[:, :2] / contour.points[:, 2:]
        distance, nearest = torch.cdist(events, rays).min(-1)
        near = distance < c.reach * half * (1.5 if first else 1.0)
        if not near.any():
            return 0
        nearest = nearest[near]
        normals, points = contour.normals[nearest], contour.points[nearest]
        jacobian = _image_motion(points, self._carry(posed, points, contour.below[nearest]))
        along = (normals[..., None] * jacobian).sum(1)
        # An event says how far the contour is off across itself, nothing about where along it.
        off = ((events[near] - rays[nearest]) * normals).sum(-1)
        pixel = half / 64
        weight = _huber(off / pixel, c.contour_robust_px) / (c.contour_px * pixel) ** 2
        system.add(along, off, weight * (c.independent / max(len(nearest), c.independent)))
        return len(nearest)

    def _add_rotations(self, system: _System, posed: _Posed, rotmats: Tensor) -> None:
        c = self.config
        off = roma.rotmat_to_rotvec(rotmats @ posed.rotmats.transpose(-1, -2))
        std = torch.full((NUM_JOINTS,), c.turn_std)
        std[0] = c.root_std
        weight = (_huber(off.norm(dim=-1), c.turn_robust) / std**2).repeat_interleave(3)
        system.add(torch.eye(SIZE)[:NUM_TURNS], off.flatten(), weight * self._need)

    def _add_place(self, system: _System, posed: _Posed, transl: Tensor, crop: Tensor) -> None:
        c, pelvis = self.config, posed.joints[:1]
        measured = (pelvis - posed.transl) + transl
        motion = torch.zeros(1, 3, SIZE)
        motion[0, :, NUM_TURNS:] = torch.eye(3)
        depth, far = pelvis[:, 2:].clamp(min=NEAR_M), measured[:, 2:].clamp(min=NEAR_M)
        across = _image_motion(pelvis, motion)[0] / (crop[2] * c.place_std)
        along = motion[:, 2] / (depth * c.depth_std)
        off = torch.cat(
            [
                (measured[0, :2] / far[0] - pelvis[0, :2] / depth[0]) / (crop[2] * c.place_std),
                torch.log(far / depth)[0] / c.depth_std,
            ]
        )
        system.add(torch.cat([across, along]), off, _huber(off, c.place_robust) * self._need)

    def _add_joints(self, system: _System, posed: _Posed, joints: CropJoints, crop: Tensor) -> None:
        c, uv = self.config, joints.uvd[:, :2]
        off = (uv - project_to_crop(posed.joints, crop)) / c.joint_std
        jacobian = _image_motion(posed.joints, self._carry(posed, posed.joints, self.carried))
        inside = (uv.abs() < 0.97).all(-1)
        sure = (joints.peak / c.full_peak).clamp(max=1).square() * inside
        weight = sure * _huber(off.norm(dim=-1), c.joint_robust) * self._need
        scale = crop[2] * c.joint_std
        system.add(jacobian.flatten(0, 1) / scale, off.flatten(), weight.repeat_interleave(2))

    def _add_posture(self, system: _System, posed: _Posed) -> None:
        """The Gaussian of the mixture that knows the pose best."""
        turns = roma.rotmat_to_rotvec(posed.rotmats[1 : 1 + len(PRIOR_JOINTS)])
        off = self.pose_means - turns.flatten()
        distances = torch.einsum("mi,mij,mj->m", off, self.pose_precisions, off)
        best = int((self.pose_heights - 0.5 * distances).argmax())
        jacobian = torch.zeros(len(off[best]), SIZE)
        jacobian[:, PRIOR_TURNS] = torch.block_diag(*_turn_to_rotvec(turns))
        pull = self.config.posture * self.pose_precisions[best]
        system.matrix = system.matrix + jacobian.T @ pull @ jacobian
        system.gradient = system.gradient + jacobian.T @ (pull @ off[best])


def _image_motion(points: Tensor, motion: Tensor) -> Tensor:
    """(N, 3) and (N, 3, M) metres to (N, 2, M) changes of x/z and y/z."""
    depth = points[:, 2:].clamp(min=NEAR_M)
    ray = points[:, :2] / depth
    return (motion[:, :2] - ray[..., None] * motion[:, 2:]) / depth[..., None]


def _huber(size: Tensor, limit: float) -> Tensor:
    """Weight of a residual of this size: 1 up to the limit, then falling with it."""
    return limit / size.abs().clamp(min=limit)


def _turn_to_rotvec(rotvec: Tensor) -> Tensor:
    """(*, 3) to (*, 3, 3): how a rotation vector changes per small turn from the left (the inverse left
    Jacobian of SO(3))."""
    angle = rotvec.norm(dim=-1)[..., None, None].clamp(min=1e-4)
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    k = 1 / angle**2 - (1 + torch.cos(angle)) / (2 * angle * torch.sin(angle))
    k = torch.where(angle < 1e-2, torch.full_like(k, 1 / 12), k)
    return torch.eye(3) - 0.5 * K + k * (K @ K)
