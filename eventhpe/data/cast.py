"""People ready to be posed at any instant, in the camera frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.default import open_body, open_body_arrays
from eventhpe.body.kernels_interpolate import slerp_pose
from eventhpe.body.loose_clothes import offset_vectors
from eventhpe.body.motion import move_params
from eventhpe.body.params import BodyParams
from eventhpe.body.posing import BodyPoser
from eventhpe.data.scene import Scene
from eventhpe.geometry.rotation import rotmat_to_rotvec, rotvec_to_rotmat


def rest_joints(betas: ArrayLike) -> NDArray[np.float64]:
    """(24, 3) rest joints of the open body with these (10,) betas, metres."""
    import torch

    with torch.no_grad():
        return open_body().rest_joints(torch.tensor(np.asarray(betas), dtype=torch.float32)).double().numpy()


@dataclass(frozen=True)
class Instant:
    """All people at one time, camera frame.

    Attributes:
        vertices: per person (V, 3) float32 metres.
        joints: per person (24, 3) metres.
    """

    vertices: tuple[NDArray[np.float32], ...]
    joints: tuple[NDArray[np.float64], ...]


class Cast:
    """The people of a recording over time.

    Between label times rotations are interpolated on the sphere and places linearly; that is the motion that
    was rendered, so it is the truth at every instant.

    Args:
        t_us: (K,) label times.
        people: per person BodyParams over K in the camera frame.
        offsets: per person (V,) metres of loose clothes along the resting body's normals, or None.

    Attributes:
        faces: (F, 3) int32, the same for everybody.
        template: (V, 3) float32 template coordinates of the vertices, for solid textures.
    """

    def __init__(
        self,
        t_us: NDArray[np.int64],
        people: Sequence[BodyParams],
        offsets: Sequence[NDArray[np.float32] | None],
    ) -> None:
        self.t_us, self.people = t_us, tuple(people)
        self._poses = [np.ascontiguousarray(p.pose) for p in people]
        arrays = open_body_arrays()
        self.template = np.ascontiguousarray(arrays["v_template"], np.float32)
        # One poser for each person, since a poser keeps the shape it posed last.
        self._posers = [
            BodyPoser(arrays, offsets=None if o is None else offset_vectors(arrays, o)) for o in offsets
        ]
        self.faces = self._posers[0].faces

    @classmethod
    def of_scene(cls, scene: Scene) -> Cast:
        """The people of a scene, moved into the (perhaps shaking) camera's frame."""
        t_us = np.arange(scene.num_labels, dtype=np.int64) * scene.step_us
        people = [_into_camera(p.motion, scene) for p in scene.people]
        return cls(t_us, people, [p.offsets for p in scene.people])

    def at_label(self, k: int) -> Instant:
        """Everybody at label time k."""
        return self._posed([(pose[k], p.transl[k]) for pose, p in zip(self._poses, self.people, strict=True)])

    def at(self, times_us: ArrayLike) -> list[Instant]:
        """Everybody at (N,) times; times outside the labels take the nearest end."""
        return [self._at(float(t)) for t in np.atleast_1d(np.asarray(times_us))]

    def _at(self, t_us: float) -> Instant:
        t = min(max(t_us, float(self.t_us[0])), float(self.t_us[-1]))
        k = min(int(np.searchsorted(self.t_us, t, "right")) - 1, len(self.t_us) - 2)
        share = (t - self.t_us[k]) / (self.t_us[k + 1] - self.t_us[k])
        return self._posed(
            [
                (slerp_pose(pose[k], pose[k + 1], share), (1 - share) * p.transl[k] + share * p.transl[k + 1])
                for pose, p in zip(self._poses, self.people, strict=True)
            ]
        )

    def _posed(self, states: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Instant:
        posed = [
            poser.pose(params.betas[0], pose, transl)
            for poser, params, (pose, transl) in zip(self._posers, self.people, states, strict=True)
        ]
        return Instant(tuple(v for v, _ in posed), tuple(j for _, j in posed))


def _into_camera(motion: BodyParams, scene: Scene) -> BodyParams:
    R, t = scene.camera.R_world_to_cam, scene.camera.t_world_to_cam
    rest = rest_joints(motion.betas[0])
    still = move_params(motion, R, t, rest[0], frame="camera")
    if scene.shake is None:
        return still
    turn = rotvec_to_rotmat(scene.shake)
    pelvis = np.einsum("kij,kj->ki", turn, still.transl + rest[0])
    return BodyParams(
        betas=still.betas,
        global_orient=rotmat_to_rotvec(turn @ rotvec_to_rotmat(still.global_orient)),
        body_pose=still.body_pose,
        transl=pelvis - rest[0],
        model=still.model,
        gender=still.gender,
        frame="camera",
    )
