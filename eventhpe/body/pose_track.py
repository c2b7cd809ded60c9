"""Writing a body's pose over time in anatomical angles instead of rotation vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from eventhpe.body.fk import SOLE_M, as_rest_joints, forward_kinematics, sole_points
from eventhpe.body.params import BodyParams
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]

_SOFT_M = 0.004  # soles this close share the ground; keeps the path of the root smooth when feet change over


def soft_clip(x: ArrayLike, low: float = -np.inf, high: float = np.inf, width: float = 3.0) -> Array:
    """Clip without corners, so that velocities stay continuous; rounded within about `width` of a limit."""
    out = np.asarray(x, dtype=np.float64)
    if low > -np.inf:
        out = low + width * np.logaddexp(0.0, (out - low) / width)
    if high < np.inf:
        out = high - width * np.logaddexp(0.0, (high - out) / width)
    return np.asarray(out)


class PoseTrack:
    """T frames of a pose, filled limb by limb; angles in degrees, each a number or (T,).

    Convention:
        Zero everywhere is the T-pose. Left and right limbs take the same angles for mirrored poses.
    """

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self._rotvec = np.zeros((num_frames, 24, 3))

    @property
    def rotvec(self) -> Array:
        """(T, 24, 3) rotation vectors."""
        return self._rotvec.copy()

    def _turn(self, joint: str, side: str | None, *steps: tuple[str, ArrayLike]) -> None:
        """Set a joint to a product of rotations about its axes, written for the left side."""
        total = Rotation.identity(self.num_frames)
        for axis, degrees in steps:
            angle = np.broadcast_to(np.asarray(degrees, dtype=np.float64), (self.num_frames,))
            total = total * Rotation.from_euler(axis, angle[:, None], degrees=True)
        name = joint if side is None else f"{joint}_{side}"
        sign = [1.0, -1.0, -1.0] if side == "right" else [1.0, 1.0, 1.0]
        self._rotvec[:, SMPL_SKELETON.index(name)] = total.as_rotvec() * sign

    def pelvis(self, *, heading: ArrayLike = 0, pitch: ArrayLike = 0, roll: ArrayLike = 0) -> None:
        """Turn the whole body: heading to its left, pitch forward, roll (lean) to its left."""
        self._turn("pelvis", None, ("Y", heading), ("X", pitch), ("Z", np.negative(roll)))

    def spine(self, *, flex: ArrayLike = 0, side: ArrayLike = 0, twist: ArrayLike = 0) -> None:
        """Bend the trunk forward, to its left, and twist it to its left, spread over three joints."""
        for joint, share in (("spine1", 0.35), ("spine2", 0.35), ("spine3", 0.3)):
            self._turn(
                joint,
                None,
                ("Y", np.multiply(twist, share)),
                ("X", np.multiply(flex, share)),
                ("Z", np.multiply(side, -share)),
            )

    def head(self, *, pitch: ArrayLike = 0, yaw: ArrayLike = 0, roll: ArrayLike = 0) -> None:
        """Nod down, look to the left, tilt to the left, spread over neck and head."""
        for joint in ("neck", "head"):
            self._turn(
                joint,
                None,
                ("Y", np.multiply(yaw, 0.5)),
                ("X", np.multiply(pitch, 0.5)),
                ("Z", np.multiply(roll, -0.5)),
            )

    def arm(
        self,
        side: str,
        *,
        abduct: ArrayLike = 12,
        flex: ArrayLike = 0,
        elbow: ArrayLike = 10,
        twist: ArrayLike = 0,
        pronate: ArrayLike = 0,
        wrist: ArrayLike = 0,
    ) -> None:
        """Pose an arm.

        Args:
            side: "left" or "right".
            abduct: 0 hangs down, 90 is the T-pose, 180 points up.
            flex: swings the abducted arm forward about the left-right axis; 90 with abduct 0 points forward.
            elbow: flexion.
            twist: of the upper arm; -90 lets a bent forearm of a T-pose point up, +90 down.
            pronate: turns the forearm; wrist bends towards the palm.
        """
        lifted = np.maximum(np.asarray(abduct, dtype=np.float64), 0)
        shrug = (
            np.clip((lifted - 60) / 120, 0, 1) ** 2 * 25
        )  # the shoulder girdle helps above shoulder height
        self._turn("collar", side, ("Z", shrug))
        self._turn(
            "shoulder", side, ("X", np.negative(flex)), ("Z", np.subtract(abduct, 90) - shrug), ("X", twist)
        )
        self._turn("elbow", side, ("Y", np.negative(elbow)), ("X", pronate))
        self._turn("wrist", side, ("Z", np.negative(wrist)))

    def leg(
        self,
        side: str,
        *,
        flex: ArrayLike = 0,
        knee: ArrayLike = 0,
        abduct: ArrayLike = 0,
        turn_out: ArrayLike = 5,
        ankle: ArrayLike = 0,
        pelvis_pitch: ArrayLike = 0,
        toes: ArrayLike = 0,
        flat: ArrayLike = 1,
    ) -> None:
        """Pose a leg.

        Args:
            flex: thigh forward; knee: flexion; abduct: thigh outward; turn_out: about the thigh.
            ankle: toes down, added to what keeps the sole level.
            pelvis_pitch: pitch of the pelvis, which the level sole has to undo.
            toes: bent up.
            flat: 1 keeps the sole level, 0 lets the foot hang square to the shin.
        """
        hip = np.asarray(flex, dtype=np.float64)
        level = soft_clip(np.multiply(flat, hip - np.asarray(knee) - np.asarray(pelvis_pitch)), -38, 50)
        self._turn("hip", side, ("X", -hip), ("Z", abduct), ("Y", turn_out))
        self._turn("knee", side, ("X", knee))
        self._turn("ankle", side, ("X", np.add(level, ankle)), ("Z", np.multiply(flat, np.negative(abduct))))
        self._turn("foot", side, ("X", np.negative(toes)))

    def to_params(
        self,
        rest_joints: ArrayLike,
        *,
        airborne: ArrayLike = 0.0,
        anchored: bool = True,
        model: str = "open",
        sole_m: float = SOLE_M,
    ) -> BodyParams:
        """Find the root's path: the lowest sole touches the floor, and the standing foot does not slide.

        Args:
            rest_joints: (24, 3) metres.
            airborne: metres above the floor, for jumps.
            anchored: hold the standing foot in place; otherwise the body moves on the spot (a treadmill).
            model: name of the body model.
        Returns:
            T frames in the world frame, starting over x = z = 0.
        """
        rest = as_rest_joints(rest_joints)
        pose = self.rotvec
        positions, rotations = forward_kinematics(rest, pose, np.zeros((self.num_frames, 3)) - rest[0])
        soles = sole_points(rest, positions, rotations, sole_m=sole_m)
        height = soles[..., 1]
        lowest = height.min(axis=1, keepdims=True)
        share = np.exp(-(height - lowest) / _SOFT_M)
        path = np.zeros((self.num_frames, 3))
        path[:, 1] = _SOFT_M * np.log(share.sum(axis=1)) - lowest[:, 0] + np.asarray(airborne)
        path[:, 1] -= _SOFT_M * np.log(6.0)  # six soles level on the floor stand exactly on it
        if anchored:
            weight = share / share.sum(axis=1, keepdims=True)
            between = (weight[1:] + weight[:-1])[..., None] / 2
            step = (between * np.diff(soles[..., [0, 2]], axis=0)).sum(axis=1)
            path[1:, [0, 2]] = -np.cumsum(step, axis=0)
        return BodyParams(
            betas=np.zeros((self.num_frames, 10)),
            global_orient=pose[:, 0],
            body_pose=pose[:, 1:],
            transl=path - rest[0],
            model=model,
            frame="world",
        )
