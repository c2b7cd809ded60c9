"""A captured or written motion: body parameters over time with camera, confidence and provenance."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.fk import SOLE_M, as_rest_joints, forward_kinematics, sole_points
from eventhpe.body.params import BodyParams
from eventhpe.body.retarget import resample
from eventhpe.errors import ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotmat_to_rotvec, rotvec_to_rotmat

Array = NDArray[np.float64]

LEVEL_CAMERA_TO_WORLD = np.diag([1.0, -1.0, -1.0])
"""Axes of a level camera in a Y-up world: it looks along -z, its right is +x; who faces it faces +z."""


def move_params(
    params: BodyParams, R: ArrayLike, t: ArrayLike, rest_pelvis: ArrayLike, *, frame: str
) -> BodyParams:
    """Move posed bodies rigidly: every joint and vertex x becomes R x + t.

    Args:
        params: (*) bodies.
        R, t: (3, 3) rotation and (3,) translation in metres into `frame`.
        rest_pelvis: (3,) or (*, 3) rest position of the pelvis for these betas, about which the root rotates.
        frame: frame of the result.

    Convention:
        The root turns about the rest pelvis J0, not the origin, so transl' = R (transl + J0) + t - J0.
    """
    R = np.asarray(R, dtype=np.float64)
    J0 = np.asarray(rest_pelvis, dtype=np.float64)
    return replace(
        params,
        global_orient=rotmat_to_rotvec(R @ rotvec_to_rotmat(params.global_orient)),
        transl=(params.transl + J0) @ R.T + np.asarray(t, dtype=np.float64) - J0,
        frame=frame,
    )


def camera_to_world(camera: Camera | None) -> tuple[Array, Array] | None:
    """(3, 3) and (3,) of the camera's place in the world, or None where it is unknown.

    Convention:
        No camera, or one left at R = I, t = 0, has unknown extrinsics: with y down it would hang upside down
        in a Y-up world.
    """
    if camera is None:
        return None
    R, t = camera.R_world_to_cam, camera.t_world_to_cam
    if np.array_equal(R, np.eye(3)) and not t.any():
        return None
    return R.T.copy(), -R.T @ t


@dataclass(frozen=True)
class MotionClip:
    """Body parameters over T times.

    Attributes:
        params: T bodies, in the camera or the world frame.
        t_us: (T,) int64 microseconds, increasing.
        rest_joints: (24, 3) or (T, 24, 3) metres, joints of the rest pose for the betas, so that joint
            positions follow without the body model.
        camera: the camera that saw the motion, if any.
        confidence: (T, 24) in [0, 1]; ones by default.
        provenance: where the motion comes from (recording, weights, settings); JSON-able.
    """

    params: BodyParams
    t_us: NDArray[np.int64]
    rest_joints: Array
    camera: Camera | None = None
    confidence: Array = None  # type: ignore[assignment]  # None becomes ones
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.params.transl.ndim != 2:
            raise ShapeError(
                f"a motion needs BodyParams over (T,); got leading shape {self.params.transl.shape[:-1]}."
            )
        T = len(self.params.transl)
        t = np.asarray(self.t_us)
        if t.shape != (T,) or t.dtype.kind not in "iu":
            raise ShapeError(f"t_us must be ({T},) integer microseconds; got {t.shape} {t.dtype}.")
        if T < 1 or (np.diff(t.astype(np.int64)) <= 0).any():
            raise ShapeError("t_us must hold at least one time and increase strictly.")
        rest = as_rest_joints(self.rest_joints)
        if rest.shape not in ((24, 3), (T, 24, 3)):
            raise ShapeError(f"rest_joints must be (24, 3) or ({T}, 24, 3); got {rest.shape}.")
        confidence = (
            np.ones((T, 24)) if self.confidence is None else np.asarray(self.confidence, dtype=np.float64)
        )
        if confidence.shape != (T, 24):
            raise ShapeError(f"confidence must be ({T}, 24); got {confidence.shape}.")
        try:
            json.dumps(self.provenance)
        except (TypeError, ValueError) as error:
            raise ShapeError(f"provenance must be JSON-able: {error}.") from None
        for name, value in (
            ("t_us", t.astype(np.int64)),
            ("rest_joints", rest.copy()),
            ("confidence", confidence.copy()),
        ):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.t_us)

    @property
    def framerate(self) -> float:
        """Frames per second: the inverse of the mean step; 0 for a single frame."""
        return float((len(self) - 1) * 1e6 / (self.t_us[-1] - self.t_us[0])) if len(self) > 1 else 0.0

    @property
    def rest_pelvis(self) -> Array:
        """(3,) or (T, 3) metres."""
        return self.rest_joints[..., 0, :]

    def joints(self) -> Array:
        """(T, 24, 3) joint positions in metres, in the frame of `params`."""
        return forward_kinematics(self.rest_joints, self.params.pose, self.params.transl)[0]

    def at(self, t_us: ArrayLike) -> BodyParams:
        """Bodies at other times, () or (N,) microseconds; outside the motion the nearest end is taken."""
        times = np.asarray(t_us)
        out = resample(self.params, self.t_us, np.atleast_1d(times))
        if times.ndim:
            return out
        return replace(
            out,
            betas=out.betas[0],
            global_orient=out.global_orient[0],
            body_pose=out.body_pose[0],
            transl=out.transl[0],
        )

    def to_camera(self) -> MotionClip:
        """The motion in the camera frame; itself if it is there already.

        Raises:
            ShapeError: the motion is in the world frame and the camera's extrinsics are unknown.
        """
        if self.params.frame == "camera":
            return self
        if self.camera is None or camera_to_world(self.camera) is None:
            raise ShapeError(
                "the motion is in the world frame and no camera with known extrinsics is attached to it."
            )
        R, t = self.camera.R_world_to_cam, self.camera.t_world_to_cam
        return replace(self, params=move_params(self.params, R, t, self.rest_pelvis, frame="camera"))

    def to_world(self) -> MotionClip:
        """The motion in the world frame (Y up); itself if it is there already.

        With known extrinsics the world is the camera's. Otherwise the camera is taken as level, standing over
        x = z = 0, and the floor y = 0 is put under the feet (5th percentile of the lowest sole).
        """
        if self.params.frame == "world":
            return self
        R, t = self.camera_pose_in_world()
        return replace(self, params=move_params(self.params, R, t, self.rest_pelvis, frame="world"))

    def camera_pose_in_world(self) -> tuple[Array, Array]:
        """(3, 3) and (3,) from camera to world that `to_world` uses."""
        known = camera_to_world(self.camera)
        if known is not None:
            return known
        if self.params.frame == "world":
            raise ShapeError("the motion is in the world frame and its camera's extrinsics are unknown.")
        R = LEVEL_CAMERA_TO_WORLD
        level = move_params(self.params, R, np.zeros(3), self.rest_pelvis, frame="world")
        positions, rotations = forward_kinematics(self.rest_joints, level.pose, level.transl)
        lowest = sole_points(self.rest_joints, positions, rotations, sole_m=SOLE_M)[..., 1].min(axis=-1)
        return R, np.array([0.0, -float(np.percentile(lowest, 5)), 0.0])
