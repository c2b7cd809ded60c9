"""The stages of a fit: where the body stands, its shape and the keypoints' places on it, its poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eventhpe.body.fit_chain import chain
from eventhpe.body.fit_markers import Attachment, OffsetVariables, place_keypoints, usual_attachment
from eventhpe.body.fit_settings import FitSettings
from eventhpe.body.fit_terms import (
    REFERENCE_S,
    Observed,
    PoseEnergy,
    data_energy,
    floor_energy,
    smooth_energy,
)
from eventhpe.body.model import BodyModel
from eventhpe.body.pose_prior import PosePrior
from eventhpe.errors import ShapeError
from eventhpe.geometry.align import fit_similarity
from eventhpe.geometry.rotation import interpolate_rotvec, rotmat_to_rotvec, rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON, Skeleton

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

TORSO = frozenset(
    "pelvis hip_left hip_right spine1 spine2 spine3 neck collar_left collar_right "
    "shoulder_left shoulder_right".split()
)
"""Keypoints that tell how the trunk stands and turns."""

_TURN_SCALE_RAD, _PLACE_SCALE_M = 0.02, 0.003  # about what keypoints leave open in a frame
_WIDE_M = 1.0  # robust scale at first, when limbs may be far off
_LIMBS = tuple(
    tuple(SMPL_SKELETON.index(name) for name in names.split())
    for names in (
        "spine1 spine2 spine3 neck head",
        "collar_left shoulder_left elbow_left wrist_left hand_left",
        "collar_right shoulder_right elbow_right wrist_right hand_right",
        "hip_left knee_left ankle_left foot_left",
        "hip_right knee_right ankle_right foot_right",
    )
)


@dataclass(frozen=True)
class Track:
    """Poses of T frames: the root turns by base exp(pose[:, 0]).

    Attributes:
        pose: (T, 24, 3) rotation vectors.
        transl: (T, 3) metres.
        base: (T, 3, 3).
    """

    pose: F64
    transl: F64
    base: F64

    def rotvecs(self) -> F64:
        """(T, 24, 3) rotation vectors with the root's whole rotation."""
        out = self.pose.copy()
        out[:, 0] = rotmat_to_rotvec(self.base @ rotvec_to_rotmat(self.pose[:, 0]))
        return out


@dataclass(frozen=True)
class Subject:
    """What stays the same in all frames: betas (10,), rest joints (24, 3) m, and the keypoints' places."""

    betas: F64
    rest: F64
    attachment: Attachment

    def keypoints(self, track: Track) -> tuple[F64, F64]:
        """Keypoints (T, J, 3) and joints (T, 24, 3) of a track, metres."""
        joints, world = chain(*map(torch.tensor, (track.pose, track.transl, self.rest, track.base)))
        return self.attachment.positions(joints, world).numpy(), joints.numpy()


class Unknown:
    """Values that an optimiser finds from a start, in units of the steps they may take: L-BFGS needs unknowns
    of about equal stiffness."""

    def __init__(self, start: F64, step: float | F64) -> None:
        self._start, self._step = torch.tensor(start), torch.as_tensor(step)
        self.variable = torch.zeros_like(self._start, requires_grad=True)

    def value(self) -> Tensor:
        """The present values, with gradients to `variable`."""
        return self._start + self._step * self.variable


def minimise(variables: Sequence[Tensor], energy: Callable[[], Tensor], iterations: int) -> float:
    """L-BFGS with a line search; changes the variables in place and returns the last energy."""
    optimiser = torch.optim.LBFGS(
        list(variables),
        max_iter=iterations,
        max_eval=2 * iterations,
        history_size=20,
        tolerance_grad=1e-4,
        tolerance_change=1e-3,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = energy()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[arg-type]  # the stubs want floats
    with torch.no_grad():
        return float(energy())


def place_roots(seen: Observed, subject: Subject) -> tuple[F64, F64, NDArray[np.bool_]]:
    """Stage 0: rotation (T, 3, 3) and translation (T, 3) of the root by Procrustes on the trunk's keypoints.

    Returns:
        also (T,) where all hips and shoulders among the keypoints were there; other frames use what is there,
        and frames with less than three points of the trunk lie between their neighbours.
    Raises:
        ShapeError: less than three keypoints of the trunk, or never three at once.
    """
    names = subject.attachment.names
    trunk = np.array([j for j, name in enumerate(names) if name in TORSO], np.int64)
    if len(trunk) < 3:
        raise ShapeError(
            "a fit needs at least three keypoints of the trunk (hips and shoulders are usual); got "
            f"{', '.join(names[j] for j in trunk) or 'none'}."
        )
    xyz, there = seen.xyz.numpy()[:, trunk], seen.weight.numpy()[:, trunk] > 0
    still = Track(np.zeros((1, 24, 3)), np.zeros((1, 3)), np.eye(3)[None])
    model = subject.keypoints(still)[0][0, trunk]
    T = len(seen)
    R, pelvis = np.tile(np.eye(3), (T, 1, 1)), np.zeros((T, 3))
    known = there.sum(1) >= 3
    for pattern in np.unique(there[known], axis=0):
        frames = np.flatnonzero((there == pattern).all(1))
        source = np.broadcast_to(model[pattern], (len(frames), int(pattern.sum()), 3))
        fit = fit_similarity(source, xyz[frames][:, pattern], with_scale=False)
        R[frames], pelvis[frames] = fit.R, fit.R @ subject.rest[0] + fit.t
    if not known.any():
        raise ShapeError("no frame has three keypoints of the trunk; hips and shoulders are needed.")
    if not known.all():
        times = seen.t_s.numpy()
        turned = interpolate_rotvec(times, times[known], rotmat_to_rotvec(R[known])[:, None])
        R = rotvec_to_rotmat(turned[:, 0])
        pelvis = np.stack([np.interp(times, times[known], pelvis[known, i]) for i in range(3)], -1)
    return R, pelvis - subject.rest[0], np.asarray(there.all(1))


def choose_frames(sequences: Sequence[Observed], subject: Subject, count: int) -> list[I64]:
    """Frames of different poses, by farthest points among keypoints relative to the trunk; per sequence."""
    features, owners = [], []
    for s, seen in enumerate(sequences):
        R, t, whole = place_roots(seen, subject)
        there = seen.weight.numpy() > 0
        enough = np.flatnonzero(whole & (there.mean(1) >= 0.75))
        if not len(enough):
            enough = np.argsort(-there.sum(1), kind="stable")[: max(1, count // len(sequences))]
        local = (seen.xyz.numpy()[enough] - (t + subject.rest[0])[enough, None]) @ R[enough]
        features.append(np.where(there[enough][..., None], local, np.nan))
        owners.append(np.stack([np.full(len(enough), s), enough], 1))
    x, owner = np.concatenate(features), np.concatenate(owners)
    middle = np.nanmedian(x, axis=0)
    x = np.where(np.isnan(x), middle, x).reshape(len(x), -1)
    chosen = [int(np.square(x - np.nan_to_num(middle).ravel()).sum(1).argmin())]
    far = np.square(x - x[chosen[0]]).sum(1)
    while len(chosen) < min(count, len(x)) and far.max() > 0:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.square(x - x[chosen[-1]]).sum(1))
    picked = owner[chosen]
    return [np.sort(picked[picked[:, 0] == s, 1]) for s in range(len(sequences))]


def first_poses(seen: Observed, subject: Subject, prior: PosePrior) -> Track:
    """A first guess, frame by frame: each limb as in that mean of the prior whose keypoints come nearest."""
    R, transl, _ = place_roots(seen, subject)
    T, M = len(seen), len(prior.weights)
    cost = np.zeros((M, T, len(_LIMBS)))
    limb_of = [next((i for i, limb in enumerate(_LIMBS) if a in limb), 0) for a in subject.attachment.joints]
    for m in range(M):
        pose = np.zeros((T, 24, 3))
        pose[:, 1:22] = prior.means[m].reshape(21, 3)
        keypoints, _ = subject.keypoints(Track(pose, transl, R))
        error = np.linalg.norm(keypoints - seen.xyz.numpy(), axis=-1) * (seen.weight.numpy() > 0)
        for j, limb in enumerate(limb_of):
            cost[m, :, limb] += error[:, j]
    best = cost.argmin(0)  # (T, limbs)
    pose = np.zeros((T, 24, 3))
    for i, members in enumerate(_LIMBS):
        joints = [j for j in members if j < 22]
        pose[:, joints] = prior.means.reshape(M, 21, 3)[best[:, i]][:, [j - 1 for j in joints]]
    return Track(pose, transl, R)


def fit_shape(
    sequences: Sequence[Observed],
    skeleton: Skeleton,
    body: BodyModel,
    prior: PosePrior,
    settings: FitSettings,
) -> tuple[Subject, list[I64], list[Track]]:
    """Stage 1: shape, offsets and shares from informative frames of all sequences of one subject.

    Returns:
        the subject, the frames used and their poses, per sequence.
    """
    template, basis = body.J_template.detach().cpu().double(), body.J_shapedirs.detach().cpu().double()
    usual = usual_attachment(skeleton, body, depth=settings.marker_depth)
    subject = Subject(np.zeros(10), template.numpy(), usual)
    frames = choose_frames(sequences, subject, settings.shape_frames)
    chosen = [seen.pick(f) for seen, f in zip(sequences, frames, strict=True) if len(f)]
    seen = Observed(*(torch.cat([getattr(c, k) for c in chosen]) for k in ("xyz", "weight", "t_s")))
    start = first_poses(seen, subject, prior)
    base = torch.tensor(start.base)
    # shape and offsets move the keypoints of all frames: their steps are smaller by the root of the frames
    joint = settings.noise_sigma_m / len(seen) ** 0.5
    pose, transl = Unknown(start.pose, _TURN_SCALE_RAD), Unknown(start.transl, _PLACE_SCALE_M)
    betas = Unknown(
        np.zeros(10), joint / basis.square().sum(1).mean(0).sqrt().numpy() / len(usual.names) ** 0.5
    )
    offsets = OffsetVariables(
        usual,
        max_offset_m=settings.max_offset_m,
        offset_sigma_m=settings.offset_sigma_m,
        asymmetry_sigma_m=settings.asymmetry_sigma_m,
        share_sigma=settings.share_sigma,
        step_m=joint,
    )
    likely = PoseEnergy(prior, settings)
    count = max(1.0, settings.subject_weight * len(seen))

    def energy(robust_m: float) -> Tensor:
        turns, shape = pose.value(), betas.value()
        rest = template + basis @ shape
        joints, world = chain(turns, transl.value(), rest, base)
        keypoints = place_keypoints(usual.joints, *offsets.values(), joints, world)
        out = data_energy(keypoints, seen, sigma_m=settings.noise_sigma_m, robust_m=robust_m)
        if settings.floor:
            out = out + floor_energy(joints, world, rest, settings)
        out = out + likely(turns) + count * offsets.energy()
        return out + shape.square().sum() / (2 * settings.betas_sigma**2)

    variables = [pose.variable, transl.variable, betas.variable, *offsets.variables]
    half = max(1, settings.shape_iterations // 2)
    for scale in (max(_WIDE_M, settings.robust_m), settings.robust_m):
        minimise(variables, partial(energy, scale), half)
    turned, placed, shaped = (u.value().detach() for u in (pose, transl, betas))
    found = Subject(shaped.numpy(), (template + basis @ shaped).numpy(), offsets.attachment())
    tracks, at = [], 0
    for f in frames:
        part = slice(at, at + len(f))
        tracks.append(Track(turned.numpy()[part], placed.numpy()[part], start.base[part]))
        at += len(f)
    return found, frames, tracks


def nearest_poses(seen: Observed, subject: Subject, known: Track) -> Track:
    """Every frame's pose as in that known one whose keypoints, relative to the trunk, come nearest."""
    R, transl, _ = place_roots(seen, subject)
    N = len(known.pose)
    still = Track(known.pose.copy(), np.zeros((N, 3)), np.tile(np.eye(3), (N, 1, 1)))
    still.pose[:, 0] = 0
    example = subject.keypoints(still)[0]  # (N, J, 3)
    local = (seen.xyz.numpy() - (transl + subject.rest[0])[:, None]) @ R + subject.rest[0]
    there = seen.weight.numpy() > 0
    cost = np.empty((len(example), len(seen)))
    for n, keypoints in enumerate(example):
        square = np.square(local - keypoints).sum(-1).clip(max=_WIDE_M**2)
        cost[n] = np.where(there, square, 0.0).sum(1)
    pose = known.pose[cost.argmin(0)].copy()
    pose[:, 0] = 0
    return Track(pose, transl, R)


def fit_poses(
    seen: Observed, subject: Subject, known: Track, prior: PosePrior, settings: FitSettings
) -> Track:
    """Stage 2: poses of all frames, first at `coarse_hz` from the nearest known poses, then at full rate."""
    times = seen.t_s.numpy()
    step = np.median(np.diff(times)) if len(times) > 1 else 1.0
    stride = max(1, round(1 / (settings.coarse_hz * step)))
    few = np.unique(np.append(np.arange(0, len(times), stride), len(times) - 1))
    coarse = seen.pick(few)
    start = nearest_poses(coarse, subject, known)
    scales = (max(_WIDE_M, settings.robust_m), settings.robust_m)
    half = max(1, settings.coarse_iterations // 2)
    track = _fit_windows(coarse, subject, start, prior, settings, scales, half)
    if len(few) == len(times):
        return track
    turned = interpolate_rotvec(times, times[few], track.rotvecs())
    base = rotvec_to_rotmat(turned[:, 0])
    turned[:, 0] = 0
    transl = np.stack([np.interp(times, times[few], track.transl[:, i]) for i in range(3)], -1)
    start = Track(turned, transl, base)
    return _fit_windows(seen, subject, start, prior, settings, scales[1:], settings.pose_iterations)


def _fit_windows(
    seen: Observed,
    subject: Subject,
    start: Track,
    prior: PosePrior,
    settings: FitSettings,
    scales: Sequence[float],
    iterations: int,
) -> Track:
    """Solve window after window. Each starts with the last two frames of the one before, held still, so that
    accelerations join them; the end of a window, which nothing follows yet, is solved again with the next."""
    times = seen.t_s.numpy()
    likely = PoseEnergy(prior, settings)
    pose, transl = start.pose.copy(), start.transl.copy()
    done = 0
    while True:
        held = min(2, done)
        end = int(np.searchsorted(times, times[done] + settings.window_s, side="right"))
        end = len(times) if len(times) - end < 3 else end
        part = slice(done - held, end)
        window = Track(pose[part], transl[part], start.base[part])
        solved = _fit_window(seen.pick(part), subject, window, held, likely, settings, scales, iterations)
        pose[part], transl[part] = solved.pose, solved.transl
        if end == len(times):
            return Track(pose, transl, start.base)
        done = max(done + 1, int(np.searchsorted(times, times[end - 1] - settings.overlap_s, side="right")))


def _fit_window(
    seen: Observed,
    subject: Subject,
    start: Track,
    held: int,
    likely: PoseEnergy,
    settings: FitSettings,
    scales: Sequence[float],
    iterations: int,
) -> Track:
    """Solve all frames at once but the first `held`, at one robust scale in metres after the other."""
    base, rest = torch.tensor(start.base), torch.tensor(subject.rest)
    first = torch.tensor(start.pose).flatten(1), torch.tensor(start.transl)
    basis = torch.tensor(smooth_basis(seen, held, settings))
    scales_of = _TURN_SCALE_RAD, _PLACE_SCALE_M
    free = [torch.zeros(len(basis), v.shape[1], dtype=v.dtype, requires_grad=True) for v in first]

    def values() -> tuple[Tensor, Tensor]:
        moved = (
            torch.cat([v[:held], v[held:] + s * (basis @ z)])
            for v, s, z in zip(first, scales_of, free, strict=True)
        )
        pose, transl = moved
        return pose.unflatten(1, (24, 3)), transl

    def energy(robust_m: float) -> Tensor:
        pose, transl = values()
        joints, world = chain(pose, transl, rest, base)
        keypoints = subject.attachment.positions(joints, world)
        data = data_energy(keypoints, seen, sigma_m=settings.noise_sigma_m, robust_m=robust_m)
        if settings.floor:
            data = data + floor_energy(joints, world, rest, settings)
        return data + likely(pose) + smooth_energy(joints, pose, seen.t_s, settings)

    for scale in scales:
        minimise(free, partial(energy, scale), iterations)
    pose, transl = (v.detach().numpy() for v in values())
    return Track(pose, transl, start.base)


def smooth_basis(seen: Observed, held: int, settings: FitSettings) -> F64:
    """(N, N) change of variables x = B z of the N = T - held free frames, under which all frequencies of a
    motion are about equally stiff: L-BFGS then needs far fewer steps.

    B B^T is the inverse of 1 + a D^T D, with D the second differences that `smooth_energy` penalises and a
    their weight against that of the keypoints.
    """
    t = seen.t_s.numpy()
    T = len(t)
    stiffness = np.eye(T)
    if T >= 3:
        step, span = np.diff(t), (t[2:] - t[:-2]) / 2
        rows, i = np.zeros((T - 2, T)), np.arange(T - 2)
        rows[i, i], rows[i, i + 2] = 1 / (step[:-1] * span), 1 / (step[1:] * span)
        rows[i, i + 1] = -rows[i, i] - rows[i, i + 2]
        data = max(float(seen.weight.sum()) / T, 1.0) / settings.noise_sigma_m**2
        rows *= np.sqrt(span / REFERENCE_S * 24 / settings.acceleration_sigma**2 / data)[:, None]
        stiffness += rows.T @ rows
    lower = np.linalg.cholesky(stiffness[held:, held:])
    return np.asarray(np.linalg.inv(lower).T)
